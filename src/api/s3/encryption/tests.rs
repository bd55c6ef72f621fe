//! The encryption headers of requests and answers, compared with S3's behaviour.

use super::kms::{Resolved, context_text, parse_context, resolve};
use super::{
    CustomerHeaders, DefaultAlgorithm, DefaultEncryption, EncryptionFields, Keys, KmsNames, RequestedEncryption,
    RequestedKms, add_customer_headers, arn_to_judge, check_read, customer_key, key_of_completion, key_of_part,
    key_of_read, key_of_source, names_key, open, prepare, requested_encryption, seal_key, shown,
};
use crate::actors::meta::KvError;
use crate::actors::sealing::{
    CustomerKey, KMS_DEFAULT_KEY, KeyDocuments, KeyPath, KeyStore, NamedKey, RootKeys, SSE_S3_KEY, SealedObject,
    Sealing, Secret, alias_document,
};
use crate::ambient::{Ambient, Entropy};
use crate::api::errors::Fault;
use crate::types::{BucketId, UnixMs};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use s3s::S3Error;
use std::collections::BTreeMap;
use std::sync::Arc;

const SSE: &str = "x-amz-server-side-encryption";
const KEY_ID: &str = "x-amz-server-side-encryption-aws-kms-key-id";
const CONTEXT: &str = "x-amz-server-side-encryption-context";
const BUCKET_KEY: &str = "x-amz-server-side-encryption-bucket-key-enabled";
const ALGORITHM: &str = "x-amz-server-side-encryption-customer-algorithm";
const KEY: &str = "x-amz-server-side-encryption-customer-key";
const KEY_MD5: &str = "x-amz-server-side-encryption-customer-key-md5";

/// Two customer-provided keys and their MD5s.
const A: (&str, &str) = ("pO3upElrwuEXSoFwCfnZPdSsmt/xWeFa0N9KgDijwVs=", "DWygnHRtgiJ77HCm+1rvHw==");
const B: (&str, &str) = ("6b+WOZ1T3cqZMxgThRcXAQBrS5mXKdDUphvpxptl9/4=", "arxBvwY2V4SiOne6yppVPQ==");

const OBJECT: SealedObject<'static> = SealedObject { bucket: BucketId(1), key: "k" };
const NAMES: KmsNames<'static> = KmsNames { region: "us-east-1", account: "000000000000" };

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let value = |text: &str| HeaderValue::from_str(text).expect("a header's value");
    pairs.iter().map(|(name, text)| (HeaderName::from_static(name), value(text))).collect()
}

fn customer_headers(key: (&str, &str)) -> HeaderMap {
    headers(&[(ALGORITHM, "AES256"), (KEY, key.0), (KEY_MD5, key.1)])
}

fn customer(key: (&str, &str)) -> CustomerKey {
    customer_key(&customer_headers(key), CustomerHeaders::Object).expect("it is whole").expect("it is there")
}

fn words<T: std::fmt::Debug>(result: Result<T, Fault>) -> String {
    match result.expect_err("it is refused") {
        Fault::InvalidArgument(why) => format!("InvalidArgument {why}"),
        Fault::InvalidRequest(why) => format!("InvalidRequest {why}"),
        Fault::KmsNotFound(why) => format!("NotFound {why}"),
        other => format!("{other:?}"),
    }
}

fn code_and_words(error: &S3Error) -> String {
    format!("{} {}", error.code().as_str(), error.message().unwrap_or_default())
}

#[derive(Default)]
struct Documents(BTreeMap<String, Bytes>);

impl KeyDocuments for Documents {
    fn key_document(&self, path: &str) -> Result<Option<Bytes>, KvError> {
        Ok(self.0.get(path).cloned())
    }
}

fn entropy() -> Arc<dyn Entropy> {
    Ambient::system().entropy
}

fn roots() -> RootKeys {
    RootKeys::parse(&[7; 32]).expect("32 bytes")
}

fn documents() -> Documents {
    let mut documents = Documents::default();
    for (id, enabled) in [(SSE_S3_KEY, true), (KMS_DEFAULT_KEY, true), ("payroll", true), ("retired", false)] {
        let key =
            NamedKey::create(id, "", UnixMs(1), &roots(), entropy().as_ref()).expect("a name").with_enabled(enabled);
        documents.0.insert(KeyPath::Key(id).to_string(), key.encode());
    }
    documents.0.insert(KeyPath::Alias("team/pay").to_string(), alias_document("payroll"));
    documents
}

fn with_keys<T>(act: impl FnOnce(Keys<'_>) -> T) -> T {
    let (roots, documents) = (roots(), documents());
    act(Keys { store: KeyStore { roots: &roots, documents: &documents }, names: NAMES })
}

fn sealed(asked: &RequestedEncryption) -> Sealing {
    with_keys(|keys| prepare(asked, keys, OBJECT, entropy().as_ref())).expect("keys are there").0
}

fn kms(key: Option<&str>) -> RequestedEncryption {
    RequestedEncryption::SseKms(RequestedKms { key: key.map(str::to_owned), ..RequestedKms::default() })
}

#[test]
fn each_encryption_method_is_chosen_by_its_headers() {
    let asks = |pairs: &[(&'static str, &str)]| requested_encryption(&headers(pairs), None).expect("it is allowed");
    assert_eq!(asks(&[]), None);
    assert_eq!(asks(&[(SSE, "AES256")]), Some(RequestedEncryption::SseS3));
    assert_eq!(asks(&[(SSE, "AES256"), (BUCKET_KEY, "true")]), Some(RequestedEncryption::SseS3));
    assert_eq!(asks(&[(SSE, "aws:kms")]), Some(kms(None)));
    assert_eq!(asks(&[(SSE, "aws:kms"), (KEY_ID, "payroll")]), Some(kms(Some("payroll"))));
    let dual = RequestedKms { dual_layer: true, ..RequestedKms::default() };
    assert_eq!(asks(&[(SSE, "aws:kms:dsse"), (BUCKET_KEY, "true")]), Some(RequestedEncryption::SseKms(dual)));
    let context = [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())];
    let full = RequestedKms { context: context.to_vec(), bucket_key: true, ..RequestedKms::default() };
    let encoded = base64_simd::STANDARD.encode_to_string(br#"{"b":"2","a":"1"}"#);
    assert_eq!(
        asks(&[(SSE, "aws:kms"), (CONTEXT, &encoded), (BUCKET_KEY, "True")]),
        Some(RequestedEncryption::SseKms(full))
    );
    assert_eq!(requested_encryption(&customer_headers(A), None), Ok(Some(RequestedEncryption::SseC(customer(A)))));
}

#[test]
fn unknown_and_contradictory_encryption_headers_are_refused() {
    let refused = |pairs: &[(&'static str, &str)]| words(requested_encryption(&headers(pairs), None));
    let unknown = "InvalidArgument The encryption method specified is not supported";
    for method in ["aes:kms", "", "aes256", "AES512", "aws:fsx"] {
        assert_eq!(refused(&[(SSE, method)]), unknown, "{method}");
    }
    let needs_kms = "InvalidArgument Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms";
    assert_eq!(refused(&[(KEY_ID, "payroll")]), needs_kms);
    assert_eq!(refused(&[(SSE, "AES256"), (KEY_ID, "payroll")]), needs_kms);
    assert_eq!(refused(&[(SSE, "AES256"), (CONTEXT, "e30=")]), needs_kms);
    let incompatible = "InvalidArgument Server Side Encryption with Customer provided key is incompatible with the encryption method specified";
    for method in ["AES256", "aws:kms", "nonsense"] {
        // This is reported before the wrong algorithm.
        assert_eq!(refused(&[(SSE, method), (ALGORITHM, "AES128"), (KEY, A.0), (KEY_MD5, A.1)]), incompatible);
    }
    for context in ["e", "W10=", "eyJhIjoxfQ==", "////"] {
        assert!(refused(&[(SSE, "aws:kms"), (CONTEXT, context)]).contains("shall be Base64-encoded UTF-8 string"));
    }
    assert!(refused(&[(SSE, "aws:kms"), (BUCKET_KEY, "maybe")]).contains("either true or false"));
}

#[test]
fn a_buckets_default_encryption_applies_to_requests_without_one() {
    let default = |algorithm| DefaultEncryption { algorithm, key: Some("payroll".to_owned()), bucket_key: true };
    let by = |algorithm, pairs: &[(&'static str, &str)]| {
        requested_encryption(&headers(pairs), Some(&default(algorithm))).expect("allowed")
    };
    assert_eq!(requested_encryption(&HeaderMap::new(), None), Ok(None));
    assert_eq!(by(DefaultAlgorithm::SseS3, &[]), Some(RequestedEncryption::SseS3));
    let payroll = RequestedKms { key: Some("payroll".to_owned()), bucket_key: true, ..RequestedKms::default() };
    let is = |kms: &RequestedKms| Some(RequestedEncryption::SseKms(kms.clone()));
    assert_eq!(by(DefaultAlgorithm::SseKms, &[]), is(&payroll));
    assert_eq!(
        by(DefaultAlgorithm::SseKms, &[(BUCKET_KEY, "false")]),
        is(&RequestedKms { bucket_key: false, ..payroll.clone() })
    );
    let dual = RequestedKms { dual_layer: true, bucket_key: false, ..payroll.clone() };
    assert_eq!(by(DefaultAlgorithm::SseKmsDual, &[]), is(&dual));
    // The request's headers win. If they name no key, the store's default key is used, not the bucket's.
    assert_eq!(by(DefaultAlgorithm::SseKms, &[(SSE, "AES256")]), Some(RequestedEncryption::SseS3));
    assert_eq!(by(DefaultAlgorithm::SseKms, &[(SSE, "aws:kms")]), is(&RequestedKms { key: None, ..payroll }));
    let key = requested_encryption(&customer_headers(A), Some(&default(DefaultAlgorithm::SseKms)));
    assert_eq!(key, Ok(Some(RequestedEncryption::SseC(customer(A)))));
    assert!(requested_encryption(&headers(&[(KEY_ID, "payroll")]), Some(&default(DefaultAlgorithm::SseKms))).is_err());
}

#[test]
fn faults_of_customer_key_headers_are_reported_in_s3s_order() {
    let judged = |pairs: &[(&'static str, &str)]| words(customer_key(&headers(pairs), CustomerHeaders::Object));
    let with = |text: &str| {
        format!(
            "InvalidArgument Requests specifying Server Side Encryption with Customer provided keys must provide {text}"
        )
    };
    let no_algorithm = with("a valid encryption algorithm.");
    assert_eq!(judged(&[(KEY, A.0)]), no_algorithm);
    assert_eq!(judged(&[(KEY_MD5, A.1)]), no_algorithm);
    assert_eq!(judged(&[(KEY_MD5, "")]), no_algorithm);
    assert_eq!(judged(&[(KEY, A.0), (KEY_MD5, A.1)]), no_algorithm);
    assert_eq!(judged(&[(ALGORITHM, "AES256")]), with("an appropriate secret key."));
    assert_eq!(judged(&[(ALGORITHM, ""), (KEY_MD5, A.1)]), with("an appropriate secret key."));
    assert_eq!(judged(&[(ALGORITHM, "AES256"), (KEY, A.0)]), with("the client calculated MD5 of the secret key."));

    let all = |algorithm: &str, key: &str, md5: &str| judged(&[(ALGORITHM, algorithm), (KEY, key), (KEY_MD5, md5)]);
    let wrong_length = "InvalidArgument The secret key was invalid for the specified algorithm.";
    let wrong_md5 = "InvalidArgument The calculated MD5 hash of the key did not match the hash that was provided.";
    for algorithm in ["AES128", "aes256", ""] {
        assert_eq!(all(algorithm, A.0, A.1), "InvalidEncryptionAlgorithm", "{algorithm}");
        assert_eq!(all(algorithm, A.0, B.1), "InvalidEncryptionAlgorithm", "{algorithm}");
        assert_eq!(all(algorithm, "", ""), wrong_length, "{algorithm}");
    }
    for md5 in [B.1, "AAAAAAAAAAAAAAAAAAAAAA==", "", "no base64!", "AAAA"] {
        assert_eq!(all("AES256", A.0, md5), wrong_md5, "{md5}");
    }
    assert_eq!(all("AES256", "MTIzNDU2Nzg5MA==", A.1), wrong_md5);
    assert_eq!(all("AES256", "MTIzNDU2Nzg5MA==", "6Afx/PgtEy+bsBjKZzihnw=="), wrong_length);
    assert_eq!(all("AES256", "####", A.1), wrong_length);
}

#[test]
fn base64_of_a_customer_key_may_have_spaces_and_no_padding() {
    for key in [A.0, "pO3upElrwuEXSoFwCfnZPdSsmt/xWeFa0N9KgDijwVs", " pO3upElrwuEX SoFwCfnZPdSsmt/xWeFa0N9KgDijwVs="] {
        let whole = headers(&[(ALGORITHM, "AES256"), (KEY, key), (KEY_MD5, A.1)]);
        assert_eq!(customer_key(&whole, CustomerHeaders::Object), Ok(Some(customer(A))), "{key}");
    }
    let mut latin = customer_headers(A);
    latin.insert(KEY, HeaderValue::from_bytes(b"\xe9\xf1").expect("a header's value"));
    assert!(customer_key(&latin, CustomerHeaders::Object).is_err());
}

#[test]
fn the_customer_key_of_a_copy_source_has_its_own_headers() {
    let source = headers(&[
        ("x-amz-copy-source-server-side-encryption-customer-algorithm", "AES256"),
        ("x-amz-copy-source-server-side-encryption-customer-key", A.0),
        ("x-amz-copy-source-server-side-encryption-customer-key-md5", A.1),
    ]);
    assert_eq!(customer_key(&source, CustomerHeaders::Object), Ok(None));
    assert_eq!(customer_key(&source, CustomerHeaders::CopySource), Ok(Some(customer(A))));
    let clients = sealed(&RequestedEncryption::SseC(customer(A)));
    assert_eq!(key_of_source(&source, Some(&clients)), Ok(Some(customer(A))));
    assert!(key_of_source(&HeaderMap::new(), Some(&clients)).is_err());
    assert!(key_of_source(&source, None).is_err());
}

#[test]
fn a_read_needs_a_customer_key_only_for_an_sse_c_object() {
    let clients = sealed(&RequestedEncryption::SseC(customer(A)));
    let own = sealed(&RequestedEncryption::SseS3);
    let brought = customer_headers(A);
    assert_eq!(key_of_read(&brought, Some(&clients)), Ok(Some(customer(A))));
    assert_eq!(key_of_read(&HeaderMap::new(), Some(&own)), Ok(None));
    assert_eq!(key_of_read(&HeaderMap::new(), None), Ok(None));
    let needed = "InvalidRequest The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object.";
    assert_eq!(words(key_of_read(&HeaderMap::new(), Some(&clients))), needed);
    let not_applicable = "InvalidRequest The encryption parameters are not applicable to this object.";
    assert_eq!(words(key_of_read(&brought, Some(&own))), not_applicable);
    assert_eq!(words(key_of_read(&brought, None)), not_applicable);
}

#[test]
fn a_read_with_headers_that_choose_an_encryption_is_refused() {
    assert_eq!(check_read(&customer_headers(A)), Ok(()));
    for name in [SSE, KEY_ID, CONTEXT] {
        let refused = words(check_read(&headers(&[(name, "AES256")])));
        assert_eq!(refused, format!("InvalidArgument {name} header is not supported for this operation."));
    }
}

#[test]
fn a_part_needs_the_customer_key_of_its_upload() {
    let clients = sealed(&RequestedEncryption::SseC(customer(A)));
    let own = sealed(&RequestedEncryption::SseS3);
    assert_eq!(key_of_part(&customer_headers(A), Some(&clients)), Ok(Some(customer(A))));
    assert_eq!(key_of_part(&HeaderMap::new(), Some(&own)), Ok(None));
    assert_eq!(key_of_part(&headers(&[(SSE, "aws:kms"), (KEY_ID, "absent")]), Some(&own)), Ok(None));
    let missing = "InvalidRequest The multipart upload initiate requested encryption. Subsequent part requests must include the appropriate encryption parameters.";
    assert_eq!(words(key_of_part(&HeaderMap::new(), Some(&clients))), missing);
    assert_eq!(words(key_of_part(&customer_headers(A), Some(&own))), missing);
    assert_eq!(words(key_of_part(&customer_headers(A), None)), missing);
    let differs = "InvalidRequest The provided encryption parameters did not match the ones used originally.";
    assert_eq!(words(key_of_part(&customer_headers(B), Some(&clients))), differs);
    assert!(key_of_part(&customer_headers((A.0, B.1)), Some(&clients)).is_err());
}

#[test]
fn completing_an_upload_needs_its_customer_key_only_with_a_checksum() {
    let clients = sealed(&RequestedEncryption::SseC(customer(A)));
    assert_eq!(key_of_completion(&HeaderMap::new(), Some(&clients), false), Ok(None));
    assert!(words(key_of_completion(&HeaderMap::new(), Some(&clients), true)).starts_with("InvalidArgument"));
    assert_eq!(key_of_completion(&customer_headers(A), Some(&clients), true), Ok(Some(customer(A))));
    assert!(words(key_of_completion(&customer_headers(B), Some(&clients), false)).starts_with("InvalidRequest"));
    assert!(words(key_of_completion(&customer_headers(A), None, false)).starts_with("InvalidRequest"));
    assert_eq!(key_of_completion(&HeaderMap::new(), None, true), Ok(None));
}

#[test]
fn a_kms_key_is_found_by_id_arn_or_alias() {
    let arn = "arn:aws:kms:us-east-1:123456789012:key/payroll";
    let own_arn = NAMES.arn("payroll");
    let default_arn = NAMES.arn(KMS_DEFAULT_KEY);
    with_keys(|keys| {
        for (reference, id, shown) in [
            (None, KMS_DEFAULT_KEY, default_arn.as_str()),
            (Some("alias/aws/s3"), KMS_DEFAULT_KEY, default_arn.as_str()),
            (Some("payroll"), "payroll", "payroll"),
            (Some(arn), "payroll", arn),
            (Some("alias/team/pay"), "payroll", own_arn.as_str()),
            (Some("arn:aws:kms:us-east-1:000000000000:alias/team/pay"), "payroll", own_arn.as_str()),
        ] {
            let resolved = resolve(reference, &keys.store, NAMES).expect("it is found");
            assert_eq!(resolved, Resolved { key_id: id.to_owned(), shown: shown.to_owned() }, "{reference:?}");
        }
    });
}

#[test]
fn a_key_has_several_names_in_requests() {
    with_keys(|keys| {
        let is = |reference: &str, id: &str| names_key(reference, id, &keys.store, NAMES).expect("a name");
        for name in ["payroll", "arn:aws:kms:us-east-1:123456789012:key/payroll", "alias/team/pay"] {
            assert_eq!((is(name, "payroll"), is(name, "retired")), (true, false), "{name}");
        }
        assert!(is("alias/aws/s3", KMS_DEFAULT_KEY) && is(&NAMES.arn(KMS_DEFAULT_KEY), KMS_DEFAULT_KEY));
        assert!(!is("alias/nobody", "payroll"));
        assert!(names_key("arn:aws:s3:::payroll", "payroll", &keys.store, NAMES).is_err());
    });
}

#[test]
fn the_right_to_a_kms_key_is_decided_by_arn_even_if_absent() {
    with_keys(|keys| {
        let alias = "arn:aws:kms:us-east-1:000000000000:alias/nobody".to_owned();
        for (reference, arn) in [
            (None, None),
            (Some("alias/aws/s3"), None),
            (Some(KMS_DEFAULT_KEY), None),
            (Some("payroll"), Some(NAMES.arn("payroll"))),
            (Some("alias/team/pay"), Some(NAMES.arn("payroll"))),
            (Some("arn:aws:kms:us-east-1:123456789012:key/absent"), Some(NAMES.arn("absent"))),
            (Some("alias/nobody"), Some(alias)),
        ] {
            assert_eq!(arn_to_judge(reference, &keys.store, NAMES).expect("a name"), arn, "{reference:?}");
        }
    });
}

#[test]
fn an_absent_or_disabled_key_is_answered_with_kmss_error() {
    let refused = |reference: &str| {
        let prepared = with_keys(|keys| prepare(&kms(Some(reference)), keys, OBJECT, entropy().as_ref()));
        code_and_words(&prepared.expect_err("it is refused"))
    };
    let id = "01234567-89ab-cdef-0123-456789abcdef";
    let absent = format!("KMS.NotFoundException Key 'arn:aws:kms:us-east-1:000000000000:key/{id}' does not exist");
    assert_eq!(refused("fake-key-id"), "KMS.NotFoundException Invalid keyId 'fake-key-id'");
    assert_eq!(refused("aws/s3"), "KMS.NotFoundException Invalid keyId 'aws/s3'");
    assert_eq!(refused(id), absent);
    assert_eq!(refused(&format!("arn:aws:kms:us-east-1:1:key/{id}")), absent);
    assert_eq!(refused("arn:aws:kms:us-west-2:1:key/payroll"), "KMS.NotFoundException Invalid arn us-west-2");
    for arn in ["arn:", "arn:aws:s3:::bucket", "arn:aws:kms:us-east-1:1:payroll"] {
        assert_eq!(refused(arn), "KMS.NotFoundException Invalid arn", "{arn}");
    }
    assert!(
        refused("alias/nobody")
            .starts_with("KMS.NotFoundException Alias arn:aws:kms:us-east-1:000000000000:alias/nobody")
    );
    assert_eq!(refused("retired"), "KMS.DisabledException arn:aws:kms:us-east-1:000000000000:key/retired is disabled.");
}

#[test]
fn a_prepared_data_key_opens_and_can_be_shared_with_a_copy() {
    with_keys(|keys| {
        let entropy = entropy();
        let clients = RequestedEncryption::SseC(customer(A));
        for (asked, key) in
            [(RequestedEncryption::SseS3, None), (kms(Some("alias/team/pay")), None), (clients, Some(customer(A)))]
        {
            let (sealing, data_key) = prepare(&asked, keys, OBJECT, entropy.as_ref()).expect("keys are there");
            assert_eq!(open(&sealing, keys, OBJECT, key.as_ref()).expect("it opens"), data_key);
            let copy = SealedObject { key: "copy", ..OBJECT };
            let shared = seal_key(&data_key, &RequestedEncryption::SseS3, keys, copy, entropy.as_ref());
            let shared = shared.expect("keys are there").expect("of as many layers");
            assert_eq!(open(&shared, keys, copy, None).expect("it opens"), data_key);
        }
        let dual = RequestedEncryption::SseKms(RequestedKms { dual_layer: true, ..RequestedKms::default() });
        let (_, data_key) =
            prepare(&RequestedEncryption::SseS3, keys, OBJECT, entropy.as_ref()).expect("keys are there");
        assert_eq!(seal_key(&data_key, &dual, keys, OBJECT, entropy.as_ref()).ok(), Some(None));
    });
}

#[test]
fn opening_an_object_with_another_customer_key_is_refused() {
    let clients = sealed(&RequestedEncryption::SseC(customer(A)));
    let opened = with_keys(|keys| open(&clients, keys, OBJECT, Some(&customer(B))));
    let expected = S3Error::from(Fault::CustomerKeyDiffers);
    assert_eq!(code_and_words(&opened.expect_err("it is refused")), code_and_words(&expected));
}

#[test]
fn answers_show_the_encryption_method_and_never_a_key() {
    assert_eq!(shown(None, None), EncryptionFields::default());
    let own = shown(Some(&sealed(&RequestedEncryption::SseS3)), None);
    assert_eq!(
        own,
        EncryptionFields { server_side_encryption: Some("AES256".to_owned().into()), ..EncryptionFields::default() }
    );

    let context = vec![("a".to_owned(), "1".to_owned())];
    let asked =
        RequestedKms { key: Some("payroll".to_owned()), context: context.clone(), bucket_key: true, dual_layer: false };
    let named = shown(Some(&sealed(&RequestedEncryption::SseKms(asked.clone()))), None);
    assert_eq!(named.server_side_encryption, Some("aws:kms".to_owned().into()));
    assert_eq!((named.ssekms_key_id.as_deref(), named.bucket_key_enabled), (Some("payroll"), Some(true)));
    let text = named.ssekms_encryption_context.expect("there is a context");
    assert_eq!(parse_context(&text).expect("it reads back"), context);
    assert_eq!(text, context_text(&context));
    let long = |bytes: usize| parse_context(&context_text(&[("a".to_owned(), "v".repeat(bytes))]));
    assert!(long(6000).is_ok());
    assert_eq!(long(6200), Err(Fault::RequestHeadersTooLarge));
    let twice = RequestedKms { dual_layer: true, bucket_key: false, context: Vec::new(), ..asked };
    let twice = shown(Some(&sealed(&RequestedEncryption::SseKms(twice))), None);
    assert_eq!(twice.server_side_encryption, Some("aws:kms:dsse".to_owned().into()));
    assert_eq!((twice.bucket_key_enabled, twice.ssekms_encryption_context), (None, None));

    let clients = shown(Some(&sealed(&RequestedEncryption::SseC(customer(A)))), Some(&customer(A)));
    assert_eq!(
        (clients.sse_customer_algorithm.as_deref(), clients.sse_customer_key_md5.as_deref()),
        (Some("AES256"), Some(A.1))
    );
    assert_eq!(clients.server_side_encryption, None);
    let mut answer = HeaderMap::new();
    add_customer_headers(&clients, &mut answer);
    assert_eq!(answer, headers(&[(ALGORITHM, "AES256"), (KEY_MD5, A.1)]));
}

#[test]
fn debug_output_does_not_show_a_customer_key() {
    let secret = Secret::of(&[0xab; 32]).expect("32 bytes");
    let shown = format!("{:?}", RequestedEncryption::SseC(CustomerKey::new(secret)));
    assert!(!shown.contains("171, 171"), "{shown}");
}
