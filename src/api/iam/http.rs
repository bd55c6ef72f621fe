//! A call as HTTP brings it: its body read whole, its head in the form that signatures are verified over.

use super::answer::answer;
use super::call::RequestFacts;
use super::service::IamService;
use super::takes::{Head, takes};
use crate::api::request_log::RequestTrace;
use crate::sigv4::Received;
use http::{HeaderMap, StatusCode, header};
use s3s::{HttpRequest, HttpResponse};
use std::sync::Arc;

/// Forms of IAM are policies at most, a few of them.
const BODY_BYTES_MAX: usize = 1 << 20;

/// Whether the request is a call of IAM or STS, and not of S3.
pub fn is_call(request: &HttpRequest) -> bool {
    let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    takes(&Head {
        method: request.method().as_str(),
        path: request.uri().path(),
        query: request.uri().query().unwrap_or_default(),
        content_type: text(header::CONTENT_TYPE),
        authorization: text(header::AUTHORIZATION),
    })
}

/// Who asks from where, and whether over TLS.
#[derive(Clone, Debug, Default)]
pub struct From {
    pub source_ip: Option<String>,
    pub secure: bool,
}

pub async fn serve(
    service: &IamService,
    request: HttpRequest,
    from: From,
    request_id: &str,
    trace: &Arc<RequestTrace>,
) -> HttpResponse {
    let (head, mut body) = request.into_parts();
    let Ok(body) = body.store_all_limited(BODY_BYTES_MAX).await else {
        let mut refused = HttpResponse::new(s3s::Body::empty());
        *refused.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
        return refused;
    };
    let headers = texts(&head.headers);
    let received = Received {
        method: head.method.as_str(),
        path: head.uri.path(),
        query: head.uri.query().unwrap_or_default(),
        headers: &headers,
        body: &body,
    };
    let user_agent = headers.iter().find(|(name, _)| *name == "user-agent").map(|(_, value)| (*value).to_owned());
    let From { source_ip, secure } = from;
    let facts = RequestFacts { source_ip, user_agent, secure, region: service.region.clone() };
    let answer = answer(service, &received, &facts, request_id).await;
    trace.resolved(answer.operation, None, None, answer.access_key);
    answer.response
}

/// Values that are no text cannot have been signed.
fn texts(headers: &HeaderMap) -> Vec<(&str, &str)> {
    headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).collect()
}
