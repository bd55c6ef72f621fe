//! The JSON of the admin API for the accounts and buckets with the most traffic.

use super::jobs::HostAnswer;
use serde::{Deserialize, Serialize};

/// The traffic of all hosts that answer. Counts are lower bounds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopShown {
    pub accounts: TopOfKindShown,
    pub buckets: TopOfKindShown,
    pub hosts: Vec<HostAnswer>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopOfKindShown {
    pub minute: RankedShown,
    pub five_minutes: RankedShown,
}

/// The heaviest accounts or buckets, in two orders.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RankedShown {
    pub by_requests: Vec<HeavyShown>,
    pub by_bytes: Vec<HeavyShown>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeavyShown {
    pub name: String,
    pub requests: u64,
    /// The bytes received and sent.
    pub bytes: u64,
}
