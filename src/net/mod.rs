//! Communication between hosts: the requests, the traits that serve them, and the transports. This layer has no actors
//! and no storage: `actors` implements `NodeService`, and `host` joins the two. `FORMAT.md` describes the bytes on the
//! wire.

mod acme;
mod fetch;
mod frame;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod greeting;
mod group;
mod identity;
mod pace;
mod pipe;
mod post;
mod protocol;
mod quic;
mod service;
mod tls;

pub use acme::{AccountKey, AcmeClient, AcmeError, ChallengeAnswers, Issued};
pub use fetch::Fetcher;
pub use frame::{VersionRange, WireVersion};
pub use greeting::{Greeting, Refusal};
pub use group::{GroupError, GroupTransport, NoOtherHosts, decode_body, encode_body};
pub use identity::HostIdentity;
pub use pipe::{NoGroups, Peer, ServedHost, pipe};
pub use post::{PostError, PostSetupError, Poster, client_config};
pub use quic::{ConnectError, QuicClient, QuicOptions, QuicServer, RemoteHost, StartError};
pub use service::{
    AppendChunks, ChunkFault, ChunksRead, GroupCall, GroupService, HostService, InventoryPage, NodeService, PeerError,
    ReadChunks,
};
pub use tls::TlsError;
