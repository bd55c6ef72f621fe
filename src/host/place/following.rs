//! Following of the layout while the host runs: publishes newly registered hosts and nodes to the ring, the host watch
//! and the address book. It polls this host's own tables, so that it waits for no other host.

use crate::actors::consensus::MetaHandle;
use crate::actors::membership::{AddressBook, HostWatch};
use crate::actors::peers::{HashRing, LayoutChanged};
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
