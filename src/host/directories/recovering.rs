//! The directory `recovering/` on each drive: metadata under a new id, which replaces the host's metadata once the
//! drives have that id.

use super::set_aside::{KEPT_BY_RECOVERY, owner, set_aside};
use crate::actors::consensus::ReplicaDrive;
use crate::host::environment::Environment;
use crate::storage::disk::{Disk, create_dir_durably};
use crate::storage::identity::{DriveState, HostDrives, RECOVERING_DIR};
use std::io;
use std::path::Path;

/// Returns the drive with its directory `recovering/`, where the new metadata is made.
pub(in crate::host) fn beside(drive: ReplicaDrive) -> ReplicaDrive {
    ReplicaDrive { dir: drive.dir.join(RECOVERING_DIR), ..drive }
}

/// Makes empty directories `recovering/`; removes what an earlier attempt left in them.
pub(in crate::host) fn clear(env: &Environment, host: &HostDrives) -> io::Result<()> {
    for dir in host.usable_dirs() {
        let at = dir.join(RECOVERING_DIR);
        remove(&at).and_then(|()| create_dir_durably(&*env.disk, &at))?;
    }
    Ok(())
}

fn remove(at: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(at) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Moves metadata in `recovering/` that was made for the host's present id into its place, after setting aside metadata
/// of another id. Metadata that was made for another id is left alone: the host never got that id. A drive on which
/// that fails is marked as lost.
pub(in crate::host) fn take_up(disk: &dyn Disk, host: &mut HostDrives) {
    let (own, usable) = (host.host, host.usable_dirs());
    for drive in host.drives.iter_mut().filter(|drive| usable.contains(&drive.dir)) {
        let dir = &drive.dir;
        if owner(disk, &dir.join(RECOVERING_DIR)) != Some(own) {
            continue;
        }
        if let Err(error) = take_up_on(disk, dir, owner(disk, dir) == Some(own)) {
            let (node, why) =
                (drive.node.0, format!("the metadata that was made anew cannot be taken into its place: {error}"));
            tracing::error!(node, dir = %dir.display(), why, "a drive is lost; going on without it");
            drive.state = DriveState::Lost { why };
        }
    }
}

fn take_up_on(disk: &dyn Disk, dir: &Path, is_there: bool) -> io::Result<()> {
    let made = dir.join(RECOVERING_DIR);
    if !is_there {
        set_aside(disk, dir, KEPT_BY_RECOVERY)?;
        // The tables are not moved: the start makes them anew from the snapshot.
        disk.rename(&made.join("meta"), &dir.join("meta"))?;
        disk.sync_dir(dir)?;
        disk.sync_dir(&made)?;
    }
    if let Err(error) = remove(&made) {
        tracing::warn!(path = %made.display(), %error, "what is left of a recovery cannot be removed");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{take_up, take_up_on};
    use crate::ambient::Ambient;
    use crate::storage::buffer::BufferPool;
    use crate::storage::disk::SystemDisk;
    use crate::storage::identity::{HostDrives, NoLocks, WantedGeometry, open_host};
    use crate::storage::raft_log::MirrorSet;
    use crate::types::{HostId, NodeId, RecoveryEpoch};
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    const NEXT: HostId = HostId(77);

    fn disk() -> SystemDisk {
        SystemDisk::new(BufferPool::new(0))
    }

    #[test]
    fn recovered_metadata_replaces_the_old_metadata_which_is_set_aside() {
        let root = tempfile::tempdir().expect("a directory");
        let dir = root.path();
        for (part, text) in [("meta", "old"), ("state", "old"), ("recovering/meta", "new"), ("recovering/state", "new")]
        {
            std::fs::create_dir_all(dir.join(part)).expect("made");
            std::fs::write(dir.join(part).join("file"), text).expect("written");
        }
        take_up_on(&disk(), dir, false).expect("taken up");
        let read = |path: &str| std::fs::read_to_string(dir.join(path)).ok();
        assert_eq!(read("meta/file").as_deref(), Some("new"));
        assert_eq!(read("set-aside/1/meta/file").as_deref(), Some("old"));
        assert_eq!(read("set-aside/1/state/file").as_deref(), Some("old"));
        assert!(!dir.join("state").exists() && !dir.join("recovering").exists());
    }

    fn opened(dirs: &[PathBuf]) -> HostDrives {
        let wanted = WantedGeometry { data: 1, parity: 1, explicit: false, alone: true };
        open_host(&disk(), dirs, wanted, &Ambient::system(), &NoLocks).expect("a host")
    }

    fn write_owner(at: &Path, host: HostId) {
        std::fs::create_dir_all(at.join("meta")).expect("made");
        let set = MirrorSet::first(host, BTreeSet::from([NodeId(0)]));
        std::fs::write(at.join("meta/mirror"), set.encode()).expect("written");
    }

    fn owners(dirs: &[PathBuf]) -> Vec<Option<HostId>> {
        dirs.iter().map(|dir| super::owner(&disk(), dir)).collect()
    }

    /// The process is killed before the drives get the new id, between the drives, and after them.
    #[test]
    fn an_interrupted_recovery_leaves_all_drives_with_one_id_and_its_metadata() {
        for given in 0..=2 {
            let root = tempfile::tempdir().expect("a directory");
            let dirs = [root.path().join("a"), root.path().join("b")];
            let was = opened(&dirs).host;
            for dir in &dirs {
                write_owner(dir, was);
                write_owner(&dir.join("recovering"), NEXT);
            }
            let before = std::fs::read(dirs[1].join("identity.json")).expect("it is there");
            if given > 0 {
                opened(&dirs)
                    .renamed(&disk(), NEXT, RecoveryEpoch { number: 1, id: 7, former: [0; 8] })
                    .expect("renamed");
            }
            if given == 1 {
                std::fs::write(dirs[1].join("identity.json"), before).expect("written");
            }
            let mut host = opened(&dirs);
            take_up(&disk(), &mut host);
            let expected = if given == 0 { was } else { NEXT };
            assert_eq!(host.host, expected, "{given}");
            assert_eq!(owners(&dirs), [Some(expected); 2], "{given}");
            for dir in &dirs {
                assert_eq!(dir.join("recovering").exists(), given == 0, "{given}");
                assert_eq!(dir.join("set-aside/1/meta/mirror").exists(), given > 0, "{given}");
            }
            // A second call changes nothing.
            take_up(&disk(), &mut host);
            assert_eq!(owners(&dirs), [Some(expected); 2]);
            assert!(!dirs[0].join("set-aside/2").exists());
        }
    }
}
