//! Installs a snapshot into empty tables.

use super::{
    FRAME_BODY_BYTES_MAX, FRAME_HEADER_BYTES, KIND_FIRST, KIND_LAST, KIND_ROWS, MAGIC, SnapshotError, VERSION,
};
use crate::storage::kv::{Batch, Kv, Table};
use crate::storage::meta::tables::{SYSTEM, TABLES};
use bytes::{Buf, Bytes, BytesMut};
use std::ops::Bound;
use std::sync::Arc;

/// Takes a snapshot's bytes in pieces of any size, installs each frame when it is whole, and refuses whatever a writer
/// would not have written. After an error the tables must be discarded.
#[derive(Debug)]
pub struct SnapshotInstaller {
    kv: Arc<dyn Kv>,
    /// Bytes of a frame that is not whole yet.
    partial: BytesMut,
    /// The offset of the next frame.
    offset: u64,
    frames: u64,
    pairs: u64,
    stage: Stage,
    /// The table and key of the last row: rows come in this order.
    last: Option<(usize, Bytes)>,
    /// Rows of `system`, kept back until all else is installed.
    system: Batch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    First,
    Rows,
    Complete,
}

impl SnapshotInstaller {
    /// Creates the installer for these tables, which must be empty.
    pub fn new(kv: Arc<dyn Kv>) -> Result<Self, SnapshotError> {
        for &table in TABLES {
            if kv.range(table, Bound::Unbounded, Bound::Unbounded).next().transpose()?.is_some() {
                return Err(SnapshotError::NotEmpty { table: table.0 });
            }
        }
        Ok(Self {
            kv,
            partial: BytesMut::new(),
            offset: 0,
            frames: 0,
            pairs: 0,
            stage: Stage::First,
            last: None,
            system: Batch::default(),
        })
    }

    pub fn push(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        self.partial.extend_from_slice(bytes);
        while let Some(body) = self.whole_frame()? {
            let frame_bytes = (FRAME_HEADER_BYTES + body.len()) as u64;
            self.frame(body)?;
            self.offset += frame_bytes;
            self.frames += 1;
        }
        Ok(())
    }

    /// Checks that the snapshot was complete, installs the rows that were held back and makes the tables durable.
    pub fn finish(mut self) -> Result<(), SnapshotError> {
        if self.stage != Stage::Complete {
            return Err(SnapshotError::Truncated { offset: self.offset + self.partial.len() as u64 });
        }
        if !self.partial.is_empty() {
            return Err(self.corrupt("bytes after the last frame"));
        }
        self.kv.persist()?;
        self.kv.commit(std::mem::take(&mut self.system))?;
        Ok(self.kv.persist()?)
    }

    fn corrupt(&self, why: &'static str) -> SnapshotError {
        SnapshotError::Corrupt { offset: self.offset, why }
    }

    fn whole_frame(&mut self) -> Result<Option<Bytes>, SnapshotError> {
        let Some((mut header, _)) = self.partial.split_first_chunk::<FRAME_HEADER_BYTES>().map(|(a, b)| (&a[..], b))
        else {
            return Ok(None);
        };
        if self.stage == Stage::Complete {
            return Err(self.corrupt("bytes after the last frame"));
        }
        let (length, crc) = (header.get_u32_le() as usize, header.get_u32_le());
        if length == 0 || length > FRAME_BODY_BYTES_MAX {
            return Err(self.corrupt("impossible length"));
        }
        if self.partial.len() < FRAME_HEADER_BYTES + length {
            return Ok(None);
        }
        self.partial.advance(FRAME_HEADER_BYTES);
        let body = self.partial.split_to(length).freeze();
        if crc32c::crc32c(&body) != crc {
            return Err(self.corrupt("checksum differs"));
        }
        Ok(Some(body))
    }

    fn frame(&mut self, mut body: Bytes) -> Result<(), SnapshotError> {
        match (self.stage, body.get_u8()) {
            (Stage::First, KIND_FIRST) => match body.strip_prefix(MAGIC) {
                Some(&[VERSION]) => self.stage = Stage::Rows,
                Some(&[found]) => return Err(SnapshotError::UnknownVersion { found }),
                _ => return Err(self.corrupt("not a snapshot")),
            },
            (Stage::Rows, KIND_ROWS) => self.rows(body)?,
            (Stage::Rows, KIND_LAST) => {
                if body.len() != 16 || body.get_u64_le() != self.frames || body.get_u64_le() != self.pairs {
                    return Err(self.corrupt("the number of frames or rows differs from the one written"));
                }
                self.stage = Stage::Complete;
            }
            _ => return Err(self.corrupt("frame of an unexpected kind")),
        }
        Ok(())
    }

    fn rows(&mut self, mut body: Bytes) -> Result<(), SnapshotError> {
        let number = usize::from(body.try_get_u8().map_err(|_| self.corrupt("no table"))?);
        let table = *TABLES.get(number).ok_or_else(|| self.corrupt("unknown table"))?;
        let mut batch = Batch::default();
        while !body.is_empty() {
            let (key, value) = take_pair(&mut body).ok_or_else(|| self.corrupt("malformed row"))?;
            let place = Some((number, key.clone()));
            if key.is_empty() || place <= self.last {
                return Err(self.corrupt("rows out of order"));
            }
            self.last = place;
            self.pairs += 1;
            self.put(&mut batch, table, key, value);
        }
        Ok(self.kv.commit(batch)?)
    }

    /// Copies the row, so that it does not keep its whole frame in memory.
    fn put(&mut self, batch: &mut Batch, table: Table, key: Bytes, value: Bytes) {
        let batch = if table == SYSTEM { &mut self.system } else { batch };
        batch.put(table, key.to_vec(), value.to_vec());
    }
}

fn take_pair(body: &mut Bytes) -> Option<(Bytes, Bytes)> {
    let key_bytes = usize::from(body.try_get_u16_le().ok()?);
    let value_bytes = body.try_get_u32_le().ok()? as usize;
    if body.len() < key_bytes.checked_add(value_bytes)? {
        return None;
    }
    let key = body.split_to(key_bytes);
    Some((key, body.split_to(value_bytes)))
}
