//! The drives of this host: the one list that is followed by everything that is about all of them. The composition root
//! publishes it, and adds and replaces drives while the host runs. Readers take a snapshot and never wait.

use super::health::{HealthBoard, NodeHealth};
use crate::storage::identity::Drive;
use crate::types::NodeId;
use std::sync::Arc;
use tokio::sync::watch;

/// Cheap to clone; all clones are one list.
#[derive(Clone, Debug)]
pub struct DriveList(Arc<watch::Sender<Arc<Vec<Drive>>>>);

impl DriveList {
    pub fn new(drives: Vec<Drive>) -> Self {
        Self(Arc::new(watch::Sender::new(Arc::new(drives))))
    }

    /// Returns the drives as they are now, in the order in which they came to the host: lost ones too, and until the next start
    /// those that were removed from the store.
    pub fn all(&self) -> Arc<Vec<Drive>> {
        Arc::clone(&self.0.borrow())
    }

    /// Returns those that were not removed from the store.
    pub fn kept(&self, health: &NodeHealth) -> Vec<Drive> {
        self.all().iter().filter(|drive| !health.is_dismissed(drive.node)).cloned().collect()
    }

    pub fn get(&self, node: NodeId) -> Option<Drive> {
        self.all().iter().find(|drive| drive.node == node).cloned()
    }

    pub fn has(&self, node: NodeId) -> bool {
        self.all().iter().any(|drive| drive.node == node)
    }

    /// Publishes a drive: in the place of the one of its number, or as a further one.
    pub fn put(&self, drive: Drive) {
        self.0.send_modify(|drives| {
            let mut next = Vec::clone(drives);
            match next.iter_mut().find(|known| known.node == drive.node) {
                Some(known) => *known = drive,
                None => next.push(drive),
            }
            *drives = Arc::new(next);
        });
    }

    /// Returns when none of the drives is in service, and one that did not answer does again.
    pub async fn wait_for_one_to_answer_again(&self, health: &HealthBoard) {
        let is_so = |health: &Arc<NodeHealth>| {
            let kept = self.kept(health);
            let mut states = kept.iter().filter_map(|drive| health.state(drive.node));
            kept.iter().all(|drive| !health.in_service(drive.node)) && states.any(|state| state.answers_again)
        };
        if health.subscribe().wait_for(is_so).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Wakes on each change.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Vec<Drive>>> {
        self.0.subscribe()
    }
}

#[cfg(test)]
impl DriveList {
    /// Drives of these numbers, each in a directory of its own.
    pub fn of_nodes(nodes: impl IntoIterator<Item = NodeId>) -> Self {
        Self::new(nodes.into_iter().map(drive_of_test).collect())
    }
}

#[cfg(test)]
pub fn drive_of_test(node: NodeId) -> Drive {
    use crate::storage::identity::DriveState;
    use crate::types::Incarnation;
    let dir = std::path::PathBuf::from(format!("/d{node}"));
    Drive { node, incarnation: Incarnation(10), dir, state: DriveState::Present }
}

#[cfg(test)]
mod tests {
    use super::{DriveList, drive_of_test};
    use crate::actors::drives::health::HealthBoard;
    use crate::storage::identity::Drive;
    use crate::types::{Incarnation, NodeId};
    use futures::FutureExt;

    fn nodes(drives: &[Drive]) -> Vec<u32> {
        drives.iter().map(|drive| drive.node.0).collect()
    }

    #[test]
    fn who_follows_the_list_sees_drives_that_are_added_and_replaced() {
        let list = DriveList::of_nodes([NodeId(0), NodeId(1)]);
        let mut follower = list.clone().subscribe();
        let before = list.all();
        list.put(drive_of_test(NodeId(2)));
        list.put(Drive { incarnation: Incarnation(11), ..drive_of_test(NodeId(0)) });
        assert!(follower.has_changed().unwrap());
        assert_eq!(nodes(&follower.borrow_and_update()), [0, 1, 2]);
        assert_eq!(list.get(NodeId(0)).map(|drive| drive.incarnation), Some(Incarnation(11)));
        assert!(list.has(NodeId(2)) && !list.has(NodeId(3)));
        assert_eq!(nodes(&before), [0, 1], "a snapshot stays as it is");
    }

    #[tokio::test]
    async fn a_host_whose_drives_that_were_not_removed_are_all_out_starts_again_once_one_answers() {
        let (list, health) = (DriveList::of_nodes([0, 1].map(NodeId)), HealthBoard::new([0, 1].map(NodeId)));
        health.dismiss(NodeId(0));
        health.take_out(NodeId(1), "it does not answer");
        health.update(NodeId(1), |state| state.answers_again = true);
        list.put(drive_of_test(NodeId(2)));
        assert!(list.wait_for_one_to_answer_again(&health).now_or_never().is_none(), "the drive that was added serves");
        health.take_out(NodeId(2), "it is gone");
        list.wait_for_one_to_answer_again(&health).await;
    }

    #[test]
    fn drives_that_were_removed_from_the_store_are_listed_and_not_kept() {
        let (list, health) = (DriveList::of_nodes([0, 1, 2].map(NodeId)), HealthBoard::new([0, 1, 2].map(NodeId)));
        health.dismiss(NodeId(1));
        assert_eq!(nodes(&list.kept(&health.current())), [0, 2]);
        assert_eq!(nodes(&list.all()), [0, 1, 2]);
    }
}
