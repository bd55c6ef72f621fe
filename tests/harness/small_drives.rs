//! Small file systems as drives, which tests can fill. Only root can mount them.

use super::cluster::Cluster;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A small file system over a directory; unmounted when dropped.
pub struct SmallDrive(PathBuf);

impl SmallDrive {
    const MEBIBYTES: u64 = 1536;

    /// Makes the directory and mounts a file system on it; returns the reason if the process may not mount.
    pub fn mount(at: &Path) -> Result<Self, String> {
        let why = |why: &str| format!("a small file system cannot be mounted (it takes root): {why}");
        std::fs::create_dir_all(at).expect("it is within the test's own directory");
        let size = format!("size={}m", Self::MEBIBYTES);
        let output = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at).output();
        let output = output.map_err(|error| why(&error.to_string()))?;
        match output.status.success() {
            true => Ok(Self(at.to_owned())),
            false => Err(why(String::from_utf8_lossy(&output.stderr).trim())),
        }
    }

    /// Writes a file until so many bytes are left; returns its path.
    fn take_room(&self, left_bytes: u64) -> PathBuf {
        let filler = self.0.join("filler");
        let file = std::fs::File::create(&filler).expect("there is room for a name");
        let free = || rustix::fs::fstatvfs(&file).map_or(0, |space| space.f_bavail * space.f_frsize);
        let mut at = 0;
        while free() > left_bytes && at < Self::MEBIBYTES << 20 {
            let piece = (free() - left_bytes).min(64 << 20);
            if rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), at, piece).is_err() {
                break;
            }
            at += piece;
        }
        assert!(at > 0, "no room was taken from {}", self.0.display());
        filler
    }
}

impl Drop for SmallDrive {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// A small file system on each drive of a cluster, by host.
pub struct SmallDrives(Vec<Vec<SmallDrive>>);

impl SmallDrives {
    /// Mounts a file system on each drive; returns the reason if the process may not mount.
    pub fn below(cluster: &Cluster) -> Result<Self, String> {
        let mut mounted = Self(Vec::new());
        for host in &cluster.hosts {
            mounted.0.push(Vec::new());
            for dir in &host.setup.lock().expect("no one panics with it").dirs {
                let drive = SmallDrive::mount(dir)?;
                mounted.0.last_mut().expect("one was pushed").push(drive);
            }
        }
        Ok(mounted)
    }

    /// Fills a host's drives, for this time, until so many bytes are left on each.
    pub fn fill(&self, host: usize, left_bytes: u64, time: Duration) {
        let fillers: Vec<PathBuf> = self.0[host].iter().map(|drive| drive.take_room(left_bytes)).collect();
        // The duration is part of the fault; this does not wait for a condition.
        std::thread::sleep(time);
        fillers.iter().for_each(|filler| std::fs::remove_file(filler).expect("it is there"));
    }
}

impl Drop for SmallDrives {
    /// Unmounts the file systems, and removes the directories of the drives and hosts, which the cluster could not
    /// remove.
    fn drop(&mut self) {
        for drive in self.0.drain(..).flatten() {
            let dir = drive.0.clone();
            drop(drive);
            for emptied in dir.ancestors().take(3) {
                let _ = std::fs::remove_dir(emptied);
            }
        }
    }
}
