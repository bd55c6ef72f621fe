//! Removal of outdated copies from the nodes of this host. A leftover is the old copy of a moved shard; it is dropped a
//! grace period after this host applied the move. A stray is a copy that never became current, because its move was
//! given up. While the repair of a shard is queued, no copy of it is dropped, since it may be the only one. Nor is a
//! leftover while the drive with the current copy does not serve or was not compared with the metadata.
//!
//! After a recovery of the metadata no copy is dropped until an operator gives up what is kept since then: metadata of
//! an earlier time may place a shard on a drive that it has left, so that the copy elsewhere is the only one.
//!
//! A leftover may become the current copy again if that one is lost. So it is not dropped while such a move is planned
//! or in progress, and no such move is planned while a drop may still take effect (`LateDrops`).

use super::plan::Planner;
use crate::actors::drives::health::{Contents, NodeHealth};
use crate::actors::peers::{Doubts, Trust};
use crate::actors::upkeep::{ClusterContext, UpkeepError};
use crate::limits::UPKEEP_WAIT_MAX;
use crate::net::Peer;
use crate::storage::kv::KvResult;
use crate::storage::meta::command::Change;
use crate::storage::meta::record::BlobRef;
use crate::storage::meta::view::MetaView;
use crate::types::{Epoch, NodeId, ShardId};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// The number of leftover rows, or of shards of an inventory, in one page.
const PAGE: usize = 256;

/// The drives of this host on which a drop of leftovers failed, each with the appends that began meanwhile. A drop that
/// the drive did not answer in time may be written, or published in its index, later.
#[derive(Debug, Default)]
pub(super) struct LateDrops(BTreeMap<NodeId, Range<u64>>);

impl LateDrops {
    /// Returns the number of appends that a drive has begun so far.
    pub(super) fn begun(context: &ClusterContext, node: NodeId) -> u64 {
        context.drives.get(node).map_or(0, |drive| drive.index.tickets_begun())
    }

    /// Notes that a drop has failed. `before` is the number of appends that the drive had begun before it.
    pub(super) fn note(&mut self, context: &ClusterContext, node: NodeId, before: u64) {
        let first = self.0.get(&node).map_or(before, |earlier| earlier.start.min(before));
        self.0.insert(node, first..Self::begun(context, node));
    }

    /// Returns the drives on which a failed drop may still take effect, and forgets the others.
    pub(super) fn pending(&mut self, context: &ClusterContext) -> BTreeSet<NodeId> {
        let is_pending = |node: &NodeId, appends: &mut Range<u64>| {
            context.drives.get(*node).is_some_and(|drive| drive.index.awaits_any_of(appends.clone()))
        };
        self.0.retain(is_pending);
        self.0.keys().copied().collect()
    }
}

/// One pass over the old copies of moved shards on some drives of this host.
#[derive(Debug)]
pub(super) struct Leftovers {
    nodes: Vec<NodeId>,
    after: Option<ShardId>,
}

impl Leftovers {
    pub(super) fn of(nodes: Vec<NodeId>) -> Self {
        Self { nodes, after: None }
    }

    /// Processes one page and returns the number of leftovers that were dropped; `None` at the end of the round, or
    /// while copies are kept since a recovery. What cannot be dropped now stays for a later round. `ripe` is the index
    /// of the last log entry for which the grace period is over; `targets` are the shards that are moved to nodes of
    /// this host, which are not dropped there.
    pub(super) async fn advance(
        &mut self,
        context: &ClusterContext,
        ripe: Option<u64>,
        targets: &BTreeSet<(NodeId, ShardId)>,
        late_drops: &mut LateDrops,
    ) -> Result<Option<usize>, UpkeepError> {
        let Some(&node) = self.nodes.last() else { return Ok(None) };
        if !context.health.current().accepts_upkeep(node) {
            self.nodes.pop();
            self.after = None;
            return Ok(Some(0));
        }
        let after = self.after;
        let look_up = context.look_up(move |view| Ok((view.keeps_unknown()?, view.leftovers(node, after, PAGE)?)));
        let (are_kept, rows) = look_up.await?;
        if are_kept {
            return Ok(None);
        }
        self.after = rows.last().map(|(shard, _)| *shard);
        if rows.len() < PAGE {
            self.nodes.pop();
            self.after = None;
        }
        let is_ripe = |entry: u64| ripe.is_some_and(|ripe| entry <= ripe);
        let may_go = |(shard, entry): &(ShardId, u64)| is_ripe(*entry) && !targets.contains(&(node, *shard));
        let ripe: Vec<ShardId> = rows.into_iter().filter(may_go).map(|(shard, _)| shard).collect();
        // Taken before the view, which thereby has all repairs that the comparison of a compared drive has queued.
        let (health, doubts) = (context.health.current(), context.suspects.current());
        let look_up = context.look_up(move |view| {
            let mut dispensable = Vec::with_capacity(ripe.len());
            for shard in ripe {
                if !view.is_repair_queued(shard)? && is_current_copy_there(view, &health, &doubts, shard)? {
                    dispensable.push(shard);
                }
            }
            Ok(dispensable)
        });
        let ripe = look_up.await?;
        if !ripe.is_empty() {
            let shards = ripe.clone();
            let drop = |peer: Peer| async move { peer.drop_shards(node, shards).await };
            let begun = LateDrops::begun(context, node);
            if let Err(error) = context.ask(node, UPKEEP_WAIT_MAX, drop).await {
                late_drops.note(context, node, begun);
                return Err(error.into());
            }
            let gone = ripe.iter().map(|shard| (node, *shard)).collect();
            context.metadata.propose(Change::ForgetLeftovers { gone }).await?;
        }
        Ok(Some(ripe.len()))
    }
}

/// A round over the inventories of some nodes that drops strays.
#[derive(Debug)]
pub(super) struct Sweep {
    nodes: Vec<NodeId>,
    after: Option<ShardId>,
    /// The nodes that were passed over, as they serve reads and take no drops.
    passed_over: Vec<NodeId>,
}

/// The outcome of a step of a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Swept {
    /// A page was processed, and this number of strays dropped.
    Page(usize),
    /// The sweep has ended, or the layout is no longer that of the planner.
    End,
    /// Strays are kept, since copies are kept since a recovery: a later sweep begins anew.
    Kept,
}

/// A shard that is on a node and that the metadata does not place there.
enum Astray {
    /// The blob is garbage, and the reclaimer drops its shards from other nodes than this.
    Garbage(ShardId),
    /// The shard is on another node, and may be about to move to this one.
    Elsewhere(ShardId, BlobRef),
}

impl Sweep {
    pub(super) fn of(nodes: Vec<NodeId>) -> Self {
        Self { nodes, after: None, passed_over: Vec::new() }
    }

    /// Returns the nodes to be swept later.
    pub(super) fn passed_over(self) -> Vec<NodeId> {
        self.passed_over
    }

    /// Processes one page. Call it while no copy is in progress. A move whose outcome is unknown may still be decided,
    /// but only under the layout that wanted it. Therefore a shard that the current layout wants on the node stays.
    pub(super) async fn advance(
        &mut self,
        context: &ClusterContext,
        planner: &mut Planner,
    ) -> Result<Swept, UpkeepError> {
        let Some(&node) = self.nodes.last() else { return Ok(Swept::End) };
        if !context.health.current().accepts_upkeep(node) {
            self.passed_over.extend(Some(node).filter(|node| context.health.current().in_service(*node)));
            self.nodes.pop();
            self.after = None;
            return Ok(Swept::Page(0));
        }
        let after = self.after;
        let list = |peer: Peer| async move { peer.inventory(node, after, PAGE as u32).await };
        let page = context.ask(node, UPKEEP_WAIT_MAX, list).await?;
        self.after = page.shards.last().map(|(shard, _)| *shard).filter(|_| page.more);
        if self.after.is_none() {
            self.nodes.pop();
        }
        let (epoch, shards) = (planner.epoch(), page.shards.into_iter().map(|(shard, _)| shard).collect());
        let look_up = context.look_up(move |view| Ok((view.keeps_unknown()?, astray(view, epoch, node, shards)?)));
        let astray = match look_up.await? {
            (true, _) => return Ok(Swept::Kept),
            (false, None) => return Ok(Swept::End),
            (false, Some(astray)) => astray,
        };
        let is_stray = |astray: Astray| match astray {
            Astray::Garbage(shard) => Some(shard),
            Astray::Elsewhere(shard, blob) => (!planner.wants(&blob, shard.shard, node)).then_some(shard),
        };
        let strays: Vec<ShardId> = astray.into_iter().filter_map(is_stray).collect();
        let count = strays.len();
        if count > 0 {
            tracing::info!(%node, count, "dropping the copies of moves that were given up");
            let drop = |peer: Peer| async move { peer.drop_shards(node, strays).await };
            context.ask(node, UPKEEP_WAIT_MAX, drop).await?;
        }
        Ok(Swept::Page(count))
    }
}

/// Returns those of a node's shards that belong to known blobs and are neither placed there nor leftovers nor queued
/// for repair. `None` if the layout has another epoch.
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

/// Returns whether the drive on which the metadata places the shard serves and was compared with the metadata, so that
/// the current copy can be read or its repair is queued. True if the blob is gone.
fn is_current_copy_there(view: &MetaView, health: &NodeHealth, doubts: &Doubts, shard: ShardId) -> KvResult<bool> {
    let Some(blob) = view.blob(shard.blob)? else { return Ok(true) };
    let Some(&node) = blob.placement.get(usize::from(shard.shard.0)) else { return Ok(true) };
    let is_compared = health.state(node).is_none_or(|state| state.contents == Contents::Compared);
    Ok(health.in_service(node) && doubts.trust(node) != Trust::Gone && is_compared)
}
