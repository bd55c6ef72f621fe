//! The two ends of event delivery: the queues of events in the metadata (`EventQueue`), and the webhooks that take
//! messages (`EventSink`, `Targets`).

use super::rules::Match;
use super::target::webhook_name;
use crate::actors::upkeep::{ClusterContext, UpkeepError};
use crate::storage::meta::command::Change;
use crate::storage::meta::record::EventRow;
use async_trait::async_trait;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

/// The greatest number of rows that a look at a queue counts.
pub const COUNTED_MAX: usize = 10_000;

/// The part of a webhook's queue to look at.
#[derive(Clone, Copy, Debug)]
pub struct QueueRange {
    /// The position after which to read.
    pub after: u64,
    /// The greatest number of rows to read.
    pub limit: usize,
    /// The position after which to count. It is not before `after`.
    pub count_after: u64,
}

/// A look at a webhook's queue.
#[derive(Clone, Debug, Default)]
pub struct QueuePage {
    /// The rows read, in order of position.
    pub rows: Vec<EventRow>,
    /// True if the queue has no rows after these.
    pub is_last: bool,
    /// The number of rows counted, those that were read among them; at most `COUNTED_MAX`.
    pub counted: usize,
    /// The position of the last row counted.
    pub counted_through: u64,
}

/// A queue of undelivered events for each webhook, in the order in which their changes were committed. The queues
/// survive restarts and are the same on every host.
#[async_trait]
pub trait EventQueue: Debug + Send + Sync + 'static {
    /// Returns the term in which this host delivers events; `None` if another one does. Between two terms another host
    /// may have removed events.
    fn term(&self) -> Option<u64>;

    async fn next(&self, target: &str, range: QueueRange) -> Result<QueuePage, UpkeepError>;

    /// Removes the events of a webhook up to and including position `through`.
    async fn finish(&self, target: &str, through: u64) -> Result<(), UpkeepError>;
}

/// The queues in the metadata. The host that leads delivers.
#[derive(Clone, Debug)]
pub struct MetadataQueue {
    context: ClusterContext,
}

impl MetadataQueue {
    pub fn new(context: ClusterContext) -> Self {
        Self { context }
    }
}

#[async_trait]
impl EventQueue for MetadataQueue {
    fn term(&self) -> Option<u64> {
        self.context.metadata.lead()
    }

    async fn next(&self, target: &str, range: QueueRange) -> Result<QueuePage, UpkeepError> {
        let target = target.to_owned();
        let look_up = self.context.look_up(move |view| {
            let rows = view.events(&target, range.after, range.limit)?;
            let (counted, counted_through) = view.count_events(&target, range.count_after, COUNTED_MAX)?;
            Ok(QueuePage { is_last: rows.len() < range.limit, rows, counted, counted_through })
        });
        look_up.await
    }

    async fn finish(&self, target: &str, through: u64) -> Result<(), UpkeepError> {
        // A change removes a bounded number of events, oldest first.
        loop {
            self.context.metadata.propose(Change::FinishEvents { target: target.to_owned(), through }).await?;
            let of = target.to_owned();
            let left = self.context.look_up(move |view| view.events(&of, 0, 1)).await?;
            if left.first().is_none_or(|oldest| oldest.seq > through) {
                return Ok(());
            }
        }
    }
}

/// A message for a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The same for each attempt, so that the receiver can recognise a message that comes twice.
    pub id: String,
    /// The content, in JSON.
    pub body: Bytes,
}

/// The reason why a message was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SinkFault {
    /// The target cannot be reached or accepts no messages now: the message is tried again without a limit.
    #[error("it cannot be reached or takes no messages: {why}")]
    Unreachable { why: String },
    /// The target refuses this message; it may accept another.
    #[error("it refuses the message: {why}")]
    Refused { why: String },
}

/// A receiver of messages. Messages that are sent concurrently may arrive in any order.
#[async_trait]
pub trait EventSink: Debug + Send + Sync + 'static {
    async fn send(&self, message: &Message) -> Result<(), SinkFault>;
}

/// A webhook for notifications.
#[derive(Clone, Debug)]
pub struct Target {
    pub sink: Arc<dyn EventSink>,
    /// The greatest number of events in the queue from the oldest undelivered one on. Beyond it the oldest are dropped.
    pub queue_limit: u64,
}

/// The configured webhooks, by name. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Targets {
    targets: Arc<BTreeMap<String, Target>>,
}

impl Targets {
    pub fn new(targets: impl IntoIterator<Item = (String, Target)>) -> Self {
        let named = |(name, target): (String, Target)| webhook_name(&name).map(|name| (name, target));
        Self { targets: Arc::new(targets.into_iter().filter_map(named).collect()) }
    }

    pub fn get(&self, name: &str) -> Option<&Target> {
        self.targets.get(name)
    }

    /// Keeps the matches whose webhook is configured. An unknown webhook gets no queue, since no deliverer would ever
    /// empty it.
    pub fn known(&self, matches: Vec<Match>) -> Vec<Match> {
        matches.into_iter().filter(|to| self.targets.contains_key(&to.target)).collect()
    }

    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Target)> {
        self.targets.iter().map(|(name, target)| (name.as_str(), target))
    }
}

#[cfg(test)]
mod tests {
    use super::{EventQueue, MetadataQueue, QueueRange};
    use crate::actors::events::tests::row;
    use crate::actors::request::test_world::World;
    use crate::storage::meta::command::{Change, PutObject};
    use crate::storage::meta::samples::put_empty;

    #[actix::test]
    async fn all_delivered_events_are_removed_however_many_there_are() {
        let world = World::new(2, 1);
        let queue = MetadataQueue::new(world.cluster());
        for id in 1..=2600 {
            let event = Some(row(0, "k", &["hook"]).draft);
            let put = PutObject { bucket: world.bucket, event, ..put_empty("k", id) };
            world.meta.apply(Change::PutObject(Box::new(put)));
        }
        let positions = async || {
            let page = queue.next("hook", QueueRange { after: 0, limit: 9999, count_after: 0 }).await.expect("read");
            page.rows.iter().map(|row| row.seq).collect::<Vec<u64>>()
        };
        let all = positions().await;
        assert_eq!(all.len(), 2600);
        queue.finish("hook", all[2500]).await.expect("removed");
        assert_eq!(positions().await, all[2501..]);
    }
}
