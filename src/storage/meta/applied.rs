//! The position of the tables in the log: the row that every batch of changes writes.

use super::codec::FORMAT_VERSION;
use super::tables::{SYSTEM, SYSTEM_APPLIED};
use crate::storage::kv::{KvError, KvRead, KvResult};
use bytes::Bytes;

/// The position of the tables in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The index of the last entry applied.
    pub index: u64,
    /// The bytes that the caller stored with the position (its log id and membership).
    pub position: Bytes,
}

/// Returns the applied position of the tables.
pub(super) fn applied_in(kv: &dyn KvRead) -> KvResult<Option<Applied>> {
    let Some(row) = kv.get(SYSTEM, SYSTEM_APPLIED)? else { return Ok(None) };
    let malformed = || KvError::new("read the applied position", format!("malformed: {row:02x?}"));
    let body = row.strip_prefix(&[FORMAT_VERSION]).ok_or_else(malformed)?;
    let (index, position) = body.split_first_chunk::<8>().ok_or_else(malformed)?;
    Ok(Some(Applied { index: u64::from_be_bytes(*index), position: row.slice_ref(position) }))
}

pub(super) fn applied_row(applied: &Applied) -> Vec<u8> {
    [&[FORMAT_VERSION][..], &applied.index.to_be_bytes(), &applied.position].concat()
}
