//! Tests of the selection of copies at start.

use super::at;
use crate::storage::raft_log::{ChoiceError, CopyFound, DriveFound, MirrorChoice, MirrorSet, choose, current_members};
use crate::types::{HostId, NodeId, UnixMs};
use std::collections::BTreeSet;

fn set(generation: u64, members: &[u32]) -> MirrorSet {
    MirrorSet {
        host: HostId(1),
        generation,
        members: members.iter().copied().map(NodeId).collect(),
        formed: true,
        start: 0,
        history: Vec::new(),
        in_force: generation,
    }
}

fn sound(sequence: u64) -> CopyFound {
    CopyFound::Sound { sequence, last: Some(at(1, sequence)) }
}

fn drive(node: u32, set: Option<MirrorSet>, copy: CopyFound) -> DriveFound {
    DriveFound { node: NodeId(node), set, copy, continues: BTreeSet::new() }
}

fn damaged() -> CopyFound {
    CopyFound::Damaged { why: "a test says so".to_owned() }
}

#[test]
fn blank_drives_are_a_fresh_start() {
    let found = [drive(1, None, CopyFound::Empty), drive(2, None, CopyFound::Empty)];
    assert_eq!(choose(&found), Ok(MirrorChoice::Fresh));
}

#[test]
fn copies_are_not_selected_if_no_drive_has_a_mirror_set() {
    let found = [drive(1, None, sound(5)), drive(2, None, CopyFound::Empty)];
    assert_eq!(choose(&found), Err(ChoiceError::GenerationLost));
}

#[test]
fn a_drive_that_comes_back_after_a_salvage_is_an_old_copy() {
    let salvaged = MirrorSet::salvaged(HostId(1), [NodeId(1)].into(), UnixMs(1_700_000_000_000));
    let after = salvaged.next([NodeId(1)].into(), true).put_in_force();
    for set_of_1 in [salvaged, after] {
        let found = [drive(1, Some(set_of_1.clone()), sound(5)), drive(2, Some(set(900, &[1, 2])), sound(99))];
        let chosen = MirrorChoice::Existing { set: set_of_1, best: NodeId(1), others: vec![] };
        assert_eq!(choose(&found), Ok(chosen));
    }
}

#[test]
fn the_copy_that_holds_most_is_the_best_of_the_members() {
    let of = |node, sequence| drive(node, Some(set(3, &[1, 2, 3])), sound(sequence));
    let chosen = choose(&[of(1, 10), of(2, 12), of(3, 11)]);
    let others = vec![NodeId(1), NodeId(3)];
    assert_eq!(chosen, Ok(MirrorChoice::Existing { set: set(3, &[1, 2, 3]), best: NodeId(2), others }));
}

#[test]
fn a_stale_copy_is_never_the_best_however_long_it_is() {
    let found = [drive(1, Some(set(3, &[1, 2])), sound(99)), drive(2, Some(set(4, &[2])), sound(10))];
    assert_eq!(choose(&found), Ok(MirrorChoice::Existing { set: set(4, &[2]), best: NodeId(2), others: vec![] }));
}

#[test]
fn a_stale_copy_is_refused_when_any_drive_remembers_the_newer_generation() {
    let found = [drive(1, Some(set(3, &[1, 2])), sound(99)), drive(3, Some(set(4, &[2])), CopyFound::Empty)];
    assert_eq!(choose(&found), Err(ChoiceError::AllMissing { generation: 4, members: vec![NodeId(2)] }));
}

/// If a drive that is not a member has the set, all members had it before.
#[test]
fn a_member_is_an_old_copy_if_it_lacks_a_set_known_to_nonmembers() {
    let members = |nodes: &[u32]| nodes.iter().copied().map(NodeId).collect();
    let before = MirrorSet::first(HostId(1), members(&[1, 2])).next(members(&[1, 2]), true);
    let after = MirrorSet { start: 9, ..before.next(members(&[1, 2]), true) };
    let old = || drive(1, Some(before.clone()), sound(99));
    let informed = || drive(3, Some(after.clone()), CopyFound::Empty);
    let current = |copy| drive(2, Some(after.clone()), copy);
    assert!(matches!(choose(&[old(), informed()]), Err(ChoiceError::AllMissing { generation: 3, .. })));
    assert!(matches!(choose(&[old(), current(damaged()), informed()]), Err(ChoiceError::AllDamaged(_))));
    let existing =
        |set: &MirrorSet, best, others| Ok(MirrorChoice::Existing { set: set.clone(), best: NodeId(best), others });
    assert_eq!(choose(&[old(), current(sound(10)), informed()]), existing(&after, 2, vec![NodeId(1)]));
    // The power was cut while the set was written.
    assert_eq!(choose(&[old(), current(sound(10))]), existing(&after, 1, vec![NodeId(2)]));
    assert_eq!(choose(&[old(), current(damaged())]), existing(&after, 1, vec![]));
}

/// A set is marked as in force once all its members have it.
#[test]
fn a_member_is_an_old_copy_if_it_lacks_a_set_that_came_into_force() {
    let members = |nodes: &[u32]| nodes.iter().copied().map(NodeId).collect();
    let before = MirrorSet::first(HostId(1), members(&[1, 2])).next(members(&[1, 2]), true).put_in_force();
    let begun = MirrorSet { start: 9, ..before.next(members(&[1, 2]), true) };
    let after = begun.clone().put_in_force();
    let failed = || CopyFound::Failed { why: "an unreadable sector".to_owned() };
    let old = || drive(1, Some(before.clone()), sound(99));
    let current = |copy| drive(2, Some(after.clone()), copy);
    assert!(matches!(choose(&[old(), current(damaged())]), Err(ChoiceError::AllDamaged(_))));
    assert!(matches!(choose(&[old(), current(failed())]), Err(ChoiceError::AllFailed(_))));
    let existing = |best, others| Ok(MirrorChoice::Existing { set: after.clone(), best: NodeId(best), others });
    assert_eq!(choose(&[old(), current(sound(10))]), existing(2, vec![NodeId(1)]));
    // The power was cut before this drive took the mark, or the drive was emptied.
    let unmarked = drive(1, Some(begun.clone()), sound(11));
    assert_eq!(choose(&[current(damaged()), unmarked]).map(best_of), Ok(Some(NodeId(1))));
    assert_eq!(choose(&[drive(1, None, CopyFound::Empty), current(sound(10))]), existing(2, vec![]));
}

/// Only current copies are merged if all are damaged.
#[test]
fn an_old_copy_is_not_among_the_current_ones() {
    let members = |nodes: &[u32]| nodes.iter().copied().map(NodeId).collect();
    let before = MirrorSet::first(HostId(1), members(&[1, 2])).next(members(&[1, 2]), true).put_in_force();
    let begun = MirrorSet { start: 9, ..before.next(members(&[1, 2]), true) };
    let after = begun.clone().put_in_force();
    let current = |set: &MirrorSet, other: Option<&MirrorSet>| {
        let found = [drive(1, other.cloned(), damaged()), drive(2, Some(set.clone()), damaged())];
        current_members(&found, set)
    };
    assert_eq!(current(&after, Some(&before)), members(&[2]));
    assert_eq!(current(&after, Some(&begun)), members(&[1, 2]));
    assert_eq!(current(&after, None), members(&[2]));
    // The power was cut while the set was written: the other member may have been cut off just before.
    assert_eq!(current(&begun, Some(&before)), members(&[1, 2]));
}

fn best_of(choice: MirrorChoice) -> Option<NodeId> {
    match choice {
        MirrorChoice::Existing { best, .. } => Some(best),
        MirrorChoice::Fresh | MirrorChoice::Unformed { .. } => None,
    }
}

#[test]
fn sets_of_two_starts_differ_even_with_the_same_members() {
    let members = |nodes: &[u32]| nodes.iter().copied().map(NodeId).collect();
    let common = MirrorSet::first(HostId(1), members(&[1, 2, 3])).next(members(&[1, 2, 3]), true);
    let started = |start| MirrorSet { start, ..common.next(members(&[1, 2, 3]), true) }.put_in_force();
    let (one, other) = (started(7), started(8));
    let found = [drive(1, Some(one.clone()), sound(9)), drive(2, Some(other.next(members(&[2, 3]), true)), sound(9))];
    assert!(matches!(choose(&found), Err(ChoiceError::Forked { .. })));
    let same = [drive(1, Some(one.clone()), sound(9)), drive(2, Some(one.next(members(&[2, 3]), true)), sound(9))];
    assert!(choose(&same).is_ok());
}

/// A power cut while a start writes its set leaves nothing that looks like drives in separate use.
#[test]
fn a_set_that_never_came_into_force_is_not_a_fork() {
    let members = |nodes: &[u32]| nodes.iter().copied().map(NodeId).collect();
    let common = MirrorSet::first(HostId(1), members(&[1, 2, 3])).next(members(&[1, 2, 3]), true).put_in_force();
    let cut = MirrorSet { start: 7, ..common.next(members(&[1, 2, 3]), true) };
    let later = MirrorSet { start: 8, ..common.next(members(&[2, 3]), true) }.put_in_force();
    let existing = |set: &MirrorSet, best, others: &[u32]| {
        let others = others.iter().copied().map(NodeId).collect();
        Ok(MirrorChoice::Existing { set: set.clone(), best: NodeId(best), others })
    };
    let of_later = |node, sequence| drive(node, Some(later.clone()), sound(sequence));
    let left_behind = |set: &MirrorSet| drive(1, Some(set.clone()), sound(30));
    assert_eq!(choose(&[left_behind(&cut), of_later(2, 12), of_later(3, 10)]), existing(&later, 2, &[3]));
    // The same holds for several starts in a row, each cut.
    let again = (0..3).fold(cut.clone(), |set, start| MirrorSet { start, ..set.next(members(&[1, 2, 3]), true) });
    assert!(again.generation > later.generation);
    assert_eq!(choose(&[left_behind(&again), of_later(2, 12), of_later(3, 10)]), existing(&later, 2, &[3]));
    // If neither set came into force, either may be chosen.
    let unfinished = MirrorSet { in_force: common.generation, ..later.clone() };
    let found = [left_behind(&cut), drive(2, Some(unfinished), sound(12)), drive(3, Some(common.clone()), sound(10))];
    assert!(choose(&found).is_ok());
    // Something may have been acknowledged under a set that came into force.
    let apart = [cut.clone().put_in_force(), again.clone().put_in_force()];
    for apart in apart.iter().chain([&apart[0].next(members(&[1]), true)]) {
        let found = [left_behind(apart), of_later(2, 12), of_later(3, 10)];
        assert!(matches!(choose(&found), Err(ChoiceError::Forked { .. })), "{apart:?}");
    }
}

#[test]
fn the_empty_copy_of_a_member_without_a_mirror_set_does_not_count() {
    let found = [drive(1, None, CopyFound::Empty), drive(2, Some(set(4, &[1, 2])), sound(10))];
    assert_eq!(choose(&found), Ok(MirrorChoice::Existing { set: set(4, &[1, 2]), best: NodeId(2), others: vec![] }));
    let found = [drive(1, None, CopyFound::Empty), drive(3, Some(set(4, &[1])), CopyFound::Empty)];
    assert!(matches!(choose(&found), Err(ChoiceError::AllMissing { .. })));
}

/// The set of drive 1 may have been a newer one, which drive 2 never took.
#[test]
fn a_copy_without_a_readable_set_is_not_passed_over_for_one_that_has_less() {
    let failed = || CopyFound::Failed { why: "an unreadable sector".to_owned() };
    let after_an_election = CopyFound::Sound { sequence: 10, last: Some(at(2, 10)) };
    let unlisted = Err(ChoiceError::Unlisted(vec![NodeId(1)]));
    for (copy, set_of_2, copy_of_2) in [
        (sound(99), set(6, &[1, 2]), sound(10)),
        (after_an_election, set(6, &[1, 2]), sound(10)),
        (sound(99), set(6, &[2]), sound(10)),
        (sound(5), set(6, &[1, 2]), damaged()),
        (sound(5), set(6, &[1, 2]), failed()),
        (sound(5), set(6, &[1]), CopyFound::Empty),
    ] {
        let found = [drive(1, None, copy), drive(2, Some(set_of_2), copy_of_2)];
        assert_eq!(choose(&found), unlisted, "{found:?}");
    }
    let existing = Ok(MirrorChoice::Existing { set: set(6, &[1, 2]), best: NodeId(2), others: vec![] });
    for copy in [CopyFound::Empty, sound(9), sound(10), damaged(), failed()] {
        let found = [drive(1, None, copy), drive(2, Some(set(6, &[1, 2])), sound(10))];
        assert_eq!(choose(&found), existing, "{found:?}");
    }
}

/// The process was killed while one copy was an operation ahead, or that copy was the only current one.
#[test]
fn the_copy_of_a_member_that_continues_the_others_is_the_best_though_its_set_cannot_be_read() {
    let ahead = |node, continued: &[u32]| DriveFound {
        continues: continued.iter().copied().map(NodeId).collect(),
        ..drive(node, None, sound(11))
    };
    let listed = |node: u32, members: &[u32], sequence: u64| drive(node, Some(set(6, members)), sound(sequence));
    let chosen = choose(&[ahead(1, &[2]), listed(2, &[1, 2, 3], 10), listed(3, &[1, 2, 3], 9)]);
    let others = vec![NodeId(3), NodeId(2)];
    assert_eq!(chosen, Ok(MirrorChoice::Existing { set: set(6, &[1, 2, 3]), best: NodeId(1), others }));
    for (found, refused) in [
        (vec![ahead(1, &[3]), listed(2, &[1, 2, 3], 10), listed(3, &[1, 2, 3], 9)], vec![1]),
        (vec![ahead(1, &[2]), listed(2, &[2], 10)], vec![1]),
        (vec![ahead(1, &[2]), ahead(3, &[2]), listed(2, &[1, 2, 3], 10)], vec![1, 3]),
        (vec![ahead(1, &[2]), drive(2, Some(set(6, &[1, 2])), damaged())], vec![1]),
    ] {
        let refused = refused.into_iter().map(NodeId).collect();
        assert_eq!(choose(&found), Err(ChoiceError::Unlisted(refused)), "{found:?}");
    }
}

#[test]
fn a_damaged_copy_is_passed_over_or_refused_if_there_is_no_other() {
    let bad = drive(1, Some(set(4, &[1, 2])), damaged());
    let good = drive(2, Some(set(4, &[1, 2])), sound(10));
    let chosen = choose(&[bad.clone(), good]);
    assert_eq!(chosen, Ok(MirrorChoice::Existing { set: set(4, &[1, 2]), best: NodeId(2), others: vec![] }));
    assert!(matches!(choose(&[bad]), Err(ChoiceError::AllDamaged(_))));
}

#[test]
fn drives_that_name_different_copies_at_one_generation_are_refused() {
    let found = [drive(1, Some(set(5, &[1])), sound(9)), drive(2, Some(set(5, &[2])), sound(10))];
    let nodes = vec![NodeId(1), NodeId(2)];
    assert_eq!(choose(&found), Err(ChoiceError::Forked { generation: 5, nodes }));
    let older = drive(3, Some(set(4, &[3])), sound(10));
    assert!(matches!(choose(&[found[0].clone(), older]), Ok(MirrorChoice::Existing { .. })));
}

/// Each start raises the generation, so that the greater generation alone proves nothing.
#[test]
fn drives_in_separate_use_are_refused_however_often_each_was_started() {
    let members = |nodes: &[u32]| nodes.iter().copied().map(NodeId).collect();
    let common = MirrorSet::first(HostId(1), members(&[1, 2])).next(members(&[1, 2]), true);
    let alone = |node: u32, starts: u64| {
        (0..starts).fold(common.clone(), |set, _| set.next(members(&[node]), true).put_in_force())
    };
    for first in 1..5 {
        for second in 1..5 {
            let found = [drive(1, Some(alone(1, first)), sound(9)), drive(2, Some(alone(2, second)), sound(10))];
            let generation = 2 + first.max(second);
            let nodes = vec![NodeId(1), NodeId(2)];
            assert_eq!(choose(&found), Err(ChoiceError::Forked { generation, nodes }), "{first} {second}");
        }
    }
    let stale = [drive(1, Some(alone(1, 3)), sound(9)), drive(2, Some(common.clone()), sound(8))];
    assert!(matches!(choose(&stale), Ok(MirrorChoice::Existing { best: NodeId(1), .. })));
    let forgotten = [drive(1, Some(alone(1, 300)), sound(9)), drive(2, Some(common), sound(8))];
    assert!(matches!(choose(&forgotten), Ok(MirrorChoice::Existing { best: NodeId(1), .. })));
}

#[test]
fn a_copy_that_cannot_be_opened_is_not_reported_as_damaged() {
    let failed = CopyFound::Failed { why: "open: Read-only file system".to_owned() };
    let found = [drive(1, Some(set(4, &[1])), failed)];
    let refused = choose(&found).expect_err("no copy is left");
    assert!(matches!(refused, ChoiceError::AllFailed(_)));
    let message = refused.to_string();
    assert!(message.contains("Read-only file system") && !message.contains("damaged"), "{message}");
}

#[test]
fn an_empty_copy_of_a_formed_group_is_a_lost_one() {
    let found = [drive(1, Some(set(2, &[1])), CopyFound::Empty)];
    assert!(matches!(choose(&found), Err(ChoiceError::AllDamaged(_))));
}

#[test]
fn the_interrupted_formation_of_a_group_is_repeated() {
    let forming = MirrorSet { formed: false, ..set(1, &[1, 2]) };
    let found = [drive(1, Some(forming.clone()), CopyFound::Empty), drive(2, None, CopyFound::Empty)];
    assert_eq!(choose(&found), Ok(MirrorChoice::Unformed { set: forming }));
}

#[test]
fn a_log_is_lost_only_if_no_current_copy_is_readable() {
    let found = [
        vec![drive(1, None, sound(5))],
        vec![drive(1, Some(set(4, &[2])), CopyFound::Empty)],
        vec![drive(1, Some(set(4, &[1])), damaged())],
        vec![drive(1, Some(set(4, &[1, 2])), CopyFound::Failed { why: "permission denied".to_owned() })],
        vec![drive(1, Some(set(4, &[1])), sound(5)), drive(2, Some(set(4, &[2])), sound(5))],
        vec![drive(1, None, sound(9)), drive(2, Some(set(4, &[1, 2])), sound(5))],
    ];
    let lost = found.map(|found| choose(&found).expect_err("none is selected").has_lost_the_log());
    assert_eq!(lost, [true, true, true, false, false, false]);
}
