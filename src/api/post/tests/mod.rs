//! Tests of whole forms and the PUT requests that they become.

use super::{Forms, Posted};
use crate::api::auth::Secrets;
use crate::api::call::Call;
use crate::api::call::RequestView;
use crate::api::call::Target;
use crate::types::LegacySignatures;
use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderValue, Method};
use s3s::auth::SecretKey;
use s3s::{Body, HttpRequest, S3Error, S3ErrorCode, S3Result};
use std::sync::Arc;
use time::OffsetDateTime;

/// The access key of the examples that AWS publishes.
const ACCESS_KEY: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
/// 2015-12-29T00:00:00Z
const NOW_S: i64 = 1_451_347_200;
/// The policy that botocore makes at `NOW_S` for the key `user/user1/photo.jpg` of the bucket `sigv4examplebucket`,
/// valid for an hour.
const POLICY: &str = "eyJleHBpcmF0aW9uIjogIjIwMTUtMTItMjlUMDE6MDA6MDBaIiwgImNvbmRpdGlvbnMiOiBbeyJidWNrZXQiOiAic2lndjRleGFtcGxlYnVja2V0In0sIHsia2V5IjogInVzZXIvdXNlcjEvcGhvdG8uanBnIn0sIHsieC1hbXotYWxnb3JpdGhtIjogIkFXUzQtSE1BQy1TSEEyNTYifSwgeyJ4LWFtei1jcmVkZW50aWFsIjogIkFLSUFJT1NGT0ROTjdFWEFNUExFLzIwMTUxMjI5L3VzLWVhc3QtMS9zMy9hd3M0X3JlcXVlc3QifSwgeyJ4LWFtei1kYXRlIjogIjIwMTUxMjI5VDAwMDAwMFoifV19";
const SIGNATURE: &str = "3364624b39010d9b06f5d9b8c9a18a6e478d261c048159c92f2fd6fa885f14e6";
const FIELDS: [(&str, &str); 6] = [
    ("key", "user/user1/photo.jpg"),
    ("x-amz-algorithm", "AWS4-HMAC-SHA256"),
    ("x-amz-credential", "AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request"),
    ("x-amz-date", "20151229T000000Z"),
    ("policy", POLICY),
    ("x-amz-signature", SIGNATURE),
];

struct OneKey;

#[async_trait::async_trait]
impl Secrets for OneKey {
    async fn secret_key(&self, access_key: &str, _: &RequestView) -> S3Result<SecretKey> {
        if access_key == ACCESS_KEY { Ok(SECRET_KEY.into()) } else { Err(S3ErrorCode::InvalidAccessKeyId.into()) }
    }
}

fn form(fields: &[(&str, &str)], file: &str) -> String {
    let mut body = String::new();
    for (name, value) in fields {
        body +=
            &format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{name}\"\r\n\r\n{value}\r\n");
    }
    body += &format!(
        "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"photo.jpg\"\r\n\r\n{file}\r\n--b--\r\n"
    );
    body
}

fn receive_at(
    target: &Target,
    body: String,
    seconds: i64,
    legacy: LegacySignatures,
) -> Result<(Posted, Call), S3Error> {
    let forms = Forms { secrets: Arc::new(OneKey), scheme: "http", legacy };
    let mut request = HttpRequest::new(Body::from(Bytes::from(body.clone())));
    *request.method_mut() = Method::POST;
    for (name, value) in [
        ("content-type", "multipart/form-data; boundary=b"),
        ("host", "h:9000"),
        ("user-agent", "a browser"),
        ("x-amz-copy-source", "/another/secret"),
    ] {
        request.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    request.headers_mut().insert("content-length", HeaderValue::from(body.len()));
    let now = OffsetDateTime::from_unix_timestamp(seconds).expect("a moment");
    let mut call = Call::default();
    let posted = block_on(forms.receive(request, target, &mut call, now))?;
    Ok((posted, call))
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime").block_on(future)
}

fn receive(fields: &[(&str, &str)], file: &str) -> Result<(Posted, Call), S3Error> {
    let target = Target::of("/sigv4examplebucket", None).expect("a target");
    receive_at(&target, form(fields, file), NOW_S, LegacySignatures::Urls)
}

fn refusal(fields: &[(&str, &str)]) -> String {
    let refused = receive(fields, "f").err().expect("refused");
    format!("{}: {}", refused.code().as_str(), refused.message().unwrap_or_default())
}

fn content(posted: Posted) -> Vec<u8> {
    let pieces: Vec<_> = block_on(posted.request.into_body().collect());
    pieces.into_iter().flat_map(|piece| piece.expect("a piece").to_vec()).collect()
}

fn with<'a>(name: &'a str, value: &'a str) -> Vec<(&'a str, &'a str)> {
    FIELDS.into_iter().map(|(field, given)| if field == name { (field, value) } else { (field, given) }).collect()
}

#[test]
fn a_form_signed_by_botocore_becomes_a_put_of_its_signer() {
    let (posted, call) = receive(&FIELDS, "the content").expect("allowed");
    let request = &posted.request;
    assert_eq!((request.method(), request.uri().path()), (&Method::PUT, "/sigv4examplebucket/user/user1/photo.jpg"));
    let verified = &call.authentication;
    let signature = verified.signature.as_ref().map(|signature| (signature.auth_type, signature.version));
    assert_eq!((verified.access_key.as_deref(), signature), (Some(ACCESS_KEY), Some(("POST", "AWS4-HMAC-SHA256"))));
    assert!(call.is_form);
    let names: Vec<&str> = request.headers().keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["host", "user-agent"]);
    assert_eq!(content(posted), b"the content");
}

#[test]
fn an_unsigned_form_becomes_an_anonymous_put() {
    let fields = [("key", "a b/${filename}"), ("acl", "public-read"), ("Content-Disposition", "\u{e9}")];
    let (posted, call) = receive(&fields, "f").expect("allowed so far");
    let request = &posted.request;
    assert_eq!(request.uri().path(), "/sigv4examplebucket/a%20b/photo.jpg");
    assert_eq!(request.headers().get("x-amz-acl").map(|acl| acl.as_bytes()), Some(&b"public-read"[..]));
    assert_eq!(call.authentication.access_key, None);
    assert!(call.headers_aside.contains_key("content-disposition"));
}

#[test]
fn a_virtual_hosted_form_puts_the_key_at_the_root_of_the_path() {
    let target = Target::of("/", Some("sigv4examplebucket".to_owned())).expect("a target");
    let path = |key: &str| {
        let (posted, _) =
            receive_at(&target, form(&[("key", key)], ""), NOW_S, LegacySignatures::Urls).expect("allowed");
        posted.request.uri().path().to_owned()
    };
    assert_eq!((path("k"), path("/k"), path("../k?")), ("/k".to_owned(), "//k".to_owned(), "/../k%3F".to_owned()));
}

#[test]
fn a_malformed_form_is_refused_with_its_fault() {
    assert!(refusal(&FIELDS[1..]).starts_with("InvalidArgument: Bucket POST must contain a field named 'key'.  If"));
    assert!(refusal(&with("key", "")).starts_with("InvalidArgument: User key"));
    assert!(refusal(&with("x-amz-signature", "00")).starts_with("SignatureDoesNotMatch"));
    assert!(
        refusal(&with("x-amz-credential", "AK/20151229/us-east-1/s3/aws4_request")).starts_with("InvalidAccessKeyId")
    );
    assert_eq!(
        refusal(&with("key", "user/user2/photo.jpg")),
        "AccessDenied: Invalid according to Policy: Policy Condition failed: [\"eq\", \"$key\", \"user/user1/photo.jpg\"]"
    );
    let extra = [&FIELDS[..], &[("acl", "private")]].concat();
    assert_eq!(refusal(&extra), "AccessDenied: Invalid according to Policy: Extra input fields: acl");
}

#[test]
fn a_form_policy_is_valid_only_for_its_bucket_and_until_it_expires() {
    let judge = |bucket: &str, seconds: i64| {
        let target = Target::of(bucket, None).expect("a target");
        receive_at(&target, form(&FIELDS, "f"), seconds, LegacySignatures::Urls)
            .err()
            .map(|refused| refused.to_string())
    };
    assert_eq!(judge("/sigv4examplebucket", NOW_S + 3599), None);
    assert!(judge("/sigv4examplebucket", NOW_S + 3600).is_some_and(|why| why.contains("Policy expired.")));
    assert!(judge("/another", NOW_S).is_some_and(|why| why.contains("$bucket")));
}

#[test]
fn a_form_posted_to_the_service_or_an_object_is_refused() {
    for path in ["/", "/b/k"] {
        let target = Target::of(path, None).expect("a target");
        let refused = receive_at(&target, form(&FIELDS, "f"), NOW_S, LegacySignatures::Urls).err().expect("refused");
        assert_eq!(refused.code().as_str(), "MethodNotAllowed", "{path}");
    }
}

#[test]
fn form_signatures_of_version_2_can_be_turned_off() {
    let target = Target::of("/b", None).expect("a target");
    let fields = [("key", "k"), ("AWSAccessKeyId", ACCESS_KEY), ("signature", "wrong"), ("policy", POLICY)];
    let code = |legacy| {
        let refused = receive_at(&target, form(&fields, "f"), NOW_S, legacy).err().expect("refused");
        refused.code().as_str().to_owned()
    };
    assert_eq!(code(LegacySignatures::Urls), "SignatureDoesNotMatch");
    assert_eq!(code(LegacySignatures::Off), "InvalidRequest");
}

#[test]
fn a_form_that_ends_before_its_file_is_malformed() {
    let target = Target::of("/b", None).expect("a target");
    let cut = "--b\r\nContent-Disposition: form-data; name=key\r\n\r\nk".to_owned();
    let refused = receive_at(&target, cut, NOW_S, LegacySignatures::Urls).err().expect("refused");
    assert_eq!(refused.code().as_str(), "MalformedPOSTRequest");
}
