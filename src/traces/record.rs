//! The records of spans, as they are collected and exported.

use super::context::{SpanId, TraceId};
use crate::limits::TRACE_TEXT_BYTES_MAX;
use std::borrow::Cow;

/// The memory of a record besides its texts.
const RECORD_BYTES: usize = 256;

/// The kind of a span, by its number in OTLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    Internal = 1,
    /// Serves a call of a client or another host.
    Server = 2,
    /// Waits for a call of another host.
    Client = 3,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Text(Cow<'static, str>),
    Number(i64),
    Flag(bool),
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

/// A text longer than `TRACE_TEXT_BYTES_MAX` is cut.
impl From<String> for Value {
    fn from(mut text: String) -> Self {
        text.truncate(text.floor_char_boundary(TRACE_TEXT_BYTES_MAX));
        Self::Text(Cow::Owned(text))
    }
}

/// A number above `i64::MAX`, the largest that OTLP has, becomes that.
impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl Value {
    /// Returns a copy of a text that a client sent, cut to `TRACE_TEXT_BYTES_MAX`.
    pub fn text(text: &str) -> Self {
        Self::Text(Cow::Owned(text[..text.floor_char_boundary(TRACE_TEXT_BYTES_MAX)].to_owned()))
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Text(Cow::Owned(text)) => text.len(),
            Self::Text(Cow::Borrowed(_)) | Self::Number(_) | Self::Flag(_) => 0,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpanRecord {
    pub id: SpanId,
    /// The parent, in this trace; of the first span of a host also one elsewhere.
    pub parent: Option<SpanId>,
    pub name: Cow<'static, str>,
    pub kind: SpanKind,
    /// Nanoseconds since the Unix epoch.
    pub start_ns: u64,
    /// `None` while the span is open.
    pub end_ns: Option<u64>,
    pub attributes: Vec<(&'static str, Value)>,
    /// True if the span's status is an error.
    pub is_failed: bool,
}

impl SpanRecord {
    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        self.attributes.push((key, value.into()));
    }

    /// Returns the value of an attribute.
    pub fn attribute(&self, key: &str) -> Option<&Value> {
        self.attributes.iter().find(|(name, _)| *name == key).map(|(_, value)| value)
    }
}

/// The spans of one request on this host. The first one is the root of the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinishedTrace {
    pub trace: TraceId,
    pub spans: Vec<SpanRecord>,
}

impl FinishedTrace {
    /// Returns the memory that the trace takes, roughly.
    pub fn bytes(&self) -> usize {
        let of_span = |span: &SpanRecord| {
            RECORD_BYTES + span.attributes.iter().map(|(_, value)| 48 + value.bytes()).sum::<usize>()
        };
        self.spans.iter().map(of_span).sum()
    }
}
