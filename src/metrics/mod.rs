//! The catalogue of metrics: name, labels and help of each. Units are in the names (`_seconds`, `_bytes`, `_total` for
//! counters). docs/reference/metrics.md is generated from it. This module imports nothing else of the crate.

use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Encoder, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};
use std::sync::LazyLock;

/// The bucket bounds of latency histograms, from 50 µs to 60 s.
const LATENCY_SECONDS: &[f64] = &[
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0, 30.0, 60.0,
];
/// The bucket bounds of histograms of batch sizes.
const BATCH_SIZES: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

static REGISTRY: LazyLock<Registry> = LazyLock::new(|| {
    let registry = Registry::new();
    registry.register(Box::new(ProcessCollector::for_self())).expect("a registry that is new has no other");
    registry
});

macro_rules! metrics {
    ($($kind:ident $name:ident = $text:literal [$($label:literal),*] $help:literal;)*) => {
        $(pub static $name: LazyLock<metrics!(@type $kind)> = LazyLock::new(|| metrics!(@make $kind $text [$($label),*] $help));)*

        /// Registers every metric. A counter without labels is scraped from the start; a gauge, or a series with
        /// labels, once it has a value.
        pub fn register_all() {
            $(metrics!(@begin $kind $name [$($label),*]);)*
        }

        /// The name, labels and help of every metric, for the reference page and checks.
        pub const CATALOGUE: &[(&str, &[&str], &str)] = &[$(($text, &[$($label),*], $help)),*];

        /// The kinds of the metrics in the catalogue, in its order.
        #[cfg(test)]
        const KINDS: &[&str] = &[$(stringify!($kind)),*];
    };
    (@begin counter $name:ident []) => {
        let _ = $name.with_label_values::<&str>(&[]);
    };
    (@begin $kind:ident $name:ident [$($label:literal),*]) => {
        LazyLock::force(&$name);
    };
    (@type counter) => { IntCounterVec };
    (@type gauge) => { IntGaugeVec };
    (@type latency) => { HistogramVec };
    (@type batch) => { HistogramVec };
    (@make counter $text:literal [$($label:literal),*] $help:literal) => {
        register(IntCounterVec::new(Opts::new($text, $help), &[$($label),*]))
    };
    (@make gauge $text:literal [$($label:literal),*] $help:literal) => {
        register(IntGaugeVec::new(Opts::new($text, $help), &[$($label),*]))
    };
    (@make latency $text:literal [$($label:literal),*] $help:literal) => {
        register(HistogramVec::new(HistogramOpts::new($text, $help).buckets(LATENCY_SECONDS.to_vec()), &[$($label),*]))
    };
    (@make batch $text:literal [$($label:literal),*] $help:literal) => {
        register(HistogramVec::new(HistogramOpts::new($text, $help).buckets(BATCH_SIZES.to_vec()), &[$($label),*]))
    };
}

/// The series that every request changes. They have no labels, and are looked up once.
pub static REQUESTS_ACTIVE_NOW: LazyLock<IntGauge> = LazyLock::new(|| REQUESTS_ACTIVE.with_label_values::<&str>(&[]));
pub static RECEIVED_BYTES_IN_ALL: LazyLock<IntCounter> =
    LazyLock::new(|| RECEIVED_BYTES.with_label_values::<&str>(&[]));
pub static SENT_BYTES_IN_ALL: LazyLock<IntCounter> = LazyLock::new(|| SENT_BYTES.with_label_values::<&str>(&[]));

metrics! {
    gauge BUILD_INFO = "sherd_build_info" ["version"] "Always 1; the label is the version that runs.";
    counter REQUESTS = "sherd_s3_requests_total" ["operation", "status"] "S3 requests answered, by operation and HTTP status.";
    latency REQUEST_SECONDS = "sherd_s3_request_seconds" ["operation"] "Time from a request's head to its answer's head.";
    gauge REQUESTS_ACTIVE = "sherd_s3_requests_active" [] "S3 requests being answered.";
    counter RECEIVED_BYTES = "sherd_s3_received_bytes_total" [] "Body bytes received from S3 clients.";
    counter SENT_BYTES = "sherd_s3_sent_bytes_total" [] "Body bytes sent to S3 clients.";
    counter RATE_REFUSED_REQUESTS = "sherd_rate_refused_requests_total" ["holder", "limit"] "Requests answered SlowDown because their account or bucket was over a limit of sherd admin rate-limit.";
    counter RATE_DELAYED_BYTES = "sherd_rate_delayed_bytes_total" ["holder", "direction"] "Body bytes that waited because their account or bucket was over a limit of sherd admin rate-limit.";
    gauge TOP_REQUESTS = "sherd_top_requests" ["by", "name"] "Requests of the last five minutes on this host, of the 20 accounts and the 20 buckets with the most; lower bounds.";
    gauge TOP_BYTES = "sherd_top_bytes" ["by", "name"] "Body bytes received and sent in the last five minutes on this host, of the 20 accounts and the 20 buckets with the most; lower bounds.";
    gauge TLS_CERTIFICATE_END = "sherd_tls_certificate_end_seconds" ["listener"] "Expiry of the certificate that a listener shows, in seconds since 1970.";
    gauge ACME_FAILED_ORDERS = "sherd_acme_failed_orders" [] "Orders for the S3 listener's certificate (ACME) that failed since the last one that succeeded.";
    gauge PERMIT_BYTES = "sherd_admission_permit_bytes" ["state"] "Admission bytes: in use, and the limit.";
    gauge ADMISSION_WAITING = "sherd_admission_waiting_requests" [] "Requests waiting for an admission permit.";
    latency PUT_STAGE_SECONDS = "sherd_put_stage_seconds" ["stage"] "Time of a PUT spent in each stage.";
    latency GET_STAGE_SECONDS = "sherd_get_stage_seconds" ["stage"] "Time of a GET spent in each stage.";
    counter CHUNK_FAULTS = "sherd_chunk_faults_total" ["node", "fault"] "Chunks that a drive did not deliver, shards that it was not known to lack, and corrupt places of the metadata log and its snapshots that scrub found, by fault.";
    counter STRIPES_DECODED = "sherd_stripes_decoded_total" [] "Stripes rebuilt from parity during reads.";
    gauge NODES_IN_TROUBLE = "sherd_nodes_in_trouble" ["state"] "Drives of any host that this host avoids: suspect (late or failing), or gone (no answer).";
    counter HEDGED_READS = "sherd_hedged_reads_total" ["node"] "Reads of a drive that were late, so that parity was read as well.";
    counter WAL_APPENDS = "sherd_wal_appends_total" ["node", "log"] "Records appended.";
    counter WAL_APPENDED_BYTES = "sherd_wal_appended_bytes_total" ["node", "log"] "Bytes written, headers and padding included.";
    counter WAL_WRITES = "sherd_wal_writes_total" ["node", "log"] "Write system calls.";
    counter WAL_SYNCS = "sherd_wal_syncs_total" ["node", "log"] "Syncs completed.";
    latency WAL_SYNC_SECONDS = "sherd_wal_sync_seconds" ["node", "log"] "Time of one sync.";
    batch WAL_SYNC_WAITERS = "sherd_wal_sync_waiters" ["node", "log"] "Appends answered by one sync.";
    gauge WAL_SEGMENTS = "sherd_wal_segments" ["node", "log"] "Segments in use.";
    gauge WAL_SEGMENTS_FREE = "sherd_wal_segments_free" ["node", "log"] "Segments kept for reuse.";
    counter RESOURCE_SHORTAGES = "sherd_resource_shortages_total" ["node"] "Calls to a drive that failed because the process or its host lacked file descriptors or memory; the drive stays in service.";
    gauge INDEX_CHUNKS = "sherd_index_chunks" ["node"] "Chunks in the shard index.";
    gauge LIVE_BYTES = "sherd_shard_live_bytes" ["node"] "Bytes of chunks that the shard index refers to.";
    gauge SEGMENT_BYTES = "sherd_shard_segment_bytes" ["node"] "Bytes of shard segments in use; live bytes over this is the live fraction.";
    counter COMPACTED_SEGMENTS = "sherd_compacted_segments_total" ["node"] "Shard segments emptied and recycled.";
    counter COMPACTED_BYTES = "sherd_compacted_bytes_total" ["node"] "Bytes of live chunks moved by compaction.";
    gauge DRIVE_FREE_BYTES = "sherd_drive_free_bytes" ["node"] "Free bytes of the drive's file system.";
    gauge DRIVE_TOTAL_BYTES = "sherd_drive_total_bytes" ["node"] "Size of the drive's file system in bytes, without what it keeps for root.";
    gauge STORED_BYTES = "sherd_stored_bytes" [] "Bytes of all versions of all objects of the store, as clients count them; measured every hour.";
    gauge GROWTH = "sherd_growth_bytes_per_day" [] "Growth of the stored bytes a day, over at most the last week; negative if the store shrinks. Absent until a day has been measured.";
    gauge USABLE_BYTES = "sherd_usable_bytes" [] "Bytes of new objects that the store has room for, after redundancy.";
    gauge FULL_IN_SECONDS = "sherd_full_in_seconds" [] "Time until the store is full, at the growth of the last week; -1 if that is unknown or the store does not grow.";
    gauge DRIVE_UP = "sherd_drive_up" ["node"] "1 while the drive is in service.";
    gauge DRIVE_FULL = "sherd_drive_full" ["node"] "1 while a drive takes no new shards because it lacks room.";
    gauge DRIVE_WRITABLE = "sherd_drive_writable" ["node"] "1 while a drive in service takes writes; 0 while it only serves reads.";
    gauge RAFT_TERM = "sherd_raft_term" [] "Raft term.";
    gauge RAFT_IS_LEADER = "sherd_raft_is_leader" [] "1 while this host leads the Raft group and a majority follows it.";
    gauge RAFT_INDEX = "sherd_raft_index" ["position"] "Raft log positions: last, committed, applied, snapshot, purged.";
    gauge CLOCK_CONFIRMED = "sherd_clock_confirmed" [] "1 once there is a confirmed time, by which locks end and objects expire.";
    gauge CLOCK_AHEAD = "sherd_clock_ahead_seconds" [] "How far this host's clock is ahead of the confirmed time; negative if it is behind.";
    gauge CLOCK_AHEAD_OF_HOSTS = "sherd_clock_ahead_of_hosts_seconds" [] "How far this host's clock is ahead of the median of the hosts' clocks; negative if it is behind.";
    latency PROPOSAL_SECONDS = "sherd_raft_proposal_seconds" [] "Time from a proposal to its reply.";
    batch PROPOSAL_BATCH = "sherd_raft_batch_commands" [] "Commands in one Raft entry.";
    counter PROPOSALS_FAILED = "sherd_raft_proposals_failed_total" ["why"] "Proposals that were not decided.";
    gauge REPLICAS = "sherd_raft_replicas" ["state"] "Replicas of the metadata on other hosts, compared with this host's: same, differing, or unknown.";
    gauge REPLICA_STOPPED = "sherd_raft_replica_stopped" [] "1 while the replica of this host has stopped; its log has the reason.";
    gauge MIRROR_FAILED = "sherd_raft_mirror_failed" ["node"] "1 while the copy of the Raft log on this drive has failed, though another drive may have taken its place.";
    gauge MIRROR_COPIES = "sherd_raft_mirror_copies" ["state"] "Copies of the Raft log on this host's drives: live, and wanted.";
    counter POOL_EVENTS = "sherd_pool_events_total" ["event"] "Connection pool: hit (of a connection to another host), miss, dial, eviction.";
    gauge POOL_CONNECTIONS = "sherd_pool_connections_active" [] "Connections to peers that are open.";
    gauge POOL_STREAMS = "sherd_pool_streams_active" [] "Requests to other hosts under way.";
    counter NET_SENT_BYTES = "sherd_net_sent_bytes_total" ["peer"] "Bytes of frames sent to a host.";
    counter NET_RECEIVED_BYTES = "sherd_net_received_bytes_total" ["peer"] "Bytes of frames received from a host.";
    latency NET_ROUND_TRIP_SECONDS = "sherd_net_round_trip_seconds" ["peer"] "Time from a request's first byte to its answer's header.";
    gauge ABSENT_DRIVES = "sherd_drives_absent" [] "Drives of the whole cluster that do not serve (including those of hosts that are down), or that are new and not yet compared with the metadata.";
    gauge MISSING_SHARDS = "sherd_missing_shards" [] "Shards of the whole cluster that are missing: queued for repair, or on drives that do not serve or are being filled; at most, until all blobs are counted.";
    gauge UNDER_REPLICATED_OBJECTS = "sherd_under_replicated_objects" [] "Objects, and parts of objects, of the whole cluster with at least one missing shard; at most, until all blobs are counted.";
    gauge HEALTH_LEVEL = "sherd_health_level" [] "The verdict of health: 0 ok, 1 degraded, 2 at risk, 3 unavailable, which it is while the host starts, too.";
    gauge BLOBS_WITHOUT_SPARE = "sherd_objects_without_spare" [] "Objects, and parts of objects, of the whole cluster that lack shards and have none to spare, as counted so far.";
    gauge BLOBS_UNREADABLE = "sherd_objects_unreadable" [] "Objects, and parts of objects, of the whole cluster that cannot be read now, as counted so far.";
    gauge UNCOMPARED_SHARDS = "sherd_uncompared_shards" [] "Shards on drives that serve but have not been compared with the metadata since their host started.";
    gauge LOSSES_SURVIVED = "sherd_losses_survived" ["kind"] "How many drives, or hosts, may be lost now without losing data.";
    gauge LOSSES_SERVED = "sherd_losses_served" ["kind"] "How many drives, or hosts, may be lost now without refusing requests.";
    gauge CORRUPT_CHUNKS = "sherd_corrupt_chunks" [] "Chunks on this host's drives that failed their checksum and are not yet rewritten.";
    gauge ORPHANED_SHARDS = "sherd_orphaned_shards" [] "Shards on this host's drives that nothing refers to and that are not yet dropped, as the last comparison found.";
    gauge REPAIRS_LOCAL = "sherd_repairs_local" [] "Of the queued repairs, those of this host's drives.";
    gauge REPAIRS_ACTIVE = "sherd_repairs_active" [] "Repairs under way on this host.";
    gauge REPAIR_SECONDS_LEFT = "sherd_repair_left_seconds" [] "Time until this host's drives are whole, at the speed of the last minute; -1 if repairs make no progress.";
    gauge SCRUB_PERMILLE = "sherd_scrub_done_permille" ["node"] "How far the pass over all chunks of a drive is, in thousandths; 1000 between passes.";
    gauge SCRUBBED_AT = "sherd_scrub_finished_seconds" ["node"] "When the last pass over all chunks of a drive ended, in seconds since 1970; 0 before the first.";
    counter SCRUBBED_BYTES = "sherd_scrubbed_bytes_total" ["node"] "Bytes of chunks, and of the metadata log and its snapshots, read and verified by scrub.";
    counter REPAIRS_DONE = "sherd_repairs_done_total" ["result"] "Shard repairs finished, by result.";
    counter REPAIRED_BYTES = "sherd_repaired_bytes_total" ["node"] "Bytes of rebuilt chunks written to a drive.";
    gauge COMPARISONS_DUE = "sherd_comparisons_due" [] "Drives that are still to be compared with the metadata, and so may lack shards.";
    counter SHARDS_COMPARED = "sherd_shards_compared_total" ["node"] "Shards of a drive compared with the metadata.";
    counter ORPHANS_DROPPED = "sherd_orphan_shards_dropped_total" ["node"] "Shards of unknown blobs that were dropped.";
    counter SHARDS_MOVED = "sherd_shards_moved_total" ["node"] "Shards moved to a drive because the layout changed.";
    counter MOVED_BYTES = "sherd_moved_bytes_total" ["node"] "Bytes of shards copied to a drive to be moved there.";
    gauge SHARDS_TO_MOVE = "sherd_shards_to_move" ["state"] "Shards that belong on this host by the layout and are elsewhere: left, and of these waiting for a drive.";
    gauge BYTES_TO_MOVE = "sherd_bytes_to_move" [] "Bytes of the shards that belong on this host by the layout and are elsewhere.";
    gauge GARBAGE_BLOBS = "sherd_garbage_blobs" [] "Blobs waiting for their shards to be dropped, reported by the leader, 0 on other hosts.";
    counter EVENTS_DELIVERED = "sherd_events_delivered_total" ["webhook"] "Events that a webhook accepted.";
    counter EVENTS_FAILED = "sherd_event_deliveries_failed_total" ["webhook"] "Failed attempts to send an event to a webhook.";
    counter EVENTS_DROPPED = "sherd_events_dropped_total" ["webhook", "why"] "Events that a webhook did not get: it was too far behind, it refused them, or they were unreadable.";
    gauge EVENTS_BEHIND = "sherd_events_behind" ["webhook"] "Events in the queue of a webhook from the oldest undelivered one on; reported by the leader, 0 on other hosts.";
    latency EVENT_SECONDS = "sherd_event_delivery_seconds" ["webhook"] "Time of one attempt to send an event to a webhook.";
    counter ACCESS_LOG_LINES = "sherd_access_log_lines_total" ["result"] "Lines of access logs: kept, or dropped because too many waited.";
    counter ACCESS_LOGS = "sherd_access_logs_total" ["result"] "Objects of access logs: written, or dropped after attempts that failed.";
    counter AUDIT_LINES = "sherd_audit_lines_total" ["destination", "result"] "Lines of the audit log: written, or lost, because too many waited or the destination refused them.";
    counter AUDIT_FAILURES = "sherd_audit_failures_total" ["destination"] "Attempts to write lines of the audit log that failed, and each 15 seconds of one that has no answer; the lines wait.";
    gauge AUDIT_WAITING = "sherd_audit_waiting_lines" ["destination"] "Lines of the audit log that wait to be written.";
    counter TRACE_SPANS = "sherd_trace_spans_total" ["result"] "Spans of traces: exported to the collector, or dropped, because too many waited or the collector did not take them.";
    counter TRACE_FAILURES = "sherd_trace_export_failures_total" [] "Attempts to send spans to the collector that failed.";
    counter LIFECYCLE_EXPIRED = "sherd_lifecycle_expired_total" ["what"] "Things removed by lifecycle rules: object (a current one, for good or by a delete marker), version, marker, upload.";
    counter LIFECYCLE_SWEEPS = "sherd_lifecycle_sweeps_total" [] "Complete passes over all buckets with lifecycle rules by this host while it led.";
}

fn register<T: prometheus::core::Collector + Clone + 'static>(made: prometheus::Result<T>) -> T {
    let metric = made.expect("a metric's name and labels are well formed");
    REGISTRY.register(Box::new(metric.clone())).expect("a metric's name is used once");
    metric
}

/// Returns all metrics in the text format of Prometheus.
pub fn render() -> Vec<u8> {
    let mut text = Vec::new();
    if let Err(error) = TextEncoder::new().encode(&REGISTRY.gather(), &mut text) {
        tracing::error!(%error, "metrics could not be encoded");
    }
    text
}

#[cfg(test)]
mod tests;
