//! The position up to which a state machine has applied the log. It is stored with the tables (in `TablesAt`) and at
//! the head of every snapshot. Encoding: version u8 = 1, then postcard.

use super::record::{LogEntry, Members, Payload, Position, RecordFault};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const VERSION: u8 = 1;

/// A hash over every entry applied so far, in order: two replicas with the same chain at an index have applied the same
/// entries up to it. It is the first 16 bytes of SHA-256 over the previous chain, the entry's position and its payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain(pub u128);

impl Chain {
    #[must_use]
    pub fn with(self, entry: &LogEntry) -> Self {
        let Position { term, node, index } = entry.at;
        let mut digest = Sha256::new();
        digest.update(self.0.to_le_bytes());
        [term, node, index].iter().for_each(|number| digest.update(number.to_le_bytes()));
        match &entry.payload {
            Payload::Blank => digest.update([0]),
            Payload::Commands(bytes) => {
                digest.update([1]);
                digest.update(bytes);
            }
            Payload::Members(members) => {
                digest.update([2]);
                let encoded = postcard::to_stdvec(members);
                assert!(encoded.is_ok(), "plain data always encodes");
                digest.update(encoded.unwrap_or_default());
            }
        }
        let hash: [u8; 32] = digest.finalize().into();
        let mut head = [0; 16];
        head.copy_from_slice(&hash[..16]);
        Self(u128::from_le_bytes(head))
    }
}

/// An applied entry, and the chain up to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    pub at: Position,
    pub chain: Chain,
}

/// The position up to which a state machine has applied the log, with the membership and the chain at that position.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedAt {
    /// The position of the last entry applied.
    pub at: Option<Position>,
    /// The last membership applied.
    pub members: Members,
    /// The position of the entry with this membership.
    pub members_at: Option<Position>,
    /// The hash chain over all entries up to `at`.
    pub chain: Chain,
}

/// The refusal of an entry that does not follow the last applied one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("entry {entry:?} does not follow {applied:?}, the last applied entry")]
pub struct OutOfOrder {
    pub entry: Position,
    pub applied: Option<Position>,
}

impl AppliedAt {
    /// Moves the position to the next entry, which must have the next index, and the same leader or a later one.
    pub fn follow(&mut self, entry: &LogEntry) -> Result<(), OutOfOrder> {
        let follows = self.at.is_none_or(|last| {
            let is_next = last.index.checked_add(1) == Some(entry.at.index);
            is_next && (entry.at.term, entry.at.node) >= (last.term, last.node)
        });
        if !follows {
            return Err(OutOfOrder { entry: entry.at, applied: self.at });
        }
        self.at = Some(entry.at);
        self.chain = self.chain.with(entry);
        if let Payload::Members(members) = &entry.payload {
            self.members = members.clone();
            self.members_at = Some(entry.at);
        }
        Ok(())
    }

    pub fn point(&self) -> Option<Point> {
        self.at.map(|at| Point { at, chain: self.chain })
    }

    pub fn encode(&self) -> Vec<u8> {
        let encoded = postcard::to_extend(self, vec![VERSION]);
        assert!(encoded.is_ok(), "plain data always encodes");
        encoded.unwrap_or_default()
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, RecordFault> {
        match bytes.split_first() {
            None => Err(RecordFault::TooShort(0)),
            Some((&VERSION, body)) => match postcard::take_from_bytes(body) {
                Ok((applied, [])) => Ok(applied),
                _ => Err(RecordFault::Malformed("applied position")),
            },
            Some((&other, _)) => Err(RecordFault::UnknownVersion(other)),
        }
    }
}
