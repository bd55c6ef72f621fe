//! `LogCollector`: batches the lines of access logs by the object that they will be written to. Decides when a batch is
//! due and names its object. Also the content of a bucket's logging document (`LoggingRules`). Pure.

use crate::actors::events::Report;
use crate::types::UnixMs;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use time::OffsetDateTime;

/// The memory that a batch is counted for in addition to its lines.
const BATCH_BYTES: usize = 1024;

/// The content of a bucket's logging document.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LoggingRules {
    pub target_bucket: String,
    pub target_prefix: String,
    /// The configured format of keys; `None` means the simple one.
    #[serde(default)]
    pub key_format: Option<LogKeyFormat>,
    /// The grants to others than the owner of the target bucket.
    #[serde(default)]
    pub grants: Vec<LogGrant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum LogKeyFormat {
    /// `[prefix][YYYY]-[MM]-[DD]-[hh]-[mm]-[ss]-[unique]`
    Simple,
    /// `[prefix][account]/[region]/[bucket]/[YYYY]/[MM]/[DD]/[YYYY]-[MM]-[DD]-[hh]-[mm]-[ss]-[unique]`, with the day of
    /// the requests and a time of 00-00-00.
    PartitionedByEvent,
    /// The same, with the time at which the object is written. S3's default for partitioned keys.
    PartitionedByDelivery,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LogGrant {
    pub grantee: LogGrantee,
    pub permission: LogPermission,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum LogGrantee {
    Canonical { id: String, display_name: Option<String> },
    Email(String),
    Group(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum LogPermission {
    FullControl,
    Read,
    Write,
}

/// The destination of a line, and the bucket of its request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogDestination {
    pub rules: LoggingRules,
    pub source_bucket: String,
    pub source_account: String,
    pub source_region: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLimits {
    /// The size at which a batch is due.
    pub object_bytes_max: usize,
    /// The age of its first line at which a batch is due.
    pub age_max: Duration,
    /// The bound of all lines in memory, including those that are being written.
    pub held_bytes_max: usize,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self { object_bytes_max: 5_000_000, age_max: Duration::from_secs(300), held_bytes_max: 32 << 20 }
    }
}

/// The result of `LogCollector::gather`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gathered {
    Kept,
    /// The line is kept, and its batch is due by its size.
    Full,
    /// The line is dropped for lack of room.
    Dropped,
}

#[derive(Debug)]
pub struct LogCollector {
    limits: LogLimits,
    /// The batches, by destination and, with `PartitionedByEvent`, the day of the requests (days since 1970).
    batches: BTreeMap<(LogDestination, Option<u64>), Batch>,
    held_bytes: usize,
}

#[derive(Debug)]
struct Batch {
    lines: Vec<u8>,
    since: Duration,
}

impl LogCollector {
    pub fn new(limits: LogLimits) -> Self {
        Self { limits, batches: BTreeMap::new(), held_bytes: 0 }
    }

    pub fn limits(&self) -> LogLimits {
        self.limits
    }

    /// Returns the bytes that count as held: batches, and lines that were taken and not yet released.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Adds a line of a request that arrived at `at`. Drops the line if the memory bound is reached.
    pub fn gather(&mut self, destination: LogDestination, at: UnixMs, line: &str, now: Duration) -> Gathered {
        let by_event = destination.rules.key_format == Some(LogKeyFormat::PartitionedByEvent);
        let key = (destination, by_event.then_some(at.0 / 86_400_000));
        let known = self.batches.get(&key);
        let bytes = line.len() + if known.is_some() { 0 } else { BATCH_BYTES };
        if self.held_bytes + bytes > self.limits.held_bytes_max {
            return Gathered::Dropped;
        }
        self.held_bytes += bytes;
        let batch = self.batches.entry(key).or_insert(Batch { lines: Vec::new(), since: now });
        batch.lines.extend_from_slice(line.as_bytes());
        if batch.lines.len() >= self.limits.object_bytes_max { Gathered::Full } else { Gathered::Kept }
    }

    /// Removes the batches that are due, or all of them if `all` is set, and returns their objects. Their lines count
    /// as held until `release`.
    pub fn take_due(
        &mut self,
        now: Duration,
        at: UnixMs,
        all: bool,
        mut unique: impl FnMut() -> String,
    ) -> Vec<Report> {
        let limits = self.limits;
        let is_due = |batch: &Batch| {
            all || batch.lines.len() >= limits.object_bytes_max || now.saturating_sub(batch.since) >= limits.age_max
        };
        let due: Vec<_> = self.batches.extract_if(.., |_, batch| is_due(batch)).collect();
        self.held_bytes -= due.len() * BATCH_BYTES;
        let report = |((destination, day), batch): ((LogDestination, Option<u64>), Batch)| Report {
            key: object_key(&destination, day, at, &unique()),
            bucket: destination.rules.target_bucket,
            content_type: "text/plain",
            body: batch.lines.into(),
            grants: destination.rules.grants,
        };
        due.into_iter().map(report).collect()
    }

    /// Releases this number of bytes of lines that were written or dropped.
    pub fn release(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.held_bytes, "only what is held is released");
        self.held_bytes = self.held_bytes.saturating_sub(bytes);
    }
}

fn object_key(destination: &LogDestination, day: Option<u64>, at: UnixMs, unique: &str) -> String {
    let prefix = &destination.rules.target_prefix;
    // The day of the requests if keys are partitioned by it, else the time of writing.
    let seconds = day.map_or(at.0 / 1000, |day| day * 86_400);
    let time = i64::try_from(seconds).ok().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    let time = time.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (year, month, day_of_month) = (time.year(), u8::from(time.month()), time.day());
    let (hour, minute, second) = time.to_hms();
    let name = format!("{year:04}-{month:02}-{day_of_month:02}-{hour:02}-{minute:02}-{second:02}-{unique}");
    match destination.rules.key_format {
        None | Some(LogKeyFormat::Simple) => format!("{prefix}{name}"),
        Some(LogKeyFormat::PartitionedByEvent | LogKeyFormat::PartitionedByDelivery) => {
            let LogDestination { source_account, source_region, source_bucket, .. } = destination;
            let day = format!("{year:04}/{month:02}/{day_of_month:02}");
            format!("{prefix}{source_account}/{source_region}/{source_bucket}/{day}/{name}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BATCH_BYTES, Gathered, LogCollector, LogDestination, LogKeyFormat, LogLimits, LoggingRules};
    use crate::types::UnixMs;
    use std::time::Duration;

    const AT: UnixMs = UnixMs(1_549_411_238_000);
    const SECOND: Duration = Duration::from_secs(1);

    fn destination(prefix: &str, key_format: Option<LogKeyFormat>) -> LogDestination {
        LogDestination {
            rules: LoggingRules {
                target_bucket: "logs".to_owned(),
                target_prefix: prefix.to_owned(),
                key_format,
                grants: vec![],
            },
            source_bucket: "source".to_owned(),
            source_account: "123456789012".to_owned(),
            source_region: "us-west-2".to_owned(),
        }
    }

    fn collector() -> LogCollector {
        LogCollector::new(LogLimits { object_bytes_max: 100, age_max: 10 * SECOND, held_bytes_max: 3 * BATCH_BYTES })
    }

    fn keys(collector: &mut LogCollector, now: Duration, all: bool) -> Vec<String> {
        collector.take_due(now, AT, all, || "U".to_owned()).into_iter().map(|report| report.key).collect()
    }

    #[test]
    fn access_log_lines_are_due_by_size_or_by_age() {
        let mut collector = collector();
        let simple = || destination("a/", None);
        assert_eq!(collector.gather(simple(), AT, "one\n", SECOND), Gathered::Kept);
        assert_eq!(collector.gather(simple(), AT, "two\n", 9 * SECOND), Gathered::Kept);
        assert!(keys(&mut collector, 10 * SECOND, false).is_empty());
        let due = collector.take_due(11 * SECOND, AT, false, || "U".to_owned());
        assert_eq!((due[0].bucket.as_str(), &due[0].body[..]), ("logs", &b"one\ntwo\n"[..]));
        assert_eq!(due[0].key, "a/2019-02-06-00-00-38-U");
        assert_eq!(collector.held_bytes(), 8);
        collector.release(8);
        assert_eq!(collector.held_bytes(), 0);
        let long = "x".repeat(100);
        assert_eq!(collector.gather(simple(), AT, &long, 20 * SECOND), Gathered::Full);
        assert_eq!(keys(&mut collector, 20 * SECOND, false).len(), 1);
    }

    #[test]
    fn access_log_keys_have_the_configured_format() {
        let key = |format| {
            let mut collector = collector();
            collector.gather(destination("p/", format), AT, "x\n", SECOND);
            keys(&mut collector, SECOND, true).remove(0)
        };
        assert_eq!(key(Some(LogKeyFormat::Simple)), "p/2019-02-06-00-00-38-U");
        let day = "p/123456789012/us-west-2/source/2019/02/06/2019-02-06";
        assert_eq!(key(Some(LogKeyFormat::PartitionedByDelivery)), format!("{day}-00-00-38-U"));
        assert_eq!(key(Some(LogKeyFormat::PartitionedByEvent)), format!("{day}-00-00-00-U"));
    }

    #[test]
    fn partitioning_by_event_time_writes_an_access_log_for_each_day() {
        let mut collector = collector();
        let yesterday = UnixMs(AT.0 - 39_000);
        for at in [AT, yesterday] {
            let by_day = destination("", Some(LogKeyFormat::PartitionedByEvent));
            collector.gather(by_day, at, "x\n", SECOND);
        }
        assert_eq!(keys(&mut collector, SECOND, true).len(), 2);
    }

    #[test]
    fn access_log_lines_in_memory_are_bounded_until_written() {
        let mut collector = collector();
        let line = "x".repeat(BATCH_BYTES);
        assert_eq!(collector.gather(destination("a", None), AT, &line, SECOND), Gathered::Full);
        assert_eq!(collector.gather(destination("b", None), AT, &line, SECOND), Gathered::Dropped);
        assert_eq!(keys(&mut collector, SECOND, false).len(), 1);
        assert_eq!(collector.gather(destination("b", None), AT, &line, SECOND), Gathered::Full, "a batch less");
        assert_eq!(collector.gather(destination("c", None), AT, "x", SECOND), Gathered::Dropped);
        collector.release(BATCH_BYTES);
        assert_eq!(collector.gather(destination("c", None), AT, "", SECOND), Gathered::Kept);
    }

    #[test]
    fn the_encoding_of_logging_rules_is_stable() {
        let stored = concat!(
            r#"{"target_bucket":"logs","target_prefix":"p/","key_format":"PartitionedByEvent","grants":["#,
            r#"{"grantee":{"Canonical":{"id":"i","display_name":null}},"permission":"FullControl"},"#,
            r#"{"grantee":{"Group":"g"},"permission":"Read"}]}"#
        );
        let rules: LoggingRules = serde_json::from_str(stored).expect("rules");
        assert_eq!(serde_json::to_string(&rules).expect("JSON"), stored);
    }
}
