//! The messages of the mirror, and its answers.

use crate::actors::consensus::raft_types::MetaGroup;
use crate::actors::consensus::start::ReplicaDrive;
use crate::storage::wal::NewRecord;
use crate::storage::wal::progress::Ack;
use crate::types::NodeId;
use openraft::storage::IOFlushed;
use std::io;
use tokio::sync::oneshot;

/// The recipient of the acknowledgement of an operation.
pub enum Done {
    Flushed(IOFlushed<MetaGroup>),
    Reply(oneshot::Sender<io::Result<()>>),
    /// No recipient; segments that hold nothing any more are released then.
    Release,
}

pub enum ToMirror {
    Write {
        sequence: u64,
        indexes: Vec<Option<u64>>,
        records: Vec<NewRecord>,
        /// The least acknowledgement that it waits for.
        ack: Ack,
        done: Done,
    },
    DriveLost(NodeId),
    /// A drive does not take the metadata snapshot, with this error; its copy of the log may not go on without it.
    DriveRefuses {
        node: NodeId,
        error: io::ErrorKind,
    },
    /// A drive is to be taken out of the host: its copy is made elsewhere, and then given up.
    DriveLeaves(NodeId),
    DriveBack(Box<ReplicaDrive>),
    /// The host is to keep so many copies from now on.
    WantCopies(usize),
    /// Answered when everything handed in before is answered.
    Close(oneshot::Sender<()>),
}

/// Passes the result to the task that waits for it.
pub(super) fn answer(done: Done, result: io::Result<()>) {
    match done {
        Done::Flushed(callback) => callback.io_completed(result),
        Done::Reply(reply) => {
            let _ = reply.send(result);
        }
        Done::Release => {}
    }
}

pub(super) fn all_lost() -> io::Error {
    io::Error::other("no copy of the metadata log is left on this host; see the runbook")
}
