//! The settings of outgoing messages: webhooks, the destinations of the audit log, and the collector of traces.

mod audit;
mod traces;
mod webhooks;

pub use audit::{AuditConfig, AuditLog};
pub use traces::TracesConfig;
pub use webhooks::{Webhook, is_of_webhook};

use super::{ConfigError, FileReader, Pairs};

/// Returns the audit log's destinations, and the webhooks that notifications can be sent to.
pub(super) fn resolve(pairs: &Pairs, files: &dyn FileReader) -> Result<(AuditConfig, Vec<Webhook>), ConfigError> {
    audit::resolve(pairs, webhooks::resolve(&pairs.values, files)?)
}

/// Returns the collector of traces; `None` if there are none.
pub(super) fn traces(pairs: &Pairs, files: &dyn FileReader) -> Result<Option<TracesConfig>, ConfigError> {
    traces::resolve(pairs, files)
}
