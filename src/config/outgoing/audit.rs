//! The destinations of the audit log: a file or standard error, and a webhook.

use super::webhooks::{Webhook, queue_limit_variable};
use crate::config::{ConfigError, Pairs, settings};
use std::path::PathBuf;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditConfig {
    /// The file or standard error; `None`: neither.
    pub log: Option<AuditLog>,
    pub webhook: Option<Webhook>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditLog {
    /// Standard error, where the process's own log goes, too. The log filter does not apply to these lines.
    Stderr,
    File(PathBuf),
}

/// Resolves the audit log's destinations. Its webhook is removed from those that notifications can be sent to:
/// otherwise anybody who may configure a bucket's notifications could forge lines of the audit log. A limit of its
/// queue, which holds for notifications only, is refused.
pub(super) fn resolve(pairs: &Pairs, webhooks: Vec<Webhook>) -> Result<(AuditConfig, Vec<Webhook>), ConfigError> {
    let log = pairs.get(settings::AUDIT_LOG).map(|text| match text {
        "-" => AuditLog::Stderr,
        path => AuditLog::File(path.into()),
    });
    let Some(name) = pairs.get(settings::AUDIT_WEBHOOK) else {
        return Ok((AuditConfig { log, webhook: None }, webhooks));
    };
    let wanted = name.to_ascii_uppercase().replace('-', "_");
    let (mut named, others): (Vec<_>, Vec<_>) = webhooks.into_iter().partition(|webhook| webhook.name == wanted);
    let Some(webhook) = named.pop() else {
        return Err(ConfigError::Invalid {
            name: settings::AUDIT_WEBHOOK.to_owned(),
            value: name.to_owned(),
            allowed: format!("the name of a webhook, whose URL is in SHERD_WEBHOOK_{wanted}_URL"),
        });
    };
    let limit = queue_limit_variable(&wanted);
    if let Some(value) = pairs.get(&limit) {
        let allowed = format!(
            "no value: the webhook gets the audit log ({}), whose queue has a fixed size",
            settings::AUDIT_WEBHOOK
        );
        return Err(ConfigError::Invalid { value: value.to_owned(), name: limit, allowed });
    }
    Ok((AuditConfig { log, webhook: Some(webhook) }, others))
}
