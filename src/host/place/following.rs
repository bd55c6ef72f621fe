//! Following the registered hosts and nodes while the host runs. Reads this host's own tables, so that it waits for
//! nobody; a later change is followed in the next round.

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

/// The parts that are notified of changes.
pub(super) struct Followers {
    pub ring: Addr<HashRing>,
    pub watch: HostWatch,
    pub book: AddressBook,
}

impl Followers {
    /// Follows for as long as it is polled, from the layout of this epoch.
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

    /// Tells of what is newer than this epoch; says which there is now.
    pub async fn look(&self, view: &MetaView, known: Epoch) -> KvResult<Epoch> {
        let epoch = view.layout()?.epoch;
        if epoch <= known {
            return Ok(known);
        }
        self.tell(view)?;
        // One that is stopping follows nothing, and an older layout is refused.
        let _ = self.ring.send(LayoutChanged(layout(view)?)).await;
        Ok(epoch)
    }

    /// Publishes the nodes of a view, before the ring sends anything to new ones.
    fn tell(&self, view: &MetaView) -> KvResult<()> {
        let hosts = view.hosts()?;
        // Those without nodes too.
        let mut of_host: BTreeMap<HostId, Vec<NodeId>> = hosts.iter().map(|host| (host.id, Vec::new())).collect();
        self.book.learn(hosts.into_iter().map(|host| (host.id, host.address)));
        view.nodes()?.into_iter().for_each(|node| of_host.entry(node.host).or_default().push(node.id));
        self.watch.watch(of_host);
        Ok(())
    }
}
