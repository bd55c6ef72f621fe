//! Tests of moves of shards, and of the copies that they leave behind.

use super::Machine;
use super::layout::node;
use crate::storage::meta::command::{Change, FinishedRepair, MovedShard, PutObject, Reply};
use crate::storage::meta::record::{Held, NodeState};
use crate::storage::meta::samples::{self, BUCKET, put_blob};
use crate::types::{BlobId, Epoch, Incarnation, NodeId, ShardId, ShardNumber, UnixMs};

/// Shards 0 to 3 of the samples are on nodes 3, 1, 0, 2.
fn step(blob: u128, shard: u8, from: u32, to: u32) -> MovedShard {
    let incarnation = samples::node().incarnation;
    let shard = ShardId { blob: BlobId(blob), shard: ShardNumber(shard) };
    MovedShard { shard, from: NodeId(from), to: NodeId(to), incarnation, whole: true }
}

impl Machine {
    fn with_nodes(count: u32) -> Self {
        let mut machine = Self::with_bucket();
        machine.register((0..count).map(|id| node(id, u64::from(id))));
        machine
    }

    /// A machine in which node `i` belongs to host `hosts[i]`.
    fn with_nodes_of(hosts: &[u64]) -> Self {
        let mut machine = Self::with_bucket();
        machine.register(hosts.iter().zip(0..).map(|(host, id)| node(id, *host)));
        machine
    }

    fn moves_ever(&self) -> u64 {
        self.view().counts().expect("reads").moves_ever
    }

    fn shift(&mut self, moves: &[MovedShard]) -> Vec<bool> {
        let change = Change::MoveShards { epoch: Epoch(self.epoch()), moves: moves.to_vec() };
        match self.apply(change) {
            Reply::Moved(moved) => moved,
            other => panic!("not an answer to moves: {other:?}"),
        }
    }

    fn placement(&self, blob: u128) -> Vec<u32> {
        let placement = self.view().placement(BlobId(blob)).expect("reads").expect("known");
        placement.into_iter().map(|node| node.0).collect()
    }

    fn leftovers(&self, node: u32) -> Vec<(u128, u8, u64)> {
        let rows = self.view().leftovers(NodeId(node), None, 100).expect("reads");
        rows.into_iter().map(|(shard, entry)| (shard.blob.0, shard.shard.0, entry)).collect()
    }
}

#[test]
fn a_move_changes_the_placement_once_and_leaves_the_old_copy_to_be_dropped() {
    let mut machine = Machine::with_nodes(6);
    machine.put(put_blob("key", 10));
    assert_eq!(machine.shift(&[step(10, 1, 1, 5), step(10, 1, 1, 5), step(10, 3, 2, 4)]), [true, true, true]);
    assert_eq!((machine.placement(10), machine.moves_ever()), (vec![3, 5, 0, 4], 2));
    let entry = machine.index;
    assert_eq!((machine.leftovers(1), machine.leftovers(2)), (vec![(10, 1, entry)], vec![(10, 3, entry)]));
    assert_eq!(
        (machine.held(1), machine.held(5)),
        (Held { leftovers: 1, ..Held::default() }, Held { placed: 1, ..Held::default() })
    );
    let shard = step(10, 1, 1, 5).shard;
    assert!(machine.view().is_leftover(NodeId(1), shard).expect("reads"));
    for _ in 0..2 {
        machine.apply(Change::ForgetLeftovers { gone: vec![(NodeId(1), shard), (NodeId(9), shard)] });
        assert_eq!((machine.leftovers(1), machine.held(1)), (vec![], Held::default()));
    }
    assert_eq!(machine.view().leftovers(NodeId(2), Some(step(10, 3, 2, 4).shard), 9).expect("reads"), []);
    machine.apply(samples::delete(BUCKET, "key"));
    let row = machine.view().garbage_of(BlobId(10)).expect("reads").expect("garbage");
    assert_eq!(row.blob.placement, [3, 5, 0, 4].map(NodeId), "garbage is where it was moved to");
    assert_eq!(machine.placement(10), [3, 5, 0, 4], "for reads under way");
    assert_eq!(machine.shift(&[step(10, 1, 5, 1)]), [false]);
}

#[test]
fn an_outdated_move_is_not_made() {
    let mut machine = Machine::with_nodes(6);
    machine.put(put_blob("key", 10));
    let older = Change::MoveShards { epoch: Epoch(machine.epoch() - 1), moves: vec![step(10, 1, 1, 5)] };
    assert_eq!(machine.apply(older), Reply::Moved(vec![false]));
    let other_drive = MovedShard { incarnation: Incarnation(5), ..step(10, 1, 1, 5) };
    let unknown = [step(10, 1, 2, 5), step(11, 1, 1, 5), step(10, 9, 1, 5), step(10, 1, 1, 77), other_drive];
    assert_eq!(machine.shift(&unknown), [false; 5]);
    machine.apply(Change::SetNode { node: NodeId(5), weight: None, state: Some(NodeState::Draining) });
    assert_eq!(machine.shift(&[step(10, 1, 1, 5)]), [false]);
    assert_eq!((machine.placement(10), machine.leftovers(1)), (vec![3, 1, 0, 2], vec![]));
    assert_eq!(machine.moves_ever(), 0);
}

/// The blob has two data shards and two parity shards. While shard 3 is missing, the loss of a drive with two of the
/// others would lose the blob.
#[test]
fn no_move_lets_the_loss_of_one_drive_lose_the_blob() {
    let mut machine = Machine::with_nodes(6);
    machine.put(PutObject { missing: vec![ShardNumber(3)], ..put_blob("key", 10) });
    assert_eq!(machine.shift(&[step(10, 0, 3, 1)]), [false]);
    assert_eq!((machine.placement(10), machine.leftovers(3)), (vec![3, 1, 0, 2], vec![]));
    assert_eq!(machine.shift(&[step(10, 0, 3, 5)]), [true], "to a drive of its own");
    assert_eq!(machine.shift(&[step(10, 3, 2, 5)]), [true], "the missing shard may be placed anywhere");
    let shard = step(10, 3, 5, 5).shard;
    let incarnation = Some(samples::node().incarnation);
    let done = vec![FinishedRepair { shard, node: NodeId(5), incarnation }];
    machine.apply(Change::FinishRepairs { done });
    assert_eq!(machine.shift(&[step(10, 1, 1, 0)]), [true], "no shard is missing any more");
}

/// Nodes 1 and 4 are of one host. While shard 3 is missing, the loss of that host would lose two of the three others.
#[test]
fn no_move_lets_the_loss_of_one_host_lose_the_blob_while_shards_are_missing() {
    let mut machine = Machine::with_nodes_of(&[0, 1, 2, 3, 1, 5]);
    machine.put(PutObject { missing: vec![ShardNumber(3)], ..put_blob("key", 10) });
    assert_eq!(machine.shift(&[step(10, 0, 3, 4)]), [false]);
    assert_eq!((machine.placement(10), machine.leftovers(3)), (vec![3, 1, 0, 2], vec![]));
    assert_eq!(machine.shift(&[step(10, 1, 1, 4)]), [true], "within its host");
    assert_eq!(machine.shift(&[step(10, 0, 3, 1), step(10, 0, 3, 5)]), [false, true], "to a host of its own");
    let done = FinishedRepair {
        shard: step(10, 3, 2, 2).shard,
        node: NodeId(2),
        incarnation: Some(samples::node().incarnation),
    };
    machine.apply(Change::FinishRepairs { done: vec![done] });
    assert_eq!(machine.shift(&[step(10, 0, 5, 1)]), [true], "no shard is missing any more");
}

/// Otherwise two moves could wait for each other, and repairs for moves.
#[test]
fn missing_shards_and_those_of_whole_blobs_are_moved_whatever_repairs_are_queued() {
    let mut machine = Machine::with_nodes(6);
    machine.put(PutObject { missing: vec![ShardNumber(2), ShardNumber(3)], ..put_blob("key", 10) });
    machine.put(put_blob("other", 11));
    assert_eq!(machine.shift(&[step(10, 3, 2, 1)]), [true], "beside shard 1");
    assert_eq!(machine.repairs(), [(10, 2)]);
    assert_eq!(machine.shift(&[step(11, 0, 3, 1), step(11, 2, 0, 1)]), [true, true], "nothing of it is missing");
}

#[test]
fn a_shard_that_moves_back_is_not_a_leftover() {
    let mut machine = Machine::with_nodes(6);
    machine.put(put_blob("key", 10));
    machine.shift(&[step(10, 1, 1, 5)]);
    machine.shift(&[step(10, 1, 5, 1)]);
    assert_eq!((machine.leftovers(1), machine.leftovers(5).len()), (vec![], 1));
    assert_eq!(machine.held(1), Held { placed: 1, ..Held::default() });
}

#[test]
fn queued_repairs_follow_moves_and_a_copy_with_gaps_is_queued() {
    let mut machine = Machine::with_nodes(6);
    machine.put(PutObject { missing: vec![ShardNumber(1), ShardNumber(2)], ..put_blob("key", 10) });
    machine.put(put_blob("other", 11));
    machine.shift(&[step(10, 1, 1, 5), MovedShard { whole: false, ..step(11, 0, 3, 4) }]);
    assert_eq!(machine.repairs(), [(10, 2), (11, 0)]);
    let repairs = machine.view().repairs(None, 9).expect("reads");
    assert_eq!(repairs[0].blob.placement, [3, 5, 0, 2].map(NodeId));
    assert_eq!(repairs[1].blob.placement, [4, 1, 0, 2].map(NodeId));
    let since = repairs[0].since;
    machine.shift(&[MovedShard { whole: false, ..step(10, 2, 0, 4) }]);
    let repairs = machine.view().repairs(None, 9).expect("reads");
    assert_eq!((repairs[0].since, repairs[0].blob.placement[2]), (since, NodeId(4)));
    assert_eq!(machine.view().counts().expect("reads").repairs, 2);
}

#[test]
fn a_repair_at_the_old_place_of_a_shard_does_not_end_its_repair() {
    let mut machine = Machine::with_nodes(6);
    machine.put(PutObject { missing: vec![ShardNumber(1)], ..put_blob("key", 10) });
    machine.shift(&[MovedShard { whole: false, ..step(10, 1, 1, 5) }]);
    let (shard, unknown) = (step(10, 1, 1, 5).shard, step(11, 1, 1, 5).shard);
    let done_at = |on| {
        let incarnation = Some(samples::node().incarnation);
        let done = [unknown, shard].map(|shard| FinishedRepair { shard, node: NodeId(on), incarnation });
        Change::FinishRepairs { done: done.to_vec() }
    };
    assert_eq!(machine.apply(done_at(1)), Reply::Done);
    assert_eq!(machine.repairs(), [(10, 1)], "the copy on node 5 has gaps");
    for _ in 0..2 {
        machine.apply(done_at(5));
        assert_eq!((machine.repairs(), machine.view().counts().expect("reads").repairs), (vec![], 0));
    }
}

#[test]
fn a_drained_node_is_removed_once_its_leftovers_are_gone() {
    let mut machine = Machine::with_nodes(6);
    machine.put(put_blob("key", 10));
    machine.shift(&[step(10, 1, 1, 5)]);
    let remove = |lost| Change::RemoveNode { node: NodeId(1), lost };
    assert!(matches!(machine.apply(remove(false)), Reply::Refused(_)));
    assert_eq!(machine.apply(remove(true)), Reply::Done);
    assert_eq!(machine.view().removed_nodes().expect("reads"), [NodeId(1)], "its leftovers are still counted");
    let since = machine.leftovers(1)[0].2;
    assert!(since > UnixMs(0).0);
    machine.apply(Change::ForgetLeftovers { gone: vec![(NodeId(1), step(10, 1, 1, 5).shard)] });
    assert_eq!(machine.view().removed_nodes().expect("reads"), []);
    // A write that began earlier still names the removed node. A move off that node leaves nothing behind.
    machine.put(put_blob("late", 12));
    assert_eq!(machine.shift(&[MovedShard { whole: false, ..step(12, 1, 1, 5) }]), [true]);
    assert_eq!((machine.leftovers(1), machine.held(1)), (vec![], Held::default()));
}
