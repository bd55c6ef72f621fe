//! The Raft log's records, its state in memory, and the arithmetic of its mirrored copies. Pure: nothing here does
//! input or output; `actors::consensus` performs what is decided here.
//!
//! A copy of the log is a WAL of its own on one drive. Every record names the operation that it belongs to by a
//! sequence number that is the same on all copies, so that copies can be compared, and a lost operation is noticed.

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

pub use applied::{AppliedAt, Chain, OutOfOrder};
pub use history::{History, Point};
pub use index::{EntryPlace, LogIndex};
pub use merge::{MergeError, merge};
pub use mirror_set::{ChoiceError, CopyFound, DriveFound, MirrorChoice, MirrorSet, MirrorSetFault, choose};
pub use progress::{Effect, Event, MirrorProgress};
pub use record::{Ballot, LogEntry, LogRecord, Members, Payload, Position, RecordFault, Standing, StateChange};
pub use recovery::{RecoveredCopy, RecoveredEntry, Recovery};
pub use tables_at::{DurableAt, TablesAt};
pub use tape::{Tape, TapeReader};

#[cfg(test)]
mod tests;
