//! The generation of docs/reference/metrics.md from the catalogue and from the descriptions of labels' values here; a
//! test fails if the page differs.

use super::{BATCH_SIZES, CATALOGUE, KINDS, LATENCY_SECONDS};
use std::fs;

/// Metric, label, and its values. An empty metric stands for all metrics with this label that have no line of their
/// own.
const VALUES: &[(&str, &str, &str)] = &[
    ("", "by", "`account`, `bucket`"),
    ("", "direction", "`received`, `sent`"),
    ("", "event", "`hit`, `miss`, `dial`, `eviction`"),
    ("", "fault", "`missing`, `corrupt`, `unanswered`"),
    ("", "holder", "`account`, `bucket`"),
    ("", "limit", "`requests`, `active`"),
    ("", "listener", "`s3`, `admin`"),
    ("", "log", "`shards`, `meta`"),
    ("", "name", "an account's number or `anonymous`, a bucket's name; at most 20 of each at a time"),
    ("", "node", "a drive's number"),
    ("", "operation", "S3's name, `Unresolved` if it has none"),
    ("", "peer", "a host's id, `unknown` before its greeting"),
    ("", "position", "`last`, `committed`, `applied`, `snapshot`, `purged`"),
    ("", "status", "the code; 499 if the client closed the connection"),
    ("", "webhook", "its name"),
    ("", "what", "`object`, `version`, `marker`, `upload`"),
    ("sherd_access_log_lines_total", "result", "`kept`, `dropped`"),
    ("sherd_access_logs_total", "result", "`written`, `dropped`"),
    ("", "destination", "`file`, `stderr`, `webhook`"),
    ("sherd_audit_lines_total", "result", "`written`, `lost`"),
    ("sherd_build_info", "version", "the program's version"),
    ("sherd_admission_permit_bytes", "state", "`in use`, `limit`"),
    ("sherd_events_dropped_total", "why", "`behind`, `refused`, `unreadable`"),
    ("sherd_get_stage_seconds", "stage", "`lookup`, `first_chunk`"),
    ("sherd_losses_served", "kind", "`drive`, `host`"),
    ("sherd_losses_survived", "kind", "`drive`, `host`"),
    ("sherd_nodes_in_trouble", "state", "`suspect`, `gone`"),
    ("sherd_put_stage_seconds", "stage", "`receive`, `hash_encode`, `append`, `propose`"),
    ("sherd_raft_mirror_copies", "state", "`live`, `wanted`"),
    ("sherd_raft_proposals_failed_total", "why", "`not proposed`, `refused`, `unknown`"),
    ("sherd_raft_replicas", "state", "`same`, `differing`, `unknown`"),
    ("sherd_repairs_done_total", "result", "`repaired`, `put_off`"),
    ("sherd_shards_to_move", "state", "`left`, `waiting`"),
    ("sherd_trace_spans_total", "result", "`exported`, `dropped`"),
];

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/metrics.md");

const HEAD: &str = "\
# Metrics

`/metrics` on the admin listener, in Prometheus' text format.
[Monitor a store](../how-to/monitoring.md) explains what they mean together. A test writes this page
from `src/metrics/mod.rs`: `WRITE_DOCS=1 cargo test --lib metrics`.

Besides, there are Prometheus' own metrics of a process: `process_cpu_seconds_total`,
`process_resident_memory_bytes`, `process_virtual_memory_bytes`, `process_open_fds`,
`process_max_fds`, `process_threads`, `process_start_time_seconds`.

";

const TABLE: &str = "\
| metric | type | unit | labels | what |
|---|---|---|---|---|
";

fn values(metric: &str, label: &str) -> &'static str {
    let of = |named: &str| VALUES.iter().find(|(one, its, _)| *one == named && *its == label);
    let (.., values) =
        of(metric).or_else(|| of("")).unwrap_or_else(|| panic!("{metric}: what are the values of {label}?"));
    values
}

fn kind(kind: &str) -> &str {
    if matches!(kind, "latency" | "batch") { "histogram" } else { kind }
}

fn unit(name: &str) -> &'static str {
    let named = ["seconds", "bytes", "permille"].into_iter().find(|unit| name.split('_').any(|word| word == *unit));
    named.unwrap_or("number")
}

fn bounds(of: &[f64]) -> String {
    of.iter().map(f64::to_string).collect::<Vec<_>>().join(", ")
}

fn document() -> String {
    let mut text = format!(
        "{HEAD}| histograms | bounds |\n|---|---|\n| of seconds | {} |\n| others | {} |\n\n{TABLE}",
        bounds(LATENCY_SECONDS),
        bounds(BATCH_SIZES)
    );
    for (made_as, (name, labels, help)) in KINDS.iter().zip(CATALOGUE) {
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`: {}", values(name, label))).collect();
        let row = ["", &format!("`{name}`"), kind(made_as), unit(name), &labels.join("; "), help, ""].join(" | ");
        text.push_str(row.trim());
        text.push('\n');
    }
    text
}

#[test]
fn the_metrics_reference_matches_the_catalogue() {
    let text = document();
    if std::env::var_os("WRITE_DOCS").is_some() {
        fs::write(DOCUMENT, &text).unwrap();
    }
    let written = fs::read_to_string(DOCUMENT).unwrap();
    for (one, other) in written.lines().zip(text.lines()) {
        assert_eq!(one, other, "docs/reference/metrics.md says otherwise; WRITE_DOCS=1 writes it anew");
    }
    assert!(written == text, "docs/reference/metrics.md ends otherwise; WRITE_DOCS=1 writes it anew");
}

#[test]
fn only_labels_that_exist_have_described_values() {
    for (metric, label, _) in VALUES {
        let is_used =
            CATALOGUE.iter().any(|(name, labels, _)| labels.contains(label) && (metric.is_empty() || metric == name));
        assert!(is_used, "{metric} has no label {label}");
    }
}
