//! The set of current copies of the log: the content of `meta/mirror`, and the choice among the copies found at start.

use super::record::Position;
use super::recovery::RecoveredCopy;
use crate::types::{HostId, NodeId, UnixMs};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

const MAGIC: &[u8; 8] = b"SHRDMIR1";
/// The number of earlier sets that a set remembers.
const HISTORY_MAX: usize = 64;

/// The copies that hold every acknowledged operation. It is written to every drive of the host, so that a copy that is
/// not a member is recognised as long as one drive remembers the set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MirrorSet {
    /// The id of the Raft member whose log this is. A host that rejoined has another id, and copies under its former id
    /// do not count.
    pub host: HostId,
    /// Grows with every change of the members.
    pub generation: u64,
    pub members: BTreeSet<NodeId>,
    /// True once the Raft group is formed: from then on, an empty copy counts as a lost one.
    pub formed: bool,
    /// A number drawn at each start of the process. So sets of two starts differ, even with the same members and
    /// history.
    pub start: u64,
    /// The ids of the preceding sets, oldest first. A set that is neither this one nor among them was made by drives
    /// that were in use separately.
    pub history: Vec<u64>,
    /// The generation of the last set (this one or a preceding one) that its writer knew to be on all its members. The
    /// members of that set hold everything that was acknowledged since, too.
    pub in_force: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MirrorSetFault {
    #[error("not a mirror file, or of a version unknown to this program")]
    Foreign,
    #[error("the checksum does not match")]
    Checksum,
    #[error("the content is malformed")]
    Malformed,
}

impl MirrorSet {
    /// Returns the first set of a host that forms its group.
    pub fn first(host: HostId, members: BTreeSet<NodeId>) -> Self {
        Self { host, generation: 1, members, formed: false, start: 0, history: Vec::new(), in_force: 0 }
    }

    /// Returns the set of a host on which no drive has a set that can be read. All its copies count, and the one that
    /// holds most is the source. Its generation is a time, far above any that was counted, so that a set of a drive that
    /// comes back later counts as an earlier one.
    pub fn salvaged(host: HostId, members: BTreeSet<NodeId>, now: UnixMs) -> Self {
        Self { generation: now.0, formed: true, ..Self::first(host, members) }.put_in_force()
    }

    /// Returns the set as it is written once all its members have it: marked as in force.
    #[must_use]
    pub fn put_in_force(self) -> Self {
        Self { in_force: self.generation, ..self }
    }

    /// Returns the set that follows this one, made by the same process.
    #[must_use]
    pub fn next(&self, members: BTreeSet<NodeId>, formed: bool) -> Self {
        let mut history = self.history.clone();
        history.push(self.id());
        history.drain(..history.len().saturating_sub(HISTORY_MAX));
        let (generation, in_force) = (self.generation + 1, self.in_force);
        Self { host: self.host, generation, members, formed, start: self.start, history, in_force }
    }

    /// Returns a hash of the set, without `in_force`, and of all preceding sets.
    fn id(&self) -> u64 {
        let mut digest = Sha256::new();
        digest.update(self.history.last().copied().unwrap_or(0).to_le_bytes());
        digest.update(self.host.0.to_le_bytes());
        digest.update(self.generation.to_le_bytes());
        digest.update([u8::from(self.formed)]);
        digest.update(self.start.to_le_bytes());
        self.members.iter().for_each(|node| digest.update(node.0.to_le_bytes()));
        let hash: [u8; 32] = digest.finalize().into();
        u64::from_le_bytes(std::array::from_fn(|at| hash[at]))
    }

    /// Returns whether the other set is this one or precedes it. A set that is older than the history counts as
    /// preceding.
    fn is_after(&self, other: &Self) -> bool {
        self.includes(other.generation, other.id())
    }

    /// Returns whether the members of this set hold everything that was acknowledged under the other set. They do if
    /// the other set is this one or precedes it, and if it never came into force and the last set before it that did is
    /// this one or precedes it.
    fn covers(&self, other: &Self) -> bool {
        self.is_after(other) || other.last_in_force().is_none_or(|(generation, id)| self.includes(generation, id))
    }

    /// Returns generation and id of the last set (this one or a preceding one) that is known to have come into force;
    /// `None` if none is. A set that is older than the history is replaced by this one.
    fn last_in_force(&self) -> Option<(u64, u64)> {
        let since = usize::try_from(self.generation.checked_sub(self.in_force)?).ok()?;
        let known = self.history.len().checked_sub(since).and_then(|at| self.history.get(at));
        let id = known.map_or((self.generation, self.id()), |id| (self.in_force, *id));
        (self.in_force > 0).then_some(id)
    }

    fn includes(&self, generation: u64, id: u64) -> bool {
        if generation >= self.generation {
            return generation == self.generation && id == self.id();
        }
        let back = usize::try_from(self.generation - generation).unwrap_or(usize::MAX);
        self.history.len().checked_sub(back).is_none_or(|at| self.history.get(at) == Some(&id))
    }

    /// Returns the newest of the sets found. Only the last set that is known to have come into force, and those that
    /// follow it, count.
    pub fn newest<'a>(found: impl Iterator<Item = &'a Self> + Clone) -> Option<&'a Self> {
        let ground = found.clone().max_by_key(|set| (set.in_force, set.generation))?.last_in_force();
        let counts = |set: &&Self| ground.is_none_or(|(generation, id)| set.includes(generation, id));
        found.filter(counts).max_by_key(|set| set.generation)
    }

    /// Magic with version (8) · crc32c of the rest, little-endian (4) · postcard.
    pub fn encode(&self) -> Vec<u8> {
        let encoded = postcard::to_stdvec(self);
        assert!(encoded.is_ok(), "plain data always encodes");
        let content = encoded.unwrap_or_default();
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&crc32c::crc32c(&content).to_le_bytes());
        bytes.extend_from_slice(&content);
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, MirrorSetFault> {
        let (magic, rest) = bytes.split_at_checked(8).ok_or(MirrorSetFault::Foreign)?;
        if magic != MAGIC {
            return Err(MirrorSetFault::Foreign);
        }
        let (sum, content) = rest.split_at_checked(4).ok_or(MirrorSetFault::Malformed)?;
        if sum != crc32c::crc32c(content).to_le_bytes() {
            return Err(MirrorSetFault::Checksum);
        }
        match postcard::take_from_bytes(content) {
            Ok((set, [])) => Ok(set),
            _ => Err(MirrorSetFault::Malformed),
        }
    }
}

/// A drive that is present, with its mirror set and the state of its copy.
#[derive(Clone, Debug)]
pub struct DriveFound {
    pub node: NodeId,
    /// `None` if the drive has no `meta/mirror` that can be read.
    pub set: Option<MirrorSet>,
    pub copy: CopyFound,
    /// The other drives whose copies this one continues (`RecoveredCopy::continues`). Only used without a set.
    pub continues: BTreeSet<NodeId>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopyFound {
    /// The copy has no record.
    Empty,
    Sound {
        sequence: u64,
        last: Option<Position>,
    },
    Damaged {
        why: String,
    },
    /// The copy cannot be opened, and its content is unknown.
    Failed {
        why: String,
    },
}

impl CopyFound {
    /// Returns whether this copy is whole and ends after another one, by its last operation or its last entry. `end`:
    /// the last operation and the last entry of the other one; every whole copy ends after none.
    fn is_beyond(&self, end: Option<(u64, Option<Position>)>) -> bool {
        let Self::Sound { sequence, last } = self else { return false };
        end.is_none_or(|(operation, entry)| *sequence > operation || *last > entry)
    }
}

impl From<&Result<RecoveredCopy, String>> for CopyFound {
    fn from(found: &Result<RecoveredCopy, String>) -> Self {
        match found {
            Err(why) => Self::Damaged { why: why.clone() },
            Ok(copy) => match copy.sequence {
                None => Self::Empty,
                Some(sequence) => Self::Sound { sequence, last: copy.last() },
            },
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MirrorChoice {
    /// No drive has a copy or a mirror set: nothing was ever written.
    Fresh,
    /// The process ended while the group was being formed: nothing was ever acknowledged.
    Unformed { set: MirrorSet },
    Existing {
        set: MirrorSet,
        /// The copy that holds most. It holds everything acknowledged.
        best: NodeId,
        /// The other sound copies of members. Each may lack the end of what `best` has, or be an old copy with any
        /// content; it is brought up to `best`.
        others: Vec<NodeId>,
    },
}

/// The reason why no copy can be selected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChoiceError {
    #[error(
        "no drive has a readable list of the current copies of the metadata log (meta/mirror), though there are copies: \
         start with all drives of this host, or run sherd salvage, which goes on with the copy that holds most"
    )]
    GenerationLost,
    #[error(
        "every current copy of the metadata log is missing: they are on {} (generation {generation}), and the copies found \
         are older or empty; bring one of these drives back, with its directory meta",
        numbers(members)
    )]
    AllMissing { generation: u64, members: Vec<NodeId> },
    #[error(
        "every current copy of the metadata log is damaged: {}; put back a drive with a whole copy of it, or run \
         sherd salvage, which says what would be lost and goes on without it", shown(.0)
    )]
    AllDamaged(Vec<(NodeId, String)>),
    #[error("no current copy of the metadata log can be opened: {}", shown(.0))]
    AllFailed(Vec<(NodeId, String)>),
    #[error(
        "{} disagree on which copies of the metadata log are current (meta/mirror, generation {generation}): they were in \
         use separately; start without those that are out of date, and empty their directories",
        numbers(nodes)
    )]
    Forked { generation: u64, nodes: Vec<NodeId> },
    #[error(
        "the list of the current copies of the metadata log (meta/mirror) cannot be read on {}, and the copy of the \
         log there has more than any that is known to be current: put that file back, or start without the drives that \
         are out of date, and empty their directories; if only drives without such a file are left, sherd salvage goes \
         on with the copy that holds most",
        numbers(.0)
    )]
    Unlisted(Vec<NodeId>),
}

impl ChoiceError {
    /// Returns whether no readable current copy is left. False if copies merely cannot be opened, and if drives were in
    /// use separately or a whole copy may be the current one, because then an operator has to choose.
    pub fn has_lost_the_log(&self) -> bool {
        match self {
            Self::GenerationLost | Self::AllMissing { .. } | Self::AllDamaged(_) => true,
            Self::AllFailed(_) | Self::Forked { .. } | Self::Unlisted(_) => false,
        }
    }
}

fn numbers(nodes: &[NodeId]) -> String {
    let nodes: Vec<String> = nodes.iter().map(ToString::to_string).collect();
    format!("{} {}", if nodes.len() == 1 { "drive" } else { "drives" }, nodes.join(", "))
}

fn shown(damaged: &[(NodeId, String)]) -> String {
    damaged.iter().map(|(node, why)| format!("node {node}: {why}")).collect::<Vec<_>>().join("; ")
}

/// Selects the copies to use: members of the newest set found on any drive, and of those the one that holds most.
///
/// A set is written first to its members, and again, as in force, once all have it. Only then is anything acknowledged
/// under it alone. It follows:
/// - A set that a power cut left on some of its members, and without which the host went on, is no sign that drives
///   were in use separately.
/// - If a drive that is not a member has the set, or any drive has it marked as in force, all members had it. A member
///   with an earlier set is then an old copy: it is brought up from another one and is never the source.
/// - If only members have the set, unmarked, a member without it may have been cut off just before. It holds everything
///   acknowledged until then, and may be the source.
///
/// A drive has a set before its copy counts. So a whole copy without a set that can be read has lost its set, which may
/// have been a newer one than all others. If that copy ends after the source, it is the source if it is a member's,
/// the only such copy, and continues the source; otherwise nothing is selected.
pub fn choose(found: &[DriveFound]) -> Result<MirrorChoice, ChoiceError> {
    let Some(set) = MirrorSet::newest(found.iter().filter_map(|drive| drive.set.as_ref())).cloned() else {
        let blank = found.iter().all(|drive| drive.copy == CopyFound::Empty);
        return if blank { Ok(MirrorChoice::Fresh) } else { Err(ChoiceError::GenerationLost) };
    };
    if found.iter().filter_map(|drive| drive.set.as_ref()).any(|of| !set.covers(of)) {
        let apart = |of: &MirrorSet| of.is_after(&set) || !set.covers(of);
        let nodes = found.iter().filter(|drive| drive.set.as_ref().is_some_and(apart)).map(|drive| drive.node);
        return Err(ChoiceError::Forked { generation: set.generation, nodes: nodes.collect() });
    }
    let members: Vec<&DriveFound> = found.iter().filter(|drive| counts(drive, &set)).collect();
    let all_had_it = had_by_all(found, &set);
    let mut sound: Vec<(bool, u64, Option<Position>, NodeId)> = Vec::new();
    let (mut damaged, mut failed) = (Vec::new(), Vec::new());
    for drive in &members {
        match &drive.copy {
            CopyFound::Sound { sequence, last } => {
                sound.push((!all_had_it || has_newest(drive, &set), *sequence, *last, drive.node))
            }
            CopyFound::Damaged { why } => damaged.push((drive.node, why.clone())),
            CopyFound::Failed { why } => failed.push((drive.node, why.clone())),
            CopyFound::Empty if set.formed => damaged.push((drive.node, "it is empty".to_owned())),
            CopyFound::Empty => {}
        }
    }
    sound.sort();
    let longest = sound.pop();
    let end = longest.filter(|(is_current, ..)| *is_current).map(|(_, operation, entry, _)| (operation, entry));
    let unlisted = found.iter().filter(|drive| drive.set.is_none() && drive.copy.is_beyond(end));
    let unlisted: Vec<&DriveFound> = unlisted.collect();
    if let ([only], Some((true, .., best))) = (&unlisted[..], longest)
        && set.members.contains(&only.node)
        && only.continues.contains(&best)
    {
        let others = sound.into_iter().map(|(.., node)| node).chain([best]).collect();
        return Ok(MirrorChoice::Existing { set, best: only.node, others });
    }
    if !unlisted.is_empty() {
        return Err(ChoiceError::Unlisted(unlisted.into_iter().map(|drive| drive.node).collect()));
    }
    if members.is_empty() || (all_had_it && !members.iter().any(|drive| has_newest(drive, &set))) {
        let members = set.members.iter().copied().collect();
        return Err(ChoiceError::AllMissing { generation: set.generation, members });
    }
    match longest {
        Some((true, _, _, best)) => {
            let others = sound.into_iter().map(|(.., node)| node).collect();
            Ok(MirrorChoice::Existing { set, best, others })
        }
        None if damaged.is_empty() && failed.is_empty() => Ok(MirrorChoice::Unformed { set }),
        _ if damaged.is_empty() && !failed.is_empty() => Err(ChoiceError::AllFailed(failed)),
        _ => Err(ChoiceError::AllDamaged([damaged, failed].concat())),
    }
}

/// Returns the drives whose copies may be the source, whole or not: members of the newest set that have a set
/// themselves, and that one if all members had it.
pub fn current_members(found: &[DriveFound], newest: &MirrorSet) -> BTreeSet<NodeId> {
    let all_had_it = had_by_all(found, newest);
    let is_current = |drive: &&DriveFound| counts(drive, newest) && (!all_had_it || has_newest(drive, newest));
    found.iter().filter(is_current).map(|drive| drive.node).collect()
}

/// Returns whether all members had the newest set, as the sets that were found show.
fn had_by_all(found: &[DriveFound], newest: &MirrorSet) -> bool {
    let is_in_force = |drive: &DriveFound| drive.set.as_ref().is_some_and(|of| of.in_force == newest.generation);
    let shows = |drive: &DriveFound| is_in_force(drive) || !newest.members.contains(&drive.node);
    found.iter().any(|drive| has_newest(drive, newest) && shows(drive))
}

fn has_newest(drive: &DriveFound, newest: &MirrorSet) -> bool {
    drive.set.as_ref().is_some_and(|of| of.is_after(newest))
}

/// Returns whether a drive's copy counts: the drive is a member of the newest set and has a set itself. A member
/// without one was emptied or replaced, or has lost its set.
fn counts(drive: &DriveFound, newest: &MirrorSet) -> bool {
    newest.members.contains(&drive.node) && drive.set.is_some()
}
