//! The source of the admin API's answers, which also carries out its orders.

use super::jobs::{ChooseScrub, HealStatus, Ordered, ScrubStatus};
use super::shapes::{
    BucketUsageShown, ChangeLayout, ClockShown, DriveAdded, DriveReplaced, Info, LayoutChanged, LayoutShown,
    LeaderMoved, QuotaShown, SetQuota, ShardShown, UnknownDropped,
};
use super::top::TopShown;
use crate::api::{DriveHealth, HealthSource, StopSafety};
use bytes::Bytes;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// The request is invalid; retrying does not help.
    #[error("{0}")]
    Refused(String),
    /// Try again later.
    #[error("{0}")]
    Unavailable(String),
}

/// A page of shards, and the start of the next; the cursor has a meaning for the source only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardsPage {
    pub shards: Vec<ShardShown>,
    pub next: Option<Vec<u8>>,
}

/// The metadata of one moment, as a file.
#[async_trait::async_trait]
pub trait MetadataCopy: Send {
    /// The next piece of it; none after the last.
    async fn next(&mut self) -> Option<Result<Bytes, AdminError>>;
}

/// A host, for its administrator. Every answer comes in bounded time.
#[async_trait::async_trait]
pub trait AdminSource: HealthSource {
    async fn info(&self) -> Result<Info, AdminError>;

    async fn layout(&self) -> Result<LayoutShown, AdminError>;

    async fn change_layout(&self, change: ChangeLayout) -> Result<LayoutChanged, AdminError>;

    /// Returns the state of healing of one host, by name or id, or of all that have drives.
    async fn heal_status(&self, host: Option<&str>) -> Result<HealStatus, AdminError>;

    /// Returns whether a host, by name or id, may be stopped now.
    async fn safe_to_stop(&self, host: &str) -> Result<StopSafety, AdminError>;

    /// Begins to compare all drives of a host, or of all, with the metadata.
    async fn start_heal(&self, host: Option<&str>) -> Result<Ordered, AdminError>;

    /// Returns the state of scrub of each drive of a host, or of all.
    async fn scrub_status(&self, host: Option<&str>) -> Result<ScrubStatus, AdminError>;

    /// Begins to verify these drives.
    async fn start_scrub(&self, chosen: ChooseScrub) -> Result<Ordered, AdminError>;

    /// Ends the passes over these drives that are under way.
    async fn stop_scrub(&self, chosen: ChooseScrub) -> Result<Ordered, AdminError>;

    /// Returns the accounts and buckets with the most traffic, of a host or of all.
    async fn top(&self, host: Option<&str>) -> Result<TopShown, AdminError>;

    async fn move_leader(&self, to: Option<String>) -> Result<LeaderMoved, AdminError>;

    async fn clock(&self) -> Result<ClockShown, AdminError>;

    /// Makes this host's clock the confirmed time. It must still say this, about.
    async fn accept_clock(&self, time_ms: u64) -> Result<ClockShown, AdminError>;

    /// Puts an empty directory of this host into service as a further drive.
    async fn add_drive(&self, directory: &str) -> Result<DriveAdded, AdminError>;

    /// Puts the empty directory in the place of a drive of this host into service as that drive.
    async fn replace_drive(&self, node: u32) -> Result<DriveReplaced, AdminError>;

    /// Returns the drives of all hosts.
    fn drives(&self) -> Vec<DriveHealth>;

    /// Returns every bucket with its usage, sorted by name.
    async fn buckets(&self) -> Result<Vec<BucketUsageShown>, AdminError>;

    async fn quota(&self, bucket: &str) -> Result<QuotaShown, AdminError>;

    /// The quota as it is then.
    async fn set_quota(&self, bucket: &str, asked: SetQuota) -> Result<QuotaShown, AdminError>;

    /// All metadata as it is now.
    async fn export_metadata(&self) -> Result<Box<dyn MetadataCopy>, AdminError>;

    /// Gives up the shards that a recovery left without metadata.
    async fn drop_unknown_shards(&self) -> Result<UnknownDropped, AdminError>;

    /// A page of the shards that must exist, in order of blob and shard.
    async fn shards(&self, cursor: Option<Vec<u8>>) -> Result<ShardsPage, AdminError>;
}
