//! The metadata state machine: what the tables hold, how a change is decided, how it is looked up.

mod apply;
mod checksum;
pub mod codec;
pub mod command;
mod listing;
pub mod record;
pub mod snapshot;
pub mod tables;
mod upgrade;
pub mod view;

pub use apply::{Applied, ApplyEntry, MetaTables};

#[cfg(test)]
pub(crate) mod samples;
