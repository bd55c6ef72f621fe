//! Communication between the replicas of a group: the encoding of their messages, sending and serving them. The
//! cluster's transport (`net::GroupTransport`) carries the bytes.

mod client;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod hearing;
mod incoming;
mod link;
mod messages;
mod server;

pub use client::Peers;
pub use hearing::{Hearing, Patience};
pub use incoming::remove_left_snapshots;
pub use link::Link;
pub use messages::{
    Compare, Compared, Forward, ForwardOutcome, Forwarded, Kind, ReadAt, ReadIndex, ReplicaState, Steer, Steered,
    decode, decode_plain, encode, encode_plain,
};
#[cfg(test)]
pub use messages::{InstallSnapshot, Installing, PieceTaken, SnapshotPiece};
pub use server::Server;
