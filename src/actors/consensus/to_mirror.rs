//! The messages that the mirror task receives, and the answers to them.

use super::raft_types::MetaGroup;
use super::shared::{Absence, ReplicaDrive};
use crate::storage::wal::NewRecord;
use crate::storage::wal::progress::Ack;
use crate::types::NodeId;
use openraft::storage::IOFlushed;
use std::io;
use tokio::sync::oneshot;

/// The receiver of the reply once an operation on the log is durable.
pub enum Done {
    Flushed(IOFlushed<MetaGroup>),
    Reply(oneshot::Sender<io::Result<()>>),
    /// Nobody. The mirror then releases the segments that are no longer needed.
    Release,
}

pub enum ToMirror {
    Write {
        sequence: u64,
        indexes: Vec<Option<u64>>,
        records: Vec<NewRecord>,
        /// `Synced` for records that must be synced even with `relaxed` durability.
        ack: Ack,
        done: Done,
    },
    DriveLost(NodeId),
    /// A drive failed to store the metadata snapshot. Its copy of the log is given up if it can be spared, since the log
    /// below the snapshot will be dropped. Answers whether the copy is given up.
    DriveRefuses {
        node: NodeId,
        absence: Absence,
        left: oneshot::Sender<bool>,
    },
    /// A drive is to be removed from the host: its copy is made on another drive, and then given up.
    DriveLeaves(NodeId),
    DriveBack(Box<ReplicaDrive>),
    /// Sets the wanted number of copies.
    WantCopies(usize),
    /// Stops the mirror, once all earlier operations are answered.
    Close(oneshot::Sender<()>),
}

/// Passes the result to the task that waits for it.
pub fn answer(done: Done, result: io::Result<()>) {
    match done {
        Done::Flushed(callback) => callback.io_completed(result),
        Done::Reply(reply) => {
            let _ = reply.send(result);
        }
        Done::Release => {}
    }
}

pub fn all_lost() -> io::Error {
    io::Error::other("no copy of the metadata log is left on this host; see the runbook")
}
