//! Placement: the bounds of nodes, hosts and domains, an even spread, and few moves after a change of the layout.

use super::{
    Availability, Layout, LayoutNode, PARTITIONS, Partition, PlaceRefusal, Placement, Ring, auto_geometry,
    auto_geometry_of_hosts, pointless_parity, weight_of_capacity, write_quorum,
};
use crate::storage::meta::record::{HostRecord, LayoutRecord, NodeRecord, NodeState};
use crate::storage::meta::samples;
use crate::types::{BlobId, Epoch, Geometry, HostId, NodeId, ShardNumber};
use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, proptest};
use proptest::sample::Index;
use std::collections::{BTreeMap, BTreeSet};

fn geometry(data: u8, parity: u8) -> Geometry {
    Geometry { data, parity, chunk_size_bytes: 256 << 10 }
}

/// A ring of `hosts` hosts with `drives` drives each; drive `d` of host `h` is node `h * 100 + d`.
fn ring(hosts: u64, drives: u32) -> Ring {
    let node =
        |host: u64, drive: u32| LayoutNode { id: NodeId(host as u32 * 100 + drive), host: HostId(host), weight: 1 };
    Ring::new(&Layout::new(Epoch(1), (0..hosts).flat_map(|host| (0..drives).map(move |drive| node(host, drive)))))
}

fn blobs(count: u128) -> impl Iterator<Item = BlobId> {
    (0..count)
        .map(|number| BlobId((number << 80) | (number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060) & ((1 << 80) - 1))))
}

fn all_live(_: NodeId) -> Availability {
    Availability::Live
}

fn per_host(ring: &Ring, placement: &Placement) -> BTreeMap<HostId, usize> {
    let mut held = BTreeMap::new();
    for &node in &placement.nodes {
        *held.entry(ring.host_of(node).expect("placed on a known node")).or_default() += 1;
    }
    held
}

/// P1: with as many nodes as shards, each node has one.
#[test]
fn p1_three_nodes_at_2_1_hold_one_shard_each() {
    let ring = ring(1, 3);
    for blob in blobs(300) {
        let placement = ring.place(blob, geometry(2, 1), all_live).expect("three are live");
        assert_eq!(placement.nodes.iter().collect::<BTreeSet<_>>().len(), 3);
        assert_eq!((placement.writable, placement.quorum), (3, 3));
    }
}

/// P1: shards are identified by index, so one node may hold all shards of a blob.
#[test]
fn p1_one_node_takes_all_shards_of_4_2() {
    let placement = ring(1, 1).place(BlobId(7), geometry(4, 2), all_live).expect("one node is all there is");
    assert_eq!(placement.nodes, vec![NodeId(0); 6]);
    assert_eq!((placement.writable, placement.quorum), (6, 5));
}

/// P4: about 1/N of the shards move, all of them to the new node.
#[test]
fn p4_a_node_that_joins_takes_its_share_and_nothing_else_moves() {
    let (before, after) = (ring(10, 1), ring(11, 1));
    let joined = NodeId(1000);
    let (mut moved, mut all) = (0, 0);
    for blob in blobs(5000) {
        let old: BTreeSet<_> =
            before.place(blob, geometry(4, 2), all_live).expect("placed").nodes.into_iter().collect();
        let new: BTreeSet<_> = after.place(blob, geometry(4, 2), all_live).expect("placed").nodes.into_iter().collect();
        let arrivals: Vec<_> = new.difference(&old).collect();
        assert!(arrivals.iter().all(|&&node| node == joined), "{arrivals:?}");
        moved += arrivals.len();
        all += new.len();
    }
    let share = moved as f64 / all as f64;
    assert!((0.07..0.12).contains(&share), "moved {share}, a fair share is {}", 1.0 / 11.0);
}

#[test]
fn shards_spread_over_drives_by_weight() {
    let node = |id: u32, weight: u32| LayoutNode { id: NodeId(id), host: HostId(u64::from(id)), weight };
    let ring = Ring::new(&Layout::new(Epoch(1), [node(1, 1), node(2, 1), node(3, 2), node(4, 0)]));
    let mut firsts = BTreeMap::<NodeId, usize>::new();
    for blob in blobs(20_000) {
        *firsts.entry(ring.place(blob, geometry(1, 0), all_live).expect("placed").nodes[0]).or_default() += 1;
    }
    let share = |id: u32| firsts.get(&NodeId(id)).copied().unwrap_or(0) as f64 / 20_000.0;
    assert!((0.2..0.3).contains(&share(1)) && (0.45..0.55).contains(&share(3)), "{firsts:?}");
    assert_eq!(share(4), 0.0);
}

/// P4: shards spread over hosts before drives.
#[test]
fn no_host_holds_more_shards_than_parity_if_hosts_suffice() {
    for (hosts, drives, data, parity) in [(3, 2, 2, 1), (3, 4, 4, 2), (4, 3, 6, 2), (2, 2, 2, 2), (6, 1, 4, 2)] {
        let ring = ring(hosts, drives);
        for blob in blobs(300) {
            let placement = ring.place(blob, geometry(data, parity), all_live).expect("placed");
            assert_eq!(placement.nodes.iter().collect::<BTreeSet<_>>().len(), placement.nodes.len());
            let most = per_host(&ring, &placement).into_values().max().unwrap_or(0);
            assert!(most <= usize::from(parity), "{most} on a host of {hosts}x{drives} at {data}+{parity}");
        }
    }
}

#[test]
fn shards_spread_evenly_over_too_few_hosts() {
    let ring = ring(2, 6);
    for blob in blobs(100) {
        let placement = ring.place(blob, geometry(6, 2), all_live).expect("placed");
        assert_eq!(per_host(&ring, &placement).into_values().collect::<Vec<_>>(), vec![4, 4]);
    }
}

/// P7: a shard that cannot be written now is placed all the same, and reported as missing.
#[test]
fn p7_shards_of_a_node_that_is_down_stay_its_own_and_are_reported_missing() {
    let ring = ring(1, 4);
    let down = NodeId(2);
    for blob in blobs(200) {
        let availability = |node| if node == down { Availability::Down } else { Availability::Live };
        let placement = ring.place(blob, geometry(2, 2), availability).expect("three of four are live");
        assert_eq!(placement.nodes[3], down, "the missing shard is the last");
        assert_eq!(placement.missing().collect::<Vec<_>>(), vec![ShardNumber(3)]);
    }
}

#[test]
fn a_spare_node_takes_the_shard_of_one_that_is_down() {
    let ring = ring(1, 5);
    let availability = |node| if node == NodeId(2) { Availability::Down } else { Availability::Live };
    for blob in blobs(100) {
        let placement = ring.place(blob, geometry(2, 2), availability).expect("four of five are live");
        assert_eq!(placement.missing().count(), 0);
        assert!(!placement.nodes.contains(&NodeId(2)));
    }
}

#[test]
fn one_of_three_drives_down_narrows_2_1_to_1_1() {
    let availability = |node| if node == NodeId(0) { Availability::Down } else { Availability::Live };
    let placement = ring(1, 3).place(BlobId(1), geometry(2, 1), availability).expect("two are live");
    assert_eq!((placement.geometry.data, placement.geometry.parity), (1, 1));
    assert_eq!((placement.writable, placement.quorum, placement.missing().count()), (2, 2, 0));
}

#[test]
fn a_host_down_never_puts_two_shards_of_single_parity_on_one_host() {
    let ring = ring(3, 2);
    let availability = |node: NodeId| if node.0 < 100 { Availability::Down } else { Availability::Live };
    for blob in blobs(100) {
        let placement = ring.place(blob, geometry(2, 1), availability).expect("two hosts are live");
        assert_eq!(per_host(&ring, &placement).into_values().collect::<Vec<_>>(), vec![1, 1]);
        assert_eq!(placement.geometry.data, 1);
    }
}

#[test]
fn below_the_quorum_the_refusal_says_what_is_missing() {
    let two_down = |node: NodeId| if node.0 < 2 { Availability::Down } else { Availability::Live };
    let refusal = ring(1, 4).place(BlobId(1), geometry(2, 2), two_down).expect_err("two of four");
    assert_eq!(refusal.to_string(), "2 of 4 drives are in service; writes at 2+2 need 3");
    let full = |node: NodeId| if node.0 < 2 { Availability::Full } else { Availability::Live };
    let refusal = ring(1, 4).check_writable(geometry(2, 2), full).expect_err("two have room");
    assert!(matches!(refusal, PlaceRefusal::TooFewWithRoom { full: 2, needed: 3, .. }), "{refusal}");
    let one_down = |node: NodeId| if node.0 < 1 { Availability::Down } else { Availability::Live };
    assert!(ring(1, 2).check_writable(geometry(1, 1), one_down).is_err(), "one copy alone is no quorum");
    assert!(ring(1, 1).check_writable(geometry(1, 0), |_| Availability::Down).is_err());
    assert!(Ring::new(&Layout::default()).check_writable(geometry(1, 0), all_live).is_err(), "no nodes at all");
}

/// If an absent node would bring enough room, the refusal is not a lack of space, and the client may try again.
#[test]
fn a_store_is_out_of_space_only_if_no_returning_node_would_help() {
    let one_each = |node: NodeId| match node.0 {
        0 => Availability::Full,
        1 => Availability::Down,
        _ => Availability::Live,
    };
    let refusal = ring(1, 4).check_writable(geometry(2, 2), one_each).expect_err("two have room");
    assert!(matches!(refusal, PlaceRefusal::TooFewLive { live: 3, full: 1, needed: 3, .. }), "{refusal}");
    assert_eq!(refusal.to_string(), "3 of 4 drives are in service, 1 of them full; writes at 2+2 need 3");
    let two_full = |node: NodeId| match node.0 {
        0 | 1 => Availability::Full,
        2 => Availability::Down,
        _ => Availability::Live,
    };
    let refusal = ring(1, 4).check_writable(geometry(2, 2), two_full).expect_err("one has room");
    assert!(matches!(refusal, PlaceRefusal::TooFewWithRoom { full: 2, needed: 3, .. }), "{refusal}");
    // The narrow geometry counts: of three drives at 2+1, the two that are not full take 1+1 when both are there.
    let refusal = ring(1, 3).check_writable(geometry(2, 1), one_each).expect_err("one has room");
    assert!(matches!(refusal, PlaceRefusal::TooFewLive { full: 1, .. }), "{refusal}");
}

#[test]
fn the_automatic_geometry_never_needs_more_drives_than_there_are() {
    let table = [
        (1, (1, 0)),
        (2, (1, 1)),
        (3, (2, 1)),
        (4, (2, 2)),
        (5, (3, 2)),
        (6, (4, 2)),
        (7, (4, 2)),
        (8, (6, 2)),
        (40, (6, 2)),
    ];
    for (drives, expected) in table {
        let (data, parity) = auto_geometry(drives);
        assert_eq!((data, parity), expected);
        assert!(usize::from(data + parity) <= drives);
    }
    assert_eq!([1, 2, 3].map(|on_a_node| write_quorum(geometry(2, 2), on_a_node)), [3, 4, 3]);
    assert_eq!([1, 2].map(|on_a_node| write_quorum(geometry(1, 1), on_a_node)), [2, 2]);
    assert_eq!([1, 2].map(|on_a_node| write_quorum(geometry(8, 4), on_a_node)), [9, 10]);
    assert_eq!(write_quorum(geometry(3, 0), 1), 3);
}

/// A layout in which host `h` has `drives[h]` drives and the domain `domains[h]`; its drive `d` is node `h * 100 + d`.
fn uneven(epoch: u64, drives: &[u32], domains: &[Option<u8>]) -> Layout {
    let node = |host: usize, drive| LayoutNode {
        id: NodeId(host as u32 * 100 + drive),
        host: HostId(host as u64),
        weight: weight_of_capacity(1 << 40),
    };
    let nodes = drives.iter().enumerate().flat_map(|(host, &drives)| (0..drives).map(move |drive| node(host, drive)));
    let labels = domains.iter().enumerate().filter_map(|(host, label)| Some((HostId(host as u64), (*label)?)));
    Layout::new(Epoch(epoch), nodes).with_domains(labels.map(|(host, label)| (host, format!("rack {label}"))))
}

fn wanted(ring: &Ring, blob: BlobId, geometry: Geometry) -> Vec<NodeId> {
    ring.wanted(ring.partition_of(blob), geometry).expect("there are nodes")
}

fn counts<K: Ord>(keys: impl IntoIterator<Item = K>) -> BTreeMap<K, usize> {
    let mut counts = BTreeMap::new();
    keys.into_iter().for_each(|key| *counts.entry(key).or_default() += 1);
    counts
}

fn layouts() -> impl Strategy<Value = (Vec<u32>, Vec<Option<u8>>)> {
    proptest::collection::vec((1u32..5, proptest::option::of(0u8..3)), 1..7).prop_map(|hosts| hosts.into_iter().unzip())
}

/// Three to six hosts with one to four drives each, some of them in common domains.
fn clusters() -> impl Strategy<Value = (Vec<u32>, Vec<Option<u8>>)> {
    proptest::collection::vec((1u32..5, proptest::option::of(0u8..3)), 3..7).prop_map(|hosts| hosts.into_iter().unzip())
}

/// Returns the greater of two counts of each key.
fn most<K: Ord>(one: BTreeMap<K, usize>, other: BTreeMap<K, usize>) -> BTreeMap<K, usize> {
    let mut most = one;
    for (key, count) in other {
        let known = most.entry(key).or_default();
        *known = count.max(*known);
    }
    most
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// P1, P4: shards spread over drives, hosts and domains as evenly as the layout allows.
    #[test]
    fn p4_no_host_holds_more_than_its_even_share((drives, domains) in layouts(), data in 1u8..7, parity in 0u8..5, id: u128) {
        let (geometry, layout) = (geometry(data, parity), uneven(1, &drives, &domains));
        let (ring, n) = (Ring::new(&layout), geometry.shards());
        let nodes = wanted(&ring, BlobId(id), geometry);
        prop_assert_eq!(nodes.len(), n);
        prop_assert_eq!(&ring.place(BlobId(id), geometry, all_live).expect("all are live").nodes, &nodes);
        let total: usize = drives.iter().map(|drives| *drives as usize).sum();
        let per_node = n.div_ceil(total);
        prop_assert!(counts(nodes.iter()).into_values().all(|held| held <= per_node), "P1: {nodes:?}");
        // The least that the fullest host can hold, given how many each can.
        let slots: Vec<usize> = drives.iter().map(|drives| *drives as usize * per_node).collect();
        let least = (1..=n).find(|most| slots.iter().map(|slots| slots.min(most)).sum::<usize>() >= n);
        let by_host = counts(nodes.iter().map(|node| node.0 / 100));
        prop_assert!(by_host.values().all(|held| Some(*held) <= least), "{by_host:?} of {drives:?} at {geometry}");
        if slots.iter().all(|slots| *slots >= n.div_ceil(drives.len())) {
            prop_assert!(least <= Some(n.div_ceil(drives.len())));
        }
        // The same of domains, none of which can take more than its hosts may.
        let name = |host: usize| domains[host].map_or(format!("host {host}"), |label| format!("rack {label}"));
        let mut slots_of = BTreeMap::<String, usize>::new();
        for (host, slots) in slots.iter().enumerate() {
            *slots_of.entry(name(host)).or_default() += (*slots).min(least.unwrap_or(n));
        }
        let least = (1..=n).find(|most| slots_of.values().map(|slots| slots.min(most)).sum::<usize>() >= n);
        let by_domain = counts(nodes.iter().map(|node| name(node.0 as usize / 100)));
        prop_assert!(by_domain.values().all(|held| Some(*held) <= least), "{by_domain:?} of {domains:?}");
    }

    #[test]
    fn the_guarantee_holds_for_every_placement((drives, domains) in layouts(), data in 1u8..7, parity in 0u8..5) {
        let geometry = geometry(data, parity);
        let ring = Ring::new(&uneven(1, &drives, &domains));
        let guarantee = ring.guarantee(geometry);
        let name = |host: u32| domains[host as usize].map_or(format!("host {host}"), |label| format!("rack {label}"));
        let left_without_most = |held: BTreeMap<String, usize>, lost: usize| {
            let mut held: Vec<usize> = held.into_values().collect();
            held.sort_unstable_by(|a, b| b.cmp(a));
            held.iter().skip(lost).sum::<usize>()
        };
        for blob in blobs(40) {
            let nodes = wanted(&ring, blob, geometry);
            let by = |name: &dyn Fn(u32) -> String| counts(nodes.iter().map(|node| name(node.0)));
            let drives_left = left_without_most(by(&|node| node.to_string()), guarantee.drives);
            let hosts_left = left_without_most(by(&|node| (node / 100).to_string()), guarantee.hosts);
            let domains_left = left_without_most(by(&|node| name(node / 100)), guarantee.domains);
            prop_assert!([drives_left, hosts_left, domains_left].iter().all(|left| *left >= usize::from(data)));
        }
        let down = guarantee.hosts_down_for_writes;
        for first in 0..=drives.len() - down {
            let availability = |node: NodeId| {
                if (first..first + down).contains(&(node.0 as usize / 100)) { Availability::Down } else { Availability::Live }
            };
            prop_assert!(ring.check_writable(geometry, availability).is_ok(), "{first} of {drives:?} {guarantee:?}");
        }
    }

    /// P4: the moves lead to the wanted placement, and no other shard moves.
    #[test]
    fn p4_moves_lead_to_the_wanted_placement_and_move_nothing_else((drives, domains) in layouts(), data in 1u8..7, parity in 0u8..5, id: u128) {
        let geometry = geometry(data, parity);
        let (mut more, mut labels) = (drives.clone(), domains.clone());
        more.push(2);
        labels.push(None);
        let (before, after) = (Ring::new(&uneven(1, &drives, &domains)), Ring::new(&uneven(2, &more, &labels)));
        let mut placed = wanted(&before, BlobId(id), geometry);
        let target = wanted(&after, BlobId(id), geometry);
        let needed = after.moves(&placed, &target);
        for step in &needed {
            let place = &mut placed[usize::from(step.shard.0)];
            prop_assert_eq!(*place, step.from);
            *place = step.to;
        }
        prop_assert_eq!(counts(placed.clone()), counts(target.clone()));
        prop_assert!(after.moves(&placed, &target).is_empty(), "what is in place stays");
        prop_assert!(needed.len() <= geometry.shards());
    }

    /// The moves are made one by one in any order. `recorded` has hosts and drives, some of which the layout lacks.
    #[test]
    fn p4_moves_in_any_order_put_no_more_shards_on_a_host_than_before_or_after_all(
        (drives, domains) in clusters(),
        drained in proptest::option::of(0u64..6),
        recorded in proptest::collection::vec((0u32..7, 0u32..4), 10),
        (data, parity) in (1u8..7, 0u8..5),
        id: u128,
        draws in proptest::collection::vec(any::<Index>(), 10),
    ) {
        let (geometry, layout) = (geometry(data, parity), uneven(1, &drives, &domains));
        let is_drained = |node: &&LayoutNode| Some(node.host.0) == drained;
        let draining: Vec<NodeId> = layout.nodes().iter().filter(is_drained).map(|node| node.id).collect();
        let ring = Ring::new(&layout.with_draining(draining));
        let target = wanted(&ring, BlobId(id), geometry);
        let recorded = recorded.iter().take(geometry.shards());
        let mut placed: Vec<NodeId> = recorded.map(|(host, drive)| NodeId(host * 100 + drive)).collect();
        let places = ring.places();
        let on_hosts = |nodes: &[NodeId]| counts(nodes.iter().filter_map(|node| Some(places.get(node)?.0)));
        let in_domains = |nodes: &[NodeId]| counts(nodes.iter().filter_map(|node| Some(places.get(node)?.1)));
        let hosts = most(on_hosts(&placed), on_hosts(&target));
        let domains = most(in_domains(&placed), in_domains(&target));
        let mut steps = ring.moves(&placed, &target);
        for draw in draws {
            if steps.is_empty() {
                break;
            }
            let step = steps.remove(draw.index(steps.len()));
            placed[usize::from(step.shard.0)] = step.to;
            prop_assert!(on_hosts(&placed).iter().all(|(host, held)| *held <= hosts[host]), "{placed:?} of {hosts:?}");
            prop_assert!(in_domains(&placed).iter().all(|(domain, held)| *held <= domains[domain]), "{placed:?}");
            prop_assert_eq!(ring.moves(&placed, &target), steps.clone(), "the other moves stay as they are");
        }
        prop_assert_eq!(counts(placed), counts(target));
    }

    /// The promise of `auto_geometry_of_hosts`.
    #[test]
    fn one_host_down_leaves_enough_to_write_at_the_automatic_geometry(drives in proptest::collection::vec(0usize..6, 1..9)) {
        let (data, parity) = auto_geometry_of_hosts(&drives);
        let chosen = geometry(data, parity);
        let with_drives: Vec<u32> = drives.iter().filter(|count| **count > 0).map(|count| *count as u32).collect();
        let total: u32 = with_drives.iter().sum();
        prop_assert!(data >= 1 && chosen.shards() <= (total as usize).max(1), "{chosen} for {drives:?}");
        if with_drives.len() >= 2 {
            let ring = Ring::new(&uneven(1, &with_drives, &vec![None; with_drives.len()]));
            let guarantee = ring.guarantee(chosen);
            prop_assert!(guarantee.hosts >= 1, "{chosen} for {drives:?}: {guarantee}");
            if with_drives.len() >= 3 {
                prop_assert!(guarantee.hosts_down_for_writes >= 1 && parity >= 2, "{chosen} for {drives:?}");
            }
        }
    }
}

#[test]
fn the_automatic_geometry_for_hosts_takes_the_least_space_that_suffices() {
    let table: [(&[usize], (u8, u8)); 16] = [
        (&[], (1, 0)),
        (&[4], (2, 2)),
        (&[4, 0], (2, 2)),
        (&[1, 1], (1, 1)),
        (&[2, 2], (2, 2)),
        (&[4, 4], (2, 2)),
        (&[1, 1, 1], (1, 2)),
        (&[2, 2, 2], (3, 3)),
        (&[4, 4, 4], (3, 3)),
        (&[4, 1, 1], (1, 2)),
        (&[1, 1, 1, 1], (2, 2)),
        (&[2, 2, 2, 2], (5, 3)),
        (&[1, 1, 1, 1, 1], (3, 2)),
        (&[2, 2, 2, 2, 2, 2], (4, 2)),
        (&[4; 8], (6, 2)),
        (&[1; 20], (6, 2)),
    ];
    for (drives, expected) in table {
        assert_eq!(auto_geometry_of_hosts(drives), expected, "{drives:?}");
    }
}

#[test]
fn a_guarantee_is_shown_in_words() {
    let of = |drives: &[u32], domains: &[Option<u8>], data, parity| {
        Ring::new(&uneven(1, drives, domains)).guarantee(geometry(data, parity)).to_string()
    };
    assert_eq!(of(&[2, 2, 2], &[None; 3], 3, 3), "survives 1 host or 3 drives");
    assert_eq!(of(&[1, 1, 1, 1], &[None; 4], 2, 2), "survives 2 hosts or 2 drives");
    assert_eq!(of(&[4], &[None], 2, 2), "survives 2 drives");
    assert_eq!(of(&[1], &[None], 1, 0), "survives no loss");
    assert_eq!(of(&[1, 1], &[None; 2], 1, 1), "survives 1 host or 1 drive");
    let racks = [Some(0), Some(0), Some(1), Some(1), Some(2), Some(2)];
    assert_eq!(of(&[1; 6], &racks, 4, 2), "survives 1 domain or 2 hosts or 2 drives");
    assert_eq!(of(&[], &[], 2, 2), "survives no loss");
}

#[test]
fn a_draining_node_takes_no_new_shards_and_is_still_known() {
    let layout = uneven(3, &[2, 2, 2], &[None; 3]).with_draining([NodeId(100), NodeId(101)]);
    let ring = Ring::new(&layout);
    for blob in blobs(200) {
        let placement = ring.place(blob, geometry(1, 2), all_live).expect("four are left");
        assert!(placement.nodes.iter().all(|node| node.0 / 100 != 1), "{placement:?}");
    }
    assert_eq!(ring.host_of(NodeId(101)), Some(HostId(1)));
    assert!(!ring.is_active(NodeId(101)) && ring.is_active(NodeId(200)) && !ring.is_active(NodeId(7)));
    let refusal = ring.place(BlobId(1), geometry(4, 2), |_| Availability::Down).expect_err("none is live");
    assert_eq!(refusal.to_string(), "0 of 4 drives are in service; writes at 4+2 need 4");
    let none = Ring::new(&layout.with_draining([0, 1, 100, 101, 200, 201].map(NodeId)));
    assert!(none.wanted(none.partition_of(BlobId(1)), geometry(1, 0)).is_none());
    assert!(none.check_writable(geometry(1, 0), all_live).is_err());
}

/// P4: when a host joins or leaves, about 1/N of the shards move, only to or from that host.
#[test]
fn p4_a_host_that_joins_takes_its_share_and_gives_it_back_when_it_drains() {
    for (hosts, drives, data, parity) in [(3, 1, 1, 2), (3, 2, 3, 3), (4, 2, 4, 2), (5, 3, 5, 3)] {
        let geometry = geometry(data, parity);
        let layout = |hosts: usize| uneven(hosts as u64, &vec![drives; hosts], &vec![None; hosts]);
        let (before, after) = (Ring::new(&layout(hosts)), Ring::new(&layout(hosts + 1)));
        let of_new = |node: NodeId| node.0 as usize / 100 == hosts;
        let (mut moved, mut all) = (0, 0);
        for blob in blobs(4000) {
            let (old, new) = (wanted(&before, blob, geometry), wanted(&after, blob, geometry));
            let joining = after.moves(&old, &new);
            assert!(joining.iter().all(|step| of_new(step.to)), "{joining:?}");
            let leaving = after.moves(&new, &old);
            assert!(leaving.iter().all(|step| of_new(step.from)), "{leaving:?}");
            moved += joining.len();
            all += geometry.shards();
        }
        let (share, fair) = (moved as f64 / all as f64, 1.0 / (hosts + 1) as f64);
        assert!((0.9..1.1).contains(&(share / fair)), "{hosts}x{drives} at {geometry}: moved {share}, fair is {fair}");
    }
}

/// Each of three hosts has one shard and gets a second drive. A shard from another host could arrive there before the
/// host's own has left.
#[test]
fn shards_stay_on_their_hosts_when_each_host_gets_a_drive() {
    let (before, after) = (ring(3, 1), ring(3, 2));
    let mut moved = 0;
    for partition in (0..PARTITIONS as u16).map(Partition) {
        let place = |ring: &Ring| ring.wanted(partition, geometry(2, 1)).expect("there are nodes");
        let steps = after.moves(&place(&before), &place(&after));
        assert!(steps.iter().all(|step| step.from.0 / 100 == step.to.0 / 100), "{steps:?}");
        moved += steps.len();
    }
    assert!(moved > PARTITIONS, "about half of all shards move: {moved}");
}

#[test]
fn the_layout_is_made_from_the_records_of_the_metadata() {
    let node = |id, host, state| NodeRecord { id: NodeId(id), host: HostId(host), state, weight: 7, ..samples::node() };
    let hosts = [samples::host(), HostRecord { id: HostId(2), domain: None, ..samples::host() }];
    let nodes = [node(0, 1, NodeState::Active), node(1, 2, NodeState::Draining), node(2, 9, NodeState::Active)];
    assert!(samples::layout().ring_layout(&hosts, &nodes).nodes().is_empty(), "founders are awaited");
    let founded = LayoutRecord { awaited: [].into(), ..samples::layout() };
    let layout = founded.ring_layout(&hosts, &nodes);
    assert_eq!((layout.epoch(), layout.nodes().len(), layout.nodes()[2].weight), (Epoch(70_000), 3, 7));
    assert_eq!((layout.domain_of(HostId(1)), layout.domain_of(HostId(2))), (Some("rack 1"), None));
    assert!(layout.is_draining(NodeId(1)) && !layout.is_draining(NodeId(0)));
    assert_eq!((weight_of_capacity(0), weight_of_capacity(5 << 30), weight_of_capacity(u64::MAX)), (1, 5, u32::MAX));
}

/// Compares `losses_for_writes` with trying every set of lost drives, or hosts.
#[test]
fn the_losses_that_writes_survive_hold_in_the_worst_case() {
    for (hosts, drives, data, parity) in
        [(1, 5, 2, 2), (3, 2, 4, 2), (3, 2, 3, 3), (4, 2, 2, 2), (3, 1, 2, 1), (2, 3, 2, 4)]
    {
        let (ring, geometry) = (ring(hosts, drives), geometry(data, parity));
        let nodes: Vec<NodeId> = ring.nodes().iter().map(|node| node.id).collect();
        let hosts: Vec<HostId> = (0..hosts).map(HostId).collect();
        let gone_at_first = |down: &[NodeId]| {
            let availability = |node| if down.contains(&node) { Availability::Down } else { Availability::Live };
            let claimed = ring.losses_for_writes(geometry, availability);
            let survives = |lost: &[NodeId]| {
                let availability = |node| if lost.contains(&node) { Availability::Down } else { availability(node) };
                ring.check_writable(geometry, availability).is_ok()
            };
            let of_drives = |count: usize| subsets(&nodes, count).iter().all(|lost| survives(lost));
            let of_hosts = |count: usize| {
                subsets(&hosts, count).iter().all(|lost| {
                    let lost: Vec<NodeId> = nodes
                        .iter()
                        .copied()
                        .filter(|node| lost.contains(&ring.host_of(*node).expect("known")))
                        .collect();
                    survives(&lost)
                })
            };
            let most = |holds: &dyn Fn(usize) -> bool| (1..=nodes.len()).take_while(|&count| holds(count)).count();
            assert_eq!(claimed.drives, most(&of_drives), "{geometry} {down:?}");
            assert_eq!(claimed.hosts, most(&of_hosts), "{geometry} {down:?}");
        };
        gone_at_first(&[]);
        gone_at_first(&nodes[..1]);
    }
}

fn subsets<T: Copy>(of: &[T], count: usize) -> Vec<Vec<T>> {
    match (count, of.split_first()) {
        (0, _) => vec![vec![]],
        (_, None) => vec![],
        (_, Some((first, rest))) => {
            let with = subsets(rest, count - 1).into_iter().map(|subset| [&[*first][..], &subset].concat());
            with.chain(subsets(rest, count)).collect()
        }
    }
}

#[test]
fn parity_is_pointless_if_the_loss_of_one_drive_exceeds_it() {
    let is_pointless = |geometry, drives| pointless_parity(geometry, drives).is_some();
    for (geometry, drives) in [((4, 2), 2), ((2, 1), 2), ((6, 2), 3), ((4, 1), 4)] {
        assert!(is_pointless(geometry, drives), "{geometry:?} on {drives}");
    }
    // Enough drives, no parity at all, or one drive, whose loss nothing survives.
    for (geometry, drives) in [((4, 2), 3), ((4, 2), 6), ((2, 2), 2), ((1, 1), 2), ((2, 0), 2), ((4, 2), 1)] {
        assert!(!is_pointless(geometry, drives), "{geometry:?} on {drives}");
    }
    for drives in 2..=64 {
        let (data, parity) = auto_geometry(drives);
        assert!(parity > 0 && !is_pointless((data, parity), drives), "automatic on {drives}");
    }
}
