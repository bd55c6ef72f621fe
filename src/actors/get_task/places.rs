//! `Places`: the placement of a blob's shards while the blob is read. Shards may be moved meanwhile, and an old copy is
//! dropped after `leftover_grace`. Therefore a placement is looked up again after `placement_age_max`, however long the
//! read takes. Both are `RequestTimes`, and `limits` has their relation.

use crate::actors::request::{RequestContext, StoreError};
use crate::storage::meta::view::MetaView;
use crate::types::{BlobId, NodeId};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The placement of a blob, with the time of its lookup.
#[derive(Clone, Debug)]
pub(super) struct Placement {
    /// `nodes[i]` holds shard `i`.
    pub(super) nodes: Arc<[NodeId]>,
    /// The time of the lookup, by the monotonic clock.
    as_of: Duration,
}

#[derive(Debug)]
pub(super) struct Places {
    context: Arc<RequestContext>,
    blob: BlobId,
    known: Mutex<Placement>,
}

impl Places {
    /// Looks the blob up in `view`, which is of the time `as_of`. `None` if the blob does not exist.
    pub(super) fn new(
        context: &Arc<RequestContext>,
        view: &MetaView,
        as_of: Duration,
        blob: BlobId,
    ) -> Result<Option<Self>, StoreError> {
        let known = |nodes: Vec<NodeId>| Mutex::new(Placement { nodes: nodes.into(), as_of });
        let places = |nodes| Self { context: Arc::clone(context), blob, known: known(nodes) };
        Ok(view.placement(blob)?.map(places))
    }

    pub(super) fn len(&self) -> usize {
        self.known().nodes.len()
    }

    /// Returns the placement; looks it up again if it is older than `placement_age_max`.
    pub(super) async fn current(&self) -> Placement {
        let known = self.known();
        if self.age(&known) <= self.context.times.placement_age_max {
            return known;
        }
        self.look_up().await.unwrap_or(known)
    }

    /// Looks the placement up and returns it if it differs from `old`.
    pub(super) async fn other_than(&self, old: &Placement) -> Option<Placement> {
        self.look_up().await.filter(|now| now.nodes != old.nodes)
    }

    /// Returns whether the placement is recent enough that a shard absent from its node is missing and not moved.
    pub(super) fn is_trusted(&self, placement: &Placement) -> bool {
        self.age(placement) <= self.context.times.leftover_grace / 2
    }

    fn known(&self) -> Placement {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn age(&self, placement: &Placement) -> Duration {
        self.context.ambient.clock.monotonic().saturating_sub(placement.as_of)
    }

    /// Looks the placement up. `None` if the metadata does not answer or the blob is gone: the placement known before
    /// may still serve.
    async fn look_up(&self) -> Option<Placement> {
        let as_of = self.context.ambient.clock.monotonic();
        let view = self.context.metadata.read().await.ok()?;
        let nodes = view.placement(self.blob).ok()??.into();
        let placement = Placement { nodes, as_of };
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = placement.clone();
        Some(placement)
    }
}
