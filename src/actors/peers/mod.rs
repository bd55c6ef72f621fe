//! The state by which requests find nodes: the current ring, the connections to hosts, the nodes in trouble, and the
//! recent read latencies. Requests read it from snapshots and shared tables, without a message to an actor.

mod connection_pool;
mod dial;
mod groups;
mod hash_ring;
mod pooled;
mod read_latencies;
mod suspects;

pub use connection_pool::{ConnectionPool, Peers};
pub use dial::{Dial, DialError, HostAddresses, PipeDialer, QuicDialer};
pub use hash_ring::{HashRing, LayoutChanged, LayoutRefused, RingReader};
pub use read_latencies::ReadLatencies;
pub use suspects::{Doubts, Suspects, Trust, nodes_beside};

#[cfg(test)]
mod tests;
