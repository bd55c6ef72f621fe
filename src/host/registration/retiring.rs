//! Retirement of drives of this host that were removed from the layout (`sherd admin layout remove`): their copies of
//! the metadata log move to other drives, then the host gives the drives up. If the metadata's tables are on such a
//! drive they stay there until the next start, which makes them anew on another drive.

use crate::actors::consensus::MetaHandle;
use crate::actors::drives::health::HealthBoard;
use crate::actors::drives::{DriveList, ThreadsStopped, dismiss, off_thread};
use crate::host::environment::Environment;
use crate::limits::LAYOUT_LOOK_EVERY;
use crate::storage::identity::{Drive, IdentityError, retire_drives};
use crate::storage::kv::KvResult;
use crate::storage::meta::record::RemovedRecord;
use crate::storage::meta::view::MetaView;
use crate::types::{Epoch, NodeId};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The pause after a failure to write the drives' new list of members.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

pub(super) struct Retirement {
    pub env: Environment,
    pub metadata: MetaHandle,
    pub health: HealthBoard,
    pub own: DriveList,
    /// The wanted number of copies of the metadata log if there are drives enough for them.
    pub copies_max: usize,
}

/// The reason why drives could not be retired.
#[derive(Debug, thiserror::Error)]
enum RetireError {
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Stopped(#[from] ThreadsStopped),
}

/// The progress of retiring the host's removed drives. Pure.
#[derive(Debug, Default, PartialEq, Eq)]
struct Exits {
    /// The drives that were removed while the host runs.
    removed: BTreeSet<NodeId>,
    /// The removed drives that the metadata log was ordered to leave.
    ordered: BTreeSet<NodeId>,
    /// The drives that the host has given up.
    gone: BTreeSet<NodeId>,
}

impl Exits {
    /// Notes the removed drives among those of the host.
    fn note(&mut self, own: &[Drive], removed: &RemovedRecord) {
        let is_removed = |drive: &&Drive| removed.nodes.contains(&(drive.node, drive.incarnation));
        self.removed = own.iter().filter(is_removed).map(|drive| drive.node).collect();
    }

    /// Returns the removed drives that are not retired yet. If all drives of the host are removed, none is retired: the
    /// host itself stops.
    fn left(&self, own: &[Drive]) -> BTreeSet<NodeId> {
        if self.removed.len() == own.len() {
            return BTreeSet::new();
        }
        self.removed.difference(&self.gone).copied().collect()
    }

    /// Returns the drives that the metadata log was not ordered to leave yet, and marks them as ordered.
    fn take_untold(&mut self, left: &BTreeSet<NodeId>) -> Vec<NodeId> {
        left.iter().copied().filter(|node| self.ordered.insert(*node)).collect()
    }

    fn note_gone(&mut self, nodes: BTreeSet<NodeId>) {
        self.gone.extend(nodes);
    }

    /// Notes a failure: these drives go through all steps again.
    fn note_failed(&mut self, nodes: &BTreeSet<NodeId>) {
        self.ordered.retain(|node| !nodes.contains(node));
    }
}

impl Retirement {
    /// Retires removed drives, for as long as it is polled.
    pub async fn run(self) {
        let (mut known, mut exits) = (Epoch(0), Exits::default());
        loop {
            tokio::time::sleep(LAYOUT_LOOK_EVERY).await;
            let own = self.own.all();
            if let Some(view) = self.metadata.local_view()
                && let Err(error) = self.look(&view, &own, &mut known, &mut exits)
            {
                tracing::warn!(%error, "the removed hosts and drives cannot be read");
            }
            let left = exits.left(&own);
            if left.is_empty() {
                continue;
            }
            exits.take_untold(&left).into_iter().for_each(|node| self.metadata.drive_leaves(node));
            if self.metadata.status().mirror_members.iter().any(|node| left.contains(node)) {
                continue;
            }
            match self.retire(&own, &left).await {
                Ok(()) => {
                    exits.note_gone(left);
                    self.show(&exits);
                }
                Err(error) => {
                    tracing::warn!(%error, "removed drives could not be taken out of this host; this is tried again");
                    exits.note_failed(&left);
                    tokio::time::sleep(AGAIN_AFTER).await;
                }
            }
        }
    }

    /// Notes the removed drives if the layout is newer than the epoch `known`.
    fn look(&self, view: &MetaView, own: &[Drive], known: &mut Epoch, exits: &mut Exits) -> KvResult<()> {
        let epoch = view.layout()?.epoch;
        if epoch > *known {
            exits.note(own, &view.removed()?);
            *known = epoch;
        }
        Ok(())
    }

    async fn retire(&self, own: &[Drive], leaving: &BTreeSet<NodeId>) -> Result<(), RetireError> {
        // A drive without a copy of the metadata log must not get one.
        leaving.iter().for_each(|node| self.metadata.drive_retired(*node));
        let dirs: Vec<PathBuf> = own.iter().map(|drive| drive.dir.clone()).collect();
        let (disk, nodes) = (Arc::clone(&self.env.disk), leaving.iter().copied().collect::<Vec<_>>());
        off_thread(&self.env.threads, move || retire_drives(&*disk, &dirs, &nodes)).await??;
        for Drive { node, dir, .. } in own.iter().filter(|drive| leaving.contains(&drive.node)) {
            let (node, dir) = (node.0, dir.display());
            tracing::info!(node, %dir, "this drive is out of the store; leave its directory out at the next start, and wipe it then: it still holds keys and old data");
        }
        Ok(())
    }

    /// Removes the retired drives from health, and publishes the wanted number of log copies without them.
    fn show(&self, exits: &Exits) {
        exits.gone.iter().for_each(|node| dismiss(&self.health, *node));
        self.metadata.want_copies(self.copies_max.min(self.own.kept(&self.health.current()).len()));
    }
}

#[cfg(test)]
mod tests {
    use super::Exits;
    use crate::storage::identity::{Drive, DriveState};
    use crate::storage::meta::record::RemovedRecord;
    use crate::types::{Incarnation, NodeId};
    use std::collections::BTreeSet;
    use std::path::PathBuf;

    fn own(drives: u32) -> Vec<Drive> {
        let drive = |node| Drive {
            node: NodeId(node),
            incarnation: Incarnation(10),
            dir: PathBuf::from(format!("/d{node}")),
            state: DriveState::Present,
        };
        (0..drives).map(drive).collect()
    }

    fn removed(drives: &[(u32, u128)]) -> RemovedRecord {
        let nodes = drives.iter().map(|&(node, incarnation)| (NodeId(node), Incarnation(incarnation)));
        RemovedRecord { nodes: nodes.collect(), ..RemovedRecord::default() }
    }

    fn nodes(nodes: &[u32]) -> BTreeSet<NodeId> {
        nodes.iter().copied().map(NodeId).collect()
    }

    #[test]
    fn the_log_is_told_once_to_leave_a_removed_drive_and_again_after_a_failure() {
        let (own, mut exits) = (own(3), Exits::default());
        exits.note(&own, &removed(&[(1, 10)]));
        let left = exits.left(&own);
        assert_eq!((exits.take_untold(&left), exits.take_untold(&left)), (vec![NodeId(1)], vec![]));
        exits.note_failed(&left);
        assert_eq!(exits.take_untold(&left), [NodeId(1)]);
        exits.note_gone(left);
        assert_eq!(exits.left(&own), nodes(&[]));
        exits.note(&own, &removed(&[(1, 10), (2, 10)]));
        let left = exits.left(&own);
        assert_eq!((exits.take_untold(&left), left), (vec![NodeId(2)], nodes(&[2])));
    }

    #[test]
    fn only_removed_drives_are_retired_and_never_all_drives_of_a_host() {
        let (own, mut exits) = (own(2), Exits::default());
        exits.note(&own, &removed(&[(0, 9), (7, 10)]));
        assert_eq!(exits.left(&own), nodes(&[]), "another drive had the number");
        exits.note(&own, &removed(&[(0, 9), (0, 10)]));
        assert_eq!(exits.left(&own), nodes(&[0]));
        exits.note(&own, &removed(&[(0, 10), (1, 10)]));
        assert_eq!(exits.left(&own), nodes(&[]), "the host itself goes");
    }
}
