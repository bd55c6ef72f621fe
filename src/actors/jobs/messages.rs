//! The messages between hosts about their jobs: bodies of group calls to `JOBS_GROUP`, in postcard. After the first
//! release the call's kind and the encoding of its messages are fixed: variants may only be appended to the enums, and
//! any other change needs another kind.

use crate::actors::healer::{HealStatus, ScrubStatus};
use crate::actors::mover::MoveStatus;
use crate::actors::traffic::Top;
use crate::types::NodeId;
use serde::{Deserialize, Serialize};

/// The group number of calls about jobs. No consensus group has it.
pub const JOBS_GROUP: u32 = u32::MAX - 2;
/// The only kind of call about jobs.
pub const KIND: u8 = 1;

/// A question or an order to one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    Status,
    /// Compare all drives of the host with the metadata now.
    StartHeal,
    /// Verify every chunk of one drive of the host, or of all that are in service.
    StartScrub {
        node: Option<NodeId>,
    },
    /// End the scrub passes that are under way or requested: of one drive, or of all.
    StopScrub {
        node: Option<NodeId>,
    },
    /// List the accounts and buckets with the most traffic.
    Traffic,
}

/// The answer of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobAnswer {
    Status(Box<JobStatus>),
    /// The drives on which the order took effect.
    Nodes(Vec<NodeId>),
    /// The order is refused, for this reason.
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

/// The scrub of one drive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubJob {
    pub node: NodeId,
    /// True if a pass was ordered and has not begun yet.
    pub wanted: bool,
    pub status: ScrubStatus,
}
