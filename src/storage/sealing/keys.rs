//! The store's named keys and their versions. Each version is a random secret, wrapped by the root key. The newest
//! version wraps data keys, and all versions unwrap them, so a rotation changes no object. A key is one document: a
//! byte with the format's version, then JSON.

use super::error::SealingError;
use super::root::{RootKeyId, RootKeys};
use super::secret::Secret;
use super::wrap::{Context, Purpose, unwrap, wrap};
use crate::ambient::Entropy;
use crate::limits::KEY_VERSIONS_MAX;
use crate::types::UnixMs;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt;

const FORMAT_VERSION: u8 = 1;
const NAME_BYTES_MAX: usize = 128;
const FIRST_VERSION: u32 = 1;

/// The path of the document of a key or of an alias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPath<'a> {
    Key(&'a str),
    /// The name of an alias, without the prefix `alias/`.
    Alias(&'a str),
}

impl fmt::Display for KeyPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(name) => write!(f, "key/{name}"),
            Self::Alias(name) => write!(f, "alias/{name}"),
        }
    }
}

/// Returns whether a name is allowed: 1 to 128 letters, digits, `-`, `_` and `.`; in an alias also `/`.
pub fn is_key_name(path: KeyPath<'_>) -> bool {
    let (name, slash) = match path {
        KeyPath::Key(name) => (name, false),
        KeyPath::Alias(name) => (name, true),
    };
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) || slash && byte == b'/';
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(allowed)
}

/// A named key of the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedKey {
    id: String,
    description: String,
    created: UnixMs,
    enabled: bool,
    /// The versions in order of their numbers; the last is the current one. Never empty.
    versions: Vec<KeyVersion>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyVersion {
    number: u32,
    made: UnixMs,
    /// The id of the root key that wraps this version.
    root: RootKeyId,
    #[serde(with = "base64_text")]
    wrapped: Bytes,
}

/// The public description of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyDescription {
    pub id: String,
    pub description: String,
    pub created: UnixMs,
    pub enabled: bool,
    pub current_version: u32,
    /// The number and creation time of each version.
    pub versions: Vec<(u32, UnixMs)>,
    /// True if every version is wrapped by the current root key.
    pub under_current_root: bool,
}

impl NamedKey {
    pub fn create(
        id: &str,
        description: &str,
        now: UnixMs,
        roots: &RootKeys,
        entropy: &dyn Entropy,
    ) -> Result<Self, SealingError> {
        if !is_key_name(KeyPath::Key(id)) {
            return Err(SealingError::InvalidName { name: id.to_owned() });
        }
        let first = KeyVersion::seal(id, FIRST_VERSION, now, &Secret::random(entropy), roots, entropy);
        let (id, description) = (id.to_owned(), description.to_owned());
        Ok(Self { id, description, created: now, enabled: true, versions: vec![first] })
    }

    /// Returns the key with a new version, which wraps data keys from now on. Refused if it has as many as its document
    /// has room for: versions are never removed.
    pub fn rotated(mut self, now: UnixMs, roots: &RootKeys, entropy: &dyn Entropy) -> Result<Self, SealingError> {
        if self.versions.len() >= KEY_VERSIONS_MAX {
            return Err(SealingError::TooManyVersions { id: self.id });
        }
        let number = self.current_version() + 1;
        self.versions.push(KeyVersion::seal(&self.id, number, now, &Secret::random(entropy), roots, entropy));
        Ok(self)
    }

    /// Enables or disables the key. A disabled key neither wraps nor unwraps.
    pub fn with_enabled(self, enabled: bool) -> Self {
        Self { enabled, ..self }
    }

    /// Returns the key with all versions wrapped by the current root key; `None` if they already are.
    pub fn rewrapped(&self, roots: &RootKeys, entropy: &dyn Entropy) -> Result<Option<Self>, SealingError> {
        if self.is_under(roots) {
            return Ok(None);
        }
        let rewrap = |version: &KeyVersion| {
            let secret = version.open(&self.id, roots)?;
            Ok(KeyVersion::seal(&self.id, version.number, version.made, &secret, roots, entropy))
        };
        let versions = self.versions.iter().map(rewrap).collect::<Result<Vec<_>, SealingError>>()?;
        Ok(Some(Self { versions, ..self.clone() }))
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn current_version(&self) -> u32 {
        self.versions.last().map_or(0, |version| version.number)
    }

    pub fn describe(&self, roots: &RootKeys) -> KeyDescription {
        KeyDescription {
            id: self.id.clone(),
            description: self.description.clone(),
            created: self.created,
            enabled: self.enabled,
            current_version: self.current_version(),
            versions: self.versions.iter().map(|version| (version.number, version.made)).collect(),
            under_current_root: self.is_under(roots),
        }
    }

    fn is_under(&self, roots: &RootKeys) -> bool {
        self.roots().all(|root| root == roots.current().id())
    }

    /// The ids of the root keys that wrap the versions, in order of the versions.
    pub fn roots(&self) -> impl Iterator<Item = RootKeyId> {
        self.versions.iter().map(|version| version.root)
    }

    /// Unwraps the secret of one version. Fails if the key is disabled.
    pub(super) fn secret(&self, version: u32, roots: &RootKeys) -> Result<Secret, SealingError> {
        if !self.enabled {
            return Err(SealingError::KeyDisabled { id: self.id.clone() });
        }
        let found = self.versions.iter().find(|found| found.number == version);
        found.ok_or_else(|| SealingError::NoSuchVersion { id: self.id.clone(), version })?.open(&self.id, roots)
    }

    pub fn encode(&self) -> Bytes {
        encode_document(self)
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, SealingError> {
        let key: Self = decode_document("a sealing key", bytes)?;
        let ascending = key.versions.windows(2).all(|pair| matches!(pair, [a, b] if a.number < b.number));
        if key.versions.is_empty() || !ascending {
            let why = "it has no versions, or they are not in ascending order".to_owned();
            return Err(SealingError::Corrupt { what: "a sealing key", why });
        }
        Ok(key)
    }
}

impl KeyVersion {
    fn seal(id: &str, number: u32, made: UnixMs, secret: &Secret, roots: &RootKeys, entropy: &dyn Entropy) -> Self {
        let root = roots.current();
        let wrapped = wrap(root.secret(), secret, &context_of(id, number), entropy);
        Self { number, made, root: root.id(), wrapped }
    }

    fn open(&self, id: &str, roots: &RootKeys) -> Result<Secret, SealingError> {
        let root = roots
            .of_id(self.root)
            .ok_or_else(|| SealingError::RootKeyMissing { key: id.to_owned(), root: self.root })?;
        unwrap(root.secret(), &self.wrapped, &context_of(id, self.number)).ok_or_else(|| SealingError::Corrupt {
            what: "a sealing key",
            why: format!("version {} of {id:?} cannot be unwrapped with the root key {}", self.number, root.id()),
        })
    }
}

fn context_of(id: &str, number: u32) -> Context {
    Context::new(Purpose::NamedKey).with(id.as_bytes()).with(&number.to_be_bytes())
}

/// The document of an alias, which is another name of a key.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Alias {
    key: String,
}

pub fn alias_document(key: &str) -> Bytes {
    encode_document(&Alias { key: key.to_owned() })
}

/// Returns the name of the key that the document of an alias refers to.
pub fn alias_target(bytes: &[u8]) -> Result<String, SealingError> {
    decode_document::<Alias>("a sealing key's alias", bytes).map(|alias| alias.key)
}

fn encode_document<T: Serialize>(value: &T) -> Bytes {
    let mut bytes = vec![FORMAT_VERSION];
    serde_json::to_writer(&mut bytes, value).expect("plain data has a JSON form");
    bytes.into()
}

fn decode_document<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, SealingError> {
    match bytes.split_first() {
        Some((&FORMAT_VERSION, json)) => {
            serde_json::from_slice(json).map_err(|error| SealingError::Corrupt { what, why: error.to_string() })
        }
        found => {
            let why = format!("format version {:?} is not known", found.map(|(version, _)| version));
            Err(SealingError::Corrupt { what, why })
        }
    }
}

mod base64_text {
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&base64_simd::STANDARD.encode_to_string(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        let text = String::deserialize(deserializer)?;
        base64_simd::STANDARD.decode_to_vec(&text).map(Bytes::from).map_err(de::Error::custom)
    }
}
