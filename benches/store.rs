//! The benchmark of the store: workloads on the real binary over HTTP, for a bounded time, with the CPU time of the
//! store apart from the load generator's (T1, T4).
//!
//! `cargo bench --bench store -- [--seconds N] [--drives N | --hosts N | --keys N | --requests N | --history FILE |
//! --growth DIR] [--dir PATH]` prints tables for docs/internals/performance.md.

#[path = "../tests/harness/mod.rs"]
mod harness;
#[path = "load/mod.rs"]
mod load;

use harness::cluster::{Cluster, Shape};
use harness::server::Setup;
use load::growth::Amounts;
use load::target::Target;
use load::targets::{self, Store};
use load::{Budget, Figure, bounds, files, limits};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The number of objects up to which growth is measured, unless `--keys` says another one.
const OBJECTS_MAX: usize = 1_000_000;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let mut budget = Budget::full();
    let mut drives = vec![1, 4];
    let (mut hosts, mut keys, mut requests, mut history, mut pictures) = (None, None, None, None, None);
    let mut parent = std::env::temp_dir();
    while let Some(name) = arguments.next() {
        let Some(value) = arguments.next() else { return usage(&name) };
        match (name.as_str(), value.parse::<f64>()) {
            ("--seconds", Ok(seconds)) if seconds > 0.0 => budget.each = Duration::from_secs_f64(seconds),
            ("--drives", Ok(count)) if count >= 1.0 => drives = vec![count as usize],
            ("--hosts", Ok(count)) if count >= 1.0 => hosts = Some(count as usize),
            ("--keys", Ok(count)) if count >= 1.0 => keys = Some(count as usize),
            ("--requests", Ok(count)) if count >= 1.0 => requests = Some(count as usize),
            ("--history", _) => history = Some(PathBuf::from(value)),
            ("--growth", _) => pictures = Some(PathBuf::from(value)),
            ("--dir", _) => parent = PathBuf::from(value),
            _ => return usage(&name),
        }
    }
    println!("Hardware: {}", load::hardware());
    println!(
        "Each workload runs for {:.1} s; durability strict; load generator on the same machine.\n",
        budget.each.as_secs_f64()
    );
    if let Some(pictures) = pictures {
        return growth(&pictures, &parent, keys.unwrap_or(OBJECTS_MAX));
    }
    if let Some(keys) = keys {
        return listing(keys, &parent);
    }
    if let Some(at_once) = requests {
        return small(at_once, &parent, &budget);
    }
    if let Some(history) = history {
        return by_targets(&history, &parent, &budget);
    }
    println!("{}", files::table(&files::measure(&parent, budget.each)));
    if let Some(count) = hosts {
        return cluster(count, &parent, &budget);
    }
    for count in drives {
        let root = tempfile::tempdir_in(&parent).expect("the directory can be written");
        let (found, server) =
            bounds::measure(&Setup::drives(&root.path().join("bounds"), count), bounds::Sizes::full());
        println!("{count} drive(s):\n\n{}", bounds::table(&found));
        drop(server);
        std::fs::remove_dir_all(root.path().join("bounds")).expect("the directory can be removed");
        let server = Setup::drives(root.path(), count).start();
        let figures = load::run(&Target::from(&server), &budget);
        println!("{}\n{}", load::table(&figures), load::stages(&figures));
        let (_, ended, took) = server.stop();
        assert!(ended.status.success(), "the store did not stop well: {}", ended.stderr);
        println!("stopped in {} ms\n", took.as_millis());
    }
}

/// Measures the machine, then every store, and judges each by its targets; appends the run to the history.
fn by_targets(history: &Path, parent: &Path, budget: &Budget) {
    let limits = limits::measure(parent, budget.each, budget.small_at_once, budget.large_bytes);
    println!("{}", limits::table(&limits));
    let mut stores = Vec::new();
    for store in Store::ALL {
        let figures = match store {
            Store::OneDrive => drives(1, parent, budget),
            Store::FourDrives => drives(4, parent, budget),
            Store::ThreeHosts => hosts_of_a_drive(3, parent, budget),
        };
        println!("{}:\n\n{}", store.name(), targets::table(&targets::judge(store, &figures, &limits)));
        stores.push((store, figures));
    }
    let line = targets::line(&load::hardware(), budget.each, &limits, &stores);
    targets::append(history, &line).expect("the history can be written");
}

fn drives(count: usize, parent: &Path, budget: &Budget) -> Vec<Figure> {
    let root = tempfile::tempdir_in(parent).expect("the directory can be written");
    let server = Setup::drives(root.path(), count).start();
    load::run(&Target::from(&server), budget)
}

fn hosts_of_a_drive(hosts: usize, parent: &Path, budget: &Budget) -> Vec<Figure> {
    let shape = Shape { founders: hosts, is_direct: true, parent: parent.to_owned(), ..Shape::three(1, 1) };
    load::run(&Target::from(&Cluster::formed(&shape)), budget)
}

/// Measures this many hosts of one drive each, as processes that share this machine, over QUIC on loopback.
fn cluster(hosts: usize, parent: &Path, budget: &Budget) {
    let figures = hosts_of_a_drive(hosts, parent, budget);
    println!("{hosts} hosts:\n\n{}\n{}", load::table(&figures), load::stages(&figures));
}

/// Measures listings of a bucket with this many keys, on one drive.
fn listing(keys: usize, parent: &Path) {
    let root = tempfile::tempdir_in(parent).expect("the directory can be written");
    let server = Setup::drives(root.path(), 1).start();
    let (stored, pages) = load::listing::measure(&Target::from(&server), keys);
    println!("{}", load::listing::table(keys, stored, &pages));
}

/// Measures small requests on this many connections, on one drive.
fn small(at_once: usize, parent: &Path, budget: &Budget) {
    let root = tempfile::tempdir_in(parent).expect("the directory can be written");
    let server = Setup::drives(root.path(), 1).start();
    println!("{}", load::requests::table(&load::requests::measure(&server, at_once, budget.each)));
}

/// Measures how rates and costs grow, and draws them.
fn growth(pictures: &Path, parent: &Path, objects: usize) {
    std::fs::create_dir_all(pictures).expect("the directory can be made");
    for picture in load::growth::measure_all(parent, &Amounts::full(objects as u64)) {
        println!("{}", picture.table());
        picture.draw(pictures).expect("the picture can be written");
    }
}

fn usage(what: &str) {
    eprintln!(
        "{what} makes no sense; expected --seconds N, --drives N, --hosts N, --keys N, --requests N, --history \
         FILE, --growth DIR or --dir PATH"
    );
    std::process::exit(2);
}
