//! A short run of the benchmark, so that it stays usable and gives every figure (T1, T4).

#[path = "../../benches/load/mod.rs"]
mod load;

use crate::harness::server::{Server, Setup};
use load::target::Target;
use load::targets::{self, Store};
use load::{Budget, bounds, files, growth, limits, listing, requests};
use std::time::Duration;

#[test]
fn the_benchmark_gives_every_figure() {
    let (root, server) = Server::fresh();
    let figures = load::run(&Target::from(&server), &Budget::tiny());
    assert_eq!(figures.len(), 11);
    for figure in &figures {
        assert!(figure.operations > 0 && figure.per_second() > 0.0 && figure.p99 >= figure.p50, "{figure:?}");
    }
    assert!(figures[1].syncs_per_operation > 0.0, "strict PUTs are synced: {:?}", figures[1]);
    assert_eq!(load::table(&figures).lines().count(), figures.len() + 2);
    let spent: Duration = figures.iter().flat_map(|figure| figure.cpu_by_thread.values()).sum();
    let all: Duration = figures.iter().map(|figure| figure.cpu).sum();
    assert!(spent <= all + Duration::from_millis(500) && spent * 2 > all, "{spent:?} of {all:?} are some thread's");
    let plain = files::measure(root.path(), Duration::from_millis(50));
    assert!(plain.copy_mebibytes_per_second > 0.0 && plain.own_files_per_second > 0.0);
    assert!(files::table(&plain).contains("a file each") && load::hardware().contains("cores"));

    let each = Duration::from_millis(50);
    let limits = limits::measure(root.path(), each, 4, 1 << 20);
    let rates = [limits.tcp, limits.quic].map(|transfer| transfer.mebibytes_per_second);
    assert!(rates.iter().all(|rate| *rate > 0.0), "{limits:?}");
    assert!(limits::table(&limits).contains("QUIC"));
    // The limits of the reference machine: this machine's cannot be measured in so short a time.
    let limits = limits::Limits {
        md5_seconds_per_gibibyte: 1.43,
        bare_head: Duration::from_micros(7),
        bare_get: Duration::from_micros(7),
        bare_seconds_per_gibibyte: 0.3,
        ..limits
    };
    let of_head = targets::judge(Store::OneDrive, &figures, &limits).into_iter().find(|row| row.workload == "HEAD");
    assert_eq!(of_head.map(|row| (row.unit, row.target, row.limit)), Some(("µs CPU", 30.0, Some(7.0))));
    for store in Store::ALL {
        let judged = targets::judge(store, &figures, &limits);
        assert!(judged.len() >= figures.len() - 1 && judged.iter().all(|row| row.target > 0.0), "{judged:?}");
        assert_eq!(targets::table(&judged).lines().count(), judged.len() + 2);
    }
    let history = root.path().join("history.jsonl");
    for _ in 0..2 {
        let line = targets::line("a machine", each, &limits, &[(Store::OneDrive, figures.clone())]);
        targets::append(&history, &line).expect("it can be written");
    }
    let lines = std::fs::read_to_string(&history).expect("it was written");
    let runs: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(runs.len(), 2);
    assert_eq!(runs[1]["stores"]["one drive (1+0)"].as_array().map(Vec::len), Some(figures.len()), "{}", runs[1]);
}

#[test]
fn listing_pages_are_measured_at_every_position() {
    let (_root, server) = Server::fresh();
    let (stored, pages) = listing::measure(&Target::from(&server), 1500);
    let entries: Vec<usize> = pages.iter().map(|page| page.entries).collect();
    // The middle is after key 750; 1,000 keys and the ten around them lie after 499.
    assert_eq!(entries, [1000, 754, 1000, 0, 7, 5, 749, 0, 754]);
    assert_eq!(listing::table(1500, stored, &pages).lines().count(), pages.len() + 4);
}

#[test]
fn small_requests_are_measured_against_a_bare_server() {
    let (_root, server) = Server::fresh();
    const NAMES: [&str; 4] = ["HEAD", "HEAD, signed in the URL", "GET 4 KiB", "GET 4 KiB, signed in the URL"];
    let costs = requests::measure(&server, 4, Duration::from_millis(100));
    assert_eq!(costs.iter().map(|cost| cost.name).collect::<Vec<_>>(), NAMES);
    for cost in &costs {
        assert!(cost.store > cost.bare && cost.bare > Duration::ZERO, "{cost:?}");
    }
    assert_eq!(requests::table(&costs).lines().count(), costs.len() + 2);
}

#[test]
fn growth_is_measured_and_drawn() {
    let root = tempfile::tempdir().unwrap();
    let amounts = growth::Amounts::tiny();
    for picture in growth::measure_all(root.path(), &amounts) {
        let rows = picture.curves.first().map_or(0, |curve| curve.points.len());
        assert_eq!(picture.table().lines().count(), 4 + rows, "{}", picture.table());
        for curve in &picture.curves {
            assert_eq!(curve.points.len(), rows, "{}: {}", picture.name, curve.name);
            assert!(curve.points.iter().all(|(_, value)| *value >= 0.0), "{curve:?}");
        }
        picture.draw(root.path()).expect("it is drawn");
        let drawn = std::fs::read_to_string(root.path().join(format!("{}.svg", picture.name))).expect("it is there");
        assert!(rows == 0 || drawn.contains("<polyline") && drawn.contains(picture.axes[0]), "{drawn}");
    }
}

/// M1, M4, P8: the promised bounds. Times are not checked, as they hold for release builds on quiet machines; debug
/// builds may use twice as much memory, as they have more code resident.
#[test]
fn bounds_of_memory_and_reads_hold() {
    let root = tempfile::tempdir().unwrap();
    let (found, server) = bounds::measure(&Setup::drives(root.path(), 4), bounds::Sizes::tiny());
    let is_counted = server.process().disk_bytes().are_counted();
    assert_eq!(bounds::table(&found).lines().count(), found.len() + 2);
    for bound in found.iter().filter(|bound| bound.unit == "MiB") {
        let allowance = if bound.what.contains("resident memory") { 2.0 } else { 1.0 };
        assert!(bound.found < bound.limit * allowance && (bound.found > 0.0 || !is_counted), "{bound:?}");
    }
}
