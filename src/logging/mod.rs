//! The log: lines on standard error, as text or as JSON objects. Standard output is left to lines that a script may
//! wait for.

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

/// The default filter for the log lines of dependencies, which only their developers need. `SHERD_LOG` can override it.
/// actix's dispatcher is off because it logs bytes that are not HTTP (TLS on a plain port, port scans) as errors,
/// without the sender. `raft_inner` is off because errors that end openraft's thread are returned to its caller, too.
const QUIET: &str = "s3s=off,actix_server=warn,actix_http::h1::dispatcher=off,openraft=error,openraft::raft::raft_inner=off,\
    fjall=warn,lsm_tree=warn";

/// Starts logging for the rest of the process's life. The filter was validated with the configuration. Queued lines are
/// written when the returned value is dropped, and before the message of a panic. There are no colours: escape
/// sequences in text from clients must not reach a terminal.
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

/// The guard of the log: dropping it writes the queued lines.
pub struct Logging(Lines);

impl Drop for Logging {
    fn drop(&mut self) {
        self.0.flush();
    }
}
