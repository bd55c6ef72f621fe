//! `TraceExporter`: sends the traces that wait to an OpenTelemetry collector, over OTLP (HTTP, JSON), on a thread of its
//! own. No request waits for it: while the collector is slow or away the queue fills up, and further traces are lost.
//!
//! A batch that fails is tried again when the collector says that it may be, or does not answer. What is lost is
//! counted. The first failure is logged with WARN, and further ones at most once in `WARN_EVERY`.

use crate::limits::{TRACE_BATCH_SPANS, TRACE_BATCH_WAIT_MAX};
use crate::metrics::{TRACE_FAILURES, TRACE_SPANS};
use crate::net::Poster;
use crate::traces::{Resource, SpanQueue, encode};
use async_trait::async_trait;
use std::fmt::Debug;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

/// The pauses before further attempts with the same batch.
const RETRY_AFTER: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(4)];
/// The shortest time between warnings of failures.
const WARN_EVERY: Duration = Duration::from_secs(60);
const HEADERS: [(&str, &str); 1] = [("Content-Type", "application/json")];

/// The collector.
#[async_trait]
pub trait SpanSink: Debug + Send + Sync + 'static {
    /// Sends a batch, and returns the status of the answer.
    async fn send(&self, body: &[u8]) -> Result<u16, String>;
}

#[async_trait]
impl SpanSink for Poster {
    async fn send(&self, body: &[u8]) -> Result<u16, String> {
        self.post(&HEADERS, body).await.map_err(|error| error.to_string())
    }
}

/// The running exporter.
#[derive(Debug)]
pub struct TraceExporter {
    queue: Arc<SpanQueue>,
    /// Closed when the exporter has ended.
    ended: oneshot::Receiver<()>,
}

impl TraceExporter {
    pub fn start(queue: Arc<SpanQueue>, sink: Arc<dyn SpanSink>, resource: Resource) -> io::Result<Self> {
        // Each series begins at 0: Prometheus shows an increase only of a series that existed before.
        for result in ["exported", "dropped"] {
            TRACE_SPANS.with_label_values(&[result]).inc_by(0);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (sender, ended) = oneshot::channel();
        let export = Export { queue: Arc::clone(&queue), sink, resource, failing: Failing::default() };
        std::thread::Builder::new().name("traces".to_owned()).spawn(move || {
            runtime.block_on(export.run());
            drop(sender);
        })?;
        Ok(Self { queue, ended })
    }

    /// Takes no further traces, and waits until those that wait are sent or lost. Each batch has one attempt left.
    pub async fn stop(self) {
        self.queue.close();
        // The channel closes; nothing is sent.
        let _ = self.ended.await;
    }
}

struct Export {
    queue: Arc<SpanQueue>,
    sink: Arc<dyn SpanSink>,
    resource: Resource,
    failing: Failing,
}

impl Export {
    async fn run(mut self) {
        loop {
            self.queue.wait(TRACE_BATCH_WAIT_MAX).await;
            let batch = self.queue.take(TRACE_BATCH_SPANS);
            if batch.is_empty() {
                if self.queue.is_closed() {
                    return;
                }
                continue;
            }
            let spans = batch.iter().map(|trace| trace.spans.len() as u64).sum();
            let body = encode(&self.resource, &batch);
            drop(batch);
            let result = if self.deliver(&body).await { "exported" } else { "dropped" };
            TRACE_SPANS.with_label_values(&[result]).inc_by(spans);
        }
    }

    /// Sends a batch; returns whether the collector took it.
    async fn deliver(&mut self, body: &[u8]) -> bool {
        let mut pauses = RETRY_AFTER.into_iter();
        loop {
            let (why, may_be_retried) = match self.sink.send(body).await {
                Ok(status) if (200..300).contains(&status) => {
                    self.failing.end();
                    return true;
                }
                Ok(status) => (format!("it answered {status}"), matches!(status, 429 | 502 | 503 | 504)),
                Err(why) => (why, true),
            };
            self.failing.note(&why);
            let pause = pauses.next().filter(|_| may_be_retried && !self.queue.is_closed());
            let Some(pause) = pause else { return false };
            self.pause(pause).await;
        }
    }

    /// Waits, but not on after the queue is closed.
    async fn pause(&self, pause: Duration) {
        tokio::select! {
            () = sleep(pause) => {}
            () = self.queue.closed() => {}
        }
    }
}

/// The failures since the last batch that was taken.
#[derive(Debug, Default)]
struct Failing {
    /// True if the last warning is not followed by a batch that was taken.
    was_warned: bool,
    warned: Option<Instant>,
}

impl Failing {
    fn note(&mut self, why: &str) {
        TRACE_FAILURES.with_label_values::<&str>(&[]).inc();
        if self.warned.is_none_or(|warned| warned.elapsed() >= WARN_EVERY) {
            self.warned = Some(Instant::now());
            self.was_warned = true;
            tracing::warn!(why, "traces cannot be sent to the collector; requests go on");
        }
    }

    fn end(&mut self) {
        if std::mem::take(&mut self.was_warned) {
            tracing::info!("traces are sent to the collector again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Export, Failing, SpanSink};
    use crate::ambient::Ambient;
    use crate::traces::{Resource, SampleRatio, SpanQueue, Tracer};
    use async_trait::async_trait;
    use std::collections::VecDeque;
    use std::future::pending;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;
    use tokio::time::{Instant, timeout};

    /// A collector that answers in this order, and then takes everything.
    #[derive(Debug, Default)]
    struct Scripted {
        answers: Mutex<VecDeque<Result<u16, String>>>,
        bodies: Mutex<Vec<(Duration, String)>>,
        began: Mutex<Option<Instant>>,
    }

    #[async_trait]
    impl SpanSink for Scripted {
        async fn send(&self, body: &[u8]) -> Result<u16, String> {
            let began = *self.began.lock().expect("no panic").get_or_insert_with(Instant::now);
            let text = String::from_utf8(body.to_vec()).expect("JSON is text");
            self.bodies.lock().expect("no panic").push((began.elapsed(), text));
            self.answers.lock().expect("no panic").pop_front().unwrap_or(Ok(200))
        }
    }

    #[derive(Debug)]
    struct Hanging;

    #[async_trait]
    impl SpanSink for Hanging {
        async fn send(&self, _: &[u8]) -> Result<u16, String> {
            pending().await
        }
    }

    fn export(sink: Arc<dyn SpanSink>) -> (Export, Tracer, Arc<SpanQueue>) {
        let queue = Arc::<SpanQueue>::default();
        let tracer = Tracer::new(SampleRatio::ALL, Ambient::system(), Arc::clone(&queue));
        let resource = Resource::default();
        (Export { queue: Arc::clone(&queue), sink, resource, failing: Failing::default() }, tracer, queue)
    }

    fn trace(tracer: &Tracer, name: &'static str) {
        tracer.request(None).finish(|root| root.name = name.into());
    }

    /// Runs an exporter over one trace, against a collector that answers like this. Returns the times of its attempts
    /// in seconds.
    async fn attempts(answers: impl IntoIterator<Item = Result<u16, String>>) -> Vec<u64> {
        let sink = Arc::new(Scripted { answers: Mutex::new(answers.into_iter().collect()), ..Scripted::default() });
        let (export, tracer, queue) = export(Arc::clone(&sink) as Arc<dyn SpanSink>);
        trace(&tracer, "first");
        let running = tokio::spawn(export.run());
        tokio::time::sleep(Duration::from_secs(60)).await;
        trace(&tracer, "second");
        tokio::time::sleep(Duration::from_secs(60)).await;
        queue.close();
        running.await.expect("it ends");
        let bodies = sink.bodies.lock().expect("no panic");
        assert!(bodies.last().expect("one at least").1.contains("second"), "the next batch is sent");
        let firsts = bodies.iter().filter(|(_, body)| body.contains("first"));
        firsts.map(|(at, _)| at.as_secs()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_is_sent_again_if_the_collector_is_away_or_overloaded_and_then_lost() {
        let away = || Err("it is away".to_owned());
        assert_eq!(attempts([]).await, [0]);
        assert_eq!(attempts([away(), Ok(503), Ok(200)]).await, [0, 1, 5]);
        assert_eq!(attempts([away(), Ok(429), Ok(502), away()]).await, [0, 1, 5], "then it is given up");
        assert_eq!(attempts([Ok(400)]).await, [0], "another attempt would not help");
    }

    #[tokio::test(start_paused = true)]
    async fn a_closing_exporter_sends_what_waits_and_gives_each_batch_one_attempt() {
        let sink = Arc::new(Scripted { answers: Mutex::new([Err("away".to_owned())].into()), ..Scripted::default() });
        let (export, tracer, queue) = export(Arc::clone(&sink) as Arc<dyn SpanSink>);
        let running = tokio::spawn(export.run());
        trace(&tracer, "first");
        queue.close();
        trace(&tracer, "too late");
        timeout(Duration::from_millis(10), running).await.expect("no pause").expect("no panic");
        assert_eq!(sink.bodies.lock().expect("no panic").len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_collector_that_hangs_holds_up_the_exporter_alone() {
        let (export, tracer, queue) = export(Arc::new(Hanging));
        let running = tokio::spawn(export.run());
        (0..50_000).for_each(|_| trace(&tracer, "one"));
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(!running.is_finished());
        let left: usize = queue.take(usize::MAX).len();
        assert!((1..50_000).contains(&left), "{left} wait, and the others are lost");
        running.abort();
    }
}
