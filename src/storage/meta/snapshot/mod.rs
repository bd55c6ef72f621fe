//! Snapshots of the metadata tables. A snapshot is written from a view of one moment, in frames of about a mebibyte,
//! and installed into empty tables frame by frame, so that neither side ever holds more than a frame. The same tables
//! give the same bytes on every replica.
//!
//! ```text
//! frame:  body length u32, crc32c of the body u32, body                                   (all numbers little-endian)
//! body:   1, magic "SHERDMET", version u8                                                 the first frame
//!         2, table u8, then pairs: key length u16, value length u32, key, value           rows, in order of table and key
//!         3, frames before this one u64, pairs u64                                        the last frame
//! ```
//!
//! A table's number is its index in `tables::TABLES`. The last table, `system`, holds the applied position. It is
//! installed after all others, and after the last frame was read, so that tables with a position are complete.

mod check;
mod digest;
mod export;
mod reader;
mod writer;

use crate::limits::RECORD_BODY_BYTES_MAX;
use crate::storage::kv::KvError;

pub use check::SnapshotCheck;
pub use digest::{TablesDigest, TablesHasher};
pub use export::{ExportFault, ExportHead, ExportReader};
pub use reader::SnapshotInstaller;
pub use writer::SnapshotWriter;

const MAGIC: &[u8; 8] = b"SHERDMET";
const VERSION: u8 = 1;
const KIND_FIRST: u8 = 1;
const KIND_ROWS: u8 = 2;
const KIND_LAST: u8 = 3;
pub const FRAME_HEADER_BYTES: usize = 8;
/// A frame ends when its body has this size, which it exceeds by one row at most.
const FRAME_BODY_BYTES: usize = 1 << 20;
/// The greatest size of a frame's body: one row beyond `FRAME_BODY_BYTES`. A row comes from one entry of the log, so
/// that a snapshot can hold whatever the log can hold, whatever the bounds of changes.
const FRAME_BODY_BYTES_MAX: usize = FRAME_BODY_BYTES + RECORD_BODY_BYTES_MAX + (128 << 10);

/// Returns the bytes of a frame, header included, according to its header; `None` if no frame has such a header. A
/// damaged header may contain any length.
pub fn frame_bytes(header: &[u8; FRAME_HEADER_BYTES]) -> Option<usize> {
    let [l0, l1, l2, l3, ..] = *header;
    let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    (1..=FRAME_BODY_BYTES_MAX).contains(&length).then_some(FRAME_HEADER_BYTES + length)
}

/// Returns whether these bytes are exactly one undamaged frame.
pub fn is_whole_frame(bytes: &[u8]) -> bool {
    let Some((header, body)) = bytes.split_first_chunk::<FRAME_HEADER_BYTES>() else { return false };
    let [.., c0, c1, c2, c3] = *header;
    frame_bytes(header) == Some(bytes.len()) && crc32c::crc32c(body) == u32::from_le_bytes([c0, c1, c2, c3])
}

/// The reason why a snapshot was not installed. The tables must not be used then, except after `NotEmpty`.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("snapshot is corrupt in the frame at byte {offset}: {why}")]
    Corrupt { offset: u64, why: &'static str },
    #[error("snapshot version {found} is not known; this program knows {VERSION}")]
    UnknownVersion { found: u8 },
    #[error("snapshot ends early, after {offset} bytes")]
    Truncated { offset: u64 },
    #[error("a snapshot can only be installed into empty tables, but {table} has rows")]
    NotEmpty { table: &'static str },
    #[error(transparent)]
    Kv(#[from] KvError),
}

#[cfg(test)]
mod tests;
