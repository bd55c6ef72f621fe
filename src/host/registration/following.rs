//! Following of the layout while the host runs: publishes newly registered hosts and nodes to the ring, the host watch
//! and the address book, and has removed nodes forgotten. It polls this host's own tables, so that it waits for no other host.

use crate::actors::consensus::MetaHandle;
use crate::actors::membership::{AddressBook, HostWatch};
use crate::actors::peers::{HashRing, LayoutChanged, ReadLatencies};
use crate::host::metadata::layout;
use crate::limits::LAYOUT_LOOK_EVERY;
use crate::storage::kv::KvResult;
use crate::storage::meta::view::MetaView;
use crate::types::{Epoch, HostId, NodeId};
use actix::Addr;
use std::collections::BTreeMap;

/// The parts that are notified of changes of the layout.
pub(super) struct Followers {
    pub ring: Addr<HashRing>,
    pub watch: HostWatch,
    pub book: AddressBook,
    pub latencies: ReadLatencies,
}

impl Followers {
    /// Follows changes after the epoch `known`, for as long as it is polled.
    pub async fn follow(self, metadata: MetaHandle, mut known: Epoch) {
        loop {
            if let Some(view) = metadata.local_view() {
                match self.look(&view, known).await {
                    Ok(epoch) => known = epoch,
                    Err(error) => tracing::warn!(%error, "the layout cannot be read"),
                }
            }
            tokio::time::sleep(LAYOUT_LOOK_EVERY).await;
        }
    }

    /// Publishes the layout if it is newer than the epoch `known`; returns the present epoch.
    pub async fn look(&self, view: &MetaView, known: Epoch) -> KvResult<Epoch> {
        let epoch = view.layout()?.epoch;
        if epoch <= known {
            return Ok(known);
        }
        self.tell(view)?;
        // The ring refuses an older layout by itself, and does not answer while it stops.
        let _ = self.ring.send(LayoutChanged(layout(view)?)).await;
        self.latencies.retain(&view.nodes()?.into_iter().map(|node| node.id).collect());
        Ok(epoch)
    }

    /// Publishes the hosts and nodes of a view. Called before the ring changes, so that requests can reach new nodes.
    fn tell(&self, view: &MetaView) -> KvResult<()> {
        let hosts = view.hosts()?;
        // Hosts without nodes are included.
        let mut of_host: BTreeMap<HostId, Vec<NodeId>> = hosts.iter().map(|host| (host.id, Vec::new())).collect();
        self.book.learn(hosts.into_iter().map(|host| (host.id, host.address)));
        view.nodes()?.into_iter().for_each(|node| of_host.entry(node.host).or_default().push(node.id));
        self.watch.watch(of_host);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Followers;
    use crate::actors::consensus::ClusterClock;
    use crate::actors::drives::DriveList;
    use crate::actors::membership::{AddressBook, HostWatch};
    use crate::actors::peers::ReadLatencies;
    use crate::actors::request::test_world::World;
    use crate::ambient::Ambient;
    use crate::limits::READ_HEDGE_MAX;
    use crate::storage::meta::command::{Change, Reply};
    use crate::storage::meta::record::{NodeRecord, NodeState};
    use crate::storage::meta::samples::register;
    use crate::types::{Epoch, HostId, Incarnation, NodeId, UnixMs};
    use std::time::Duration;

    #[actix::test]
    async fn the_latencies_of_a_removed_node_are_forgotten_with_its_layout() {
        let world = World::new(2, 1);
        let record = |id| {
            let (id, incarnation, state) = (NodeId(id), Incarnation(u128::from(id)), NodeState::Active);
            NodeRecord { id, host: HostId(1), incarnation, weight: 1, state, joined: UnixMs(0) }
        };
        let latencies = ReadLatencies::default();
        for id in [1, 2] {
            assert_eq!(world.meta.apply(register(record(id))), Reply::Done);
            (0..100).for_each(|_| latencies.answered(NodeId(id), Duration::from_millis(10)));
        }
        let clock = ClusterClock::new(&Ambient::system());
        let drives = DriveList::of_nodes([NodeId(1), NodeId(2)]);
        let watch = HostWatch::new(world.context.peers.clone(), world.context.health.clone(), clock, HostId(1), drives);
        let (ring, book) = (world.ring.clone(), AddressBook::default());
        let followers = Followers { ring, watch, book, latencies: latencies.clone() };
        let known = followers.look(&world.meta.view(), Epoch(0)).await.expect("reads");
        assert!([1, 2].iter().all(|id| latencies.delay(NodeId(*id)) < READ_HEDGE_MAX));
        let remove = Change::RemoveNode { node: NodeId(2), lost: true };
        assert_eq!(world.meta.apply(remove), Reply::Done);
        assert!(followers.look(&world.meta.view(), known).await.expect("reads") > known);
        assert!(latencies.delay(NodeId(1)) < READ_HEDGE_MAX);
        assert_eq!(latencies.delay(NodeId(2)), READ_HEDGE_MAX);
    }
}
