//! Placement: bounds of nodes and hosts, evenness, little movement.

use super::{Layout, LayoutNode, PlaceRefusal, Placement, Ring, Standing, auto_geometry, write_quorum};
use crate::types::{BlobId, Epoch, Geometry, HostId, NodeId, ShardIndex};
use std::collections::{BTreeMap, BTreeSet};

fn geometry(data: u8, parity: u8) -> Geometry {
    Geometry { data, parity, chunk_size_bytes: 256 << 10 }
}

/// `hosts` hosts of `drives` drives each; node `h * 100 + d`.
fn ring(hosts: u64, drives: u32) -> Ring {
    let node =
        |host: u64, drive: u32| LayoutNode { id: NodeId(host as u32 * 100 + drive), host: HostId(host), weight: 1 };
    Ring::new(&Layout::new(Epoch(1), (0..hosts).flat_map(|host| (0..drives).map(move |drive| node(host, drive)))))
}

fn blobs(count: u128) -> impl Iterator<Item = BlobId> {
    (0..count)
        .map(|number| BlobId((number << 80) | (number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060) & ((1 << 80) - 1))))
}

fn all_live(_: NodeId) -> Standing {
    Standing::Live
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

/// P1: shards are told apart by index, so one node may hold them all.
#[test]
fn p1_one_node_takes_all_shards_of_4_2() {
    let placement = ring(1, 1).place(BlobId(7), geometry(4, 2), all_live).expect("one node is all there is");
    assert_eq!(placement.nodes, vec![NodeId(0); 6]);
    assert_eq!((placement.writable, placement.quorum), (6, 5));
}

/// P4: about 1/N moves, and nothing moves between the nodes that were there before.
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

/// P4: host, then drive.
#[test]
fn no_host_holds_more_than_the_parity_covers_where_hosts_suffice() {
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
fn too_few_hosts_share_evenly() {
    let ring = ring(2, 6);
    for blob in blobs(100) {
        let placement = ring.place(blob, geometry(6, 2), all_live).expect("placed");
        assert_eq!(per_host(&ring, &placement).into_values().collect::<Vec<_>>(), vec![4, 4]);
    }
}

/// P7: what cannot be written now is placed all the same, and named.
#[test]
fn p7_shards_of_a_node_that_is_down_stay_its_own_and_are_reported_missing() {
    let ring = ring(1, 4);
    let down = NodeId(2);
    for blob in blobs(200) {
        let standing = |node| if node == down { Standing::Down } else { Standing::Live };
        let placement = ring.place(blob, geometry(2, 2), standing).expect("three of four are live");
        assert_eq!(placement.nodes[3], down, "the missing shard is the last");
        assert_eq!(placement.missing().collect::<Vec<_>>(), vec![ShardIndex(3)]);
    }
}

#[test]
fn a_spare_node_takes_the_shard_of_one_that_is_down() {
    let ring = ring(1, 5);
    let standing = |node| if node == NodeId(2) { Standing::Down } else { Standing::Live };
    for blob in blobs(100) {
        let placement = ring.place(blob, geometry(2, 2), standing).expect("four of five are live");
        assert_eq!(placement.missing().count(), 0);
        assert!(!placement.nodes.contains(&NodeId(2)));
    }
}

#[test]
fn one_of_three_drives_down_narrows_2_1_to_1_1() {
    let standing = |node| if node == NodeId(0) { Standing::Down } else { Standing::Live };
    let placement = ring(1, 3).place(BlobId(1), geometry(2, 1), standing).expect("two are live");
    assert_eq!((placement.geometry.data, placement.geometry.parity), (1, 1));
    assert_eq!((placement.writable, placement.quorum, placement.missing().count()), (2, 2, 0));
}

#[test]
fn a_host_down_never_puts_two_shards_of_single_parity_on_one_host() {
    let ring = ring(3, 2);
    let standing = |node: NodeId| if node.0 < 100 { Standing::Down } else { Standing::Live };
    for blob in blobs(100) {
        let placement = ring.place(blob, geometry(2, 1), standing).expect("two hosts are live");
        assert_eq!(per_host(&ring, &placement).into_values().collect::<Vec<_>>(), vec![1, 1]);
        assert_eq!(placement.geometry.data, 1);
    }
}

#[test]
fn below_the_quorum_the_refusal_says_what_is_missing() {
    let two_down = |node: NodeId| if node.0 < 2 { Standing::Down } else { Standing::Live };
    let refusal = ring(1, 4).place(BlobId(1), geometry(2, 2), two_down).expect_err("two of four");
    assert_eq!(refusal.to_string(), "2 of 4 drives are in service; writes at 2+2 need 3");
    let full = |node: NodeId| if node.0 < 2 { Standing::Full } else { Standing::Live };
    let refusal = ring(1, 4).check_writable(geometry(2, 2), full).expect_err("two have room");
    assert!(matches!(refusal, PlaceRefusal::TooFewWithRoom { full: 2, needed: 3, .. }), "{refusal}");
    let one_down = |node: NodeId| if node.0 < 1 { Standing::Down } else { Standing::Live };
    assert!(ring(1, 2).check_writable(geometry(1, 1), one_down).is_err(), "one copy alone is no quorum");
    assert!(ring(1, 1).check_writable(geometry(1, 0), |_| Standing::Down).is_err());
    assert!(Ring::new(&Layout::default()).check_writable(geometry(1, 0), all_live).is_err(), "no nodes at all");
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
    assert_eq!(write_quorum(geometry(2, 2)), 3);
    assert_eq!(write_quorum(geometry(1, 1)), 2);
    assert_eq!(write_quorum(geometry(3, 0)), 3);
}
