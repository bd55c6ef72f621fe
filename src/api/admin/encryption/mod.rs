//! The routes of the admin API for the store's named encryption keys: lists them with the root keys that wrap them,
//! creates, rotates, enables and disables them, and rewraps keys and secrets after a rotation (`rewrap`).

mod missing;
mod rewrap;

pub(in crate::api) use missing::watch as watch_root_keys;
pub(super) use rewrap::rewrap;
pub use rewrap::{Rewrap, RewrapCursor, Rewrapped};

use super::documents::{TRIES_MAX, refused, write};
use super::{Admin, Refusal};
use crate::actors::meta::{DocumentKey, DocumentRow, DocumentWrite, Expect, IdentityKind, MetaView};
use crate::actors::sealing::{
    KMS_DEFAULT_KEY, KeyPath, NamedKey, SSE_S3_KEY, SealingError, alias_document, is_key_name,
};
use crate::api::identity::records::AccessKeyRecord;
use crate::api::identity::sealed_under;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const PAGE_ROWS: usize = 256;
/// The prefix of keys among the documents of their kind, which also has the aliases.
const KEYS: &str = "key/";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncryptionKeysJson {
    pub keys: Vec<EncryptionKeyJson>,
    pub root_keys: Vec<RootKeyJson>,
}

/// A named encryption key. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncryptionKeyJson {
    pub id: String,
    pub description: String,
    pub created: u64,
    pub enabled: bool,
    /// The newest version, which wraps new data keys.
    pub version: u32,
    /// The creation time of the newest version.
    pub rotated: u64,
    /// True if the current root key wraps all of its versions.
    pub under_current_root: bool,
}

/// A root key, identified by a fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootKeyJson {
    pub id: String,
    /// True if new keys and secrets are wrapped with it.
    pub current: bool,
    /// True if the answering host has this root key.
    pub known: bool,
    /// The number of versions of encryption keys that this root key wraps.
    pub encryption_keys: u64,
    /// The number of access keys whose secrets this root key seals.
    pub access_keys: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "lowercase", deny_unknown_fields)]
pub enum ChangeKey {
    Create {
        id: String,
        #[serde(default)]
        description: String,
        /// The alias, without its `alias/`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        alias: Option<String>,
    },
    /// Creates a new version, which wraps new data keys from now on.
    Rotate {
        id: String,
    },
    Enable {
        id: String,
    },
    /// Disables the key: it neither wraps nor unwraps until it is enabled.
    Disable {
        id: String,
    },
}

pub(super) async fn list(admin: &Admin) -> Result<EncryptionKeysJson, Refusal> {
    let view = admin.gateway.meta().read().await.map_err(Refusal::unavailable)?;
    let keys = named_keys(&view)?;
    let mut roots = roots_in_use(admin, &view, &keys)?;
    for root in admin.roots.all() {
        roots.entry(root.id().to_bytes()).or_default();
    }
    let current = admin.roots.current().id().to_bytes();
    let root = |(id, (encryption_keys, access_keys)): ([u8; 8], (u64, u64))| RootKeyJson {
        id: hex_simd::encode_to_string(id, hex_simd::AsciiCase::Lower),
        current: id == current,
        known: admin.roots.of_bytes(id).is_some(),
        encryption_keys,
        access_keys,
    };
    let keys = keys.iter().map(|key| shown(key, admin)).collect();
    Ok(EncryptionKeysJson { keys, root_keys: roots.into_iter().map(root).collect() })
}

fn named_keys(view: &MetaView) -> Result<Vec<NamedKey>, Refusal> {
    key_documents(view)?.iter().map(|(_, row)| NamedKey::decode(&row.value).map_err(failed)).collect()
}

/// Counts the versions of these encryption keys that each root key wraps, and the access keys whose secrets it seals.
fn roots_in_use(admin: &Admin, view: &MetaView, keys: &[NamedKey]) -> Result<BTreeMap<[u8; 8], (u64, u64)>, Refusal> {
    let mut roots: BTreeMap<[u8; 8], (u64, u64)> = BTreeMap::new();
    for root in keys.iter().flat_map(NamedKey::roots) {
        roots.entry(root.to_bytes()).or_default().0 += 1;
    }
    admin.iam.directory(view).each("", |key: AccessKeyRecord| {
        if let Some(root) = sealed_under(&key.sealed) {
            roots.entry(root).or_default().1 += 1;
        }
        Ok(())
    })?;
    Ok(roots)
}

/// Returns the documents of keys, sorted by id.
fn key_documents(view: &MetaView) -> Result<Vec<(String, DocumentRow)>, Refusal> {
    let mut documents: Vec<(String, DocumentRow)> = Vec::new();
    loop {
        let after = documents.last().map(|(path, _)| path.clone());
        let page = view.identity_documents(IdentityKind::SealingKey, KEYS, after.as_deref(), PAGE_ROWS);
        let (page, more) = page.map_err(Refusal::unavailable)?;
        let ended = page.is_empty() || !more;
        documents.extend(page);
        if ended {
            return Ok(documents);
        }
    }
}

fn shown(key: &NamedKey, admin: &Admin) -> EncryptionKeyJson {
    let description = key.describe(&admin.roots);
    EncryptionKeyJson {
        rotated: description.versions.last().map_or(description.created.0, |(_, made)| made.0),
        id: description.id,
        description: description.description,
        created: description.created.0,
        enabled: description.enabled,
        version: description.current_version,
        under_current_root: description.under_current_root,
    }
}

pub(super) async fn change(admin: &Admin, asked: ChangeKey) -> Result<EncryptionKeyJson, Refusal> {
    let now = admin.ambient.clock.unix_ms();
    let entropy = admin.ambient.entropy.as_ref();
    let changed = match &asked {
        ChangeKey::Create { id, description, alias } => create(admin, id, description, alias.as_deref()).await?,
        ChangeKey::Rotate { id } => update(admin, id, |key| key.rotated(now, &admin.roots, entropy).map(Some)).await?,
        ChangeKey::Enable { id } => update(admin, id, |key| Ok(Some(key.with_enabled(true)))).await?,
        // Objects of clients that never named a key would become unreadable, without an apparent reason.
        ChangeKey::Disable { id } if is_own(id) => {
            return Err(refused(format!("{id:?} is the store's own key: it cannot be disabled")));
        }
        ChangeKey::Disable { id } => update(admin, id, |key| Ok(Some(key.with_enabled(false)))).await?,
    };
    tracing::info!(?asked, "an administrator changed an encryption key");
    Ok(shown(&changed, admin))
}

fn is_own(id: &str) -> bool {
    id == SSE_S3_KEY || id == KMS_DEFAULT_KEY
}

/// Creates a key, together with its alias, if any: both are created or neither.
async fn create(admin: &Admin, id: &str, description: &str, alias: Option<&str>) -> Result<NamedKey, Refusal> {
    if alias.is_some_and(|alias| !is_key_name(KeyPath::Alias(alias))) {
        return Err(refused("an alias has 1 to 128 letters, digits, and any of -_./".to_owned()));
    }
    let now = admin.ambient.clock.unix_ms();
    let key = NamedKey::create(id, description, now, &admin.roots, admin.ambient.entropy.as_ref()).map_err(failed)?;
    let mut writes = vec![written(KeyPath::Key(id), Expect::Absent, key.encode())];
    writes.extend(alias.map(|alias| written(KeyPath::Alias(alias), Expect::Absent, alias_document(id))));
    if write(admin, writes).await? {
        return Ok(key);
    }
    let besides = if alias.is_some() { ", or one that has the alias" } else { "" };
    Err(refused(format!("there is a key {id:?} already{besides}")))
}

/// Changes a key by `to`, which returns `None` if there is nothing to change. Returns the key as it is afterwards.
async fn update(
    admin: &Admin,
    id: &str,
    to: impl Fn(NamedKey) -> Result<Option<NamedKey>, SealingError>,
) -> Result<NamedKey, Refusal> {
    for _ in 0..TRIES_MAX {
        let standing = {
            let view = admin.gateway.meta().read().await.map_err(Refusal::unavailable)?;
            view.document(&document_key(KeyPath::Key(id))).map_err(Refusal::unavailable)?
        };
        let row = standing.ok_or_else(|| failed(SealingError::NoSuchKey { id: id.to_owned() }))?;
        let key = NamedKey::decode(&row.value).map_err(failed)?;
        let Some(new) = to(key.clone()).map_err(failed)? else { return Ok(key) };
        if write(admin, vec![written(KeyPath::Key(id), Expect::Revision(row.revision), new.encode())]).await? {
            return Ok(new);
        }
    }
    Err(Refusal::unavailable("the key was changed by others at the same time; try again"))
}

fn document_key(path: KeyPath<'_>) -> DocumentKey {
    DocumentKey::Identity(IdentityKind::SealingKey, path.to_string())
}

fn written(path: KeyPath<'_>, expect: Expect, value: Bytes) -> DocumentWrite {
    DocumentWrite { key: document_key(path), expect, value: Some(value) }
}

fn failed(error: SealingError) -> Refusal {
    match error {
        SealingError::Tables(error) => Refusal::unavailable(error),
        error => refused(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::ChangeKey;

    #[test]
    fn changes_of_encryption_keys_are_parsed_as_documented() {
        let read = |text: &str| serde_json::from_str::<ChangeKey>(text);
        let (id, description) = ("payroll".to_owned(), String::new());
        let bare = ChangeKey::Create { id: id.clone(), description, alias: None };
        assert_eq!(read(r#"{"change":"create","id":"payroll"}"#).expect("a change"), bare);
        let text = serde_json::to_string(&bare).expect("JSON");
        assert_eq!(text, r#"{"change":"create","id":"payroll","description":""}"#);
        assert_eq!(read(r#"{"change":"rotate","id":"payroll"}"#).expect("a change"), ChangeKey::Rotate { id });
        let unknown = r#"{"change":"enable","id":"a","x":1}"#;
        for wrong in [r#"{"change":"rotate"}"#, r#"{"change":"delete","id":"a"}"#, unknown] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
