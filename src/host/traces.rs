//! The traces of a running host: the tracer of its requests, and the exporter to the collector of the configuration.

use super::environment::Environment;
use super::error::HostError;
use crate::actors::traces::TraceExporter;
use crate::config::{Config, TracesConfig};
use crate::net::Poster;
use crate::traces::Resource;
use rustix::system::uname;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// The longest wait, when the host stops, for traces to be sent; later ones are lost.
const STOP_PATIENCE: Duration = Duration::from_millis(1500);

/// Makes the client of the collector.
pub(super) fn collector(config: &TracesConfig) -> Result<Poster, HostError> {
    let roots = config.ca_file.as_ref();
    let setting = roots.map_or("SHERD_OTLP_ENDPOINT", |file| file.setting);
    let poster = Poster::new(&config.url, roots.map(|file| file.path.as_path()));
    poster.map_err(|cause| HostError::Traces { setting, cause })
}

/// Starts the export of the traces of this host, if its requests are traced. `host` is its id.
pub(super) fn export(config: &Config, env: &Environment, host: &str) -> Result<Option<TraceExporter>, HostError> {
    let Some((config, traced)) = config.traces.as_ref().zip(env.traced.as_ref()) else { return Ok(None) };
    let resource = Resource(vec![
        ("service.name", config.service_name.clone()),
        ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
        ("service.instance.id", host.to_owned()),
        ("host.name", uname().nodename().to_string_lossy().into_owned()),
    ]);
    let exporter = TraceExporter::start(Arc::clone(&traced.queue), Arc::new(collector(config)?), resource);
    exporter.map(Some).map_err(|cause| HostError::System { doing: "start the thread that sends traces", cause })
}

/// Stops the export, once no request is left.
pub(super) async fn stop(exporter: Option<TraceExporter>) {
    let Some(exporter) = exporter else { return };
    if timeout(STOP_PATIENCE, exporter.stop()).await.is_err() {
        tracing::warn!("traces were not sent in time and are lost");
    }
}
