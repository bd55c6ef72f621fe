//! Tests of data keys that are wrapped for objects.

use super::{Counted, Documents, documents, roots, secret};
use crate::storage::sealing::{
    CustomerKey, DataKey, KMS_DEFAULT_KEY, KeyPath, KeyStore, KmsWanted, Layout, NamedKey, RootKeys, SSE_S3_KEY,
    SealedObject, Sealing, SealingError, SealingMode, Wanted, alias_document,
};
use crate::types::{BucketId, UnixMs};

const OBJECT: SealedObject<'static> = SealedObject { bucket: BucketId(7), key: "a/key" };

fn customer() -> CustomerKey {
    CustomerKey::new(secret(9))
}

fn kms(key_id: &str) -> KmsWanted {
    KmsWanted {
        key_id: key_id.to_owned(),
        shown: format!("arn:aws:kms:us-east-1:000000000000:key/{key_id}"),
        context: vec![("team".to_owned(), "a".to_owned()), ("unit".to_owned(), "b".to_owned())],
        bucket_key: false,
        dual_layer: false,
    }
}

fn every_wanted() -> Vec<(Wanted, Option<CustomerKey>)> {
    vec![
        (Wanted::SseS3, None),
        (Wanted::SseKms(kms("payroll")), None),
        (Wanted::SseKms(kms(KMS_DEFAULT_KEY)), None),
        (Wanted::SseKms(KmsWanted { dual_layer: true, ..kms("payroll") }), None),
        (Wanted::SseC(customer()), Some(customer())),
    ]
}

fn store<'a>(roots: &'a RootKeys, documents: &'a Documents) -> KeyStore<'a> {
    KeyStore { roots, documents }
}

#[test]
fn a_data_key_is_unwrapped_as_it_was_wrapped_in_every_mode() {
    let roots = roots(1);
    let documents = documents(&roots);
    let store = store(&roots, &documents);
    for (wanted, customer) in every_wanted() {
        let (sealing, key) = store.prepare(&wanted, OBJECT, &Counted::new(3)).expect("keys are there");
        assert_eq!(sealing.layout(), wanted.layout());
        assert_eq!(key.layout(), wanted.layout());
        let kept = Sealing::decode(&sealing.encode()).expect("it was written");
        assert_eq!(kept, sealing);
        assert_eq!(store.open(&kept, OBJECT, customer.as_ref()).expect("it opens"), key);
        let (_, other) = store.prepare(&wanted, OBJECT, &Counted::new(4)).expect("keys are there");
        assert_ne!(key, other);
    }
}

#[test]
fn a_wrapped_key_does_not_open_for_another_object_or_when_changed() {
    let roots = roots(1);
    let documents = documents(&roots);
    let store = store(&roots, &documents);
    for (wanted, customer) in every_wanted() {
        let (sealing, _) = store.prepare(&wanted, OBJECT, &Counted::new(3)).expect("keys are there");
        let elsewhere = [
            SealedObject { key: "a/kez", ..OBJECT },
            SealedObject { key: "", ..OBJECT },
            SealedObject { bucket: BucketId(8), ..OBJECT },
        ];
        for sealed_object in elsewhere {
            assert!(store.open(&sealing, sealed_object, customer.as_ref()).is_err(), "{sealed_object:?}");
        }
        let other_id = Sealing { id: sealing.id ^ 1, ..sealing.clone() };
        assert!(store.open(&other_id, OBJECT, customer.as_ref()).is_err());
        for bit in 0..sealing.wrapped.bytes.len() * 8 {
            let mut changed = sealing.clone();
            let mut bytes = changed.wrapped.bytes.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            changed.wrapped.bytes = bytes.into();
            assert!(store.open(&changed, OBJECT, customer.as_ref()).is_err(), "bit {bit}");
        }
        let mut cut = sealing.clone();
        for length in 0..cut.wrapped.bytes.len() {
            cut.wrapped.bytes = sealing.wrapped.bytes.slice(..length);
            assert!(store.open(&cut, OBJECT, customer.as_ref()).is_err());
        }
    }
}

#[test]
fn a_changed_encryption_context_does_not_open_the_data_key() {
    let roots = roots(1);
    let documents = documents(&roots);
    let store = store(&roots, &documents);
    let (sealing, _) = store.prepare(&Wanted::SseKms(kms("payroll")), OBJECT, &Counted::new(3)).expect("keys");
    let with = |pairs: &[(&str, &str)]| {
        let mut changed = sealing.clone();
        if let SealingMode::SseKms { context, .. } = &mut changed.mode {
            *context = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        }
        store.open(&changed, OBJECT, None)
    };
    assert!(with(&[("team", "a"), ("unit", "b")]).is_ok());
    for other in [&[][..], &[("team", "a")], &[("team", "a"), ("unit", "c")], &[("teama", ""), ("unit", "b")]] {
        assert!(with(other).is_err(), "{other:?}");
    }
}

#[test]
fn only_the_clients_own_key_opens_what_it_encrypted() {
    let roots = roots(1);
    let documents = documents(&roots);
    let store = store(&roots, &documents);
    let (sealing, _) = store.prepare(&Wanted::SseC(customer()), OBJECT, &Counted::new(3)).expect("nothing is needed");
    assert!(sealing.needs_customer_key());
    assert!(matches!(store.open(&sealing, OBJECT, None), Err(SealingError::CustomerKeyMissing)));
    let other = CustomerKey::new(secret(10));
    assert!(matches!(store.open(&sealing, OBJECT, Some(&other)), Err(SealingError::CustomerKeyDiffers)));
    let (plain, _) = store.prepare(&Wanted::SseS3, OBJECT, &Counted::new(3)).expect("keys are there");
    assert!(!plain.needs_customer_key());
    let opened = store.open(&plain, OBJECT, Some(&customer()));
    assert!(matches!(opened, Err(SealingError::CustomerKeyNotApplicable)));
}

/// A key with the same MD5 as the client's key would pass the check, but it does not unwrap the data key.
#[test]
fn passing_the_check_of_a_clients_key_alone_opens_nothing() {
    let roots = roots(1);
    let documents = documents(&roots);
    let store = store(&roots, &documents);
    let (sealing, _) = store.prepare(&Wanted::SseC(customer()), OBJECT, &Counted::new(3)).expect("nothing is needed");
    let (other, _) = store
        .prepare(&Wanted::SseC(CustomerKey::new(secret(10))), OBJECT, &Counted::new(4))
        .expect("nothing is needed");
    let mixed = Sealing { wrapped: other.wrapped, ..sealing };
    assert!(matches!(store.open(&mixed, OBJECT, Some(&customer())), Err(SealingError::CustomerKeyDiffers)));
}

#[test]
fn no_part_of_a_clients_key_is_stored() {
    let roots = roots(1);
    let documents = documents(&roots);
    let (sealing, _) = store(&roots, &documents)
        .prepare(&Wanted::SseC(customer()), OBJECT, &Counted::new(3))
        .expect("nothing is needed");
    let kept = sealing.encode();
    assert!(!kept.windows(8).any(|window| window == [9; 8]));
    assert!(!kept.windows(16).any(|window| window == customer().md5()));
}

#[test]
fn a_rotated_key_still_opens_what_it_wrapped() {
    let roots = roots(1);
    let mut documents = documents(&roots);
    let (sealing, key) =
        store(&roots, &documents).prepare(&Wanted::SseKms(kms("payroll")), OBJECT, &Counted::new(3)).expect("keys");
    assert_eq!(store(&roots, &documents).is_outdated(&sealing).ok(), Some(false));
    let rotated = store(&roots, &documents).key("payroll").expect("it is there");
    documents.keep(&rotated.rotated(UnixMs(2), &roots, &Counted::new(5)).expect("there is room"));

    let store = store(&roots, &documents);
    assert_eq!(store.open(&sealing, OBJECT, None).expect("it opens"), key);
    assert_eq!(store.is_outdated(&sealing).ok(), Some(true));
    let anew = store.seal_key(&key, &Wanted::SseKms(kms("payroll")), OBJECT, &Counted::new(6)).expect("keys");
    assert_eq!((anew.wrapped.key_version, store.is_outdated(&anew).ok()), (2, Some(false)));
    assert_eq!(store.open(&anew, OBJECT, None).expect("it opens"), key);
}

#[test]
fn a_rotation_of_the_outer_layers_key_outdates_the_record() {
    let roots = roots(1);
    let mut documents = documents(&roots);
    let wanted = Wanted::SseKms(KmsWanted { dual_layer: true, ..kms("payroll") });
    let (sealing, key) = store(&roots, &documents).prepare(&wanted, OBJECT, &Counted::new(3)).expect("keys");
    let own = store(&roots, &documents).key(SSE_S3_KEY).expect("it is there");
    documents.keep(&own.rotated(UnixMs(2), &roots, &Counted::new(5)).expect("there is room"));
    assert_eq!(store(&roots, &documents).is_outdated(&sealing).ok(), Some(true));
    assert_eq!(store(&roots, &documents).open(&sealing, OBJECT, None).expect("it opens"), key);
}

#[test]
fn after_a_rotation_every_data_key_is_rewrapped_once_except_those_of_clients() {
    let roots = roots(1);
    let mut documents = documents(&roots);
    let prepare = |documents: &Documents, wanted: &Wanted| {
        store(&roots, documents).prepare(wanted, OBJECT, &Counted::new(3)).expect("keys are there")
    };
    let before: Vec<_> = every_wanted().iter().map(|(wanted, _)| prepare(&documents, wanted)).collect();
    for id in [SSE_S3_KEY, KMS_DEFAULT_KEY, "payroll"] {
        let rotated = store(&roots, &documents).key(id).expect("it is there");
        documents.keep(&rotated.rotated(UnixMs(2), &roots, &Counted::new(5)).expect("there is room"));
    }
    let store = store(&roots, &documents);
    for ((sealing, key), (_, customer)) in before.into_iter().zip(every_wanted()) {
        let anew = store.rewrapped(&sealing, OBJECT, &Counted::new(6)).expect("keys are there");
        assert_eq!(anew.is_none(), customer.is_some());
        let Some(anew) = anew else { continue };
        assert_eq!((&anew.mode, anew.layout(), anew.wrapped.key_version), (&sealing.mode, sealing.layout(), 2));
        assert_eq!(store.open(&anew, OBJECT, None).expect("it opens"), key);
        assert_eq!(store.rewrapped(&anew, OBJECT, &Counted::new(7)).expect("keys are there"), None);
    }
}

/// A copy may share the bytes of its source.
#[test]
fn a_data_key_can_be_wrapped_for_another_object() {
    let roots = roots(1);
    let documents = documents(&roots);
    let store = store(&roots, &documents);
    let (_, key) = store.prepare(&Wanted::SseS3, OBJECT, &Counted::new(3)).expect("keys are there");
    let copy = SealedObject { bucket: BucketId(8), key: "a/copy" };
    for (wanted, customer) in every_wanted() {
        match store.seal_key(&key, &wanted, copy, &Counted::new(4)) {
            Ok(sealing) => assert_eq!(store.open(&sealing, copy, customer.as_ref()).expect("it opens"), key),
            Err(error) => {
                assert!(matches!(error, SealingError::LayersDiffer));
                assert_eq!(wanted.layout(), Layout::Dual);
            }
        }
    }
    let dual = DataKey::random(Layout::Dual, &Counted::new(5));
    assert!(matches!(store.seal_key(&dual, &Wanted::SseS3, copy, &Counted::new(6)), Err(SealingError::LayersDiffer)));
}

#[test]
fn an_absent_or_disabled_key_is_named_in_the_error() {
    let roots = roots(1);
    let mut documents = documents(&roots);
    let (sealing, _) =
        store(&roots, &documents).prepare(&Wanted::SseKms(kms("payroll")), OBJECT, &Counted::new(3)).expect("keys");
    let absent = store(&roots, &documents).prepare(&Wanted::SseKms(kms("absent")), OBJECT, &Counted::new(3));
    assert!(matches!(absent, Err(SealingError::NoSuchKey { id }) if id == "absent"));
    let payroll = store(&roots, &documents).key("payroll").expect("it is there");
    documents.keep(&payroll.with_enabled(false));
    let store = store(&roots, &documents);
    assert!(matches!(store.open(&sealing, OBJECT, None), Err(SealingError::KeyDisabled { id }) if id == "payroll"));
    let prepared = store.prepare(&Wanted::SseKms(kms("payroll")), OBJECT, &Counted::new(3));
    assert!(matches!(prepared, Err(SealingError::KeyDisabled { .. })));
}

#[test]
fn a_key_is_found_by_its_alias() {
    let roots = roots(1);
    let mut documents = documents(&roots);
    documents.0.insert(KeyPath::Alias("team/pay").to_string(), alias_document("payroll"));
    let store = store(&roots, &documents);
    assert_eq!(store.key_of_alias("team/pay").expect("it reads").as_deref(), Some("payroll"));
    assert_eq!(store.key_of_alias("other").expect("it reads"), None);
}

#[test]
fn a_truncated_extended_or_newer_encryption_record_is_refused() {
    let roots = roots(1);
    let documents = documents(&roots);
    let (sealing, _) = store(&roots, &documents).prepare(&Wanted::SseS3, OBJECT, &Counted::new(3)).expect("keys");
    let bytes = sealing.encode();
    for length in 0..bytes.len() {
        assert!(Sealing::decode(&bytes[..length]).is_err(), "{length}");
    }
    assert!(Sealing::decode(&[&bytes[..], &[0]].concat()).is_err());
    assert!(Sealing::decode(&[&[2], &bytes[1..]].concat()).is_err());
}

#[test]
fn another_stores_root_key_opens_nothing() {
    let own = roots(1);
    let documents = documents(&own);
    let (sealing, _) = store(&own, &documents).prepare(&Wanted::SseS3, OBJECT, &Counted::new(3)).expect("keys");
    let other = roots(2);
    let opened = store(&other, &documents).open(&sealing, OBJECT, None);
    assert!(
        matches!(opened, Err(SealingError::RootKeyMissing { key, root }) if key == SSE_S3_KEY && root == own.current().id())
    );
    let key = NamedKey::create(SSE_S3_KEY, "", UnixMs(1), &other, &Counted::new(77)).expect("a name");
    let mut documents = Documents::default();
    documents.keep(&key);
    assert!(matches!(store(&other, &documents).open(&sealing, OBJECT, None), Err(SealingError::Corrupt { .. })));
}

#[test]
fn a_renamed_object_keeps_its_data_key() {
    let roots = roots(1);
    let documents = documents(&roots);
    let store = store(&roots, &documents);
    let elsewhere = SealedObject { key: "another/key", ..OBJECT };
    for (wanted, customer) in every_wanted() {
        let (sealing, key) = store.prepare(&wanted, OBJECT, &Counted::new(3)).expect("keys are there");
        let sealed_objects = (OBJECT, elsewhere);
        let moved = store.rewrap(&sealing, sealed_objects, customer.as_ref(), &Counted::new(4)).expect("it opens");
        assert_eq!(store.open(&moved, elsewhere, customer.as_ref()).expect("it opens"), key);
        assert!(store.open(&moved, OBJECT, customer.as_ref()).is_err());
        if customer.is_none() {
            assert_eq!(moved.mode, sealing.mode);
        } else {
            assert!(store.rewrap(&sealing, sealed_objects, None, &Counted::new(4)).is_err());
        }
    }
}
