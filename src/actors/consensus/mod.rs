//! The metadata replica of this host: one Raft group's log, mirrored on several drives, and the tables derived from it.
//!
//! ```text
//! MetaHandle::propose ─> ConsensusApply ─> openraft ─> LogStore ─> mirror task ─> LogHandle of each copy's drive
//!     │                        ^               ├────> StateMachine ─> tables ─> replies, back the same way
//!     └─> another host leads ──│───────────────┴────> Peers ─> GroupTransport ─> MetaHandle::serve of other hosts
//! MetaHandle::read ────────────┴── the barrier ────────────────────> a view of the tables
//! ```
//!
//! All of it runs on one actix arbiter; blocking work goes to other threads (`Offload`). The tables are derived state:
//! no request waits until they are synced, since a start can rebuild them from the snapshot and the log.

mod apply;
mod batcher;
mod candidacy;
mod clock;
mod contradiction;
mod handle;
mod mirror;
mod network;
mod raft_types;
mod scrub;
mod shared;
mod sole_voter;
mod start;
mod state;
mod stuck_leader;
mod to_mirror;

pub use apply::SnapshotPolicy;
pub use clock::{ClockReport, ClockStatus, ClusterClock};
pub use handle::{GroupId, Membership, MetaHandle, MetaStatus};
#[cfg(any(test, feature = "fuzzing"))]
pub use network::fuzzing;
pub use scrub::{CopyScrub, CopyScrubbed};
pub use shared::{Agreement, MetaError, Offload, ReplicaDrive};
pub use start::{
    Forming, Remains, ReplicaOptions, Salvage, SalvageError, StartError, recover_frames, recover_own, start,
    survey_recovery, survey_salvage,
};
pub use state::{FjallHome, StateHome};

#[cfg(test)]
mod tests;
