//! The fields of an inventory, and the rendering of one object version as a line of CSV.

use crate::actors::events::record::iso_time;
use crate::types::UnixMs;
use serde::{Deserialize, Serialize};
use std::fmt::Write;

macro_rules! fields {
    ($($field:ident),* $(,)?) => {
        /// The optional fields of an inventory besides the key, in the order of S3's schema.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum InventoryField {
            $($field,)*
        }

        impl InventoryField {
            pub const ALL: &[Self] = &[$(Self::$field,)*];

            /// Returns the name as in configurations and manifests.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$field => stringify!($field),)*
                }
            }
        }
    };
}

fields! {
    Size,
    LastModifiedDate,
    ETag,
    StorageClass,
    IsMultipartUploaded,
    ReplicationStatus,
    EncryptionStatus,
    ObjectLockRetainUntilDate,
    ObjectLockMode,
    ObjectLockLegalHoldStatus,
    IntelligentTieringAccessTier,
    BucketKeyStatus,
    ChecksumAlgorithm,
    ObjectAccessControlList,
    ObjectOwner,
}

impl InventoryField {
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().find(|field| field.as_str() == text).copied()
    }
}

/// The values of one object version or delete marker.
#[derive(Clone, Debug, Default)]
pub struct InventoryRow<'a> {
    pub key: &'a str,
    pub version: Option<String>,
    pub is_latest: bool,
    pub is_delete_marker: bool,
    pub size_bytes: u64,
    pub modified: UnixMs,
    /// The entity tag without quotes.
    pub etag: String,
    /// The storage class; empty for `STANDARD`.
    pub storage_class: &'a str,
    pub is_multipart: bool,
    /// S3's name for the kind of encryption; empty without encryption.
    pub encryption: &'static str,
    pub has_bucket_key: bool,
    pub lock: Option<LockColumns>,
    pub legal_hold: bool,
    /// S3's name for the checksum algorithm; empty without a checksum.
    pub checksum_algorithm: &'static str,
    /// The ACL in S3's JSON, encoded in base64; empty for delete markers.
    pub acl: String,
    /// Canonical id.
    pub owner: &'a str,
}

#[derive(Clone, Copy, Debug)]
pub struct LockColumns {
    /// `GOVERNANCE` or `COMPLIANCE`.
    pub mode: &'static str,
    pub until: UnixMs,
}

/// Returns the names of the columns for the manifest.
pub fn schema(all_versions: bool, fields: &[InventoryField]) -> String {
    let mut names = vec!["Bucket", "Key"];
    if all_versions {
        names.extend(["VersionId", "IsLatest", "IsDeleteMarker"]);
    }
    names.extend(in_order(fields).map(InventoryField::as_str));
    names.join(", ")
}

/// Appends a line, including its line end. Every value is quoted.
pub fn line(out: &mut String, bucket: &str, row: &InventoryRow<'_>, all_versions: bool, fields: &[InventoryField]) {
    value(out, bucket);
    out.push(',');
    value(out, &encode(row.key));
    if all_versions {
        for text in [row.version.as_deref().unwrap_or_default(), truth(row.is_latest), truth(row.is_delete_marker)] {
            out.push(',');
            value(out, text);
        }
    }
    for field in in_order(fields) {
        out.push(',');
        value(out, &text_of(row, field));
    }
    out.push('\n');
}

fn in_order(fields: &[InventoryField]) -> impl Iterator<Item = InventoryField> + '_ {
    InventoryField::ALL.iter().copied().filter(|field| fields.contains(field))
}

/// Returns the text of a field. All fields of a delete marker but the time and the owner are empty.
fn text_of(row: &InventoryRow<'_>, field: InventoryField) -> String {
    match field {
        InventoryField::LastModifiedDate => return iso_time(row.modified),
        InventoryField::ObjectOwner => return row.owner.to_owned(),
        _ if row.is_delete_marker => return String::new(),
        _ => {}
    }
    let text = match field {
        InventoryField::Size => return row.size_bytes.to_string(),
        InventoryField::ObjectLockRetainUntilDate => {
            return row.lock.map(|lock| iso_time(lock.until)).unwrap_or_default();
        }
        InventoryField::ETag => &row.etag,
        InventoryField::StorageClass if row.storage_class.is_empty() => "STANDARD",
        InventoryField::StorageClass => row.storage_class,
        InventoryField::IsMultipartUploaded => truth(row.is_multipart),
        InventoryField::EncryptionStatus => {
            if row.encryption.is_empty() {
                "NOT-SSE"
            } else {
                row.encryption
            }
        }
        InventoryField::ObjectLockMode => row.lock.map_or("", |lock| lock.mode),
        InventoryField::ObjectLockLegalHoldStatus => {
            if row.legal_hold {
                "On"
            } else {
                "Off"
            }
        }
        InventoryField::BucketKeyStatus => {
            if row.has_bucket_key {
                "ENABLED"
            } else {
                "DISABLED"
            }
        }
        InventoryField::ChecksumAlgorithm => row.checksum_algorithm,
        InventoryField::ObjectAccessControlList => &row.acl,
        _ => "",
    };
    text.to_owned()
}

const fn truth(is: bool) -> &'static str {
    if is { "true" } else { "false" }
}

fn value(out: &mut String, text: &str) {
    out.push('"');
    out.push_str(&text.replace('"', "\"\""));
    out.push('"');
}

/// Percent-encodes a key, except for slashes.
fn encode(key: &str) -> String {
    let mut encoded = String::with_capacity(key.len());
    for byte in key.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'/') {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::{InventoryField, InventoryRow, LockColumns, line, schema};
    use crate::types::UnixMs;

    fn shown(row: &InventoryRow<'_>, all_versions: bool, fields: &[InventoryField]) -> String {
        let mut out = String::new();
        line(&mut out, "b", row, all_versions, fields);
        out
    }

    fn row() -> InventoryRow<'static> {
        InventoryRow {
            key: "a b/\"c",
            version: Some("v".to_owned()),
            is_latest: true,
            size_bytes: 7,
            modified: UnixMs(1_470_881_470_000),
            etag: "e".to_owned(),
            is_multipart: true,
            lock: Some(LockColumns { mode: "COMPLIANCE", until: UnixMs(0) }),
            checksum_algorithm: "CRC32",
            owner: "o",
            ..InventoryRow::default()
        }
    }

    /// The expected schema is that of the example of a manifest in S3's user guide.
    #[test]
    fn inventory_columns_have_the_order_of_the_s3_guide() {
        let mut fields = InventoryField::ALL.to_vec();
        fields.reverse();
        let expected = "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag, StorageClass, \
                        IsMultipartUploaded, ReplicationStatus, EncryptionStatus, ObjectLockRetainUntilDate, \
                        ObjectLockMode, ObjectLockLegalHoldStatus, IntelligentTieringAccessTier, BucketKeyStatus, \
                        ChecksumAlgorithm, ObjectAccessControlList, ObjectOwner";
        assert_eq!(schema(true, &fields), expected);
        assert_eq!(schema(false, &[InventoryField::Size]), "Bucket, Key, Size");
    }

    #[test]
    fn an_inventory_line_quotes_every_value() {
        let expected = concat!(
            r#""b","a%20b/%22c","v","true","false","7","2016-08-11T02:11:10.000Z","e","STANDARD","true","","NOT-SSE","#,
            r#""1970-01-01T00:00:00.000Z","COMPLIANCE","Off","","DISABLED","CRC32","","o""#,
            "\n"
        );
        assert_eq!(shown(&row(), true, InventoryField::ALL), expected);
        assert_eq!(shown(&row(), false, &[InventoryField::Size]), "\"b\",\"a%20b/%22c\",\"7\"\n");
    }

    #[test]
    fn an_inventory_shows_whether_an_object_has_a_bucket_key() {
        let with = InventoryRow { has_bucket_key: true, ..row() };
        let fields = [InventoryField::BucketKeyStatus];
        assert_eq!(shown(&with, false, &fields), "\"b\",\"a%20b/%22c\",\"ENABLED\"\n");
    }

    #[test]
    fn a_delete_marker_has_no_size_and_no_etag_in_an_inventory() {
        let marker = InventoryRow { is_delete_marker: true, ..row() };
        let fields = [InventoryField::Size, InventoryField::ETag, InventoryField::LastModifiedDate];
        let expected = "\"b\",\"a%20b/%22c\",\"v\",\"true\",\"true\",\"\",\"2016-08-11T02:11:10.000Z\",\"\"\n";
        assert_eq!(shown(&marker, true, &fields), expected);
    }

    #[test]
    fn inventory_fields_parse_from_their_names() {
        for &field in InventoryField::ALL {
            assert_eq!(InventoryField::parse(field.as_str()), Some(field));
        }
        assert_eq!(InventoryField::parse("Colour"), None);
    }
}
