//! The metadata state machine: what the tables hold, how a change is decided, how it is looked up.

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
