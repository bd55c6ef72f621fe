//! The append of bytes to an existing object. The added bytes are received and stored like a part, and become the
//! object's last part. Inline bytes cannot be a part, so the existing bytes of a small object are first written as a
//! blob.

use super::sealed::Seal;
use super::{Content, Inline, Received, SEALING_MISMATCH, Staged, propose, receive, unexpected};
use crate::actors::events::{PendingEvent, draft_now};
use crate::actors::frontend::Permit;
use crate::actors::get_task::{self, OpenObject};
use crate::actors::request::{BodyChecks, ByteRange, RequestContext, StoreError, Upload};
use crate::storage::meta::checksum_after_append;
use crate::storage::meta::command::{AppendObject, Change, Reply};
use crate::storage::meta::record::{BlobRef, Body, ETag, Manifest, ObjectVersion};
use crate::storage::meta::view::MetaView;
use crate::types::{BucketId, ManifestId, ShardNumber};
use futures::StreamExt;
use md5::{Digest, Md5};
use std::sync::Arc;

/// A request to append bytes to an object.
pub struct AppendObjectRequest {
    pub bucket: BucketId,
    pub key: String,
    /// The existing object as it was looked up, with its data key if it is sealed.
    pub standing: OpenObject,
    /// The event to send when the append is decided. `None` if there are no webhooks.
    pub event: Option<PendingEvent>,
    pub upload: Upload,
}

/// Appends bytes to an object. Refused with `PreconditionFailed` if the object has changed since it was opened. An
/// append of zero bytes changes nothing. The permit is for the added bytes and for existing inline bytes, which are
/// written as a blob; it is released when neither are in memory.
pub async fn append_object(
    context: &Arc<RequestContext>,
    permit: Permit,
    request: AppendObjectRequest,
) -> Result<ObjectVersion, StoreError> {
    let _under_way = context.load.enter();
    let permit = Arc::new(permit);
    let AppendObjectRequest { bucket, key, standing, event, upload } = request;
    let old = standing.version.clone();
    let data_key = standing.data_key().cloned();
    if old.traits.sealing.is_some() != data_key.is_some() {
        return Err(StoreError::Internal { why: SEALING_MISMATCH.to_owned() });
    }
    let number = next_number(standing.view(), &old.manifest)?;
    let seal = data_key.map(|key| Seal::of_part(key, number));
    let standing = match old.manifest.body {
        Body::Inline => Some(Standing::read(context, standing).await?),
        // The existing bytes are not read, so the object need not stay open.
        _ => {
            drop(standing);
            None
        }
    };
    let Received { content, staged, size_bytes, tag, checksum, compared: _ } =
        receive(context, Arc::clone(&permit), upload, Inline::Never, seal).await?;
    let Content::Blob { blob, missing } = content else { return Ok(old) };
    let (head, head_staged) = match standing {
        Some(standing) => standing.written_out(context, permit).await?,
        None => (None, Staged::Nothing),
    };
    let event = draft_now(event, &*context.metadata, bucket, &key).await?;
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

/// The inline bytes of the existing object. They are read before the added bytes are received, which may take long, so
/// that no view of the metadata is kept meanwhile.
struct Standing {
    upload: Upload,
    seal: Option<Seal>,
}

impl Standing {
    async fn read(context: &Arc<RequestContext>, standing: OpenObject) -> Result<Self, StoreError> {
        let Manifest { size_bytes, etag, .. } = standing.version.manifest;
        let seal = standing.data_key().cloned().map(Seal::of_object);
        let whole = ByteRange { start: 0, end: size_bytes };
        let body = get_task::read_object(context, Permit::unmetered(), standing, whole).await?;
        // The entity tag of a sealed object need not be its MD5. Opening the seal has authenticated the content.
        let md5 = (etag.parts.is_none() && seal.is_none()).then_some(etag.md5);
        let checks = BodyChecks { length_bytes: Some(size_bytes), md5, ..BodyChecks::default() };
        Ok(Self { upload: Upload { body: Box::pin(body.fuse()), checks, trailer: None }, seal })
    }

    /// Writes the bytes as a blob.
    async fn written_out(
        self,
        context: &Arc<RequestContext>,
        permit: Arc<Permit>,
    ) -> Result<(Option<(BlobRef, Vec<ShardNumber>)>, Staged), StoreError> {
        let received = receive(context, permit, self.upload, Inline::Never, self.seal).await?;
        match received.content {
            Content::Blob { blob, missing } => Ok((Some((blob, missing)), received.staged)),
            Content::Empty | Content::Small(_) => {
                Err(StoreError::Internal { why: "an inline object is empty".to_owned() })
            }
        }
    }
}

/// Returns a part number above those of all existing parts, whose numbers may have gaps.
fn next_number(view: &MetaView, standing: &Manifest) -> Result<u16, StoreError> {
    let count = parts_of(standing);
    let last = match standing.parts() {
        Some((list, _)) => view.part_at(list, standing.size_bytes.saturating_sub(1))?,
        None => None,
    };
    Ok(last.map_or(count, |part| part.number.max(count)).saturating_add(1))
}

/// Returns the number of parts of an object; one from a single PUT counts as part 1.
fn parts_of(manifest: &Manifest) -> u16 {
    match (&manifest.body, manifest.parts()) {
        (_, Some((_, count))) => count,
        (Body::Blob(_) | Body::Inline, None) => 1,
        _ => 0,
    }
}

/// Returns the entity tag after an append. It differs after each append, and is not the content's MD5.
fn md5_of_both(standing: [u8; 16], added: [u8; 16]) -> [u8; 16] {
    Md5::new().chain_update(standing).chain_update(added).finalize().into()
}
