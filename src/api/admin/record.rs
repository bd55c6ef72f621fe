//! The record of a call of the admin API while it runs, from which its line in the audit log is written.

use crate::api::admin_routes::{Routed, UNKNOWN};
use crate::api::audit::{AuditLog, Ended, Listener};
use crate::api::call::RequestTrace;
use serde_json::Value;
use std::sync::Arc;

/// The fields of a call's body that are written to the audit log. None of them is a secret.
const NAMES: [&str; 20] = [
    "account",
    "action",
    "alias",
    "bucket",
    "bytes_max",
    "change",
    "directory",
    "host",
    "id",
    "lost",
    "node",
    "objects_max",
    "of",
    "received_bytes_per_second",
    "requests_active_max",
    "requests_per_second",
    "sent_bytes_per_second",
    "time_ms",
    "to",
    "weight",
];

/// The record of a call from its head to its response. Its `Drop` writes the audit line, however the call ended.
#[derive(Debug)]
pub struct AdminRecord {
    pub id: String,
    pub trace: Arc<RequestTrace>,
    audit: Option<Arc<AuditLog>>,
    from: String,
    route: &'static str,
    /// The access key that the call states; it may not be verified.
    pub access_key: Option<String>,
    subject: Vec<(&'static str, String)>,
    status: Option<u16>,
    code: Option<&'static str>,
    is_denied: bool,
}

impl AdminRecord {
    pub fn begin(audit: Option<Arc<AuditLog>>, id: String, from: String, routed: Option<Routed<'_>>) -> Self {
        let bucket = routed.and_then(|routed| routed.bucket).map(|bucket| ("bucket", bucket.to_owned()));
        Self {
            id,
            trace: Arc::default(),
            audit,
            from,
            route: routed.map_or(UNKNOWN, |routed| routed.route.name()),
            access_key: None,
            subject: bucket.into_iter().collect(),
            status: None,
            code: None,
            is_denied: false,
        }
    }

    /// Records the loggable fields of the call's body.
    pub fn is_about(&mut self, body: &[u8]) {
        let Ok(Value::Object(fields)) = serde_json::from_slice(body) else { return };
        let text = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            // `null` removes a limit, so it is logged.
            Value::Number(_) | Value::Bool(_) | Value::Null => Some(value.to_string()),
            Value::Array(_) | Value::Object(_) => None,
        };
        let named = NAMES.iter().filter_map(|name| Some((*name, text(fields.get(*name)?)?)));
        self.subject.extend(named);
    }

    pub fn answered(&mut self, status: u16) {
        self.status = Some(status);
    }

    pub fn refused(&mut self, code: &'static str, is_denied: bool) {
        (self.code, self.is_denied) = (Some(code), is_denied);
    }
}

impl Drop for AdminRecord {
    fn drop(&mut self) {
        let Some(audit) = self.audit.take() else { return };
        // Does not replace the operation and the subject that a call of IAM has recorded before.
        self.trace.set_operation(self.route, None, None, self.access_key.take());
        self.trace.set_subject(std::mem::take(&mut self.subject));
        let call = Ended {
            id: &self.id,
            listener: Listener::Admin,
            from: &self.from,
            trace: &self.trace,
            status: self.status,
            code: self.code,
            is_denied: self.is_denied,
        };
        audit.tell(call, Vec::new);
    }
}
