//! `SpanQueue`: the traces that wait for export, bounded in bytes. Requests push and never wait; the exporter takes.

use super::record::FinishedTrace;
use crate::limits::{TRACE_BATCH_SPANS, TRACE_QUEUE_BYTES_MAX};
use crate::metrics::TRACE_SPANS;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

#[derive(Debug, Default)]
pub struct SpanQueue {
    waiting: Mutex<Waiting>,
    /// Notified when the first trace comes, when a batch is full, and when the queue is closed.
    changed: Notify,
    closing: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Waiting {
    traces: VecDeque<FinishedTrace>,
    spans: usize,
    bytes: usize,
    is_closed: bool,
}

impl SpanQueue {
    /// Queues a trace. It is lost, and counted so, if there is no room for it, or the queue is closed.
    pub fn push(&self, trace: FinishedTrace) {
        let (bytes, spans) = (trace.bytes(), trace.spans.len());
        let mut waiting = self.lock();
        if waiting.is_closed || waiting.bytes + bytes > TRACE_QUEUE_BYTES_MAX {
            drop(waiting);
            return dropped(spans);
        }
        let before = waiting.spans;
        waiting.bytes += bytes;
        waiting.spans += spans;
        waiting.traces.push_back(trace);
        let is_wanted = before == 0 || (before < TRACE_BATCH_SPANS && waiting.spans >= TRACE_BATCH_SPANS);
        drop(waiting);
        if is_wanted {
            self.changed.notify_one();
        }
    }

    /// Takes the oldest traces, until they have `spans` spans.
    pub fn take(&self, spans: usize) -> Vec<FinishedTrace> {
        let mut waiting = self.lock();
        let (mut taken, mut count) = (Vec::new(), 0);
        while count < spans
            && let Some(trace) = waiting.traces.pop_front()
        {
            count += trace.spans.len();
            waiting.bytes -= trace.bytes();
            taken.push(trace);
        }
        waiting.spans -= count;
        taken
    }

    /// Waits until a batch is full, or a trace has waited for `patience`. Returns at once if the queue is closed.
    pub async fn wait(&self, patience: Duration) {
        loop {
            let (spans, is_closed) = {
                let waiting = self.lock();
                (waiting.spans, waiting.is_closed)
            };
            if is_closed || spans >= TRACE_BATCH_SPANS {
                return;
            }
            if spans == 0 {
                self.changed.notified().await;
            } else if timeout(patience, self.changed.notified()).await.is_err() {
                return;
            }
        }
    }

    /// Closes the queue: what waits can be taken, and nothing more comes.
    pub fn close(&self) {
        self.lock().is_closed = true;
        self.closing.send_replace(true);
        self.changed.notify_one();
    }

    /// Waits until the queue is closed.
    pub async fn closed(&self) {
        let mut closing = self.closing.subscribe();
        // The sender lives as long as the queue.
        let _ = closing.wait_for(|is_closed| *is_closed).await;
    }

    pub fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts spans that are lost.
fn dropped(spans: usize) {
    TRACE_SPANS.with_label_values(&["dropped"]).inc_by(spans as u64);
}

#[cfg(test)]
mod tests {
    use super::SpanQueue;
    use crate::limits::{TRACE_BATCH_SPANS, TRACE_QUEUE_BYTES_MAX};
    use crate::traces::{FinishedTrace, SpanId, SpanKind, SpanRecord, TraceId, Value};
    use std::time::Duration;
    use tokio::time::{Instant, timeout};

    fn trace(text_bytes: usize) -> FinishedTrace {
        let span = SpanRecord {
            id: SpanId(1),
            parent: None,
            name: "span".into(),
            kind: SpanKind::Server,
            start_ns: 0,
            end_ns: Some(1),
            attributes: vec![("text", Value::Text("x".repeat(text_bytes).into()))],
            is_failed: false,
        };
        FinishedTrace { trace: TraceId(1), spans: vec![span] }
    }

    #[test]
    fn the_queue_is_bounded_and_has_room_again_once_traces_are_taken() {
        let queue = SpanQueue::default();
        let bytes = trace(1000).bytes();
        let fits = TRACE_QUEUE_BYTES_MAX / bytes;
        (0..fits + 5).for_each(|_| queue.push(trace(1000)));
        assert_eq!(queue.take(10).len(), 10);
        (0..20).for_each(|_| queue.push(trace(1000)));
        assert_eq!(queue.take(usize::MAX).len(), fits);
        let waiting = queue.lock();
        assert_eq!((waiting.bytes, waiting.spans), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_batch_is_taken_at_once_and_a_single_trace_after_a_while() {
        let (queue, patience) = (SpanQueue::default(), Duration::from_secs(1));
        assert!(timeout(Duration::from_secs(60), queue.wait(patience)).await.is_err(), "nothing waits");
        queue.push(trace(1));
        let from = Instant::now();
        queue.wait(patience).await;
        assert_eq!(from.elapsed().as_secs(), 1);
        (0..TRACE_BATCH_SPANS).for_each(|_| queue.push(trace(1)));
        let from = Instant::now();
        queue.wait(patience).await;
        assert_eq!(from.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_queue_gives_what_it_has_and_takes_nothing_more() {
        let queue = SpanQueue::default();
        queue.push(trace(1));
        queue.close();
        queue.push(trace(1));
        queue.wait(Duration::from_secs(3600)).await;
        assert!(queue.is_closed());
        assert_eq!(queue.take(usize::MAX).len(), 1);
    }
}
