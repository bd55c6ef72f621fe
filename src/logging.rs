//! Where the log goes: to standard error, as text for people or as a JSON object a line for machines. Standard output is
//! for what a script may wait for (see `main`).

use crate::config::LogFormat;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::SubscriberBuilder;

/// What our dependencies say is of interest to those who work on them. A filter that names one of them overrides this.
/// What is no HTTP (TLS on a plain port, a scan) the dispatcher calls an error, without saying who sent it.
/// What openraft's own thread says at its end is told to whoever asked it.
const QUIET: &str = "s3s=off,actix_server=warn,actix_http::h1::dispatcher=off,openraft=error,openraft::raft::raft_inner=off,\
    fjall=warn,lsm_tree=warn";

/// Starts logging for the rest of the process's life. The filter has been validated with the configuration.
pub fn start(filter: &str, format: LogFormat) {
    let filter = EnvFilter::new(format!("{QUIET},{filter}"));
    let builder = SubscriberBuilder::default().with_writer(std::io::stderr).with_env_filter(filter);
    match format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}
