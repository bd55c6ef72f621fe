//! The conversion of a request from actix-web's types (`http` 0.2) to those of s3s (`http` 1).

use super::request_body::{BodySource, RequestBody};
use crate::api::call::RequestTrace;
use crate::api::errors::{Fault, RequestFault};
use crate::api::sharing::Seat;
use crate::limits::{REQUEST_HEADERS_BYTES_MAX, REQUEST_TARGET_BYTES_MAX};
use actix_web::web::Payload;
use bytes::{Bytes, BytesMut};
use http::uri::InvalidUri;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header};
use std::sync::Arc;

/// Converts a request. Also returns the connection's side of its body; `None` if the request has no body.
pub fn convert(
    request: &actix_web::HttpRequest,
    payload: Payload,
    seat: &Arc<Seat>,
    trace: &Arc<RequestTrace>,
) -> Result<(s3s::HttpRequest, Option<BodySource>), Fault> {
    let malformed = |_| Fault::InvalidRequest("The method or the URI of the request is malformed.".to_owned());
    let method =
        Method::from_bytes(request.method().as_str().as_bytes()).map_err(|error| malformed(error.to_string()))?;
    let uri = uri(request.uri()).map_err(|error| malformed(error.to_string()))?;
    let mut headers = headers(request)?;
    // With HTTP/2, and with HTTP/1.0 if it likes, a request names its host in the URI alone. From here on all read it in
    // one place.
    if let Some(authority) = uri.authority().filter(|_| !headers.contains_key(header::HOST)) {
        let host = HeaderValue::try_from(authority.as_str()).map_err(|error| malformed(error.to_string()))?;
        headers.insert(header::HOST, host);
    }
    let (source, body) = body(&headers, payload, seat, trace);
    let mut converted = s3s::HttpRequest::new(body);
    *converted.method_mut() = method;
    *converted.uri_mut() = uri;
    *converted.version_mut() = match request.version() {
        actix_web::http::Version::HTTP_10 => Version::HTTP_10,
        actix_web::http::Version::HTTP_2 => Version::HTTP_2,
        _ => Version::HTTP_11,
    };
    *converted.headers_mut() = headers;
    Ok((converted, source))
}

/// Converts a URI, which usually is only a path and a query.
fn uri(uri: &actix_web::http::Uri) -> Result<Uri, InvalidUri> {
    match (uri.scheme(), uri.authority(), uri.path_and_query()) {
        (None, None, Some(target)) => Uri::try_from(target.as_str()),
        _ => Uri::try_from(uri.to_string()),
    }
}

fn body(
    headers: &HeaderMap,
    payload: Payload,
    seat: &Arc<Seat>,
    trace: &Arc<RequestTrace>,
) -> (Option<BodySource>, s3s::Body) {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let chunked = headers.contains_key(header::TRANSFER_ENCODING);
    if !chunked && length.unwrap_or(0) == 0 {
        return (None, s3s::Body::empty());
    }
    let (source, body) = RequestBody::of(payload, length.filter(|_| !chunked), seat, trace);
    (Some(source), s3s::Body::http_body_unsync(body))
}

fn headers(request: &actix_web::HttpRequest) -> Result<HeaderMap, Fault> {
    let mut headers = HeaderMap::with_capacity(request.headers().len());
    let mut values = values(header_bytes(request), request.headers().iter().map(|(_, value)| value.as_bytes()));
    for (name, value) in request.headers() {
        let value = HeaderValue::from_maybe_shared(values.split_to(value.len()));
        let converted = HeaderName::from_bytes(name.as_str().as_bytes()).ok().zip(value.ok());
        let (name, value) =
            converted.ok_or_else(|| Fault::InvalidRequest("A header of the request is malformed.".to_owned()))?;
        headers.append(name, value);
    }
    Ok(headers)
}

/// Concatenates all values of a head into one allocation, of which each header value is a slice. `bytes_max` is the
/// capacity: at least the size of all values.
pub(super) fn values<'a>(bytes_max: usize, values: impl Iterator<Item = &'a [u8]>) -> Bytes {
    let mut all = BytesMut::with_capacity(bytes_max);
    values.for_each(|value| all.extend_from_slice(value));
    all.freeze()
}

/// Refuses a request whose target or header section is too large.
pub fn check_size(request: &actix_web::HttpRequest) -> Result<(), Fault> {
    let target_bytes = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    if target_bytes > REQUEST_TARGET_BYTES_MAX {
        return Err(RequestFault::UriTooLong.into());
    }
    if header_bytes(request) > REQUEST_HEADERS_BYTES_MAX {
        return Err(Fault::RequestHeadersTooLarge);
    }
    Ok(())
}

/// Returns the size of a request's header section.
fn header_bytes(request: &actix_web::HttpRequest) -> usize {
    request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}

#[cfg(test)]
mod tests {
    use super::check_size;
    use crate::api::errors::{Fault, RequestFault};
    use crate::limits::{REQUEST_HEADERS_BYTES_MAX, REQUEST_TARGET_BYTES_MAX};
    use actix_web::test::TestRequest;

    #[test]
    fn a_request_with_a_long_target_or_long_headers_is_refused() {
        let judge = |target: &str, value: &str| {
            check_size(&TestRequest::with_uri(target).insert_header(("x-a", value)).to_http_request())
        };
        let target = |bytes: usize| format!("/b?{}", "a".repeat(bytes - "/b?".len()));
        assert_eq!(judge(&target(REQUEST_TARGET_BYTES_MAX), ""), Ok(()));
        let long = judge(&target(REQUEST_TARGET_BYTES_MAX + 1), "");
        assert_eq!(long, Err(Fault::Request(RequestFault::UriTooLong)));
        assert_eq!(judge("/b", &"v".repeat(REQUEST_HEADERS_BYTES_MAX / 2)), Ok(()));
        assert_eq!(judge("/b", &"v".repeat(REQUEST_HEADERS_BYTES_MAX)), Err(Fault::RequestHeadersTooLarge));
    }
}
