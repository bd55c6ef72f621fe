//! The Raft log of a host: the encoding of its records, its index in memory, and the decisions about its mirrored
//! copies. Pure: this module performs no I/O; `actors::consensus` carries its decisions out.
//!
//! Each copy of the log is a WAL of its own on one drive. Every record has the sequence number of the operation that
//! wrote it, which is the same on all copies. So copies can be compared, and a lost operation shows as a gap.

mod applied;
mod history;
mod index;
mod merge;
mod mirror_set;
mod progress;
mod record;
mod recovery;
mod tables_at;
mod tape;

pub use applied::{AppliedAt, Chain, OutOfOrder, Point};
pub use history::History;
pub use index::{EntryPlace, LogIndex};
pub use merge::{MergeError, merge};
pub use mirror_set::{
    ChoiceError, CopyFound, DriveFound, MirrorChoice, MirrorSet, MirrorSetFault, choose, current_members,
};
pub use progress::{Effect, Event, MirrorProgress};
pub use record::{Ballot, LogEntry, LogRecord, Members, Payload, Position, RecordFault, Standing, StateChange};
pub use recovery::{RecoveredCopy, RecoveredEntry, Recovery};
pub use tables_at::{DurableAt, TablesAt};
pub use tape::{Tape, TapeReader};

#[cfg(test)]
mod tests;
