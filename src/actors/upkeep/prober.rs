//! `Prober`: asks nodes in trouble, in the background, whether they answer again, so that no request has to find out. Owns
//! the probes under way, one a node; what each finds is told to `Suspects` as it comes, and none waits for another.

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

/// The actor that probes.
pub type Prober = Background<Probing>;

/// The interval between checks for nodes to be probed.
const LOOK_EVERY: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub struct Probing {
    context: ClusterContext,
    probes: FuturesUnordered<LocalBoxFuture<'static, (NodeId, Result<(), PeerError>)>>,
    /// The nodes that they ask.
    asked: BTreeSet<NodeId>,
}

impl Probing {
    pub fn new(context: ClusterContext) -> Self {
        Self { context, probes: FuturesUnordered::new(), asked: BTreeSet::new() }
    }

    /// Probes all nodes that are due, at once, and takes the answers until none is outstanding; how many it began with.
    /// Given up before its end, it has begun them all the same, and the answers are taken by the next.
    pub async fn advance(&mut self) -> usize {
        let begun = self.begin();
        while let Some((node, answer)) = self.probes.next().await {
            self.asked.remove(&node);
            let found = answer.map_err(|error| error.to_string());
            self.context.suspects.probed(node, found, self.context.ambient.clock.monotonic());
        }
        begun
    }

    /// Nodes that were taken out of the store are forgotten.
    fn begin(&mut self) -> usize {
        let now = self.context.ambient.clock.monotonic();
        let ring = self.context.ring.current();
        let (due, removed): (Vec<NodeId>, Vec<NodeId>) =
            self.context.suspects.due(now).into_iter().partition(|&node| ring.host_of(node).is_some());
        self.context.suspects.forget(&removed, now);
        let before = self.probes.len();
        for node in due {
            if self.asked.insert(node) {
                self.probes.push(probe(self.context.clone(), node).boxed_local());
            }
        }
        self.probes.len() - before
    }
}

/// Asks for the least that a node can be asked for.
async fn probe(context: ClusterContext, node: NodeId) -> (NodeId, Result<(), PeerError>) {
    let asking = async { context.peer(node).await?.count_chunks(node, Vec::new()).await };
    let answer = timeout(PROBE_WAIT_MAX, asking).await.unwrap_or(Err(PeerError::TimedOut(node)));
    (node, answer.map(drop))
}

impl Chore for Probing {
    async fn step(&mut self) -> Duration {
        match timeout(LOOK_EVERY, self.advance()).await {
            Ok(_) => LOOK_EVERY,
            // Some are silent; others may have become due meanwhile.
            Err(_) => Duration::ZERO,
        }
    }
}
