//! The log of a replica, mirrored on several drives: openraft's log store, the task that writes the copies, and the
//! copies themselves.

mod away;
mod copy;
mod files;
mod fill;
mod leaving;
mod returning;
mod store;
mod task;

pub use copy::FoundCopy;
pub use files::write_mirror_file;
pub use store::LogStore;
pub use task::Mirror;
