//! The replacement of a drive of a running host.

use super::{AUTO, MemoryDisk, formed, four, identity, open, states};
use crate::ambient::Ambient;
use crate::limits::DRIVE_BYTES_MIN;
use crate::storage::identity::{
    Drive, HeldLocks, HostDrives, IdentityError, NoLocks, ReplaceError, Replacement, replace_drive,
};
use crate::types::NodeId;

fn replacement(host: &HostDrives, node: usize) -> Replacement {
    let Drive { dir, incarnation, .. } = host.drives[node].clone();
    let node = NodeId(u32::try_from(node).unwrap());
    Replacement { dirs: four(), node, dir, former: incarnation, wanted: AUTO }
}

fn replace(disk: &MemoryDisk, asked: &Replacement) -> Result<Drive, ReplaceError> {
    replace_drive(disk, asked, &Ambient::system(), &NoLocks, &mut HeldLocks::new())
}

fn empty(disk: &MemoryDisk, dir: &str) {
    disk.remove_dir(dir);
    disk.make_dir(dir);
}

#[test]
fn an_empty_directory_replaces_a_drive_and_the_next_start_keeps_it() {
    let (disk, host) = formed();
    empty(&disk, "/d2");
    let drive = replace(&disk, &replacement(&host, 1)).unwrap();
    assert_eq!(drive.node, NodeId(1));
    assert_ne!(drive.incarnation, host.drives[1].incarnation);
    for dir in ["/d1", "/d2", "/d3", "/d4"] {
        let recorded = identity(&disk, dir);
        assert_eq!(recorded.members[1].incarnation, drive.incarnation, "{dir}");
        assert_eq!(recorded.generation, 2, "{dir}");
    }
    let next = open(&disk, &four()).unwrap();
    assert_eq!(states(&next), ["present"; 4]);
    assert_eq!(next.drives[1].incarnation, drive.incarnation);
}

#[test]
fn a_repeated_replacement_resumes_under_the_same_incarnation() {
    let (disk, host) = formed();
    empty(&disk, "/d2");
    let asked = replacement(&host, 1);
    let first = replace(&disk, &asked).unwrap();
    assert_eq!(replace(&disk, &asked).unwrap(), first, "under the same incarnation");
}

#[test]
fn a_replacement_does_not_touch_another_lost_drive() {
    let (disk, host) = formed();
    empty(&disk, "/d2");
    empty(&disk, "/d3");
    replace(&disk, &replacement(&host, 1)).unwrap();
    let next = open(&disk, &four()).unwrap();
    assert_eq!(states(&next), ["present", "present", "replaced", "present"]);
}

/// The refusals are those of a start, and write nothing.
#[test]
fn a_replacement_is_refused_unless_the_directory_is_empty_and_large_enough() {
    let (disk, host) = formed();
    let asked = replacement(&host, 1);
    assert!(matches!(replace(&disk, &asked), Err(ReplaceError::StillThere { .. })));
    disk.remove_dir("/d2");
    assert!(matches!(replace(&disk, &asked), Err(ReplaceError::Absent { .. })));
    disk.make_dir("/d2");
    disk.put("/d2/photo.jpg", b"mine");
    let refused = replace(&disk, &asked);
    assert!(matches!(refused, Err(ReplaceError::Identity(IdentityError::NotOurs { .. }))), "{refused:?}");
    empty(&disk, "/d2");
    disk.set_size("/d2", DRIVE_BYTES_MIN - 1);
    let refused = replace(&disk, &asked);
    assert!(matches!(refused, Err(ReplaceError::Identity(IdentityError::TooSmall { .. }))), "{refused:?}");
    assert_eq!(identity(&disk, "/d1").generation, 1, "nothing was written");
}

#[test]
fn a_replacement_by_a_foreign_or_former_drive_is_refused() {
    let (disk, host) = formed();
    let former = disk.get("/d2/identity.json");
    empty(&disk, "/d2");
    let drive = replace(&disk, &replacement(&host, 1)).unwrap();
    let again = Replacement { former: drive.incarnation, ..replacement(&host, 1) };
    disk.put("/d2/identity.json", &former);
    assert!(matches!(replace(&disk, &again), Err(ReplaceError::Former { .. })));
    let (other, _) = formed();
    disk.put("/d2/identity.json", &other.get("/d2/identity.json"));
    let refused = replace(&disk, &again);
    assert!(matches!(refused, Err(ReplaceError::Identity(IdentityError::Foreign { .. }))), "{refused:?}");
}

#[test]
fn a_replacement_is_refused_if_no_other_drive_is_readable() {
    let (disk, host) = formed();
    ["/d1", "/d2", "/d3", "/d4"].into_iter().for_each(|dir| empty(&disk, dir));
    assert!(matches!(replace(&disk, &replacement(&host, 1)), Err(ReplaceError::NoOther)));
}
