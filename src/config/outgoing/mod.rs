//! The settings of outgoing messages: webhooks, and the destinations of the audit log.

mod audit;
mod webhooks;

pub use audit::{AuditConfig, AuditLog};
pub use webhooks::{Webhook, is_of_webhook};

use super::{ConfigError, FileReader, Pairs};

/// Returns the audit log's destinations, and the webhooks that notifications can be sent to.
pub(super) fn resolve(pairs: &Pairs, files: &dyn FileReader) -> Result<(AuditConfig, Vec<Webhook>), ConfigError> {
    audit::resolve(pairs, webhooks::resolve(&pairs.values, files)?)
}
