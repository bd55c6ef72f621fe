//! The settings of traces: the OpenTelemetry collector, what is sampled, and the name of the store in them.

use crate::config::{ConfigError, FileReader, NamedFile, Pairs, readable, settings, values};

/// The collector of traces, and what it gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracesConfig {
    /// The URL that traces are sent to.
    pub url: String,
    /// Of a million requests without a client's own trace, those that are sampled.
    pub sampled_per_million: u32,
    /// The attribute `service.name`.
    pub service_name: String,
    /// PEM of the authorities that the collector's certificate may come from; those of the system without.
    pub ca_file: Option<NamedFile>,
}

/// Resolves the settings. Without a collector there are no traces, and the other settings are refused.
pub(super) fn resolve(pairs: &Pairs, files: &dyn FileReader) -> Result<Option<TracesConfig>, ConfigError> {
    if pairs.get(settings::OTLP_ENDPOINT).is_none() {
        let others = [settings::OTLP_SAMPLE_RATIO, settings::OTLP_SERVICE_NAME, settings::OTLP_CA_FILE];
        let given = others.into_iter().find(|name| pairs.get(name).is_some());
        let incomplete = |given: &str| ConfigError::Incomplete {
            given: given.to_owned(),
            wanted: settings::OTLP_ENDPOINT.to_owned(),
        };
        return given.map_or(Ok(None), |given| Err(incomplete(given)));
    }
    let ca_file = readable(pairs, files, settings::OTLP_CA_FILE)?;
    Ok(Some(TracesConfig {
        url: pairs.value(settings::OTLP_ENDPOINT, values::otlp_endpoint)?,
        sampled_per_million: pairs.value(settings::OTLP_SAMPLE_RATIO, values::sample_ratio)?,
        service_name: pairs.value(settings::OTLP_SERVICE_NAME, values::service_name)?,
        ca_file: ca_file.map(|path| NamedFile { setting: settings::OTLP_CA_FILE, path }),
    }))
}
