//! Drives that have left the mirror since the start: whether they return by themselves, and which set was written to
//! their mirror file. Pure.

use crate::actors::consensus::shared::Absence;
use crate::storage::raft_log::MirrorSet;
use crate::types::NodeId;
use std::collections::BTreeMap;

/// What a write of a drive's mirror file does if its directories are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingDirs {
    /// It fails: the drive is gone.
    Refuse,
    /// It creates them: the drive may have been emptied.
    Create,
}

/// The number of one absence of one drive. Late events of an earlier absence are recognised by it.
pub type AbsenceNumber = u64;

#[derive(Debug)]
struct Away {
    number: AbsenceNumber,
    absence: Absence,
    missing_dirs: MissingDirs,
    /// True if the drive's former copy is closed and the pause after that is over.
    rested: bool,
    /// The generation of the set that this process last wrote to the drive's file; 0 for none.
    written: u64,
    is_being_written: bool,
}

#[derive(Debug, Default)]
pub struct AwayDrives {
    by_node: BTreeMap<NodeId, Away>,
    absences: AbsenceNumber,
}

impl AwayDrives {
    pub fn leave(&mut self, node: NodeId, absence: Absence, missing_dirs: MissingDirs) -> AbsenceNumber {
        self.absences += 1;
        let number = self.absences;
        let away = Away { number, absence, missing_dirs, rested: false, written: 0, is_being_written: false };
        self.by_node.insert(node, away);
        number
    }

    /// Keeps the drive out: it does not come back by itself.
    pub fn stay_away(&mut self, node: NodeId) {
        if let Some(away) = self.by_node.get_mut(&node) {
            away.absence = Absence::Permanent;
        }
    }

    pub fn nodes(&self) -> Vec<NodeId> {
        self.by_node.keys().copied().collect()
    }

    /// Returns the number of the drive's absence, if it is a temporary one.
    pub fn temporary(&self, node: NodeId) -> Option<AbsenceNumber> {
        self.by_node.get(&node).filter(|away| away.absence == Absence::Temporary).map(|away| away.number)
    }

    pub fn note_rested(&mut self, node: NodeId, number: AbsenceNumber) {
        if let Some(away) = self.present(node, number) {
            away.rested = true;
        }
    }

    /// Returns the number to write under if this set must still be written to the drive's file; the caller then begins
    /// the write. A set that names the drive as a member is not written, since it is older than the absence.
    pub fn begin_telling(&mut self, node: NodeId, set: &MirrorSet) -> Option<(AbsenceNumber, MissingDirs)> {
        let away = self.by_node.get_mut(&node)?;
        let due = !away.is_being_written && away.written < set.generation && !set.members.contains(&node);
        away.is_being_written |= due;
        due.then_some((away.number, away.missing_dirs))
    }

    /// Notes that a write to the drive's file has ended. `generation`: of the set that was written; `None` if it
    /// failed.
    pub fn note_told(&mut self, node: NodeId, number: AbsenceNumber, generation: Option<u64>) {
        if let Some(away) = self.present(node, number) {
            away.is_being_written = false;
            away.written = generation.unwrap_or(away.written);
        }
    }

    /// Returns whether the drive may be filled as a new member, and forgets its absence if so. The drive must have
    /// rested, and its file must have a set without it: else a later start could select a half-filled copy.
    pub fn take_returning(&mut self, node: NodeId, set: &MirrorSet) -> bool {
        let returns = self.by_node.get(&node).is_some_and(|away| {
            let is_told = away.written >= set.generation && !set.members.contains(&node);
            away.absence == Absence::Temporary && away.rested && is_told
        });
        if returns {
            self.by_node.remove(&node);
        }
        returns
    }

    fn present(&mut self, node: NodeId, number: AbsenceNumber) -> Option<&mut Away> {
        self.by_node.get_mut(&node).filter(|away| away.number == number)
    }
}

#[cfg(test)]
mod tests {
    use super::AwayDrives;
    use crate::actors::consensus::mirror::away::MissingDirs;
    use crate::actors::consensus::shared::Absence;
    use crate::storage::raft_log::MirrorSet;
    use crate::types::{HostId, NodeId};

    const NODE: NodeId = NodeId(2);

    fn set(generation: u64, members: &[u32]) -> MirrorSet {
        MirrorSet {
            host: HostId(1),
            generation,
            members: members.iter().copied().map(NodeId).collect(),
            formed: true,
            start: 0,
            history: Vec::new(),
            in_force: generation,
        }
    }

    fn tell(away: &mut AwayDrives, set: &MirrorSet) {
        let (number, _) = away.begin_telling(NODE, set).expect("the set is news");
        away.note_told(NODE, number, Some(set.generation));
    }

    #[test]
    fn a_late_drive_returns_once_it_rested_and_its_file_excludes_it() {
        let mut away = AwayDrives::default();
        let number = away.leave(NODE, Absence::Temporary, MissingDirs::Refuse);
        away.note_rested(NODE, number);
        assert_eq!(away.begin_telling(NODE, &set(1, &[1, 2])), None, "the set is from before the absence");
        assert!(!away.take_returning(NODE, &set(1, &[1, 2])), "the set in the drive's file names the drive");
        assert!(!away.take_returning(NODE, &set(2, &[1])), "the newer set is not in the drive's file");
        tell(&mut away, &set(2, &[1]));
        assert!(away.take_returning(NODE, &set(2, &[1])));
        assert!(!away.take_returning(NODE, &set(2, &[1])), "it is back already");
    }

    #[test]
    fn a_drive_taken_out_of_service_gets_new_sets_and_does_not_return() {
        let mut away = AwayDrives::default();
        let number = away.leave(NODE, Absence::Temporary, MissingDirs::Refuse);
        away.stay_away(NODE);
        away.note_rested(NODE, number);
        tell(&mut away, &set(2, &[1]));
        assert!(!away.take_returning(NODE, &set(2, &[1])));
    }

    #[test]
    fn a_mirror_set_is_written_to_a_drive_again_after_a_failure() {
        let mut away = AwayDrives::default();
        away.leave(NODE, Absence::Permanent, MissingDirs::Refuse);
        let (number, _) = away.begin_telling(NODE, &set(2, &[1])).expect("the set is news");
        assert_eq!(away.begin_telling(NODE, &set(3, &[1])), None, "a write is under way");
        away.note_told(NODE, number, None);
        tell(&mut away, &set(3, &[1]));
        assert_eq!(away.begin_telling(NODE, &set(3, &[1])), None, "the file has it");
    }
}
