//! What the directories mean together: a pure decision over what was found in them.

use super::document::{Identity, Member, Stage};
use super::scan::{Content, Found};
use super::{IdentityError, WantedGeometry};
use crate::types::{ClusterId, HostId, NodeId};
use std::path::PathBuf;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Every directory is empty or not there: form a host.
    Form,
    /// A formation was interrupted: write what is missing of it. The seats are as in `Open`, every claim `Kept` or `Vacant`.
    Finish(Host, Vec<Seat>),
    /// Take the drives into service.
    Open(Host, Vec<Seat>),
}

/// What the drives agree on: the youngest membership found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    pub cluster: ClusterId,
    pub host: HostId,
    pub data: u8,
    pub parity: u8,
    pub generation: u64,
    pub members: Vec<Member>,
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
    if let Some((dir, example)) = found.iter().find_map(|found| match &found.content {
        Content::NotOurs { example } => Some((&found.dir, example)),
        _ => None,
    }) {
        return Err(IdentityError::NotOurs { dir: dir.clone(), example: example.clone() });
    }
    let ours: Vec<(&Found, &Identity)> = found.iter().filter_map(|found| Some((found, identity_of(found)?))).collect();
    let Some((_, first)) = ours.first() else { return examine_formation(found) };
    check_cluster(&ours)?;
    let youngest =
        ours.iter().map(|(_, identity)| *identity).max_by_key(|identity| identity.generation).unwrap_or(first);
    let host = Host {
        cluster: youngest.cluster,
        host: youngest.host,
        data: youngest.data,
        parity: youngest.parity,
        generation: youngest.generation,
        members: youngest.members.clone(),
    };
    check_members(&host, found, &ours)?;
    check_geometry(&host, wanted)?;
    let seats = seats(&host, found);
    if ours.iter().all(|(_, identity)| identity.stage == Stage::Forming) {
        return finish(host, seats);
    }
    check_enough(&host, &seats)?;
    Ok(Plan::Open(host, seats))
}

fn identity_of(found: &Found) -> Option<&Identity> {
    match &found.content {
        Content::Ours(identity) => Some(identity),
        _ => None,
    }
}

fn examine_formation(found: &[Found]) -> Result<Plan, IdentityError> {
    for Found { dir, content } in found {
        match content {
            Content::Absent | Content::Blank => {}
            Content::Unreadable { why } | Content::Damaged { why } => {
                return Err(IdentityError::Unusable { dir: dir.clone(), why: why.clone() });
            }
            Content::Ours(_) | Content::NotOurs { .. } => unreachable!("handled before"),
        }
    }
    Ok(Plan::Form)
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
    let own = ours.iter().rev().map(|(_, identity)| identity.host).max_by_key(|host| hosts(*host));
    match ours.iter().find(|(_, identity)| Some(identity.host) != own) {
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
    if found.len() == host.members.len() {
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
        Seat { member: *member, dir: dir.clone(), claim: claim(*member, content), moved: place != own }
    };
    host.members.iter().enumerate().map(seat).collect()
}

fn claim(member: Member, content: &Content) -> Claim {
    match content {
        Content::Ours(identity) if identity.incarnation == member.incarnation => {
            Claim::Kept { stage: identity.stage, generation: identity.generation }
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
            Claim::Kept { .. } | Claim::Returned { .. } => None,
        }
    };
    let details = seats.iter().filter_map(detail).collect::<Vec<_>>().join("; ");
    Err(IdentityError::TooFew { usable, total: seats.len(), needed, details })
}
