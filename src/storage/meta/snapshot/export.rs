//! A copy of all metadata in one file, which `sherd admin metadata export` writes and `sherd recover --from` reads. A
//! head names the store and the moment of the copy; the frames of a snapshot follow.
//!
//! File: magic with version "SHRDEXP1" · length u32 and crc32c u32 of the head, little-endian · head (postcard) ·
//! frames.

use super::SnapshotCheck;
use crate::storage::raft_log::AppliedAt;
use crate::types::{ClusterId, RecoveryEpoch, UnixMs};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::io::{self, Read};

const MAGIC: &[u8; 8] = b"SHRDEXP1";
const FIXED_BYTES: usize = 16;
const HEAD_BYTES_MAX: usize = 1 << 20;
/// The size of the pieces in which a copy is read.
const PIECE_BYTES: usize = 1 << 20;

/// The head of a copy: its store and its moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportHead {
    /// The version of the program that wrote the copy.
    pub program: String,
    pub cluster: ClusterId,
    pub recovery: RecoveryEpoch,
    pub data: u8,
    pub parity: u8,
    /// The time of the export, by the clock of the host that wrote the copy.
    pub exported: UnixMs,
    pub applied: AppliedAt,
}

/// The reason why a file is not a whole copy of the metadata.
#[derive(Debug, thiserror::Error)]
pub enum ExportFault {
    #[error("it is not a copy of the metadata, or is of a version unknown to this program")]
    Foreign,
    #[error("its head is damaged")]
    Head,
    #[error("it is damaged or was cut off: {0}")]
    Frames(String),
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
}

impl ExportHead {
    pub fn encode(&self) -> Vec<u8> {
        let encoded = postcard::to_stdvec(self);
        assert!(encoded.is_ok(), "plain data always encodes");
        let content = encoded.unwrap_or_default();
        let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
        [&MAGIC[..], &length.to_le_bytes(), &crc32c::crc32c(&content).to_le_bytes(), &content].concat()
    }
}

/// A reader of a copy.
#[derive(Debug)]
pub struct ExportReader<R> {
    head: ExportHead,
    from: R,
}

impl<R: Read> ExportReader<R> {
    /// Reads the head of a copy.
    pub fn open(mut from: R) -> Result<Self, ExportFault> {
        let mut fixed = [0; FIXED_BYTES];
        from.read_exact(&mut fixed).map_err(cut_off(ExportFault::Foreign))?;
        let [magic @ .., l0, l1, l2, l3, c0, c1, c2, c3] = fixed;
        if magic != *MAGIC {
            return Err(ExportFault::Foreign);
        }
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        if length > HEAD_BYTES_MAX {
            return Err(ExportFault::Head);
        }
        let mut content = vec![0; length];
        from.read_exact(&mut content).map_err(cut_off(ExportFault::Head))?;
        if crc32c::crc32c(&content) != u32::from_le_bytes([c0, c1, c2, c3]) {
            return Err(ExportFault::Head);
        }
        match postcard::take_from_bytes(&content) {
            Ok((head, [])) => Ok(Self { head, from }),
            _ => Err(ExportFault::Head),
        }
    }

    pub fn head(&self) -> &ExportHead {
        &self.head
    }

    /// Returns the frames, in pieces of any size.
    pub fn pieces(self) -> impl Iterator<Item = io::Result<Bytes>> {
        let mut from = self.from;
        std::iter::from_fn(move || {
            let mut piece = vec![0; PIECE_BYTES];
            match from.read(&mut piece) {
                Ok(0) => None,
                Ok(read) => {
                    piece.truncate(read);
                    Some(Ok(Bytes::from(piece)))
                }
                Err(error) => Some(Err(error)),
            }
        })
    }

    /// Reads the copy to its end. Returns the head if every checksum is right and nothing is missing.
    pub fn verify(self) -> Result<ExportHead, ExportFault> {
        self.copy(|_| Ok(()))
    }

    /// Verifies the copy like `verify`, and hands on each piece as it is read.
    pub fn copy(self, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> Result<ExportHead, ExportFault> {
        let damaged = |error: super::SnapshotError| ExportFault::Frames(error.to_string());
        let head = self.head.clone();
        take(&head.encode())?;
        let mut check = SnapshotCheck::new().map_err(damaged)?;
        for piece in self.pieces() {
            let piece = piece?;
            check.push(&piece).map_err(damaged)?;
            take(&piece)?;
        }
        check.finish().map_err(damaged)?;
        Ok(head)
    }
}

fn cut_off(fault: ExportFault) -> impl FnOnce(io::Error) -> ExportFault {
    |error| if error.kind() == io::ErrorKind::UnexpectedEof { fault } else { error.into() }
}

#[cfg(test)]
mod tests {
    use super::{ExportFault, ExportHead, ExportReader};
    use crate::storage::kv::Kv;
    use crate::storage::kv::memory::MemoryKv;
    use crate::storage::meta::apply::{ApplyEntry, MetaTables};
    use crate::storage::meta::command::{Change, Command};
    use crate::storage::meta::samples;
    use crate::storage::meta::snapshot::SnapshotWriter;
    use crate::storage::meta::tables::TABLES;
    use crate::storage::raft_log::{AppliedAt, Chain, Members, Position};
    use crate::types::{ClusterId, RecoveryEpoch, UnixMs};
    use bytes::Bytes;
    use std::collections::{BTreeMap, BTreeSet};
    use std::path::Path;
    use std::sync::Arc;

    fn head() -> ExportHead {
        let at = Position { term: 3, node: 9, index: 300 };
        let members =
            Members { configs: vec![BTreeSet::from([9])], nodes: BTreeMap::from([(9, "10.0.0.9:9100".to_owned())]) };
        ExportHead {
            program: "1.2.3".to_owned(),
            cluster: ClusterId(7),
            recovery: RecoveryEpoch { number: 1, id: 300, former: [0; 8] },
            data: 4,
            parity: 2,
            exported: UnixMs(1_700_000_000_000),
            applied: AppliedAt { at: Some(at), members, members_at: Some(at), chain: Chain(5) },
        }
    }

    fn copy() -> Vec<u8> {
        let kv = Arc::new(MemoryKv::new(TABLES));
        let tables = MetaTables::open(kv.clone()).expect("opens");
        let create = Command::new(UnixMs(1), Change::CreateBucket(Box::new(samples::create_bucket())));
        tables
            .apply([ApplyEntry { index: 300, commands: vec![create] }], Bytes::from_static(b"position"))
            .expect("applies");
        let frames = SnapshotWriter::new(kv.snapshot()).map(|frame| frame.expect("reads"));
        frames.fold(head().encode(), |copy, frame| [copy, frame.to_vec()].concat())
    }

    #[test]
    fn an_exported_copy_round_trips_and_its_head_keeps_its_bytes() {
        let whole = copy();
        assert_eq!(ExportReader::open(&whole[..]).expect("a copy").verify().expect("whole"), head());
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/meta/export_head.v1.hex");
        if std::env::var_os("WRITE_FIXTURES").is_some() {
            let hex = hex_simd::encode_to_string(head().encode(), hex_simd::AsciiCase::Lower) + "\n";
            std::fs::write(&path, hex).expect("fixtures can be written");
        }
        let text = std::fs::read_to_string(&path).expect("the fixture is there");
        let kept = hex_simd::decode_to_vec(text.trim()).expect("a fixture is hex");
        assert_eq!(kept, head().encode(), "what is written is no longer version 1");
        let mut handed_on = Vec::new();
        let reader = ExportReader::open(&whole[..]).expect("a copy");
        reader
            .copy(|piece| {
                handed_on.extend_from_slice(piece);
                Ok(())
            })
            .expect("whole");
        assert!(handed_on == whole);
    }

    #[test]
    fn an_exported_copy_that_is_damaged_or_cut_off_is_refused() {
        let whole = copy();
        let verified = |bytes: &[u8]| ExportReader::open(bytes).and_then(ExportReader::verify);
        for bit in 0..whole.len() * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(verified(&damaged).is_err(), "bit {bit}");
        }
        for end in 0..whole.len() {
            assert!(verified(&whole[..end]).is_err(), "{end} bytes");
        }
        assert!(verified(&[&whole[..], &[0]].concat()).is_err(), "with more after it");
        assert!(matches!(verified(b"SHRDEXP2 and so on, of a later version"), Err(ExportFault::Foreign)));
    }
}
