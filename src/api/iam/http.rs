//! The HTTP side of a call: reads the whole body, and brings the head into the form over which signatures are verified.

use super::answer::{answer, refuse};
use super::facts::RequestFacts;
use super::service::IamService;
use super::takes::{Head, takes};
use crate::api::call::Call;
use crate::api::identity::resolve;
use crate::api::sharing::gather;
use crate::limits::{BODY_BYTES_MAX, IAM_BODY_BYTES_MAX};
use crate::sigv4::Received;
use http::{HeaderMap, header};
use s3s::{HttpRequest, HttpResponse};
use std::sync::Arc;

/// Returns whether the request is a call of IAM or STS, and not of S3.
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

pub async fn serve(service: &IamService, request: HttpRequest, call: &Call, secure: bool) -> HttpResponse {
    let (head, body) = request.into_parts();
    let bytes_max = if is_short(&head.headers) || !is_known_key(service, &head.headers).await {
        BODY_BYTES_MAX
    } else {
        IAM_BODY_BYTES_MAX
    };
    let body = match gather(body, &call.seat, bytes_max).await {
        Ok(body) => body,
        Err(ungathered) => return refuse(&ungathered.into(), &call.origin.request_id),
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
    let source_ip = call.origin.source_ip.map(|address| address.to_string());
    let seat = Some(Arc::clone(&call.seat));
    let trace = Some(Arc::clone(&call.trace));
    let facts = RequestFacts { source_ip, user_agent, secure, region: service.region.clone(), seat, trace };
    let answer = answer(service, &received, &facts, &call.origin.request_id).await;
    call.trace.set_operation(answer.operation, None, None, answer.access_key);
    answer.response
}

/// Returns whether the declared length of the body is within the limit that applies to every caller.
fn is_short(headers: &HeaderMap) -> bool {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    length.is_some_and(|length: usize| length <= BODY_BYTES_MAX)
}

/// Returns whether the claimed access key exists. The signature covers the body, so it cannot be verified before the
/// body is read.
async fn is_known_key(service: &IamService, headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let credential = text("authorization").and_then(|text| text.split_once("Credential=")?.1.split([',', ' ']).next());
    // An access key may contain slashes; the scope is the last four fields.
    let Some(access_key) = credential.and_then(|credential| credential.rsplitn(5, '/').nth(4)) else { return false };
    let Ok(view) = service.store.view().await else { return false };
    let now = service.ambient.clock.unix_ms();
    let token = text("x-amz-security-token");
    resolve(&service.directory(&*view), service.credential_keys(), access_key, token, now).is_ok()
}

/// Returns the headers as texts. A value that is not text becomes U+FFFD, which no client signs. Were it skipped
/// instead, such a header could be added to a signed request.
fn texts(headers: &HeaderMap) -> Vec<(&str, &str)> {
    headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap_or("\u{fffd}"))).collect()
}
