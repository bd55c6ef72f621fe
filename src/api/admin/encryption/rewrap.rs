//! Rewrapping of data keys and resealing of secrets after a rotation, a page a request: first the named keys under the
//! current root key, then the secrets of access keys under it, then the data keys of objects under the newest versions
//! of their keys. Only metadata changes. Records that are up to date are passed over, so an interrupted run may begin
//! anew.

use super::{Admin, Refusal, failed, key_documents, update};
use crate::actors::meta::{
    BucketRow, Change, ChangeTraits, ListQuery, Listed, MetaView, Pick, Refusal as Refused, Reply, TraitsChange,
    Version, VersionRow,
};
use crate::actors::sealing::{KeyStore, NamedKey, Place, Sealing, SealingError};
use crate::api::identity::changes::keys;
use crate::types::BucketId;
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use serde::{Deserialize, Serialize};

const ACCESS_KEYS_PAGE: usize = 50;
/// Versions of objects that one request looks at.
const VERSIONS_PAGE: usize = 500;
/// Changes under way at once.
const CHANGES_IN_FLIGHT: usize = 16;
/// Behind a version in a cursor whose name is `null`.
const NULL: &str = "-null";

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rewrap {
    /// The position to continue from: `next` of the answer before. `None` for the beginning.
    pub from: Option<RewrapCursor>,
}

/// The position at which a request continues.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "snake_case", deny_unknown_fields)]
pub enum RewrapCursor {
    AccessKeys { after: Option<String> },
    Objects { bucket: Option<String>, key: Option<String>, version: Option<String> },
}

/// The result of one request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rewrapped {
    pub encryption_keys: u64,
    pub access_keys: u64,
    /// Versions of objects, encrypted or not.
    pub looked_at: u64,
    /// Versions of objects whose data key was wrapped anew.
    pub objects: u64,
    /// Versions whose data key could not be opened, and why the last of them could not.
    pub failed: u64,
    pub why: Option<String>,
    /// `None`: all is done.
    pub next: Option<RewrapCursor>,
}

pub(in crate::api::admin) async fn rewrap(admin: &Admin, asked: Rewrap) -> Result<Rewrapped, Refusal> {
    match asked.from {
        None => named_keys(admin).await,
        Some(RewrapCursor::AccessKeys { after }) => access_keys(admin, after.as_deref()).await,
        Some(RewrapCursor::Objects { bucket, key, version }) => {
            let version = version.as_deref().map(version_of).transpose()?;
            objects(admin, bucket.as_deref(), key, version).await
        }
    }
}

async fn named_keys(admin: &Admin) -> Result<Rewrapped, Refusal> {
    let documents = key_documents(&admin.gateway.meta().read().await.map_err(Refusal::unavailable)?)?;
    let entropy = admin.ambient.entropy.as_ref();
    let mut encryption_keys = 0;
    for (_, row) in documents {
        let key = NamedKey::decode(&row.value).map_err(failed)?;
        if !key.describe(&admin.roots).under_current_root {
            update(admin, key.id(), |key| key.rewrapped(&admin.roots, entropy)).await?;
            encryption_keys += 1;
        }
    }
    let next = Some(RewrapCursor::AccessKeys { after: None });
    Ok(Rewrapped { encryption_keys, next, ..Rewrapped::default() })
}

async fn access_keys(admin: &Admin, after: Option<&str>) -> Result<Rewrapped, Refusal> {
    let current = admin.roots.current().id().to_bytes();
    let changed = admin.iam.change(|editor| keys::reseal(editor, current, after, ACCESS_KEYS_PAGE)).await?;
    let (count, more) = changed.answer;
    let next = match more {
        Some(after) => RewrapCursor::AccessKeys { after: Some(after) },
        None => RewrapCursor::Objects { bucket: None, key: None, version: None },
    };
    Ok(Rewrapped { access_keys: count as u64, next: Some(next), ..Rewrapped::default() })
}

/// A version's new wrapping, to be put in the place of the one that it was made of.
struct Planned {
    key: String,
    pick: Pick,
    from: Bytes,
    to: Bytes,
}

async fn objects(
    admin: &Admin,
    bucket: Option<&str>,
    key: Option<String>,
    version: Option<Version>,
) -> Result<Rewrapped, Refusal> {
    let mut told = Rewrapped::default();
    let (bucket, planned) = {
        let view = admin.gateway.meta().read().await.map_err(Refusal::unavailable)?;
        let standing = bucket.map(|name| view.bucket(name)).transpose().map_err(Refusal::unavailable)?.flatten();
        // One that is gone meanwhile has nothing left to go on in.
        let (row, key, version) = match (standing, next_bucket(&view, bucket)?) {
            (Some(row), _) => (row, key, version),
            (None, Some(row)) => (row, None, None),
            (None, None) => return Ok(told),
        };
        let planned = plan(admin, &view, &row, key, version, &mut told)?;
        (row.bucket.id, planned)
    };
    let changes = planned.into_iter().map(|planned| put(admin, bucket, planned));
    let put: Vec<Result<bool, Refusal>> = stream::iter(changes).buffer_unordered(CHANGES_IN_FLIGHT).collect().await;
    for outcome in put {
        told.objects += u64::from(outcome?);
    }
    Ok(told)
}

fn next_bucket(view: &MetaView, after: Option<&str>) -> Result<Option<BucketRow>, Refusal> {
    let (mut rows, _) = view.buckets("", after, 1).map_err(Refusal::unavailable)?;
    Ok(rows.pop())
}

/// Plans the changes of a page of versions; notes the versions seen and the position to continue from.
fn plan(
    admin: &Admin,
    view: &MetaView,
    row: &BucketRow,
    key: Option<String>,
    version: Option<Version>,
    told: &mut Rewrapped,
) -> Result<Vec<Planned>, Refusal> {
    let query = ListQuery { after: key, limit: VERSIONS_PAGE, ..ListQuery::default() };
    let page = view.list_versions(row.bucket.id, &query, version).map_err(Refusal::unavailable)?;
    let mut planned = Vec::new();
    for entry in page.entries {
        let Listed::Item { key, record } = entry else { continue };
        told.looked_at += 1;
        let pick = record.row.version().pick();
        let VersionRow::Object(object) = record.row else { continue };
        let Some(from) = object.traits.sealing else { continue };
        match rewrapped(admin, view, row.bucket.id, &key, &from) {
            Ok(Some(to)) => planned.push(Planned { key, pick, from, to }),
            Ok(None) => {}
            Err(SealingError::Tables(error)) => return Err(Refusal::unavailable(error)),
            Err(error) => {
                tracing::warn!(bucket = row.bucket.name, key, %error, "a data key cannot be wrapped anew");
                told.failed += 1;
                told.why = Some(error.to_string());
            }
        }
    }
    let name = Some(row.bucket.name.clone());
    told.next = if page.more {
        let version = page.next_version.map(text_of);
        Some(RewrapCursor::Objects { bucket: name, key: page.next_after, version })
    } else {
        let bucket = next_bucket(view, name.as_deref())?.map(|row| row.bucket.name);
        bucket.map(|bucket| RewrapCursor::Objects { bucket: Some(bucket), key: None, version: None })
    };
    Ok(planned)
}

fn rewrapped(
    admin: &Admin,
    view: &MetaView,
    bucket: BucketId,
    key: &str,
    sealing: &[u8],
) -> Result<Option<Bytes>, SealingError> {
    let store = KeyStore { roots: &admin.roots, documents: view };
    let anew = store.rewrapped(&Sealing::decode(sealing)?, Place { bucket, key }, admin.ambient.entropy.as_ref())?;
    Ok(anew.map(|sealing| sealing.encode()))
}

/// Writes a planned change; returns false if the version was deleted or replaced meanwhile, and needs nothing.
async fn put(admin: &Admin, bucket: BucketId, planned: Planned) -> Result<bool, Refusal> {
    let Planned { key, pick, from, to } = planned;
    let change =
        ChangeTraits { bucket, key, pick, manifest: None, to: TraitsChange::Sealing { from, to }, event: None };
    admin.gateway.check_changeable().map_err(Refusal::unavailable)?;
    let reply = admin.gateway.meta().propose(Change::ChangeTraits(Box::new(change))).await;
    match reply.map_err(Refusal::unavailable)? {
        Reply::ObjectPut { .. } => Ok(true),
        Reply::Refused(
            Refused::PreconditionFailed
            | Refused::NoSuchBucket
            | Refused::NoSuchKey
            | Refused::NoSuchVersion
            | Refused::IsDeleteMarker,
        ) => Ok(false),
        Reply::Refused(refusal) => Err(Refusal::unavailable(refusal)),
        reply => Err(Refusal::unavailable(format!("a change was answered with {reply:?}"))),
    }
}

/// A version in a cursor: by where it is among those of its key, also where its name is `null`.
fn text_of(version: Version) -> String {
    let name = Version { null: false, ..version };
    format!("{name}{}", if version.null { NULL } else { "" })
}

fn version_of(text: &str) -> Result<Version, Refusal> {
    let (name, null) = text.strip_suffix(NULL).map_or((text, false), |name| (name, true));
    match Pick::parse(name) {
        Some(Pick::Exact { seq, salt }) => Ok(Version { seq, salt, null }),
        _ => Err(Refusal::NoSense("the place to go on from is none that an answer named".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::{Rewrap, RewrapCursor, Version, text_of, version_of};

    #[test]
    fn a_place_to_go_on_from_reads_back() {
        for version in [Version { seq: 7, salt: u64::MAX, null: false }, Version { seq: 0, salt: 1, null: true }] {
            assert_eq!(version_of(&text_of(version)).ok(), Some(version));
        }
        for wrong in ["", "null", "-null", "7", "zz"] {
            assert!(version_of(wrong).is_err(), "{wrong}");
        }
        let (bucket, key) = (Some("b".to_owned()), Some("k\u{1}".to_owned()));
        let objects = RewrapCursor::Objects { bucket, key, version: None };
        for from in [None, Some(RewrapCursor::AccessKeys { after: None }), Some(objects)] {
            let asked = Rewrap { from };
            let text = serde_json::to_string(&asked).expect("JSON");
            assert_eq!(serde_json::from_str::<Rewrap>(&text).expect("it reads back"), asked, "{text}");
        }
    }
}
