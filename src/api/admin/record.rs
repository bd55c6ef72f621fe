//! The record of an admin API call while it is answered, and its line in the audit log afterwards.

use super::routes::Routed;
use crate::api::audit::{AuditLog, Ended, Listener};
use crate::api::call::RequestTrace;
use serde_json::Value;
use std::sync::Arc;

/// Fields of bodies that name what a call is on, or how much. None is a secret.
const NAMES: [&str; 19] = [
    "account",
    "action",
    "alias",
    "bucket",
    "bytes_max",
    "change",
    "directory",
    "host",
    "id",
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
/// The name of a request that matches no route.
const UNKNOWN: &str = "Unknown";

/// The record of a call from its head to its response. Dropping it writes its line, however it ended.
#[derive(Debug)]
pub struct AdminRecord {
    pub id: String,
    pub trace: Arc<RequestTrace>,
    audit: Option<Arc<AuditLog>>,
    from: String,
    route: &'static str,
    /// The key that the call says has signed it.
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

    /// Notes the body.
    pub fn is_about(&mut self, body: &[u8]) {
        let Ok(Value::Object(fields)) = serde_json::from_slice(body) else { return };
        let text = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            // A limit that is taken away is `null`.
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
        // A call of IAM has said what it is by then, and on what.
        self.trace.resolved(self.route, None, None, self.access_key.take());
        self.trace.is_on(std::mem::take(&mut self.subject));
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
