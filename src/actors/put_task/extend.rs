//! An append to an existing object. The added bytes become its last part: received, checked and stored as a part's body
//! is. Bytes in the metadata cannot be a part, so they are written as a blob on this occasion.

use super::sealed::Seal;
use super::{Content, Inline, Received, Staged, propose, receive, unexpected};
use crate::actors::frontend::Permit;
use crate::actors::get_task::{self, OpenObject};
use crate::actors::request::{BodyChecks, ByteRange, RequestContext, StoreError, Upload};
use crate::storage::meta::checksum_after_append;
use crate::storage::meta::command::{AppendObject, Change, Reply};
use crate::storage::meta::record::{BlobRef, Body, ETag, EventDraft, Manifest, ObjectVersion};
use crate::storage::meta::view::MetaView;
use crate::types::{BucketId, ManifestId, ShardIndex};
use futures::StreamExt;
use md5::{Digest, Md5};
use std::sync::Arc;

/// A request to append bytes to an object.
pub struct AppendObjectRequest {
    pub bucket: BucketId,
    pub key: String,
    /// The object as it was looked up; with its key if it is sealed.
    pub standing: OpenObject,
    /// The event for the targets, once the object is longer.
    pub event: Option<EventDraft>,
    pub upload: Upload,
}

/// The permits for the added bytes, and for existing bytes that have to be written.
pub struct AppendPermits {
    pub body: Permit,
    pub head: Permit,
}

/// Adds to the end of an object; refused with `PreconditionFailed` where it does not stand any more as it was opened.
/// Nothing is changed where nothing is added.
pub async fn append_object(
    context: &Arc<RequestContext>,
    permits: AppendPermits,
    request: AppendObjectRequest,
) -> Result<ObjectVersion, StoreError> {
    let _under_way = context.load.enter();
    let AppendObjectRequest { bucket, key, standing, event, upload } = request;
    let old = standing.version.clone();
    let data_key = standing.data_key().cloned();
    if old.traits.sealing.is_some() != data_key.is_some() {
        return Err(StoreError::Internal { why: "an object is sealed under a key, or neither".to_owned() });
    }
    let number = next_number(standing.view(), &old.manifest)?;
    let seal = data_key.map(|key| Seal::of_part(key, number));
    let Received { content, staged, size_bytes, tag, checksum, compared: _ } =
        receive(context, permits.body, upload, Inline::Never, seal).await?;
    let Content::Blob { blob, missing } = content else { return Ok(old) };
    let (head, head_staged) = match old.manifest.body {
        Body::Inline => written_out(context, permits.head, standing).await?,
        _ => {
            // What stands is not read: it need not be held.
            drop(standing);
            (None, Staged::Nothing)
        }
    };
    let parts = Some(parts_of(&old.manifest).saturating_add(1));
    let standing = (old.manifest.checksum.as_ref(), old.manifest.size_bytes);
    let append = AppendObject {
        bucket,
        key,
        manifest: old.manifest.id,
        id: ManifestId(context.ambient.fresh_id()),
        etag: ETag { md5: md5_of_both(old.manifest.etag.md5, tag), parts },
        checksum: checksum_after_append(standing, (checksum.as_ref(), size_bytes)),
        head,
        number,
        blob,
        size_bytes,
        md5: tag,
        missing,
        event,
    };
    match propose(context, Change::AppendObject(Box::new(append)), [staged, head_staged]).await? {
        Reply::ObjectPut { object } => Ok(*object),
        other => Err(unexpected(&other)),
    }
}

/// Bytes that ride in the metadata, as a blob.
async fn written_out(
    context: &Arc<RequestContext>,
    permit: Permit,
    standing: OpenObject,
) -> Result<(Option<(BlobRef, Vec<ShardIndex>)>, Staged), StoreError> {
    let Manifest { size_bytes, etag, .. } = standing.version.manifest;
    let seal = standing.data_key().cloned().map(Seal::of_object);
    let whole = ByteRange { start: 0, end: size_bytes };
    let body = get_task::read_object(context, Permit::unmetered(), standing, whole).await?;
    // The tag of a sealed object may say nothing of its content, which was authenticated when it was opened.
    let md5 = (etag.parts.is_none() && seal.is_none()).then_some(etag.md5);
    let checks = BodyChecks { length_bytes: Some(size_bytes), md5, ..BodyChecks::default() };
    let upload = Upload { body: Box::pin(body.fuse()), checks, trailer: None };
    let received = receive(context, permit, upload, Inline::Never, seal).await?;
    match received.content {
        Content::Blob { blob, missing } => Ok((Some((blob, missing)), received.staged)),
        Content::Empty | Content::Small(_) => {
            Err(StoreError::Internal { why: "an object with bytes in the metadata has none".to_owned() })
        }
    }
}

/// Greater than the numbers of all parts that stand; numbers may have gaps.
fn next_number(view: &MetaView, standing: &Manifest) -> Result<u16, StoreError> {
    let count = parts_of(standing);
    let last = match standing.parts() {
        Some((list, _)) => view.part_at(list, standing.size_bytes.saturating_sub(1))?,
        None => None,
    };
    Ok(last.map_or(count, |part| part.number.max(count)).saturating_add(1))
}

/// An object of one PUT is its own part 1.
fn parts_of(manifest: &Manifest) -> u16 {
    match (&manifest.body, manifest.parts()) {
        (_, Some((_, count))) => count,
        (Body::Blob(_) | Body::Inline, None) => 1,
        _ => 0,
    }
}

/// Returns the entity tag after an append: another one each time, and not the content's own MD5.
fn md5_of_both(standing: [u8; 16], added: [u8; 16]) -> [u8; 16] {
    Md5::new().chain_update(standing).chain_update(added).finalize().into()
}
