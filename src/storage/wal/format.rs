//! The encoding of segment headers and record headers; `FORMAT.md` describes it field by field. Nothing here reads or
//! writes files, and no bytes cause a panic.

use super::{LogIdentity, LogKind, RecordKey, RecordKind};
use crate::defects::{Defect, has};
use crate::limits::{BLOCK_BYTES, RECORD_BODY_BYTES_MAX, RECORD_PACKED_BYTES_MAX};
use crate::types::{ClusterId, Lsn, NodeId, SegmentId};

/// The version of both headers. A reader refuses versions above its own.
pub const WAL_FORMAT_VERSION: u8 = 1;
/// The length of a segment header, which has a block of its own.
pub const SEGMENT_HEADER_BYTES: usize = BLOCK_BYTES;
pub const RECORD_HEADER_BYTES: usize = 72;
/// Records begin at multiples of this.
pub(super) const RECORD_ALIGN: u32 = 8;
pub(super) const BLOCK: u32 = BLOCK_BYTES as u32;
const RECORD_HEADER: u32 = RECORD_HEADER_BYTES as u32;

const SEGMENT_MAGIC: [u8; 8] = *b"SHERDSEG";
pub(super) const RECORD_MAGIC: [u8; 4] = *b"SREC";
/// A flag of the last record of a batch: the next record begins at the next block.
const FLAG_LAST_IN_BATCH: u8 = 1;

/// The kind field of a record: a user's record, or one of the log's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum EntryKind {
    User(RecordKind),
    /// Recovery cut the log at `origin`: the bytes from there up to this record are not part of the log.
    Resume,
    /// The last record of its segment. `origin` is as in `Resume`, or the record's own position if nothing was cut.
    Seal,
    /// Everything before this record is synced. `origin` is the record's own position.
    Synced,
}

impl EntryKind {
    const fn number(self) -> u8 {
        match self {
            Self::User(kind) => kind as u8,
            Self::Resume => 128,
            Self::Seal => 129,
            Self::Synced => 130,
        }
    }

    const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::User(RecordKind::Chunk),
            2 => Self::User(RecordKind::Tombstone),
            3 => Self::User(RecordKind::RaftEntry),
            4 => Self::User(RecordKind::RaftState),
            128 => Self::Resume,
            129 => Self::Seal,
            130 => Self::Synced,
            _ => return None,
        })
    }
}

/// The reason for which bytes are not a valid record or header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) expected: String,
    pub(super) found: String,
    /// True if the drive cannot read the bytes, so that their content is unknown.
    pub(super) unreadable: bool,
}

impl Fault {
    pub(super) fn new(expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self { expected: expected.into(), found: found.into(), unreadable: false }
    }

    pub(super) fn unreadable(cause: &str) -> Self {
        Self { unreadable: true, ..Self::new("a readable block", cause) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordHeader {
    pub(super) kind: EntryKind,
    pub(super) last_in_batch: bool,
    pub(super) key: RecordKey,
    pub(super) body_bytes: u32,
    pub(super) body_crc: u32,
    pub(super) lsn: Lsn,
    pub(super) origin: Lsn,
    pub(super) durable_through: Lsn,
}

impl RecordHeader {
    pub(super) fn encode(&self, tag: u64) -> [u8; RECORD_HEADER_BYTES] {
        let mut bytes = [0; RECORD_HEADER_BYTES];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, &RECORD_MAGIC);
        put(
            4,
            &[
                WAL_FORMAT_VERSION,
                self.kind.number(),
                if self.last_in_batch { FLAG_LAST_IN_BATCH } else { 0 },
                self.key.shard,
            ],
        );
        put(12, &self.body_crc.to_le_bytes());
        put(16, &self.body_bytes.to_le_bytes());
        put(20, &self.key.part.to_le_bytes());
        put(24, &self.key.id.to_le_bytes());
        put(40, &self.lsn.0.to_le_bytes());
        put(48, &self.origin.0.to_le_bytes());
        put(56, &self.durable_through.0.to_le_bytes());
        put(64, &tag.to_le_bytes());
        let crc = crc32c::crc32c(&bytes);
        bytes[8..12].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Decodes and verifies the header at the start of `bytes`, which were read at position `at`.
    pub(super) fn decode(bytes: &[u8], tag: u64, at: Lsn) -> Result<Self, Fault> {
        let Some(bytes) = bytes.first_chunk::<RECORD_HEADER_BYTES>() else {
            return Err(Fault::new("a record header", "the end of the file"));
        };
        if bytes[..4] != RECORD_MAGIC {
            return Err(Fault::new("a record's magic", format!("{:02x?}", &bytes[..4])));
        }
        let stored = u32_at(bytes, 8);
        let mut unsummed = *bytes;
        unsummed[8..12].fill(0);
        let summed = crc32c::crc32c(&unsummed);
        if stored != summed {
            return Err(Fault::new(format!("header crc {stored:08x}"), format!("{summed:08x}")));
        }
        if bytes[4] == 0 || bytes[4] > WAL_FORMAT_VERSION {
            return Err(Fault::new(format!("record version up to {WAL_FORMAT_VERSION}"), bytes[4].to_string()));
        }
        if u64_at(bytes, 64) != tag {
            return Err(Fault::new(format!("log tag {tag:016x}"), format!("{:016x}", u64_at(bytes, 64))));
        }
        if u64_at(bytes, 40) != at.0 {
            return Err(Fault::new(format!("position {at}"), Lsn(u64_at(bytes, 40)).to_string()));
        }
        let kind =
            EntryKind::from_number(bytes[5]).ok_or_else(|| Fault::new("a kind of record", bytes[5].to_string()))?;
        let body_bytes = u32_at(bytes, 16);
        if body_bytes as usize > RECORD_BODY_BYTES_MAX {
            return Err(Fault::new(format!("a body of at most {RECORD_BODY_BYTES_MAX} bytes"), body_bytes.to_string()));
        }
        Ok(Self {
            kind,
            last_in_batch: bytes[6] & FLAG_LAST_IN_BATCH != 0,
            key: RecordKey { id: u128_at(bytes, 24), shard: bytes[7], part: u32_at(bytes, 20) },
            body_bytes,
            body_crc: u32_at(bytes, 12),
            lsn: at,
            origin: Lsn(u64_at(bytes, 48)),
            durable_through: Lsn(u64_at(bytes, 56)),
        })
    }

    pub(super) fn check_body(&self, body: &[u8]) -> Result<(), Fault> {
        let found = crc32c::crc32c(body);
        if found == self.body_crc || has(Defect::SkipBodyChecksum) {
            return Ok(());
        }
        Err(Fault::new(format!("body crc {:08x}", self.body_crc), format!("{found:08x}")))
    }

    /// Returns the offset of the body in the segment.
    pub(super) fn body_offset(&self) -> u32 {
        body_offset(self.lsn.offset(), self.body_bytes)
    }

    /// Returns the offset of the next record in the segment.
    pub(super) fn next_offset(&self) -> u32 {
        let end = self.body_offset().saturating_add(self.body_bytes);
        end.checked_next_multiple_of(if self.last_in_batch { BLOCK } else { RECORD_ALIGN }).unwrap_or(u32::MAX)
    }
}

/// Returns the offset of the body of a record whose header is at `header`: after it, or at the next block if the body
/// is large.
pub(super) const fn body_offset(header: u32, body_bytes: u32) -> u32 {
    let end = header.saturating_add(RECORD_HEADER);
    if body_bytes as usize >= RECORD_PACKED_BYTES_MAX { end.div_ceil(BLOCK).saturating_mul(BLOCK) } else { end }
}

/// Returns the log tag: a hash of a log's identity, which each record contains.
pub(super) fn log_tag(identity: &LogIdentity) -> u64 {
    let mut bytes = [0; 21];
    bytes[..16].copy_from_slice(&identity.cluster.to_be_bytes());
    bytes[16..20].copy_from_slice(&identity.node.0.to_be_bytes());
    bytes[20] = identity.kind as u8;
    (u64::from(crc32c::crc32c(&bytes)) << 32) | u64::from(crc32c::crc32c_append(0x9e37_79b9, &bytes))
}

/// Encodes the header block of a segment.
pub(super) fn encode_segment_header(identity: &LogIdentity, id: SegmentId, into: &mut [u8]) {
    into[..SEGMENT_HEADER_BYTES].fill(0);
    let mut put = |at: usize, field: &[u8]| into[at..at + field.len()].copy_from_slice(field);
    put(0, &SEGMENT_MAGIC);
    put(8, &[WAL_FORMAT_VERSION, identity.kind as u8]);
    put(16, &id.0.to_le_bytes());
    put(20, &identity.node.0.to_le_bytes());
    put(24, &identity.cluster.0.to_le_bytes());
    put(40, &BLOCK.to_le_bytes());
    let crc = crc32c::crc32c(&into[..SEGMENT_HEADER_BYTES]);
    into[12..16].copy_from_slice(&crc.to_le_bytes());
}

/// The content of a segment's header block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) identity: LogIdentity,
    pub(super) id: SegmentId,
}

/// The reason for which a header block is not usable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum HeaderFault {
    /// The header is damaged. The segment's records are still used, as each has its own checks.
    Damaged(Fault),
    /// The header was written by a newer release, in a format that this one does not know.
    Newer(Fault),
}

pub(super) fn decode_segment_header(bytes: &[u8]) -> Result<SegmentHeader, HeaderFault> {
    let damaged = |expected: &str, found: String| HeaderFault::Damaged(Fault::new(expected, found));
    let Some(block) = bytes.first_chunk::<SEGMENT_HEADER_BYTES>() else {
        return Err(damaged("a segment header", "the end of the file".to_owned()));
    };
    if block[..8] != SEGMENT_MAGIC {
        return Err(damaged("a segment's magic", format!("{:02x?}", &block[..8])));
    }
    let mut unsummed = *block;
    unsummed[12..16].fill(0);
    let (stored, summed) = (u32_at(block, 12), crc32c::crc32c(&unsummed));
    if stored != summed {
        return Err(damaged(&format!("segment header crc {stored:08x}"), format!("{summed:08x}")));
    }
    if block[8] == 0 || block[8] > WAL_FORMAT_VERSION || u32_at(block, 40) != BLOCK {
        let found = format!("version {} with blocks of {} bytes", block[8], u32_at(block, 40));
        return Err(HeaderFault::Newer(Fault::new(format!("segment version up to {WAL_FORMAT_VERSION}"), found)));
    }
    let kind = match block[9] {
        1 => LogKind::Shards,
        2 => LogKind::Meta,
        other => return Err(damaged("a kind of log", other.to_string())),
    };
    Ok(SegmentHeader {
        identity: LogIdentity { cluster: ClusterId(u128_at(block, 24)), node: NodeId(u32_at(block, 20)), kind },
        id: SegmentId(u32_at(block, 16)),
    })
}

// These index arrays of constant size at constant offsets, so they cannot panic.
fn u32_at<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

fn u64_at<const N: usize>(bytes: &[u8; N], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

fn u128_at<const N: usize>(bytes: &[u8; N], at: usize) -> u128 {
    u128::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}
