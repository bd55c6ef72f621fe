//! `LogCollector`: batches the lines of access logs by the object that they will be written to. Decides when a batch is
//! due and names its object. Also the content of a bucket's logging document (`LoggingRules`). Pure.

use crate::actors::events::Report;
use crate::types::UnixMs;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;

/// The memory that a batch is counted for in addition to its lines and its destination.
const BATCH_BYTES: usize = 1024;
/// The part of the memory that lines about any bucket may take; and the part that those about one bucket, or about the
/// buckets of one account, may take beyond it. So nobody's requests use up the room for lines about others.
const FREE_FOR_ALL: usize = 2;
const OF_ONE: usize = 8;

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
    /// The owner of both buckets.
    pub owner: String,
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
    /// The bound of all lines in memory, with their destinations, including those that are being written.
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
    batches: BTreeMap<(Arc<LogDestination>, Option<u64>), Batch>,
    held_bytes: usize,
    held_by: BTreeMap<Subject, usize>,
    /// The objects that are not written yet, by key.
    taken: BTreeMap<String, Taken>,
}

/// A subject of lines: the bucket of the requests, or its account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Account(String),
    Bucket(String),
}

impl LogDestination {
    fn subjects(&self) -> [Subject; 2] {
        [Subject::Account(self.source_account.clone()), Subject::Bucket(self.source_bucket.clone())]
    }

    /// Returns the size of the texts and grants. The prefix counts three times: an object's key begins with it, and is
    /// held twice.
    pub(super) fn bytes(&self) -> usize {
        let LogDestination { rules, owner, source_bucket, source_account, source_region } = self;
        let texts = [&rules.target_bucket, owner, source_bucket, source_account, source_region];
        let texts: usize = texts.into_iter().map(String::len).sum();
        texts + 3 * rules.target_prefix.len() + rules.grants.iter().map(LogGrant::bytes).sum::<usize>()
    }
}

impl LogGrant {
    fn bytes(&self) -> usize {
        let texts = match &self.grantee {
            LogGrantee::Canonical { id, display_name } => id.len() + display_name.as_ref().map_or(0, String::len),
            LogGrantee::Email(text) | LogGrantee::Group(text) => text.len(),
        };
        size_of::<Self>() + texts
    }
}

#[derive(Debug)]
struct Batch {
    lines: Vec<u8>,
    since: Duration,
}

/// An object that is not written yet: its subjects, and the bytes that it is counted for.
#[derive(Debug)]
struct Taken {
    subjects: [Subject; 2],
    bytes: usize,
}

impl LogCollector {
    pub fn new(limits: LogLimits) -> Self {
        Self { limits, batches: BTreeMap::new(), held_bytes: 0, held_by: BTreeMap::new(), taken: BTreeMap::new() }
    }

    pub fn limits(&self) -> LogLimits {
        self.limits
    }

    /// Returns the bytes that count as held: batches, and objects that were taken and not yet released.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Adds a line of a request that arrived at `at`. Drops the line if the memory bound, or its subject's part of it,
    /// is reached.
    pub fn gather(&mut self, destination: Arc<LogDestination>, at: UnixMs, line: &str, now: Duration) -> Gathered {
        let by_event = destination.rules.key_format == Some(LogKeyFormat::PartitionedByEvent);
        let subjects = destination.subjects();
        let key = (destination, by_event.then_some(at.0 / 86_400_000));
        let is_known = self.batches.contains_key(&key);
        let bytes = line.len() + if is_known { 0 } else { BATCH_BYTES + key.0.bytes() };
        if !self.has_room(&subjects, bytes) {
            return Gathered::Dropped;
        }
        self.hold(&subjects, bytes);
        let batch = self.batches.entry(key).or_insert(Batch { lines: Vec::new(), since: now });
        batch.lines.extend_from_slice(line.as_bytes());
        if batch.lines.len() >= self.limits.object_bytes_max { Gathered::Full } else { Gathered::Kept }
    }

    /// Removes the batches that are due, or all of them if `all` is set, and returns their objects, which count as held
    /// until `release`.
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
        let mut report = |((destination, day), batch): ((Arc<LogDestination>, Option<u64>), Batch)| {
            let key = object_key(&destination, day, at, &unique());
            let bytes = BATCH_BYTES + destination.bytes() + batch.lines.len();
            self.taken.insert(key.clone(), Taken { subjects: destination.subjects(), bytes });
            let LogDestination { rules, owner, .. } = Arc::unwrap_or_clone(destination);
            Report {
                key,
                bucket: rules.target_bucket,
                owner,
                content_type: "text/plain",
                body: batch.lines.into(),
                grants: rules.grants,
            }
        };
        due.into_iter().map(&mut report).collect()
    }

    /// Releases an object that was written or dropped.
    pub fn release(&mut self, report: &Report) {
        let taken = self.taken.remove(&report.key);
        debug_assert!(taken.is_some(), "only what is held is released");
        if let Some(Taken { subjects, bytes }) = taken {
            self.let_go(&subjects, bytes);
        }
    }

    fn has_room(&self, subjects: &[Subject], bytes: usize) -> bool {
        let (all, max) = (self.held_bytes + bytes, self.limits.held_bytes_max);
        let held_by = |subject| self.held_by.get(subject).copied().unwrap_or_default();
        let within = || subjects.iter().all(|subject| held_by(subject) + bytes <= max / OF_ONE);
        all <= max && (all <= max / FREE_FOR_ALL || within())
    }

    fn hold(&mut self, subjects: &[Subject], bytes: usize) {
        self.held_bytes += bytes;
        subjects.iter().for_each(|subject| *self.held_by.entry(subject.clone()).or_default() += bytes);
    }

    fn let_go(&mut self, subjects: &[Subject], bytes: usize) {
        self.held_bytes = self.held_bytes.saturating_sub(bytes);
        for subject in subjects {
            if let Some(held) = self.held_by.get_mut(subject) {
                *held = held.saturating_sub(bytes);
                if *held == 0 {
                    self.held_by.remove(subject);
                }
            }
        }
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
    use super::{
        BATCH_BYTES, Gathered, LogCollector, LogDestination, LogGrant, LogGrantee, LogKeyFormat, LogLimits,
        LogPermission, LoggingRules,
    };
    use crate::types::UnixMs;
    use std::sync::Arc;
    use std::time::Duration;

    const AT: UnixMs = UnixMs(1_549_411_238_000);
    const SECOND: Duration = Duration::from_secs(1);

    fn destination(prefix: &str, key_format: Option<LogKeyFormat>) -> Arc<LogDestination> {
        Arc::new(LogDestination {
            rules: LoggingRules {
                target_bucket: "logs".to_owned(),
                target_prefix: prefix.to_owned(),
                key_format,
                grants: vec![],
            },
            owner: "owner".to_owned(),
            source_bucket: "source".to_owned(),
            source_account: "123456789012".to_owned(),
            source_region: "us-west-2".to_owned(),
        })
    }

    fn collector() -> LogCollector {
        LogCollector::new(LogLimits { object_bytes_max: 100, age_max: 10 * SECOND, held_bytes_max: 5 * BATCH_BYTES })
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
        assert_eq!(collector.held_bytes(), 8 + BATCH_BYTES + simple().bytes());
        collector.release(&due[0]);
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
        let reports = collector.take_due(SECOND, AT, false, || "U".to_owned());
        assert_eq!(reports.len(), 1);
        assert_eq!(collector.held_bytes(), 2 * BATCH_BYTES + destination("a", None).bytes());
        assert_eq!(collector.gather(destination("c", None), AT, &line, SECOND), Gathered::Dropped);
        collector.release(&reports[0]);
        assert_eq!(collector.held_bytes(), 0);
        assert_eq!(collector.gather(destination("c", None), AT, &line, SECOND), Gathered::Full);
    }

    /// Each line is for another destination, whose grants are much larger than the line.
    #[test]
    fn the_grants_of_a_destination_count_with_its_access_log_lines() {
        let grantee_bytes = 60_000;
        let granted = |prefix: usize| {
            let grantee = LogGrantee::Group("g".repeat(grantee_bytes));
            let mut large = Arc::unwrap_or_clone(destination(&prefix.to_string(), None));
            large.rules.grants = vec![LogGrant { grantee, permission: LogPermission::Read }];
            large.source_account = prefix.to_string();
            large.source_bucket = prefix.to_string();
            Arc::new(large)
        };
        let limits = LogLimits { held_bytes_max: 1 << 20, ..collector().limits() };
        let mut collector = LogCollector::new(limits);
        let kept = |collector: &mut LogCollector| {
            (0..100).filter(|prefix| collector.gather(granted(*prefix), AT, "x\n", SECOND) != Gathered::Dropped).count()
        };
        let count = kept(&mut collector);
        assert!((8..=(1 << 20) / grantee_bytes).contains(&count), "{count}");
        let reports = collector.take_due(SECOND, AT, true, || "U".to_owned());
        assert_eq!((reports.len(), kept(&mut collector)), (count, 0), "they are held until they are written");
        reports.iter().for_each(|report| collector.release(report));
        assert_eq!((collector.held_bytes(), kept(&mut collector)), (0, count));
    }

    #[test]
    fn access_log_lines_about_one_account_leave_room_for_those_about_others() {
        let limits =
            LogLimits { object_bytes_max: usize::MAX, held_bytes_max: 64 * BATCH_BYTES, ..collector().limits() };
        let mut collector = LogCollector::new(limits);
        let line = "x".repeat(BATCH_BYTES);
        let mut fill = |bucket: usize, account: &str| {
            let about = Arc::new(LogDestination {
                source_bucket: format!("{account}-{bucket}"),
                source_account: account.to_owned(),
                ..Arc::unwrap_or_clone(destination("", None))
            });
            (0..1000).take_while(|_| collector.gather(about.clone(), AT, &line, SECOND) != Gathered::Dropped).count()
        };
        let of_one: usize = (0..12).map(|bucket| fill(bucket, "one")).sum();
        assert!((16..32).contains(&of_one), "one account has half, with the memory of its batches: {of_one}");
        assert_eq!(fill(0, "two"), 6, "an eighth, without the memory of its batch and its destination");
        assert_eq!(fill(1, "two"), 0);
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
