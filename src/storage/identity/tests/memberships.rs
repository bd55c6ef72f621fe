//! Drives that are added to a host after its formation, drives that are removed, and hosts that rejoin under another
//! id.

use super::MemoryDisk;
use super::{dirs, formed, four, identity, open, replace_and_bring_back, states};
use crate::storage::disk::sim::{DriveFault, SimDisk};
use crate::storage::disk::{Disk, create_dir_durably};
use crate::storage::identity::document::encode;
use crate::storage::identity::founding::forget_founding;
use crate::storage::identity::{
    DriveState, Founder, Founding, HostDrives, IdentityError, Rejoining, Stage, forget_rejoining, keep_founding,
    keep_rejoining, read_founding, read_rejoining, retire_drives,
};
use crate::types::{HostId, NodeId, RecoveryEpoch};
use std::path::PathBuf;

fn five() -> Vec<PathBuf> {
    dirs(&["/d1", "/d2", "/d3", "/d4", "/d5"])
}

fn six() -> Vec<PathBuf> {
    dirs(&["/d1", "/d2", "/d3", "/d4", "/d5", "/d6"])
}

fn nodes(host: &HostDrives) -> Vec<u32> {
    host.drives.iter().map(|drive| drive.node.0).collect()
}

#[test]
fn further_empty_directories_become_new_drives_of_a_complete_host() {
    let (disk, before) = formed();
    disk.make_dir("/d5");
    disk.make_dir("/d6");
    let host = open(&disk, &dirs(&["/d6", "/d1", "/d2", "/d5", "/d3", "/d4"])).unwrap();
    assert_eq!((nodes(&host), states(&host)), (vec![0, 1, 2, 3, 4, 5], vec!["present"; 6]));
    assert!(!host.formed_now);
    assert_eq!(host.drives[..4], before.drives[..]);
    assert_eq!(host.drives[4].dir, PathBuf::from("/d6"), "in the order in which they are given");
    for dir in six() {
        let identity = identity(&disk, dir.to_str().unwrap());
        assert_eq!((identity.stage, identity.members.len()), (Stage::Formed, 6));
    }
    let again = open(&disk, &six()).unwrap();
    assert_eq!(again.drives, host.drives);
    disk.remove_dir("/d5");
    assert_eq!(states(&open(&disk, &six()).unwrap()), ["present", "present", "present", "present", "present", "lost"]);
}

#[test]
fn no_drive_is_added_while_a_drive_or_its_directory_is_missing() {
    let (disk, _) = formed();
    assert!(matches!(open(&disk, &five()), Err(IdentityError::WrongCount { .. })), "there is no such directory");
    disk.make_dir("/d5");
    disk.remove_dir("/d2");
    let files = disk.file_count();
    assert!(matches!(open(&disk, &five()), Err(IdentityError::WrongCount { .. })));
    disk.make_dir("/d2");
    assert!(matches!(open(&disk, &five()), Err(IdentityError::WrongCount { .. })), "which of them is the new one?");
    assert_eq!(disk.file_count(), files, "nothing is written by a refusal");
}

#[test]
fn an_interrupted_addition_of_drives_is_finished_by_the_next_start() {
    for changes in 0..60 {
        let (disk, before) = formed();
        disk.make_dir("/d5");
        disk.make_dir("/d6");
        disk.cut_power_after(Some(changes));
        let _ = open(&disk, &six());
        disk.cut_power_after(None);
        let host = open(&disk, &six()).unwrap_or_else(|error| panic!("after {changes} changes: {error}"));
        assert_eq!((nodes(&host), states(&host)), (vec![0, 1, 2, 3, 4, 5], vec!["present"; 6]), "{changes}");
        assert_eq!(host.drives[..4], before.drives[..], "after {changes} changes");
        assert_eq!(open(&disk, &six()).unwrap().drives, host.drives, "after {changes} changes");
    }
}

#[test]
fn a_removed_drive_is_left_alone_and_need_not_be_listed() {
    let (disk, before) = formed();
    assert!(retire_drives(&disk, &four(), &[NodeId(1)]).unwrap());
    assert!(!retire_drives(&disk, &four(), &[NodeId(1)]).unwrap(), "once");
    let kept = disk.get("/d2/identity.json");
    let beside = open(&disk, &four()).unwrap();
    assert_eq!((nodes(&beside), states(&beside)), (vec![0, 2, 3], vec!["present"; 3]));
    assert_eq!(disk.get("/d2/identity.json"), kept);
    let without = open(&disk, &dirs(&["/d1", "/d3", "/d4"])).unwrap();
    assert_eq!(without.drives, beside.drives);
    assert_eq!(without.drives[1], before.drives[2]);
    // Once emptied, the directory becomes a new drive.
    disk.remove_dir("/d2");
    disk.make_dir("/d2");
    let anew = open(&disk, &four()).unwrap();
    assert_eq!((nodes(&anew), states(&anew)), (vec![0, 2, 3, 4], vec!["present"; 4]));
}

#[test]
fn a_new_drive_does_not_get_the_number_of_a_listed_removed_drive() {
    let (disk, _) = formed();
    assert!(retire_drives(&disk, &four(), &[NodeId(3)]).unwrap());
    disk.make_dir("/d5");
    for start in 1..=2 {
        let host = open(&disk, &five()).unwrap_or_else(|error| panic!("start {start}: {error}"));
        assert_eq!((nodes(&host), states(&host)), (vec![0, 1, 2, 4], vec!["present"; 4]), "start {start}");
    }
}

#[test]
fn a_new_drive_does_not_get_a_number_that_only_an_old_identity_has() {
    let (disk, _) = formed();
    assert!(retire_drives(&disk, &dirs(&["/d1", "/d2", "/d4"]), &[NodeId(3)]).unwrap(), "the third drive is away");
    disk.remove_dir("/d4");
    disk.make_dir("/d5");
    let host = open(&disk, &dirs(&["/d1", "/d2", "/d3", "/d5"])).unwrap();
    assert_eq!((nodes(&host), states(&host)), (vec![0, 1, 2, 4], vec!["present"; 4]));
}

#[test]
fn the_last_drive_of_a_host_is_never_removed() {
    let (disk, _) = formed();
    assert!(!retire_drives(&disk, &four(), &[0, 1, 2, 3].map(NodeId)).unwrap());
    assert_eq!(states(&open(&disk, &four()).unwrap()), ["present"; 4]);
}

#[test]
fn an_interrupted_removal_of_a_drive_leaves_a_host_that_starts() {
    for changes in 0..30 {
        let (disk, _) = formed();
        disk.cut_power_after(Some(changes));
        let _ = retire_drives(&disk, &four(), &[NodeId(3)]);
        disk.cut_power_after(None);
        let host = open(&disk, &four()).unwrap_or_else(|error| panic!("after {changes} changes: {error}"));
        assert!(matches!(nodes(&host)[..], [0, 1, 2] | [0, 1, 2, 3]), "after {changes} changes");
        let _ = retire_drives(&disk, &four(), &[NodeId(3)]).unwrap();
        let host = open(&disk, &dirs(&["/d1", "/d2", "/d3"])).unwrap();
        assert_eq!((nodes(&host), states(&host)), (vec![0, 1, 2], vec!["present"; 3]), "after {changes} changes");
    }
}

#[test]
fn a_failed_removal_can_be_repeated_whichever_drives_were_written() {
    for changes in 0..30 {
        let (disk, _) = formed();
        disk.cut_power_after(Some(changes));
        let _ = retire_drives(&disk, &four(), &[NodeId(3)]);
        disk.cut_power_after(None);
        retire_drives(&disk, &four(), &[NodeId(3)]).unwrap_or_else(|error| panic!("after {changes} changes: {error}"));
        disk.remove_dir("/d1");
        let host = open(&disk, &dirs(&["/d1", "/d2", "/d3"]));
        let host = host.unwrap_or_else(|error| panic!("after {changes} changes: {error}"));
        assert_eq!((nodes(&host), states(&host)), (vec![0, 1, 2], vec!["lost", "present", "present"]), "{changes}");
    }
}

#[test]
fn a_removal_does_not_make_a_returned_former_drive_a_member() {
    let (disk, _) = formed();
    replace_and_bring_back(&disk);
    let before = disk.get("/d2/identity.json");
    assert!(retire_drives(&disk, &four(), &[NodeId(3)]).unwrap());
    assert_eq!(disk.get("/d2/identity.json"), before);
}

const REJOINED: HostId = HostId(77);
const EPOCH: RecoveryEpoch = RecoveryEpoch { number: 1, id: 0xabc, former: [0; 8] };

/// Renames the host, as a rejoining does.
fn rejoined(disk: &MemoryDisk, host: HostDrives) -> HostDrives {
    host.renamed(disk, REJOINED, EPOCH).unwrap()
}

#[test]
fn a_rejoined_host_keeps_its_drives_under_another_id() {
    let (disk, before) = formed();
    let was = before.host;
    let drives = before.drives.clone();
    let after = rejoined(&disk, before);
    assert_eq!((after.host, &after.drives), (REJOINED, &drives));
    for dir in ["/d1", "/d2", "/d3", "/d4"] {
        let identity = identity(&disk, dir);
        assert_eq!((identity.host, identity.format, identity.generation), (REJOINED, 1, 2));
        assert_eq!((&identity.earlier[..], identity.recovery), (&[was][..], EPOCH));
    }
    let opened = open(&disk, &four()).unwrap();
    assert_eq!((opened.host, opened.recovery, opened.drives), (REJOINED, EPOCH, drives));
}

#[test]
fn a_drive_that_missed_a_rejoin_gets_the_new_host_id() {
    for away_from_later in [false, true] {
        let (disk, before) = formed();
        let away = disk.copy_of("/d2");
        if away_from_later {
            // Raises the generation, so that the drive that is away has one greater than at formation.
            for _ in 0..3 {
                replace_and_bring_back(&disk);
            }
        }
        let away = if away_from_later { disk.copy_of("/d2") } else { away };
        disk.remove_dir("/d2");
        let drives = open(&disk, &four()).unwrap();
        rejoined(&disk, drives);
        disk.restore("/d2", &away);
        let host = open(&disk, &four()).unwrap();
        assert_eq!(host.host, REJOINED);
        assert_eq!(host.drives[1].node, before.drives[1].node);
        assert!(!matches!(host.drives[1].state, DriveState::Lost { .. }));
        assert_eq!(identity(&disk, "/d2").host, REJOINED);
        assert_eq!(identity(&disk, "/d2").generation, identity(&disk, "/d1").generation);
    }
}

#[test]
fn an_interrupted_rejoin_leaves_all_drives_with_one_host_id() {
    for changes in 0..40 {
        let (disk, before) = formed();
        let (was, drives) = (before.host, before.drives.clone());
        disk.cut_power_after(Some(changes));
        let _ = before.renamed(&disk, REJOINED, EPOCH);
        disk.cut_power_after(None);
        let host = open(&disk, &four()).unwrap_or_else(|error| panic!("after {changes} changes: {error}"));
        assert!([was, REJOINED].contains(&host.host), "after {changes} changes");
        assert_eq!(host.drives, drives, "after {changes} changes");
        for dir in ["/d1", "/d2", "/d3", "/d4"] {
            assert_eq!(identity(&disk, dir).host, host.host, "after {changes} changes");
        }
    }
}

#[test]
fn a_host_whose_identities_cannot_be_read_gets_no_other_id() {
    let (disk, before) = formed();
    let was = before.host;
    let paths = ["/d1", "/d2", "/d3", "/d4"].map(|dir| format!("{dir}/identity.json"));
    paths.iter().for_each(|path| disk.break_path(path));
    let refused = before.renamed(&disk, REJOINED, EPOCH).map(|host| host.host);
    assert!(matches!(refused, Err(IdentityError::Unusable { .. })), "{refused:?}");
    paths.iter().for_each(|path| disk.mend_path(path));
    assert_eq!(open(&disk, &four()).unwrap().host, was);
}

#[test]
fn a_drive_whose_identity_cannot_be_read_at_a_rejoin_is_lost_for_now() {
    let (disk, before) = formed();
    disk.break_path("/d2/identity.json");
    assert_eq!(states(&rejoined(&disk, before)), ["present", "lost", "present", "present"]);
    disk.mend_path("/d2/identity.json");
    let opened = open(&disk, &four()).unwrap();
    assert_eq!((opened.host, states(&opened)), (REJOINED, vec!["present"; 4]));
    assert_eq!(identity(&disk, "/d2").host, REJOINED);
}

#[test]
fn a_rejoined_host_refuses_a_drive_of_another_host() {
    let (disk, host) = formed();
    rejoined(&disk, host);
    let mut stranger = identity(&disk, "/d2");
    (stranger.host, stranger.earlier, stranger.format) = (HostId(5), Vec::new(), 1);
    disk.put("/d2/identity.json", &encode(&stranger));
    assert_eq!(open(&disk, &four()).unwrap_err(), IdentityError::OtherHost { dir: "/d2".into() });
}

#[test]
fn the_state_of_a_rejoin_applies_only_to_the_host_that_it_names() {
    let disk = MemoryDisk::default();
    disk.make_dir("/d1");
    disk.make_dir("/d2");
    let dirs = dirs(&["/d1", "/d2"]);
    let read = |host| read_rejoining(&disk, &dirs, HostId(host)).unwrap();
    assert_eq!(read(1), None);
    let tried = Rejoining::new(HostId(1), HostId(2), false, "its log is damaged".to_owned());
    keep_rejoining(&disk, &dirs, &tried).unwrap();
    assert_eq!((read(1), read(2)), (Some(tried.clone()), None));
    let given_up = Rejoining { given_up: true, ..tried.clone() };
    keep_rejoining(&disk, &dirs[1..], &given_up).unwrap();
    assert_eq!(read(1), Some(given_up), "it was recorded after the failure");
    let decided = Rejoining { decided: true, ..tried };
    keep_rejoining(&disk, &dirs[1..], &decided).unwrap();
    assert_eq!(read(1), Some(decided.clone()), "a crash may have left it on one drive only");
    disk.put("/d1/rejoin.json", b"{}");
    assert_eq!(read(1), Some(decided), "the other copy is whole");
    disk.put("/d2/rejoin.json", b"");
    let refused = read_rejoining(&disk, &dirs, HostId(1));
    assert!(matches!(refused, Err(IdentityError::RejoiningDamaged { .. })), "{refused:?}");
    forget_rejoining(&disk, &dirs).unwrap();
    assert_eq!(read(1), None);
}

pub(super) fn founding() -> Founding {
    Founding::new(Founder {
        name: "a".to_owned(),
        host: HostId(1),
        address: "a:9100".to_owned(),
        drives: 2,
        geometry: None,
        root_key: None,
    })
}

/// Returns a disk with two drives' directories, which are durable.
pub(super) fn two_drives() -> (SimDisk, Vec<PathBuf>) {
    let (disk, dirs) = (SimDisk::new(1 << 20), dirs(&["/d1", "/d2"]));
    for dir in &dirs {
        create_dir_durably(&disk, dir).unwrap();
    }
    (disk, dirs)
}

#[test]
fn the_states_of_a_founding_and_a_rejoin_do_not_come_back_after_a_power_cut() {
    let (disk, dirs) = two_drives();
    keep_founding(&disk, &dirs, &founding()).unwrap();
    keep_rejoining(&disk, &dirs, &Rejoining::new(HostId(1), HostId(2), true, "a test".to_owned())).unwrap();
    forget_founding(&disk, &dirs).unwrap();
    forget_rejoining(&disk, &dirs).unwrap();
    let after = disk.power_cut_to_what_was_synced(1);
    assert_eq!(read_founding(&after, &dirs).unwrap(), None);
    assert_eq!(read_rejoining(&after, &dirs, HostId(1)).unwrap(), None);
}

#[test]
fn the_state_of_a_founding_is_removed_from_the_other_drives_if_one_fails() {
    let (disk, dirs) = two_drives();
    keep_founding(&disk, &dirs, &founding()).unwrap();
    disk.fail_drive(&dirs[0], DriveFault::Dead);
    assert!(matches!(forget_founding(&disk, &dirs), Err(IdentityError::Io { path, .. }) if path.starts_with("/d1")));
    assert_eq!(disk.list(&dirs[1]).unwrap(), Vec::<String>::new());
}
