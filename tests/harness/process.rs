//! What the kernel says about a process (proc(5)), and sending it signals.

use rustix::process::{Pid, Signal, kill_process};
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
        let stat = self.read("stat");
        let after_name = stat.rsplit_once(')').expect("stat has a name in parentheses").1;
        let field = |number: usize| -> u64 {
            after_name
                .split_whitespace()
                .nth(number - 3)
                .and_then(|field| field.parse().ok())
                .expect("stat has this field")
        };
        let ticks = field(14) + field(15);
        Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
    }

    pub fn resident_bytes(self) -> u64 {
        self.kib_of_status("VmRSS:") << 10
    }

    pub fn resident_bytes_peak(self) -> u64 {
        self.kib_of_status("VmHWM:") << 10
    }

    /// Starts the peak anew.
    pub fn reset_resident_peak(self) {
        // Not every kernel allows it; the peak is then that of the whole life, which is no less strict.
        let _ = fs::write(format!("/proc/{}/clear_refs", self.0), "5");
    }

    /// Bytes that came from, or went to, block devices.
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

fn number_after(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("the field is there");
    line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("it is a number")
}
