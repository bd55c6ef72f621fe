//! The membership of hosts: founding a cluster, joining one, the voters, the address and state of each. None of it is
//! on the way of a request; its results are published (`AddressBook`, `HealthBoard`).
//!
//! A host has a name, which is configured, and an id, which is drawn and lost with its metadata. A host that comes back
//! empty under its name has another id: it takes over the places (node ids) of the one before, and is filled again. One
//! that has its drives and has lost its metadata has another id too, and keeps its drives with their shards.

mod address_book;
mod founding;
#[cfg(any(test, fuzzing))]
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
pub use voters::{VoterKeeper, choose_voters};

#[cfg(test)]
mod tests;
