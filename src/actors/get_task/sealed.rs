//! The part of a read that depends on the object's encryption: the number of stored bytes, the stored range for a range
//! of the object, and the decryption.

use crate::actors::request::{ByteRange, StoreError};
use crate::storage::meta::record::ObjectVersion;
use crate::storage::sealing::{CHUNK_BYTES, DataKey, Layout, OpenError, Opener, RunId, Sealing};
use crate::types::BlobId;
use bytes::Bytes;
use std::ops::Range;

/// Returns the number of stored bytes for `plain_bytes` of the object.
pub(super) fn stored_bytes(layout: Option<Layout>, plain_bytes: u64) -> u64 {
    layout.map_or(plain_bytes, |layout| layout.sealed_bytes(plain_bytes))
}

/// Returns an upper bound of the stored bytes for any range of `plain_bytes` of the object.
pub(super) fn span_bytes_max(layout: Layout, plain_bytes: u64) -> u64 {
    layout.sealed_bytes(plain_bytes.saturating_add(2 * CHUNK_BYTES as u64))
}

/// Returns the bytes that decryption holds, whatever the range.
pub(super) fn opening_bytes_max(layout: Layout) -> u64 {
    2 * layout.sealed_chunk_bytes() as u64
}

/// Returns the encryption layout of an object version, for which its key is not needed. `None` if it is not encrypted.
pub(super) fn layout_of(version: &ObjectVersion) -> Result<Option<Layout>, StoreError> {
    let sealing = version.traits.sealing.as_deref().map(Sealing::decode).transpose();
    let sealing = sealing.map_err(|error| StoreError::Internal { why: error.to_string() })?;
    Ok(sealing.map(|sealing| sealing.layout()))
}

/// Returns the opener for a range of one blob of an object, which holds the whole object or the part of this number.
pub(super) fn opener(key: &DataKey, part: u16, blob: BlobId, plain_bytes: u64, range: Range<u64>) -> Opener {
    Opener::new(key.run(RunId::of_blob(part, blob)), plain_bytes, range)
}

/// Decrypts a range of an inline object; `sealed` has all of its stored bytes.
pub(super) fn open_inline(
    key: &DataKey,
    sealed: &Bytes,
    plain_bytes: u64,
    range: ByteRange,
) -> Result<Vec<Bytes>, StoreError> {
    let mut opener = Opener::new(key.run(RunId::INLINE), plain_bytes, range.start..range.end);
    let Range { start, end } = opener.sealed_range();
    let bounds = usize::try_from(start).ok().zip(usize::try_from(end).ok());
    let span = bounds.filter(|(_, end)| *end <= sealed.len()).map(|(start, end)| sealed.slice(start..end));
    let mut span = span.ok_or_else(|| broken(&OpenError::Truncated { missing_bytes: end }))?;
    let mut pieces = Vec::new();
    while let Some(piece) = opener.push(&mut span).map_err(|error| broken(&error))? {
        pieces.push(piece);
    }
    opener.finish().map_err(|error| broken(&error))?;
    Ok(pieces)
}

/// Returns the error for bytes that fail authentication. They passed their checksums, so they were encrypted with
/// another key or for another place.
pub(super) fn broken(error: &OpenError) -> StoreError {
    StoreError::Internal { why: format!("cannot decrypt the bytes of an object: {error}") }
}
