//! The foundations of delivery: the queues of events, which the metadata keeps, and the sinks that take them.

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

/// Rows of a webhook's queue, in order.
#[derive(Clone, Debug, Default)]
pub struct QueuePage {
    pub rows: Vec<EventRow>,
    /// The number of the last event that happened, for whomever.
    pub newest: u64,
}

/// The events that each webhook is to be told of, in the order in which their changes were committed. They survive
/// restarts and are the same on every host.
#[async_trait]
pub trait EventQueue: Debug + Send + Sync + 'static {
    /// Returns whether this host is the one that delivers.
    fn delivers(&self) -> bool;

    /// Rows for a webhook after this one, at most so many.
    async fn next(&self, target: &str, after: u64, limit: usize) -> Result<QueuePage, UpkeepError>;

    /// Removes the events of a webhook up to this one, which were delivered; of very many the oldest.
    async fn finish(&self, target: &str, through: u64) -> Result<(), UpkeepError>;
}

/// The queues in the metadata. Whoever leads its group delivers.
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
    fn delivers(&self) -> bool {
        self.context.metadata.is_leader()
    }

    async fn next(&self, target: &str, after: u64, limit: usize) -> Result<QueuePage, UpkeepError> {
        let target = target.to_owned();
        let look_up = self.context.look_up(move |view| {
            let rows = view.events(&target, after, limit)?;
            Ok(QueuePage { rows, newest: view.counts()?.events_ever })
        });
        look_up.await
    }

    async fn finish(&self, target: &str, through: u64) -> Result<(), UpkeepError> {
        self.context.metadata.propose(Change::FinishEvents { target: target.to_owned(), through }).await?;
        Ok(())
    }
}

/// A message for a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The same each time that it is sent, so that who hears it twice can tell.
    pub id: String,
    /// JSON.
    pub body: Bytes,
}

/// The reason for which a message was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SinkFault {
    /// The target cannot be reached or cannot take anything: the message may be tried for as long as it takes.
    #[error("it is not reached: {why}")]
    Unreachable { why: String },
    /// The message is refused; another may be taken.
    #[error("it refuses the message: {why}")]
    Refused { why: String },
}

/// Takes messages. Messages that are sent at once may arrive in any order.
#[async_trait]
pub trait EventSink: Debug + Send + Sync + 'static {
    async fn send(&self, message: &Message) -> Result<(), SinkFault>;
}

/// A webhook.
#[derive(Clone, Debug)]
pub struct Target {
    pub sink: Arc<dyn EventSink>,
    /// The greatest lag of a webhook that does not answer, in events of the whole store, before it misses the oldest.
    pub queue_limit: u64,
}

/// The webhooks that there are, by name. Cheap to clone.
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

    /// Returns those of the matches whose webhook exists: an unknown webhook gets no queue, since nobody would ever
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
