//! Changes of the layout: hosts, their nodes, and the number of shards on each node.
//!
//! Each change of the tables of hosts and nodes raises the layout's epoch by one; a change that leaves the tables as
//! they are does not. The roles of hosts are not part of the layout: they move no shard.

use super::{Applying, Decided};
use crate::limits::NODES_OF_HOST_MAX;
use crate::storage::kv::{KvError, KvResult};
use crate::storage::meta::codec;
use crate::storage::meta::command::{Refusal, Reply};
use crate::storage::meta::record::{
    Held, HeldRecord, HostRecord, LayoutRecord, NodeRecord, NodeState, RegisteredRecord, RemovedRecord, RolesRecord,
};
use crate::storage::meta::tables::{
    HOSTS, NODES, SYSTEM, SYSTEM_HELD, SYSTEM_LAYOUT, SYSTEM_REGISTERED, SYSTEM_REMOVED, SYSTEM_ROLES, host_key,
    node_key,
};
use crate::types::{Epoch, HostId, Incarnation, NodeId, Roles};
use std::collections::BTreeSet;

/// The effect of registering a node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum NodeChange {
    None,
    /// The record of a known drive changed.
    Record,
    /// The node id was given to another drive, or for the first time.
    Drive,
}

impl Applying<'_> {
    /// Registers the nodes of a host. The layout changes once for all of them: with only some of a host's drives,
    /// shards would move that belong on the others.
    pub(super) fn register_nodes(&mut self, host: HostId, nodes: Vec<NodeRecord>) -> Decided<Reply> {
        if nodes.iter().any(|node| node.host != host) {
            return Err(Refusal::InvalidRequest.into());
        }
        let removed = self.removed()?;
        if removed.hosts.contains(&host)
            || nodes.iter().any(|node| removed.nodes.contains(&(node.id, node.incarnation)))
        {
            return Err(Refusal::Removed.into());
        }
        let (mut changed, mut fresh, nodes_ever) =
            (false, Vec::new(), nodes.iter().map(|node| node.id.0.saturating_add(1)).max());
        for node in nodes {
            let (id, change) = (node.id, self.register_node(node)?);
            changed |= change != NodeChange::None;
            fresh.extend((change == NodeChange::Drive).then_some(id));
        }
        if changed || self.layout()?.awaited.contains(&host) {
            let layout = self.change_layout()?;
            layout.nodes_ever = layout.nodes_ever.max(nodes_ever.unwrap_or(0));
            layout.awaited.remove(&host);
        }
        let epoch = self.layout()?.epoch;
        if !fresh.is_empty() {
            let registered = self.registered()?;
            registered.nodes.extend(fresh.into_iter().map(|node| (node, epoch)));
            let registered = registered.clone();
            self.rows.put_row(SYSTEM, SYSTEM_REGISTERED, &registered);
        }
        Ok(Reply::Done)
    }

    fn register_node(&mut self, mut node: NodeRecord) -> KvResult<NodeChange> {
        let known = self.rows.row::<NodeRecord>(NODES, &node_key(node.id))?;
        node.joined = self.now;
        if let Some(known) = &known {
            node.state = known.state;
            if known.incarnation == node.incarnation {
                node.weight = known.weight;
                node.joined = known.joined;
            }
        }
        let change = match &known {
            Some(known) if *known == node => return Ok(NodeChange::None),
            Some(known) if known.incarnation == node.incarnation => NodeChange::Record,
            _ => NodeChange::Drive,
        };
        self.rows.put_row(NODES, &node_key(node.id), &node);
        Ok(change)
    }

    pub(super) fn register_host(&mut self, mut host: HostRecord) -> Decided<Reply> {
        if host.name.is_empty() {
            return Err(Refusal::InvalidRequest.into());
        }
        if self.removed()?.hosts.contains(&host.id) {
            return Err(Refusal::Removed.into());
        }
        let (mut known, mut replaced, mut taken) = (None, None, 0);
        for (_, row) in self.rows.first(HOSTS, &[], usize::MAX)? {
            let other: HostRecord = codec::decode(&row).map_err(KvError::from)?;
            taken = other.first_node.map_or(taken, |first| taken.max(first.0.saturating_add(NODES_OF_HOST_MAX)));
            if other.id == host.id {
                known = Some(other);
            } else if other.name == host.name {
                replaced = Some(other);
            }
        }
        host.joined = known.as_ref().map_or(self.now, |known| known.joined);
        let place = known.as_ref().or(replaced.as_ref()).map_or(host.first_node, |before| before.first_node);
        host.first_node = match place {
            Some(place) => Some(place),
            None => Some(self.free_place(taken)?),
        };
        if let Some(replaced) = &replaced {
            self.rows.remove(HOSTS, &host_key(replaced.id));
            self.forget_roles(replaced.id)?;
            self.note_removed(|removed| removed.hosts.insert(replaced.id))?;
        }
        if replaced.is_some() || known.as_ref() != Some(&host) {
            self.rows.put_row(HOSTS, &host_key(host.id), &host);
            let layout = self.change_layout()?;
            if replaced.is_some_and(|replaced| layout.awaited.remove(&replaced.id)) {
                layout.awaited.insert(host.id);
            }
        }
        Ok(Reply::Done)
    }

    /// Registers a host in place of its former member. The layout changes once, so that no ring ever shows the drives
    /// of one host as those of two.
    pub(super) fn rejoin_host(&mut self, was: HostId, host: HostRecord) -> Decided<Reply> {
        if self.rows.has(HOSTS, &host_key(host.id))? {
            return Ok(Reply::Done);
        }
        if self.removed()?.hosts.contains(&host.id) || self.removed()?.hosts.contains(&was) {
            return Err(Refusal::Removed.into());
        }
        let known = self.rows.row::<HostRecord>(HOSTS, &host_key(was))?;
        let Some(known) = known.filter(|known| known.name == host.name && host.id != was) else {
            return Err(Refusal::InvalidRequest.into());
        };
        for (_, row) in self.rows.first(NODES, &[], usize::MAX)? {
            let node: NodeRecord = codec::decode(&row).map_err(KvError::from)?;
            if node.host == was {
                self.rows.put_row(NODES, &node_key(node.id), &NodeRecord { host: host.id, ..node });
            }
        }
        self.rows.remove(HOSTS, &host_key(was));
        self.forget_roles(was)?;
        self.note_removed(|removed| removed.hosts.insert(was))?;
        let host = HostRecord { joined: known.joined, first_node: known.first_node, ..host };
        self.rows.put_row(HOSTS, &host_key(host.id), &host);
        let layout = self.change_layout()?;
        if layout.awaited.remove(&was) {
            layout.awaited.insert(host.id);
        }
        Ok(Reply::Done)
    }

    /// Registers the founders. The founders have agreed on the first node id of each, so that none is drawn here.
    pub(super) fn found_hosts(&mut self, founders: Vec<HostRecord>) -> Decided<Reply> {
        let names: BTreeSet<&str> = founders.iter().map(|founder| founder.name.as_str()).collect();
        let ids: BTreeSet<HostId> = founders.iter().map(|founder| founder.id).collect();
        let are_distinct = names.len() == founders.len() && ids.len() == founders.len() && !names.contains("");
        if !are_distinct || founders.iter().any(|founder| founder.first_node.is_none()) {
            return Err(Refusal::InvalidRequest.into());
        }
        if founders.is_empty() || !self.rows.first(HOSTS, &[], 1)?.is_empty() {
            return Ok(Reply::Done);
        }
        for founder in founders {
            let founder = HostRecord { joined: self.now, ..founder };
            self.rows.put_row(HOSTS, &host_key(founder.id), &founder);
        }
        self.change_layout()?.awaited = ids;
        Ok(Reply::Done)
    }

    /// Returns the first of `NODES_OF_HOST_MAX` node ids that were never used and belong to no host.
    fn free_place(&mut self, taken: u32) -> KvResult<NodeId> {
        Ok(NodeId(self.layout()?.nodes_ever.max(taken).next_multiple_of(NODES_OF_HOST_MAX)))
    }

    pub(super) fn remove_host(&mut self, host: HostId) -> Decided<Reply> {
        for (_, row) in self.rows.first(NODES, &[], usize::MAX)? {
            if codec::decode::<NodeRecord>(&row).map_err(KvError::from)?.host == host {
                return Err(Refusal::HostHasNodes.into());
            }
        }
        let key = host_key(host);
        let roles = self.forget_roles(host)?;
        if let Some(known) = self.rows.row::<HostRecord>(HOSTS, &key)? {
            self.rows.remove(HOSTS, &key);
            self.note_removed(|removed| removed.hosts.insert(host))?;
            let layout = self.change_layout()?;
            layout.awaited.remove(&host);
            // The drives of a host without storage keep their node ids, although none was ever registered.
            if let (Some(Roles { storage: false, .. }), Some(first)) = (roles, known.first_node) {
                layout.nodes_ever = layout.nodes_ever.max(first.0.saturating_add(NODES_OF_HOST_MAX));
            }
        }
        Ok(Reply::Done)
    }

    pub(super) fn set_host_roles(&mut self, host: HostId, roles: Roles) -> Decided<Reply> {
        if roles == Roles::NONE {
            return Err(Refusal::InvalidRequest.into());
        }
        let mut record: RolesRecord = self.rows.row(SYSTEM, SYSTEM_ROLES)?.unwrap_or_default();
        let before = match roles {
            Roles::ALL => record.hosts.remove(&host),
            fewer => record.hosts.insert(host, fewer),
        };
        if before.unwrap_or(Roles::ALL) != roles {
            self.rows.put_row(SYSTEM, SYSTEM_ROLES, &record);
        }
        Ok(Reply::Done)
    }

    /// Removes the recorded roles of a host, and returns them. A host with all roles has no record.
    fn forget_roles(&mut self, host: HostId) -> KvResult<Option<Roles>> {
        let mut record: RolesRecord = self.rows.row(SYSTEM, SYSTEM_ROLES)?.unwrap_or_default();
        let roles = record.hosts.remove(&host);
        if roles.is_some() {
            self.rows.put_row(SYSTEM, SYSTEM_ROLES, &record);
        }
        Ok(roles)
    }

    pub(super) fn set_node(&mut self, node: NodeId, weight: Option<u32>, state: Option<NodeState>) -> Decided<Reply> {
        let known: NodeRecord = self.rows.row(NODES, &node_key(node))?.ok_or(Refusal::NoSuchNode)?;
        let mut set = known.clone();
        set.weight = weight.unwrap_or(known.weight);
        set.state = state.unwrap_or(known.state);
        if set != known {
            self.rows.put_row(NODES, &node_key(node), &set);
            self.change_layout()?;
        }
        Ok(Reply::Done)
    }

    pub(super) fn remove_node(&mut self, node: NodeId, lost: bool) -> Decided<Reply> {
        let held = self.held()?.nodes.get(&node).copied().unwrap_or_default();
        if held.placed > 0 || (!lost && !held.is_nothing()) {
            return Err(Refusal::NodeHoldsShards.into());
        }
        let key = node_key(node);
        if let Some(known) = self.rows.row::<NodeRecord>(NODES, &key)? {
            self.rows.remove(NODES, &key);
            self.note_removed(|removed| removed.nodes.insert((node, known.incarnation)))?;
            self.change_layout()?;
        }
        Ok(Reply::Done)
    }

    fn removed(&mut self) -> KvResult<&mut RemovedRecord> {
        let removed = match self.removed.take() {
            Some(removed) => removed,
            None => self.rows.row(SYSTEM, SYSTEM_REMOVED)?.unwrap_or_default(),
        };
        Ok(self.removed.insert(removed))
    }

    pub(super) fn registered(&mut self) -> KvResult<&mut RegisteredRecord> {
        let registered = match self.registered.take() {
            Some(registered) => registered,
            None => self.rows.row(SYSTEM, SYSTEM_REGISTERED)?.unwrap_or_default(),
        };
        Ok(self.registered.insert(registered))
    }

    fn note_removed(&mut self, note: impl FnOnce(&mut RemovedRecord) -> bool) -> KvResult<()> {
        let removed = self.removed()?;
        if note(removed) {
            let removed = removed.clone();
            self.rows.put_row(SYSTEM, SYSTEM_REMOVED, &removed);
        }
        Ok(())
    }

    /// Returns whether this node id belonged to a drive that was removed, and belongs to none now. An id that was never
    /// given out does not count as removed.
    pub(super) fn was_removed(&mut self, node: NodeId) -> KvResult<bool> {
        let of_number = (node, Incarnation(0))..=(node, Incarnation(u128::MAX));
        let is_noted = self.removed()?.nodes.range(of_number).next().is_some();
        Ok(is_noted && !self.rows.has(NODES, &node_key(node))?)
    }

    fn change_layout(&mut self) -> KvResult<&mut LayoutRecord> {
        let mut layout = self.layout()?;
        layout.epoch = Epoch(layout.epoch.0 + 1);
        Ok(self.layout.insert(layout))
    }

    pub(super) fn layout(&self) -> KvResult<LayoutRecord> {
        match &self.layout {
            Some(layout) => Ok(layout.clone()),
            None => Ok(self.rows.row(SYSTEM, SYSTEM_LAYOUT)?.unwrap_or_default()),
        }
    }

    fn held(&mut self) -> KvResult<&mut HeldRecord> {
        let held = match self.held.take() {
            Some(held) => held,
            None => self.rows.row(SYSTEM, SYSTEM_HELD)?.unwrap_or_default(),
        };
        Ok(self.held.insert(held))
    }

    /// Calls `count` with the shard counters of each node, once for each time that the node is listed.
    pub(super) fn update_held(
        &mut self,
        nodes: impl IntoIterator<Item = NodeId>,
        count: impl Fn(&mut Held),
    ) -> KvResult<()> {
        let held = self.held()?;
        for node in nodes {
            let entry = held.nodes.entry(node).or_default();
            count(entry);
            if entry.is_nothing() {
                held.nodes.remove(&node);
            }
        }
        Ok(())
    }
}
