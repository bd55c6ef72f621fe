//! The JSON of the admin API for the accounts and buckets with the most traffic.

use super::jobs::HostAnswer;
use serde::{Deserialize, Serialize};

/// The traffic of all hosts that answer. Counts are lower bounds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopJson {
    pub accounts: TopOfKindJson,
    pub buckets: TopOfKindJson,
    pub hosts: Vec<HostAnswer>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopOfKindJson {
    pub minute: RankedJson,
    pub five_minutes: RankedJson,
}

/// The heaviest accounts or buckets, in two orders.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RankedJson {
    pub by_requests: Vec<HeavyJson>,
    pub by_bytes: Vec<HeavyJson>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeavyJson {
    pub name: String,
    pub requests: u64,
    /// The bytes received and sent.
    pub bytes: u64,
}
