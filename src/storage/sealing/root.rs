//! The root key, which wraps the store's named keys and is never stored in the metadata: its text form in files, its
//! derivation from a cluster's secret, and its former versions.

use super::secret::{KEY_BYTES, Secret};
use crate::ambient::Entropy;
use crate::types::ClusterId;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;

const DERIVED_LABEL: &[u8] = b"sherd root key, version 1";
const ID_LABEL: &[u8] = b"sherd root key id, version 1";
/// The largest file of root keys that is accepted.
const FILE_BYTES_MAX: usize = 64 << 10;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootKey {
    secret: Secret,
    id: RootKeyId,
}

/// The id of a root key, derived from it. It reveals nothing about the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RootKeyId([u8; 8]);

impl RootKeyId {
    pub fn to_bytes(self) -> [u8; 8] {
        self.0
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RootKeyError {
    #[error("the file contains no key")]
    Empty,
    #[error("line {line} is not a key: a key is 64 hexadecimal digits, or 32 bytes in base64")]
    Malformed { line: usize },
    #[error("the file is longer than {FILE_BYTES_MAX} bytes, the most for a file of keys")]
    TooLong,
}

impl RootKey {
    pub fn new(secret: Secret) -> Self {
        let derived = Secret::derived(secret.bytes(), &[], &[ID_LABEL]);
        let mut id = RootKeyId([0; 8]);
        id.0.copy_from_slice(&derived.bytes()[..8]);
        Self { secret, id }
    }

    pub fn random(entropy: &dyn Entropy) -> Self {
        Self::new(Secret::random(entropy))
    }

    /// Derives the root key from the secret that the hosts of a cluster share. An operator who changes that secret must
    /// supply the key of the old secret as a former one.
    pub fn of_cluster(secret: &str, cluster: ClusterId) -> Self {
        Self::new(Secret::derived(secret.as_bytes(), &cluster.to_be_bytes(), &[DERIVED_LABEL]))
    }

    pub fn id(&self) -> RootKeyId {
        self.id
    }

    /// Derives a key for a purpose other than objects; each label gives another key.
    pub fn derived(&self, label: &[u8]) -> [u8; KEY_BYTES] {
        *Secret::derived(self.secret.bytes(), &[], &[label]).bytes()
    }

    /// Returns the key as a line of a key file. It must be written to such a file only.
    pub fn to_file_line(&self) -> String {
        base64_simd::STANDARD.encode_to_string(self.secret.bytes())
    }

    pub(super) fn secret(&self) -> &Secret {
        &self.secret
    }
}

/// The current root key, and former ones, which still unwrap what they wrapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootKeys {
    current: RootKey,
    former: Vec<RootKey>,
}

impl RootKeys {
    pub fn new(current: RootKey) -> Self {
        Self { current, former: Vec::new() }
    }

    /// Parses a key file. A file of exactly 32 bytes is one raw key. In any other file each line is a key, in
    /// hexadecimal or base64: the first is the current key, the others are former keys. Empty lines and lines that
    /// begin with `#` are skipped.
    pub fn parse(file: &[u8]) -> Result<Self, RootKeyError> {
        if file.len() > FILE_BYTES_MAX {
            return Err(RootKeyError::TooLong);
        }
        if let Some(secret) = Secret::of(file) {
            return Ok(Self::new(RootKey::new(secret)));
        }
        let mut keys = Vec::new();
        for (number, line) in file.split(|byte| *byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            if !line.is_empty() && !line.starts_with(b"#") {
                keys.push(parse_line(line).ok_or(RootKeyError::Malformed { line: number + 1 })?);
            }
        }
        let mut keys = keys.into_iter();
        let current = keys.next().ok_or(RootKeyError::Empty)?;
        Ok(Self { current, former: keys.collect() })
    }

    /// Returns the keys with one more former key.
    pub fn and_former(mut self, key: RootKey) -> Self {
        if self.of_id(key.id).is_none() {
            self.former.push(key);
        }
        self
    }

    pub fn current(&self) -> &RootKey {
        &self.current
    }

    /// Returns the key with this id, given as the bytes that are stored beside sealed data.
    pub fn of_bytes(&self, id: [u8; 8]) -> Option<&RootKey> {
        self.of_id(RootKeyId(id))
    }

    pub fn of_id(&self, id: RootKeyId) -> Option<&RootKey> {
        self.all().find(|key| key.id == id)
    }

    /// Returns all keys, the current one first.
    pub fn all(&self) -> impl Iterator<Item = &RootKey> {
        std::iter::once(&self.current).chain(&self.former)
    }
}

fn parse_line(line: &[u8]) -> Option<RootKey> {
    let mut decoded = if line.len() == 2 * KEY_BYTES {
        hex_simd::decode_to_vec(line).ok()?
    } else {
        base64_simd::STANDARD.decode_to_vec(line).ok()?
    };
    let secret = Secret::of(&decoded);
    decoded.fill(0);
    std::hint::black_box(&decoded);
    secret.map(RootKey::new)
}

impl fmt::Display for RootKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl Serialize for RootKeyId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RootKeyId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = hex_simd::decode_to_vec(&text).ok().and_then(|bytes| <[u8; 8]>::try_from(bytes).ok());
        bytes.map(Self).ok_or_else(|| de::Error::custom(format!("expected 16 hexadecimal digits, found {text:?}")))
    }
}
