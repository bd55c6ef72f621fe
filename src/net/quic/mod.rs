//! The transport between hosts over QUIC. It is always encrypted, and each side proves that it knows the cluster's
//! secret (N1). There is one connection for each peer and direction, and one bidirectional stream for each request.

mod client;
mod counts;
mod endpoint;
mod events;
mod handshakes;
mod server;
mod stream;
mod traffic;
mod words;

pub use client::{ConnectError, QuicClient, RemoteHost};
pub use endpoint::{QuicOptions, StartError};
pub use server::QuicServer;

#[cfg(test)]
mod tests;
