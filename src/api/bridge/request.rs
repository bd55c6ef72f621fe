//! A request of actix-web (http 0.2) as one of s3s (http 1).

use super::body_bounds::BodyBound;
use super::collected::{Collected, Digests};
use super::frames::{Frames, Signing};
use super::payload::{PayloadHash, may_be_framed};
use super::request_body::RequestBody;
use crate::api::post::is_form;
use crate::api::request_log::RequestTrace;
use crate::api::room::Seat;
use crate::api::s3::{Fault, TlsVersion};
use crate::api::wire::{Level, Query, Target, Trailers, WholeBody};
use actix_web::web::Payload;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header};
use http_body::Body as _;
use std::sync::Arc;

/// The head of a request, converted; its body is passed on apart.
pub fn convert(
    request: &actix_web::HttpRequest,
    payload: Payload,
    seat: &Arc<Seat>,
    trace: &Arc<RequestTrace>,
) -> Result<s3s::HttpRequest, Fault> {
    let malformed = |_| Fault::InvalidRequest("The request's head cannot be read.".to_owned());
    let method =
        Method::from_bytes(request.method().as_str().as_bytes()).map_err(|error| malformed(error.to_string()))?;
    let uri = Uri::try_from(request.uri().to_string()).map_err(|error| malformed(error.to_string()))?;
    let mut headers = headers(request)?;
    let trailers = if method == Method::PUT && is_unsigned(&uri, &headers) { unframe(&mut headers) } else { None };
    let holding = Holding { seat, trace };
    let body = match &trailers {
        Some(trailers) => {
            let frames = Frames::new(Signing::Anonymous);
            let inner = RequestBody::new(payload, Some(frames), None, Arc::clone(trace));
            let inner = inner.with_trailers(trailers.clone());
            match Whole::of(&method, &uri, &headers) {
                Some(whole) => holding.collected(inner, whole.bound, Digests::of(&uri, &headers, whole.of_object)),
                None => s3s::Body::http_body_unsync(inner),
            }
        }
        None => body(&method, &uri, &headers, payload, &holding)?,
    };
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
    converted.extensions_mut().insert(Arc::clone(seat));
    // Where the listener told the connection.
    if let Some(version) = request.conn_data::<TlsVersion>() {
        converted.extensions_mut().insert(*version);
    }
    if let Some(trailers) = trailers {
        converted.extensions_mut().insert(trailers);
    }
    Ok(converted)
}

/// Nobody claims to have signed it.
fn is_unsigned(uri: &Uri, headers: &HeaderMap) -> bool {
    let mut names = uri.query().unwrap_or_default().split('&').map(|pair| pair.split('=').next().unwrap_or_default());
    let in_query = names.any(|name| matches!(name, "X-Amz-Signature" | "Signature"));
    !in_query && !headers.contains_key(header::AUTHORIZATION)
}

/// Where the body of such a request has a framing, the headers are made those of its content; what comes after the last
/// chunk will be in what is returned.
fn unframe(headers: &mut HeaderMap) -> Option<Trailers> {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let coded =
        text(&header::CONTENT_ENCODING).split(',').any(|coding| coding.trim().eq_ignore_ascii_case("aws-chunked"));
    if !coded && !text(&s3s::header::X_AMZ_CONTENT_SHA256).starts_with("STREAMING-") {
        return None;
    }
    let length = headers.get(s3s::header::X_AMZ_DECODED_CONTENT_LENGTH)?.clone();
    headers.insert(header::CONTENT_LENGTH, length);
    headers.remove(header::TRANSFER_ENCODING);
    headers.remove(s3s::header::X_AMZ_CONTENT_SHA256);
    Some(Trailers::default())
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

/// A body that is read whole before anything is done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Whole {
    /// The request's checksum is of the object that it makes.
    of_object: bool,
    /// The operation reads it.
    is_read: bool,
    bound: BodyBound,
}

impl Whole {
    /// `None` for what is read as it comes: objects, and forms.
    fn of(method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<Self> {
        // What is no query is refused later.
        let query = || Query::read(uri.query()).unwrap_or_default();
        let found = Self::as_signed(method, uri, headers, query)?;
        Some(if is_unsigned(uri, headers) { Self { bound: found.bound.unsigned(), ..found } } else { found })
    }

    fn as_signed(method: &Method, uri: &Uri, headers: &HeaderMap, query: impl Fn() -> Query) -> Option<Self> {
        match *method {
            Method::PUT if uri.query().is_some() => {
                let query = query();
                let bound = BodyBound::of_document(|name| query.has(name))?;
                Some(Self { of_object: false, is_read: true, bound })
            }
            // Calls of IAM gather their own, by who sends them.
            Method::POST if uri.query().is_none() && is_urlencoded(headers) => None,
            Method::POST if !is_form(method, headers) => {
                let query = query();
                let deletes = query.has("delete");
                let of_object = uri.query().is_some() && !deletes;
                let completes = query.has("uploadId");
                let bound = match (deletes, completes) {
                    (true, _) => BodyBound::DELETES,
                    (false, true) => BodyBound::COMPLETES,
                    (false, false) => BodyBound::DEFAULT,
                };
                Some(Self { of_object, is_read: deletes || completes, bound })
            }
            _ => None,
        }
    }
}

fn is_urlencoded(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

fn body(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    payload: Payload,
    holding: &Holding<'_>,
) -> Result<s3s::Body, Fault> {
    let trace = holding.trace;
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let chunked = headers.contains_key(header::TRANSFER_ENCODING);
    let is_empty = !chunked && length.unwrap_or(0) == 0;
    let length = length.filter(|_| !chunked);
    let frames = if is_form(method, headers) || !may_be_framed(uri, headers) { None } else { frames(headers) };
    if let Some(whole) = Whole::of(method, uri, headers) {
        let digests = Digests::of(uri, headers, whole.of_object);
        if is_empty && (frames.is_some() || digests.are_of_nothing()) {
            return Ok(s3s::Body::empty());
        }
        if frames.is_some() && whole.is_read {
            return Err(framed_document());
        }
        let inner = RequestBody::new(payload, frames, length, Arc::clone(trace));
        return Ok(holding.collected(inner, whole.bound, digests));
    }
    let hash = PayloadHash::of(method, uri, headers, length).filter(|hash| !is_empty || !hash.is_of_nothing());
    if is_empty && hash.is_none() {
        return Ok(s3s::Body::empty());
    }
    let inner = RequestBody::new(payload, frames, length, Arc::clone(trace)).with_hash(hash);
    Ok(s3s::Body::http_body_unsync(inner))
}

/// What makes a bucket is XML too, which shows only once it is known what the request is aimed at.
pub fn gather(
    request: s3s::HttpRequest,
    target: &Target,
    trace: &Arc<RequestTrace>,
) -> Result<s3s::HttpRequest, Fault> {
    let query = Query::read(request.uri().query()).unwrap_or_default();
    let makes_bucket = *request.method() == Method::PUT && target.level == Level::Bucket;
    if !makes_bucket || BodyBound::of_document(|name| query.has(name)).is_some() {
        return Ok(request);
    }
    let (mut head, body) = request.into_parts();
    let framed = may_be_framed(&head.uri, &head.headers) && frames(&head.headers).is_some();
    let digests = Digests::of(&head.uri, &head.headers, false);
    if body.is_end_stream() && (framed || digests.are_of_nothing()) {
        return Ok(s3s::HttpRequest::from_parts(head, body));
    }
    if framed {
        return Err(framed_document());
    }
    let whole = WholeBody::default();
    head.extensions.insert(whole.clone());
    let seat = Seat::of(&head.extensions);
    let bound = if is_unsigned(&head.uri, &head.headers) { BodyBound::DEFAULT } else { BodyBound::CREATES };
    let collected = Collected::new(body, bound, digests, seat, Arc::clone(trace)).shown(whole);
    Ok(s3s::HttpRequest::from_parts(head, s3s::Body::http_body_unsync(collected)))
}

/// s3s reads none: to it they have no length.
fn framed_document() -> Fault {
    Fault::NotImplemented("Bodies of XML or JSON in the framing aws-chunked are not implemented.".to_owned())
}

/// What a body that is gathered is held under, and told to.
struct Holding<'a> {
    seat: &'a Arc<Seat>,
    trace: &'a Arc<RequestTrace>,
}

impl Holding<'_> {
    fn collected(&self, inner: RequestBody, bound: BodyBound, digests: Digests) -> s3s::Body {
        let (seat, trace) = (Arc::clone(self.seat), Arc::clone(self.trace));
        s3s::Body::http_body_unsync(Collected::new(inner, bound, digests, seat, trace))
    }
}

/// Framed bodies say so in the hash of their payload.
fn frames(headers: &HeaderMap) -> Option<Frames> {
    let payload = headers.get(s3s::header::X_AMZ_CONTENT_SHA256)?.to_str().ok()?;
    let signing = match payload {
        "STREAMING-UNSIGNED-PAYLOAD-TRAILER" => Signing::Unsigned,
        framed if !framed.starts_with("STREAMING-") => return None,
        framed if framed.ends_with("-TRAILER") => Signing::SignedTrailer,
        _ => Signing::Signed,
    };
    Some(Frames::new(signing))
}

#[cfg(test)]
mod tests {
    use super::{Whole, is_unsigned, unframe};
    use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        HeaderMap::from_iter(
            pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))),
        )
    }

    #[test]
    fn a_framing_that_nobody_signed_is_taken_off_the_head() {
        for framing in
            [("content-encoding", "gzip, aws-chunked"), ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")]
        {
            let mut framed =
                headers(&[framing, ("x-amz-decoded-content-length", "5"), ("transfer-encoding", "chunked")]);
            assert!(unframe(&mut framed).is_some());
            assert_eq!(framed.get("content-length").map(|length| length.as_bytes()), Some(&b"5"[..]));
            assert!(!framed.contains_key("transfer-encoding") && !framed.contains_key("x-amz-content-sha256"));
        }
        for plain in [&[("content-encoding", "gzip")][..], &[("content-encoding", "aws-chunked")], &[]] {
            assert!(unframe(&mut headers(plain)).is_none(), "{plain:?}");
        }
    }

    #[test]
    fn a_claim_to_have_signed_is_in_the_head_or_in_the_url() {
        let plain = Uri::from_static("/b/k?versionId=v");
        assert!(is_unsigned(&plain, &HeaderMap::new()));
        assert!(!is_unsigned(&plain, &headers(&[("authorization", "")])));
        for uri in ["/b/k?X-Amz-Signature=s", "/b/k?a&Signature=s"] {
            assert!(!is_unsigned(&Uri::from_static(uri), &HeaderMap::new()), "{uri}");
        }
    }
    #[test]
    fn xml_and_json_are_read_whole_and_objects_and_forms_as_they_come() {
        let whole = |method: Method, uri: &'static str| {
            let found = Whole::of(&method, &Uri::from_static(uri), &HeaderMap::new());
            found.map(|whole| (whole.of_object, whole.is_read))
        };
        for uri in ["/b?policy", "/b?tagging=", "/b/k?tagging&versionId=v", "/b/k?acl", "/k?retention", "/b?%61cl"] {
            assert_eq!(whole(Method::PUT, uri), Some((false, true)), "{uri}");
        }
        for uri in ["/b", "/b/k", "/b/k?x-id=PutObject", "/b/k?partNumber=1&uploadId=u", "/b/policy?renameObject"] {
            assert_eq!(whole(Method::PUT, uri), None, "{uri}");
        }
        assert_eq!(whole(Method::POST, "/b?delete"), Some((false, true)));
        assert_eq!(whole(Method::POST, "/b/k?uploadId=u"), Some((true, true)));
        assert_eq!(whole(Method::POST, "/b/k?uploads"), Some((true, false)));
        assert_eq!(whole(Method::POST, "/"), Some((false, false)));
        assert_eq!(whole(Method::GET, "/b?policy"), None);
        let form = headers(&[("content-type", "multipart/form-data; boundary=x")]);
        assert_eq!(Whole::of(&Method::POST, &Uri::from_static("/b"), &form), None);
    }
}
