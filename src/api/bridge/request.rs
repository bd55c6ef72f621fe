//! A request of actix-web (http 0.2) as one of s3s (http 1).

use super::collected::{Collected, Digests};
use super::frames::{Frames, Signing};
use super::request_body::RequestBody;
use crate::api::request_log::RequestTrace;
use crate::api::s3::Fault;
use actix_web::web::Payload;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header};
use std::sync::Arc;

/// The head of a request, converted; its body is passed on apart.
pub fn convert(
    request: &actix_web::HttpRequest,
    payload: Payload,
    trace: &Arc<RequestTrace>,
) -> Result<s3s::HttpRequest, Fault> {
    let malformed = |_| Fault::InvalidRequest("The request's head cannot be read.".to_owned());
    let method =
        Method::from_bytes(request.method().as_str().as_bytes()).map_err(|error| malformed(error.to_string()))?;
    let uri = Uri::try_from(request.uri().to_string()).map_err(|error| malformed(error.to_string()))?;
    let headers = headers(request)?;
    let body = body(&method, &uri, &headers, payload, trace);
    let mut converted = s3s::HttpRequest::new(body);
    *converted.method_mut() = method;
    *converted.uri_mut() = uri;
    *converted.version_mut() = match request.version() {
        actix_web::http::Version::HTTP_10 => Version::HTTP_10,
        actix_web::http::Version::HTTP_2 => Version::HTTP_2,
        _ => Version::HTTP_11,
    };
    *converted.headers_mut() = headers;
    converted.extensions_mut().insert(Arc::clone(trace));
    Ok(converted)
}

fn headers(request: &actix_web::HttpRequest) -> Result<HeaderMap, Fault> {
    let mut headers = HeaderMap::with_capacity(request.headers().len());
    for (name, value) in request.headers() {
        let converted =
            HeaderName::from_bytes(name.as_str().as_bytes()).ok().zip(HeaderValue::from_bytes(value.as_bytes()).ok());
        let (name, value) =
            converted.ok_or_else(|| Fault::InvalidRequest("A header of the request cannot be read.".to_owned()))?;
        headers.append(name, value);
    }
    Ok(headers)
}

/// How large a request's header section is.
pub fn header_bytes(request: &actix_web::HttpRequest) -> usize {
    request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}

fn body(method: &Method, uri: &Uri, headers: &HeaderMap, payload: Payload, trace: &Arc<RequestTrace>) -> s3s::Body {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let chunked = headers.contains_key(header::TRANSFER_ENCODING);
    if !chunked && length.unwrap_or(0) == 0 {
        return s3s::Body::empty();
    }
    let inner = RequestBody::new(payload, frames(headers), length.filter(|_| !chunked), Arc::clone(trace));
    if *method == Method::POST {
        let of_object = uri.query().is_some_and(|query| !query.split('&').any(|name| name.starts_with("delete")));
        let digests = Digests::of(headers, of_object);
        return s3s::Body::http_body_unsync(Collected::new(inner, digests, Arc::clone(trace)));
    }
    s3s::Body::http_body_unsync(inner)
}

/// Framed bodies say so in the hash of their payload.
fn frames(headers: &HeaderMap) -> Option<Frames> {
    let payload = headers.get(s3s::header::X_AMZ_CONTENT_SHA256)?.to_str().ok()?;
    let signing = match payload {
        "STREAMING-UNSIGNED-PAYLOAD-TRAILER" => Signing::Unsigned,
        framed if framed.starts_with("STREAMING-") => Signing::Signed,
        _ => return None,
    };
    Some(Frames::new(signing))
}
