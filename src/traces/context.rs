//! The ids of traces and spans, and the header `traceparent` in which a client passes them (W3C Trace Context).

use serde::{Deserialize, Serialize};
use std::fmt;

/// The length of a `traceparent` of version 00: version, trace id, span id and flags, with three dashes.
const TRACEPARENT_BYTES: usize = 55;
/// The version that no header may have.
const VERSION_INVALID: u64 = 0xff;
const FLAG_SAMPLED: u64 = 1;

/// The id of a trace; not 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceId(pub u128);

/// The id of a span within its trace; not 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpanId(pub u64);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A span of a sampled trace, as the parent of spans elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceContext {
    pub trace: TraceId,
    pub span: SpanId,
}

/// A valid header `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    pub context: TraceContext,
    pub is_sampled: bool,
}

impl TraceParent {
    /// Parses the value of the header; `None` if it is invalid, which means that the request begins a trace of its own.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (head, rest) = value.split_at_checked(TRACEPARENT_BYTES)?;
        let mut fields = head.split(|byte| *byte == b'-');
        let mut field = |digits| hex(fields.next()?, digits);
        let (version, trace, span, flags) = (field(2)?, field(32)?, field(16)?, field(2)?);
        // A later version may append fields, each behind a dash.
        let is_whole = if version == 0 { rest.is_empty() } else { rest.first().is_none_or(|byte| *byte == b'-') };
        if !is_whole || version == u128::from(VERSION_INVALID) || trace == 0 || span == 0 {
            return None;
        }
        let context = TraceContext { trace: TraceId(trace), span: SpanId(u64::try_from(span).ok()?) };
        Some(Self { context, is_sampled: flags & u128::from(FLAG_SAMPLED) != 0 })
    }
}

/// Parses exactly this many lower-case hexadecimal digits.
fn hex(text: &[u8], digits: usize) -> Option<u128> {
    if text.len() != digits || text.iter().any(|byte| !matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    u128::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::{SpanId, TraceContext, TraceId, TraceParent};

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_valid_traceparent_names_trace_span_and_sampling() {
        let context = TraceContext {
            trace: TraceId(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736),
            span: SpanId(0x00f0_67aa_0ba9_02b7),
        };
        assert_eq!(TraceParent::parse(VALID.as_bytes()), Some(TraceParent { context, is_sampled: true }));
        let other = VALID.replace("-01", "-00");
        assert_eq!(TraceParent::parse(other.as_bytes()), Some(TraceParent { context, is_sampled: false }));
        let flags = VALID.replace("-01", "-03");
        assert_eq!(TraceParent::parse(flags.as_bytes()).map(|parent| parent.is_sampled), Some(true));
        assert_eq!(format!("00-{}-{}-01", context.trace, context.span), VALID);
    }

    #[test]
    fn a_later_version_may_append_fields_and_version_0_may_not() {
        let later = VALID.replacen("00-", "cc-", 1);
        for (text, is_valid) in [
            (later.clone(), true),
            (format!("{later}-more"), true),
            (format!("{later}more"), false),
            (format!("{VALID}-more"), false),
        ] {
            assert_eq!(TraceParent::parse(text.as_bytes()).is_some(), is_valid, "{text}");
        }
    }

    #[test]
    fn an_invalid_traceparent_is_ignored() {
        let zeros = |count| "0".repeat(count);
        for text in [
            String::new(),
            VALID[..54].to_owned(),
            VALID.to_uppercase(),
            VALID.replacen("00-", "ff-", 1),
            VALID.replace("4bf92f3577b34da6a3ce929d0e0e4736", &zeros(32)),
            VALID.replace("00f067aa0ba902b7", &zeros(16)),
            VALID.replace('-', "_"),
            VALID.replace("-01", "-0g"),
            VALID.replace("4bf92f3577b34da6a3ce929d0e0e4736", "+bf92f3577b34da6a3ce929d0e0e4736"),
            VALID.replace("4bf92f3577b34da6a3ce929d0e0e4736-0", "4bf92f3577b34da6a3ce929d0e0e47360-"),
            "-".repeat(55),
            "é".repeat(40),
        ] {
            assert_eq!(TraceParent::parse(text.as_bytes()), None, "{text}");
        }
    }
}
