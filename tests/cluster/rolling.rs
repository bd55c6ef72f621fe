//! Every host restarted in order, under load.

use crate::harness::cluster::Shape;
use crate::trial::{Trial, alone, pass, rounds, seed};
use std::time::Duration;

/// Of requests with their retries. A debug build, on a machine that others use too, may take longer.
const P99_MAX: Duration = Duration::from_secs(if cfg!(debug_assertions) { 6 } else { 2 });

/// C10: who leads hands over before it stops, so that nobody waits for an election.
#[test]
fn a_rolling_restart_fails_no_request() {
    let _alone = alone();
    let mut trial = Trial::begin("a_rolling_restart", &Shape::three(2, seed()));
    for round in 0..rounds() {
        let report = trial.under_load(|cluster| {
            pass(Duration::from_secs(1));
            for host in 0..3 {
                let name = cluster.hosts[host].name;
                let judged = cluster.admin((host + 1) % 3, &["health", "--safe-to-stop", name, "--wait", "120"]);
                assert_eq!(judged["safe"], true, "{judged}");
                let (_, took) = cluster.stop(host);
                eprintln!("host {host} stopped after {took:?}");
                cluster.start(host);
                cluster.wait_until_ready(host);
                pass(Duration::from_secs(1));
            }
        });
        eprintln!("rolling restart, round {round}: {}", report.words());
        report.check(None);
        let p99 = report.percentile(99);
        assert!(p99 < P99_MAX, "p99 was {p99:?}");
    }
    trial.wait_until_whole();
    trial.verify();
    trial.end("a_rolling_restart");
}
