//! `HashRing`: the actor that owns the layout and computes the ring from it.
//!
//! Receives `LayoutChanged`. Sends nothing: it publishes the ring, which requests read through `RingReader`. Invariant:
//! the published ring is that of the newest accepted layout. Refuses a layout whose epoch is not newer than the current
//! one.

use crate::storage::ring::{Layout, Ring};
use crate::types::Epoch;
use actix::{Actor, Context, Handler, Message};
use arc_swap::ArcSwap;
use std::sync::Arc;

/// The hosts, drives, weights or failure domains have changed.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), LayoutRefused>")]
pub struct LayoutChanged(pub Layout);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the layout of epoch {} is not newer than the current one of epoch {}", offered.0, current.0)]
pub struct LayoutRefused {
    pub offered: Epoch,
    pub current: Epoch,
}

/// Read access to the current ring. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RingReader {
    published: Arc<ArcSwap<Ring>>,
}

impl RingReader {
    /// Returns a reader of a ring that never changes.
    pub fn fixed(layout: &Layout) -> Self {
        Self { published: Arc::new(ArcSwap::from_pointee(Ring::new(layout))) }
    }

    pub fn current(&self) -> Arc<Ring> {
        self.published.load_full()
    }
}

pub struct HashRing {
    layout: Layout,
    published: Arc<ArcSwap<Ring>>,
}

impl HashRing {
    /// Returns the actor, not yet started, and the reader of its ring.
    pub fn new(layout: Layout) -> (Self, RingReader) {
        let reader = RingReader::fixed(&layout);
        (Self { layout, published: Arc::clone(&reader.published) }, reader)
    }

    fn check_invariants(&self) {
        debug_assert_eq!(self.published.load().epoch(), self.layout.epoch());
    }
}

impl Actor for HashRing {
    type Context = Context<Self>;
}

impl Handler<LayoutChanged> for HashRing {
    type Result = Result<(), LayoutRefused>;

    fn handle(&mut self, message: LayoutChanged, _: &mut Self::Context) -> Self::Result {
        let (offered, current) = (message.0.epoch(), self.layout.epoch());
        if offered <= current {
            return Err(LayoutRefused { offered, current });
        }
        self.layout = message.0;
        self.published.store(Arc::new(Ring::new(&self.layout)));
        self.check_invariants();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{HashRing, LayoutChanged, LayoutRefused};
    use crate::storage::ring::{Layout, LayoutNode};
    use crate::types::{Epoch, HostId, NodeId};
    use actix::Actor;

    fn layout(epoch: u64, nodes: u32) -> Layout {
        let node = |id| LayoutNode { id: NodeId(id), host: HostId(1), weight: 1 };
        Layout::new(Epoch(epoch), (0..nodes).map(node))
    }

    #[actix::test]
    async fn a_newer_layout_is_published_and_an_older_one_refused() {
        let (ring, reader) = HashRing::new(layout(1, 2));
        let ring = ring.start();
        assert_eq!(reader.current().nodes().len(), 2);
        ring.send(LayoutChanged(layout(2, 3))).await.expect("running").expect("newer");
        assert_eq!(reader.current().nodes().len(), 3);
        let refused = ring.send(LayoutChanged(layout(2, 4))).await.expect("running");
        assert_eq!(refused, Err(LayoutRefused { offered: Epoch(2), current: Epoch(2) }));
        assert_eq!(reader.current().nodes().len(), 3);
    }
}
