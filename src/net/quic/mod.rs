//! The transport between hosts: QUIC, always encrypted, each side proving that it knows the cluster's secret (N1). One
//! connection a peer and direction, one bidirectional stream a request.

mod client;
mod endpoint;
mod events;
mod server;
mod stream;
mod traffic;
mod words;

pub use client::{ConnectError, QuicClient, RemoteHost};
pub use endpoint::{QuicOptions, StartError};
pub use server::QuicServer;

#[cfg(test)]
mod tests;
