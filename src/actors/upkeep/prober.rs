//! `Prober`: the chore that probes nodes in trouble, so that no request has to find out whether they answer again. Owns
//! the probes under way, one for each node. Each result is reported to `Suspects` as it arrives; no probe waits for
//! another.

use super::background::{Background, Chore};
use super::context::ClusterContext;
use crate::limits::PROBE_WAIT_MAX;
use crate::net::PeerError;
use crate::types::NodeId;
use futures::future::{FutureExt, LocalBoxFuture};
use futures::stream::{FuturesUnordered, StreamExt};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::timeout;

pub type Prober = Background<Probing>;

/// The interval between checks for nodes to be probed.
const LOOK_EVERY: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub struct Probing {
    context: ClusterContext,
    probes: FuturesUnordered<LocalBoxFuture<'static, (NodeId, Result<(), PeerError>)>>,
    /// The nodes with a probe under way.
    in_flight: BTreeSet<NodeId>,
}

impl Probing {
    pub fn new(context: ClusterContext) -> Self {
        Self { context, probes: FuturesUnordered::new(), in_flight: BTreeSet::new() }
    }

    /// Probes all nodes that are due, concurrently, until every probe has ended. Returns the number of probes it began.
    /// Safe to cancel: the next call continues the probes under way.
    pub async fn advance(&mut self) -> usize {
        let begun = self.begin();
        while let Some((node, answer)) = self.probes.next().await {
            self.in_flight.remove(&node);
            let found = answer.map_err(|error| error.to_string());
            self.context.suspects.probed(node, found, self.context.ambient.clock.monotonic());
        }
        begun
    }

    /// Begins the probes that are due, and forgets nodes that are no longer in the ring.
    fn begin(&mut self) -> usize {
        let now = self.context.ambient.clock.monotonic();
        let ring = self.context.ring.current();
        let (due, removed): (Vec<NodeId>, Vec<NodeId>) =
            self.context.suspects.due(now).into_iter().partition(|&node| ring.host_of(node).is_some());
        self.context.suspects.forget(&removed, now);
        let before = self.probes.len();
        for node in due {
            if self.in_flight.insert(node) {
                self.probes.push(probe(self.context.clone(), node).boxed_local());
            }
        }
        self.probes.len() - before
    }
}

/// Sends the smallest request to a node: a count of the chunks of no shards.
async fn probe(context: ClusterContext, node: NodeId) -> (NodeId, Result<(), PeerError>) {
    let asking = async { context.peer(node).await?.count_chunks(node, Vec::new()).await };
    let answer = timeout(PROBE_WAIT_MAX, asking).await.unwrap_or(Err(PeerError::TimedOut(node)));
    (node, answer.map(drop))
}

impl Chore for Probing {
    async fn step(&mut self) -> Duration {
        match timeout(LOOK_EVERY, self.advance()).await {
            Ok(_) => LOOK_EVERY,
            // Probes are still under way, and further nodes may have become due.
            Err(_) => Duration::ZERO,
        }
    }
}
