//! The log of a replica, mirrored on several drives: openraft's log store, the task that writes the copies, and the
//! copies themselves.

mod away;
mod copy;
mod files;
mod fill;
mod leaving;
mod message;
mod returning;
mod store;
mod task;

pub use copy::{CopyOpener, FoundCopy};
pub use message::ToMirror;
pub use store::{LogStore, read_entries};
pub use task::Mirror;
