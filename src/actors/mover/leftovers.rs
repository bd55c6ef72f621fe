//! Leftovers of moves on the nodes of this host: copies that are no longer current, dropped a grace period after this
//! host applied the move; and strays, copies that never became current because their move was given up. While the
//! repair of a shard is queued, no copy of it is dropped: it may be the only one.

use super::plan::Planner;
use crate::actors::upkeep::{ClusterContext, UpkeepError};
use crate::storage::kv::KvResult;
use crate::storage::meta::command::Change;
use crate::storage::meta::record::BlobRef;
use crate::storage::meta::view::MetaView;
use crate::types::{Epoch, NodeId, ShardId};

/// Rows, or shards of an inventory, in one page.
const PAGE: usize = 256;

/// A round over the leftovers of some nodes.
#[derive(Debug)]
pub(super) struct Leftovers {
    nodes: Vec<NodeId>,
    after: Option<ShardId>,
}

impl Leftovers {
    pub(super) fn of(nodes: Vec<NodeId>) -> Self {
        Self { nodes, after: None }
    }

    /// Deals with a page: copies dropped; `None` at the end. `ripe` is the last entry that is old enough.
    pub(super) async fn advance(
        &mut self,
        context: &ClusterContext,
        ripe: Option<u64>,
    ) -> Result<Option<usize>, UpkeepError> {
        let Some(&node) = self.nodes.last() else { return Ok(None) };
        let after = self.after;
        let rows = context.look_up(move |view| view.leftovers(node, after, PAGE)).await?;
        self.after = rows.last().map(|(shard, _)| *shard);
        if rows.len() < PAGE {
            self.nodes.pop();
            self.after = None;
        }
        let is_ripe = |entry: u64| ripe.is_some_and(|ripe| entry <= ripe);
        let ripe: Vec<ShardId> =
            rows.into_iter().filter(|(_, entry)| is_ripe(*entry)).map(|(shard, _)| shard).collect();
        let ripe = context.look_up(move |view| without_repairs(view, ripe)).await?;
        if !ripe.is_empty() && context.health.current().in_service(node) {
            context.peer(node).await?.drop_shards(node, ripe.clone()).await?;
            let gone = ripe.iter().map(|shard| (node, *shard)).collect();
            context.metadata.propose(Change::ForgetLeftovers { gone }).await?;
        }
        Ok(Some(ripe.len()))
    }
}

/// A round over the inventories of some nodes, for strays.
#[derive(Debug)]
pub(super) struct Sweep {
    nodes: Vec<NodeId>,
    after: Option<ShardId>,
}

/// A shard on a node of which the metadata says that it is elsewhere.
enum Astray {
    Garbage(ShardId),
    /// The shard may be on its way here.
    Elsewhere(ShardId, BlobRef),
}

impl Sweep {
    pub(super) fn of(nodes: Vec<NodeId>) -> Self {
        Self { nodes, after: None }
    }

    /// Deals with a page while no copy is under way: strays dropped; `None` at the end, and when the layout is no longer that
    /// of the planner. A move whose outcome is not known may still be made, but only by the layout that wanted it: so what
    /// is wanted here by the layout in force stays.
    pub(super) async fn advance(
        &mut self,
        context: &ClusterContext,
        planner: &mut Planner,
    ) -> Result<Option<usize>, UpkeepError> {
        let Some(&node) = self.nodes.last() else { return Ok(None) };
        if !context.health.current().in_service(node) {
            self.nodes.pop();
            self.after = None;
            return Ok(Some(0));
        }
        let peer = context.peer(node).await?;
        let page = peer.inventory(node, self.after, PAGE as u32).await?;
        self.after = page.shards.last().map(|(shard, _)| *shard).filter(|_| page.more);
        if self.after.is_none() {
            self.nodes.pop();
        }
        let (epoch, shards) = (planner.epoch(), page.shards.into_iter().map(|(shard, _)| shard).collect());
        let Some(astray) = context.look_up(move |view| astray(view, epoch, node, shards)).await? else {
            return Ok(None);
        };
        let is_stray = |astray: Astray| match astray {
            Astray::Garbage(shard) => Some(shard),
            Astray::Elsewhere(shard, blob) => (!planner.wants(&blob, shard.shard, node)).then_some(shard),
        };
        let strays: Vec<ShardId> = astray.into_iter().filter_map(is_stray).collect();
        let count = strays.len();
        if count > 0 {
            tracing::info!(%node, count, "copies of moves that were given up are dropped");
            peer.drop_shards(node, strays).await?;
        }
        Ok(Some(count))
    }
}

/// Shards of known blobs that are on this node and do not belong there, nor were left behind; `None` if the layout is of
/// another epoch.
fn astray(view: &MetaView, epoch: Epoch, node: NodeId, shards: Vec<ShardId>) -> KvResult<Option<Vec<Astray>>> {
    let mut astray = Vec::new();
    for shard in shards {
        let at = usize::from(shard.shard.0);
        let found = match view.blob(shard.blob)? {
            Some(blob) if blob.placement.get(at) == Some(&node) => continue,
            Some(blob) => Astray::Elsewhere(shard, blob),
            None => match view.garbage_of(shard.blob)? {
                Some(row) if row.blob.placement.get(at) != Some(&node) => Astray::Garbage(shard),
                _ => continue,
            },
        };
        if !view.is_leftover(node, shard)? && !view.is_repair_queued(shard)? {
            astray.push(found);
        }
    }
    Ok((view.layout()?.epoch == epoch).then_some(astray))
}

fn without_repairs(view: &MetaView, shards: Vec<ShardId>) -> KvResult<Vec<ShardId>> {
    let mut whole = Vec::with_capacity(shards.len());
    for shard in shards {
        if !view.is_repair_queued(shard)? {
            whole.push(shard);
        }
    }
    Ok(whole)
}
