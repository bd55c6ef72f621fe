//! A drive that is added to a running host.

use super::{AUTO, MemoryDisk, dirs, formed, four, identity, open, states};
use crate::ambient::Ambient;
use crate::limits::DRIVE_BYTES_MIN;
use crate::storage::identity::{
    AddError, Addition, DirLocks, Drive, HeldLock, HeldLocks, IdentityError, LockFault, NoLocks, add_drive,
    check_addition, retire_drives,
};
use crate::types::NodeId;
use std::path::{Path, PathBuf};

fn addition(dir: &str) -> Addition {
    let taken = [0, 1, 2, 3].map(NodeId).into();
    Addition { dirs: four(), taken, dir: PathBuf::from(dir), wanted: AUTO }
}

fn add(disk: &MemoryDisk, asked: &Addition) -> Result<Drive, AddError> {
    add_drive(disk, asked, &Ambient::system(), &NoLocks, &mut HeldLocks::new())
}

fn five() -> Vec<PathBuf> {
    dirs(&["/d1", "/d2", "/d3", "/d4", "/d5"])
}

#[test]
fn an_empty_directory_becomes_a_further_drive_and_the_next_start_must_be_given_it() {
    let (disk, host) = formed();
    disk.make_dir("/d5");
    check_addition(&disk, &addition("/d5")).unwrap();
    let drive = add(&disk, &addition("/d5")).unwrap();
    assert_eq!((drive.node, drive.dir.as_path()), (NodeId(4), Path::new("/d5")));
    for dir in ["/d1", "/d2", "/d3", "/d4", "/d5"] {
        let told = identity(&disk, dir);
        assert_eq!((told.generation, told.members.len()), (2, 5), "{dir}");
        assert_eq!(told.members[4].incarnation, drive.incarnation, "{dir}");
        assert_eq!((told.cluster, told.host), (host.cluster, host.host), "{dir}");
    }
    let next = open(&disk, &five()).unwrap();
    assert_eq!(states(&next), ["present"; 5]);
    assert_eq!(next.drives[4], drive);
    let refused = open(&disk, &four());
    let Err(IdentityError::WrongCount { member_dirs, .. }) = &refused else { panic!("{refused:?}") };
    assert!(member_dirs.contains("node 4 is not among them"), "{member_dirs}");
}

#[test]
fn an_addition_that_came_no_further_than_the_identity_goes_on() {
    let (disk, _) = formed();
    disk.make_dir("/d5");
    let first = add(&disk, &addition("/d5")).unwrap();
    assert_eq!(add(&disk, &addition("/d5")).unwrap(), first, "under the same number and incarnation");
    disk.make_dir("/d6");
    let refused = add(&disk, &addition("/d6"));
    assert!(matches!(refused, Err(AddError::OtherBegun { node: NodeId(4) })), "{refused:?}");
}

#[test]
fn an_addition_that_was_cut_off_anywhere_is_finished_by_the_next_one_and_by_the_next_start() {
    for changes in 0..30 {
        let (disk, before) = formed();
        disk.make_dir("/d5");
        disk.cut_power_after(Some(changes));
        let _ = add(&disk, &addition("/d5"));
        disk.cut_power_after(None);
        let drive = add(&disk, &addition("/d5")).unwrap_or_else(|error| panic!("after {changes} changes: {error}"));
        let host = open(&disk, &five()).unwrap_or_else(|error| panic!("after {changes} changes: {error}"));
        assert_eq!((states(&host), &host.drives[..4]), (vec!["present"; 5], &before.drives[..]), "{changes}");
        assert_eq!(host.drives[4], drive, "after {changes} changes");
    }
}

#[test]
fn a_number_that_a_drive_had_while_the_host_runs_is_not_given_again() {
    let (disk, _) = formed();
    assert!(retire_drives(&disk, &four(), &[NodeId(3)]).unwrap());
    disk.make_dir("/d5");
    let asked = Addition { dirs: dirs(&["/d1", "/d2", "/d3"]), ..addition("/d5") };
    assert_eq!(add(&disk, &asked).unwrap().node, NodeId(4));
}

/// As at a start, and nothing is written.
#[test]
fn what_is_no_empty_directory_is_not_added() {
    let (disk, _) = formed();
    let refused = |dir: &str| add(&disk, &addition(dir)).unwrap_err();
    assert!(matches!(refused("/d5"), AddError::Absent { .. }));
    disk.put("/d5/photo.jpg", b"mine");
    assert!(matches!(refused("/d5"), AddError::Identity(IdentityError::NotOurs { .. })));
    disk.remove_dir("/d5");
    disk.make_dir("/d5");
    disk.set_size("/d5", DRIVE_BYTES_MIN - 1);
    assert!(matches!(refused("/d5"), AddError::Identity(IdentityError::TooSmall { .. })));
    let (other, _) = formed();
    disk.put("/d6/identity.json", &other.get("/d2/identity.json"));
    assert!(matches!(refused("/d6"), AddError::Identity(IdentityError::Foreign { .. })));
    disk.put("/d7/identity.json", &disk.get("/d2/identity.json"));
    assert!(matches!(refused("/d7"), AddError::Identity(IdentityError::Duplicate { .. })));
    disk.make_dir("/d8");
    disk.break_path("/d8");
    assert!(matches!(refused("/d8"), AddError::Unusable { .. }));
    assert_eq!(identity(&disk, "/d1").generation, 1, "nothing was written");
}

#[test]
fn nothing_is_added_while_another_drive_is_away_or_was_replaced() {
    for dir in ["/d1", "/d3"] {
        let (disk, _) = formed();
        disk.make_dir("/d5");
        disk.remove_dir(dir);
        let refused = |disk: &MemoryDisk| add(disk, &addition("/d5")).unwrap_err();
        assert!(matches!(refused(&disk), AddError::OtherAway { .. }), "it is gone");
        disk.make_dir(dir);
        assert!(matches!(refused(&disk), AddError::OtherAway { .. }), "it is empty");
        assert_eq!(identity(&disk, "/d2").generation, 1, "nothing was written");
    }
}

#[test]
fn a_removed_drive_is_added_anew_only_when_it_was_emptied() {
    let (disk, _) = formed();
    retire_drives(&disk, &four(), &[NodeId(3)]).unwrap();
    let asked = Addition { dirs: dirs(&["/d1", "/d2", "/d3"]), ..addition("/d4") };
    assert!(matches!(add(&disk, &asked), Err(AddError::Removed { .. })));
    disk.remove_dir("/d4");
    disk.make_dir("/d4");
    assert_eq!(add(&disk, &asked).unwrap().node, NodeId(4));
}

#[test]
fn a_mount_point_whose_drive_is_not_mounted_is_not_added() {
    let (disk, _) = formed();
    disk.mount("/", 1);
    disk.make_dir("/d5");
    add(&disk, &addition("/d5")).expect("the others are on this file system, too");
    let (disk, _) = formed();
    disk.make_dir("/d5");
    for (place, dir) in ["/", "/d1", "/d2", "/d3", "/d4"].into_iter().enumerate() {
        disk.mount(dir, 1 + place as u64);
    }
    assert!(matches!(add(&disk, &addition("/d5")), Err(AddError::NotMounted { .. })));
    disk.mount("/d5", 9);
    add(&disk, &addition("/d5")).expect("it is mounted");
}

#[derive(Debug)]
struct InUse;

impl DirLocks for InUse {
    fn lock(&self, _dir: &Path) -> Result<HeldLock, LockFault> {
        Err(LockFault::InUse)
    }
}

#[test]
fn a_directory_that_another_process_uses_is_not_added() {
    let (disk, _) = formed();
    disk.make_dir("/d5");
    let refused = add_drive(&disk, &addition("/d5"), &Ambient::system(), &InUse, &mut HeldLocks::new());
    assert!(matches!(refused, Err(AddError::Identity(IdentityError::Locked { .. }))), "{refused:?}");
    assert_eq!(identity(&disk, "/d1").generation, 1, "nothing was written");
}
