//! The encoding of the Raft log's records: its entries, and changes of its state. They are bodies of WAL records of the
//! kinds `RaftEntry` and `RaftState`; the WAL adds the checksums of head and body.
//!
//! Entry body, little-endian: version u8 = 1 · payload u8 (0 blank, 1 commands, 2 members) · committed known u8 · 0 u8
//! · sequence u64 · term u64 · node u64 · index u64 · committed term, node, index u64 each (0 where unknown) · payload
//! (commands as they were proposed; members in postcard).
//!
//! State body: version u8 = 1 · sequence and `StateChange` in postcard. Any other version is refused, and the error
//! names it.

use crate::storage::wal::{NewRecord, RecordKey, RecordKind};
use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

const VERSION: u8 = 1;
const ENTRY_HEAD_BYTES: usize = 4 + 8 * 7;

/// An entry's place in the log: term and id of the leader that proposed it, and its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    pub term: u64,
    pub node: u64,
    pub index: u64,
}

/// The last vote granted. `committed`: its candidate became the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ballot {
    pub term: u64,
    pub node: u64,
    pub committed: bool,
}

/// The membership of the group: the voters of each configuration (two during a joint one), and the addresses of all
/// voters and learners.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Members {
    pub configs: Vec<BTreeSet<u64>>,
    pub nodes: BTreeMap<u64, String>,
}

impl Members {
    /// Returns whether a host other than this one votes. Only such a host has all that this one acknowledged.
    pub fn has_other_voter(&self, host: u64) -> bool {
        self.configs.iter().flatten().any(|voter| *voter != host)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    Blank,
    /// Commands in the encoding that the proposer made.
    Commands(Bytes),
    Members(Members),
}

impl Payload {
    /// Returns a checksum by which the payloads of two records of one entry are compared.
    pub fn checksum(&self) -> u32 {
        match self {
            Self::Blank => 0,
            Self::Commands(bytes) => crc32c::crc32c(bytes),
            Self::Members(members) => crc32c::crc32c(&to_postcard(members)),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    pub at: Position,
    pub payload: Payload,
}

/// The state of the log besides its entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    pub ballot: Option<Ballot>,
    pub committed: Option<Position>,
    /// The last entry removed from the log. It and all entries before it are in a snapshot.
    pub purged: Option<Position>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StateChange {
    Standing(Standing),
    /// Entries with an index greater than `after` are void; all entries, if `None`.
    Truncated {
        after: Option<u64>,
    },
    /// The copy resumes at this sequence number. It keeps its entries up to `keep_through` (none, if `None`), and the
    /// entries that it missed follow. Only before this record and `Restating` may sequence numbers be missing.
    Resumed {
        keep_through: Option<u64>,
        standing: Standing,
    },
    /// Begins a restatement: the entries that follow under the same sequence number, up to `Restated`, are the whole
    /// log and replace all records before them. A restatement without `Restated` is ignored.
    Restating(Standing),
    /// Ends a restatement.
    Restated,
}

/// One record of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogRecord {
    Entry { sequence: u64, committed: Option<Position>, entry: LogEntry },
    State { sequence: u64, change: StateChange },
}

/// The reason why bytes are not a record of this log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordFault {
    #[error("a Raft log has a record of kind {0:?}, which belongs to another log")]
    ForeignKind(RecordKind),
    #[error("record version {0} is not known to this program")]
    UnknownVersion(u8),
    #[error("record of {0} bytes is too short")]
    TooShort(usize),
    #[error("malformed {0}")]
    Malformed(&'static str),
}

impl LogRecord {
    pub fn sequence(&self) -> u64 {
        match self {
            Self::Entry { sequence, .. } | Self::State { sequence, .. } => *sequence,
        }
    }

    /// Returns the index of the entry; `None` for a change of the log's state.
    pub fn index(&self) -> Option<u64> {
        match self {
            Self::Entry { entry, .. } => Some(entry.at.index),
            Self::State { .. } => None,
        }
    }

    /// Returns whether the record is synced before it is acknowledged even if changes are not (`relaxed`): the group's
    /// safety rests on votes, members and the log's own state.
    pub fn is_always_synced(&self) -> bool {
        match self {
            Self::Entry { entry, .. } => matches!(entry.payload, Payload::Members(_)),
            Self::State { .. } => true,
        }
    }

    /// Returns the WAL's key of this record: the index of an entry, or the sequence number of a change of state.
    pub fn key(&self) -> RecordKey {
        match self {
            Self::Entry { entry, .. } => Self::entry_key(entry.at.index),
            Self::State { sequence, .. } => RecordKey { id: u128::from(*sequence), shard: 0, part: 0 },
        }
    }

    pub fn entry_key(index: u64) -> RecordKey {
        RecordKey { id: u128::from(index), shard: 0, part: 0 }
    }

    pub fn to_wal(&self) -> NewRecord {
        let (kind, body) = match self {
            Self::Entry { sequence, committed, entry } => {
                (RecordKind::RaftEntry, encode_entry(*sequence, *committed, entry))
            }
            Self::State { sequence, change } => (RecordKind::RaftState, encode_state(*sequence, change)),
        };
        NewRecord { kind, key: self.key(), origin: None, body }
    }

    pub fn decode(kind: RecordKind, body: &Bytes) -> Result<Self, RecordFault> {
        match body.first() {
            None => return Err(RecordFault::TooShort(0)),
            Some(&VERSION) => {}
            Some(&other) => return Err(RecordFault::UnknownVersion(other)),
        }
        match kind {
            RecordKind::RaftEntry => decode_entry(body),
            RecordKind::RaftState => decode_state(body),
            other => Err(RecordFault::ForeignKind(other)),
        }
    }
}

fn encode_entry(sequence: u64, committed: Option<Position>, entry: &LogEntry) -> Bytes {
    let (tag, tail) = match &entry.payload {
        Payload::Blank => (0, Bytes::new()),
        Payload::Commands(bytes) => (1, bytes.clone()),
        Payload::Members(members) => (2, to_postcard(members)),
    };
    let mut body = BytesMut::with_capacity(ENTRY_HEAD_BYTES + tail.len());
    body.put_slice(&[VERSION, tag, u8::from(committed.is_some()), 0]);
    body.put_u64_le(sequence);
    put_position(&mut body, entry.at);
    put_position(&mut body, committed.unwrap_or(Position { term: 0, node: 0, index: 0 }));
    body.put_slice(&tail);
    body.freeze()
}

fn decode_entry(body: &Bytes) -> Result<LogRecord, RecordFault> {
    if body.len() < ENTRY_HEAD_BYTES {
        return Err(RecordFault::TooShort(body.len()));
    }
    let tail = body.slice(ENTRY_HEAD_BYTES..);
    let committed = match body[2] {
        0 => None,
        1 => Some(position_at(body, 36)),
        _ => return Err(RecordFault::Malformed("committed flag")),
    };
    let payload = match body[1] {
        0 if tail.is_empty() => Payload::Blank,
        1 => Payload::Commands(tail),
        2 => Payload::Members(from_postcard(&tail).ok_or(RecordFault::Malformed("members"))?),
        _ => return Err(RecordFault::Malformed("payload")),
    };
    let entry = LogEntry { at: position_at(body, 12), payload };
    Ok(LogRecord::Entry { sequence: u64_at(body, 4), committed, entry })
}

fn encode_state(sequence: u64, change: &StateChange) -> Bytes {
    let mut body = BytesMut::new();
    body.put_u8(VERSION);
    body.put_slice(&to_postcard(&(sequence, change)));
    body.freeze()
}

fn decode_state(body: &Bytes) -> Result<LogRecord, RecordFault> {
    let (sequence, change) = from_postcard(&body.slice(1..)).ok_or(RecordFault::Malformed("state"))?;
    Ok(LogRecord::State { sequence, change })
}

fn put_position(body: &mut BytesMut, at: Position) {
    body.put_u64_le(at.term);
    body.put_u64_le(at.node);
    body.put_u64_le(at.index);
}

/// Reads a position. Callers have checked the length.
fn position_at(body: &[u8], offset: usize) -> Position {
    Position { term: u64_at(body, offset), node: u64_at(body, offset + 8), index: u64_at(body, offset + 16) }
}

fn u64_at(body: &[u8], offset: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&body[offset..offset + 8]);
    u64::from_le_bytes(bytes)
}

fn to_postcard<T: Serialize>(value: &T) -> Bytes {
    let encoded = postcard::to_stdvec(value);
    assert!(encoded.is_ok(), "plain data always encodes");
    encoded.unwrap_or_default().into()
}

/// Decodes a value. Returns `None` if it is malformed or bytes are left over.
fn from_postcard<T: for<'a> Deserialize<'a>>(bytes: &[u8]) -> Option<T> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Some(value),
        _ => None,
    }
}
