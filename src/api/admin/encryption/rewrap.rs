//! Rewrapping after a rotation of keys, one page for each request, in three stages: the named keys are wrapped with the
//! current root key, then the secrets of access keys are sealed with it, then the data keys of objects are wrapped with
//! the newest versions of their named keys. Only metadata changes. Records that are up to date are skipped, so an
//! interrupted run can simply be started again.

use super::{Admin, Refusal, failed, key_documents, update};
use crate::actors::meta::{
    BucketRow, Change, ChangeTraits, ListQuery, Listed, MetaView, Pick, Refusal as Refused, Reply, TraitsChange,
    Version, VersionRow,
};
use crate::actors::sealing::{KeyStore, NamedKey, SealedObject, Sealing, SealingError};
use crate::api::identity::changes::keys;
use crate::types::BucketId;
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use serde::{Deserialize, Serialize};

const ACCESS_KEYS_PAGE: usize = 50;
/// The versions of objects that one request examines.
const VERSIONS_PAGE: usize = 500;
/// The most changes under way at once.
const CHANGES_IN_FLIGHT: usize = 16;
/// The suffix, in a cursor, of a version with the version id `null`.
const NULL: &str = "-null";

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rewrap {
    /// The position to continue from: `next` of the last response. `None` starts a run.
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
    /// The versions of objects that were examined, encrypted or not.
    pub looked_at: u64,
    /// The versions of objects whose data key was rewrapped.
    pub objects: u64,
    /// The versions whose data key could not be unwrapped (`failed`), and the reason of the last failure (`why`).
    pub failed: u64,
    pub why: Option<String>,
    /// The position of the next request; `None` when the run is done.
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

/// A version's new wrapping (`to`), to replace the one that it was made from (`from`).
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
    let mut result = Rewrapped::default();
    let (bucket, planned) = {
        let view = admin.gateway.meta().read().await.map_err(Refusal::unavailable)?;
        let standing = bucket.map(|name| view.bucket(name)).transpose().map_err(Refusal::unavailable)?.flatten();
        // A bucket that was deleted meanwhile is skipped: the run continues with the next bucket.
        let (row, key, version) = match (standing, next_bucket(&view, bucket)?) {
            (Some(row), _) => (row, key, version),
            (None, Some(row)) => (row, None, None),
            (None, None) => return Ok(result),
        };
        let planned = plan(admin, &view, &row, key, version, &mut result)?;
        (row.bucket.id, planned)
    };
    let changes = planned.into_iter().map(|planned| put(admin, bucket, planned));
    let put: Vec<Result<bool, Refusal>> = stream::iter(changes).buffer_unordered(CHANGES_IN_FLIGHT).collect().await;
    for outcome in put {
        result.objects += u64::from(outcome?);
    }
    Ok(result)
}

fn next_bucket(view: &MetaView, after: Option<&str>) -> Result<Option<BucketRow>, Refusal> {
    let (mut rows, _) = view.buckets("", after, 1).map_err(Refusal::unavailable)?;
    Ok(rows.pop())
}

/// Plans the changes for a page of versions; adds the examined versions and the next position to `result`.
fn plan(
    admin: &Admin,
    view: &MetaView,
    row: &BucketRow,
    key: Option<String>,
    version: Option<Version>,
    result: &mut Rewrapped,
) -> Result<Vec<Planned>, Refusal> {
    let query = ListQuery { after: key, limit: VERSIONS_PAGE, ..ListQuery::default() };
    // Of each version only what is needed is held: a page has many.
    let kept = |row: VersionRow| {
        let pick = row.version().pick();
        let sealing = match row {
            VersionRow::Object(object) => object.traits.sealing,
            VersionRow::DeleteMarker(_) => None,
        };
        (pick, sealing)
    };
    let page = view.list_versions_as(row.bucket.id, &query, version, kept).map_err(Refusal::unavailable)?;
    let mut planned = Vec::new();
    for entry in page.entries {
        let Listed::Item { key, record } = entry else { continue };
        result.looked_at += 1;
        let (pick, Some(from)) = record.row else { continue };
        match rewrapped(admin, view, row.bucket.id, &key, &from) {
            Ok(Some(to)) => planned.push(Planned { key, pick, from, to }),
            Ok(None) => {}
            Err(SealingError::Tables(error)) => return Err(Refusal::unavailable(error)),
            Err(error) => {
                tracing::warn!(bucket = row.bucket.name, key, %error, "cannot rewrap the data key of a version");
                result.failed += 1;
                result.why = Some(error.to_string());
            }
        }
    }
    let name = Some(row.bucket.name.clone());
    result.next = if page.more {
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
    let anew =
        store.rewrapped(&Sealing::decode(sealing)?, SealedObject { bucket, key }, admin.ambient.entropy.as_ref())?;
    Ok(anew.map(|sealing| sealing.encode()))
}

/// Writes a planned change; returns false if the version was deleted or replaced meanwhile, so that nothing is to be
/// done.
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
        reply => Err(Refusal::unavailable(format!("unexpected reply to a change of the metadata: {reply:?}"))),
    }
}

/// Formats a version for a cursor by its position among the versions of its key, also if its version id is `null`.
fn text_of(version: Version) -> String {
    let name = Version { null: false, ..version };
    format!("{name}{}", if version.null { NULL } else { "" })
}

fn version_of(text: &str) -> Result<Version, Refusal> {
    let (name, null) = text.strip_suffix(NULL).map_or((text, false), |name| (name, true));
    match Pick::parse(name) {
        Some(Pick::Exact { seq, salt }) => Ok(Version { seq, salt, null }),
        _ => Err(Refusal::NoSense("the version in `from` is not one that a response returned as `next`".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::{Rewrap, RewrapCursor, Version, text_of, version_of};

    #[test]
    fn rewrap_cursors_survive_a_round_trip() {
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
