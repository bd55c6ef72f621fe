//! Converts a version's row of the metadata into a row of an inventory.

use super::rows::{InventoryField, InventoryRow, LockColumns};
use crate::actors::events::record::etag_text;
use crate::storage::meta::record::{
    Acl, Grant, Grantee, ObjectHeaders, ObjectVersion, Permission, Retention, RetentionMode, VersionRow,
};
use crate::storage::sealing::{Sealing, SealingMode};
use base64_simd::STANDARD as BASE64;
use serde_json::{Value, json};

const GROUPS: &str = "http://acs.amazonaws.com/groups/";
/// The version of the JSON format of ACLs (user guide, "Object Ownership and ACLs in inventories").
const ACL_VERSION: &str = "2022-11-10";

/// Removes what an inventory with these fields does not show: headers, tags and the ACL of a version may have many KiB,
/// and a page has very many versions.
pub fn reduced(mut object: ObjectVersion, fields: &[InventoryField]) -> ObjectVersion {
    let storage_class = object.manifest.headers.storage_class.take();
    object.manifest.headers = ObjectHeaders { storage_class, ..ObjectHeaders::default() };
    object.traits.tags = Vec::new();
    if !fields.contains(&InventoryField::ObjectAccessControlList) {
        object.traits.acl = None;
    }
    object
}

pub fn describe<'a>(key: &'a str, row: &'a VersionRow, is_latest: bool, bucket_owner: &'a str) -> InventoryRow<'a> {
    let owner = |owner: &'a str| if owner.is_empty() { bucket_owner } else { owner };
    let version = Some(row.version().to_string());
    match row {
        VersionRow::Object(object) => {
            InventoryRow { version, is_latest, ..of_object(key, object, owner(&object.traits.owner)) }
        }
        VersionRow::DeleteMarker(marker) => InventoryRow {
            key,
            version,
            is_latest,
            is_delete_marker: true,
            modified: marker.modified,
            owner: owner(&marker.owner),
            ..InventoryRow::default()
        },
    }
}

fn of_object<'a>(key: &'a str, object: &'a ObjectVersion, owner: &'a str) -> InventoryRow<'a> {
    let (manifest, traits) = (&object.manifest, &object.traits);
    let (encryption, has_bucket_key) = traits.sealing.as_deref().map_or(("", false), encryption);
    InventoryRow {
        key,
        size_bytes: manifest.size_bytes,
        modified: manifest.modified,
        etag: etag_text(&manifest.etag),
        storage_class: manifest.headers.storage_class.as_deref().unwrap_or_default(),
        is_multipart: manifest.etag.parts.is_some(),
        encryption,
        has_bucket_key,
        lock: traits.retention.map(lock),
        legal_hold: traits.legal_hold == Some(true),
        checksum_algorithm: manifest.checksum.as_ref().map_or("", |checksum| checksum.algorithm.name()),
        acl: acl(traits.acl.as_ref(), owner),
        owner,
        ..InventoryRow::default()
    }
}

/// Returns S3's name for the kind of encryption, and whether the object has a bucket key.
fn encryption(sealing: &[u8]) -> (&'static str, bool) {
    match Sealing::decode(sealing) {
        Ok(sealing) => match (sealing.mode, sealing.outer) {
            (SealingMode::SseS3, _) => ("SSE-S3", false),
            (SealingMode::SseKms { bucket_key, .. }, None) => ("SSE-KMS", bucket_key),
            // Two layers have no bucket key.
            (SealingMode::SseKms { .. }, Some(_)) => ("DSSE-KMS", false),
            (SealingMode::SseC { .. }, _) => ("SSE-C", false),
        },
        Err(error) => {
            tracing::warn!(
                %error,
                "cannot read the encryption record of an object; the inventory omits its encryption"
            );
            ("", false)
        }
    }
}

fn lock(retention: Retention) -> LockColumns {
    let mode = match retention.mode {
        RetentionMode::Governance => "GOVERNANCE",
        RetentionMode::Compliance => "COMPLIANCE",
    };
    LockColumns { mode, until: retention.until }
}

/// Returns the ACL in S3's JSON, encoded in base64. Without an ACL the owner has full control.
fn acl(acl: Option<&Acl>, owner: &str) -> String {
    let own = Grant { grantee: Grantee::Account(owner.to_owned()), permission: Permission::FullControl };
    let grants = acl.map_or_else(|| vec![own], |acl| acl.grants.clone());
    let grants: Vec<Value> = grants.iter().map(grant).collect();
    BASE64.encode_to_string(json!({"version": ACL_VERSION, "status": "AVAILABLE", "grants": grants}).to_string())
}

fn grant(grant: &Grant) -> Value {
    let permission = match grant.permission {
        Permission::FullControl => "FULL_CONTROL",
        Permission::Read => "READ",
        Permission::Write => "WRITE",
        Permission::ReadAcp => "READ_ACP",
        Permission::WriteAcp => "WRITE_ACP",
    };
    let group = |name: &str| json!({"uri": format!("{GROUPS}{name}"), "type": "Group", "permission": permission});
    match &grant.grantee {
        Grantee::Account(id) => json!({"canonicalId": id, "type": "CanonicalUser", "permission": permission}),
        Grantee::AllUsers => group("global/AllUsers"),
        Grantee::AuthenticatedUsers => group("global/AuthenticatedUsers"),
        Grantee::LogDelivery => group("s3/LogDelivery"),
    }
}

#[cfg(test)]
mod tests {
    use super::{BASE64, InventoryField, describe, reduced};
    use crate::storage::meta::record::{DeleteMarker, ObjectVersion, VersionRow};
    use crate::storage::meta::samples;
    use crate::storage::sealing::{Sealing, SealingMode, WrappedKey};
    use crate::types::UnixMs;
    use bytes::Bytes;

    #[test]
    fn an_object_without_an_acl_is_listed_as_its_owners_alone() {
        let mut object = samples::object_version();
        object.traits.owner = String::new();
        object.traits.acl = None;
        let row = VersionRow::Object(object);
        let described = describe("k", &row, true, "bucket-owner");
        assert_eq!((described.owner, described.is_latest, described.is_delete_marker), ("bucket-owner", true, false));
        let acl = BASE64.decode_to_vec(&described.acl).expect("base64");
        assert!(String::from_utf8(acl).expect("JSON").contains(r#""canonicalId":"bucket-owner""#));
    }

    #[test]
    fn the_kind_of_encryption_and_the_bucket_key_are_those_of_the_objects_record() {
        let kms = |bucket_key| SealingMode::SseKms {
            key_id: "k".to_owned(),
            shown: "k".to_owned(),
            context: Vec::new(),
            bucket_key,
        };
        let key = || WrappedKey { key_version: 1, bytes: Bytes::from_static(b"key") };
        let cases = [
            (SealingMode::SseS3, false, ("SSE-S3", false)),
            (kms(false), false, ("SSE-KMS", false)),
            (kms(true), false, ("SSE-KMS", true)),
            (kms(false), true, ("DSSE-KMS", false)),
        ];
        for (mode, is_dual, expected) in cases {
            let sealing = Sealing { id: 1, mode, wrapped: key(), outer: is_dual.then(key) };
            let mut object = samples::object_version();
            object.traits.sealing = Some(sealing.encode());
            let row = VersionRow::Object(object);
            let described = describe("k", &row, true, "o");
            assert_eq!((described.encryption, described.has_bucket_key), expected);
        }
    }

    #[test]
    fn a_reduced_version_is_described_alike_but_for_the_fields_that_are_not_asked_for() {
        let mut object = samples::object_version();
        object.manifest.headers.storage_class = Some("STANDARD_IA".to_owned());
        object.manifest.headers.content_disposition = Some("d".repeat(8000));
        object.traits.tags = vec![("k".to_owned(), "v".repeat(1000))];
        let described = |object: ObjectVersion| format!("{:?}", describe("k", &VersionRow::Object(object), true, "o"));
        let small = reduced(object.clone(), &[InventoryField::ObjectAccessControlList]);
        assert!(small.manifest.headers.content_disposition.is_none() && small.traits.tags.is_empty());
        assert_eq!(small.traits.acl, object.traits.acl);
        assert_eq!(described(small), described(object.clone()));
        assert_eq!(reduced(object, &[InventoryField::Size]).traits.acl, None);
    }

    #[test]
    fn a_delete_marker_is_listed_with_time_and_owner_only() {
        let version = samples::version();
        let row = VersionRow::DeleteMarker(DeleteMarker { version, modified: UnixMs(7), owner: "o".to_owned() });
        let described = describe("k", &row, false, "bucket-owner");
        assert!(described.is_delete_marker && described.acl.is_empty() && described.etag.is_empty());
        assert_eq!((described.owner, described.modified), ("o", UnixMs(7)));
    }
}
