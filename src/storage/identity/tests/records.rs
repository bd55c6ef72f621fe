//! Records of which each drive has a copy: one that cannot be read is neither taken for absent nor written over.

use super::memberships::{founding, two_drives};
use crate::ambient::Ambient;
use crate::storage::disk::read_file;
use crate::storage::disk::sim::{Shortage, SimDisk};
use crate::storage::identity::{
    IdentityError, Rejoining, keep_credentials, keep_founding, keep_rejoining, read_credentials, read_founding,
    read_rejoining,
};
use crate::types::{ClusterId, HostId};
use std::path::{Path, PathBuf};

fn rejoining(to: u64) -> Rejoining {
    Rejoining::new(HostId(1), HostId(to), false, "a test".to_owned())
}

/// Checks that this call fails and names the file while the only copy, at this path, cannot be read or is damaged, and
/// that the copy stays as it is.
fn is_refused<T>(disk: &SimDisk, path: &Path, call: impl Fn() -> Result<T, IdentityError>) {
    let named = path.display().to_string();
    let refused = || {
        let before = disk.operations().changes;
        let error = call().map(drop).expect_err("the only copy cannot be used").to_string();
        assert!(error.contains(&named), "{error}");
        assert_eq!(disk.operations().changes, before, "nothing is written");
    };
    assert!(call().is_ok());
    disk.limit_shortage(path);
    for shortage in [Shortage::Descriptors, Shortage::Memory] {
        disk.set_shortage(Some(shortage));
        refused();
        disk.set_shortage(None);
    }
    let middle = read_file(disk, path).unwrap().len() as u64 / 2;
    disk.corrupt(path, middle, 1).unwrap();
    refused();
    disk.corrupt(path, middle, 1).unwrap();
    assert!(call().is_ok());
    disk.make_unreadable(path, 0..1).unwrap();
    refused();
}

#[test]
fn a_record_of_a_rejoin_that_cannot_be_read_is_not_taken_for_none() {
    let (disk, dirs) = two_drives();
    keep_rejoining(&disk, &dirs[..1], &rejoining(2)).unwrap();
    is_refused(&disk, Path::new("/d1/rejoin.json"), || read_rejoining(&disk, &dirs, HostId(1)));
}

#[test]
fn a_record_of_a_founding_that_cannot_be_read_is_not_taken_for_none() {
    let (disk, dirs) = two_drives();
    keep_founding(&disk, &dirs[..1], &founding()).unwrap();
    is_refused(&disk, Path::new("/d1/founding.json"), || read_founding(&disk, &dirs));
}

#[test]
fn no_credentials_are_made_while_existing_ones_cannot_be_read() {
    let (disk, dirs) = two_drives();
    let keep = || keep_credentials(&disk, &dirs[..1], ClusterId(7), &Ambient::system());
    assert!(keep().unwrap().fresh);
    is_refused(&disk, Path::new("/d1/credentials.json"), keep);
}

#[test]
fn credentials_that_are_damaged_are_not_shown_as_absent() {
    let (disk, host) = super::formed();
    keep_credentials(&disk, &super::four(), host.cluster, &Ambient::system()).unwrap();
    for dir in super::four() {
        disk.put(&format!("{}/credentials.json", dir.display()), b"{}");
    }
    let refused = read_credentials(&disk, &super::four());
    assert!(matches!(refused, Err(IdentityError::CredentialsDamaged { .. })), "{refused:?}");
}

#[test]
fn of_two_records_of_a_rejoin_the_same_counts_in_any_order_of_the_drives() {
    let (disk, dirs) = two_drives();
    for (dir, to) in dirs.iter().zip([3, 2]) {
        keep_rejoining(&disk, std::slice::from_ref(dir), &rejoining(to)).unwrap();
    }
    let reversed: Vec<PathBuf> = dirs.iter().rev().cloned().collect();
    let read = |dirs: &[PathBuf]| read_rejoining(&disk, dirs, HostId(1)).unwrap();
    assert_eq!((read(&dirs), read(&reversed)), (Some(rejoining(3)), Some(rejoining(3))));
}
