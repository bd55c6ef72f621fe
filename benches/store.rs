//! The store's figures: the real binary over HTTP, bounded by time, its CPU seconds apart from the load's (T1, T4).
//! `cargo bench --bench store -- [--seconds N] [--drives N | --hosts N | --keys N | --requests N] [--dir PATH]` prints tables for docs/internals/performance.md.

#[path = "../tests/harness/mod.rs"]
mod harness;
#[path = "load/mod.rs"]
mod load;

use harness::cluster::{Cluster, Shape};
use harness::server::Setup;
use load::target::Target;
use load::{Budget, bounds, files};
use std::path::{Path, PathBuf};
use std::time::Duration;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let mut budget = Budget::full();
    let mut drives = vec![1, 4];
    let (mut hosts, mut keys, mut requests) = (None, None, None);
    let mut parent = std::env::temp_dir();
    while let Some(name) = arguments.next() {
        let Some(value) = arguments.next() else { return usage(&name) };
        match (name.as_str(), value.parse::<f64>()) {
            ("--seconds", Ok(seconds)) if seconds > 0.0 => budget.each = Duration::from_secs_f64(seconds),
            ("--drives", Ok(count)) if count >= 1.0 => drives = vec![count as usize],
            ("--hosts", Ok(count)) if count >= 1.0 => hosts = Some(count as usize),
            ("--keys", Ok(count)) if count >= 1.0 => keys = Some(count as usize),
            ("--requests", Ok(count)) if count >= 1.0 => requests = Some(count as usize),
            ("--dir", _) => parent = PathBuf::from(value),
            _ => return usage(&name),
        }
    }
    println!("Hardware: {}", load::hardware());
    println!(
        "Each workload runs for {:.1} s; durability strict; load generator on the same machine.\n",
        budget.each.as_secs_f64()
    );
    if let Some(keys) = keys {
        return listing(keys, &parent);
    }
    if let Some(at_once) = requests {
        return small(at_once, &parent, &budget);
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

/// Measures so many hosts of one drive each, as processes that share this machine, over QUIC on loopback.
fn cluster(hosts: usize, parent: &Path, budget: &Budget) {
    let shape = Shape { founders: hosts, is_direct: true, parent: parent.to_owned(), ..Shape::three(1, 1) };
    let cluster = Cluster::formed(&shape);
    let figures = load::run(&Target::from(&cluster), budget);
    println!("{hosts} hosts:\n\n{}\n{}", load::table(&figures), load::stages(&figures));
}

/// One drive, one bucket of so many keys.
fn listing(keys: usize, parent: &Path) {
    let root = tempfile::tempdir_in(parent).expect("the directory can be written");
    let server = Setup::drives(root.path(), 1).start();
    let (stored, pages) = load::listing::measure(&Target::from(&server), keys);
    println!("{}", load::listing::table(keys, stored, &pages));
}

/// One drive, and small requests on so many connections.
fn small(at_once: usize, parent: &Path, budget: &Budget) {
    let root = tempfile::tempdir_in(parent).expect("the directory can be written");
    let server = Setup::drives(root.path(), 1).start();
    println!("{}", load::requests::table(&load::requests::measure(&server, at_once, budget.each)));
}

fn usage(what: &str) {
    eprintln!(
        "{what} makes no sense; expected --seconds N, --drives N, --hosts N, --keys N, --requests N or --dir PATH"
    );
    std::process::exit(2);
}
