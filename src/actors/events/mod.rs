//! Events of objects. Notifications: rules of buckets (`rules`, `names`, `target`), the record of an event (`record`),
//! and the way from the queue in the metadata to webhooks (`queue`, `window`, `deliverer`, `webhook`). Beside them,
//! reports that the store writes into buckets about buckets: access logs (`access_log`) and inventories (`inventory`).
//!
//! ```text
//!  a change with a draft ──► a row in the queue of each webhook that is to be told (metadata, in commit order)
//!                                 │ next, finish
//!                    one Deliverer a webhook ──► Webhook ──POST──► outside
//! ```

pub mod access_log;
mod deliverer;
pub mod inventory;
mod names;
mod queue;
mod record;
mod rules;
mod target;
#[cfg(test)]
mod tests;
mod webhook;
mod window;

pub use deliverer::{Delivered, Deliverer, Delivery, DeliveryContext, DeliveryOptions, deliveries};
pub use names::{EventName, EventPattern};
pub use queue::{EventQueue, EventSink, Message, MetadataQueue, QueuePage, SinkFault, Target, Targets};
pub use record::{EventContext, EventSource, draft, test_message};
pub use rules::{FILTER_BYTES_MAX, KeyFilter, Match, NotificationRule, NotificationRules, RULES_MAX, RulesFault};
pub use target::{EVENT_BRIDGE, TargetArn, TargetKind, webhook_name};
pub use webhook::Webhook;

use async_trait::async_trait;
use bytes::Bytes;
use std::fmt::Debug;

/// An object that the store itself writes into a bucket: a log, an inventory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub bucket: String,
    pub key: String,
    pub content_type: &'static str,
    pub body: Bytes,
    /// The grants to others than the bucket's owner, who owns it.
    pub grants: Vec<access_log::LogGrant>,
}

/// The reason for which a report was not written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a report is not written: {why}")]
pub struct ReportError {
    pub why: String,
}

/// Puts reports into buckets.
#[async_trait]
pub trait ReportStore: Debug + Send + Sync + 'static {
    async fn put(&self, report: &Report) -> Result<(), ReportError>;
}
