//! The return of drives that left the mirror. A drive that was late or full returns by itself after a pause. A drive
//! that failed returns when the host brings it back and its former copy is closed. In both cases the present set is
//! written to the drive before it is filled.

use super::away::AbsenceNumber;
use super::away::MissingDirs;
use super::task::{Mirror, Step};
use crate::actors::consensus::shared::{Absence, Drive, DriveRole, ReplicaDrive};
use crate::actors::log::LogHandle;
use crate::types::NodeId;
use futures::future::FutureExt;
use std::time::Duration;

/// The pause before a drive that was late or full is filled anew.
const RETURN_PAUSE: Duration = Duration::from_secs(60);

impl Mirror {
    /// Closes the copy of a drive that left. If the drive may return, it rests after that, so that no unfinished write
    /// of the former copy gets mixed with the next one.
    pub(super) fn retire(&mut self, node: NodeId, log: Option<LogHandle>) {
        let temporary = self.away.temporary(node);
        self.retiring.insert(node);
        let step = async move {
            if let Some(log) = log {
                let _ = log.close_unbounded().await;
            }
            Step::Closed { node, temporary }
        };
        self.running.push(step.boxed());
    }

    pub(super) fn note_closed(&mut self, node: NodeId, temporary: Option<AbsenceNumber>) {
        self.retiring.remove(&node);
        if let Some(number) = temporary {
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

    /// Makes a drive that was late or full available to be filled, once its mirror file says that its former copy does
    /// not count.
    pub(super) fn bring_back(&mut self, node: NodeId) {
        let set = self.shared.drives().set.clone();
        if !self.deciding && self.away.take_returning(node, &set) {
            self.shared.drives().set_role(node, DriveRole::Idle);
            self.shared.forget_failed_copy(node);
            tracing::info!(%node, "a drive may hold a copy of the metadata log again");
            self.refill();
        }
    }

    /// Takes back a drive that the host reports as present again, emptied or not; later, if its former copy is still
    /// open.
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
        // The present set is written to the drive before it is filled: every drive of the host must have it.
        self.files.forget(node);
        self.leaving.forget(node);
        let number = self.away.leave(node, Absence::Temporary, MissingDirs::Create);
        self.away.note_rested(node, number);
        self.tell(node);
    }
}
