//! Drives that left the mirror while the process lives: whether they come back, and what their file says. Pure.

use super::files::Ground;
use crate::storage::raft_log::MirrorSet;
use crate::types::NodeId;
use std::collections::BTreeMap;
use std::io;

/// The reason for which a drive leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// The drive did not answer in time, or has no space: it is filled anew later.
    Brief,
    /// The drive failed or was taken out of service: only the host brings it back.
    Lasting,
}

impl Absence {
    /// Returns the absence of a drive that did not take a file.
    pub fn after(error: io::ErrorKind) -> Self {
        match error {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Brief,
            _ => Self::Lasting,
        }
    }
}

/// The number of one absence of one drive, which tells late events of an earlier absence.
pub type AbsenceNumber = u64;

#[derive(Debug)]
struct Away {
    number: AbsenceNumber,
    absence: Absence,
    ground: Ground,
    /// True if nothing of its former copy is under way any more, and the pause is over.
    rested: bool,
    /// The generation that its file has, as far as this process wrote it.
    told: u64,
    telling: bool,
}

#[derive(Debug, Default)]
pub struct AwayDrives {
    by_node: BTreeMap<NodeId, Away>,
    absences: AbsenceNumber,
}

impl AwayDrives {
    pub fn leave(&mut self, node: NodeId, absence: Absence, ground: Ground) -> AbsenceNumber {
        self.absences += 1;
        let number = self.absences;
        self.by_node.insert(node, Away { number, absence, ground, rested: false, told: 0, telling: false });
        number
    }

    /// Keeps the drive out: it does not come back by itself.
    pub fn stay_away(&mut self, node: NodeId) {
        if let Some(away) = self.by_node.get_mut(&node) {
            away.absence = Absence::Lasting;
        }
    }

    pub fn nodes(&self) -> Vec<NodeId> {
        self.by_node.keys().copied().collect()
    }

    /// The present absence, where it is a brief one.
    pub fn brief(&self, node: NodeId) -> Option<AbsenceNumber> {
        self.by_node.get(&node).filter(|away| away.absence == Absence::Brief).map(|away| away.number)
    }

    pub fn note_rested(&mut self, node: NodeId, number: AbsenceNumber) {
        if let Some(away) = self.present(node, number) {
            away.rested = true;
        }
    }

    /// Returns the number to write under if this set must still be written to the drive's file; the caller then begins
    /// the write. A set that names the drive as a member is not written: the drive left since.
    pub fn begin_telling(&mut self, node: NodeId, set: &MirrorSet) -> Option<(AbsenceNumber, Ground)> {
        let away = self.by_node.get_mut(&node)?;
        let due = !away.telling && away.told < set.generation && !set.members.contains(&node);
        away.telling |= due;
        due.then_some((away.number, away.ground))
    }

    /// `generation`: what was written, if it was.
    pub fn note_told(&mut self, node: NodeId, number: AbsenceNumber, generation: Option<u64>) {
        if let Some(away) = self.present(node, number) {
            away.telling = false;
            away.told = generation.unwrap_or(away.told);
        }
    }

    /// Returns whether the drive may be filled as a new member: it has rested, and its file says that its copy is not
    /// current. A half-filled copy on a drive whose file says otherwise would be selected at a start.
    pub fn take_returning(&mut self, node: NodeId, set: &MirrorSet) -> bool {
        let returns = self.by_node.get(&node).is_some_and(|away| {
            away.absence == Absence::Brief && away.rested && away.told >= set.generation && !set.members.contains(&node)
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
    use super::{Absence, AwayDrives};
    use crate::actors::consensus::mirror::files::Ground;
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
    fn a_late_drive_returns_when_it_has_rested_and_its_file_names_a_set_without_it() {
        let mut away = AwayDrives::default();
        let number = away.leave(NODE, Absence::Brief, Ground::Laid);
        away.note_rested(NODE, number);
        assert_eq!(away.begin_telling(NODE, &set(1, &[1, 2])), None, "the set that it knows");
        assert!(!away.take_returning(NODE, &set(1, &[1, 2])), "its file still vouches for it");
        assert!(!away.take_returning(NODE, &set(2, &[1])), "it does not know of the newer set");
        tell(&mut away, &set(2, &[1]));
        assert!(away.take_returning(NODE, &set(2, &[1])));
        assert!(!away.take_returning(NODE, &set(2, &[1])), "it is back already");
    }

    #[test]
    fn a_drive_that_was_taken_out_of_service_gets_new_sets_and_does_not_return() {
        let mut away = AwayDrives::default();
        let number = away.leave(NODE, Absence::Brief, Ground::Laid);
        away.stay_away(NODE);
        away.note_rested(NODE, number);
        tell(&mut away, &set(2, &[1]));
        assert!(!away.take_returning(NODE, &set(2, &[1])));
    }

    #[test]
    fn a_set_is_written_once_at_a_time_and_again_where_that_failed() {
        let mut away = AwayDrives::default();
        away.leave(NODE, Absence::Lasting, Ground::Laid);
        let (number, _) = away.begin_telling(NODE, &set(2, &[1])).expect("the set is news");
        assert_eq!(away.begin_telling(NODE, &set(3, &[1])), None, "a write is under way");
        away.note_told(NODE, number, None);
        tell(&mut away, &set(3, &[1]));
        assert_eq!(away.begin_telling(NODE, &set(3, &[1])), None, "the file has it");
    }
}
