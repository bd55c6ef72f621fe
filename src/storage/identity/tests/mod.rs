//! Tests of identities: the states of data directories at start, and what the host makes of them.

mod adding;
mod memberships;
mod memory_disk;
mod records;
mod replacing;
mod root_key;

use super::{
    DirLocks, DriveState, HeldLock, HostDrives, IdentityError, LockFault, NoLocks, Stage, WantedGeometry,
    drives_needed, keep_credentials, note_started, open_host,
};
use crate::ambient::Ambient;
use crate::limits::DRIVE_BYTES_MIN;
use crate::storage::identity::document::{DocumentFault, decode_identity};
use crate::types::NodeId;
use memory_disk::MemoryDisk;
use std::path::{Path, PathBuf};

const AUTO: WantedGeometry = WantedGeometry { data: 2, parity: 2, explicit: false, alone: true };

fn dirs(names: &[&str]) -> Vec<PathBuf> {
    names.iter().map(PathBuf::from).collect()
}

fn four() -> Vec<PathBuf> {
    dirs(&["/d1", "/d2", "/d3", "/d4"])
}

fn open(disk: &MemoryDisk, dirs: &[PathBuf]) -> Result<HostDrives, IdentityError> {
    open_host(disk, dirs, AUTO, &Ambient::system(), &NoLocks)
}

/// A host of four drives, 2+2.
fn formed() -> (MemoryDisk, HostDrives) {
    let disk = MemoryDisk::default();
    let host = open(&disk, &four()).unwrap();
    (disk, host)
}

fn states(host: &HostDrives) -> Vec<&'static str> {
    let name = |state: &DriveState| match state {
        DriveState::Present => "present",
        DriveState::Replaced => "replaced",
        DriveState::Returned => "returned",
        DriveState::Lost { .. } => "lost",
    };
    host.drives.iter().map(|drive| name(&drive.state)).collect()
}

fn identity(disk: &MemoryDisk, dir: &str) -> super::Identity {
    decode_identity(&disk.get(&format!("{dir}/identity.json"))).unwrap()
}

fn corrupt(disk: &MemoryDisk, dir: &str) {
    let path = format!("{dir}/identity.json");
    let text = String::from_utf8(disk.get(&path)).unwrap();
    let at = text.find("\"incarnation\": \"").unwrap() + "\"incarnation\": \"".len();
    let mut bytes = text.into_bytes();
    bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
    disk.put(&path, &bytes);
}

/// W15: every path is below the configured directories, and is created on demand.
#[test]
fn directories_that_do_not_exist_are_made_when_a_host_is_formed() {
    let (disk, host) = formed();
    assert!(host.formed_now);
    assert_eq!(states(&host), ["present"; 4]);
    assert_eq!((host.data, host.parity), (2, 2));
    assert_eq!(host.drives.iter().map(|drive| drive.node).collect::<Vec<_>>(), [0, 1, 2, 3].map(NodeId));
    let incarnations: std::collections::BTreeSet<_> = host.drives.iter().map(|drive| drive.incarnation).collect();
    assert_eq!(incarnations.len(), 4);
    for (dir, drive) in ["/d1", "/d2", "/d3", "/d4"].iter().zip(&host.drives) {
        let identity = identity(&disk, dir);
        assert_eq!((identity.cluster, identity.stage), (host.cluster, Stage::Formed));
        assert_eq!((identity.node, identity.incarnation), (drive.node, drive.incarnation));
    }
}

#[test]
fn a_second_start_finds_the_same_host() {
    let (disk, first) = formed();
    let second = open(&disk, &four()).unwrap();
    assert!(!second.formed_now);
    assert_eq!((second.cluster, second.host, &second.drives), (first.cluster, first.host, &first.drives));
}

#[test]
fn one_drive_suffices_to_know_that_the_host_has_started() {
    let (disk, host) = formed();
    assert!(!host.has_started && !open(&disk, &four()).unwrap().has_started, "it may begin anew until it has metadata");
    note_started(&disk, &dirs(&["/d2"])).unwrap();
    let known = open(&disk, &four()).unwrap();
    assert!(known.has_started);
    let stages = ["/d1", "/d2", "/d3", "/d4"].map(|dir| identity(&disk, dir).stage);
    assert_eq!(stages, [Stage::Started; 4], "those that did not know are told");
    // A replacement drive gets the stage as well.
    disk.remove_dir("/d2");
    disk.make_dir("/d2");
    open(&disk, &four()).unwrap();
    assert_eq!(identity(&disk, "/d2").stage, Stage::Started);
}

#[test]
fn a_too_small_drive_is_refused_only_when_a_host_is_formed() {
    let disk = MemoryDisk::default();
    disk.set_size("/d3", DRIVE_BYTES_MIN - 1);
    let refused = IdentityError::TooSmall { dir: "/d3".into(), mib: 191 };
    assert_eq!(open(&disk, &four()).unwrap_err(), refused);
    assert_eq!(disk.file_count(), 0, "nothing is written by a refusal");
    disk.set_size("/d3", DRIVE_BYTES_MIN);
    open(&disk, &four()).unwrap();
    disk.set_size("/d3", 1 << 20);
    open(&disk, &four()).unwrap();
}

#[test]
fn a_too_small_drive_neither_replaces_another_nor_is_added() {
    let (disk, _) = formed();
    disk.remove_dir("/d3");
    disk.make_dir("/d3");
    disk.set_size("/d3", DRIVE_BYTES_MIN - 1);
    let files = disk.file_count();
    let host = open(&disk, &four()).unwrap();
    let DriveState::Lost { why } = &host.drives[2].state else { panic!("{:?}", host.drives[2]) };
    assert!(why.contains("191 MiB") && why.contains("192 MiB"), "{why}");
    assert_eq!(disk.file_count(), files, "nothing is written to it");
    disk.set_size("/d3", DRIVE_BYTES_MIN);
    assert_eq!(open(&disk, &four()).unwrap().drives[2].state, DriveState::Replaced);
    let five = dirs(&["/d1", "/d2", "/d3", "/d4", "/d5"]);
    disk.make_dir("/d5");
    disk.set_size("/d5", DRIVE_BYTES_MIN - 1);
    assert_eq!(open(&disk, &five).unwrap().drives.len(), 4);
    disk.set_size("/d5", DRIVE_BYTES_MIN);
    assert_eq!(open(&disk, &five).unwrap().drives.len(), 5);
}

#[test]
fn a_directory_with_only_lost_and_found_counts_as_empty() {
    let disk = MemoryDisk::default();
    disk.make_dir("/d1/lost+found");
    assert!(open(&disk, &dirs(&["/d1"])).unwrap().formed_now);
}

#[test]
fn a_directory_with_other_content_is_refused_and_left_alone() {
    let disk = MemoryDisk::default();
    disk.put("/d2/holiday.jpg", b"...");
    let error = open(&disk, &four()).unwrap_err();
    assert_eq!(error, IdentityError::NotOurs { dir: "/d2".into(), example: "holiday.jpg".into() });
    assert_eq!(disk.file_count(), 1, "nothing is written by a refusal");
}

#[test]
fn other_content_in_place_of_a_known_drive_is_refused_too() {
    let (disk, _) = formed();
    disk.remove_dir("/d2");
    disk.put("/d2/holiday.jpg", b"...");
    assert!(matches!(open(&disk, &four()), Err(IdentityError::NotOurs { .. })));
}

#[test]
fn a_missing_directory_is_a_lost_drive_and_is_not_created() {
    let (disk, before) = formed();
    disk.remove_dir("/d3");
    let host = open(&disk, &four()).unwrap();
    assert_eq!(states(&host), ["present", "present", "lost", "present"]);
    assert_eq!(host.drives[2].incarnation, before.drives[2].incarnation);
    assert!(!disk.copy_of("/").keys().any(|path| path.starts_with("d3")));
    assert_eq!(host.usable_dirs(), dirs(&["/d1", "/d2", "/d4"]));
}

#[test]
fn a_drive_that_fails_to_read_is_lost() {
    let (disk, _) = formed();
    disk.break_path("/d1");
    assert_eq!(states(&open(&disk, &four()).unwrap()), ["lost", "present", "present", "present"]);
}

#[test]
fn a_host_at_2_2_starts_with_two_of_four_drives_but_not_with_one() {
    let (disk, _) = formed();
    disk.remove_dir("/d1");
    disk.break_path("/d4");
    assert_eq!(states(&open(&disk, &four()).unwrap()), ["lost", "present", "present", "lost"]);
    disk.remove_dir("/d2");
    disk.make_dir("/d2");
    let error = open(&disk, &four()).unwrap_err();
    assert!(matches!(error, IdentityError::TooFew { usable: 1, total: 4, needed: 2, .. }), "{error}");
    let message = error.to_string();
    assert!(message.contains("node 0 (/d1): the directory does not exist"), "{message}");
    assert!(message.contains("node 1 (/d2): the directory is empty; is its drive mounted?"), "{message}");
}

#[test]
fn an_empty_directory_takes_the_place_of_the_lost_drive_with_a_new_incarnation() {
    let (disk, before) = formed();
    disk.remove_dir("/d2");
    disk.make_dir("/d2");
    let host = open(&disk, &four()).unwrap();
    assert_eq!(states(&host), ["present", "replaced", "present", "present"]);
    assert_eq!(host.drives[1].node, before.drives[1].node);
    assert_ne!(host.drives[1].incarnation, before.drives[1].incarnation);
    for dir in ["/d1", "/d2", "/d3", "/d4"] {
        let identity = identity(&disk, dir);
        assert_eq!(identity.generation, 2);
        assert_eq!(identity.members[1].incarnation, host.drives[1].incarnation);
    }
    assert_eq!(states(&open(&disk, &four()).unwrap()), ["present"; 4]);
}

/// Replaces the second of four drives by an empty one, starts, and then puts the old drive back in its place.
fn replace_and_bring_back(disk: &MemoryDisk) {
    let old = disk.copy_of("/d2");
    disk.remove_dir("/d2");
    disk.make_dir("/d2");
    open(disk, &four()).unwrap();
    disk.remove_dir("/d2");
    disk.restore("/d2", &old);
}

#[test]
fn a_former_drive_that_comes_back_is_taken_back_as_returned() {
    let (disk, before) = formed();
    replace_and_bring_back(&disk);
    let host = open(&disk, &four()).unwrap();
    assert_eq!(states(&host), ["present", "returned", "present", "present"]);
    assert_eq!(host.drives[1].incarnation, before.drives[1].incarnation);
    assert_eq!(identity(&disk, "/d3").generation, 3);
    assert_eq!(states(&open(&disk, &four()).unwrap()), ["present"; 4]);
}

#[test]
fn a_drive_that_missed_a_replacement_gets_the_new_membership() {
    let (disk, _) = formed();
    let away = disk.copy_of("/d4");
    disk.remove_dir("/d4");
    disk.remove_dir("/d2");
    disk.make_dir("/d2");
    let replaced = open(&disk, &four()).unwrap();
    assert_eq!(states(&replaced), ["present", "replaced", "present", "lost"]);
    disk.restore("/d4", &away);
    let host = open(&disk, &four()).unwrap();
    assert_eq!(states(&host), ["present"; 4]);
    assert_eq!(identity(&disk, "/d4").members[1].incarnation, replaced.drives[1].incarnation);
}

#[test]
fn reordered_directories_are_assigned_by_their_identities() {
    let (disk, before) = formed();
    let host = open(&disk, &dirs(&["/d3", "/d1", "/d4", "/d2"])).unwrap();
    assert_eq!(host.drives, before.drives);
}

#[test]
fn an_empty_directory_anywhere_in_the_list_replaces_the_lost_drive() {
    let (disk, before) = formed();
    disk.remove_dir("/d1");
    disk.make_dir("/new");
    let host = open(&disk, &dirs(&["/d2", "/d3", "/d4", "/new"])).unwrap();
    assert_eq!(states(&host), ["replaced", "present", "present", "present"]);
    assert_eq!(host.drives[0].dir, PathBuf::from("/new"));
    assert_eq!(host.drives[1], before.drives[1]);
}

#[test]
fn a_drive_of_another_cluster_is_refused_by_name() {
    let (disk, ours) = formed();
    let (other, theirs) = formed();
    disk.remove_dir("/d1");
    disk.restore("/d1", &other.copy_of("/d1"));
    let error = open(&disk, &four()).unwrap_err();
    assert_eq!(error, IdentityError::Foreign { dir: "/d1".into(), found: theirs.cluster, expected: ours.cluster });
}

#[test]
fn a_copied_drive_is_refused_by_name() {
    let (disk, _) = formed();
    let copy = disk.copy_of("/d1");
    disk.remove_dir("/d2");
    disk.restore("/d2", &copy);
    let error = open(&disk, &four()).unwrap_err();
    assert_eq!(error, IdentityError::Duplicate { node: NodeId(0), first: "/d1".into(), second: "/d2".into() });
}

#[test]
fn a_wrong_number_of_directories_is_refused_with_the_expected_drives() {
    let (disk, _) = formed();
    let fewer = open(&disk, &dirs(&["/d1", "/d3"])).unwrap_err().to_string();
    assert!(fewer.contains("has 4 drives, but 2 data directories are given"), "{fewer}");
    assert!(fewer.contains("node 0 is /d1, node 1 is not among them, node 2 is /d3"), "{fewer}");
    let more = open(&disk, &dirs(&["/d1", "/d2", "/d3", "/d4", "/d5"])).unwrap_err();
    assert!(matches!(more, IdentityError::WrongCount { formed: 4, given: 5, .. }));
}

#[test]
fn another_geometry_is_refused_only_if_it_was_configured_explicitly() {
    let (disk, _) = formed();
    let with = |wanted| open_host(&disk, &four(), wanted, &Ambient::system(), &NoLocks);
    let host = with(WantedGeometry { data: 3, parity: 1, explicit: false, alone: true }).unwrap();
    assert_eq!((host.data, host.parity), (2, 2));
    let error = with(WantedGeometry { data: 3, parity: 1, explicit: true, alone: true }).unwrap_err();
    assert_eq!(error, IdentityError::GeometryDiffers { formed: "2+2".into(), asked: "3+1".into() });
}

#[test]
fn a_corrupt_identity_is_a_lost_drive() {
    let (disk, _) = formed();
    corrupt(&disk, "/d2");
    let host = open(&disk, &four()).unwrap();
    assert_eq!(states(&host), ["present", "lost", "present", "present"]);
    let DriveState::Lost { why } = &host.drives[1].state else { panic!("not lost") };
    assert!(why.contains("identity.json is corrupt") && why.contains("checksum"), "{why}");
}

#[test]
fn a_drive_of_a_store_without_its_identity_file_is_lost() {
    let (disk, _) = formed();
    disk.remove_dir("/d2");
    disk.put("/d2/shards/00000001.seg", b"...");
    disk.put("/d2/lock", b"");
    assert_eq!(states(&open(&disk, &four()).unwrap()), ["present", "lost", "present", "present"]);
}

#[test]
fn a_store_is_never_formed_over_damaged_drives() {
    let (disk, _) = formed();
    for dir in ["/d1", "/d2", "/d3", "/d4"] {
        corrupt(&disk, dir);
    }
    assert!(matches!(open(&disk, &four()), Err(IdentityError::Unidentified { .. })));
}

#[test]
fn every_flipped_bit_and_every_cut_of_an_identity_is_noticed() {
    let (disk, _) = formed();
    let whole = disk.get("/d1/identity.json");
    let original = decode_identity(&whole).unwrap();
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Ok(decoded) = decode_identity(&flipped) {
            assert_eq!(decoded, original, "bit {bit} changes what is read");
        }
    }
    for len in 0..whole.len() - 1 {
        assert!(decode_identity(&whole[..len]).is_err(), "the first {len} bytes are taken for the whole");
    }
}

#[test]
fn an_identity_of_a_later_format_is_refused_with_its_number() {
    let (disk, _) = formed();
    let text = String::from_utf8(disk.get("/d1/identity.json")).unwrap().replace("\"format\": 1", "\"format\": 2");
    assert_eq!(decode_identity(text.as_bytes()), Err(DocumentFault::LaterFormat(2)));
    disk.put("/d1/identity.json", text.as_bytes());
    assert_eq!(open(&disk, &four()).unwrap_err(), IdentityError::LaterFormat { dir: "/d1".into(), found: 2, known: 1 });
}

#[test]
fn an_interrupted_formation_is_finished_by_the_next_start() {
    let whole = {
        let disk = MemoryDisk::default();
        (0..)
            .find(|&changes| {
                disk.remove_dir("/");
                disk.cut_power_after(Some(changes));
                open(&disk, &four()).is_ok()
            })
            .unwrap()
    };
    assert!(whole > 30, "a formation takes {whole} changes");
    for changes in 0..whole {
        let disk = MemoryDisk::default();
        disk.cut_power_after(Some(changes));
        assert!(open(&disk, &four()).is_err());
        disk.cut_power_after(None);
        let first = open(&disk, &four()).unwrap_or_else(|error| panic!("after {changes} changes: {error}"));
        assert_eq!(states(&first), ["present"; 4], "after {changes} changes");
        let second = open(&disk, &four()).unwrap();
        assert_eq!(second.drives, first.drives, "after {changes} changes");
        for dir in ["/d1", "/d2", "/d3", "/d4"] {
            assert_eq!(identity(&disk, dir).stage, Stage::Formed);
        }
    }
}

#[test]
fn an_interrupted_replacement_is_finished_by_the_next_start() {
    for changes in 0..40 {
        let (disk, _) = formed();
        disk.remove_dir("/d2");
        disk.make_dir("/d2");
        disk.cut_power_after(Some(changes));
        let _ = open(&disk, &four());
        disk.cut_power_after(None);
        let host = open(&disk, &four()).unwrap();
        assert!(
            host.drives.iter().all(|drive| !matches!(drive.state, DriveState::Lost { .. })),
            "after {changes} changes"
        );
        let generations: Vec<_> = ["/d1", "/d2", "/d3", "/d4"].map(|dir| identity(&disk, dir).generation).to_vec();
        assert!(generations.iter().all(|generation| *generation == generations[0]), "{generations:?}");
    }
}

#[derive(Debug)]
struct LocksBut(&'static str, bool);

impl DirLocks for LocksBut {
    fn lock(&self, dir: &Path) -> Result<HeldLock, LockFault> {
        match (dir == Path::new(self.0), self.1) {
            (false, _) => Ok(Box::new(())),
            (true, true) => Err(LockFault::InUse),
            (true, false) => Err(LockFault::Failed(std::io::ErrorKind::ReadOnlyFilesystem.into())),
        }
    }
}

#[test]
fn a_directory_that_another_process_uses_is_refused_by_name() {
    let (disk, _) = formed();
    let error = open_host(&disk, &four(), AUTO, &Ambient::system(), &LocksBut("/d3", true)).unwrap_err();
    assert_eq!(error.to_string(), "/d3 (SHERD_DATA) is in use by another process");
}

#[test]
fn a_directory_that_cannot_be_locked_is_a_lost_drive() {
    let (disk, _) = formed();
    let host = open_host(&disk, &four(), AUTO, &Ambient::system(), &LocksBut("/d3", false)).unwrap();
    assert_eq!(states(&host), ["present", "present", "lost", "present"]);
}

/// Locks while `/d3` becomes readable.
#[derive(Debug)]
struct LocksAsADriveComesBack(MemoryDisk);

impl DirLocks for LocksAsADriveComesBack {
    fn lock(&self, _dir: &Path) -> Result<HeldLock, LockFault> {
        self.0.mend_path("/d3");
        Ok(Box::new(()))
    }
}

#[test]
fn a_drive_that_could_be_read_only_after_the_locks_were_taken_is_not_used() {
    let (disk, _) = formed();
    disk.break_path("/d3");
    let locks = LocksAsADriveComesBack(disk.clone());
    let host = open_host(&disk, &four(), AUTO, &Ambient::system(), &locks).unwrap();
    assert_eq!(states(&host), ["present", "present", "lost", "present"]);
    assert_eq!(states(&open(&disk, &four()).unwrap()), ["present"; 4]);
}

#[test]
fn the_number_of_drives_needed_to_read_follows_from_the_geometry() {
    let cases = [((1, 0), 1, 1), ((2, 2), 4, 2), ((6, 2), 8, 6), ((6, 2), 12, 6), ((4, 2), 1, 1), ((4, 2), 3, 2)];
    for ((data, parity), drives, needed) in cases {
        assert_eq!(drives_needed(data, parity, drives), needed, "{data}+{parity} on {drives}");
    }
}

#[test]
fn credentials_are_made_once_and_survive_the_loss_of_drives() {
    let (disk, host) = formed();
    let keep = || keep_credentials(&disk, &four(), host.cluster, &Ambient::system()).unwrap();
    let first = keep();
    assert!(first.fresh);
    assert_eq!((first.access_key.len(), first.secret_key.len()), (20, 40));
    assert!(first.access_key.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()));
    assert!(first.secret_key.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    for dir in ["/d1", "/d2", "/d3"] {
        disk.put(&format!("{dir}/credentials.json"), b"{}");
    }
    let second = keep();
    assert!(!second.fresh);
    assert_eq!((second.access_key, second.secret_key), (first.access_key, first.secret_key));
    assert_eq!(disk.get("/d1/credentials.json"), disk.get("/d4/credentials.json"));
}

#[test]
fn credentials_of_another_cluster_are_ignored() {
    let (disk, host) = formed();
    let (_, other) = formed();
    let first = keep_credentials(&disk, &four(), other.cluster, &Ambient::system()).unwrap();
    let second = keep_credentials(&disk, &four(), host.cluster, &Ambient::system()).unwrap();
    assert!(second.fresh && second.access_key != first.access_key);
}

#[test]
fn credentials_that_no_drive_can_store_are_not_returned() {
    let (disk, host) = formed();
    disk.cut_power_after(Some(0));
    assert!(keep_credentials(&disk, &four(), host.cluster, &Ambient::system()).is_err());
}
