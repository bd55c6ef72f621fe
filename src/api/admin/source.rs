//! The interface between the admin API and the host: queries that it answers, and commands that it executes.

use super::jobs::{ChooseScrub, HealStatus, Ordered, ScrubStatus};
use super::shapes::{
    BucketUsageJson, ChangeLayout, ClockJson, DriveAdded, DriveReplaced, Info, LayoutChanged, LayoutJson, LeaderMoved,
    QuotaJson, SetQuota, ShardJson, UnknownDropped,
};
use super::top::TopJson;
use crate::api::{DriveHealth, HealthSource, StopSafety};
use bytes::Bytes;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// The request is invalid; retrying does not help.
    #[error("{0}")]
    Refused(String),
    /// The request cannot be answered now; retrying later may help.
    #[error("{0}")]
    Unavailable(String),
}

/// A page of shards, and the cursor of the next page, which only the source interprets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardsPage {
    pub shards: Vec<ShardJson>,
    pub next: Option<Vec<u8>>,
}

/// A consistent copy of all metadata, as a file.
#[async_trait::async_trait]
pub trait MetadataCopy: Send {
    /// Returns the next piece of the file; `None` after the last.
    async fn next(&mut self) -> Option<Result<Bytes, AdminError>>;
}

/// The functions of a host that the admin API offers. Each returns within a bounded time.
#[async_trait::async_trait]
pub trait AdminSource: HealthSource {
    async fn info(&self) -> Result<Info, AdminError>;

    async fn layout(&self) -> Result<LayoutJson, AdminError>;

    async fn change_layout(&self, change: ChangeLayout) -> Result<LayoutChanged, AdminError>;

    /// Returns the state of repairs of one host, by name or id, or of all hosts that have drives.
    async fn heal_status(&self, host: Option<&str>) -> Result<HealStatus, AdminError>;

    /// Returns whether a host, by name or id, may be stopped now.
    async fn safe_to_stop(&self, host: &str) -> Result<StopSafety, AdminError>;

    /// Starts the comparison of all drives of a host, or of all hosts, with the metadata.
    async fn start_heal(&self, host: Option<&str>) -> Result<Ordered, AdminError>;

    /// Returns the state of scrub of each drive of a host, or of all hosts.
    async fn scrub_status(&self, host: Option<&str>) -> Result<ScrubStatus, AdminError>;

    /// Starts a scrub pass over these drives.
    async fn start_scrub(&self, chosen: ChooseScrub) -> Result<Ordered, AdminError>;

    /// Ends the scrub passes that are under way over these drives.
    async fn stop_scrub(&self, chosen: ChooseScrub) -> Result<Ordered, AdminError>;

    /// Returns the accounts and buckets with the most traffic, on a host or on all hosts.
    async fn top(&self, host: Option<&str>) -> Result<TopJson, AdminError>;

    async fn move_leader(&self, to: Option<String>) -> Result<LeaderMoved, AdminError>;

    async fn clock(&self) -> Result<ClockJson, AdminError>;

    /// Sets the confirmed time to this host's clock, if that is still about `time_ms`.
    async fn accept_clock(&self, time_ms: u64) -> Result<ClockJson, AdminError>;

    /// Makes an empty directory of this host a further drive.
    async fn add_drive(&self, directory: &str) -> Result<DriveAdded, AdminError>;

    /// Replaces a drive of this host by the empty directory at the drive's path.
    async fn replace_drive(&self, node: u32) -> Result<DriveReplaced, AdminError>;

    /// Returns the drives of all hosts.
    fn drives(&self) -> Vec<DriveHealth>;

    /// Returns every bucket with its usage, sorted by name.
    async fn buckets(&self) -> Result<Vec<BucketUsageJson>, AdminError>;

    async fn quota(&self, bucket: &str) -> Result<QuotaJson, AdminError>;

    /// Sets a bucket's quota; returns the quota as it is afterwards.
    async fn set_quota(&self, bucket: &str, asked: SetQuota) -> Result<QuotaJson, AdminError>;

    /// Returns a copy of all metadata as of now.
    async fn export_metadata(&self) -> Result<Box<dyn MetadataCopy>, AdminError>;

    /// Allows the shards that a recovery left without metadata to be dropped.
    async fn drop_unknown_shards(&self) -> Result<UnknownDropped, AdminError>;

    /// Returns a page of the shards that must exist, in order of blob and shard.
    async fn shards(&self, cursor: Option<Vec<u8>>) -> Result<ShardsPage, AdminError>;
}
