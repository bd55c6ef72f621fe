//! Changes of the layout for the admin API: selects the nodes and the host, checks the change, and proposes it. A
//! change that can be refused with a helpful reason is refused before anything is proposed; the metadata refuses the
//! rest.

use super::{HostAdmin, Registered, known, shown, unavailable};
use crate::actors::consensus::Membership;
use crate::actors::membership::{Candidate, choose_voters};
use crate::api::admin::{AdminError, ChangeLayout, LayoutChanged};
use crate::storage::meta::command::{Change, Refusal, Reply};
use crate::storage::meta::record::{HeldRecord, HostRecord, NodeState};
use crate::types::{HostId, NodeId};
use std::collections::BTreeMap;
use std::time::Duration;

/// The longest wait for a removed host to leave the metadata group, which usually takes some seconds.
const LEAVING_PATIENCE: Duration = Duration::from_secs(20);
const LEAVING_LOOK_EVERY: Duration = Duration::from_millis(100);

/// The nodes that a node's number, or a host's name or id, selects.
#[derive(Clone, Debug, PartialEq, Eq)]
struct SelectedNodes {
    nodes: Vec<NodeId>,
    host: Option<HostId>,
}

impl HostAdmin {
    pub(super) async fn change_the_layout(&self, asked: ChangeLayout) -> Result<LayoutChanged, AdminError> {
        let (known, held) = self.look_up(|view| Ok((known(view)?, view.held()?))).await?;
        let names = self.names(&known);
        let health = self.context.health.current();
        let is_of_use = |node| self.context.serves(node) && health.unwritable(node).is_none();
        let (meant, changes) = changes(&asked, &known, &names, &held, is_of_use)?;
        let removed = meant.host.filter(|_| matches!(asked, ChangeLayout::Remove { .. }));
        if let Some(host) = removed {
            self.status.ask_all().await;
            keeps_a_majority(&known, &self.status.metadata.membership(), host, |host| self.answers(host))?;
        }
        for change in changes {
            match self.status.metadata.propose(change).await.map_err(unavailable)? {
                Reply::Refused(refusal) => return Err(refused(refusal)),
                _ => tracing::debug!(?asked, "a change of the layout is made"),
            }
        }
        tracing::info!(?asked, nodes = ?meant.nodes, "an administrator changed the layout");
        let layout = self.look_up(|view| view.layout()).await?;
        if let Some(host) = removed {
            self.until_it_has_no_part(host).await?;
        }
        Ok(LayoutChanged { epoch: layout.epoch.0, nodes: meant.nodes.into_iter().map(|node| node.0).collect() })
    }
}

impl HostAdmin {
    /// Returns whether a host answered this one when it was last asked.
    pub(super) fn answers(&self, host: HostId) -> bool {
        host == self.host || self.status.host(host).is_some_and(|state| state.answers)
    }

    /// Waits until the host is neither voter nor learner: an operator stops a removed host next, and to stop it while
    /// it still votes may lose the majority. This host itself learns of the end of its vote only while it is a learner.
    async fn until_it_has_no_part(&self, host: HostId) -> Result<(), AdminError> {
        let end = self.context.ambient.clock.monotonic() + LEAVING_PATIENCE;
        while self.context.ambient.clock.monotonic() < end {
            let membership = self.status.metadata.membership();
            let is_member = host != self.host && membership.learners.contains(&host);
            if membership.settled && !membership.voters.contains(&host) && !is_member {
                return Ok(());
            }
            tokio::time::sleep(LEAVING_LOOK_EVERY).await;
        }
        Err(AdminError::Unavailable(format!(
            "host {} is removed from the layout, but is still a member of the metadata group: do not stop it before it is gone from `sherd admin info`",
            shown(host)
        )))
    }
}

fn refused(why: impl ToString) -> AdminError {
    AdminError::Refused(why.to_string())
}

/// Returns the changes to propose, in order.
fn changes(
    asked: &ChangeLayout,
    known: &Registered,
    names: &BTreeMap<HostId, String>,
    held: &HeldRecord,
    is_of_use: impl Fn(NodeId) -> bool,
) -> Result<(SelectedNodes, Vec<Change>), AdminError> {
    let set = |meant: &SelectedNodes, weight, state| {
        let change = |&node: &NodeId| Change::SetNode { node, weight, state };
        meant.nodes.iter().map(change).collect()
    };
    match asked {
        ChangeLayout::Drain { of } => {
            let meant = drives_of(known, names, of)?;
            let takes_shards = |node: NodeId| !is_draining(known, node) && !meant.nodes.contains(&node);
            if !known.nodes.iter().any(|node| takes_shards(node.id)) {
                return Err(refused("no drive would be left to take shards"));
            }
            let changes = set(&meant, None, Some(NodeState::Draining));
            Ok((meant, changes))
        }
        ChangeLayout::Restore { of } => {
            let meant = drives_of(known, names, of)?;
            let changes = set(&meant, None, Some(NodeState::Active));
            Ok((meant, changes))
        }
        ChangeLayout::Weight { node, weight } => {
            let node = NodeId(*node);
            if !known.nodes.iter().any(|known| known.id == node) {
                return Err(refused(Refusal::NoSuchNode));
            }
            let meant = SelectedNodes { nodes: vec![node], host: None };
            let changes = set(&meant, Some(*weight), None);
            Ok((meant, changes))
        }
        ChangeLayout::Remove { of, lost } => {
            let meant = meant(known, names, of)?;
            for node in &meant.nodes {
                may_go(*node, *lost, known, held, &is_of_use)?;
            }
            let nodes = meant.nodes.iter().map(|&node| Change::RemoveNode { node, lost: *lost });
            let host = meant.host.into_iter().map(|host| Change::RemoveHost { host });
            let changes = nodes.chain(host).collect();
            Ok((meant, changes))
        }
    }
}

/// Refuses to remove a host if the hosts that would vote without it have no majority that answers: nothing could be
/// decided from then on.
fn keeps_a_majority(
    known: &Registered,
    membership: &Membership,
    removed: HostId,
    answers: impl Fn(HostId) -> bool,
) -> Result<(), AdminError> {
    if !membership.settled {
        return Err(refused("the voters for the metadata are being changed: try again later"));
    }
    let left = known.hosts.iter().filter(|host| host.id != removed && known.roles.of(host.id).meta);
    let candidate =
        |host: &HostRecord| Candidate { host: host.id, domain: host.domain.clone(), answers: answers(host.id) };
    let voters = choose_voters(&left.map(candidate).collect::<Vec<_>>(), &membership.voters);
    let up = voters.iter().filter(|voter| answers(**voter)).count();
    if up * 2 > voters.len() {
        return Ok(());
    }
    Err(refused(format!(
        "without host {}, {up} of {} voters for the metadata would answer, which is no majority: wait for the others, or remove those that are lost first",
        shown(removed),
        voters.len()
    )))
}

fn is_draining(known: &Registered, node: NodeId) -> bool {
    known.nodes.iter().any(|known| known.id == node && known.state == NodeState::Draining)
}

fn may_go(
    node: NodeId,
    lost: bool,
    known: &Registered,
    held: &HeldRecord,
    is_of_use: impl Fn(NodeId) -> bool,
) -> Result<(), AdminError> {
    let held = held.nodes.get(&node).copied().unwrap_or_default();
    if !is_draining(known, node) {
        return Err(refused(format!("drive {node} takes shards, and holds {}: drain it first", held.placed)));
    }
    if held.placed > 0 {
        return Err(refused(format!("drive {node} still holds {} shards", held.placed)));
    }
    if lost && is_of_use(node) {
        return Err(refused(format!("drive {node} is in service and can be written, so it is not lost")));
    }
    let dropped = held.garbage + held.leftovers;
    if !lost && dropped > 0 {
        return Err(refused(format!(
            "drive {node} still has {dropped} shards to drop, of what was deleted or moved off: wait some minutes (after sherd recover, until sherd admin metadata drop-unknown), or say `--lost` if the drive is gone or cannot be written"
        )));
    }
    Ok(())
}

/// Selects as `meant` does, and refuses a host without drives.
fn drives_of(known: &Registered, names: &BTreeMap<HostId, String>, of: &str) -> Result<SelectedNodes, AdminError> {
    let meant = meant(known, names, of)?;
    if meant.nodes.is_empty() { Err(refused(format!("host {of:?} has no drives"))) } else { Ok(meant) }
}

fn meant(known: &Registered, names: &BTreeMap<HostId, String>, of: &str) -> Result<SelectedNodes, AdminError> {
    let node = known.nodes.iter().map(|node| node.id).find(|node| node.0.to_string() == of);
    let host = names.iter().find(|(id, name)| *name == of || shown(**id) == of).map(|(id, _)| *id);
    match (node, host) {
        (Some(node), None) => Ok(SelectedNodes { nodes: vec![node], host: None }),
        (None, Some(host)) => {
            let nodes = known.nodes.iter().filter(|node| node.host == host).map(|node| node.id).collect();
            Ok(SelectedNodes { nodes, host: Some(host) })
        }
        (Some(_), Some(host)) => {
            Err(refused(format!("{of} is the number of a drive and the name of a host, whose id is {}", shown(host))))
        }
        (None, None) => Err(refused(format!("there is no drive and no host {of:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::{Registered, changes, keeps_a_majority};
    use crate::actors::consensus::Membership;
    use crate::api::admin::{AdminError, ChangeLayout};
    use crate::storage::meta::command::Change;
    use crate::storage::meta::record::{Held, HeldRecord, HostRecord, NodeRecord, NodeState, RolesRecord};
    use crate::types::{HostId, Incarnation, NodeId, UnixMs};
    use std::collections::BTreeMap;

    /// Returns a cluster of host `a` with nodes 0 and 1, and host `7` with nodes 7 and 8, which are draining.
    fn cluster() -> (Registered, BTreeMap<HostId, String>) {
        let host = |id, name: &str| HostRecord {
            id: HostId(id),
            name: name.to_owned(),
            address: String::new(),
            domain: None,
            joined: UnixMs(1),
            first_node: None,
        };
        let node = |id, host, state| NodeRecord {
            id: NodeId(id),
            host: HostId(host),
            incarnation: Incarnation(1),
            weight: 5,
            state,
            joined: UnixMs(1),
        };
        let (active, draining) = (NodeState::Active, NodeState::Draining);
        let nodes = vec![node(0, 1, active), node(1, 1, active), node(7, 2, draining), node(8, 2, draining)];
        let hosts = vec![host(1, "a"), host(2, "7")];
        let names = hosts.iter().map(|host| (host.id, host.name.clone())).collect();
        (Registered { hosts, nodes, roles: RolesRecord::default() }, names)
    }

    fn asked(change: &ChangeLayout, held: &[(u32, Held)], serves: bool) -> Result<Vec<Change>, String> {
        let (known, names) = cluster();
        let held = HeldRecord { nodes: held.iter().map(|(node, held)| (NodeId(*node), *held)).collect() };
        match changes(change, &known, &names, &held, |_| serves) {
            Ok((_, changes)) => Ok(changes),
            Err(AdminError::Refused(why)) => Err(why),
            Err(other) => panic!("{other}"),
        }
    }

    fn drain(of: &str) -> Result<Vec<Change>, String> {
        asked(&ChangeLayout::Drain { of: of.to_owned() }, &[], true)
    }

    #[test]
    fn a_number_selects_a_drive_and_a_name_or_id_a_whole_host() {
        let set = |node, state| Change::SetNode { node: NodeId(node), weight: None, state: Some(state) };
        assert_eq!(drain("1"), Ok(vec![set(1, NodeState::Draining)]));
        let restored = asked(&ChangeLayout::Restore { of: "0000000000000002".to_owned() }, &[], true);
        assert_eq!(restored, Ok(vec![set(7, NodeState::Active), set(8, NodeState::Active)]));
        assert!(drain("7").unwrap_err().contains("whose id is 0000000000000002"));
        assert!(drain("01").unwrap_err().contains("there is no drive and no host \"01\""));
        assert!(asked(&ChangeLayout::Weight { node: 9, weight: 1 }, &[], true).is_err());
    }

    #[test]
    fn the_last_drives_that_take_shards_are_not_drained() {
        assert_eq!(drain("a"), Err("no drive would be left to take shards".to_owned()));
    }

    #[test]
    fn a_host_is_not_removed_if_the_voters_left_have_no_majority() {
        let (mut known, _) = cluster();
        let third = HostRecord { id: HostId(3), name: "c".to_owned(), ..known.hosts[0].clone() };
        known.hosts.push(third);
        let voters = [1, 2, 3].map(HostId).into();
        let mut membership = Membership { voters, settled: true, ..Membership::default() };
        let remove = |membership: &Membership, removed, down| {
            keeps_a_majority(&known, membership, HostId(removed), |host| host != HostId(down)).is_ok()
        };
        assert!(remove(&membership, 3, 3), "the host that is down is removed");
        assert!(!remove(&membership, 3, 2), "of the two that are left one is down");
        assert!(remove(&membership, 3, 9));
        membership.settled = false;
        assert!(!remove(&membership, 3, 9));
    }

    #[test]
    fn a_drive_that_still_holds_shards_is_not_removed() {
        let remove = |of: &str, lost| ChangeLayout::Remove { of: of.to_owned(), lost };
        let id = "0000000000000002";
        let gone = |lost| {
            let node = |node| Change::RemoveNode { node: NodeId(node), lost };
            vec![node(7), node(8), Change::RemoveHost { host: HostId(2) }]
        };
        assert_eq!(asked(&remove(id, false), &[], true), Ok(gone(false)));
        let placed = [(8, Held { placed: 12, ..Held::default() })];
        assert_eq!(asked(&remove(id, true), &placed, false), Err("drive 8 still holds 12 shards".to_owned()));
        let garbage = [(8, Held { garbage: 2, leftovers: 1, ..Held::default() })];
        assert!(asked(&remove(id, false), &garbage, true).unwrap_err().contains("drive 8 still has 3 shards to drop"));
        assert!(asked(&remove(id, true), &garbage, true).unwrap_err().contains("in service"));
        assert_eq!(asked(&remove(id, true), &garbage, false), Ok(gone(true)));
        let held = [(0, Held { placed: 3, ..Held::default() })];
        assert!(asked(&remove("0", false), &held, true).unwrap_err().contains("holds 3: drain it first"));
    }
}
