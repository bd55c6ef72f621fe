//! `Prober`: asks nodes in trouble, in the background, whether they answer again, so that no request has to find out. Owns
//! nothing; what it finds is told to `Suspects`.

use super::background::{Background, Chore};
use super::context::ClusterContext;
use crate::limits::PROBE_WAIT_MAX;
use crate::net::PeerError;
use crate::types::NodeId;
use futures::future::join_all;
use std::time::Duration;
use tokio::time::timeout;

/// The actor that probes.
pub type Prober = Background<Probing>;

/// How often it looks for nodes to be probed.
const LOOK_EVERY: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub struct Probing {
    context: ClusterContext,
}

impl Probing {
    pub fn new(context: ClusterContext) -> Self {
        Self { context }
    }

    /// Probes all nodes that are due, at once; how many. Those that were taken out of the store are forgotten.
    pub async fn advance(&self) -> usize {
        let now = self.context.ambient.clock.monotonic();
        let ring = self.context.ring.current();
        let (due, removed): (Vec<NodeId>, Vec<NodeId>) =
            self.context.suspects.due(now).into_iter().partition(|&node| ring.host_of(node).is_some());
        self.context.suspects.forget(&removed, now);
        let probes = due.iter().map(|&node| async move { (node, self.probe(node).await) });
        for (node, answer) in join_all(probes).await {
            let found = answer.map_err(|error| error.to_string());
            self.context.suspects.probed(node, found, self.context.ambient.clock.monotonic());
        }
        due.len()
    }

    /// Asks for the least that a node can be asked for.
    async fn probe(&self, node: NodeId) -> Result<(), PeerError> {
        let asking = async { self.context.peer(node).await?.count_chunks(node, Vec::new()).await };
        timeout(PROBE_WAIT_MAX, asking).await.unwrap_or(Err(PeerError::TimedOut(node))).map(drop)
    }
}

impl Chore for Probing {
    async fn step(&mut self) -> Duration {
        self.advance().await;
        LOOK_EVERY
    }
}
