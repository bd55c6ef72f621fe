//! The root span of a request: begun from its head, and completed when it ends. Names and attributes are those of
//! OpenTelemetry's semantic conventions (HTTP, RPC, AWS S3). The query of the URL is left out: it has signatures and
//! tokens.

use crate::api::call::RequestTrace;
use crate::traces::{SpanRecord, Spans, TraceParent, Tracer, Value};
use actix_web::HttpRequest;
use actix_web::http::{Method, Version, header};
use std::net::SocketAddr;

const TRACEPARENT: &str = "traceparent";

/// Begins the root span, in the client's trace if the request names one.
pub fn begin(tracer: &Tracer, request: &HttpRequest, is_secure: bool) -> Spans {
    let spans = tracer.request(client(request));
    spans.describe(|root| {
        let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
        root.set("http.request.method", method(request.method()));
        root.set("url.scheme", if is_secure { "https" } else { "http" });
        root.set("url.path", Value::text(request.uri().path()));
        root.set("network.protocol.version", version(request.version()));
        text(header::HOST).into_iter().for_each(|host| root.set("server.address", Value::text(host)));
        text(header::USER_AGENT).into_iter().for_each(|agent| root.set("user_agent.original", Value::text(agent)));
        if let Some(peer) = request.peer_addr() {
            set_peer(root, peer);
        }
    });
    spans
}

/// Returns the client's span; `None` if the header is absent, there more than once, or invalid.
fn client(request: &HttpRequest) -> Option<TraceParent> {
    let mut values = request.headers().get_all(TRACEPARENT);
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    TraceParent::parse(value.as_bytes())
}

fn set_peer(root: &mut SpanRecord, peer: SocketAddr) {
    root.set("client.address", peer.ip().to_string());
    root.set("client.port", u64::from(peer.port()));
}

/// Returns the method as the conventions have it: unknown ones are `_OTHER`.
fn method(method: &Method) -> &'static str {
    let known = ["GET", "PUT", "HEAD", "POST", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE"];
    known.into_iter().find(|known| method.as_str() == *known).unwrap_or("_OTHER")
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
}

/// A request as it ended.
pub struct Ended<'a> {
    pub id: &'a str,
    pub trace: &'a RequestTrace,
    /// `None` if the client went away before the response.
    pub status: Option<u16>,
    pub code: Option<&'a str>,
    pub sent_bytes: u64,
    pub broken: Option<&'a str>,
}

/// Completes the root span, and has the trace exported. A request that the client got wrong (4xx) is no failure of the
/// span, as the conventions have it for servers; its `error.type` tells.
pub fn finish(ended: &Ended<'_>) {
    let trace = ended.trace;
    trace.spans().finish(|root| {
        let operation = trace.operation();
        root.name = format!("S3/{operation}").into();
        root.set("rpc.system", "aws-api");
        root.set("rpc.service", "S3");
        root.set("rpc.method", operation);
        root.set("aws.request_id", ended.id.to_owned());
        trace.bucket().into_iter().for_each(|bucket| root.set("aws.s3.bucket", Value::text(bucket)));
        trace.key().into_iter().for_each(|key| root.set("aws.s3.key", Value::text(key)));
        trace.requester().into_iter().for_each(|requester| root.set("enduser.id", Value::text(requester)));
        root.set("http.request.body.size", trace.received_bytes());
        root.set("http.response.body.size", ended.sent_bytes);
        ended.status.into_iter().for_each(|status| root.set("http.response.status_code", u64::from(status)));
        let is_server_fault = ended.status.is_some_and(|status| status >= 500);
        let kind = match (ended.status, ended.code, ended.broken) {
            (None, _, _) => Some("client_gone".into()),
            (_, _, Some(_)) => Some("response_broken".into()),
            (_, Some(code), _) => Some(Value::text(code)),
            (Some(status), None, _) if status >= 400 => Some(status.to_string().into()),
            _ => None,
        };
        kind.into_iter().for_each(|kind| root.set("error.type", kind));
        root.is_failed = is_server_fault || ended.status.is_none() || ended.broken.is_some();
    });
}
