//! The metadata state machine: its tables and records, the changes and how they are decided, and lookups.

mod applied;
mod apply;
mod checksum;
pub mod codec;
pub mod command;
pub mod configuration;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod listing;
pub mod record;
mod renames;
pub mod snapshot;
pub mod tables;
pub mod view;

pub use applied::Applied;
pub use apply::{ApplyEntry, MetaTables};
pub use checksum::checksum_after_append;

#[cfg(test)]
pub(crate) mod samples;
