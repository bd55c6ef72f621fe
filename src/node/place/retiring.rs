//! Drives of this host that were removed from the layout (`sherd admin layout remove`): what the host itself still keeps on
//! them, its copy of the metadata log and the tables, goes elsewhere, and then they are no drives of it any more.

use crate::actors::consensus::MetaHandle;
use crate::actors::drives::off_thread;
use crate::limits::LAYOUT_LOOK_EVERY;
use crate::node::Surroundings;
use crate::storage::identity::{Drive, IdentityError, retire_drives};
use crate::storage::kv::KvResult;
use crate::storage::meta::view::MetaView;
use crate::types::{Epoch, NodeId};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Until a host whose drives do not take the new membership tries again.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

pub(super) struct Retirement {
    pub around: Surroundings,
    pub metadata: MetaHandle,
    /// Every drive that the host was started with.
    pub own: Vec<Drive>,
}

impl Retirement {
    /// Goes on for as long as it is polled.
    pub async fn run(self) {
        let (mut known, mut gone, mut leaving) = (Epoch(0), BTreeSet::new(), BTreeSet::new());
        loop {
            tokio::time::sleep(LAYOUT_LOOK_EVERY).await;
            match self.metadata.local_view().map(|view| self.look(&view, &mut known)) {
                Some(Ok(Some(removed))) => leaving = removed,
                Some(Ok(None)) | None => {}
                Some(Err(error)) => tracing::warn!(%error, "who was removed cannot be read"),
            }
            let left: BTreeSet<NodeId> = leaving.difference(&gone).copied().collect();
            // Where all are, the host itself goes.
            if left.is_empty() || leaving.len() == self.own.len() || !self.is_free_of_log(&left) {
                continue;
            }
            match self.retire(left.clone()).await {
                Ok(()) => gone.extend(left),
                Err(error) => {
                    tracing::warn!(%error, "removed drives are still among this host's");
                    tokio::time::sleep(AGAIN_AFTER).await;
                }
            }
        }
    }

    /// The drives of this host that were removed, where the layout is newer than the one known.
    fn look(&self, view: &MetaView, known: &mut Epoch) -> KvResult<Option<BTreeSet<NodeId>>> {
        let epoch = view.layout()?.epoch;
        if epoch <= *known {
            return Ok(None);
        }
        let removed = view.removed()?.nodes;
        *known = epoch;
        let is_removed = |drive: &&Drive| removed.get(&drive.node) == Some(&drive.incarnation);
        Ok(Some(self.own.iter().filter(is_removed).map(|drive| drive.node).collect()))
    }

    /// Whether the metadata log has left them; it is told to.
    fn is_free_of_log(&self, leaving: &BTreeSet<NodeId>) -> bool {
        leaving.iter().for_each(|node| self.metadata.drive_leaves(*node));
        self.metadata.status().mirror_members.iter().all(|node| !leaving.contains(node))
    }

    async fn retire(&self, leaving: BTreeSet<NodeId>) -> Result<(), IdentityError> {
        // The tables leave them, too.
        leaving.iter().for_each(|node| self.metadata.drive_lost(*node));
        let dirs: Vec<PathBuf> = self.own.iter().map(|drive| drive.dir.clone()).collect();
        let (disk, nodes) = (Arc::clone(&self.around.disk), leaving.iter().copied().collect::<Vec<_>>());
        let retired = off_thread(&self.around.threads, move || retire_drives(&*disk, &dirs, &nodes)).await;
        if let Ok(retired) = retired
            && retired?
        {
            for drive in self.own.iter().filter(|drive| leaving.contains(&drive.node)) {
                let (node, dir) = (drive.node.0, drive.dir.display());
                tracing::info!(node, %dir, "nothing of this store is on this drive any more; leave its directory out at the next start");
            }
        }
        Ok(())
    }
}
