//! Tests of named keys and root keys.

use super::{Counted, roots, secret};
use crate::limits::{DOCUMENT_BYTES_MAX, KEY_VERSIONS_MAX, LARGE_DOCUMENT_BYTES_MAX};
use crate::storage::sealing::{
    CustomerKey, KeyPath, NamedKey, RootKey, RootKeyError, RootKeys, SealingError, alias_document, alias_target,
    is_key_name,
};
use crate::types::{ClusterId, UnixMs};

fn key(roots: &RootKeys) -> NamedKey {
    NamedKey::create("payroll", "of the payroll", UnixMs(5), roots, &Counted::new(1)).expect("a name")
}

#[test]
fn a_named_key_reads_back_as_it_was_written() {
    let roots = roots(1);
    let key = key(&roots).rotated(UnixMs(9), &roots, &Counted::new(2)).expect("there is room");
    let document = key.encode();
    assert_eq!(document[0], 1);
    assert_eq!(NamedKey::decode(&document).expect("it was written"), key);
    let described = key.describe(&roots);
    assert_eq!((described.id.as_str(), described.description.as_str()), ("payroll", "of the payroll"));
    assert_eq!(described.versions, [(1, UnixMs(5)), (2, UnixMs(9))]);
    assert!(described.enabled && described.under_current_root && described.current_version == 2);
}

#[test]
fn every_version_of_a_key_has_its_own_secret_and_keeps_it() {
    let roots = roots(1);
    let first = key(&roots);
    let second = first.clone().rotated(UnixMs(9), &roots, &Counted::new(2)).expect("there is room");
    let of = |key: &NamedKey, version| key.secret(version, &roots).expect("a version");
    assert_eq!(of(&first, 1), of(&second, 1));
    assert_ne!(of(&second, 1), of(&second, 2));
    assert!(matches!(second.secret(3, &roots), Err(SealingError::NoSuchVersion { version: 3, .. })));
}

#[test]
fn a_key_has_as_many_versions_as_its_document_has_room_for() {
    let (roots, entropy) = (roots(1), Counted::new(2));
    let mut key = NamedKey::create(&"k".repeat(128), "", UnixMs(u64::MAX), &roots, &entropy).expect("a name");
    for _ in 1..KEY_VERSIONS_MAX {
        key = key.rotated(UnixMs(u64::MAX), &roots, &entropy).expect("there is room");
    }
    assert!(key.encode().len() + DOCUMENT_BYTES_MAX < LARGE_DOCUMENT_BYTES_MAX, "a description has room as well");
    let refused = key.rotated(UnixMs(9), &roots, &entropy).expect_err("one more");
    assert!(refused.to_string().contains("has 4096 versions, the most that a key may have"), "{refused}");
}

#[test]
fn a_disabled_key_yields_no_secret() {
    let roots = roots(1);
    let disabled = key(&roots).with_enabled(false);
    assert!(matches!(disabled.secret(1, &roots), Err(SealingError::KeyDisabled { .. })));
    assert!(!disabled.describe(&roots).enabled);
    assert!(disabled.with_enabled(true).secret(1, &roots).is_ok());
}

#[test]
fn keys_rewrapped_by_a_new_root_key_open_without_the_old_one() {
    let old = roots(1);
    let key = key(&old).rotated(UnixMs(9), &old, &Counted::new(2)).expect("there is room");
    let new = roots(2);
    assert!(matches!(key.secret(1, &new), Err(SealingError::RootKeyMissing { .. })));
    assert!(matches!(key.rewrapped(&new, &Counted::new(3)), Err(SealingError::RootKeyMissing { .. })));

    let both = new.clone().and_former(old.current().clone());
    assert!(!key.describe(&both).under_current_root);
    let taken = key.rewrapped(&both, &Counted::new(3)).expect("both are there").expect("there was something to do");
    for version in [1, 2] {
        assert_eq!(
            taken.secret(version, &new).expect("without the old"),
            key.secret(version, &old).expect("a version")
        );
    }
    assert_eq!(taken.rewrapped(&new, &Counted::new(4)).expect("it opens"), None);
}

#[test]
fn a_damaged_key_is_reported_as_corrupt() {
    let roots = roots(1);
    let document = key(&roots).encode();
    let text = String::from_utf8(document.to_vec()).expect("JSON");
    let at = text.find("\"wrapped\":\"").expect("a field") + "\"wrapped\":\"".len();
    let mut changed = document.to_vec();
    changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
    let changed = NamedKey::decode(&changed).expect("base64 all the same");
    assert!(matches!(changed.secret(1, &roots), Err(SealingError::Corrupt { .. })));
    let renamed = NamedKey::decode(text.replace("\"payroll\"", "\"pbyroll\"").as_bytes()).expect("JSON");
    assert!(matches!(renamed.secret(1, &roots), Err(SealingError::Corrupt { .. })), "it is bound to its name");
    for bytes in [b"".as_slice(), b"\x01", b"\x02{}", b"\x01{}", &document[..document.len() - 1]] {
        assert!(matches!(NamedKey::decode(bytes), Err(SealingError::Corrupt { .. })));
    }
}

#[test]
fn key_names_have_only_plain_characters_and_a_maximum_length() {
    for name in ["a", "sse-s3", "01234567-89ab-cdef-0123-456789abcdef", "A_b.c"] {
        assert!(is_key_name(KeyPath::Key(name)) && is_key_name(KeyPath::Alias(name)), "{name}");
    }
    assert!(is_key_name(KeyPath::Alias("team/payroll")) && !is_key_name(KeyPath::Key("team/payroll")));
    let long = "a".repeat(129);
    for name in ["", "a b", "ä", "a\n", "a:b", long.as_str()] {
        assert!(!is_key_name(KeyPath::Key(name)) && !is_key_name(KeyPath::Alias(name)), "{name}");
        let made = NamedKey::create(name, "", UnixMs(0), &roots(1), &Counted::new(1));
        assert!(matches!(made, Err(SealingError::InvalidName { .. })));
    }
    assert_eq!(KeyPath::Key("a").to_string(), "key/a");
    assert_eq!(KeyPath::Alias("a/b").to_string(), "alias/a/b");
}

#[test]
fn the_document_of_an_alias_yields_its_key() {
    assert_eq!(alias_target(&alias_document("payroll")).expect("it was written"), "payroll");
    assert!(alias_target(b"\x01{\"other\":1}").is_err());
}

#[test]
fn a_root_key_file_may_be_raw_hexadecimal_or_base64() {
    let bytes: Vec<u8> = (0..32).collect();
    let expected = RootKeys::parse(&bytes).expect("32 bytes");
    let hex = hex_simd::encode_to_string(&bytes, hex_simd::AsciiCase::Upper);
    let base64 = base64_simd::STANDARD.encode_to_string(&bytes);
    for text in [hex.clone(), format!("{hex}\n"), base64.clone(), format!("# the key\r\n\n {base64} \r\n")] {
        assert_eq!(RootKeys::parse(text.as_bytes()).expect("a key"), expected, "{text:?}");
    }
    assert_eq!(expected.current().to_file_line(), base64);
}

#[test]
fn the_first_root_key_of_a_file_is_the_current_one() {
    let line = |byte: u8| hex_simd::encode_to_string([byte; 32], hex_simd::AsciiCase::Lower);
    let keys = RootKeys::parse(format!("{}\n{}\n", line(1), line(2)).as_bytes()).expect("two keys");
    let [first, second] = [1, 2].map(|byte| RootKey::new(secret(byte)));
    assert_eq!(keys.current(), &first);
    assert_eq!(keys.of_id(second.id()), Some(&second));
    assert_eq!(keys.of_id(RootKey::new(secret(3)).id()), None);
    assert_eq!(keys.clone().and_former(second), keys);
}

#[test]
fn a_malformed_root_key_is_refused_with_its_line() {
    let refused = |text: &str| RootKeys::parse(text.as_bytes()).expect_err("no key");
    assert_eq!(refused(""), RootKeyError::Empty);
    assert_eq!(refused("# nothing\n"), RootKeyError::Empty);
    assert_eq!(refused("secret"), RootKeyError::Malformed { line: 1 });
    let good = "ab".repeat(32);
    assert_eq!(refused(&format!("{good}\n{good}ab\n")), RootKeyError::Malformed { line: 2 });
    assert_eq!(refused(&"zz".repeat(32)), RootKeyError::Malformed { line: 1 });
    assert_eq!(refused(&"a".repeat(65 << 10)), RootKeyError::TooLong);
}

#[test]
fn the_root_key_of_a_cluster_depends_on_its_secret_and_id() {
    let of = |secret: &str, cluster: u128| RootKey::of_cluster(secret, ClusterId(cluster)).id();
    assert_eq!(of("a secret of the cluster's", 1), of("a secret of the cluster's", 1));
    assert_ne!(of("a secret of the cluster's", 1), of("a secret of the cluster's", 2));
    assert_ne!(of("a secret of the cluster's", 1), of("another", 1));
}

#[test]
fn debug_output_of_keys_shows_no_secret() {
    let roots = roots(1);
    let hex = hex_simd::encode_to_string([0xab; 32], hex_simd::AsciiCase::Lower);
    let shown = format!("{:?} {:?} {:?}", secret(0xab), CustomerKey::new(secret(0xab)), RootKey::new(secret(0xab)));
    for trace in ["171", "ab, ab", "abab", hex.as_str()] {
        assert!(!shown.contains(trace), "{shown}");
    }
    assert!(!format!("{roots:?}").contains(&roots.current().to_file_line()));
}
