//! Tests of `AccessLogger` over a store in memory.

use super::sender::LineRoom;
use super::{AccessLogger, Flush, LineSender, LogDestination, LogLimits, LogRequest, LoggingRules, Stop};
use crate::actors::events::tests::ambient;
use crate::actors::events::{Report, ReportError, ReportStore};
use crate::types::UnixMs;
use actix::Addr;
use async_trait::async_trait;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A store that keeps its reports, after the next `failures` writes have failed.
#[derive(Debug, Default)]
struct Kept {
    reports: Mutex<Vec<Report>>,
    failures: AtomicU32,
}

#[async_trait]
impl ReportStore for Kept {
    async fn put(&self, report: &Report) -> Result<(), ReportError> {
        let failing = self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if failing.is_ok() {
            return Err(ReportError { why: "not now".to_owned() });
        }
        self.reports.lock().expect("no panic while it is held").push(report.clone());
        Ok(())
    }
}

fn start(store: &Arc<Kept>) -> Addr<AccessLogger> {
    start_with_retry_after(store, Duration::from_millis(1))
}

fn start_with_retry_after(store: &Arc<Kept>, retry_after: Duration) -> Addr<AccessLogger> {
    let limits = LogLimits { object_bytes_max: 20, age_max: Duration::from_secs(300), held_bytes_max: 1 << 20 };
    let mut logger = AccessLogger::new(Arc::clone(store) as _, ambient().1, limits);
    logger.retry_after = retry_after;
    logger.start()
}

fn destination(prefix: &str) -> Arc<LogDestination> {
    let rules = LoggingRules {
        target_bucket: "logs".to_owned(),
        target_prefix: prefix.to_owned(),
        key_format: None,
        grants: vec![],
    };
    Arc::new(LogDestination {
        rules,
        owner: "o".to_owned(),
        source_bucket: "b".to_owned(),
        source_account: "1".to_owned(),
        source_region: "r".to_owned(),
    })
}

fn line(prefix: &str, text: &str) -> LogRequest {
    let destination = destination(prefix);
    let room = LineRoom::take(&Arc::default(), &destination, text.len()).expect("there is room");
    LogRequest { destination, at: UnixMs(0), line: text.to_owned(), room }
}

#[actix::test]
async fn access_log_lines_are_held_until_full_or_flushed() {
    let store = Arc::new(Kept::default());
    let logger = start(&store);
    logger.send(line("a/", "one\n")).await.expect("it runs");
    logger.send(line("b/", "other\n")).await.expect("it runs");
    assert!(store.reports.lock().expect("no panic while it is held").is_empty());
    logger.send(line("a/", "two, and now it is long\n")).await.expect("it runs");
    logger.send(Flush).await.expect("it runs");
    let reports = store.reports.lock().expect("no panic while it is held").clone();
    let bodies: Vec<&[u8]> = reports.iter().map(|report| &report.body[..]).collect();
    assert_eq!(bodies, [&b"one\ntwo, and now it is long\n"[..], b"other\n"]);
    assert!(reports[0].key.starts_with("a/1970-01-01-00-00-00-"), "{}", reports[0].key);
    assert_ne!(reports[0].key[21..], reports[1].key[21..], "names are unique");
}

#[actix::test]
async fn a_failing_access_log_object_is_retried_and_dropped_at_last() {
    let store = Arc::new(Kept::default());
    store.failures.store(2, Ordering::SeqCst);
    let logger = start(&store);
    logger.send(line("a/", "one\n")).await.expect("it runs");
    logger.send(Flush).await.expect("it runs");
    assert_eq!(store.reports.lock().expect("no panic while it is held").len(), 1);
    store.failures.store(super::ATTEMPTS_MAX, Ordering::SeqCst);
    logger.send(line("a/", "lost\n")).await.expect("it runs");
    logger.send(Flush).await.expect("it runs");
    assert_eq!(store.reports.lock().expect("no panic while it is held").len(), 1);
    logger.send(line("a/", "kept\n")).await.expect("it runs");
    logger.send(Stop).await.expect("it runs");
    assert_eq!(store.reports.lock().expect("no panic while it is held").len(), 2);
    assert!(!logger.connected());
}

#[actix::test]
async fn an_access_log_object_that_cannot_be_written_does_not_hold_up_others() {
    let store = Arc::new(Kept::default());
    store.failures.store(1, Ordering::SeqCst);
    let logger = start_with_retry_after(&store, Duration::from_secs(3600));
    for prefix in ["a/", "b/"] {
        logger.send(line(prefix, "this is long enough for an object\n")).await.expect("it runs");
    }
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while store.reports.lock().expect("no panic while it is held").is_empty() {
        assert!(std::time::Instant::now() < deadline, "the other object is not written");
        actix::clock::sleep(Duration::from_millis(5)).await;
    }
}

#[actix::test]
async fn lines_that_come_before_the_logger_runs_are_kept() {
    let store = Arc::new(Kept::default());
    let logger = start(&store);
    // The actor does not run until this test waits.
    for _ in 0..1000 {
        assert!(logger.try_send(line("a/", "x\n")).is_ok(), "there is room in the mailbox");
    }
    logger.send(Flush).await.expect("it runs");
    let reports = store.reports.lock().expect("no panic while it is held").clone();
    let lines = reports.iter().flat_map(|report| report.body.iter()).filter(|byte| **byte == b'\n').count();
    assert_eq!(lines, 1000);
}

#[actix::test]
async fn access_log_lines_on_their_way_are_bounded_in_bytes() {
    let store = Arc::new(Kept::default());
    let logger = start(&store);
    let sender = LineSender::new(logger.clone());
    let shared = destination("a/");
    let send = |sender: &LineSender| sender.send(&shared, UnixMs(0), "x".repeat(1 << 20));
    // The actor does not run until this test waits.
    assert_eq!((0..4096).take_while(|_| send(&sender)).count(), 7, "less than 8 MiB, with their destinations");
    assert!(!send(&sender.clone()), "a clone shares the room");
    logger.send(Flush).await.expect("it runs");
    assert_eq!((0..4096).take_while(|_| send(&sender)).count(), 7, "lines that were handled leave their room");
    logger.send(Flush).await.expect("it runs");
    let large = destination(&"a".repeat(1 << 20));
    let sent = (0..100).take_while(|_| sender.send(&large, UnixMs(0), String::new())).count();
    assert_eq!(sent, 100, "a destination counts once, however many lines are for it");
    let other = || destination(&"b".repeat(1 << 20));
    assert!((0..100).take_while(|_| sender.send(&other(), UnixMs(0), String::new())).count() < 8, "each counts");
}
