//! The kernel's counters of a process (proc(5)), and signals to it.

use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// A process, by its number.
#[derive(Clone, Copy, Debug)]
pub struct Process(pub u32);

impl Process {
    pub fn signal(self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.0).expect("a process id is small")).expect("it is not 0");
        kill_process(pid, signal).expect("the process is a child that was not waited for");
    }

    /// User and system time so far.
    pub fn cpu(self) -> Duration {
        name_and_cpu(&self.read("stat")).1
    }

    /// The same for the living threads, by their names without trailing numbers.
    pub fn cpu_by_thread(self) -> BTreeMap<String, Duration> {
        let mut found: BTreeMap<String, Duration> = BTreeMap::new();
        let threads = fs::read_dir(format!("/proc/{}/task", self.0)).expect("the process lives");
        for thread in threads.flatten() {
            // The thread may have ended meanwhile.
            let Ok(stat) = fs::read_to_string(thread.path().join("stat")) else { continue };
            let (name, cpu) = name_and_cpu(&stat);
            *found.entry(name.trim_end_matches(|last: char| !last.is_alphabetic()).to_owned()).or_default() += cpu;
        }
        found
    }

    pub fn resident_bytes(self) -> u64 {
        self.kib_of_status("VmRSS:") << 10
    }

    /// Returns the resident bytes that are not pages of files, such as the program's own code.
    pub fn anonymous_bytes(self) -> u64 {
        self.kib_of_status("RssAnon:") << 10
    }

    pub fn resident_bytes_peak(self) -> u64 {
        self.kib_of_status("VmHWM:") << 10
    }

    /// Resets the peak of resident memory.
    pub fn reset_resident_peak(self) {
        // Not every kernel allows it; then the peak is that of the process's whole life, which makes tests stricter.
        let _ = fs::write(format!("/proc/{}/clear_refs", self.0), "5");
    }

    /// Returns the bytes that were read from, and written to, block devices.
    pub fn disk_bytes(self) -> DiskBytes {
        let io = self.read("io");
        DiskBytes { read: number_after(&io, "read_bytes:"), written: number_after(&io, "write_bytes:") }
    }

    fn kib_of_status(self, name: &str) -> u64 {
        number_after(&self.read("status"), name)
    }

    fn read(self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.0)).expect("the process lives")
    }
}

#[derive(Clone, Copy, Debug)]
pub struct DiskBytes {
    pub read: u64,
    pub written: u64,
}

impl DiskBytes {
    /// Returns whether the counters work, given a process that has written: there is no block device below a file
    /// system in memory.
    pub fn are_counted(self) -> bool {
        self.written > 0
    }
}

/// Parses a line of `stat`.
fn name_and_cpu(stat: &str) -> (&str, Duration) {
    let (before, after_name) = stat.rsplit_once(')').expect("stat has a name in parentheses");
    let name = before.split_once('(').expect("stat has a name in parentheses").1;
    let field = |number: usize| -> u64 {
        let field = after_name.split_whitespace().nth(number - 3);
        field.and_then(|field| field.parse().ok()).expect("stat has this field")
    };
    let ticks = field(14) + field(15);
    (name, Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

fn number_after(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("the field is there");
    line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("it is a number")
}
