//! How far a state machine has come: stored with its tables, in the same batch as the effects, and at the head of every
//! snapshot. Version u8 = 1, then postcard.

use super::record::{Members, Position, RecordFault};
use serde::{Deserialize, Serialize};

const VERSION: u8 = 1;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedAt {
    /// Of the last entry applied.
    pub at: Option<Position>,
    /// The last membership applied, and where it stood in the log.
    pub members: Members,
    pub members_at: Option<Position>,
}

impl AppliedAt {
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
