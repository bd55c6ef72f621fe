//! `Tracer`: begins the traces of requests, and decides which are sampled.

use super::context::{SpanId, TraceContext, TraceId, TraceParent};
use super::queue::SpanQueue;
use super::spans::{Root, Spans};
use crate::ambient::Ambient;
use std::sync::Arc;

/// The part of the traces that is sampled: those with an id whose last 63 bits are below this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampleRatio(u64);

impl SampleRatio {
    pub const ALL: Self = Self(1 << 63);

    /// Returns the ratio for a number from 0 to 1.
    pub fn new(ratio: f64) -> Self {
        Self((ratio.clamp(0.0, 1.0) * Self::ALL.0 as f64) as u64)
    }

    /// Returns whether a trace is sampled. Services with the same ratio decide alike.
    fn takes(self, trace: TraceId) -> bool {
        (trace.0 as u64) >> 1 < self.0
    }
}

/// The source of recorders. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tracer {
    ratio: SampleRatio,
    ambient: Ambient,
    queue: Arc<SpanQueue>,
}

impl Tracer {
    pub fn new(ratio: SampleRatio, ambient: Ambient, queue: Arc<SpanQueue>) -> Self {
        Self { ratio, ambient, queue }
    }

    /// Begins the trace of a request, or joins that of its client. A client's trace is sampled if the client says so.
    pub fn request(&self, client: Option<TraceParent>) -> Spans {
        let (trace, parent) = match client {
            Some(client) if !client.is_sampled => return Spans::default(),
            Some(client) => (client.context.trace, Some(client.context.span)),
            None => {
                let trace = TraceId(self.ambient.random_u128().max(1));
                if !self.ratio.takes(trace) {
                    return Spans::default();
                }
                (trace, None)
            }
        };
        self.start(trace, parent, "request")
    }

    /// Begins the spans of a call of another host, as a child of that host's span.
    pub fn call(&self, name: &'static str, caller: TraceContext) -> Spans {
        self.start(caller.trace, Some(caller.span), name)
    }

    fn start(&self, trace: TraceId, parent: Option<SpanId>, name: &'static str) -> Spans {
        let span = SpanId((self.ambient.random_u128() as u64).max(1));
        let root = Root { context: TraceContext { trace, span }, parent, name: name.into() };
        Spans::start(root, Arc::clone(&self.ambient.clock), Arc::clone(&self.queue))
    }
}

#[cfg(test)]
mod tests {
    use super::{SampleRatio, Tracer};
    use crate::ambient::Ambient;
    use crate::traces::{SpanQueue, TraceId, TraceParent};
    use std::sync::Arc;

    fn tracer(ratio: f64) -> Tracer {
        Tracer::new(SampleRatio::new(ratio), Ambient::system(), Arc::<SpanQueue>::default())
    }

    #[test]
    fn the_ratio_decides_by_the_end_of_the_trace_id() {
        let half = SampleRatio::new(0.5);
        for (id, is_sampled) in
            [(0, true), (u128::MAX, false), ((1 << 63) - 1, true), (1 << 63, false), (u128::MAX << 64, true)]
        {
            assert_eq!(half.takes(TraceId(id)), is_sampled, "{id:x}");
        }
        assert!(SampleRatio::new(1.0).takes(TraceId(u128::MAX)));
        assert_eq!(SampleRatio::new(1.0), SampleRatio::ALL);
        assert!(!SampleRatio::new(0.0).takes(TraceId(0)));
        let quarter = (0..1000).filter(|_| tracer(0.25).request(None).is_on()).count();
        assert!((100..400).contains(&quarter), "{quarter} of 1000 are about a quarter");
    }

    #[test]
    fn a_clients_decision_counts_more_than_the_ratio() {
        let parent = |flags| TraceParent::parse(format!("00-{:032x}-{:016x}-{flags}", 7, 9).as_bytes());
        assert_eq!(tracer(0.0).request(parent("01")).trace(), Some(TraceId(7)));
        assert!(!tracer(1.0).request(parent("00")).is_on());
        assert!(!tracer(0.0).request(None).is_on() && tracer(1.0).request(None).is_on());
    }
}
