//! The state of a replica: openraft's state machine over the metadata tables, the directories of the tables, and
//! snapshots.

mod applying;
mod attempts;
mod checking;
mod digest;
mod home;
mod machine;
mod sending;
mod snapshot_files;
mod snapshots;

pub use checking::{SnapshotVerification, read_part};
pub use home::{FjallHome, StateHome};
#[cfg(test)]
pub use machine::SnapshotBuilder;
pub use machine::{StateMachine, StatePlace, lies_on_log};
pub use sending::SnapshotReader;
pub use snapshot_files::{
    SaveError, SnapshotDamaged, WithoutRoom, has_file, is_damage, newest_on, remove_drafts, verify_snapshot,
    write_snapshot,
};
pub use snapshots::{SnapshotFile, SnapshotStore};

use crate::actors::consensus::raft_types::MetaGroup;
use openraft::Raft;

/// The handle to openraft's core.
pub type MetaRaft = Raft<MetaGroup, StateMachine>;
