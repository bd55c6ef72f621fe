//! The metadata state machine: its tables and records, the changes and how they are decided, and lookups.

mod apply;
mod checksum;
pub mod codec;
pub mod command;
pub mod configuration;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod listing;
pub mod record;
mod renames;
pub mod snapshot;
pub mod tables;
pub mod view;

pub use apply::{Applied, ApplyEntry, MetaTables};
pub use checksum::checksum_after_append;

#[cfg(test)]
pub(crate) mod samples;
