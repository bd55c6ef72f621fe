//! Everything about stored data: the disk, the logs, the shard index, erasure coding, placement arithmetic, and the
//! metadata state machine. This layer has no actors, no sockets, and nothing of the S3 protocol. All of it also runs on
//! a simulated disk and under a simulated clock.

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
