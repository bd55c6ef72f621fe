//! One GET: an object version, held from its lookup on, and the bytes of a range of it.
//!
//! A task, not an actor. Only the chunks that the range needs are read, a few stripes ahead of the client, whatever the size
//! of the object or the number of its parts; a chunk that is missing, corrupt or late is made up for by parity, and reported.

mod fetch;
mod gather;
mod places;
mod source;
mod stream;

#[cfg(test)]
mod tests;

use super::frontend::Permit;
use super::gateway::{BodyStream, ByteRange, StoreError};
use super::request::{ActiveRead, RequestContext};
use crate::limits::GET_STRIPES_AHEAD;
use crate::metrics::GET_STAGE_SECONDS;
use crate::storage::meta::record::{Body, Manifest};
use crate::storage::meta::view::MetaView;
use crate::storage::stripe::stripe_data_bytes;
use crate::types::{BucketId, Geometry};
use bytes::Bytes;
use source::Source;
use std::sync::Arc;
use std::time::Duration;
use stream::Reader;

/// Lookups of one object before it is given up as changing too fast.
const LOOKUPS_MAX: usize = 8;

/// An object version that was looked up, and stays readable while this is held.
#[derive(Debug)]
pub struct OpenObject {
    pub manifest: Manifest,
    inline: Option<Bytes>,
    view: MetaView,
    read: Option<ActiveRead>,
}

/// Looks an object up and holds it; again where it was replaced between its manifest and its bytes.
pub async fn open_object(
    context: &Arc<RequestContext>,
    view: MetaView,
    bucket: BucketId,
    key: &str,
) -> Result<Option<OpenObject>, StoreError> {
    let start = context.ambient.clock.monotonic();
    let read = context.reads.begin();
    let mut view = view;
    for _ in 0..LOOKUPS_MAX {
        let Some(manifest) = view.object(bucket, key)? else { return Ok(None) };
        if let Some(inline) = inline_of(&view, &manifest)? {
            observe("lookup", context.ambient.clock.monotonic().saturating_sub(start));
            return Ok(Some(OpenObject { manifest, inline, view, read: Some(read) }));
        }
        view = context.metadata.read().await?;
    }
    Err(StoreError::Unavailable { why: "the object is being replaced too often to be read".to_owned() })
}

/// Holds an object version that was looked up before.
pub async fn reopen(context: &Arc<RequestContext>, manifest: &Manifest) -> Result<OpenObject, StoreError> {
    let read = context.reads.begin();
    let view = context.metadata.read().await?;
    let gone = || StoreError::Unavailable { why: "the object was replaced since it was looked up".to_owned() };
    let inline = inline_of(&view, manifest)?.ok_or_else(gone)?;
    Ok(OpenObject { manifest: manifest.clone(), inline, view, read: Some(read) })
}

/// The bytes of an inline body (`Some(None)`: it has none); `None` where they are gone.
fn inline_of(view: &MetaView, manifest: &Manifest) -> Result<Option<Option<Bytes>>, StoreError> {
    match manifest.body {
        Body::Inline => {
            let bytes = view.inline_bytes(manifest.id)?;
            if bytes.as_ref().is_some_and(|bytes| bytes.len() as u64 != manifest.size_bytes) {
                return Err(StoreError::Internal {
                    why: format!("the bytes of object version {} are malformed", manifest.id),
                });
            }
            Ok(bytes.map(Some))
        }
        Body::Empty | Body::Blob(_) | Body::Parts { .. } => Ok(Some(None)),
    }
}

/// Bytes that a read holds at most at any moment, in chunks; 0 where there are none.
pub fn held_bytes_max(geometry: Geometry, manifest: &Manifest, range: ByteRange) -> u64 {
    let geometry = match &manifest.body {
        Body::Empty | Body::Inline => return 0,
        Body::Blob(blob) => blob.geometry,
        Body::Parts { .. } => geometry,
    };
    let length = range.end.min(manifest.size_bytes).saturating_sub(range.start);
    if length == 0 {
        return 0;
    }
    // A range that begins in the middle of a stripe touches one more than its length asks for.
    let touched = length.div_ceil((stripe_data_bytes(geometry) as u64).max(1)).saturating_add(1);
    let stripe = geometry.shards() as u64 * u64::from(geometry.chunk_size_bytes);
    touched.min(GET_STRIPES_AHEAD as u64) * stripe
}

/// The bytes of an opened object; the first of them have been read on return.
pub async fn read_object(
    context: &Arc<RequestContext>,
    permit: Permit,
    object: OpenObject,
    range: ByteRange,
) -> Result<BodyStream, StoreError> {
    let OpenObject { manifest, inline, view, read } = object;
    let range = ByteRange { start: range.start.min(manifest.size_bytes), end: range.end.min(manifest.size_bytes) };
    if range.start >= range.end {
        return Ok(Box::pin(futures::stream::empty()));
    }
    let source = match manifest.body {
        Body::Empty => return Ok(Box::pin(futures::stream::empty())),
        Body::Inline => return inline_stream(inline, range),
        Body::Blob(blob) if blob.size_bytes == manifest.size_bytes => Source::of_blob(context, view, blob, range)?,
        Body::Blob(_) => {
            return Err(StoreError::Internal {
                why: format!("the record of object version {} is malformed", manifest.id),
            });
        }
        Body::Parts { .. } => Source::of_parts(context, view, manifest.id, range),
    };
    let start = context.ambient.clock.monotonic();
    let mut reader = Reader::new(source, range.end - range.start, (permit, read, context.load.enter()));
    let first = reader.next().await?;
    observe("first_chunk", context.ambient.clock.monotonic().saturating_sub(start));
    Ok(reader.into_stream(first))
}

fn inline_stream(inline: Option<Bytes>, range: ByteRange) -> Result<BodyStream, StoreError> {
    let bounds = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok());
    let bytes = inline.zip(bounds).filter(|(bytes, (_, end))| *end <= bytes.len());
    let Some((bytes, (start, end))) = bytes else {
        return Err(StoreError::Internal { why: "an inline object has other bytes than its record says".to_owned() });
    };
    Ok(Box::pin(futures::stream::iter([Ok(bytes.slice(start..end))])))
}

fn observe(stage: &str, took: Duration) {
    GET_STAGE_SECONDS.with_label_values(&[stage]).observe(took.as_secs_f64());
}
