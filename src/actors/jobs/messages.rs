//! The messages between hosts about their jobs: bodies of group calls to `JOBS_GROUP`, in postcard. From the first
//! release on the number of the call's kind holds for ever, like the form of its messages, whose variants are only ever
//! appended to; another form is another kind.

use crate::actors::healer::{HealStatus, ScrubStatus};
use crate::actors::mover::MoveStatus;
use crate::actors::traffic::Top;
use crate::net::PeerError;
use crate::types::NodeId;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The number of the jobs' group, apart from the groups of the consensus.
pub const JOBS_GROUP: u32 = u32::MAX - 2;
/// The kind of all calls so far.
pub const KIND: u8 = 1;

/// A question to one host, or an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    Status,
    /// Compare all drives of the host with the metadata now.
    StartHeal,
    /// Verify every chunk of one drive of the host, or of all that are in service.
    StartScrub {
        node: Option<NodeId>,
    },
    /// End the passes that are under way or wanted.
    StopScrub {
        node: Option<NodeId>,
    },
    /// Asks for the accounts and buckets with the most traffic.
    Traffic,
}

/// The answer of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobAnswer {
    Status(Box<JobStatus>),
    /// The drives that the order concerns.
    Nodes(Vec<NodeId>),
    /// Refused as things stand, for this reason.
    Refused(String),
    Traffic(Box<Top>),
}

/// The jobs of one host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobStatus {
    pub healing: HealStatus,
    pub scrub: Vec<ScrubJob>,
    pub moving: MoveStatus,
}

/// Scrub of one drive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubJob {
    pub node: NodeId,
    /// A pass was asked for and has not begun yet.
    pub wanted: bool,
    pub status: ScrubStatus,
}

pub fn encode<T: Serialize>(message: &T) -> Bytes {
    postcard::to_stdvec(message).expect("a message is plain data").into()
}

/// The whole of the bytes must be the message.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, PeerError> {
    let refused = |why: String| PeerError::Refused { why };
    match postcard::take_from_bytes(bytes) {
        Ok((message, [])) => Ok(message),
        Ok(_) => Err(refused("bytes follow the message".to_owned())),
        Err(error) => Err(refused(format!("the message does not decode: {error}"))),
    }
}
