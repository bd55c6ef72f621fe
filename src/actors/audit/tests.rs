//! Tests of `AuditLogger` over a sink that fails on demand.

use super::{AuditSender, AuditSink, LineKind, Settled, WebhookSink};
use crate::actors::events::{EventSink, Message, SinkFault};
use crate::limits::AUDIT_LINES_MAX;
use crate::metrics::{AUDIT_FAILURES, AUDIT_LINES, AUDIT_WAITING};
use async_trait::async_trait;
use bytes::Bytes;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// A sink that keeps its lines. Each attempt takes a permit of `attempts`. While `broken` is set, an attempt writes one
/// line and fails.
#[derive(Debug)]
struct Kept {
    lines: Mutex<Vec<Bytes>>,
    attempts: Semaphore,
    broken: AtomicBool,
    reopened: AtomicUsize,
}

impl Kept {
    fn new(broken: bool) -> Arc<Self> {
        let attempts = Semaphore::new(Semaphore::MAX_PERMITS);
        Arc::new(Self { lines: Mutex::default(), attempts, broken: broken.into(), reopened: AtomicUsize::new(0) })
    }

    fn numbers(&self) -> Vec<usize> {
        let lines = self.lines.lock().expect("no panic while it is held");
        lines.iter().map(|line| String::from_utf8_lossy(line).trim().parse().expect("a number")).collect()
    }
}

#[async_trait]
impl AuditSink for Kept {
    async fn write(&self, lines: &[Bytes]) -> Settled {
        self.attempts.acquire().await.expect("it stays open").forget();
        let broken = self.broken.load(Ordering::SeqCst);
        let written = if broken { &lines[..1.min(lines.len())] } else { lines };
        self.lines.lock().expect("no panic while it is held").extend(written.iter().cloned());
        Settled { written: written.len(), refused: 0, fault: broken.then(|| "no space left".to_owned()) }
    }

    async fn reopen(&self) -> Result<(), String> {
        self.reopened.fetch_add(1, Ordering::SeqCst);
        if self.broken.load(Ordering::SeqCst) { Err("it is a directory".to_owned()) } else { Ok(()) }
    }
}

fn line(number: usize) -> Bytes {
    Bytes::from(format!("{number}\n"))
}

fn lost(destination: &str) -> u64 {
    AUDIT_LINES.with_label_values(&[destination, "lost"]).get()
}

/// Lets the actor run until the condition holds.
async fn until(what: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !what() {
        assert!(Instant::now() < end, "it does not come true");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[actix::test]
async fn a_destination_of_the_audit_log_that_never_answers_counts_as_failing() {
    let sink = Kept::new(false);
    sink.attempts.forget_permits(Semaphore::MAX_PERMITS);
    let sender = AuditSender::start_with("hanging", Arc::clone(&sink) as _, Duration::from_millis(1));
    let failures = || AUDIT_FAILURES.with_label_values(&["hanging"]).get();
    sender.append(line(1), LineKind::Root);
    until(|| failures() >= 2).await;
    sink.attempts.add_permits(1);
    until(|| sink.numbers() == [1]).await;
}

#[actix::test]
async fn audit_lines_are_written_in_order_and_all_before_the_logger_stops() {
    let sink = Kept::new(false);
    let sender = AuditSender::start("in order", Arc::clone(&sink) as _);
    (0..1000).for_each(|number| sender.append(line(number), LineKind::Root));
    sender.stop().await;
    assert_eq!(sink.numbers(), (0..1000).collect::<Vec<_>>());
    assert_eq!(AUDIT_LINES.with_label_values(&["in order", "written"]).get(), 1000);
    assert_eq!((lost("in order"), AUDIT_WAITING.with_label_values(&["in order"]).get()), (0, 0));
}

#[actix::test]
async fn a_failing_audit_sink_is_retried_from_its_first_unwritten_line() {
    let sink = Kept::new(true);
    let sender = AuditSender::start_with("failing", Arc::clone(&sink) as _, Duration::from_millis(1));
    (0..10).for_each(|number| sender.append(line(number), LineKind::Root));
    until(|| sink.numbers().len() >= 3).await;
    assert!(AUDIT_FAILURES.with_label_values(&["failing"]).get() >= 2);
    sink.broken.store(false, Ordering::SeqCst);
    until(|| sink.numbers().len() == 10).await;
    sender.stop().await;
    assert_eq!(sink.numbers(), (0..10).collect::<Vec<_>>());
    assert_eq!(lost("failing"), 0);
}

#[actix::test]
async fn audit_lines_lost_to_a_full_queue_or_at_the_stop_are_counted() {
    let sink = Kept::new(false);
    sink.attempts.forget_permits(Semaphore::MAX_PERMITS);
    let sender = AuditSender::start_with("full", Arc::clone(&sink) as _, Duration::from_millis(1));
    let waiting = || AUDIT_WAITING.with_label_values(&["full"]).get() as usize;
    let fill = async |kind, until_waiting: usize| {
        for number in 0..until_waiting - waiting() {
            sender.append(line(number), kind);
            if number % 100 == 0 {
                tokio::task::yield_now().await;
            }
        }
        until(|| waiting() == until_waiting).await;
    };
    fill(LineKind::Denial, AUDIT_LINES_MAX / 2).await;
    assert_eq!(lost("full"), 0);
    sender.append(line(1), LineKind::Denial);
    until(|| lost("full") == 1).await;
    fill(LineKind::Root, AUDIT_LINES_MAX).await;
    assert_eq!(lost("full"), 1, "calls may use the half that denials may not");
    sender.append(line(2), LineKind::Root);
    until(|| lost("full") == 2).await;
    sink.broken.store(true, Ordering::SeqCst);
    sink.attempts.add_permits(1);
    until(|| AUDIT_LINES.with_label_values(&["full", "written"]).get() == 1).await;
    sink.attempts.add_permits(1000);
    sender.stop().await;
    let written = AUDIT_LINES.with_label_values(&["full", "written"]).get();
    assert_eq!(written + lost("full"), AUDIT_LINES_MAX as u64 + 2, "each line is either written or lost");
}

#[actix::test]
async fn reopen_opens_the_audit_sink_again_and_reports_a_failure() {
    let sink = Kept::new(false);
    let sender = AuditSender::start("reopened", Arc::clone(&sink) as _);
    assert_eq!(sender.reopen().await, Ok(()));
    sink.broken.store(true, Ordering::SeqCst);
    assert_eq!(sender.reopen().await, Err("it is a directory".to_owned()));
    assert_eq!(sink.reopened.load(Ordering::SeqCst), 2);
}

/// A webhook that by turns accepts a message, refuses one, and cannot be reached.
#[derive(Debug, Default)]
struct Hook {
    messages: Mutex<Vec<Message>>,
}

#[async_trait]
impl EventSink for Hook {
    async fn send(&self, message: &Message) -> Result<(), SinkFault> {
        let mut messages = self.messages.lock().expect("no panic while it is held");
        messages.push(message.clone());
        match messages.len() % 3 {
            1 => Ok(()),
            2 => Err(SinkFault::Refused { why: "it answers 400".to_owned() }),
            _ => Err(SinkFault::Unreachable { why: "it answers 503".to_owned() }),
        }
    }
}

#[actix::test]
async fn an_audit_webhook_gets_one_message_per_line_and_no_refused_line_twice() {
    let hook = Arc::new(Hook::default());
    let sink = WebhookSink::new(Arc::clone(&hook) as _, "host".to_owned());
    let lines: Vec<Bytes> =
        ["A", "B", "C", "D"].iter().map(|id| Bytes::from(format!("{{\"id\":\"{id}\"}}\n"))).collect();
    let fault = Some("it cannot be reached or takes no messages: it answers 503".to_owned());
    assert_eq!(sink.write(&lines).await, Settled { written: 1, ..Settled::default() });
    assert_eq!(sink.write(&lines[1..]).await, Settled { refused: 1, ..Settled::default() });
    assert_eq!(sink.write(&lines[2..]).await, Settled { fault, ..Settled::default() });
    let messages = hook.messages.lock().expect("no panic while it is held");
    assert_eq!(messages.iter().map(|message| message.id.as_str()).collect::<Vec<_>>(), ["host-A", "host-B", "host-C"]);
    assert_eq!(messages[0].body, lines[0]);
}
