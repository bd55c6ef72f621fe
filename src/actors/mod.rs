//! The actors of a host, and the tasks and snapshots between them. An actor owns its state and shares none of it. State
//! that every request reads (the ring, the connections, health) is published as a snapshot, so that no request asks an
//! actor for it. Bytes of objects never travel in messages to the actors at the top: they go from the request's task to
//! the log writers.
//!
//! ```text
//!  api ──► gateway ──Admit──► frontend (S3Frontend: permits; small requests take theirs from a reserve)
//!             │
//!             ├─ put_task: receive ► hash, encode ► append to k+m nodes ► propose the manifest
//!             └─ get_task: look up ► gather k verified chunks of each stripe ► decode missing ones ► send
//!                  │        │                                     │
//!                  │        └─ meta: consensus (ConsensusApply: batches, applies)
//!                  │                    └─ mirror: the Raft log on m+1 drives ──► log
//!                  ▼
//!             peers (HashRing ·published·, ConnectionPool ·published·) ──► net (pipe to this host, QUIC to others)
//!                  ▼
//!             drives (LocalNode: index and log of each drive; DriveMonitor publishes health)
//!                  ▼
//!             log (WalWriter ──SyncThrough──► Syncer; ──PrepareSegment──► SegmentAllocator), one set for each log
//!
//!  membership (founding, joining, voters, the watch that publishes the health of other hosts' nodes)
//!  jobs (repairs, scrubs and moves of all hosts, for operators), traffic (accounts and buckets with the most of it)
//!
//!  in the background, in small steps that give way to users:
//!  upkeep (a Compactor for each drive, Reclaimer, Fencer, Prober), healer (Healer) and mover (Mover), over these nodes and metadata;
//!  growth (Sampler: the size of the store, hour by hour);
//!  for buckets: events (a Deliverer for each webhook, the AccessLogger) and lifecycle (Lifecycle);
//!  for operators: audit (an AuditLogger for each destination), traces (the spans of requests, to a collector)
//! ```

pub mod audit;
pub mod consensus;
pub mod documents;
pub mod drives;
pub mod events;
pub mod frontend;
pub mod gateway;
pub mod get_task;
pub mod growth;
pub mod healer;
pub mod jobs;
pub mod lifecycle;
pub mod log;
pub mod membership;
pub mod mover;
pub mod peers;
pub mod put_task;
pub mod request;
pub mod traces;
pub mod traffic;
pub mod upkeep;

pub use drives::health;

/// The records and changes of the metadata that the API uses.
pub mod meta {
    pub use super::consensus::{MetaError, MetaHandle};
    pub use crate::storage::checksum::checksum_of;
    pub use crate::storage::kv::KvError;
    pub use crate::storage::meta::command::{
        Change, ChangeTraits, CompleteUpload, CompletedPart, CopyVersion, CreateBucket, CreateUpload, DeleteConditions,
        DeleteEvents, DeleteVersion, Deletion, ETagCondition, Refusal, RenameObject, RenameSource, RenameToken, Reply,
        TooLarge, TraitsChange, WriteConditions,
    };
    pub use crate::storage::meta::configuration::ConfigurationVersion;
    pub use crate::storage::meta::listing::{ListPage, ListQuery, Listed, ListedVersion, VersionsPage};
    pub use crate::storage::meta::record::{
        Acl, Body, BucketDocument, BucketRecord, BucketRow, BucketSettings, Checksum, ChecksumAlgorithm, ChecksumKind,
        DefaultRetention, DeleteMarker, DocumentKey, DocumentRow, DocumentWrite, ETag, EventDraft, EventRow, Expect,
        Grant, Grantee, IdentityKind, Manifest, ObjectHeaders, ObjectLock, ObjectVersion, PartRow, Permission, Pick,
        Quota, QuotaChange, Retention, RetentionMode, RetentionPeriod, Traits, UploadRecord, UploadRow, Usage, Version,
        VersionRow, Versioning,
    };
    pub use crate::storage::meta::view::MetaView;
}

/// The encryption of objects (SSE), as far as the API uses it.
pub mod sealing {
    pub use crate::storage::sealing::{
        CustomerKey, DataKey, KMS_DEFAULT_KEY, KeyDescription, KeyDocuments, KeyPath, KeyStore, KmsWanted, Layout,
        NamedKey, RootKeys, SSE_S3_KEY, SealedObject, Sealing, SealingError, SealingMode, Secret, Wanted, WrappedKey,
        alias_document, alias_target, is_key_name,
    };
}
