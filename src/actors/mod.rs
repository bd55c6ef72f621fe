//! The actors of a host, and what stands between them. Each owns its state and shares none of it; what many read is
//! published as a snapshot (the ring, the connections, health), so that nobody is asked per request. Bytes of objects never
//! travel in messages to the actors at the top: they go from the request's task to the log writers.
//!
//! ```text
//!  api ──► gateway ──AdmitPut/AdmitGet──► frontend (S3Frontend: permits)
//!             │
//!             ├─ put_task: receive ► hash, encode ► append to k+m nodes ► propose the manifest
//!             └─ get_task: look up ► read k chunks of each stripe, parity where one is late or bad ► verify ► send
//!                  │        │                                     │
//!                  │        └─ meta: consensus (ConsensusApply: batches, applies)
//!                  │                    └─ mirror: the Raft log on m+1 drives ──► log
//!                  ▼
//!             peers (HashRing ·published·, ConnectionPool ·published·) ──► net (pipe to this host, QUIC to others)
//!                  ▼
//!             drives (LocalNode: index and log of each drive; DriveMonitor publishes health)
//!                  ▼
//!             log (WalWriter ──SyncThrough──► Syncer; ──PrepareSegment──► SegmentAllocator), one set a log
//!
//!  membership (founding, joining, voters, the watch that publishes how other hosts' nodes are)
//!
//!  in the background, in small steps that give way to users:
//!  upkeep (Compactor a drive, Reclaimer), healer (Healer) and mover (Mover), over the same nodes and metadata
//! ```

pub mod consensus;
pub mod drives;
pub mod frontend;
pub mod gateway;
pub mod get_task;
pub mod healer;
pub mod log;
pub mod membership;
pub mod mover;
pub mod peers;
pub mod put_task;
pub mod request;
pub mod upkeep;

pub use drives::health;

/// The metadata's records and changes, as the API speaks of them.
pub mod meta {
    pub use super::consensus::{MetaError, MetaHandle};
    pub use crate::storage::kv::KvError;
    pub use crate::storage::meta::command::{
        Change, CompleteUpload, CompletedPart, CreateUpload, ETagCondition, Refusal, Reply, WriteConditions,
    };
    pub use crate::storage::meta::record::{
        Body, BucketRecord, Checksum, ChecksumAlgorithm, ChecksumKind, ETag, Manifest, ObjectHeaders, PartRow,
        UploadRecord,
    };
    pub use crate::storage::meta::view::{ListPage, ListQuery, Listed, MetaView};
}
