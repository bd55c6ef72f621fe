//! How hosts reach each other's drives: the requests, the trait that serves them, and the transports. No actors, no
//! storage: `actors` implements `NodeService`, and `node` joins the two.

mod pipe;
mod service;

pub use pipe::{Peer, pipe};
pub use service::{AppendChunks, ChunkFault, ChunksRead, InventoryPage, NodeService, PeerError, ReadChunks};
