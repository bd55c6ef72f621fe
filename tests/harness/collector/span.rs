//! The spans of an OTLP request.

use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
pub struct Span {
    pub trace: String,
    pub id: String,
    pub parent: Option<String>,
    pub name: String,
    /// 1 internal, 2 server, 3 client.
    pub kind: u64,
    /// Nanoseconds since the Unix epoch.
    pub start: u64,
    pub end: u64,
    pub is_failed: bool,
    pub attributes: BTreeMap<String, Value>,
    /// The attributes of the process that sent it.
    pub resource: BTreeMap<String, Value>,
}

impl Span {
    /// The value of an attribute as text; empty if it is absent.
    pub fn text(&self, key: &str) -> &str {
        self.attributes.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    /// The id of the host that sent it.
    pub fn host(&self) -> &str {
        self.resource["service.instance.id"].as_str().expect("it is text")
    }

    /// Returns whether it lies within the time of this span.
    pub fn is_within(&self, outer: &Self) -> bool {
        outer.start <= self.start && self.end <= outer.end
    }
}

/// Decodes the body of a request.
pub fn decode(body: &[u8]) -> Vec<Span> {
    let request: Value = serde_json::from_slice(body).expect("it is JSON");
    let mut spans = Vec::new();
    for of_resource in list(&request["resourceSpans"]) {
        let resource = attributes(&of_resource["resource"]);
        for scope in list(&of_resource["scopeSpans"]) {
            spans.extend(list(&scope["spans"]).iter().map(|found| span(found, &resource)));
        }
    }
    spans
}

fn span(found: &Value, resource: &BTreeMap<String, Value>) -> Span {
    let text = |key: &str| found[key].as_str().unwrap_or_else(|| panic!("{key} is text: {found}")).to_owned();
    let time = |key: &str| text(key).parse().expect("a number");
    let (trace, id) = (text("traceId"), text("spanId"));
    assert!(trace.len() == 32 && id.len() == 16, "{found}");
    let (start, end): (u64, u64) = (time("startTimeUnixNano"), time("endTimeUnixNano"));
    assert!(start <= end, "{found}");
    Span {
        trace,
        id,
        parent: found.get("parentSpanId").map(|_| text("parentSpanId")),
        name: text("name"),
        kind: found["kind"].as_u64().expect("a number"),
        start,
        end,
        is_failed: found["status"]["code"] == 2,
        attributes: attributes(found),
        resource: resource.clone(),
    }
}

fn list(found: &Value) -> &[Value] {
    found.as_array().expect("a list")
}

/// Numbers, which are text on the wire, become numbers.
fn attributes(of: &Value) -> BTreeMap<String, Value> {
    let value = |value: &Value| match (&value["intValue"], &value["stringValue"], &value["boolValue"]) {
        (Value::String(number), _, _) => Value::from(number.parse::<i64>().expect("a number")),
        (_, Value::String(text), _) => Value::from(text.clone()),
        (_, _, Value::Bool(flag)) => Value::from(*flag),
        _ => panic!("an unknown value: {value}"),
    };
    let pair = |found: &Value| (found["key"].as_str().expect("a key").to_owned(), value(&found["value"]));
    list(&of["attributes"]).iter().map(pair).collect()
}
