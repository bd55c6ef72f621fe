//! The encoding of traces in OTLP's JSON form (`ExportTraceServiceRequest`): ids in hexadecimal, enumerations as
//! numbers, 64-bit integers as text.

use super::record::{FinishedTrace, SpanRecord, Value};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

/// The instrumentation scope of all spans.
const SCOPE: &str = "sherd";
/// The version of the semantic conventions that names and attributes follow.
const SCHEMA: &str = "https://opentelemetry.io/schemas/1.37.0";
/// The status code of a span that failed; others have none.
const STATUS_ERROR: u8 = 2;

/// The attributes of the process that exports.
#[derive(Clone, Debug, Default)]
pub struct Resource(pub Vec<(&'static str, String)>);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    resource_spans: [ResourceSpans<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans<'a> {
    resource: Attributes<Vec<Attribute<'a>>>,
    scope_spans: [ScopeSpans<'a>; 1],
    schema_url: &'static str,
}

#[derive(Serialize)]
struct Attributes<T> {
    attributes: T,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ScopeSpans<'a> {
    scope: Scope,
    spans: Vec<Span<'a>>,
    schema_url: &'static str,
}

#[derive(Serialize)]
struct Scope {
    name: &'static str,
    version: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Span<'a> {
    trace_id: String,
    span_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_span_id: Option<String>,
    name: &'a str,
    kind: u8,
    start_time_unix_nano: String,
    end_time_unix_nano: String,
    attributes: Vec<Attribute<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
}

#[derive(Serialize)]
struct Status {
    code: u8,
}

#[derive(Serialize)]
struct Attribute<'a> {
    key: &'a str,
    value: Encoded<'a>,
}

/// A value, as a map of its type's name.
enum Encoded<'a> {
    Text(&'a str),
    Number(i64),
    Flag(bool),
}

impl Serialize for Encoded<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        match self {
            Self::Text(text) => map.serialize_entry("stringValue", text)?,
            Self::Number(number) => map.serialize_entry("intValue", &number.to_string())?,
            Self::Flag(flag) => map.serialize_entry("boolValue", flag)?,
        }
        map.end()
    }
}

impl<'a> Encoded<'a> {
    fn of(value: &'a Value) -> Self {
        match value {
            Value::Text(text) => Self::Text(text),
            Value::Number(number) => Self::Number(*number),
            Value::Flag(flag) => Self::Flag(*flag),
        }
    }
}

impl<'a> Span<'a> {
    fn of(trace: &FinishedTrace, span: &'a SpanRecord) -> Self {
        let attribute = |(key, value): &'a (&'static str, Value)| Attribute { key, value: Encoded::of(value) };
        Self {
            trace_id: trace.trace.to_string(),
            span_id: span.id.to_string(),
            parent_span_id: span.parent.map(|parent| parent.to_string()),
            name: &span.name,
            kind: span.kind as u8,
            start_time_unix_nano: span.start_ns.to_string(),
            end_time_unix_nano: span.end_ns.unwrap_or(span.start_ns).to_string(),
            attributes: span.attributes.iter().map(attribute).collect(),
            status: span.is_failed.then_some(Status { code: STATUS_ERROR }),
        }
    }
}

/// Encodes traces as the body of a request to `/v1/traces`.
pub fn encode(resource: &Resource, traces: &[FinishedTrace]) -> Vec<u8> {
    let attributes =
        resource.0.iter().map(|(key, text)| Attribute { key, value: Encoded::Text(text) }).collect::<Vec<_>>();
    let spans = traces.iter().flat_map(|trace| trace.spans.iter().map(|span| Span::of(trace, span))).collect();
    let scope = Scope { name: SCOPE, version: env!("CARGO_PKG_VERSION") };
    let scope_spans = [ScopeSpans { scope, spans, schema_url: SCHEMA }];
    let request = Request {
        resource_spans: [ResourceSpans { resource: Attributes { attributes }, scope_spans, schema_url: SCHEMA }],
    };
    serde_json::to_vec(&request).expect("numbers and texts can be encoded")
}

#[cfg(test)]
mod tests {
    use super::{Resource, encode};
    use crate::traces::{FinishedTrace, SpanId, SpanKind, SpanRecord, TraceId};
    use serde_json::json;

    #[test]
    fn a_trace_is_encoded_as_otlp_json() {
        let root = SpanRecord {
            id: SpanId(0xab),
            parent: None,
            name: "S3/GetObject".into(),
            kind: SpanKind::Server,
            start_ns: 1_700_000_000_000_000_001,
            end_ns: Some(1_700_000_000_000_000_009),
            attributes: vec![("key", "a\"b".to_owned().into()), ("size", 7u64.into()), ("late", true.into())],
            is_failed: true,
        };
        let child = SpanRecord {
            id: SpanId(u64::MAX),
            parent: Some(SpanId(0xab)),
            kind: SpanKind::Client,
            attributes: vec![],
            is_failed: false,
            ..root.clone()
        };
        let trace = FinishedTrace { trace: TraceId(0xcd), spans: vec![root, child] };
        let body = encode(&Resource(vec![("service.name", "sherd".to_owned())]), &[trace]);
        let found: serde_json::Value = serde_json::from_slice(&body).expect("it is JSON");
        let of_resource = &found["resourceSpans"][0];
        assert_eq!(
            of_resource["resource"]["attributes"],
            json!([{ "key": "service.name", "value": { "stringValue": "sherd" } }])
        );
        let spans = &of_resource["scopeSpans"][0]["spans"];
        assert_eq!(
            spans[0],
            json!({
                "traceId": format!("{:032x}", 0xcd),
                "spanId": "00000000000000ab",
                "name": "S3/GetObject",
                "kind": 2,
                "startTimeUnixNano": "1700000000000000001",
                "endTimeUnixNano": "1700000000000000009",
                "attributes": [
                    { "key": "key", "value": { "stringValue": "a\"b" } },
                    { "key": "size", "value": { "intValue": "7" } },
                    { "key": "late", "value": { "boolValue": true } },
                ],
                "status": { "code": 2 },
            })
        );
        assert_eq!((&spans[1]["parentSpanId"], &spans[1]["kind"]), (&json!("00000000000000ab"), &json!(3)));
        assert!(spans[1].get("status").is_none() && spans[0].get("parentSpanId").is_none());
    }
}
