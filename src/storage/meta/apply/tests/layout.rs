//! Tests of hosts and nodes: registration, replacement, draining and removal; of the layout's epoch; of the shard
//! counts of nodes.

use super::{Machine, put, shards_of};
use crate::storage::meta::command::{Change, PutObject, Refusal, Reply};
use crate::storage::meta::record::{Held, HostRecord, NodeRecord, NodeState};
use crate::storage::meta::samples::{self, BUCKET, put_blob};
use crate::types::{Epoch, HostId, Incarnation, NodeId, Roles, ShardNumber, UnixMs};

pub(super) fn node(id: u32, host: u64) -> NodeRecord {
    NodeRecord { id: NodeId(id), host: HostId(host), ..samples::node() }
}

fn host(id: u64, name: &str) -> HostRecord {
    HostRecord { id: HostId(id), name: name.to_owned(), first_node: None, ..samples::host() }
}

impl Machine {
    pub(super) fn epoch(&self) -> u64 {
        self.view().layout().expect("reads").epoch.0
    }

    pub(super) fn held(&self, node: u32) -> Held {
        self.view().held().expect("reads").nodes.get(&NodeId(node)).copied().unwrap_or_default()
    }

    pub(super) fn register(&mut self, nodes: impl IntoIterator<Item = NodeRecord>) {
        nodes.into_iter().for_each(|node| assert_eq!(self.apply(samples::register(node)), Reply::Done));
    }

    fn placed_on(&self) -> Vec<u32> {
        let view = self.view();
        let (layout, hosts, nodes) = (view.layout().expect("reads"), view.hosts().expect("reads"), view.nodes());
        let layout = layout.ring_layout(&hosts, &nodes.expect("reads"));
        layout.nodes().iter().map(|node| node.id.0).collect()
    }

    fn host_names(&self) -> Vec<(u64, String)> {
        self.view().hosts().expect("reads").into_iter().map(|host| (host.id.0, host.name)).collect()
    }
}

#[test]
fn each_change_of_hosts_and_nodes_raises_the_epoch_once() {
    let mut machine = Machine::empty();
    assert_eq!(machine.epoch(), 0);
    let changes = [
        Change::RegisterHost(host(1, "a")),
        Change::RegisterHost(HostRecord { address: "10.0.0.9:9100".to_owned(), ..host(1, "a") }),
        Change::RegisterHost(HostRecord { domain: None, ..host(1, "a") }),
        Change::RegisterHost(host(2, "b")),
        samples::register(node(0, 1)),
        samples::register(node(0, 2)),
        samples::register(NodeRecord { incarnation: Incarnation(5), ..node(0, 2) }),
        Change::SetNode { node: NodeId(0), weight: Some(7), state: None },
        Change::SetNode { node: NodeId(0), weight: None, state: Some(NodeState::Draining) },
        Change::RemoveNode { node: NodeId(0), lost: false },
        Change::RemoveHost { host: HostId(2) },
    ];
    for (change, epoch) in changes.into_iter().zip(1..) {
        for _ in 0..2 {
            let twice = machine.apply(change.clone());
            assert!(matches!(twice, Reply::Done | Reply::Refused(Refusal::NoSuchNode)), "{change:?}: {twice:?}");
            assert_eq!(machine.epoch(), epoch, "{change:?}");
        }
    }
    assert_eq!(machine.view().layout().expect("reads").epoch, Epoch(11));
    assert_eq!(machine.view().layout().expect("reads").nodes_ever, 1, "a removed node's number is not forgotten");
}

#[test]
fn a_host_replaces_the_lost_host_of_the_same_name() {
    let mut machine = Machine::empty();
    machine.apply(Change::RegisterHost(host(1, "a")));
    machine.apply(Change::RegisterHost(host(2, "b")));
    machine.register([node(0, 1), node(1, 1)]);
    machine.apply(Change::RegisterHost(host(9, "a")));
    assert_eq!(machine.host_names(), [(2, "b".to_owned()), (9, "a".to_owned())]);
    machine.register([NodeRecord { incarnation: Incarnation(3), ..node(0, 9) }]);
    let hosts: Vec<_> = machine.view().nodes().expect("reads").iter().map(|node| node.host.0).collect();
    assert_eq!(hosts, [9, 1], "the other drive belongs to the former host until it is registered");
    assert_eq!(machine.refusal(Change::RemoveHost { host: HostId(1) }), Refusal::HostHasNodes);
    assert_eq!(machine.refusal(Change::RegisterHost(host(7, ""))), Refusal::InvalidRequest);
}

#[test]
fn a_rejoining_host_keeps_its_drives_and_its_former_id_is_removed() {
    let mut machine = Machine::empty();
    machine.apply(Change::RegisterHost(HostRecord { first_node: Some(NodeId(0)), ..host(1, "a") }));
    machine.apply(Change::RegisterHost(host(2, "b")));
    machine.register([node(0, 1), node(1, 1), node(64, 2)]);
    machine.apply(Change::SetNode { node: NodeId(1), weight: Some(7), state: Some(NodeState::Draining) });
    let rejoin = |was: u64, id: u64, name: &str| Change::RejoinHost { was: HostId(was), host: host(id, name) };
    let (epoch, before) = (machine.epoch(), machine.view().nodes().expect("reads"));
    for (refused, why) in [
        (rejoin(1, 9, "b"), "it has another name"),
        (rejoin(3, 9, "a"), "another host has the name"),
        (rejoin(1, 9, ""), "it has none"),
    ] {
        assert_eq!(machine.refusal(refused), Refusal::InvalidRequest, "{why}");
    }
    assert_eq!(machine.epoch(), epoch);
    for _ in 0..2 {
        assert_eq!(machine.apply(rejoin(1, 9, "a")), Reply::Done);
        assert_eq!(machine.epoch(), epoch + 1, "once, however many drives it has");
    }
    assert_eq!(machine.host_names(), [(2, "b".to_owned()), (9, "a".to_owned())]);
    let hosts = machine.view().hosts().expect("reads");
    assert_eq!(hosts[1].first_node, Some(NodeId(0)));
    let moved = before.into_iter().map(|node| match node.host {
        HostId(1) => NodeRecord { host: HostId(9), ..node },
        _ => node,
    });
    assert_eq!(machine.view().nodes().expect("reads"), moved.collect::<Vec<_>>());
    for again in [rejoin(1, 10, "a"), rejoin(9, 1, "a"), Change::RegisterHost(host(1, "a"))] {
        assert_eq!(machine.refusal(again), Refusal::Removed);
    }
    assert_eq!(machine.refusal(samples::register(node(0, 1))), Refusal::Removed);
    assert_eq!(machine.apply(rejoin(9, 11, "a")), Reply::Done, "a host may rejoin repeatedly");
}

#[test]
fn a_removed_drive_is_refused_and_an_empty_one_in_its_place_is_registered() {
    let mut machine = Machine::empty();
    machine.apply(Change::RegisterHost(host(1, "a")));
    machine.apply(Change::RegisterHost(host(2, "b")));
    machine.register([node(0, 1), node(64, 2)]);
    for removal in [
        Change::RemoveNode { node: NodeId(0), lost: false },
        Change::RemoveNode { node: NodeId(64), lost: true },
        Change::RemoveHost { host: HostId(2) },
    ] {
        assert_eq!(machine.apply(removal), Reply::Done);
    }
    let epoch = machine.epoch();
    assert_eq!(machine.refusal(samples::register(node(0, 1))), Refusal::Removed);
    assert_eq!(machine.refusal(Change::RegisterHost(host(2, "b"))), Refusal::Removed);
    assert_eq!(machine.refusal(Change::RegisterHost(host(2, "c"))), Refusal::Removed, "its name does not matter");
    assert_eq!(machine.epoch(), epoch);
    let emptied = NodeRecord { incarnation: Incarnation(7), ..node(0, 1) };
    machine.register([emptied.clone()]);
    assert_eq!(machine.apply(Change::RegisterHost(host(3, "b"))), Reply::Done);
    assert_eq!(
        machine.refusal(samples::register(node(0, 1))),
        Refusal::Removed,
        "although another drive has the node id"
    );
    assert_eq!(machine.apply(Change::RemoveNode { node: NodeId(0), lost: false }), Reply::Done);
    for removed in [node(0, 1), emptied] {
        assert_eq!(machine.refusal(samples::register(removed)), Refusal::Removed);
    }
    let removed = machine.view().removed().expect("reads");
    assert_eq!(removed.nodes.iter().map(|(node, _)| node.0).collect::<Vec<_>>(), [0, 0, 64]);
}

#[test]
fn a_removed_or_replaced_host_can_register_neither_itself_nor_drives() {
    let mut machine = Machine::empty();
    machine.apply(Change::RegisterHost(host(1, "a")));
    machine.apply(Change::RegisterHost(host(2, "b")));
    machine.apply(Change::RegisterHost(host(9, "a")));
    assert_eq!(machine.apply(Change::RemoveHost { host: HostId(2) }), Reply::Done);
    let epoch = machine.epoch();
    for gone in [1, 2] {
        assert_eq!(machine.refusal(Change::RegisterHost(host(gone, "c"))), Refusal::Removed, "host {gone}");
        assert_eq!(machine.refusal(samples::register(node(0, gone))), Refusal::Removed, "host {gone}");
    }
    assert_eq!(machine.epoch(), epoch);
    machine.register([node(0, 9)]);
}

#[test]
fn a_shard_written_to_a_drive_removed_meanwhile_is_missing() {
    let mut machine = Machine::with_bucket();
    machine.register([node(0, 1), node(1, 1), node(2, 1)]);
    let remove = |node| Change::RemoveNode { node: NodeId(node), lost: false };
    // Shards 0 to 3 of the samples are on nodes 3, 1, 0, 2; node 3 was never registered.
    assert_eq!(machine.apply(remove(1)), Reply::Done);
    machine.put(put_blob("key", 10));
    assert_eq!(machine.repairs(), [(10, 1)]);
    machine.put(PutObject { missing: vec![ShardNumber(1)], ..put_blob("other", 11) });
    assert_eq!(machine.repairs(), [(10, 1), (11, 1)], "the writer named it as missing");
    let short = PutObject { missing: vec![ShardNumber(3)], ..put_blob("short", 12) };
    assert_eq!(machine.refusal(put(short)), Refusal::NoSuchNode, "fewer are left than a write needs");
    assert_eq!((machine.garbage(), machine.repairs()), (vec![12], vec![(10, 1), (11, 1)]));
    let many = PutObject { missing: vec![ShardNumber(1), ShardNumber(3)], ..put_blob("many", 13) };
    machine.put(many);
    assert_eq!(machine.repairs().len(), 4, "the removed drive adds no missing shard");
    // Another drive gets the node id.
    machine.register([NodeRecord { incarnation: Incarnation(7), ..node(1, 1) }]);
    machine.put(put_blob("last", 14));
    assert_eq!(machine.repairs().len(), 4);
}

#[test]
fn founders_are_registered_all_at_once_and_only_while_no_host_is_known() {
    let founder = |id: u64, name: &str, first| HostRecord { first_node: Some(NodeId(first)), ..host(id, name) };
    let founders = vec![founder(1, "a", 0), founder(2, "b", 64), founder(3, "c", 128)];
    let mut machine = Machine::empty();
    for wrong in [host(4, "d"), founder(4, "", 192), founder(4, "a", 192), founder(1, "d", 192)] {
        let with_wrong = founders.iter().cloned().chain([wrong]).collect();
        assert_eq!(machine.refusal(Change::FoundHosts(with_wrong)), Refusal::InvalidRequest);
    }
    assert_eq!(machine.apply(Change::FoundHosts(Vec::new())), Reply::Done);
    assert_eq!((machine.epoch(), machine.host_names()), (0, Vec::new()));
    assert_eq!(machine.apply(Change::FoundHosts(founders.clone())), Reply::Done);
    let known = machine.view().hosts().expect("reads");
    let places: Vec<_> = known.iter().map(|host| (host.id.0, host.first_node, host.joined > UnixMs(5))).collect();
    let placed = |id, first| (id, Some(NodeId(first)), true);
    assert_eq!((machine.epoch(), places), (1, vec![placed(1, 0), placed(2, 64), placed(3, 128)]));
    // A founder that registers itself changes nothing; a host that came back empty replaces the founder of its name.
    machine.apply(Change::RegisterHost(known[0].clone()));
    assert_eq!(machine.epoch(), 1);
    machine.apply(Change::RegisterHost(host(9, "c")));
    assert_eq!(machine.apply(Change::FoundHosts(founders)), Reply::Done);
    assert_eq!(machine.epoch(), 2, "the founding is over");
    assert_eq!(machine.host_names(), [(1, "a".to_owned()), (2, "b".to_owned()), (9, "c".to_owned())]);
    let places: Vec<_> = machine.view().hosts().expect("reads").iter().map(|host| host.first_node).collect();
    assert_eq!(places, [0, 64, 128].map(|first| Some(NodeId(first))));
}

#[test]
fn no_blob_is_placed_before_the_drives_of_all_founders_are_registered() {
    let founders = [(1, "a"), (2, "b"), (3, "c"), (4, "d"), (5, "e")]
        .map(|(id, name)| HostRecord { first_node: Some(NodeId(id as u32 * 64)), ..host(id, name) });
    let mut machine = Machine::empty();
    machine.apply(Change::FoundHosts(founders.to_vec()));
    machine.register([node(64, 1), node(65, 1)]);
    assert!(machine.placed_on().is_empty());
    // One rejoins as another member, one came back empty, one stores nothing, and one is given up.
    let was = HostId(2);
    assert_eq!(machine.apply(Change::RejoinHost { was, host: host(12, "b") }), Reply::Done);
    assert_eq!(machine.apply(Change::RegisterHost(host(13, "c"))), Reply::Done);
    assert_eq!(machine.apply(Change::RegisterNodes { host: HostId(4), nodes: Vec::new() }), Reply::Done);
    assert_eq!(machine.apply(Change::RemoveHost { host: HostId(5) }), Reply::Done);
    machine.register([node(128, 12)]);
    assert!(machine.placed_on().is_empty(), "one is awaited under another id");
    let epoch = machine.epoch();
    let both = [node(192, 13), node(193, 13)];
    let registered = Change::RegisterNodes { host: HostId(13), nodes: both.to_vec() };
    assert_eq!((machine.apply(registered.clone()), machine.apply(registered)), (Reply::Done, Reply::Done));
    assert_eq!(machine.placed_on(), [64, 65, 128, 192, 193]);
    assert_eq!(machine.epoch(), epoch + 1, "the drives of a host come at once");
    // Nobody waits for hosts that join later.
    machine.apply(Change::RegisterHost(host(6, "f")));
    assert_eq!(machine.placed_on().len(), 5);
    let mixed = vec![node(320, 6), node(321, 1)];
    let refused = machine.refusal(Change::RegisterNodes { host: HostId(6), nodes: mixed });
    assert_eq!((refused, machine.placed_on().len()), (Refusal::InvalidRequest, 5));
}

#[test]
fn each_host_name_keeps_its_own_node_ids_for_ever() {
    let mut machine = Machine::empty();
    machine.apply(Change::RegisterHost(HostRecord { first_node: Some(NodeId(64)), ..host(1, "b") }));
    machine.apply(Change::RegisterHost(host(2, "d")));
    machine.apply(Change::RegisterHost(HostRecord { first_node: Some(NodeId(0)), ..host(3, "a") }));
    machine.apply(Change::RegisterHost(host(4, "b")));
    machine.register([node(130, 2)]);
    machine.apply(Change::RemoveNode { node: NodeId(130), lost: false });
    machine.apply(Change::RemoveHost { host: HostId(2) });
    machine.apply(Change::RegisterHost(host(5, "e")));
    let hosts = machine.view().hosts().expect("reads");
    let places: Vec<_> = hosts.iter().map(|host| (host.id.0, host.first_node)).collect();
    assert_eq!(places, [(3, Some(NodeId(0))), (4, Some(NodeId(64))), (5, Some(NodeId(192)))]);
}

fn do_roles(host: u64, roles: Roles) -> Change {
    Change::SetHostRoles { host: HostId(host), roles }
}

#[test]
fn a_host_has_all_roles_until_they_are_set_and_takes_them_along_when_removed() {
    let gateway = Roles { gateway: true, ..Roles::NONE };
    let mut machine = Machine::empty();
    assert_eq!(machine.refusal(do_roles(1, Roles::NONE)), Refusal::InvalidRequest);
    assert_eq!(machine.apply(do_roles(1, gateway)), Reply::Done);
    machine.apply(Change::RegisterHost(host(1, "a")));
    machine.apply(Change::RegisterHost(host(2, "b")));
    let roles = |machine: &Machine| [1, 2].map(|host| machine.view().roles().expect("reads").of(HostId(host)));
    assert_eq!(roles(&machine), [gateway, Roles::ALL], "roles may be set before the host is registered");
    assert_eq!(machine.epoch(), 2, "no shard is moved by it");
    machine.apply(do_roles(2, Roles { gateway: false, ..Roles::ALL }));
    machine.apply(do_roles(1, Roles::ALL));
    assert_eq!(roles(&machine), [Roles::ALL, Roles { gateway: false, ..Roles::ALL }]);
    machine.apply(Change::RegisterHost(host(9, "b")));
    machine.apply(do_roles(1, gateway));
    machine.apply(Change::RemoveHost { host: HostId(1) });
    let left = machine.view().roles().expect("reads");
    assert!(left.hosts.is_empty(), "one was replaced, the other removed: {left:?}");
}

#[test]
fn the_node_ids_of_a_removed_host_without_storage_are_not_reused() {
    let mut machine = Machine::empty();
    machine.apply(Change::RegisterHost(host(1, "a")));
    machine.apply(do_roles(2, Roles { gateway: true, ..Roles::NONE }));
    machine.apply(Change::RegisterHost(host(2, "b")));
    machine.apply(Change::RemoveHost { host: HostId(2) });
    machine.apply(Change::RegisterHost(host(3, "c")));
    let hosts = machine.view().hosts().expect("reads");
    let places: Vec<_> = hosts.iter().map(|host| (host.id.0, host.first_node)).collect();
    assert_eq!(places, [(1, Some(NodeId(0))), (3, Some(NodeId(128)))]);
}

#[test]
fn a_node_registered_again_keeps_its_weight_and_a_replaced_one_does_not() {
    let mut machine = Machine::empty();
    machine.register([node(0, 1)]);
    let joined = machine.view().node(NodeId(0)).expect("reads").expect("registered").joined;
    machine.apply(Change::SetNode { node: NodeId(0), weight: Some(7), state: Some(NodeState::Draining) });
    machine.register([node(0, 2)]);
    let moved = machine.view().node(NodeId(0)).expect("reads").expect("registered");
    let kept = NodeRecord { weight: 7, state: NodeState::Draining, joined, ..node(0, 2) };
    assert_eq!(moved, kept);
    machine.register([NodeRecord { incarnation: Incarnation(4), ..node(0, 2) }]);
    let replaced = machine.view().node(NodeId(0)).expect("reads").expect("registered");
    assert_eq!((replaced.weight, replaced.state), (100, NodeState::Draining));
    assert!(replaced.joined > joined && joined > UnixMs(0));
    assert_eq!(machine.refusal(Change::SetNode { node: NodeId(5), weight: Some(1), state: None }), Refusal::NoSuchNode);
}

#[test]
fn a_node_is_removed_only_without_shards_and_without_garbage_unless_lost() {
    let mut machine = Machine::with_bucket();
    machine.register((0..4).map(|id| node(id, 1)));
    let remove = |node, lost| Change::RemoveNode { node: NodeId(node), lost };
    machine.put(put_blob("key", 10));
    machine.put(put_blob("other", 11));
    assert_eq!(machine.held(2), Held { placed: 2, ..Held::default() });
    assert_eq!(machine.refusal(remove(2, true)), Refusal::NodeHoldsShards);
    machine.put(put_blob("key", 12));
    assert_eq!(machine.held(2), Held { placed: 2, garbage: 1, leftovers: 0 });
    for key in ["key", "other"] {
        machine.apply(samples::delete(BUCKET, key));
    }
    assert_eq!(machine.held(2), Held { placed: 0, garbage: 3, leftovers: 0 });
    assert_eq!(machine.refusal(remove(2, false)), Refusal::NodeHoldsShards);
    for blob in [10, 11, 12] {
        machine.apply(Change::ReclaimGarbage { gone: shards_of(blob)[..2].to_vec() });
        machine.apply(Change::ReclaimGarbage { gone: shards_of(blob)[..2].to_vec() });
    }
    // Shards 0 and 1 of the samples are on nodes 3 and 1.
    assert_eq!((machine.held(1), machine.held(2)), (Held::default(), Held { placed: 0, garbage: 3, leftovers: 0 }));
    assert_eq!(machine.apply(remove(1, false)), Reply::Done);
    assert_eq!(machine.apply(remove(2, true)), Reply::Done);
    assert_eq!(machine.view().nodes().expect("reads").len(), 2);
}

#[test]
fn the_blob_of_a_refused_put_counts_as_garbage_of_its_nodes() {
    let mut machine = Machine::with_bucket();
    machine.register([node(0, 1)]);
    let missing_bucket = samples::put_blob("key", 10);
    let refused =
        put(crate::storage::meta::command::PutObject { bucket: crate::types::BucketId(99), ..missing_bucket });
    assert_eq!(machine.refusal(refused), Refusal::NoSuchBucket);
    assert_eq!(machine.held(0), Held { placed: 0, garbage: 1, leftovers: 0 });
}
