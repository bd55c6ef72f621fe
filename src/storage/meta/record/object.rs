//! Object versions, without their bytes. A version consists of a manifest, its place among the versions of its key, and
//! its traits. The traits can be changed; the bytes cannot.

use super::{Manifest, UploadRecord};
use crate::types::{ManifestId, UnixMs};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The place of a version among those of its key, which is also its version id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Version {
    /// Given by the state machine: greater in newer versions; 0 if the bucket was never versioned.
    pub seq: u64,
    /// Random bits, so that a version id cannot be guessed from another one.
    pub salt: u64,
    /// True for a null version, which was made while versioning was off or suspended. A key has at most one.
    pub null: bool,
}

impl Version {
    /// The only version of a key in a bucket that was never versioned.
    pub const ONLY: Self = Self { seq: 0, salt: 0, null: true };

    /// Returns the selection that names this version in a request.
    pub fn pick(self) -> Pick {
        if self.null { Pick::Null } else { Pick::Exact { seq: self.seq, salt: self.salt } }
    }
}

/// `null`, or 32 hexadecimal digits.
impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.null { f.write_str("null") } else { write!(f, "{:016x}{:016x}", self.seq, self.salt) }
    }
}

/// The version of a key that a request selects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Pick {
    /// The current object: the newest version, unless that is a delete marker.
    #[default]
    Current,
    Null,
    Exact {
        seq: u64,
        salt: u64,
    },
}

impl Pick {
    /// Parses a version id; `None` if no version can have it.
    pub fn parse(name: &str) -> Option<Self> {
        if name == "null" {
            return Some(Self::Null);
        }
        let digits = name.len() == 32 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let (seq, salt) = name.split_at_checked(16).filter(|_| digits)?;
        Some(Self::Exact { seq: u64::from_str_radix(seq, 16).ok()?, salt: u64::from_str_radix(salt, 16).ok()? })
    }

    pub fn is(self, version: Version) -> bool {
        match self {
            Self::Current => false,
            Self::Null => version.null,
            Self::Exact { seq, salt } => !version.null && (version.seq, version.salt) == (seq, salt),
        }
    }
}

/// The attributes of a version besides its manifest. All of them but the owner and the data key can be changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traits {
    /// The canonical id of the account that wrote the version; empty for the bucket's owner.
    pub owner: String,
    /// The ACL; without one the owner has full control, and nobody else has any.
    pub acl: Option<Acl>,
    pub tags: Vec<(String, String)>,
    pub retention: Option<Retention>,
    /// `None` if it was never set.
    pub legal_hold: Option<bool>,
    /// The encryption of the bytes, as `sealing` encodes it; `None` if they are plain.
    pub sealing: Option<Bytes>,
}

/// The grants of an ACL, which apply in addition to policies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acl {
    pub grants: Vec<Grant>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    pub grantee: Grantee,
    pub permission: Permission,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Grantee {
    /// An account, by its canonical id.
    Account(String),
    /// Everybody, with or without credentials.
    AllUsers,
    /// Everybody with credentials of any account.
    AuthenticatedUsers,
    /// The service that delivers access logs.
    LogDelivery,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Permission {
    FullControl,
    Read,
    Write,
    ReadAcp,
    WriteAcp,
}

/// The retention of a version: mode and end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    pub mode: RetentionMode,
    pub until: UnixMs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RetentionMode {
    /// A caller with the right to bypass it can delete the version.
    Governance,
    /// Nobody can delete the version.
    Compliance,
}

/// An object version with all that it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectVersion {
    pub version: Version,
    pub manifest: Manifest,
    pub traits: Traits,
}

/// The marker that a delete leaves in a versioned bucket: as the newest version it hides the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteMarker {
    pub version: Version,
    pub modified: UnixMs,
    /// The canonical id of the account that deleted.
    pub owner: String,
}

/// A version that is not the current object of its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "rows are read one at a time, and most are objects")]
pub enum VersionRow {
    Object(ObjectVersion),
    DeleteMarker(DeleteMarker),
}

impl VersionRow {
    pub fn version(&self) -> Version {
        match self {
            Self::Object(object) => object.version,
            Self::DeleteMarker(marker) => marker.version,
        }
    }

    /// Returns the time at which the version was made.
    pub fn modified(&self) -> UnixMs {
        match self {
            Self::Object(object) => object.manifest.modified,
            Self::DeleteMarker(marker) => marker.modified,
        }
    }
}

/// The place of a key's null version when it is not the current object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NullVersionRow {
    pub version: Version,
}

/// The number of object versions that refer to a blob or to a list of parts, if there are several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedRow {
    pub references: u32,
}

/// An upload, with the traits that its object will have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadRow {
    pub upload: UploadRecord,
    pub traits: Traits,
    /// The bytes of the parts that the upload has.
    pub parts_bytes: u64,
}

impl Version {
    /// Returns the random half of a version id, which is part of the manifest's id.
    pub fn salt_of(id: ManifestId) -> u64 {
        id.0 as u64
    }
}

#[cfg(test)]
mod tests {
    use super::{Pick, Version};

    #[test]
    fn a_version_is_picked_by_its_version_id() {
        let version = Version { seq: 0x1f, salt: u64::MAX, null: false };
        assert_eq!(version.to_string(), "000000000000001fffffffffffffffff");
        let pick = Pick::parse(&version.to_string()).expect("a name");
        assert_eq!(pick, version.pick());
        assert!(pick.is(version) && !pick.is(Version { null: true, ..version }) && !pick.is(Version::ONLY));
        let null = Version { null: true, ..version };
        assert_eq!((null.to_string(), Pick::parse("null")), ("null".to_owned(), Some(Pick::Null)));
        assert!(Pick::Null.is(null) && Pick::Null.is(Version::ONLY) && !Pick::Null.is(version));
        assert!(!Pick::Current.is(version));
    }

    #[test]
    fn a_malformed_version_id_picks_none() {
        let upper = "000000000000001FFFFFFFFFFFFFFFFF";
        for name in ["", "NULL", "abc", upper, "+00000000000001fffffffffffffffff", "é00000000000001ffffffffffffffff"] {
            assert_eq!(Pick::parse(name), None, "{name}");
        }
    }
}
