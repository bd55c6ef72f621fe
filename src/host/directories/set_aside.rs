//! Setting aside of metadata that a host had under a former id: it is moved to `set-aside/<number>` on the same drive,
//! which the store never reads. The latest few are kept for an operator.

use crate::host::environment::Environment;
use crate::storage::disk::{Disk, create_dir_durably, read_file};
use crate::storage::identity::{DriveState, HostDrives, SET_ASIDE_DIR};
use crate::storage::raft_log::MirrorSet;
use crate::types::HostId;
use std::io;
use std::path::{Path, PathBuf};

/// The number of directories below `set-aside/` that a rejoin keeps on each drive. Each may be as large as the
/// metadata.
pub(in crate::host) const KEPT_BY_REJOIN: usize = 2;
/// A recovery keeps all of them: an operator who tries several copies must not lose the best one, which may be the
/// first.
pub(in crate::host) const KEPT_BY_RECOVERY: usize = usize::MAX;
/// The directories of the metadata, in the order in which they are moved. `meta` is last, since it names the owner.
const PARTS: [&str; 2] = ["state", "meta"];

/// Sets aside all metadata on the drives of a host. A drive on which that fails is marked as lost, since the metadata
/// of another member must not be read as this one's.
pub(in crate::host) fn set_aside_all(env: &Environment, host: &mut HostDrives, kept_max: usize) {
    set_aside_where(&*env.disk, host, kept_max, |_| true);
}

/// Sets aside metadata that names another member than this host: of a drive that was absent when the host rejoined, or
/// on which setting aside was interrupted. Removes none that was set aside before, as a recovery may have been
/// interrupted.
pub(in crate::host) fn set_aside_of_others(env: &Environment, host: &mut HostDrives) {
    set_aside_others(&*env.disk, host);
}

fn set_aside_others(disk: &dyn Disk, host: &mut HostDrives) {
    let own = host.host;
    set_aside_where(disk, host, KEPT_BY_RECOVERY, |dir| owner(disk, dir).is_some_and(|owner| owner != own));
}

fn set_aside_where(disk: &dyn Disk, host: &mut HostDrives, kept_max: usize, wanted: impl Fn(&Path) -> bool) {
    let usable = host.usable_dirs();
    for drive in host.drives.iter_mut().filter(|drive| usable.contains(&drive.dir) && wanted(&drive.dir)) {
        if let Err(error) = set_aside(disk, &drive.dir, kept_max) {
            let (node, why) = (
                drive.node.0,
                format!("the metadata that this host had as another member cannot be moved aside: {error}"),
            );
            tracing::error!(node, dir = %drive.dir.display(), why, "a drive is lost; going on without it");
            drive.state = DriveState::Lost { why };
        }
    }
}

/// Returns the member whose metadata is on a drive, according to the file `meta/mirror`; `None` if that cannot be read.
pub(in crate::host) fn owner(disk: &dyn Disk, dir: &Path) -> Option<HostId> {
    let set = MirrorSet::decode(&read_file(disk, &dir.join("meta").join("mirror")).ok()?).ok()?;
    Some(set.host)
}

/// Sets aside the metadata on a drive, if there is any, and removes all but the latest `kept_max` that were set aside.
pub(in crate::host) fn set_aside(disk: &dyn Disk, dir: &Path, kept_max: usize) -> io::Result<()> {
    let parts: Vec<PathBuf> = PARTS.iter().map(|part| dir.join(part)).collect();
    let present: Vec<&PathBuf> = parts.iter().filter(|part| disk.exists(part).unwrap_or(true)).collect();
    if present.is_empty() {
        return Ok(());
    }
    let number = numbers(disk, dir).last().map_or(1, |last| last + 1);
    let to = dir.join(SET_ASIDE_DIR).join(number.to_string());
    create_dir_durably(disk, &to)?;
    for part in present {
        let name = part.file_name().unwrap_or_default();
        disk.rename(part, &to.join(name)).and_then(|()| disk.sync_dir(&to))?;
    }
    disk.sync_dir(dir)?;
    tracing::warn!(path = %to.display(), "metadata that this host had as another member is set aside there, and not used any more");
    forget_old(disk, dir, kept_max);
    Ok(())
}

/// Removes all but the latest `kept_max` directories that were set aside.
fn forget_old(disk: &dyn Disk, dir: &Path, kept_max: usize) {
    let numbers = numbers(disk, dir);
    for number in &numbers[..numbers.len().saturating_sub(kept_max)] {
        let path = dir.join(SET_ASIDE_DIR).join(number.to_string());
        match std::fs::remove_dir_all(&path) {
            Ok(()) => tracing::info!(path = %path.display(), "the oldest metadata that was set aside is removed"),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "old metadata that was set aside cannot be removed")
            }
        }
    }
}

fn numbers(disk: &dyn Disk, dir: &Path) -> Vec<u64> {
    let names = disk.list(&dir.join(SET_ASIDE_DIR)).unwrap_or_default();
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| name.parse().ok()).collect();
    numbers.sort_unstable();
    numbers
}

/// Returns the directories with metadata that was set aside, on all drives of a host.
pub(in crate::host) fn what_is_set_aside(env: &Environment, host: &HostDrives) -> Vec<PathBuf> {
    let disk = &*env.disk;
    let of_drive = |dir: PathBuf| {
        let at = dir.join(SET_ASIDE_DIR);
        numbers(disk, &dir).into_iter().map(move |number| at.join(number.to_string())).collect::<Vec<_>>()
    };
    host.usable_dirs().into_iter().flat_map(of_drive).collect()
}

#[cfg(test)]
mod tests {
    use super::{KEPT_BY_REJOIN, PARTS, numbers, set_aside, set_aside_others};
    use crate::ambient::Ambient;
    use crate::storage::buffer::BufferPool;
    use crate::storage::disk::SystemDisk;
    use crate::storage::identity::{NoLocks, WantedGeometry, open_host};
    use crate::storage::raft_log::MirrorSet;
    use crate::types::{HostId, NodeId};
    use std::collections::BTreeSet;

    #[test]
    fn all_metadata_is_moved_aside_and_only_the_latest_few_are_kept() {
        let root = tempfile::tempdir().expect("a directory");
        let (dir, disk) = (root.path(), SystemDisk::new(BufferPool::new(0)));
        for round in 1..=KEPT_BY_REJOIN + 2 {
            for part in PARTS {
                std::fs::create_dir_all(dir.join(part).join("within")).expect("made");
                std::fs::write(dir.join(part).join("within/file"), round.to_string()).expect("written");
            }
            set_aside(&disk, dir, KEPT_BY_REJOIN).expect("moved");
            assert!(PARTS.iter().all(|part| !dir.join(part).exists()));
            for part in PARTS {
                let path = dir.join("set-aside").join(round.to_string()).join(part).join("within/file");
                assert_eq!(std::fs::read_to_string(path).expect("it is there"), round.to_string());
            }
        }
        assert_eq!(numbers(&disk, dir), [3, 4]);
        set_aside(&disk, dir, KEPT_BY_REJOIN).expect("nothing is left to be moved");
        assert_eq!(numbers(&disk, dir), [3, 4]);
    }

    /// It may follow a recovery that was interrupted, and an operator may have tried several copies before.
    #[test]
    fn a_start_that_sets_metadata_of_another_member_aside_removes_none() {
        let root = tempfile::tempdir().expect("a directory");
        let (dirs, disk) = ([root.path().join("a"), root.path().join("b")], SystemDisk::new(BufferPool::new(0)));
        let wanted = WantedGeometry { data: 1, parity: 1, explicit: false, alone: true };
        let mut host = open_host(&disk, &dirs, wanted, &Ambient::system(), &NoLocks).expect("a host");
        let other = HostId(host.host.0 ^ 1);
        for dir in &dirs {
            for number in 1..=KEPT_BY_REJOIN + 1 {
                std::fs::create_dir_all(dir.join("set-aside").join(number.to_string())).expect("made");
            }
            std::fs::create_dir(dir.join("meta")).expect("made");
            let set = MirrorSet::first(other, BTreeSet::from([NodeId(0)]));
            std::fs::write(dir.join("meta/mirror"), set.encode()).expect("written");
        }
        set_aside_others(&disk, &mut host);
        for dir in &dirs {
            assert_eq!(numbers(&disk, dir), [1, 2, 3, 4]);
            assert!(dir.join("set-aside/4/meta/mirror").exists() && !dir.join("meta").exists());
        }
    }
}
