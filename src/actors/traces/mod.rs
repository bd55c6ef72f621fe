//! The traces of a host beyond its requests: their export to a collector, and the spans of calls that other hosts make.

mod exporter;
mod served;

pub use exporter::{SpanSink, TraceExporter};
pub use served::TracedService;
