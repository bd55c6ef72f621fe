//! `Fencer`: raises the fence of fresh blobs, without which shards that nothing refers to are never known to be orphans. Owns
//! the moment of the next round, and which hosts do not answer.
//!
//! Only the leader's host raises it: to the oldest write that is under way on any host, and at most to an hour ago. Each host is
//! asked, and agrees to draw no id below where the fence may come to be. So no write of a host that answers is ever fenced off,
//! however long it takes and whatever its host's clock says. One that does not answer holds the fence for a day of the
//! monotonic clock; the writes that it still has under way then are refused, and can be sent again.
//!
//! A host that was not asked, since it restarted or was not heard of, looks the fence up before it draws an id
//! (`RequestContext::begin_write`).

use super::background::{Background, Chore};
use super::context::{ClusterContext, UpkeepError};
use super::under_way::{OtherHosts, oldest_write, other_hosts};
use crate::storage::meta::command::Change;
use crate::types::{BlobId, UnixMs};
use std::time::Duration;

/// The actor that raises the fence.
pub type Fencer = Background<Fencing>;

#[derive(Clone, Copy, Debug)]
pub struct FencingOptions {
    /// The interval between checks whether this host leads.
    pub idle: Duration,
    /// The interval between rounds of the host that leads.
    pub every: Duration,
    /// The least distance of the fence behind the clock, for hosts that are not asked: they are not registered yet.
    pub behind: Duration,
    /// A host that has not answered for so long has no writes.
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
    /// A host does not answer, and did not long ago.
    Waiting,
}

#[derive(Debug)]
pub struct Fencing {
    context: ClusterContext,
    options: FencingOptions,
    others: OtherHosts,
    next: Duration,
}

impl Fencing {
    pub fn new(context: ClusterContext, options: FencingOptions) -> Self {
        Self { context, options, others: OtherHosts::default(), next: Duration::ZERO }
    }

    /// Makes one round, on the host that leads.
    pub async fn advance(&mut self) -> Result<Fenced, UpkeepError> {
        let (fence, registered) = self.context.look_up(|view| Ok((view.fence()?, view.hosts()?))).await?;
        let behind_ms = u64::try_from(self.options.behind.as_millis()).unwrap_or(u64::MAX);
        let wanted = UnixMs(self.context.ambient.clock.unix_ms().0.saturating_sub(behind_ms));
        // Where the clock is behind the fence, it rises by a millisecond a round: what was written before the round is below it.
        let floor = wanted.max(fence.next_time()).min(BlobId::TIME_MAX);
        let mut below = self.context.writes.settle(floor);
        let hosts = other_hosts(&self.context, &registered).into_iter().collect();
        for (host, answer) in self.others.ask(&self.context, hosts, |peer| oldest_write(peer, floor)).await {
            match answer {
                Ok(oldest) => below = below.min(oldest),
                Err(silent) if silent < self.options.silence_max => {
                    tracing::debug!(host = host.0, "the fence of fresh blobs waits for a host that does not answer");
                    return Ok(Fenced::Waiting);
                }
                Err(_) => {}
            }
        }
        // A host may have agreed to a higher floor before.
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
        if now >= self.next && self.context.metadata.is_leader() {
            self.next = now + self.options.every;
            if let Err(error) = self.advance().await {
                tracing::warn!(%error, "the fence of fresh blobs was not raised");
            }
        }
        self.options.idle
    }
}
