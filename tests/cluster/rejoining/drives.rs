//! Inspection and damage of the directories of stopped hosts.

use crate::harness::admin::{self, Shards};
use crate::harness::cluster::Cluster;
use serde_json::Value;
use std::path::{Path, PathBuf};

const BLOCK: usize = 4096;

pub fn dirs(cluster: &Cluster, host: usize) -> Vec<PathBuf> {
    cluster.hosts[host].setup.lock().expect("no one panics with it").dirs.clone()
}

/// Returns the host's id on a drive.
pub fn id_on(dir: &Path) -> String {
    let file = std::fs::read(dir.join("identity.json")).expect("a drive has its identity");
    let document: Value = serde_json::from_slice(&file).expect("it is JSON");
    document["body"]["host"].as_str().expect("it is text").to_owned()
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir.join("meta/log")).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    files.sort();
    files
}

pub fn has_a_copy(dir: &Path) -> bool {
    !segments(dir).is_empty()
}

/// Damages the end of every copy of the metadata log in these directories; returns the former content, to be put back.
pub fn spoil(dirs: &[PathBuf], how: impl Fn(&mut [u8])) -> Vec<(PathBuf, Vec<u8>)> {
    let mut before = Vec::new();
    for path in dirs.iter().flat_map(|dir| segments(dir)) {
        let bytes = std::fs::read(&path).expect("a segment can be read");
        let Some(last) = bytes.chunks(BLOCK).rposition(|block| block.iter().any(|byte| *byte != 0)) else { continue };
        let mut spoilt = bytes.clone();
        how(&mut spoilt[last.saturating_sub(8).max(1) * BLOCK..(last + 1) * BLOCK]);
        std::fs::write(&path, spoilt).expect("a segment can be written");
        before.push((path, bytes));
    }
    assert!(!before.is_empty(), "no copy was found");
    before
}

/// Flips a bit in the last frame of every metadata snapshot in these directories.
pub fn spoil_snapshots(dirs: &[PathBuf]) {
    let files = |dir: &PathBuf| std::fs::read_dir(dir.join("meta/snapshot")).into_iter().flatten().flatten();
    let paths: Vec<PathBuf> = dirs.iter().flat_map(files).map(|entry| entry.path()).collect();
    assert!(!paths.is_empty(), "no snapshot was found");
    for path in paths {
        let mut bytes = std::fs::read(&path).expect("a snapshot can be read");
        *bytes.iter_mut().rev().nth(2).expect("it has bytes") ^= 0x10;
        std::fs::write(&path, bytes).expect("a snapshot can be written");
    }
}

/// Flips a bit in each sector.
pub fn rot(end: &mut [u8]) {
    end.iter_mut().step_by(512).for_each(|byte| *byte ^= 0x10);
}

/// Zeroes the bytes, as if they had never been written.
pub fn lose(end: &mut [u8]) {
    end.fill(0);
}

/// Returns the shards in these directories of a stopped host.
pub fn shards_on(dirs: &[PathBuf]) -> Shards {
    admin::shards(&admin::text(&admin::inventory(dirs, true)))
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory can be made");
    for entry in std::fs::read_dir(from).expect("it can be read").flatten() {
        let target = to.join(entry.file_name());
        match entry.file_type().expect("it has a type").is_dir() {
            true => copy_dir(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).expect("a file can be copied")),
        }
    }
}

/// Exchanges a stopped host's directories with copies of them.
pub fn swap(dirs: &[PathBuf], copies: &[PathBuf]) {
    for (dir, copy) in dirs.iter().zip(copies) {
        let between = dir.with_extension("between");
        std::fs::rename(dir, &between).expect("moved");
        std::fs::rename(copy, dir).expect("moved");
        std::fs::rename(&between, copy).expect("moved");
    }
}

pub fn copies_of(dirs: &[PathBuf]) -> Vec<PathBuf> {
    let copies: Vec<PathBuf> = dirs.iter().map(|dir| dir.with_extension("copy")).collect();
    dirs.iter().zip(&copies).for_each(|(dir, copy)| copy_dir(dir, copy));
    copies
}
