//! `OwnJobs`: answers questions about the jobs of this host and carries out orders to them.

use super::messages::{Ask, JobAnswer, JobStatus, ScrubJob};
use crate::actors::drives::DriveList;
use crate::actors::drives::health::HealthBoard;
use crate::actors::healer::{HealerHandle, ScrubHandle};
use crate::actors::mover::MoverHandle;
use crate::actors::traffic::Traffic;
use crate::types::NodeId;

/// The jobs of this host. Cheap to clone.
#[derive(Clone, Debug)]
pub struct OwnJobs {
    /// The drives of this host.
    pub own: DriveList,
    /// True if this host has the role `storage`, so that its drives hold shards.
    pub stores: bool,
    pub health: HealthBoard,
    pub healing: HealerHandle,
    pub scrub: ScrubHandle,
    pub moving: MoverHandle,
    pub traffic: Traffic,
}

impl OwnJobs {
    pub fn answer(&self, ask: Ask) -> JobAnswer {
        match ask {
            Ask::Status => JobAnswer::Status(Box::new(self.status())),
            Ask::StartHeal => self.start_heal(),
            Ask::StartScrub { node } => self.start_scrub(node),
            Ask::StopScrub { node } => self.stop_scrub(node),
            Ask::Traffic => JobAnswer::Traffic(Box::new(self.traffic.top())),
        }
    }

    fn status(&self) -> JobStatus {
        let wanted = self.scrub.wanted();
        let job = |(node, status)| ScrubJob { node, wanted: wanted.contains(&node), status };
        JobStatus {
            healing: self.healing.status(),
            scrub: self.scrub.status().into_iter().map(job).collect(),
            moving: self.moving.status(),
        }
    }

    fn start_heal(&self) -> JobAnswer {
        if !self.stores {
            return JobAnswer::Refused(
                "this host does not have the role storage: its drives hold no shards to compare".to_owned(),
            );
        }
        let nodes: Vec<NodeId> = self.drives().collect();
        nodes.iter().for_each(|node| self.healing.reconcile_unless_wanted(*node));
        tracing::info!(?nodes, "an administrator ordered a comparison with the metadata");
        JobAnswer::Nodes(nodes)
    }

    /// Returns the drives of this host, except removed ones, whose comparison would never end.
    fn drives(&self) -> impl Iterator<Item = NodeId> {
        self.own.kept(&self.health.current()).into_iter().map(|drive| drive.node)
    }

    fn start_scrub(&self, node: Option<NodeId>) -> JobAnswer {
        let health = self.health.current();
        if let Some(node) = node {
            if !self.own.has(node) {
                return not_ours(node);
            }
            if let Some(why) = health.why_not(node) {
                return JobAnswer::Refused(format!("drive {node} is out of service: {why}"));
            }
        }
        let is_meant = |id: &NodeId| node.is_none_or(|node| *id == node) && health.in_service(*id);
        let nodes: Vec<NodeId> = self.drives().filter(is_meant).collect();
        nodes.iter().for_each(|node| self.scrub.start(*node));
        tracing::info!(?nodes, "an administrator ordered a scrub");
        JobAnswer::Nodes(nodes)
    }

    fn stop_scrub(&self, node: Option<NodeId>) -> JobAnswer {
        if let Some(node) = node.filter(|node| !self.own.has(*node)) {
            return not_ours(node);
        }
        let is_meant = |id: &NodeId| node.is_none_or(|node| *id == node);
        let all = self.own.all();
        let meant = all.iter().map(|drive| drive.node).filter(is_meant);
        let nodes: Vec<NodeId> = meant.filter(|node| self.scrub.stop(*node)).collect();
        tracing::info!(?nodes, "an administrator stopped the scrub");
        JobAnswer::Nodes(nodes)
    }
}

fn not_ours(node: NodeId) -> JobAnswer {
    JobAnswer::Refused(format!("drive {node} is not on this host"))
}
