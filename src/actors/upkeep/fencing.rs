//! `Fencer`: the chore that raises the fence, so that shards of unknown blobs below it are known to be orphans. Owns
//! the time of the next round, and the list of hosts that do not answer.
//!
//! Only the leader's host raises the fence: to the oldest write under way on any host, and to an hour ago at most. It
//! queries each host, which agrees to draw no id below the new fence. So a write of a host that answers is never fenced
//! off, however long the write takes and whatever the host's clock says. A host that does not answer holds the fence
//! back for a day of the monotonic clock. After that, the writes that it still has under way are refused, and clients
//! can repeat them.
//!
//! A host that was not queried, because it restarted or could not be reached, looks the fence up before it draws an id
//! (`RequestContext::begin_write`).

use super::background::{Background, Chore};
use super::context::{ClusterContext, UpkeepError};
use super::oldest_under_way::{OtherHosts, oldest_write, other_hosts};
use crate::storage::meta::command::Change;
use crate::types::{BlobId, UnixMs};
use std::time::Duration;

pub type Fencer = Background<Fencing>;

#[derive(Clone, Copy, Debug)]
pub struct FencingOptions {
    /// The interval between checks whether this host leads.
    pub idle: Duration,
    /// The interval between rounds on the leader's host.
    pub every: Duration,
    /// The least distance of the fence behind the wall clock. It protects writes of hosts that are not registered yet
    /// and therefore not queried.
    pub behind: Duration,
    /// The time after which a host that does not answer no longer holds the fence back.
    pub silence_max: Duration,
}

impl Default for FencingOptions {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(5),
            every: Duration::from_secs(600),
            behind: Duration::from_secs(3600),
            silence_max: Duration::from_secs(24 * 3600),
        }
    }
}

/// The outcome of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fenced {
    /// No blob below this id is adopted any more.
    Below(BlobId),
    /// A host that does not answer holds the fence back.
    Waiting,
}

#[derive(Debug)]
pub struct Fencing {
    context: ClusterContext,
    options: FencingOptions,
    others: OtherHosts,
    next: Duration,
    /// The term in which this host led last. Within a term no other host leads, so one that looks away for a while goes
    /// on counting the silence of others.
    term: Option<u64>,
}

impl Fencing {
    pub fn new(context: ClusterContext, options: FencingOptions) -> Self {
        Self { context, options, others: OtherHosts::default(), next: Duration::ZERO, term: None }
    }

    /// Makes one round, on the host that leads.
    pub async fn advance(&mut self) -> Result<Fenced, UpkeepError> {
        let (fence, registered) = self.context.look_up(|view| Ok((view.fence()?, view.hosts()?))).await?;
        let behind_ms = u64::try_from(self.options.behind.as_millis()).unwrap_or(u64::MAX);
        let wanted = UnixMs(self.context.ambient.clock.unix_ms().0.saturating_sub(behind_ms));
        // If the wall clock is behind the fence, the fence rises by a millisecond each round, above all earlier writes.
        let floor = wanted.max(fence.next_time()).min(BlobId::TIME_MAX);
        let mut below = self.context.writes.settle(floor);
        let hosts = other_hosts(&self.context, &registered).into_iter().collect();
        for (host, answer) in self.others.ask(&self.context, hosts, |peer| oldest_write(peer, floor)).await {
            match answer {
                Ok(oldest) => below = below.min(oldest),
                Err(silent) if silent < self.options.silence_max => {
                    tracing::debug!(host = host.0, "a host that does not answer holds back the fence");
                    return Ok(Fenced::Waiting);
                }
                Err(_) => {}
            }
        }
        // The answers may be above `floor`, because hosts may have agreed to a higher floor before.
        let below = below.min(BlobId::first_of(floor));
        if below > fence {
            self.context.metadata.propose(Change::RaiseFence { below }).await?;
        }
        Ok(Fenced::Below(below.max(fence)))
    }
}

impl Chore for Fencing {
    async fn step(&mut self) -> Duration {
        let now = self.context.ambient.clock.monotonic();
        let Some(term) = self.context.metadata.lead() else { return self.options.idle };
        if self.term.replace(term) != Some(term) {
            // The silence of other hosts counts from the first round of this lead on.
            (self.others, self.next) = (OtherHosts::default(), Duration::ZERO);
        }
        if now >= self.next {
            self.next = now + self.options.every;
            if let Err(error) = self.advance().await {
                tracing::warn!(%error, "cannot raise the fence of new blobs");
            }
        }
        self.options.idle
    }
}
