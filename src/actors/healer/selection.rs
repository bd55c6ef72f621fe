//! The selection of the comparison to go on with. Beside repairs it is one that may find missing shards, of any node
//! that serves. Otherwise each that is due has its turn, one after another.

use super::Healing;
use super::compare::Comparison;
use crate::actors::upkeep::UpkeepError;
use crate::types::{Epoch, Incarnation, NodeId};
use std::time::Duration;

impl Healing {
    /// Selects a comparison while there are no repairs: the one under way, or the next that is due.
    pub(super) async fn select_comparison(&mut self) -> Result<(), UpkeepError> {
        let now = self.context.ambient.clock.monotonic();
        self.request_in_time(now);
        self.drop_outdated();
        if self.comparison.is_none() {
            self.comparison = self.next_comparison(now).await?;
        }
        Ok(())
    }

    /// Selects a comparison that takes turns with repairs, since it may find missing shards: the one under way, or one
    /// that is wanted and not begun, or an interrupted one. The one under way is parked if it gives way to another.
    /// After a failure, no other than the one under way is selected for a while. Returns whether there is one.
    pub(super) fn select_beside_repairs(&mut self) -> bool {
        let now = self.context.ambient.clock.monotonic();
        if self.request_in_time(now) {
            // Their second pass waits for the end of the repairs, which may take days.
            self.comparison.iter_mut().chain(self.interrupted.iter_mut()).for_each(Comparison::seek_missing_again);
        }
        self.drop_outdated();
        let may_find = |comparison: &Comparison| comparison.seeks_missing() && self.context.serves(comparison.node());
        if self.comparison.as_ref().is_some_and(may_find) {
            return true;
        }
        if !self.interrupted.has_rested(now, self.options.idle) {
            return false;
        }
        let wanted = self.next_wanted(|node| self.context.serves(node));
        let Some(next) = wanted.or_else(|| self.interrupted.take_first(may_find)) else { return false };
        self.interrupted.park(self.comparison.replace(next));
        true
    }

    /// Requests comparisons of all nodes of this host once `compare_every` has passed since the last time. Returns
    /// whether it has.
    fn request_in_time(&mut self, now: Duration) -> bool {
        let is_time = now >= self.compare_next;
        if is_time {
            self.compare_next = now + self.options.compare_every;
            self.context.local_nodes().into_iter().for_each(|node| self.handle.reconcile_unless_wanted(node));
        }
        is_time
    }

    /// Drops the comparisons of nodes that went out of service, which begin again when the node is back, and those that
    /// were requested again, since their node may have come back or been replaced while repairs were made. A comparison
    /// of orphans only is dropped once a whole one of its node is wanted, which includes it.
    fn drop_outdated(&mut self) {
        let (health, wanted) = (self.context.health.current(), self.handle.reconciling());
        let goes_on = |comparison: &Comparison| {
            let node = comparison.node();
            let is_here = health.in_service(node) && self.context.is_local(node);
            is_here && wanted.get(&node).copied() == comparison.request()
        };
        self.comparison = self.comparison.take().filter(&goes_on);
        self.interrupted.retain(goes_on);
    }

    /// Begins the comparison of the first wanted node of this host that is ready and has none. A node that the ring
    /// does not assign to this host yet stays wanted.
    fn next_wanted(&self, is_ready: impl Fn(NodeId) -> bool) -> Option<Comparison> {
        let has_one = |node: NodeId| {
            let is_under_way = self.comparison.as_ref().is_some_and(|comparison| comparison.node() == node);
            is_under_way || self.interrupted.has(node)
        };
        let is_next = |node: NodeId| self.context.is_local(node) && is_ready(node) && !has_one(node);
        let (node, request) = self.handle.reconciling().into_iter().find(|(node, _)| is_next(*node))?;
        Some(Comparison::whole(node, request, &self.options))
    }

    /// Returns the next comparison that is due: a wanted one, a further search for orphans, or an interrupted one.
    async fn next_comparison(&mut self, now: Duration) -> Result<Option<Comparison>, UpkeepError> {
        if self.context.ring.current().epoch() != Epoch(0) {
            self.orphans_next.retain(|node, _| self.context.is_local(*node));
            self.handle.retain_orphans(|node| self.context.is_local(node));
        }
        let health = self.context.health.current();
        let wanted = self.next_wanted(|node| health.in_service(node));
        if wanted.is_some() {
            return Ok(wanted);
        }
        let requests = self.handle.reconciling().into_iter();
        let others = requests.filter(|(node, _)| !self.context.is_local(*node)).collect();
        self.forget_removed(others).await?;
        let is_free = |node: NodeId| health.in_service(node) && !self.interrupted.has(node);
        let is_due = |node: NodeId, at: Duration| at <= now && is_free(node) && self.context.is_local(node);
        let due = self.orphans_next.iter().find(|&(&node, &at)| is_due(node, at));
        let due = due.map(|(&node, _)| Comparison::of_orphans(node, &self.options));
        Ok(due.or_else(|| self.interrupted.take()))
    }

    /// Cancels the wanted comparisons of removed nodes. A node that is not registered yet stays wanted.
    async fn forget_removed(&self, nodes: Vec<(NodeId, u64)>) -> Result<(), UpkeepError> {
        if nodes.is_empty() || self.context.ring.current().epoch() == Epoch(0) {
            return Ok(());
        }
        let look_up = self.context.look_up(move |view| {
            let known = view.removed()?.nodes;
            let mut removed = Vec::new();
            for (node, request) in nodes {
                let of_number = (node, Incarnation(0))..=(node, Incarnation(u128::MAX));
                if known.range(of_number).next().is_some() && view.node(node)?.is_none() {
                    removed.push((node, request));
                }
            }
            Ok(removed)
        });
        look_up.await?.into_iter().for_each(|(node, request)| self.handle.finished(node, request));
        Ok(())
    }
}
