//! What the directories mean together: a pure decision over what was found in them.

use super::document::{Identity, Member, Stage};
use super::scan::{Content, Found};
use super::{IdentityError, WantedGeometry};
use crate::limits::NODES_OF_HOST_MAX;
use crate::storage::ring::pointless_parity;
use crate::types::{ClusterId, HostId, Incarnation, NodeId, RecoveryEpoch};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Every directory is empty or not there: form a host.
    Form,
    /// A formation was interrupted: write what is missing of it. The seats are as in `Open`, every claim `Kept` or `Vacant`.
    Finish(Host, Vec<Seat>),
    /// Take the drives into service, but those that were removed.
    Open(Host, Vec<Seat>, Vec<Retired>),
}

/// A directory of a drive that was removed from the host: nothing of the store is in it any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retired {
    pub dir: PathBuf,
    pub node: NodeId,
}

/// What the drives agree on: the youngest membership found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    pub cluster: ClusterId,
    pub host: HostId,
    pub data: u8,
    pub parity: u8,
    /// How far the host came, by the drive that saw most of it.
    pub stage: Stage,
    pub generation: u64,
    pub members: Vec<Member>,
    /// Ids that the host had before.
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

/// A member and the directory that stands for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    pub member: Member,
    pub dir: PathBuf,
    pub claim: Claim,
    /// The directory is at another place of the list than at formation.
    pub moved: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The drive that the membership knows.
    Kept { stage: Stage, generation: u64 },
    /// The drive that was this member before it was replaced; what it holds may be old.
    Returned { identity: Box<Identity> },
    /// An empty directory in the place of a member that is nowhere else: a replaced drive.
    Vacant,
    /// An empty directory beside those of all members: another drive.
    Added,
    /// There is no such directory.
    Absent,
    /// Not usable.
    Lost { why: String },
}

impl Claim {
    /// Whether the directory holds what this member once stored.
    fn holds_data(&self) -> bool {
        matches!(self, Self::Kept { .. } | Self::Returned { .. })
    }
}

pub fn examine(found: &[Found], wanted: WantedGeometry) -> Result<Plan, IdentityError> {
    examine_without(found, wanted, &BTreeSet::new())
}

/// As `examine`, and gives none of these numbers to a further drive.
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
    let mut seats = seats(&host, found);
    if host.stage == Stage::Forming {
        return finish(host, seats);
    }
    if wanted.alone {
        check_enough(&host, &seats)?;
    }
    seats.extend(additions(found, &seats, numbers)?);
    Ok(Plan::Open(host, seats, retired))
}

/// The identity with the greatest generation, of those that name their host by its present id.
fn youngest(found: &[Found]) -> Option<&Identity> {
    let identities = || found.iter().filter_map(identity_of);
    let is_present = |identity: &Identity| !identities().any(|other| is_earlier(identity, other));
    identities().max_by_key(|identity| (is_present(identity), identity.generation))
}

/// What the identities that were found agree on.
pub(super) fn host_of(found: &[Found]) -> Option<Host> {
    let host = Host::from(youngest(found)?);
    let stage = found.iter().filter_map(identity_of).map(|identity| identity.stage).max();
    Some(Host { stage: stage.unwrap_or(host.stage), ..host })
}

/// Whether an identity names its host by an id that the host of the other one had before.
fn is_earlier(identity: &Identity, other: &Identity) -> bool {
    identity.cluster == other.cluster && other.earlier.contains(&identity.host)
}

/// Sets aside what the youngest membership of the same host has no seat for any more.
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

/// The numbers of all drives that any identity knows, those of removed ones among them: under the number of a removed drive
/// that is still listed, a further one would be taken for its copy.
fn numbers_known(found: &[Found]) -> BTreeSet<u32> {
    let members = found.iter().filter_map(identity_of).flat_map(|identity| &identity.members);
    members.map(|member| member.node.0).collect()
}

/// Seats for the directories that no member has: further drives, each with the next number of the host's that is not taken.
fn additions(found: &[Found], seats: &[Seat], mut taken: BTreeSet<u32>) -> Result<Vec<Seat>, IdentityError> {
    let first = taken.first().map_or(0, |node| node / NODES_OF_HOST_MAX * NODES_OF_HOST_MAX);
    let mut added = Vec::new();
    for Found { dir, .. } in found.iter().filter(|found| seats.iter().all(|seat| seat.dir != found.dir)) {
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
        added.push(Seat { member, dir: dir.clone(), claim: Claim::Added, moved: false });
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

/// The cluster that most directories belong to is ours; in a tie, that of the first.
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
    // Where a drive is missing it could not be told which empty directory is new and which stands for that one.
    let has_more = is_whole && is_formed && others_are_blank && found.len() > host.members.len();
    if found.len() == host.members.len() || has_more {
        return Ok(());
    }
    let seat = |node: NodeId| match ours.iter().find(|(_, identity)| identity.node == node) {
        Some((found, _)) => format!("node {node} is {}", found.dir.display()),
        None => format!("node {node} is not among them"),
    };
    let seats = host.members.iter().map(|member| seat(member.node)).collect::<Vec<_>>().join(", ");
    Err(IdentityError::WrongCount { formed: host.members.len(), given: found.len(), seats })
}

fn check_geometry(host: &Host, wanted: WantedGeometry) -> Result<(), IdentityError> {
    if !wanted.explicit || (wanted.data, wanted.parity) == (host.data, host.parity) {
        return Ok(());
    }
    let formed = format!("{}+{}", host.data, host.parity);
    Err(IdentityError::GeometryDiffers { formed, asked: format!("{}+{}", wanted.data, wanted.parity) })
}

/// Each member's directory: the one with its identity; else an empty or lost one, its own of the formation before others.
fn seats(host: &Host, found: &[Found]) -> Vec<Seat> {
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
    let seat = |(own, member): (usize, &Member)| {
        let place = places[own].or_else(|| free.next()).expect("there are as many directories as members");
        let Found { dir, content } = &found[place];
        Seat { member: *member, dir: dir.clone(), claim: claim(host.host, *member, content), moved: place != own }
    };
    host.members.iter().enumerate().map(seat).collect()
}

fn claim(host: HostId, member: Member, content: &Content) -> Claim {
    match content {
        Content::Ours(identity) if identity.incarnation == member.incarnation => {
            // Generations are compared under one id of the host only.
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

/// No drive says `Formed`, so none has ever been in service: every directory must take part; one that is not there is made.
fn finish(host: Host, seats: Vec<Seat>) -> Result<Plan, IdentityError> {
    for seat in &seats {
        if let Claim::Lost { why } = &seat.claim {
            return Err(IdentityError::Unusable { dir: seat.dir.clone(), why: why.clone() });
        }
    }
    Ok(Plan::Finish(host, seats))
}

/// Drives without which no object at all can be read.
pub fn drives_needed(data: u8, parity: u8, drives: usize) -> usize {
    let shards = usize::from(data) + usize::from(parity);
    let shards_a_drive = shards.div_ceil(drives.max(1)).max(1);
    usize::from(data).div_ceil(shards_a_drive)
}

fn check_enough(host: &Host, seats: &[Seat]) -> Result<(), IdentityError> {
    let usable = seats.iter().filter(|seat| seat.claim.holds_data()).count();
    let needed = drives_needed(host.data, host.parity, host.members.len());
    if usable >= needed {
        return Ok(());
    }
    let detail = |seat: &Seat| {
        let (node, dir) = (seat.member.node, seat.dir.display());
        match &seat.claim {
            Claim::Lost { why } => Some(format!("node {node} ({dir}): {why}")),
            Claim::Absent => Some(format!("node {node} ({dir}): the directory does not exist")),
            Claim::Vacant => Some(format!("node {node} ({dir}): the directory is empty; is its drive mounted?")),
            Claim::Kept { .. } | Claim::Returned { .. } | Claim::Added => None,
        }
    };
    let details = seats.iter().filter_map(detail).collect::<Vec<_>>().join("; ");
    Err(IdentityError::TooFew { usable, total: seats.len(), needed, details })
}
