//! Bucket notifications, and the reports that the store itself writes into buckets. Notifications: the rules of buckets
//! (`rules`, `names`, `target`), the choice of webhooks for a change that takes a while (`pending`), the messages
//! (`record`), and the delivery from the queues in the metadata to webhooks (`queue`, `window`, `deliverer`,
//! `webhook`). Reports: access logs (`access_log`) and inventories (`inventory`).
//!
//! ```text
//!  a change with a draft ──► a row in the queue of each matching webhook (metadata, in commit order)
//!                                 │ next, finish
//!                    one Deliverer for each webhook ──► Webhook ──POST──► outside
//! ```

pub mod access_log;
mod deliverer;
pub mod inventory;
mod names;
mod pending;
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
pub use pending::{PendingEvent, draft_now};
pub use queue::{EventQueue, EventSink, Message, MetadataQueue, QueuePage, SinkFault, Target, Targets};
pub use record::{EventContext, EventSource, draft, test_message};
pub use rules::{FILTER_BYTES_MAX, KeyFilter, Match, NotificationRule, NotificationRules, RULES_MAX, RulesFault};
pub use target::{EVENT_BRIDGE, TargetArn, TargetKind, webhook_name};
pub use webhook::Webhook;

use async_trait::async_trait;
use bytes::Bytes;
use std::fmt::Debug;

/// An object that the store itself writes into a bucket: an access log or a file of an inventory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub bucket: String,
    /// The owner that the bucket must have: it may be another bucket of the name by now.
    pub owner: String,
    pub key: String,
    pub content_type: &'static str,
    pub body: Bytes,
    /// The grants to others than the bucket's owner, who owns the object.
    pub grants: Vec<access_log::LogGrant>,
}

/// The reason why a report was not written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot write a report: {why}")]
pub struct ReportError {
    pub why: String,
}

/// Writes reports into buckets.
#[async_trait]
pub trait ReportStore: Debug + Send + Sync + 'static {
    async fn put(&self, report: &Report) -> Result<(), ReportError>;
}
