//! The position of a host's tables, and the last entry that the host's own log was then known to hold durably. It is
//! stored with the tables, in the same batch as the effects of the entries.
//!
//! Encoding: version u8 = 1 · durable known u8 · host, term, node, index u64 each, little-endian (0 where unknown) ·
//! `AppliedAt`.

use super::applied::AppliedAt;
use super::record::{Position, RecordFault};
use super::recovery::RecoveredCopy;

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 2 + 8 * 4;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TablesAt {
    pub applied: AppliedAt,
    pub durable: Option<DurableAt>,
}

/// The last applied entry that was on stable storage on every copy of a host's log. If a log of that host lacks the
/// entry, it has lost what was acknowledged. It may come before the last applied entry, since an entry that others
/// committed may be applied before it is synced here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DurableAt {
    /// The host of the log: tables may come from another host, in a snapshot.
    pub host: u64,
    pub at: Position,
}

impl DurableAt {
    /// Returns whether a copy of this host's log lacks the entry, or has another entry in its place. False if the
    /// tables are another host's.
    pub fn is_lost(&self, host: u64, copy: &RecoveredCopy) -> bool {
        if self.host != host {
            return false;
        }
        match copy.position_of(self.at.index) {
            Some(found) => found != self.at,
            None => copy.last().is_none_or(|last| last.index < self.at.index),
        }
    }
}

impl TablesAt {
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION, u8::from(self.durable.is_some())];
        let numbers = self.durable.map_or([0; 4], |DurableAt { host, at }| [host, at.term, at.node, at.index]);
        numbers.iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
        bytes.extend_from_slice(&self.applied.encode());
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, RecordFault> {
        if let Some(&other) = bytes.first().filter(|&&version| version != VERSION) {
            return Err(RecordFault::UnknownVersion(other));
        }
        let Some((head, applied)) = bytes.split_at_checked(HEAD_BYTES) else {
            return Err(RecordFault::TooShort(bytes.len()));
        };
        let number = |nth: usize| u64::from_le_bytes(std::array::from_fn(|at| head[2 + 8 * nth + at]));
        let durable = match head[1] {
            0 => None,
            1 => {
                let at = Position { term: number(1), node: number(2), index: number(3) };
                Some(DurableAt { host: number(0), at })
            }
            _ => return Err(RecordFault::Malformed("durable flag")),
        };
        Ok(Self { applied: AppliedAt::decode(applied)?, durable })
    }
}
