//! The task of a GET: looks up an object version, keeps its blobs from being reclaimed, and streams the bytes of a
//! range.
//!
//! It is a task, not an actor. Only the chunks that the range needs are read, a few stripes ahead of the client,
//! whatever the size of the object or the number of its parts. A chunk that is missing, corrupt or late is decoded from
//! parity; a missing or corrupt one is reported to the healer.

mod fetch;
mod gather;
mod places;
mod sealed;
mod source;
mod stream;

#[cfg(test)]
mod tests;

use super::frontend::Permit;
use super::request::{ActiveRead, BodyStream, ByteRange, RequestContext, StoreError};
use crate::limits::GET_STRIPES_AHEAD;
use crate::metrics::GET_STAGE_SECONDS;
use crate::storage::meta::record::{Body, DeleteMarker, Manifest, ObjectVersion, Pick, VersionRow};
use crate::storage::meta::view::MetaView;
use crate::storage::sealing::{DataKey, Layout};
use crate::storage::stripe::stripe_data_bytes;
use crate::types::{BucketId, Geometry};
use bytes::Bytes;
use source::{RUN_BYTES, Source};
use std::sync::Arc;
use std::time::Duration;
use stream::{Held, Reader};

/// The number of lookups of one object, each after it was replaced, before the request fails.
const LOOKUPS_MAX: usize = 8;

/// An object version that was looked up. Its blobs are not reclaimed while this exists.
#[derive(Debug)]
pub struct OpenObject {
    pub version: ObjectVersion,
    inline: Option<Bytes>,
    view: MetaView,
    read: Option<ActiveRead>,
    /// The data key of an encrypted object, once it is set.
    data_key: Option<DataKey>,
}

impl OpenObject {
    /// Returns the view of the metadata in which the object was looked up.
    pub fn view(&self) -> &MetaView {
        &self.view
    }

    /// Returns the data key, if it was set.
    pub fn data_key(&self) -> Option<&DataKey> {
        self.data_key.as_ref()
    }

    /// Sets the data key of an encrypted object, which cannot be read without it.
    pub fn with_key(self, key: DataKey) -> Self {
        Self { data_key: Some(key), ..self }
    }
}

/// The result of opening an object.
#[derive(Debug)]
pub enum Opened {
    Object(Box<OpenObject>),
    DeleteMarker(DeleteMarker),
    Absent,
}

impl Opened {
    /// Returns the object; `None` for a delete marker or an absent key.
    pub fn object(self) -> Option<OpenObject> {
        match self {
            Self::Object(object) => Some(*object),
            Self::DeleteMarker(_) | Self::Absent => None,
        }
    }
}

/// Looks a version up and registers the read. Repeats the lookup if the object was replaced between the lookups of its
/// manifest and its inline bytes.
pub async fn open_object(
    context: &Arc<RequestContext>,
    view: MetaView,
    bucket: BucketId,
    key: &str,
    pick: Pick,
) -> Result<Opened, StoreError> {
    let start = context.ambient.clock.monotonic();
    let _span = context.spans.begin("get.lookup");
    let read = context.reads.begin();
    let mut view = view;
    for _ in 0..LOOKUPS_MAX {
        let version = match view.version(bucket, key, pick)? {
            None => return Ok(Opened::Absent),
            Some(VersionRow::DeleteMarker(marker)) => return Ok(Opened::DeleteMarker(marker)),
            Some(VersionRow::Object(version)) => version,
        };
        if let Some(inline) = inline_of(&view, &version)? {
            observe("lookup", context.ambient.clock.monotonic().saturating_sub(start));
            let object = OpenObject { version, inline, view, read: Some(read), data_key: None };
            return Ok(Opened::Object(Box::new(object)));
        }
        view = context.metadata.read().await?;
    }
    Err(StoreError::Unavailable { why: "the object is being replaced too often to be read".to_owned() })
}

/// Registers a read of an object version that was looked up before. `Unavailable` if its inline bytes are gone.
pub async fn reopen(context: &Arc<RequestContext>, version: &ObjectVersion) -> Result<OpenObject, StoreError> {
    let read = context.reads.begin();
    let view = context.metadata.read().await?;
    let gone = || StoreError::Unavailable { why: "the object was replaced since it was looked up".to_owned() };
    let inline = inline_of(&view, version)?.ok_or_else(gone)?;
    Ok(OpenObject { version: version.clone(), inline, view, read: Some(read), data_key: None })
}

/// Returns the inline bytes of a version: `Some(None)` if its body is not inline, `None` if its inline bytes are gone.
fn inline_of(view: &MetaView, version: &ObjectVersion) -> Result<Option<Option<Bytes>>, StoreError> {
    let manifest = &version.manifest;
    match manifest.body {
        Body::Inline => {
            let bytes = view.inline_bytes(manifest.id)?;
            let stored_bytes = sealed::stored_bytes(sealed::layout_of(version)?, manifest.size_bytes);
            if bytes.as_ref().is_some_and(|bytes| bytes.len() as u64 != stored_bytes) {
                return Err(StoreError::Internal {
                    why: format!("the bytes of object version {} are malformed", manifest.id),
                });
            }
            Ok(bytes.map(Some))
        }
        Body::Empty | Body::Blob(_) | Body::Parts { .. } | Body::PartsOf { .. } | Body::Appended { .. } => {
            Ok(Some(None))
        }
    }
}

/// Returns the bytes that a read of the object holds at most at any moment; 0 for inline objects.
pub fn held_by_object(geometry: Geometry, object: &OpenObject, range: ByteRange) -> u64 {
    let manifest = &object.version.manifest;
    match object.data_key.as_ref().map(DataKey::layout) {
        None => held_bytes_max(geometry, manifest, range),
        Some(layout) => match held_in_chunks(geometry, &manifest.body, range_bytes(manifest, range), Some(layout)) {
            0 => 0,
            chunks => chunks.saturating_add(sealed::opening_bytes_max(layout)),
        },
    }
}

/// Like `held_by_object`, for an object that is not encrypted.
pub fn held_bytes_max(geometry: Geometry, manifest: &Manifest, range: ByteRange) -> u64 {
    held_in_chunks(geometry, &manifest.body, range_bytes(manifest, range), None)
}

fn range_bytes(manifest: &Manifest, range: ByteRange) -> u64 {
    range.end.min(manifest.size_bytes).saturating_sub(range.start)
}

fn held_in_chunks(geometry: Geometry, body: &Body, length: u64, layout: Option<Layout>) -> u64 {
    let geometry = match body {
        Body::Empty | Body::Inline => return 0,
        Body::Blob(blob) => blob.geometry,
        Body::Parts { .. } | Body::PartsOf { .. } | Body::Appended { .. } => geometry,
    };
    if length == 0 {
        return 0;
    }
    let stored = layout.map_or(length, |layout| sealed::span_bytes_max(layout, length));
    // A range that begins within a stripe may touch one stripe more than its length suggests.
    let touched = stored.div_ceil((stripe_data_bytes(geometry) as u64).max(1)).saturating_add(1);
    let stripe = geometry.shards() as u64 * u64::from(geometry.chunk_size_bytes);
    let parts = match body {
        Body::Parts { count } | Body::PartsOf { count, .. } | Body::Appended { count, .. } => u64::from(*count),
        Body::Empty | Body::Inline | Body::Blob(_) => 0,
    };
    touched.min(GET_STRIPES_AHEAD as u64) * stripe + parts * RUN_BYTES as u64
}

/// Returns the bytes of a range of an opened object. The first of them have been read on return.
pub async fn read_object(
    context: &Arc<RequestContext>,
    permit: Permit,
    object: OpenObject,
    range: ByteRange,
) -> Result<BodyStream, StoreError> {
    let OpenObject { version: ObjectVersion { manifest, traits, .. }, inline, view, read, data_key } = object;
    let range = ByteRange { start: range.start.min(manifest.size_bytes), end: range.end.min(manifest.size_bytes) };
    if range.start >= range.end {
        return Ok(Box::pin(futures::stream::empty()));
    }
    let key = data_key.filter(|_| traits.sealing.is_some());
    if traits.sealing.is_some() != key.is_some() {
        return Err(StoreError::Internal { why: "an encrypted object cannot be read without its data key".to_owned() });
    }
    let stored_bytes = sealed::stored_bytes(key.as_ref().map(DataKey::layout), manifest.size_bytes);
    let parts = manifest.parts();
    let span = context.spans.begin("get.body");
    let context = &context.within(&span);
    let source = match (manifest.body, parts) {
        (Body::Inline, _) => return inline_stream(inline, manifest.size_bytes, range, key.as_ref()),
        (Body::Blob(blob), _) if blob.size_bytes == stored_bytes => {
            Source::of_blob(context, &view, (blob, manifest.size_bytes), range, key)?
        }
        (_, Some((list, _))) => Source::of_parts(context, &view, list, range, key).await?,
        _ => {
            return Err(StoreError::Internal {
                why: format!("the record of object version {} is malformed", manifest.id),
            });
        }
    };
    drop(view);
    let start = context.ambient.clock.monotonic();
    let first_chunk = context.spans.begin("get.first_chunk");
    let held = Held { _permit: permit, _read: read, _load: context.load.enter(), _span: span };
    let mut reader = Reader::new(source, range.end - range.start, held);
    let first = reader.next().await?;
    drop(first_chunk);
    observe("first_chunk", context.ambient.clock.monotonic().saturating_sub(start));
    Ok(reader.into_stream(first))
}

fn inline_stream(
    inline: Option<Bytes>,
    size_bytes: u64,
    range: ByteRange,
    key: Option<&DataKey>,
) -> Result<BodyStream, StoreError> {
    if let (Some(sealed), Some(key)) = (&inline, key) {
        let pieces = sealed::open_inline(key, sealed, size_bytes, range)?;
        return Ok(Box::pin(futures::stream::iter(pieces.into_iter().map(Ok))));
    }
    let bounds = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok());
    let bytes = inline.zip(bounds).filter(|(bytes, (_, end))| *end <= bytes.len());
    let Some((bytes, (start, end))) = bytes else {
        return Err(StoreError::Internal { why: "the size of an inline object does not match its record".to_owned() });
    };
    Ok(Box::pin(futures::stream::iter([Ok(bytes.slice(start..end))])))
}

fn observe(stage: &str, took: Duration) {
    GET_STAGE_SECONDS.with_label_values(&[stage]).observe(took.as_secs_f64());
}
