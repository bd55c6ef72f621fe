//! The memory that the process may use: the smallest of the machine's memory and the limits of its cgroup and those
//! above.

use super::FileReader;
use std::path::{Path, PathBuf};

const CGROUP_ROOT: &str = "/sys/fs/cgroup";

/// Returns the memory in bytes; `None` if neither the machine's nor a cgroup's limit can be read.
pub fn available_bytes(files: &dyn FileReader) -> Option<u64> {
    let machine = machine_bytes(files);
    let cgroup = cgroup_bytes(files);
    match (machine, cgroup) {
        (Some(machine), Some(cgroup)) => Some(machine.min(cgroup)),
        (machine, cgroup) => machine.or(cgroup),
    }
}

fn machine_bytes(files: &dyn FileReader) -> Option<u64> {
    let text = text_of(files, Path::new("/proc/meminfo"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// Lines of `/proc/self/cgroup` are `id:controllers:path`; version 2 is the one with no controllers (cgroups(7)).
fn cgroup_bytes(files: &dyn FileReader) -> Option<u64> {
    let text = text_of(files, Path::new("/proc/self/cgroup"))?;
    let mut smallest: Option<u64> = None;
    for line in text.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let (mount, file) = if controllers.is_empty() {
            (PathBuf::from(CGROUP_ROOT), "memory.max")
        } else if controllers.split(',').any(|controller| controller == "memory") {
            (Path::new(CGROUP_ROOT).join("memory"), "memory.limit_in_bytes")
        } else {
            continue;
        };
        for dir in Path::new(path.trim_start_matches('/')).ancestors() {
            let limit = text_of(files, &mount.join(dir).join(file)).and_then(|text| text.trim().parse::<u64>().ok());
            smallest = match (smallest, limit) {
                (Some(known), Some(limit)) => Some(known.min(limit)),
                (known, limit) => known.or(limit),
            };
        }
    }
    smallest
}

fn text_of(files: &dyn FileReader, path: &Path) -> Option<String> {
    String::from_utf8(files.read(path).ok()?).ok()
}
