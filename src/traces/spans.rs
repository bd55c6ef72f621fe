//! `Spans`: the recorder of one request's spans; and `Span`, which ends when it is dropped.
//!
//! A recorder is a handle with a parent: the spans that it begins are the parent's children. When the request ends, the
//! root ends, and what was recorded is queued for export. Spans that are open then end with it.

use super::context::{SpanId, TraceContext, TraceId};
use super::queue::SpanQueue;
use super::record::{FinishedTrace, SpanKind, SpanRecord, Value};
use crate::ambient::Clock;
use crate::limits::TRACE_SPANS_MAX;
use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The recorder of a request's spans, as the parent of those that it begins. The default records nothing.
#[derive(Clone, Debug, Default)]
pub struct Spans(Option<Recorder>);

#[derive(Clone, Debug)]
struct Recorder {
    shared: Arc<Shared>,
    parent: SpanId,
}

#[derive(Debug)]
struct Shared {
    trace: TraceId,
    clock: Arc<dyn Clock>,
    /// The wall time of the trace's start, and the monotonic time of the same moment.
    began: (u64, Duration),
    queue: Arc<SpanQueue>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Parents before their children. Empty once the trace is finished.
    spans: Vec<SpanRecord>,
    /// The spans that exceeded `TRACE_SPANS_MAX`.
    dropped: u64,
    is_finished: bool,
}

impl Shared {
    fn now(&self) -> u64 {
        let (wall_ns, monotonic) = self.began;
        let since = self.clock.monotonic().saturating_sub(monotonic).as_nanos();
        wall_ns.saturating_add(u64::try_from(since).unwrap_or(u64::MAX))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first span of a trace on this host.
pub(super) struct Root {
    pub context: TraceContext,
    /// The span of the client or of another host that caused this one.
    pub parent: Option<SpanId>,
    pub name: Cow<'static, str>,
}

impl Spans {
    /// Begins a trace with its root.
    pub(super) fn start(root: Root, clock: Arc<dyn Clock>, queue: Arc<SpanQueue>) -> Self {
        let Root { context: TraceContext { trace, span }, parent, name } = root;
        let began = (clock.unix_ns(), clock.monotonic());
        let (kind, start_ns) = (SpanKind::Server, began.0);
        let record =
            SpanRecord { id: span, parent, name, kind, start_ns, end_ns: None, attributes: vec![], is_failed: false };
        let state = Mutex::new(State { spans: vec![record], dropped: 0, is_finished: false });
        let shared = Arc::new(Shared { trace, clock, began, queue, state });
        Self(Some(Recorder { shared, parent: span }))
    }

    /// Returns whether spans are recorded.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Returns the id of the trace, if it is recorded.
    pub fn trace(&self) -> Option<TraceId> {
        self.0.as_ref().map(|recorder| recorder.shared.trace)
    }

    /// Begins a span within this host.
    pub fn begin(&self, name: &'static str) -> Span {
        self.begin_as(name, SpanKind::Internal)
    }

    /// Begins a span. Beyond `TRACE_SPANS_MAX` of a trace it is not recorded, and the root says how many were not.
    pub fn begin_as(&self, name: &'static str, kind: SpanKind) -> Span {
        let Some(Recorder { shared, parent }) = &self.0 else { return Span::default() };
        let start_ns = shared.now();
        let mut state = shared.lock();
        if state.is_finished {
            return Span::default();
        }
        if state.spans.len() >= TRACE_SPANS_MAX {
            state.dropped += 1;
            return Span::default();
        }
        // Ids within a host are consecutive from a random one; that of another host's span is another random one.
        let id = SpanId(state.spans[0].id.0.wrapping_add(state.spans.len() as u64).max(1));
        let (name, parent, end_ns, attributes) = (Cow::Borrowed(name), Some(*parent), None, Vec::new());
        state.spans.push(SpanRecord { id, parent, name, kind, start_ns, end_ns, attributes, is_failed: false });
        let open = Open { shared: Arc::clone(shared), at: state.spans.len() - 1, id };
        Span(Some(open))
    }

    /// Ends the trace: `describe` completes the root, and the trace is queued for export.
    pub fn finish(&self, describe: impl FnOnce(&mut SpanRecord)) {
        let Some(Recorder { shared, .. }) = &self.0 else { return };
        let now = shared.now();
        let (mut spans, dropped) = {
            let mut state = shared.lock();
            state.is_finished = true;
            (std::mem::take(&mut state.spans), state.dropped)
        };
        let Some(root) = spans.first_mut() else { return };
        if dropped > 0 {
            root.set("sherd.spans_dropped", dropped);
        }
        describe(root);
        close(&mut spans, now);
        shared.queue.push(FinishedTrace { trace: shared.trace, spans });
    }

    /// Adds to the root while the trace is open.
    pub fn describe(&self, describe: impl FnOnce(&mut SpanRecord)) {
        let Some(Recorder { shared, .. }) = &self.0 else { return };
        if let Some(root) = shared.lock().spans.first_mut() {
            describe(root);
        }
    }
}

/// Ends the spans that are open. The task of a cancelled span may end it a moment after its parent has ended, so no
/// span ends after its parent.
fn close(spans: &mut [SpanRecord], now: u64) {
    for at in 0..spans.len() {
        let (before, rest) = spans.split_at_mut(at);
        let Some(span) = rest.first_mut() else { return };
        let parent = before.iter().find(|parent| Some(parent.id) == span.parent);
        let latest = parent.and_then(|parent| parent.end_ns).unwrap_or(now);
        span.end_ns = Some(span.end_ns.unwrap_or(latest).min(latest).max(span.start_ns));
    }
}

/// A span that is open. It ends when it is dropped, unless it was marked as ended before.
#[derive(Debug, Default)]
pub struct Span(Option<Open>);

#[derive(Debug)]
struct Open {
    shared: Arc<Shared>,
    /// The place in the records.
    at: usize,
    id: SpanId,
}

impl Open {
    fn change(&self, change: impl FnOnce(&mut SpanRecord)) {
        // The trace may be finished; then its records are gone.
        if let Some(span) = self.shared.lock().spans.get_mut(self.at) {
            change(span);
        }
    }
}

impl Span {
    /// Returns whether the span is recorded.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Returns the recorder of this span's children.
    pub fn children(&self) -> Spans {
        let of = |open: &Open| Recorder { shared: Arc::clone(&open.shared), parent: open.id };
        Spans(self.0.as_ref().map(of))
    }

    /// Returns the span as a parent of spans elsewhere; `None` if it is not recorded.
    pub fn context(&self) -> Option<TraceContext> {
        self.0.as_ref().map(|open| TraceContext { trace: open.shared.trace, span: open.id })
    }

    pub fn set(&self, key: &'static str, value: impl Into<Value>) {
        if let Some(open) = &self.0 {
            open.change(|span| span.set(key, value));
        }
    }

    /// Marks the span as failed, with the kind of its error.
    pub fn fail(&self, kind: impl Into<Value>) {
        if let Some(open) = &self.0 {
            open.change(|span| {
                span.set("error.type", kind);
                span.is_failed = true;
            });
        }
    }

    /// Notes the present moment as the span's end; a later call counts.
    pub fn ended(&self) {
        if let Some(open) = &self.0 {
            let now = open.shared.now();
            open.change(|span| span.end_ns = Some(now));
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(open) = &self.0 {
            let now = open.shared.now();
            open.change(|span| span.end_ns = span.end_ns.or(Some(now)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{SampleRatio, SpanQueue, SpanRecord, Tracer};
    use super::{Spans, TraceContext};
    use crate::ambient::Ambient;
    use crate::limits::TRACE_SPANS_MAX;
    use std::sync::Arc;

    fn tracer() -> (Tracer, Arc<SpanQueue>) {
        let queue = Arc::<SpanQueue>::default();
        (Tracer::new(SampleRatio::ALL, Ambient::system(), Arc::clone(&queue)), queue)
    }

    fn exported(queue: &SpanQueue) -> Vec<SpanRecord> {
        queue.take(usize::MAX).into_iter().flat_map(|trace| trace.spans).collect()
    }

    #[test]
    fn spans_are_children_of_their_recorder_and_within_its_time() {
        let (tracer, queue) = tracer();
        let spans = tracer.request(None);
        let outer = spans.begin("outer");
        let inner = outer.children().begin("inner");
        inner.set("count", 3u64);
        drop(inner);
        outer.fail("Late");
        drop(outer);
        assert!(exported(&queue).is_empty(), "the request goes on");
        spans.finish(|root| root.name = "root".into());
        let found = exported(&queue);
        let names: Vec<&str> = found.iter().map(|span| &*span.name).collect();
        assert_eq!(names, ["root", "outer", "inner"]);
        assert_eq!((found[0].parent, found[1].parent, found[2].parent), (None, Some(found[0].id), Some(found[1].id)));
        for child in &found[1..] {
            let parent = found.iter().find(|span| Some(span.id) == child.parent).expect("it is there");
            assert!(parent.start_ns <= child.start_ns && child.end_ns <= parent.end_ns);
        }
        assert!(found[1].is_failed && !found[2].is_failed);
    }

    #[test]
    fn spans_that_are_open_end_with_the_request_and_later_ones_are_not_recorded() {
        let (tracer, queue) = tracer();
        let spans = tracer.request(None);
        let parent = spans.begin("parent");
        let child = parent.children().begin("child");
        drop(parent);
        let open = spans.begin("open");
        spans.finish(|_| {});
        child.set("late", true);
        drop((child, open));
        assert!(!spans.begin("after").is_on());
        let found = exported(&queue);
        assert_eq!(found.len(), 4);
        assert_eq!(found[2].end_ns, found[1].end_ns, "a child ends with its parent");
        assert_eq!(found[3].end_ns, found[0].end_ns);
        assert!(found[2].attributes.is_empty());
    }

    #[test]
    fn the_spans_of_one_trace_are_bounded_and_the_root_counts_the_others() {
        let (tracer, queue) = tracer();
        let spans = tracer.request(None);
        let recorded = (0..TRACE_SPANS_MAX + 9).filter(|_| spans.begin("one").is_on()).count();
        assert_eq!(recorded, TRACE_SPANS_MAX - 1, "the root is one of them");
        spans.finish(|_| {});
        let found = exported(&queue);
        assert_eq!(found.len(), TRACE_SPANS_MAX);
        assert_eq!(found[0].attribute("sherd.spans_dropped"), Some(&10u64.into()));
    }

    #[test]
    fn a_recorder_that_is_off_records_nothing() {
        let spans = Spans::default();
        let span = spans.begin("nothing");
        let context: Option<TraceContext> = span.context();
        assert!(!span.is_on() && context.is_none() && !span.children().is_on() && spans.trace().is_none());
        span.set("key", 1u64);
        span.fail("error");
        spans.finish(|_| unreachable!("there is no root"));
    }
}
