//! Tests against the signatures that AWS publishes: its test suite for Signature Version 4, and the examples of the S3
//! API Reference ("Authenticating Requests: Using the Authorization Header").

use super::{Claimed, Received, SignatureFault, Signer, ToSign, Verifier, claimed, read_stamp, sha256_hex, stamp};
use proptest::prelude::{any, proptest};

const SUITE: Signer<'_> = Signer {
    access_key: "AKIDEXAMPLE",
    secret_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
    region: "us-east-1",
    service: "service",
};
const SUITE_STAMP: &str = "20150830T123600Z";
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn suite(method: &str, path: &str, query: &str, headers: &[(&str, &str)]) -> String {
    let request = ToSign { method, path, query, headers, body_sha256: EMPTY };
    SUITE.signature(SUITE_STAMP, &request)
}

#[test]
fn the_signatures_of_awss_test_suite_are_reproduced() {
    let base = [("host", "example.amazonaws.com"), ("x-amz-date", SUITE_STAMP)];
    let vanilla = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
    assert_eq!(suite("GET", "/", "", &base), vanilla, "get-vanilla");
    assert_eq!(
        suite("GET", "/", "Param2=value2&Param1=value1", &base),
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        "get-vanilla-query-order-key-case"
    );
    assert_eq!(
        suite("POST", "/", "", &base),
        "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
        "post-vanilla"
    );
    let trimmed = [
        ("host", "example.amazonaws.com"),
        ("my-header1", " value1"),
        ("my-header2", " \"a   b   c\""),
        ("x-amz-date", SUITE_STAMP),
    ];
    assert_eq!(
        suite("GET", "/", "", &trimmed),
        "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
        "get-header-value-trim"
    );
    let repeated =
        [("host", "example.amazonaws.com"), ("my-header1", "value2,value2,value1"), ("x-amz-date", SUITE_STAMP)];
    assert_eq!(
        suite("GET", "/", "", &repeated),
        "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
        "get-header-key-duplicate"
    );
}

const S3: Signer<'_> = Signer {
    access_key: "AKIAIOSFODNN7EXAMPLE",
    secret_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    region: "us-east-1",
    service: "s3",
};
const S3_STAMP: &str = "20130524T000000Z";
/// 24 May 2013, midnight.
const S3_SECONDS: u64 = 1_369_353_600;
const S3_HOST: &str = "examplebucket.s3.amazonaws.com";

#[test]
fn the_examples_of_the_s3_reference_are_reproduced() {
    let base = [("host", S3_HOST), ("x-amz-content-sha256", EMPTY), ("x-amz-date", S3_STAMP)];
    let signature = |path: &str, query: &str, headers: &[(&str, &str)]| {
        let request = ToSign { method: "GET", path, query, headers, body_sha256: EMPTY };
        S3.signature(S3_STAMP, &request)
    };
    let ranged = [base[0], ("range", "bytes=0-9"), base[1], base[2]];
    assert_eq!(signature("/test.txt", "", &ranged), "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
    assert_eq!(signature("/", "lifecycle", &base), "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
    assert_eq!(
        signature("/", "max-keys=2&prefix=J", &base),
        "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
    );
}

fn verifier() -> Verifier {
    let (access_key, secret_key) = (S3.access_key.to_owned(), S3.secret_key.to_owned());
    Verifier { access_key, secret_key, region: "us-east-1".to_owned(), services: &["sherd-admin", "s3"] }
}

/// Returns all headers of a signed request.
fn signed(signer: &Signer<'_>, method: &str, target: &str, body: &[u8]) -> Vec<(&'static str, String)> {
    let mut headers = signer.headers(S3_SECONDS, method, target, S3_HOST, body);
    headers.push(("host", S3_HOST.to_owned()));
    headers
}

fn judge(
    headers: &[(&'static str, String)],
    method: &str,
    target: &str,
    body: &[u8],
    now: u64,
) -> Result<(), SignatureFault> {
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    verifier().verify(&Received { method, path, query, headers: &headers, body }, now)
}

#[test]
fn a_request_that_differs_from_what_was_signed_is_refused() {
    let target = "/admin/v1/leader?a=1";
    let headers = signed(&S3, "POST", target, b"{}");
    let judge_as = |method, target, body: &[u8]| judge(&headers, method, target, body, S3_SECONDS);
    assert_eq!(judge_as("POST", target, b"{}"), Ok(()));
    assert_eq!(judge_as("GET", target, b"{}"), Err(SignatureFault::Mismatch));
    assert_eq!(judge_as("POST", "/admin/v1/leader?a=2", b"{}"), Err(SignatureFault::Mismatch));
    assert_eq!(judge_as("POST", "/admin/v1/heal?a=1", b"{}"), Err(SignatureFault::Mismatch));
    assert_eq!(judge_as("POST", target, b"{ }"), Err(SignatureFault::OtherBody));
    let wrong = Signer { secret_key: "another", ..S3 };
    let wrong = signed(&wrong, "POST", target, b"{}");
    assert_eq!(judge(&wrong, "POST", target, b"{}", S3_SECONDS), Err(SignatureFault::Mismatch));
    let stranger = signed(&Signer { access_key: "AKIAI", ..S3 }, "POST", target, b"{}");
    assert_eq!(judge(&stranger, "POST", target, b"{}", S3_SECONDS), Err(SignatureFault::UnknownKey));
}

#[test]
fn a_signature_is_valid_for_15_minutes_in_its_region_and_service() {
    let headers = signed(&S3, "GET", "/", b"");
    for (now, good) in [(0, true), (900, true), (901, false)] {
        assert_eq!(judge(&headers, "GET", "/", b"", S3_SECONDS + now).is_ok(), good, "{now}");
        assert_eq!(judge(&headers, "GET", "/", b"", S3_SECONDS - now).is_ok(), good, "-{now}");
    }
    let ours = signed(&Signer { service: "sherd-admin", ..S3 }, "GET", "/", b"");
    assert_eq!(judge(&ours, "GET", "/", b"", S3_SECONDS), Ok(()));
    for other in [Signer { service: "sts", ..S3 }, Signer { region: "eu-west-1", ..S3 }] {
        let judged = judge(&signed(&other, "GET", "/", b""), "GET", "/", b"", S3_SECONDS);
        assert!(matches!(judged, Err(SignatureFault::OtherScope { .. })), "{judged:?}");
    }
    let mut yesterdays = headers.clone();
    yesterdays[2].1 = yesterdays[2].1.replace("20130524", "20130523");
    assert!(matches!(judge(&yesterdays, "GET", "/", b"", S3_SECONDS), Err(SignatureFault::OtherScope { .. })));
}

#[test]
fn the_host_and_x_amz_headers_must_be_signed() {
    let mut headers = signed(&S3, "GET", "/", b"");
    headers.push(("accept", "application/json".to_owned()));
    assert_eq!(judge(&headers, "GET", "/", b"", S3_SECONDS), Ok(()), "other headers need not be signed");
    headers.push(("x-amz-target", "other".to_owned()));
    let unsigned = SignatureFault::Unsigned("x-amz-target".to_owned());
    assert_eq!(judge(&headers, "GET", "/", b"", S3_SECONDS), Err(unsigned));
    let hostless: Vec<_> = signed(&S3, "GET", "/", b"").into_iter().filter(|(name, _)| *name != "host").collect();
    assert!(matches!(judge(&hostless, "GET", "/", b"", S3_SECONDS), Err(SignatureFault::Malformed(_))));
    let mut twice = signed(&S3, "GET", "/", b"");
    twice.push(("x-amz-date", stamp(S3_SECONDS)));
    assert!(matches!(judge(&twice, "GET", "/", b"", S3_SECONDS), Err(SignatureFault::Malformed(_))));
}

#[test]
fn the_body_is_covered_by_the_signature_without_a_hash_header() {
    let body = b"Action=ListUsers";
    let hash = sha256_hex(body);
    let signed = [("host", S3_HOST), ("x-amz-date", S3_STAMP)];
    let request = ToSign { method: "POST", path: "/", query: "", headers: &signed, body_sha256: &hash };
    let headers = [
        ("host", S3_HOST.to_owned()),
        ("x-amz-date", S3_STAMP.to_owned()),
        ("authorization", S3.authorization(S3_STAMP, &request)),
    ];
    assert_eq!(judge(&headers, "POST", "/", body, S3_SECONDS), Ok(()));
    assert_eq!(judge(&headers, "POST", "/", b"Action=DeleteUser", S3_SECONDS), Err(SignatureFault::Mismatch));
}

#[test]
fn the_claimed_access_key_is_read_before_the_signature_is_verified() {
    let headers = [(
        "authorization",
        "AWS4-HMAC-SHA256 Credential=a/b/20130524/r/iam/aws4_request, SignedHeaders=host, Signature=0",
    )];
    let request = Received { method: "POST", path: "/", query: "", headers: &headers, body: b"" };
    assert_eq!(claimed(&request), Ok(Claimed { access_key: "a/b", region: "r", service: "iam" }));
    assert_eq!(claimed(&Received { headers: &[], ..request }), Err(SignatureFault::Missing));
}

#[test]
fn a_missing_signature_and_an_unsigned_body_are_refused() {
    let without = [("host", S3_HOST.to_owned())];
    assert_eq!(judge(&without, "GET", "/", b"", S3_SECONDS), Err(SignatureFault::Missing));
    let mut headers = vec![("host", S3_HOST), ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"), ("x-amz-date", S3_STAMP)];
    let request = ToSign { method: "POST", path: "/", query: "", headers: &headers, body_sha256: "UNSIGNED-PAYLOAD" };
    let authorization = S3.authorization(S3_STAMP, &request);
    headers.push(("authorization", &authorization));
    let received = Received { method: "POST", path: "/", query: "", headers: &headers, body: b"{}" };
    assert_eq!(verifier().verify(&received, S3_SECONDS), Err(SignatureFault::OtherBody));
}

#[test]
fn time_stamps_are_parsed_as_they_are_written() {
    assert_eq!((stamp(S3_SECONDS).as_str(), read_stamp(S3_STAMP)), (S3_STAMP, Some(S3_SECONDS as i64)));
    for text in ["", "20130524T000000", "20131324T000000Z", "20130230T000000Z", "20130524T240000Z", "+0130524T000000Z"]
    {
        assert_eq!(read_stamp(text), None, "{text:?}");
    }
    assert_eq!(sha256_hex(b""), EMPTY);
}

proptest! {
    /// Arbitrary headers are refused with an error.
    #[test]
    fn arbitrary_headers_are_refused(authorization in ".{0,200}", date in ".{0,20}", query in ".{0,40}", prefixed in any::<bool>()) {
        let authorization = if prefixed { format!("AWS4-HMAC-SHA256 {authorization}") } else { authorization };
        let headers = [
            ("authorization", authorization.as_str()),
            ("host", "h"),
            ("x-amz-content-sha256", EMPTY),
            ("x-amz-date", date.as_str()),
        ];
        let request = Received { method: "GET", path: "/", query: &query, headers: &headers, body: b"" };
        assert!(verifier().verify(&request, S3_SECONDS).is_err());
    }
}
