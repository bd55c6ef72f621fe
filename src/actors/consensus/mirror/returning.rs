//! Drives that left the mirror and come back to it: one that was late or full after a pause, and one that its host brings back,
//! once nothing of its former copy is open. Both are told of the present set before they are filled.

use super::away::{Absence, AbsenceNumber};
use super::files::Ground;
use super::task::{Mirror, Step};
use crate::actors::consensus::shared::{Drive, DriveRole};
use crate::actors::consensus::start::ReplicaDrive;
use crate::actors::log::LogHandle;
use crate::types::NodeId;
use futures::future::FutureExt;
use std::time::Duration;

/// The pause before a drive that was late or full is filled anew.
const RETURN_PAUSE: Duration = Duration::from_secs(60);

impl Mirror {
    /// Closes what is left of a drive's copy. One that may return rests after that: what is still under way on it would
    /// get mixed with a copy that is begun anew.
    pub(super) fn retire(&mut self, node: NodeId, log: Option<LogHandle>) {
        let brief = self.away.brief(node);
        self.retiring.insert(node);
        let step = async move {
            if let Some(log) = log {
                let _ = log.close_patiently().await;
            }
            Step::Closed { node, brief }
        };
        self.running.push(step.boxed());
    }

    pub(super) fn note_closed(&mut self, node: NodeId, brief: Option<AbsenceNumber>) {
        self.retiring.remove(&node);
        if let Some(number) = brief {
            let step = async move {
                tokio::time::sleep(RETURN_PAUSE).await;
                Step::Rested { node, number }
            };
            self.running.push(step.boxed());
        }
        if let Some(drive) = self.back.remove(&node) {
            self.take_back(drive);
        }
    }

    /// A drive that was late or full is there to be filled, once its file says that its former copy does not count.
    pub(super) fn bring_back(&mut self, node: NodeId) {
        let set = self.shared.drives().set.clone();
        if !self.deciding && self.away.take_returning(node, &set) {
            self.shared.drives().set_role(node, DriveRole::Idle);
            self.shared.forget_failed_copy(node);
            tracing::info!(%node, "a drive is back for the mirror of the metadata log");
            self.refill();
        }
    }

    /// Takes back a drive that its host brings back, emptied or not.
    pub(super) fn take_back(&mut self, drive: ReplicaDrive) {
        let node = drive.node;
        if self.retiring.contains(&node) || self.fills.contains(&node) {
            self.back.insert(node, drive);
            return;
        }
        {
            let mut drives = self.shared.drives();
            let role = drives.by_node.get(&node).map(|drive| drive.role);
            if !matches!(role, None | Some(DriveRole::Lost)) {
                return;
            }
            drives.by_node.insert(node, Drive { role: DriveRole::Lost, ..drive.into_idle() });
        }
        self.shared.forget_failed_copy(node);
        // The drive learns the present generation before it is filled, as every drive of the host must.
        self.files.forget(node);
        self.leaving.forget(node);
        let number = self.away.leave(node, Absence::Brief, Ground::Bare);
        self.away.note_rested(node, number);
        self.tell(node);
    }
}
