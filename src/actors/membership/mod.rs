//! The membership of hosts: founding a cluster, joining one, choosing the voters, and the address and state of each
//! host. No request calls this module; requests use the results that it publishes (`AddressBook`, `HealthBoard`).
//!
//! A host has a configured name and an id, which is drawn at random and lost with the host's metadata. A host that
//! comes back empty under its name has a new id: it takes over the node ids of its predecessor, and its drives are
//! filled again. A host that lost only its metadata has a new id, too, and keeps its drives with their shards.

mod address_book;
mod founding;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod host_watch;
mod joining;
mod messages;
mod rejoin_asks;
mod service;
mod voters;

pub use address_book::AddressBook;
pub use founding::{Agreement, FoundingBoard, FoundingError, FoundingOutcome, Hosts, found, words};
pub use host_watch::{HostWatch, StatusSource};
pub use joining::{JoinAskOf, JoinError, WelcomeDesk, Welcomed, join, lookup_removal};
pub use messages::RemovalAnswer;
pub use rejoin_asks::RejoinAsks;
pub use service::{HostGroups, LateNodeService};
pub use voters::{Candidate, VoterKeeper, choose_voters};

#[cfg(test)]
mod tests;
