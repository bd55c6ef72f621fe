//! Every way to sign a request, with right and wrong signatures (F5: chunk signatures and trailers are verified).

use crate::harness::client::Body;
use crate::harness::data;
use crate::harness::server::{ACCESS_KEY, SECRET_KEY, Server};
use crate::harness::sigv4::{Keys, Scope};
use time::{Duration, OffsetDateTime};

fn crc32c_base64(bytes: &[u8]) -> String {
    base64_simd::STANDARD.encode_to_string(crc32c::crc32c(bytes).to_be_bytes())
}

#[test]
fn every_way_to_sign_a_body_stores_the_same_bytes() {
    let (_root, server) = Server::fresh();
    let s3 = server.client();
    s3.create_bucket("box").unwrap().expect(200);
    for len in [0, 10, 200_000] {
        let bytes = data::bytes(len as u64, len);
        let checksum = crc32c_base64(&bytes);
        let trailer = Some(("x-amz-checksum-crc32c", checksum.as_str()));
        let ways = [
            Body::Signed(&bytes),
            Body::Unsigned(&bytes),
            Body::Chunked { bytes: &bytes, signed: true, trailer: None },
            Body::Chunked { bytes: &bytes, signed: true, trailer },
            Body::Chunked { bytes: &bytes, signed: false, trailer },
        ];
        for (number, way) in ways.into_iter().enumerate() {
            let path = format!("/box/{len}-{number}");
            s3.call("PUT", &path, &[], &[], way).unwrap().expect(200);
            let answer =
                s3.call("GET", &path, &[], &[("x-amz-checksum-mode", "ENABLED")], Body::None).unwrap().expect(200);
            assert!(answer.body == bytes, "{way:?}");
            assert!(!answer.header("content-encoding").contains("aws-chunked"), "{way:?}");
            if number >= 3 {
                assert_eq!(answer.header("x-amz-checksum-crc32c"), checksum, "{way:?}");
            }
        }
    }
}

#[test]
fn a_wrong_trailer_stores_nothing() {
    let (_root, server) = Server::fresh();
    let s3 = server.client();
    s3.create_bucket("box").unwrap().expect(200);
    let bytes = data::bytes(1, 100_000);
    for signed in [true, false] {
        let trailer = Some(("x-amz-checksum-crc32c", "AAAAAA=="));
        let answer = s3.call("PUT", "/box/k", &[], &[], Body::Chunked { bytes: &bytes, signed, trailer }).unwrap();
        assert!(matches!(answer.code().as_str(), "BadDigest" | "XAmzContentChecksumMismatch"), "{}", answer.text());
        assert_eq!(answer.status, 400);
        s3.get("box", "k").unwrap().expect(404);
    }
}

#[test]
fn a_presigned_url_works_until_it_expires() {
    let (_root, server) = Server::fresh();
    let s3 = server.client();
    s3.create_bucket("box").unwrap().expect(200);
    let put = s3.presigned("PUT", "/box/a key", &[], 60);
    s3.send("PUT", &put, &[], b"by url").unwrap().expect(200);
    let get = s3.presigned("GET", "/box/a key", &[("response-content-type", "text/y")], 60);
    let answer = s3.send("GET", &get, &[], &[]).unwrap().expect(200);
    assert_eq!((answer.body.as_slice(), answer.header("content-type")), (b"by url".as_slice(), "text/y"));
    let earlier = Scope::at(&server.keys, OffsetDateTime::now_utc() - Duration::minutes(5));
    let expired = s3.presigned_at(&earlier, "GET", "/box/a key", &[], 60);
    assert_eq!(s3.send("GET", &expired, &[], &[]).unwrap().expect(403).code(), "AccessDenied");
    let tampered = get.replace("a%20key", "another");
    assert_eq!(s3.send("GET", &tampered, &[], &[]).unwrap().expect(403).code(), "SignatureDoesNotMatch");
}

#[test]
fn unknown_keys_and_anonymous_requests_are_refused() {
    let (_root, server) = Server::fresh();
    let s3 = server.client();
    s3.create_bucket("box").unwrap().expect(200);
    s3.put("box", "k", b"x").unwrap().expect(200);
    let wrong_secret = s3.with_keys(Keys::new(ACCESS_KEY, "not-the-secret"));
    assert_eq!(wrong_secret.get("box", "k").unwrap().expect(403).code(), "SignatureDoesNotMatch");
    let stranger = s3.with_keys(Keys::new("stranger", SECRET_KEY));
    assert_eq!(stranger.get("box", "k").unwrap().expect(403).code(), "InvalidAccessKeyId");
    for (method, target) in [("GET", "/box/k"), ("GET", "/box?list-type=2"), ("GET", "/"), ("PUT", "/box/new")] {
        let answer = s3.send(method, target, &[], b"").unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (403, "AccessDenied"), "{method} {target}");
    }
}

#[test]
fn a_body_other_than_the_signed_one_is_refused() {
    let (_root, server) = Server::fresh();
    let s3 = server.client();
    s3.create_bucket("box").unwrap().expect(200);
    let wrong = data::sha256_hex(b"something else");
    let headers = [("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==")];
    assert_eq!(s3.put_with("box", "k", b"x", &headers).unwrap().expect(400).code(), "BadDigest");
    let request = crate::harness::sigv4::ToSign {
        method: "PUT".to_owned(),
        host: server.s3.to_string(),
        path: "/box/k".to_owned(),
        query: Vec::new(),
        headers: Vec::new(),
    };
    let (headers, _) = crate::harness::sigv4::sign_headers(&Scope::now(&server.keys), &request, &wrong);
    assert_eq!(s3.send("PUT", "/box/k", &headers, b"x").unwrap().expect(400).code(), "XAmzContentSHA256Mismatch");
    s3.get("box", "k").unwrap().expect(404);
}
