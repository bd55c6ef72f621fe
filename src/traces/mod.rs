//! Traces of requests, as OpenTelemetry knows them: the spans of one request, the context that other hosts and clients
//! pass along, sampling, and the bounded queue of traces that wait for export.
//!
//! A request that is not sampled has an empty `Spans`, whose methods check one `Option` and do nothing else.

mod context;
mod otlp;
mod queue;
mod record;
mod spans;
mod tracer;

pub use context::{SpanId, TraceContext, TraceId, TraceParent};
pub use otlp::{Resource, encode};
pub use queue::SpanQueue;
pub use record::{FinishedTrace, SpanKind, SpanRecord, Value};
pub use spans::{Span, Spans};
pub use tracer::{SampleRatio, Tracer};
