//! The encoding of the messages between replicas: version u8 = 1 · head length u32 little-endian · head (postcard) ·
//! tail. The tail holds bytes that are sent as they are: the commands of an append one after the other, a piece of a
//! snapshot, or a forwarded command. A change of any type here needs a new version.

use crate::actors::consensus::raft_types::{Entry, MetaGroup, ballot_of, entry_of, position_of, vote_of};
use crate::actors::consensus::raft_types::{log_entry_of, log_id_of};
use crate::actors::consensus::shared::{DigestAt, DurableState};
use crate::limits::ENTRY_BYTES_MAX;
use crate::storage::meta::command::{Origin, Reply};
use crate::storage::raft_log::{Ballot, LogEntry, Members, Payload, Point, Position};
use bytes::{BufMut, Bytes, BytesMut};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest, VoteResponse};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

const VERSION: u8 = 1;
const FIXED_BYTES: usize = 5;

/// The kind of a call, with its byte on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    Append = 1,
    Vote = 2,
    PreVote = 3,
    Transfer = 4,
    SnapshotPiece = 5,
    SnapshotInstall = 6,
    Forward = 7,
    ReadIndex = 8,
    Steer = 9,
    Compare = 10,
}

impl Kind {
    pub fn from_byte(byte: u8) -> Option<Self> {
        const KINDS: [Kind; 10] = [
            Kind::Append,
            Kind::Vote,
            Kind::PreVote,
            Kind::Transfer,
            Kind::SnapshotPiece,
            Kind::SnapshotInstall,
            Kind::Forward,
            Kind::ReadIndex,
            Kind::Steer,
            Kind::Compare,
        ];
        KINDS.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// The reason for which bytes are not a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageFault {
    #[error("message version {0} is not known; this program knows {VERSION}")]
    UnknownVersion(u8),
    #[error("message is truncated")]
    Truncated,
    #[error("message is malformed: {0}")]
    Malformed(String),
}

fn malformed(why: &str) -> MessageFault {
    MessageFault::Malformed(why.to_owned())
}

/// The head of an append: entries for a follower, or none for a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Append {
    pub ballot: Ballot,
    pub previous: Option<Position>,
    pub committed: Option<Position>,
    pub entries: Vec<EntryHead>,
}

/// An entry without its commands, which are in the tail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryHead {
    pub at: Position,
    pub content: EntryContent,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryContent {
    Blank,
    /// Commands, which take this number of bytes in the tail.
    Commands {
        bytes: u32,
    },
    Members(Members),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Appended {
    All,
    Through(Option<Position>),
    Conflict,
    HigherVote(Ballot),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskVote {
    pub ballot: Ballot,
    pub last: Option<Position>,
    /// True if the present leader asked for this election, to hand over the lead.
    pub transfer: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Voted {
    pub ballot: Ballot,
    pub granted: bool,
    pub last: Option<Position>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    pub ballot: Ballot,
    pub to: u64,
    pub last: Option<Position>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Transferred {
    Accepted,
    VoteChanged { expected: Ballot, actual: Ballot },
    NotFlushed { expected: Option<Position>, actual: Option<Position> },
}

/// A piece of a snapshot; the tail is the bytes of its file from `offset` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotPiece {
    pub ballot: Ballot,
    /// A random id of this sending of the snapshot.
    pub transfer: u128,
    pub total_bytes: u64,
    pub offset: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PieceTaken {
    /// The offset that is wanted next.
    Next(u64),
    HigherVote(Ballot),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstallSnapshot {
    pub ballot: Ballot,
    pub transfer: u128,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Installing {
    /// The snapshot is being installed; ask again.
    Busy,
    Done(Ballot),
    /// The snapshot is incomplete, damaged, or contradicts the follower's entries; the text says which.
    Failed(String),
}

/// A change for the leader; the tail is the command as its proposer encoded it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forward {
    pub origin: Origin,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forwarded {
    /// The last entry that the answering host has applied; the asking host puts it into the origins of later changes.
    pub applied: u64,
    pub outcome: ForwardOutcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ForwardOutcome {
    Decided(Reply),
    /// The change was not proposed; names the leader, if known.
    NotLeader(Option<u64>),
    /// The change was not proposed, for this reason.
    Refused(String),
    /// The change was proposed; whether it is decided is not known.
    Unknown,
}

/// Asks for the index that a linearizable read must wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadIndex {}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadAt {
    Index(u64),
    NotLeader(Option<u64>),
}

/// A change of the membership or of the leader, asked for by an operator or by a host. Each is idempotent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Steer {
    AddLearner { host: u64, address: String },
    ChangeVoters { voters: BTreeSet<u64> },
    Remove { host: u64 },
    TransferLeadership { to: u64 },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Steered {
    Done,
    NotLeader(Option<u64>),
    Refused(String),
}

/// The position of a replica, as its host reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaState {
    pub had: DurableState,
    pub applied: Option<Point>,
    /// The last digest of its tables.
    pub digest: Option<DigestAt>,
}

/// Reports the sender's replica to another host, and asks for that host's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compare {
    pub host: u64,
    pub replica: ReplicaState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    pub replica: ReplicaState,
    /// The answering replica's point at the last index that the asking one has applied; `None` if the answering one
    /// does not remember that index.
    pub point: Option<Point>,
    /// The state that the answering host remembered of the caller before this call.
    pub remembered: Option<DurableState>,
}

/// Encodes a message.
pub fn encode<T: Serialize>(head: &T, tail: &[&[u8]]) -> Bytes {
    let tail_bytes: usize = tail.iter().map(|part| part.len()).sum();
    let head = postcard::to_stdvec(head).expect("messages have only shapes that postcard can write");
    let mut bytes = BytesMut::with_capacity(FIXED_BYTES + head.len() + tail_bytes);
    bytes.put_u8(VERSION);
    bytes.put_u32_le(u32::try_from(head.len()).expect("a message is far below 4 GiB"));
    bytes.put_slice(&head);
    tail.iter().for_each(|part| bytes.put_slice(part));
    bytes.freeze()
}

pub fn encode_plain<T: Serialize>(head: &T) -> Bytes {
    encode(head, &[])
}

pub fn decode<T: DeserializeOwned>(bytes: &Bytes) -> Result<(T, Bytes), MessageFault> {
    match bytes.first() {
        None => return Err(MessageFault::Truncated),
        Some(&VERSION) => {}
        Some(&other) => return Err(MessageFault::UnknownVersion(other)),
    }
    let (length, rest) = bytes[1..].split_first_chunk::<4>().ok_or(MessageFault::Truncated)?;
    let (head, tail) = rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or(MessageFault::Truncated)?;
    let (value, left) = postcard::take_from_bytes(head).map_err(|error| malformed(&error.to_string()))?;
    if !left.is_empty() {
        return Err(malformed("bytes after its head"));
    }
    Ok((value, bytes.slice_ref(tail)))
}

/// Decodes a message that has no tail.
pub fn decode_plain<T: DeserializeOwned>(bytes: &Bytes) -> Result<T, MessageFault> {
    let (value, tail) = decode(bytes)?;
    if tail.is_empty() { Ok(value) } else { Err(malformed("bytes after its end")) }
}

/// Checks that a message of a leader carries a leader's ballot.
pub fn require_leader(ballot: Ballot) -> Result<(), MessageFault> {
    if ballot.committed { Ok(()) } else { Err(malformed("its ballot is not of an elected leader")) }
}

pub fn encode_append(request: AppendEntriesRequest<MetaGroup>) -> Bytes {
    let entries: Vec<LogEntry> = request.entries.into_iter().map(log_entry_of).collect();
    let content = |payload: &Payload| match payload {
        Payload::Blank => EntryContent::Blank,
        Payload::Commands(bytes) => {
            EntryContent::Commands { bytes: u32::try_from(bytes.len()).expect("an entry is far below 4 GiB") }
        }
        Payload::Members(members) => EntryContent::Members(members.clone()),
    };
    let head = Append {
        ballot: ballot_of(&request.vote),
        previous: request.prev_log_id.map(position_of),
        committed: request.leader_commit.map(position_of),
        entries: entries.iter().map(|entry| EntryHead { at: entry.at, content: content(&entry.payload) }).collect(),
    };
    let tail: Vec<&[u8]> = entries
        .iter()
        .filter_map(|entry| match &entry.payload {
            Payload::Commands(bytes) => Some(&bytes[..]),
            Payload::Blank | Payload::Members(_) => None,
        })
        .collect();
    encode(&head, &tail)
}

/// Decodes an append. Refuses entries whose indexes do not follow each other, and `previous`: the log relies on it.
pub fn decode_append(bytes: &Bytes) -> Result<AppendEntriesRequest<MetaGroup>, MessageFault> {
    let (head, mut tail): (Append, Bytes) = decode(bytes)?;
    require_leader(head.ballot)?;
    let mut next = head.previous.map_or(Some(0), |previous| previous.index.checked_add(1));
    let mut entries: Vec<Entry> = Vec::new();
    for EntryHead { at, content } in head.entries {
        if next != Some(at.index) {
            return Err(malformed("entries do not follow each other"));
        }
        next = at.index.checked_add(1);
        let payload = match content {
            EntryContent::Blank => Payload::Blank,
            EntryContent::Members(members) => Payload::Members(members),
            EntryContent::Commands { bytes } if bytes as usize > ENTRY_BYTES_MAX => {
                return Err(malformed(&format!("an entry of {bytes} bytes, more than the {ENTRY_BYTES_MAX} allowed")));
            }
            EntryContent::Commands { bytes } if bytes as usize <= tail.len() => {
                Payload::Commands(tail.split_to(bytes as usize))
            }
            EntryContent::Commands { .. } => return Err(MessageFault::Truncated),
        };
        entries.push(entry_of(LogEntry { at, payload }).map_err(|error| malformed(&error.to_string()))?);
    }
    if !tail.is_empty() {
        return Err(malformed("bytes after its end"));
    }
    Ok(AppendEntriesRequest {
        vote: vote_of(head.ballot),
        prev_log_id: head.previous.map(log_id_of),
        entries,
        leader_commit: head.committed.map(log_id_of),
    })
}

impl From<AppendEntriesResponse<MetaGroup>> for Appended {
    fn from(response: AppendEntriesResponse<MetaGroup>) -> Self {
        match response {
            AppendEntriesResponse::Success => Self::All,
            AppendEntriesResponse::PartialSuccess(through) => Self::Through(through.map(position_of)),
            AppendEntriesResponse::Conflict => Self::Conflict,
            AppendEntriesResponse::HigherVote(vote) => Self::HigherVote(ballot_of(&vote)),
        }
    }
}

impl From<Appended> for AppendEntriesResponse<MetaGroup> {
    fn from(appended: Appended) -> Self {
        match appended {
            Appended::All => Self::Success,
            Appended::Through(through) => Self::PartialSuccess(through.map(log_id_of)),
            Appended::Conflict => Self::Conflict,
            Appended::HigherVote(ballot) => Self::HigherVote(vote_of(ballot)),
        }
    }
}

impl From<VoteRequest<MetaGroup>> for AskVote {
    fn from(request: VoteRequest<MetaGroup>) -> Self {
        let last = request.last_log_id.map(position_of);
        Self { ballot: ballot_of(&request.vote), last, transfer: request.leadership_transfer }
    }
}

impl From<AskVote> for VoteRequest<MetaGroup> {
    fn from(asked: AskVote) -> Self {
        let mut request = Self::new(vote_of(asked.ballot), asked.last.map(log_id_of));
        request.leadership_transfer = asked.transfer;
        request
    }
}

impl From<VoteResponse<MetaGroup>> for Voted {
    fn from(response: VoteResponse<MetaGroup>) -> Self {
        let last = response.last_log_id.map(position_of);
        Self { ballot: ballot_of(&response.vote), granted: response.vote_granted, last }
    }
}

impl From<Voted> for VoteResponse<MetaGroup> {
    fn from(voted: Voted) -> Self {
        Self::new(vote_of(voted.ballot), voted.last.map(log_id_of), voted.granted)
    }
}

#[cfg(test)]
mod tests;
