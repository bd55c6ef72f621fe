//! How requests find nodes: the ring in force, the connections to hosts, and who was late not long ago. Each is published as
//! a snapshot; a request reads it and asks nobody.

mod connection_pool;
mod dial;
mod groups;
mod hash_ring;
mod late_nodes;
mod pooled;

pub use connection_pool::{ConnectionPool, PeerFor, PeerLost, Peers};
pub use dial::{Dial, DialError, HostAddresses, PipeDialer, QuicDialer};
pub use hash_ring::{HashRing, LayoutChanged, LayoutRefused, RingReader};
pub use late_nodes::LateNodes;

#[cfg(test)]
mod tests;
