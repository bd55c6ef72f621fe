//! Writes a snapshot of the tables, a frame at a time.

use super::{
    FRAME_BODY_BYTES, FRAME_BODY_BYTES_MAX, FRAME_HEADER_BYTES, KIND_FIRST, KIND_LAST, KIND_ROWS, MAGIC, VERSION,
};
use crate::defects::{Defect, has};
use crate::storage::kv::{KvError, KvRead, KvResult, Pair, Table};
use crate::storage::meta::tables::{OBJECTS, SHARED, TABLES};
use bytes::{BufMut, Bytes, BytesMut};
use std::ops::Bound;
use std::sync::Arc;

/// An iterator over the frames of a snapshot. It holds a position only, so that it can be resumed at any time.
#[derive(Debug)]
pub struct SnapshotWriter {
    kv: Arc<dyn KvRead>,
    next: Next,
    frames: u64,
    pairs: u64,
}

#[derive(Debug)]
enum Next {
    First,
    /// The rows of this table after this key.
    Rows {
        table: usize,
        after: Option<Bytes>,
    },
    End,
}

impl SnapshotWriter {
    /// Creates the writer of a view, which must be of one moment (`Kv::snapshot`).
    pub fn new(kv: Arc<dyn KvRead>) -> Self {
        Self { kv, next: Next::First, frames: 0, pairs: 0 }
    }

    fn rows(&mut self, mut table: usize, mut after: Option<Bytes>) -> KvResult<Bytes> {
        while let Some(&name) = TABLES.get(table) {
            if let Some((frame, last)) = self.rows_of(name, table, after.as_deref())? {
                self.next = Next::Rows { table, after: Some(last) };
                return Ok(frame);
            }
            table += 1;
            after = None;
        }
        self.next = Next::End;
        let mut body = new_frame(KIND_LAST);
        body.put_u64_le(self.frames);
        body.put_u64_le(self.pairs);
        sealed(body)
    }

    /// Returns a frame with the table's next rows, and the last of their keys.
    fn rows_of(&mut self, name: Table, table: usize, after: Option<&[u8]>) -> KvResult<Option<(Bytes, Bytes)>> {
        if has(Defect::LoseSnapshotTable) && name == OBJECTS {
            return Ok(None);
        }
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut frame = new_frame(KIND_ROWS);
        frame.put_u8(u8::try_from(table).expect("there are few tables"));
        let mut last = None;
        for pair in self.kv.range(name, from, Bound::Unbounded) {
            let pair = pair?;
            if has(Defect::LoseSnapshotRow) && name == SHARED && last.is_none() {
                last = Some(pair.0);
                continue;
            }
            put_pair(&mut frame, &pair)?;
            self.pairs += 1;
            last = Some(pair.0);
            if frame.len() >= FRAME_HEADER_BYTES + FRAME_BODY_BYTES {
                break;
            }
        }
        last.map(|last| Ok((sealed(frame)?, last))).transpose()
    }
}

impl Iterator for SnapshotWriter {
    type Item = KvResult<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        let frame = match std::mem::replace(&mut self.next, Next::End) {
            Next::First => {
                self.next = Next::Rows { table: 0, after: None };
                let mut frame = new_frame(KIND_FIRST);
                frame.put_slice(MAGIC);
                frame.put_u8(VERSION);
                sealed(frame)
            }
            Next::Rows { table, after } => self.rows(table, after),
            Next::End => return None,
        };
        self.frames += 1;
        Some(frame)
    }
}

/// Returns a frame with room for its header, and with the kind of its body.
fn new_frame(kind: u8) -> BytesMut {
    let mut frame = BytesMut::new();
    frame.put_bytes(0, FRAME_HEADER_BYTES);
    frame.put_u8(kind);
    frame
}

fn put_pair(frame: &mut BytesMut, (key, value): &Pair) -> KvResult<()> {
    let too_large = |_| unwritable(format!("a key of {} bytes and a value of {} bytes", key.len(), value.len()));
    frame.put_u16_le(u16::try_from(key.len()).map_err(too_large)?);
    frame.put_u32_le(u32::try_from(value.len()).map_err(too_large)?);
    frame.put_slice(key);
    frame.put_slice(value);
    Ok(())
}

fn unwritable(what: String) -> KvError {
    KvError::new("write a snapshot", format!("{what} is more than a frame can hold"))
}

fn sealed(mut frame: BytesMut) -> KvResult<Bytes> {
    let (header, body) = frame.split_at_mut(FRAME_HEADER_BYTES);
    if body.len() > FRAME_BODY_BYTES_MAX {
        return Err(unwritable(format!("a frame's body of {} bytes", body.len())));
    }
    let (mut length, mut crc) = header.split_at_mut(4);
    length.put_u32_le(u32::try_from(body.len()).expect("bounded above"));
    crc.put_u32_le(crc32c::crc32c(body));
    Ok(frame.freeze())
}
