//! Workloads over HTTP, and the measurement of their speed and cost. A test runs the same code for an instant, so that
//! it stays usable.

// The benchmark and the test that includes this module each use a part of it.
#![allow(dead_code)]

pub mod bounds;
mod connections;
pub mod files;
pub mod growth;
pub mod limits;
pub mod listing;
mod parts;
pub mod requests;
pub mod target;
pub mod targets;

use crate::harness::client::{Body, S3};
use crate::harness::data;
use connections::Requests;
use http::Method;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use target::Target;

const BUCKET: &str = "bench";

/// Makes a key of the number of a connection and its turn.
type Key<'a> = dyn Fn(usize, u64) -> String + 'a;

/// The amounts of a run.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// The duration of each workload.
    pub each: Duration,
    pub large_bytes: usize,
    pub large_at_once: usize,
    pub medium_at_once: usize,
    pub small_at_once: usize,
}

impl Budget {
    pub fn full() -> Self {
        let each = Duration::from_secs(5);
        Self { each, large_bytes: 64 << 20, large_at_once: 8, medium_at_once: 16, small_at_once: 64 }
    }

    pub fn tiny() -> Self {
        let each = Duration::from_millis(200);
        Self { each, large_bytes: 1 << 20, large_at_once: 2, medium_at_once: 2, small_at_once: 4 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    PutAlone,
    PutSmall,
    PutOver,
    PutMedium,
    PutLarge,
    GetSmall,
    GetMedium,
    GetLarge,
    Head,
    List,
    Delete,
}

/// An operation of a client on a worker, by its number, and its turn; returns the amount that it moved.
type Operation<'a> = dyn Fn(&S3, usize, u64) -> u64 + Sync + 'a;

/// One workload's result.
#[derive(Clone, Debug)]
pub struct Figure {
    pub workload: Workload,
    pub name: String,
    pub at_once: usize,
    pub operations: u64,
    /// Bytes of content moved; for listings, keys.
    pub amount: u64,
    pub wall: Duration,
    /// The server's CPU time (user and system), and that of each kind of its threads.
    pub cpu: Duration,
    pub cpu_by_thread: BTreeMap<String, Duration>,
    pub p50: Duration,
    pub p99: Duration,
    /// Syncs of the most synced log, per operation.
    pub syncs_per_operation: f64,
    /// Bytes written to block devices, per byte of content.
    pub written_per_byte: f64,
    pub resident_bytes_peak: u64,
}

impl Figure {
    pub fn per_second(&self) -> f64 {
        self.operations as f64 / self.wall.as_secs_f64()
    }

    pub fn mebibytes_per_second(&self) -> f64 {
        self.amount as f64 / f64::from(1 << 20) / self.wall.as_secs_f64()
    }

    pub fn cpu_micros_per_operation(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.operations.max(1) as f64
    }

    pub fn cpu_seconds_per_gibibyte(&self) -> f64 {
        self.cpu.as_secs_f64() / (self.amount as f64 / f64::from(1 << 30))
    }
}

/// Runs every workload in turn, writes before reads.
pub fn run(target: &Target, budget: &Budget) -> Vec<Figure> {
    let s3 = target.client(0);
    s3.create_bucket(BUCKET).expect("the store answers").expect(200);
    let large = data::bytes(1, budget.large_bytes);
    let medium = data::bytes(2, 1 << 20);
    let small = data::bytes(3, 4 << 10);
    let put = |s3: &S3, key: &str, bytes: &[u8]| {
        s3.put(BUCKET, key, bytes).expect("the store answers").expect(200);
        bytes.len() as u64
    };
    let get = |s3: &S3, key: &str| {
        let (status, len) = s3.get_discarding(BUCKET, key).expect("the store answers");
        assert_eq!(status, 200);
        len
    };
    let mebibytes = budget.large_bytes >> 20;
    let (most, some, few) = (budget.small_at_once, budget.medium_at_once, budget.large_at_once);
    let by_threads = |workload, name: &str, at_once, operation: &Operation<'_>| {
        measure(target, (workload, name, at_once), &|| by_threads(target, budget.each, at_once, operation))
    };
    let small_requests = |workload, name, at_once, request: &Small<'_>, key: &Key<'_>| {
        let work = || request.send(target, at_once, key, &|requests| requests.send(budget.each));
        measure(target, (workload, name, at_once), &work)
    };
    let (new, same) = (|number, turn| format!("small/{number}/{turn}"), |number, _| format!("small/{number}/0"));
    let upload = Small::put(&small);
    let mut figures = vec![
        small_requests(Workload::PutAlone, "PUT 4 KiB, one at a time", 1, &upload, &|_, turn| format!("one/{turn}")),
        small_requests(Workload::PutSmall, "PUT 4 KiB", most, &upload, &new),
        small_requests(Workload::PutOver, "PUT 4 KiB over existing", most, &upload, &same),
        by_threads(Workload::PutMedium, "PUT 1 MiB", some, &|s3, worker, turn| {
            put(s3, &format!("medium/{worker}/{}", turn % 64), &medium)
        }),
        by_threads(Workload::PutLarge, &format!("PUT {mebibytes} MiB"), few, &|s3, worker, turn| {
            put(s3, &format!("large/{worker}/{}", turn % 4), &large)
        }),
    ];
    figures.extend([
        small_requests(Workload::GetSmall, "GET 4 KiB", most, &Small::get(small.len()), &same),
        by_threads(Workload::GetMedium, "GET 1 MiB", some, &|s3, worker, _| get(s3, &format!("medium/{worker}/0"))),
        by_threads(Workload::GetLarge, &format!("GET {mebibytes} MiB"), few, &|s3, worker, _| {
            get(s3, &format!("large/{worker}/0"))
        }),
        small_requests(Workload::Head, "HEAD", most, &Small::HEAD, &same),
        by_threads(Workload::List, "LIST pages of 1,000", 4, &|s3, _, _| list(s3)),
        small_requests(Workload::Delete, "DELETE", most, &Small::DELETE, &new),
    ]);
    figures
}

/// A small request to a key of the bucket, which many connections send again and again.
pub struct Small<'a> {
    method: Method,
    status: u16,
    body: &'a [u8],
    /// The bytes of content that one moves.
    amount: u64,
}

impl<'a> Small<'a> {
    pub const HEAD: Self = Self { method: Method::HEAD, status: 200, body: &[], amount: 0 };
    pub const DELETE: Self = Self { method: Method::DELETE, status: 204, body: &[], amount: 0 };

    pub fn put(body: &'a [u8]) -> Self {
        Self { method: Method::PUT, status: 200, body, amount: body.len() as u64 }
    }

    pub fn get(bytes: usize) -> Self {
        Self { method: Method::GET, status: 200, body: &[], amount: bytes as u64 }
    }

    /// Sends it on this many connections as `send` says; returns all latencies, and the whole amount.
    pub fn send(
        &self,
        target: &Target,
        at_once: usize,
        key: &Key<'_>,
        send: &dyn Fn(&Requests<'_>) -> Vec<Duration>,
    ) -> (Vec<Duration>, u64) {
        let clients: Vec<S3> = (0..at_once).map(|number| target.client(number)).collect();
        let scope = clients[0].scope();
        let latencies = send(&Requests {
            method: self.method.clone(),
            at_once,
            status: self.status,
            address: &|number| clients[number].addr(),
            request: &|number, turn| {
                let path = format!("/{BUCKET}/{}", key(number, turn));
                clients[number].request(&scope, self.method.as_str(), &path, self.body)
            },
        });
        let amount = latencies.len() as u64 * self.amount;
        (latencies, amount)
    }
}

/// Lists one page; returns the number of its keys.
fn list(s3: &S3) -> u64 {
    list_after(s3, "small/", "")
}

fn list_after(s3: &S3, prefix: &str, after: &str) -> u64 {
    let query = [("list-type", "2"), ("prefix", prefix), ("start-after", after)];
    let page = s3.call("GET", &format!("/{BUCKET}"), &query, &[], Body::None).expect("the store answers").expect(200);
    page.text().matches("<Key>").count() as u64
}

/// Runs the operation on `at_once` workers for this long. Returns all latencies, and the whole amount.
fn by_threads(target: &Target, each: Duration, at_once: usize, operation: &Operation<'_>) -> (Vec<Duration>, u64) {
    let amount = AtomicU64::new(0);
    let end = Instant::now() + each;
    let latencies = std::thread::scope(|scope| {
        let worker = |number: usize| {
            let (s3, amount) = (target.client(number), &amount);
            scope.spawn(move || {
                let mut latencies = Vec::new();
                for turn in 0.. {
                    let from = Instant::now();
                    if from >= end && turn > 0 {
                        break;
                    }
                    amount.fetch_add(operation(&s3, number, turn), Ordering::Relaxed);
                    latencies.push(from.elapsed());
                }
                latencies
            })
        };
        let workers: Vec<_> = (0..at_once).map(worker).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a worker's operations succeed")).collect()
    });
    (latencies, amount.into_inner())
}

/// Measures the work, which returns the latency of each operation, and the amount that all moved.
fn measure(
    target: &Target,
    (workload, name, at_once): (Workload, &str, usize),
    work: &dyn Fn() -> (Vec<Duration>, u64),
) -> Figure {
    target.reset_resident_peak();
    let (cpu, by_thread) = (target.cpu(), target.cpu_by_thread());
    let (written, syncs) = (target.written_bytes(), target.syncs());
    let begun = Instant::now();
    let (mut latencies, amount) = work();
    let wall = begun.elapsed();
    latencies.sort();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    let operations = latencies.len() as u64;
    let synced =
        target.syncs().into_iter().map(|(log, after)| after - syncs.get(&log).unwrap_or(&0.0)).fold(0.0, f64::max);
    let spent = |(name, after): (String, Duration)| {
        let before = by_thread.get(&name).copied().unwrap_or_default();
        (name, after.saturating_sub(before))
    };
    Figure {
        workload,
        name: name.to_owned(),
        at_once,
        operations,
        amount,
        wall,
        cpu: target.cpu().saturating_sub(cpu),
        cpu_by_thread: target.cpu_by_thread().into_iter().map(spent).collect(),
        p50: at(0.5),
        p99: at(0.99),
        syncs_per_operation: synced / operations as f64,
        written_per_byte: (target.written_bytes() - written) as f64 / amount.max(1) as f64,
        resident_bytes_peak: target.resident_bytes_peak(),
    }
}

pub fn table(figures: &[Figure]) -> String {
    let mut text = String::from(
        "| workload | at once | per second | MiB/s | p50 ms | p99 ms | CPU | syncs/op | written/byte | peak MiB |\n|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for figure in figures {
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        let is_bulk = figure.amount / figure.operations.max(1) >= 1 << 20;
        let cpu = if is_bulk {
            format!("{:.2} s/GiB", figure.cpu_seconds_per_gibibyte())
        } else {
            format!("{:.0} µs/op", figure.cpu_micros_per_operation())
        };
        let (moved, written) = match figure.amount > figure.operations {
            true => (format!("{:.1}", figure.mebibytes_per_second()), format!("{:.2}", figure.written_per_byte)),
            false => ("–".to_owned(), "–".to_owned()),
        };
        text.push_str(&format!(
            "| {} | {} | {:.0} | {moved} | {:.2} | {:.2} | {cpu} | {:.2} | {written} | {} |\n",
            figure.name,
            figure.at_once,
            figure.per_second(),
            millis(figure.p50),
            millis(figure.p99),
            figure.syncs_per_operation,
            figure.resident_bytes_peak >> 20,
        ));
    }
    text
}

/// Formats the CPU seconds per GiB of the workloads that move large objects, by kind of thread.
pub fn stages(figures: &[Figure]) -> String {
    let bulk: Vec<&Figure> =
        figures.iter().filter(|figure| figure.amount / figure.operations.max(1) > 1 << 20).collect();
    let names: BTreeSet<&String> = bulk.iter().flat_map(|figure| figure.cpu_by_thread.keys()).collect();
    let heads: String = bulk.iter().map(|figure| format!(" {} |", figure.name)).collect();
    let mut text = format!("| CPU s/GiB by thread |{heads}\n|---|{}\n", "---|".repeat(bulk.len()));
    for name in names {
        let gibibytes = |figure: &Figure| figure.amount as f64 / f64::from(1 << 30);
        let of =
            |figure: &&Figure| figure.cpu_by_thread.get(name).map_or(0.0, |cpu| cpu.as_secs_f64() / gibibytes(figure));
        let spent: Vec<f64> = bulk.iter().map(of).collect();
        if spent.iter().any(|spent| *spent >= 0.01) {
            let cells: String = spent.iter().map(|spent| format!(" {spent:.2} |")).collect();
            text.push_str(&format!("| {} |{cells}\n", name.replace('|', "\\|")));
        }
    }
    text
}

/// Returns the hardware, as far as the kernel knows it.
pub fn hardware() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{cores} cores ({}), memory {}", field(&cpuinfo, "model name"), field(&read("/proc/meminfo"), "MemTotal"))
}
