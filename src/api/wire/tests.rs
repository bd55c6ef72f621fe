//! Requests through s3s and around it: what the access check and the operation see of them.

use super::{Around, Handback, Remedies, signer, whole};
use crate::sigv4::Signer;
use bytes::Bytes;
use futures::executor::block_on;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::SimpleAuth;
use s3s::dto::{GetObjectInput, GetObjectOutput, PutObjectInput, PutObjectOutput};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, HttpRequest, S3, S3Request, S3Response, S3Result};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

const HOST: &str = "h:9000";

/// What an operation saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    who: Option<String>,
    range: Option<String>,
    disposition: Option<Vec<u8>>,
    content: Vec<u8>,
}

#[derive(Clone, Default)]
struct Operations(Arc<Mutex<Option<Seen>>>);

#[derive(Clone)]
struct Who(Option<String>);

#[async_trait::async_trait]
impl S3 for Operations {
    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let request = whole(request);
        let who = request.extensions.get::<Who>().and_then(|who| who.0.clone());
        let range = request.input.range.map(|range| range.to_header_string());
        *self.0.lock().expect("not poisoned") = Some(Seen { who, range, ..Seen::default() });
        Ok(S3Response::new(GetObjectOutput::default()))
    }

    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let mut request = whole(request);
        let who = request.extensions.get::<Who>().and_then(|who| who.0.clone());
        let disposition = request.headers.get("content-disposition").map(|value| value.as_bytes().to_vec());
        let mut content = Vec::new();
        while let Some(piece) = futures::StreamExt::next(request.input.body.as_mut().expect("a body")).await {
            content.extend_from_slice(&piece.expect("a piece"));
        }
        *self.0.lock().expect("not poisoned") = Some(Seen { who, disposition, content, ..Seen::default() });
        Ok(S3Response::new(PutObjectOutput::default()))
    }
}

/// Lets everybody in who signed what must be signed, or nothing at all.
struct Gate;

#[async_trait::async_trait]
impl S3Access for Gate {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let who = Who(signer(cx)?);
        cx.extensions_mut().insert(who);
        Ok(())
    }
}

fn service(operations: &Operations) -> S3Service {
    let mut builder = S3ServiceBuilder::new(operations.clone());
    builder.set_auth(SimpleAuth::from_single("key", "secret"));
    builder.set_access(Gate);
    builder.set_route(Around);
    builder.build()
}

fn request(method: Method, headers: &[(&'static str, &str)], body: &'static [u8], signed: bool) -> HttpRequest {
    let mut request = HttpRequest::new(Body::from(Bytes::from_static(body)));
    *request.uri_mut() = "/bucket/k".parse().expect("a URI");
    let mut put = |name: &'static str, value: &str| {
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("a value");
        request.headers_mut().insert(HeaderName::from_static(name), value);
    };
    put("host", HOST);
    headers.iter().for_each(|(name, value)| put(name, value));
    put("content-length", &body.len().to_string());
    if signed {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after the epoch").as_secs();
        let signer = Signer { access_key: "key", secret_key: "secret", region: "us-east-1", service: "s3" };
        for (name, value) in signer.headers(now, method.as_str(), "/bucket/k", HOST, body) {
            put(name, &value);
        }
    }
    *request.method_mut() = method;
    request
}

/// The status of the last answer, and what the operation saw, if it was called.
fn ask(mut request: HttpRequest) -> (StatusCode, Option<Seen>) {
    let operations = Operations::default();
    let service = service(&operations);
    let remedies = Remedies::find(request.method(), request.headers(), Duration::ZERO);
    assert!(!remedies.is_empty());
    let handback = Handback::new(remedies);
    request.extensions_mut().insert(handback.clone());
    let first = block_on(service.call(request)).expect("an answer");
    let status = match handback.take() {
        Some(again) => block_on(service.call(again)).expect("an answer").status(),
        None => first.status(),
    };
    let seen = operations.0.lock().expect("not poisoned").take();
    (status, seen)
}

#[test]
fn a_signed_request_goes_around_s3s_with_its_signer() {
    let (status, seen) = ask(request(Method::GET, &[("range", "bytes=0-1,3-4")], b"", true));
    let expected = Seen { who: Some("key".to_owned()), ..Seen::default() };
    assert_eq!((status, seen), (StatusCode::OK, Some(expected)));
    let (_, seen) = ask(request(Method::GET, &[("range", "bytes=7-99999999999999999999")], b"", true));
    assert_eq!(seen.and_then(|seen| seen.range).as_deref(), Some("bytes=7-"));
}

#[test]
fn a_request_of_nobody_stays_nobodys() {
    let (status, seen) = ask(request(Method::GET, &[("range", "lines=1")], b"", false));
    assert_eq!((status, seen), (StatusCode::OK, Some(Seen::default())));
}

#[test]
fn a_wrong_signature_does_not_come_as_far_as_the_operation() {
    let mut forged = request(Method::GET, &[("range", "lines=1")], b"", true);
    forged.headers_mut().insert("x-amz-date", HeaderValue::from_static("20150830T123600Z"));
    let (status, seen) = ask(forged);
    assert_eq!((status, seen), (StatusCode::FORBIDDEN, None));
}

#[test]
fn what_a_signature_must_cover_is_asked_of_the_head_as_it_came() {
    let mut added = request(Method::GET, &[("range", "lines=1")], b"", true);
    added.headers_mut().insert("x-amz-expected-bucket-owner", HeaderValue::from_static("me"));
    let (status, seen) = ask(added);
    assert_eq!((status, seen), (StatusCode::FORBIDDEN, None));
}

#[test]
fn a_put_keeps_its_content_and_the_operation_gets_back_what_went_aside() {
    let headers = [("content-disposition", "attachment; filename=\u{e9}")];
    let (status, seen) = ask(request(Method::PUT, &headers, b"the content", true));
    let seen = seen.expect("stored");
    assert_eq!((status, seen.who.as_deref(), &seen.content[..]), (StatusCode::OK, Some("key"), &b"the content"[..]));
    assert_eq!(seen.disposition.as_deref(), Some("attachment; filename=\u{e9}".as_bytes()));
}
