//! The record of a request while it runs, and what is written when it ends: one line in the log (target `request`), the
//! metrics by operation, a line of the bucket's access log if the bucket has one, a line of the audit log if the
//! operation is audited, and the spans of the request if it is traced.

use super::access_log::{AccessEntry, Ended};
use super::request_spans;
use crate::actors::traffic::Meter;
use crate::api::audit::{self, AuditLog, Listener};
use crate::api::call::RequestTrace;
use crate::api::errors::ErrorContext;
use crate::api::text::Query;
use crate::metrics::{RECEIVED_BYTES_IN_ALL, REQUEST_SECONDS, REQUESTS, REQUESTS_ACTIVE_NOW, SENT_BYTES_IN_ALL};
use actix_web::http::{Method, Uri};
use actix_web::web::Data;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The status in logs and metrics when the client went away before the response. It is not a status of HTTP; nginx uses
/// the same number.
const STATUS_CLIENT_GONE: u16 = 499;
/// The name under which requests without an account are counted.
const ANONYMOUS: &str = "anonymous";

/// A status as three ASCII digits.
struct StatusText([u8; 3]);

impl StatusText {
    fn of(status: u16) -> Self {
        Self([100, 10, 1].map(|place| b'0' + u8::try_from(status / place % 10).unwrap_or_default()))
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// Displays an address; nothing if it is unknown.
struct DisplayedAddress(Option<SocketAddr>);

impl fmt::Display for DisplayedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |address| address.fmt(f))
    }
}

/// The record of a request from its head to the end of its response. Its `Drop` writes the logs and metrics, however
/// the request ended.
#[derive(Debug)]
pub struct RequestRecord {
    pub id: Arc<str>,
    pub trace: Arc<RequestTrace>,
    /// The entry of the access log; `None` if this host writes no access logs.
    pub access: Option<AccessEntry>,
    /// Counts the request and its bytes, in both directions, for its account and bucket. `None` if the application has
    /// no meter.
    pub meter: Option<Data<Meter>>,
    pub audit: Option<Arc<AuditLog>>,
    method: Method,
    uri: Uri,
    /// The address and port of the client, if known.
    remote: Option<SocketAddr>,
    started: Instant,
    /// The time from the request's arrival to the response's head.
    head: Option<Duration>,
    status: u16,
    /// The S3 error code of the response.
    code: Option<String>,
    sent_bytes: u64,
    broken: Option<String>,
}

impl RequestRecord {
    pub fn begin(id: Arc<str>, method: Method, uri: Uri, remote: Option<SocketAddr>) -> Self {
        REQUESTS_ACTIVE_NOW.inc();
        Self {
            id,
            trace: Arc::default(),
            access: None,
            meter: None,
            audit: None,
            method,
            uri,
            remote,
            started: Instant::now(),
            head: None,
            status: STATUS_CLIENT_GONE,
            code: None,
            sent_bytes: 0,
            broken: None,
        }
    }

    pub fn path(&self) -> &str {
        self.uri.path()
    }

    /// Returns the query of the URL as received.
    fn query(&self) -> &str {
        self.uri.query().unwrap_or_default()
    }

    /// Returns the values of the request that an error response repeats: bucket, key, method, query.
    pub fn error_context(&self) -> ErrorContext<'_> {
        ErrorContext { method: self.method.as_str(), query: self.query(), ..self.trace.error_context() }
    }

    /// Records the status and the time of the response's head.
    pub fn answered(&mut self, status: u16) {
        self.status = status;
        let head = self.started.elapsed();
        self.head = Some(head);
        REQUEST_SECONDS.with_label_values(&[self.trace.operation()]).observe(head.as_secs_f64());
    }

    pub fn refused(&mut self, code: String) {
        self.code = Some(code);
    }

    pub fn sent(&mut self, bytes: usize) {
        self.sent_bytes += bytes as u64;
    }

    /// Records that the response's body ended with an error.
    pub fn broken(&mut self, why: String) {
        self.broken = Some(why);
    }

    fn write_access_log(&mut self) {
        let Some(entry) = self.access.take() else { return };
        entry.tell(&Ended {
            id: &self.id,
            operation: self.trace.operation(),
            bucket: self.trace.bucket(),
            key: self.trace.key(),
            requester: self.trace.requester(),
            status: Some(self.status).filter(|status| *status != STATUS_CLIENT_GONE),
            code: self.code.as_deref(),
            sent_bytes: self.sent_bytes,
            total: self.started.elapsed(),
            head: self.head,
        });
    }

    fn write_audit_log(&self) {
        let Some(audit) = &self.audit else { return };
        let call = audit::Ended {
            id: &self.id,
            listener: Listener::S3,
            from: &self.remote.map(|remote| remote.to_string()).unwrap_or_default(),
            trace: &self.trace,
            status: Some(self.status).filter(|status| *status != STATUS_CLIENT_GONE),
            code: self.code.as_deref(),
            is_denied: matches!(self.status, 401 | 403),
        };
        audit.tell(call, || self.subject());
    }

    /// Returns the subject of the audit line: the bucket, and the `id` of the query, which names one of its
    /// configurations.
    fn subject(&self) -> Vec<(&'static str, String)> {
        let bucket = self.trace.bucket().map(|bucket| ("Bucket", bucket.to_owned()));
        let query = Query::read(Some(self.query()).filter(|query| query.contains("id="))).ok();
        let id = query.and_then(|query| Some(("Id", query.only("id")?.to_owned())));
        bucket.into_iter().chain(id).collect()
    }
}

impl Drop for RequestRecord {
    fn drop(&mut self) {
        let operation = self.trace.operation();
        let received = self.trace.received_bytes();
        REQUESTS_ACTIVE_NOW.dec();
        REQUESTS.with_label_values(&[operation, StatusText::of(self.status).as_str()]).inc();
        RECEIVED_BYTES_IN_ALL.inc_by(received);
        SENT_BYTES_IN_ALL.inc_by(self.sent_bytes);
        if let Some(meter) = &self.meter {
            // Names of buckets that do not exist are not counted: made-up names would fill the list.
            let bucket = self.trace.bucket().filter(|_| self.code.as_deref() != Some("NoSuchBucket"));
            meter.count(self.trace.account().unwrap_or(ANONYMOUS), bucket, received + self.sent_bytes);
        }
        self.write_access_log();
        self.write_audit_log();
        request_spans::finish(&request_spans::Ended {
            id: &self.id,
            trace: &self.trace,
            status: Some(self.status).filter(|status| *status != STATUS_CLIENT_GONE),
            code: self.code.as_deref(),
            sent_bytes: self.sent_bytes,
            broken: self.broken.as_deref(),
        });
        if !tracing::enabled!(target: "request", tracing::Level::INFO) {
            return;
        }
        tracing::info!(
            target: "request",
            id = %self.id,
            operation,
            method = %self.method,
            path = %self.uri.path(),
            bucket = self.trace.bucket().unwrap_or(""),
            key = self.trace.key().unwrap_or(""),
            access_key = self.trace.access_key().unwrap_or(""),
            remote = %DisplayedAddress(self.remote),
            status = self.status,
            error = self.code.as_deref().unwrap_or(""),
            received_bytes = received,
            sent_bytes = self.sent_bytes,
            duration_us = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX),
            trace_id = self.trace.spans().trace().map(tracing::field::display),
            broken = self.broken.as_deref().unwrap_or(""),
            "request"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::{RequestRecord, StatusText};
    use crate::metrics::{REQUESTS, SENT_BYTES};
    use actix_web::http::{Method, Uri};

    fn record() -> RequestRecord {
        RequestRecord::begin("1".into(), Method::GET, Uri::from_static("/"), None)
    }

    #[test]
    fn a_request_is_counted_once_by_operation_and_status() {
        let counter = REQUESTS.with_label_values(&["a test of counting", "206"]);
        let mut one = record();
        one.trace.set_operation("a test of counting", None, None, None);
        one.answered(206);
        one.sent(10);
        assert_eq!(counter.get(), 0);
        drop(one);
        assert_eq!(counter.get(), 1);
        assert!(SENT_BYTES.with_label_values::<&str>(&[]).get() >= 10);
    }

    #[test]
    fn a_status_is_written_as_three_digits() {
        for (status, text) in [(200, "200"), (499, "499"), (507, "507")] {
            assert_eq!(StatusText::of(status).as_str(), text);
        }
    }

    #[test]
    fn a_request_without_a_response_is_counted_as_499() {
        let counter = REQUESTS.with_label_values(&["a test of going away", "499"]);
        let one = record();
        one.trace.set_operation("a test of going away", None, None, None);
        drop(one);
        assert_eq!(counter.get(), 1);
    }
}
