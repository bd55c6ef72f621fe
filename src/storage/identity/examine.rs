//! The decision about a host's data directories at start: from the content of all of them, a pure function decides
//! whether to form a host, to finish an interrupted formation, or to take the drives into service.

use super::document::{Identity, Member, Stage};
use super::scan::{Content, Found};
use super::{IdentityError, WantedGeometry};
use crate::limits::NODES_OF_HOST_MAX;
use crate::storage::ring::pointless_parity;
use crate::types::{ClusterId, HostId, Incarnation, NodeId, RecoveryEpoch};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// The decision of `examine`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Every directory is empty or absent: form a host.
    Form,
    /// A formation was interrupted: write the missing identities. No claim is `Lost` or `Added`; a directory whose
    /// claim is `Absent` has to be created.
    Finish(Host, Vec<MemberDir>),
    /// Take the drives into service, except the retired ones.
    Open(Host, Vec<MemberDir>, Vec<Retired>),
}

/// A directory of a drive that was removed from the host. The store no longer uses its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retired {
    pub dir: PathBuf,
    pub node: NodeId,
}

/// The host according to its drives: the identity with the youngest membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    pub cluster: ClusterId,
    pub host: HostId,
    pub data: u8,
    pub parity: u8,
    /// The greatest stage of any drive.
    pub stage: Stage,
    pub generation: u64,
    pub members: Vec<Member>,
    /// The ids that the host had before it rejoined its cluster, the oldest first.
    pub earlier: Vec<HostId>,
    pub recovery: RecoveryEpoch,
}

impl From<&Identity> for Host {
    fn from(identity: &Identity) -> Self {
        Self {
            cluster: identity.cluster,
            host: identity.host,
            data: identity.data,
            parity: identity.parity,
            stage: identity.stage,
            generation: identity.generation,
            members: identity.members.clone(),
            earlier: identity.earlier.clone(),
            recovery: identity.recovery,
        }
    }
}

/// A member of the host and the directory assigned to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberDir {
    pub member: Member,
    pub dir: PathBuf,
    pub claim: Claim,
    /// True if the directory is at another place of the list than at formation.
    pub moved: bool,
}

/// The content of a member's directory, compared with the member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The member itself: node and incarnation match.
    Kept { stage: Stage, generation: u64 },
    /// An earlier incarnation of the member, which has been replaced since. Its content may be outdated.
    Returned { identity: Box<Identity> },
    /// An empty directory, for a member that is in no other directory: a replaced drive.
    Vacant,
    /// An empty directory in addition to those of all members: a new drive.
    Added,
    /// The directory does not exist.
    Absent,
    /// The directory is unusable.
    Lost { why: String },
}

impl Claim {
    /// Returns whether the directory holds data that this member stored.
    fn holds_data(&self) -> bool {
        matches!(self, Self::Kept { .. } | Self::Returned { .. })
    }
}

/// Decides what to do with the directories, from the content of each. Refuses a combination that is not one host's.
pub fn examine(found: &[Found], wanted: WantedGeometry) -> Result<Plan, IdentityError> {
    examine_without(found, wanted, &BTreeSet::new())
}

/// Like `examine`, and gives none of these numbers to a further drive.
pub(super) fn examine_without(
    found: &[Found],
    wanted: WantedGeometry,
    taken: &BTreeSet<NodeId>,
) -> Result<Plan, IdentityError> {
    let mut numbers = numbers_known(found);
    numbers.extend(taken.iter().map(|node| node.0));
    let (found, retired) = without_retired(found);
    let found = found.as_slice();
    if let Some((dir, example)) = found.iter().find_map(|found| match &found.content {
        Content::NotOurs { example } => Some((&found.dir, example)),
        _ => None,
    }) {
        return Err(IdentityError::NotOurs { dir: dir.clone(), example: example.clone() });
    }
    let ours: Vec<(&Found, &Identity)> = found.iter().filter_map(|found| Some((found, identity_of(found)?))).collect();
    let Some((_, first)) = ours.first() else { return examine_formation(found, wanted) };
    check_cluster(&ours)?;
    let host = host_of(found).unwrap_or_else(|| Host::from(*first));
    check_members(&host, found, &ours)?;
    check_geometry(&host, wanted)?;
    let mut member_dirs = member_dirs(&host, found);
    if host.stage == Stage::Forming {
        return finish(host, member_dirs);
    }
    if wanted.alone {
        check_enough(&host, &member_dirs)?;
    }
    member_dirs.extend(additions(found, &member_dirs, numbers)?);
    Ok(Plan::Open(host, member_dirs, retired))
}

/// Returns the identity with the greatest generation among those that name the host by its current id.
fn youngest(found: &[Found]) -> Option<&Identity> {
    let identities = || found.iter().filter_map(identity_of);
    let is_present = |identity: &Identity| !identities().any(|other| is_earlier(identity, other));
    identities().max_by_key(|identity| (is_present(identity), identity.generation))
}

/// Returns the host according to the identities found: the youngest membership, with the greatest stage of all.
pub(super) fn host_of(found: &[Found]) -> Option<Host> {
    let host = Host::from(youngest(found)?);
    let stage = found.iter().filter_map(identity_of).map(|identity| identity.stage).max();
    Some(Host { stage: stage.unwrap_or(host.stage), ..host })
}

/// Returns whether `identity` names its host by an id that is an earlier id of the host of `other`.
fn is_earlier(identity: &Identity, other: &Identity) -> bool {
    identity.cluster == other.cluster && other.earlier.contains(&identity.host)
}

/// Separates the directories of removed drives: older identities of the same host whose node the youngest membership no
/// longer contains.
fn without_retired(found: &[Found]) -> (Vec<Found>, Vec<Retired>) {
    let Some(youngest) = youngest(found) else { return (found.to_vec(), Vec::new()) };
    let is_retired = |identity: &Identity| {
        let is_older = match (identity.cluster, identity.host) == (youngest.cluster, youngest.host) {
            true => identity.generation < youngest.generation,
            false => is_earlier(identity, youngest),
        };
        is_older && youngest.members.iter().all(|member| member.node != identity.node)
    };
    let (mut left, mut retired) = (Vec::new(), Vec::new());
    for found in found {
        match identity_of(found) {
            Some(identity) if is_retired(identity) => {
                retired.push(Retired { dir: found.dir.clone(), node: identity.node });
            }
            _ => left.push(found.clone()),
        }
    }
    (left, retired)
}

/// Returns the node numbers in any identity, including those of removed drives. A new drive must not get the number of
/// a removed drive whose directory is still listed, or it would be refused as its copy.
fn numbers_known(found: &[Found]) -> BTreeSet<u32> {
    let members = found.iter().filter_map(identity_of).flat_map(|identity| &identity.members);
    members.map(|member| member.node.0).collect()
}

/// Makes members for the directories that have none. Each becomes a new drive with the next free node number of the
/// host.
fn additions(
    found: &[Found],
    member_dirs: &[MemberDir],
    mut taken: BTreeSet<u32>,
) -> Result<Vec<MemberDir>, IdentityError> {
    let first = taken.first().map_or(0, |node| node / NODES_OF_HOST_MAX * NODES_OF_HOST_MAX);
    let mut added = Vec::new();
    for Found { dir, .. } in
        found.iter().filter(|found| member_dirs.iter().all(|member_dir| member_dir.dir != found.dir))
    {
        let next = taken.last().map_or(first, |last| last + 1);
        let numbers = (next..first + NODES_OF_HOST_MAX).chain(first..next);
        let why =
            || format!("a host has {NODES_OF_HOST_MAX} drives at most, removed ones that are still listed included");
        let node = numbers
            .into_iter()
            .find(|number| !taken.contains(number))
            .ok_or_else(|| IdentityError::Unusable { dir: dir.clone(), why: why() })?;
        taken.insert(node);
        let member = Member { node: NodeId(node), incarnation: Incarnation(0) };
        added.push(MemberDir { member, dir: dir.clone(), claim: Claim::Added, moved: false });
    }
    Ok(added)
}

fn identity_of(found: &Found) -> Option<&Identity> {
    match &found.content {
        Content::Ours(identity) => Some(identity),
        _ => None,
    }
}

fn examine_formation(found: &[Found], wanted: WantedGeometry) -> Result<Plan, IdentityError> {
    for Found { dir, content } in found {
        match content {
            Content::Absent | Content::Blank => {}
            Content::Unreadable { why } => {
                return Err(IdentityError::Unusable { dir: dir.clone(), why: why.clone() });
            }
            Content::Damaged { why } => {
                return Err(IdentityError::Unidentified { dir: dir.clone(), why: why.clone() });
            }
            Content::Ours(_) | Content::NotOurs { .. } => unreachable!("handled before"),
        }
    }
    let pointless = pointless_parity((wanted.data, wanted.parity), found.len()).filter(|_| wanted.alone);
    pointless.map_or(Ok(Plan::Form), |why| Err(IdentityError::PointlessParity { why }))
}

/// Refuses directories of another cluster or host. This host's cluster is the one of most directories; in a tie, the
/// first's.
fn check_cluster(ours: &[(&Found, &Identity)]) -> Result<(), IdentityError> {
    let votes = |cluster: ClusterId| ours.iter().filter(|(_, identity)| identity.cluster == cluster).count();
    let Some(expected) = ours.iter().rev().map(|(_, identity)| identity.cluster).max_by_key(|cluster| votes(*cluster))
    else {
        return Ok(());
    };
    if let Some((stranger, identity)) = ours.iter().find(|(_, identity)| identity.cluster != expected) {
        return Err(IdentityError::Foreign { dir: stranger.dir.clone(), found: identity.cluster, expected });
    }
    let hosts = |host: HostId| ours.iter().filter(|(_, identity)| identity.host == host).count();
    let is_present = |identity: &Identity| !ours.iter().any(|(_, other)| is_earlier(identity, other));
    let present = ours.iter().rev().map(|(_, identity)| *identity);
    let own = present.max_by_key(|identity| (is_present(identity), hosts(identity.host)));
    let is_own = |identity: &Identity| own.is_none_or(|own| identity.host == own.host || is_earlier(identity, own));
    match ours.iter().find(|(_, identity)| !is_own(identity)) {
        Some((stranger, _)) => Err(IdentityError::OtherHost { dir: stranger.dir.clone() }),
        None => Ok(()),
    }
}

fn check_members(host: &Host, found: &[Found], ours: &[(&Found, &Identity)]) -> Result<(), IdentityError> {
    for (i, (first, identity)) in ours.iter().enumerate() {
        if let Some((second, _)) = ours.iter().skip(i + 1).find(|(_, other)| other.node == identity.node) {
            let (first, second) = (first.dir.clone(), second.dir.clone());
            return Err(IdentityError::Duplicate { node: identity.node, first, second });
        }
        if !host.members.iter().any(|member| member.node == identity.node) {
            return Err(IdentityError::OtherHost { dir: first.dir.clone() });
        }
    }
    let is_whole = host.members.iter().all(|member| ours.iter().any(|(_, identity)| identity.node == member.node));
    let is_formed = host.stage > Stage::Forming;
    let others_are_blank = found.iter().all(|found| identity_of(found).is_some() || found.content == Content::Blank);
    // While a drive is missing, an empty directory could be either a new drive or a replacement of the missing one.
    let has_more = is_whole && is_formed && others_are_blank && found.len() > host.members.len();
    if found.len() == host.members.len() || has_more {
        return Ok(());
    }
    let member_dir = |node: NodeId| match ours.iter().find(|(_, identity)| identity.node == node) {
        Some((found, _)) => format!("node {node} is {}", found.dir.display()),
        None => format!("node {node} is not among them"),
    };
    let member_dirs = host.members.iter().map(|member| member_dir(member.node)).collect::<Vec<_>>().join(", ");
    Err(IdentityError::WrongCount { formed: host.members.len(), given: found.len(), member_dirs })
}

fn check_geometry(host: &Host, wanted: WantedGeometry) -> Result<(), IdentityError> {
    if !wanted.explicit || (wanted.data, wanted.parity) == (host.data, host.parity) {
        return Ok(());
    }
    let formed = format!("{}+{}", host.data, host.parity);
    Err(IdentityError::GeometryDiffers { formed, asked: format!("{}+{}", wanted.data, wanted.parity) })
}

/// Assigns a directory to each member: the one with its identity, else the directory at the member's place in the list,
/// else any other. The last two have no identity: they are empty, absent or unusable.
fn member_dirs(host: &Host, found: &[Found]) -> Vec<MemberDir> {
    let holds = |found: &Found, node: NodeId| identity_of(found).is_some_and(|identity| identity.node == node);
    let mut free: Vec<usize> = (0..found.len()).filter(|&place| identity_of(&found[place]).is_none()).collect();
    let mut places: Vec<Option<usize>> =
        host.members.iter().map(|member| found.iter().position(|found| holds(found, member.node))).collect();
    for (own, place) in places.iter_mut().enumerate() {
        if place.is_none()
            && let Some(at) = free.iter().position(|&place| place == own)
        {
            *place = Some(free.remove(at));
        }
    }
    let mut free = free.into_iter();
    let member_dir = |(own, member): (usize, &Member)| {
        let place = places[own].or_else(|| free.next()).expect("there are as many directories as members");
        let Found { dir, content } = &found[place];
        MemberDir { member: *member, dir: dir.clone(), claim: claim(host.host, *member, content), moved: place != own }
    };
    host.members.iter().enumerate().map(member_dir).collect()
}

fn claim(host: HostId, member: Member, content: &Content) -> Claim {
    match content {
        Content::Ours(identity) if identity.incarnation == member.incarnation => {
            // Generations are comparable only between identities with the same host id.
            let generation = if identity.host == host { identity.generation } else { 0 };
            Claim::Kept { stage: identity.stage, generation }
        }
        Content::Ours(identity) => Claim::Returned { identity: identity.clone() },
        Content::Blank => Claim::Vacant,
        Content::Absent => Claim::Absent,
        Content::Unreadable { why } | Content::Damaged { why } => Claim::Lost { why: why.clone() },
        Content::NotOurs { example } => Claim::Lost { why: format!("it holds {example:?}") },
    }
}

/// Plans the rest of a formation. No drive is `Formed`, so none has ever been in service: every directory must be
/// usable, and an absent one is created.
fn finish(host: Host, member_dirs: Vec<MemberDir>) -> Result<Plan, IdentityError> {
    for member_dir in &member_dirs {
        if let Claim::Lost { why } = &member_dir.claim {
            return Err(IdentityError::Unusable { dir: member_dir.dir.clone(), why: why.clone() });
        }
    }
    Ok(Plan::Finish(host, member_dirs))
}

/// Returns the least number of drives of a single host with which objects can be read.
pub fn drives_needed(data: u8, parity: u8, drives: usize) -> usize {
    let shards = usize::from(data) + usize::from(parity);
    let shards_a_drive = shards.div_ceil(drives.max(1)).max(1);
    usize::from(data).div_ceil(shards_a_drive)
}

fn check_enough(host: &Host, member_dirs: &[MemberDir]) -> Result<(), IdentityError> {
    let usable = member_dirs.iter().filter(|member_dir| member_dir.claim.holds_data()).count();
    let needed = drives_needed(host.data, host.parity, host.members.len());
    if usable >= needed {
        return Ok(());
    }
    let detail = |member_dir: &MemberDir| {
        let (node, dir) = (member_dir.member.node, member_dir.dir.display());
        match &member_dir.claim {
            Claim::Lost { why } => Some(format!("node {node} ({dir}): {why}")),
            Claim::Absent => Some(format!("node {node} ({dir}): the directory does not exist")),
            Claim::Vacant => Some(format!("node {node} ({dir}): the directory is empty; is its drive mounted?")),
            Claim::Kept { .. } | Claim::Returned { .. } | Claim::Added => None,
        }
    };
    let details = member_dirs.iter().filter_map(detail).collect::<Vec<_>>().join("; ");
    Err(IdentityError::TooFew { usable, total: member_dirs.len(), needed, details })
}
