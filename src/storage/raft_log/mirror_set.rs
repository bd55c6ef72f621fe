//! The set of current copies of the log: the content of `meta/mirror`, and the choice among the copies found at start.

use super::record::Position;
use super::recovery::RecoveredCopy;
use crate::types::{HostId, NodeId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

const MAGIC: &[u8; 8] = b"SHRDMIR1";
/// Earlier sets that a set names.
const HISTORY_MAX: usize = 64;

/// The copies that hold every acknowledged operation. Written to every drive of the host, so that a copy that is no
/// member is recognised wherever one drive of the host remembers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MirrorSet {
    /// The member of the group whose log this is. A host that rejoined has another id, and none of its former copies counts.
    pub host: HostId,
    /// Grows with every change of the members.
    pub generation: u64,
    pub members: BTreeSet<NodeId>,
    /// True once the group has begun: an empty copy is then a lost one.
    pub formed: bool,
    /// Drawn at the start of the process that made it: sets of two starts differ, whatever else they have in common.
    pub start: u64,
    /// The sets that came before, as `id` has them, the last one last: a set that is not among them is of drives that were
    /// in use apart.
    pub history: Vec<u64>,
    /// The generation of the last set, this one or one before it, of which the writer knew that all members had it. Whatever
    /// was acknowledged since then, the members of that set hold too.
    pub in_force: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MirrorSetFault {
    #[error("not a mirror file of a version known to this program")]
    Foreign,
    #[error("checksum does not match")]
    Checksum,
    #[error("malformed content")]
    Malformed,
}

impl MirrorSet {
    /// The first set of a host that forms its group.
    pub fn first(host: HostId, members: BTreeSet<NodeId>) -> Self {
        Self { host, generation: 1, members, formed: false, start: 0, history: Vec::new(), in_force: 0 }
    }

    /// Returns the set as it is written once all its members have it.
    #[must_use]
    pub fn put_in_force(self) -> Self {
        Self { in_force: self.generation, ..self }
    }

    /// The set that follows this one, made by the same process.
    #[must_use]
    pub fn next(&self, members: BTreeSet<NodeId>, formed: bool) -> Self {
        let mut history = self.history.clone();
        history.push(self.id());
        history.drain(..history.len().saturating_sub(HISTORY_MAX));
        let (generation, in_force) = (self.generation + 1, self.in_force);
        Self { host: self.host, generation, members, formed, start: self.start, history, in_force }
    }

    /// A hash of the set and of all that came before it.
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

    /// Returns whether the other set is this one or one of its predecessors, as far as this one remembers.
    fn is_after(&self, other: &Self) -> bool {
        self.has_had(other.generation, other.id())
    }

    /// Returns whether nothing was acknowledged under the other set that the members of this one may lack: it is this one
    /// or a predecessor, or it never came into force and the last set before it that did is one.
    fn covers(&self, other: &Self) -> bool {
        self.is_after(other) || other.ground().is_none_or(|(generation, id)| self.has_had(generation, id))
    }

    /// The last set, this one or one before it, that is known to have come into force. One that is forgotten counts as this.
    fn ground(&self) -> Option<(u64, u64)> {
        let since = usize::try_from(self.generation.checked_sub(self.in_force)?).ok()?;
        let known = self.history.len().checked_sub(since).and_then(|at| self.history.get(at));
        let id = known.map_or((self.generation, self.id()), |id| (self.in_force, *id));
        (self.in_force > 0).then_some(id)
    }

    fn has_had(&self, generation: u64, id: u64) -> bool {
        if generation >= self.generation {
            return generation == self.generation && id == self.id();
        }
        let back = usize::try_from(self.generation - generation).unwrap_or(usize::MAX);
        self.history.len().checked_sub(back).is_none_or(|at| self.history.get(at) == Some(&id))
    }

    /// Returns the set that counts among those found: the last one that is known to have come into force, or one after it.
    pub fn newest<'a>(found: impl Iterator<Item = &'a Self> + Clone) -> Option<&'a Self> {
        let ground = found.clone().max_by_key(|set| (set.in_force, set.generation))?.ground();
        let counts = |set: &&Self| ground.is_none_or(|(generation, id)| set.has_had(generation, id));
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

/// A drive that is present, and what its copy is.
#[derive(Clone, Debug)]
pub struct DriveFound {
    pub node: NodeId,
    /// `None` where there is none, or none that can be read.
    pub set: Option<MirrorSet>,
    pub copy: CopyFound,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopyFound {
    /// No record at all.
    Empty,
    Sound {
        sequence: u64,
        last: Option<Position>,
    },
    Damaged {
        why: String,
    },
    /// The drive does not let it be opened: nothing is known of it.
    Failed {
        why: String,
    },
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
    /// A drive to which nothing was ever written.
    Fresh,
    /// The group was being formed when it was stopped: nothing was ever acknowledged.
    Unformed { set: MirrorSet },
    Existing {
        set: MirrorSet,
        /// Holds everything acknowledged, and at least as much as any other selected one.
        best: NodeId,
        /// Sound members besides: each holds everything acknowledged, and may miss the end of what `best` has.
        others: Vec<NodeId>,
    },
}

/// The reason for which no copy can be selected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChoiceError {
    #[error("no drive remembers which copies of the metadata log count (meta/mirror), though there are copies")]
    GenerationLost,
    #[error(
        "every current copy of the metadata log is missing: {} have them, as of generation {generation}, and what is in \
         their places is older or nothing; bring one of these drives back, with its directory meta",
        numbers(members)
    )]
    AllMissing { generation: u64, members: Vec<NodeId> },
    #[error(
        "every current copy of the metadata log is damaged: {}; put back a drive with a whole copy of it, or let \
         sherd salvage say what would be lost and go on", shown(.0)
    )]
    AllDamaged(Vec<(NodeId, String)>),
    #[error("no drive lets its copy of the metadata log be opened: {}", shown(.0))]
    AllFailed(Vec<(NodeId, String)>),
    #[error(
        "drives {nodes:?} disagree on which copies of the metadata log count (meta/mirror, generation {generation}): they \
         were in use apart; start without those that are out of date, and empty their directories"
    )]
    Forked { generation: u64, nodes: Vec<NodeId> },
}

impl ChoiceError {
    /// Returns whether no current copy is left that could be read. False if drives merely do not let their copies be
    /// opened, and if two sets of drives were in use apart, of which only an operator can choose one.
    pub fn has_lost_the_log(&self) -> bool {
        match self {
            Self::GenerationLost | Self::AllMissing { .. } | Self::AllDamaged(_) => true,
            Self::AllFailed(_) | Self::Forked { .. } => false,
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

/// Selects the copies to use: members of the newest set seen anywhere, and of those the one that holds most.
///
/// A set is written to its members first, and once all have it, it is written again as in force; only then is anything
/// acknowledged under it alone. So one that a power cut left on some of its members, and that the others never had because the
/// host went on without these, is no sign that drives were in use apart. So where a drive that is no member knows it, all members had it, and one that has
/// an earlier set is an old copy: it is brought up from another, and never the one that others are brought up from. Where only
/// members know it, one that does not may have been cut off just before, and holds all that was acknowledged until then.
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
    if members.is_empty() {
        let members = set.members.iter().copied().collect();
        return Err(ChoiceError::AllMissing { generation: set.generation, members });
    }
    let has_newest = |drive: &DriveFound| drive.set.as_ref().is_some_and(|of| of.is_after(&set));
    let all_had_it = found.iter().any(|drive| has_newest(drive) && !set.members.contains(&drive.node));
    if all_had_it && !members.iter().any(|drive| has_newest(drive)) {
        let members = set.members.iter().copied().collect();
        return Err(ChoiceError::AllMissing { generation: set.generation, members });
    }
    let mut sound: Vec<(bool, u64, Option<Position>, NodeId)> = Vec::new();
    let (mut damaged, mut failed) = (Vec::new(), Vec::new());
    for drive in &members {
        match &drive.copy {
            CopyFound::Sound { sequence, last } => {
                sound.push((!all_had_it || has_newest(drive), *sequence, *last, drive.node))
            }
            CopyFound::Damaged { why } => damaged.push((drive.node, why.clone())),
            CopyFound::Failed { why } => failed.push((drive.node, why.clone())),
            CopyFound::Empty if set.formed => damaged.push((drive.node, "it is empty".to_owned())),
            CopyFound::Empty => {}
        }
    }
    sound.sort();
    match sound.pop() {
        Some((true, _, _, best)) => {
            let others = sound.into_iter().map(|(.., node)| node).collect();
            Ok(MirrorChoice::Existing { set, best, others })
        }
        Some((false, ..)) => Err(ChoiceError::AllDamaged([damaged, failed].concat())),
        None if damaged.is_empty() && failed.is_empty() => Ok(MirrorChoice::Unformed { set }),
        None if damaged.is_empty() => Err(ChoiceError::AllFailed(failed)),
        None => Err(ChoiceError::AllDamaged([damaged, failed].concat())),
    }
}

/// Returns whether a drive's copy is current: the drive is a member, and knows of the present generation or of one with
/// the same history. A drive without a mirror file was emptied or replaced since.
fn counts(drive: &DriveFound, newest: &MirrorSet) -> bool {
    newest.members.contains(&drive.node) && drive.set.is_some()
}
