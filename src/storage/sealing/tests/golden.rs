//! Golden files of format version 1: they stay readable, and the same bytes are still written.

use super::{Counted, Documents, pattern, secret};
use crate::storage::sealing::{
    CHUNK_BYTES, CustomerKey, DataKey, KMS_DEFAULT_KEY, KeyStore, KmsWanted, NamedKey, Opener, RootKey, RootKeys,
    RunId, SSE_S3_KEY, SealedObject, Sealer, Sealing, Wanted,
};
use crate::types::{BlobId, BucketId, UnixMs};
use bytes::{Bytes, BytesMut};
use sha2::{Digest, Sha256};
use std::path::PathBuf;

const OBJECT: SealedObject<'static> = SealedObject { bucket: BucketId(0x0102_0304), key: "photos/2026/an object" };

/// Returns the golden bytes with this name, which are stored in hex. With `WRITE_FIXTURES` set, stores `bytes` first;
/// the difference must then be reviewed.
fn golden(name: &str, bytes: &[u8]) -> Bytes {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sealing").join(format!("{name}.v1.hex"));
    if std::env::var_os("WRITE_FIXTURES").is_some() {
        std::fs::create_dir_all(path.parent().expect("has a parent")).expect("fixtures can be written");
        std::fs::write(&path, hex_simd::encode_to_string(bytes, hex_simd::AsciiCase::Lower) + "\n")
            .expect("fixtures can be written");
    }
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    hex_simd::decode_to_vec(text.trim()).expect("a fixture is hex").into()
}

fn seal(key: &DataKey, run: RunId, mut plain: Bytes) -> Bytes {
    let mut sealer = Sealer::new(key.run(run), None);
    let mut sealed = BytesMut::new();
    while let Some(chunk) = sealer.push(&mut plain) {
        sealed.extend_from_slice(&chunk);
    }
    sealed.extend_from_slice(&sealer.finish().unwrap_or_default());
    sealed.freeze()
}

fn open(key: &DataKey, run: RunId, run_bytes: u64, mut sealed: Bytes) -> Bytes {
    let mut opener = Opener::new(key.run(run), run_bytes, 0..run_bytes);
    let mut plain = BytesMut::new();
    while let Some(chunk) = opener.push(&mut sealed).expect("it is what was written") {
        plain.extend_from_slice(&chunk);
    }
    opener.finish().expect("it is whole");
    plain.freeze()
}

fn single() -> DataKey {
    DataKey { first: secret(1), second: None }
}

fn dual() -> DataKey {
    DataKey { first: secret(1), second: Some(secret(2)) }
}

fn roots() -> RootKeys {
    RootKeys::new(RootKey::new(secret(3)))
}

fn named_keys() -> Vec<(&'static str, NamedKey)> {
    let (roots, entropy) = (roots(), Counted::new(42));
    let made = |id: &str| NamedKey::create(id, "A key.", UnixMs(1_790_000_000_000), &roots, &entropy).expect("a name");
    let rotated = made("payroll").rotated(UnixMs(1_790_000_060_000), &roots, &entropy).expect("there is room");
    vec![("key_sse_s3", made(SSE_S3_KEY)), ("key_default", made(KMS_DEFAULT_KEY)), ("key_rotated", rotated)]
}

#[test]
fn runs_of_format_version_1_open_and_are_still_written() {
    let part = RunId::of_blob(3, BlobId(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef));
    let plain = pattern(21);
    for (name, key, run) in
        [("run", single(), part), ("run_inline", single(), RunId::INLINE), ("run_dual", dual(), part)]
    {
        let kept = golden(name, &seal(&key, run, plain.clone()));
        assert_eq!(seal(&key, run, plain.clone()), kept, "{name}");
        assert_eq!(open(&key, run, 21, kept), plain, "{name}");
    }
}

#[test]
fn a_run_of_several_chunks_is_sealed_to_the_golden_bytes() {
    let part = RunId::of_blob(1, BlobId(5));
    for (name, key) in [("long_run_sha256", single()), ("long_run_dual_sha256", dual())] {
        let digest = Sha256::digest(seal(&key, part, pattern(3 * CHUNK_BYTES + 9)));
        assert_eq!(golden(name, &digest)[..], digest[..], "{name}");
    }
}

#[test]
fn keys_of_format_version_1_are_read_and_still_written() {
    for (name, key) in named_keys() {
        let kept = golden(name, &key.encode());
        assert_eq!(NamedKey::decode(&kept).expect("version 1 is read"), key, "{name}");
        assert_eq!(key.encode(), kept, "{name}");
        for version in 1..=key.current_version() {
            key.secret(version, &roots()).expect("it opens");
        }
    }
}

#[test]
fn encryption_records_of_format_version_1_are_read_and_open() {
    let roots = roots();
    let mut documents = Documents::default();
    named_keys().iter().for_each(|(_, key)| documents.keep(key));
    let store = KeyStore { roots: &roots, documents: &documents };
    let customer = CustomerKey::new(secret(4));
    let kms = |dual_layer| {
        Wanted::SseKms(KmsWanted {
            key_id: "payroll".to_owned(),
            shown: "arn:aws:kms:us-east-1:000000000000:key/payroll".to_owned(),
            context: vec![("team".to_owned(), "a".to_owned()), ("unit".to_owned(), "b".to_owned())],
            bucket_key: true,
            dual_layer,
        })
    };
    for (name, wanted, key, customer) in [
        ("record_sse_s3", Wanted::SseS3, single(), None),
        ("record_sse_kms", kms(false), single(), None),
        ("record_sse_kms_dual", kms(true), dual(), None),
        ("record_sse_c", Wanted::SseC(customer.clone()), single(), Some(&customer)),
    ] {
        let now = store.seal_key(&key, &wanted, OBJECT, &Counted::new(43)).expect("keys are there");
        let kept = golden(name, &now.encode());
        assert_eq!(now.encode(), kept, "{name}");
        let record = Sealing::decode(&kept).expect("version 1 is read");
        assert_eq!(record, now, "{name}");
        assert_eq!(store.open(&record, OBJECT, customer).expect("it opens"), key, "{name}");
    }
}
