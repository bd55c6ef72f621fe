//! The log's output: standard error, as text for people or as a JSON object a line for machines. Standard output is for
//! what a script may wait for (see `main`).

mod escape;
mod lines;
mod text;

use crate::config::LogFormat;
use lines::Lines;
use std::io;
use std::panic;
use text::Text;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::SubscriberBuilder;

/// The default filter of dependencies' lines, which are of interest to their developers. A filter that names one of
/// them overrides this. Bytes that are no HTTP (TLS on a plain port, a scan) are an error to the dispatcher, which does
/// not name the sender. The errors of openraft's own thread at its end are returned to its caller.
const QUIET: &str = "s3s=off,actix_server=warn,actix_http::h1::dispatcher=off,openraft=error,openraft::raft::raft_inner=off,\
    fjall=warn,lsm_tree=warn";

/// Starts logging for the rest of the process's life. The filter has been validated with the configuration. What waits to be
/// written is written when the answer is dropped, and before a panic is told. Without colours: what a client sends must not
/// reach a terminal as one of its commands.
pub fn start(filter: &str, format: LogFormat) -> Logging {
    let filter = EnvFilter::new(format!("{QUIET},{filter}"));
    let lines = Lines::new(io::stderr(), format);
    let builder = SubscriberBuilder::default().with_writer(lines.clone()).with_env_filter(filter);
    match format {
        LogFormat::Text => {
            builder.with_ansi(false).event_format(Text::default()).init();
        }
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    if let Err(error) = lines.keep_writing() {
        tracing::warn!(%error, "the log has no thread; each thread writes its own lines");
    }
    let (waiting, tell) = (lines.clone(), panic::take_hook());
    panic::set_hook(Box::new(move |panicked| {
        waiting.flush_if_free();
        tell(panicked);
    }));
    Logging(lines)
}

/// The log of this process, until it is dropped.
pub struct Logging(Lines);

impl Drop for Logging {
    fn drop(&mut self) {
        self.0.flush();
    }
}
