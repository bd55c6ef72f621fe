//! Files and what is in them: the disk, the logs, the shard index, erasure coding, placement arithmetic, the metadata state
//! machine. No actors, no sockets, no words of S3's protocol. Everything here runs under a simulated disk and clock.

pub mod buffer;
pub mod checksum;
pub mod disk;
pub mod erasure;
pub mod identity;
pub mod kv;
pub mod liveness;
pub mod meta;
pub mod raft_log;
pub mod ring;
pub mod sealing;
pub mod shard_index;
pub mod stripe;
pub mod wal;
