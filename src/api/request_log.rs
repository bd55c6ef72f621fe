//! The record of a request while it is answered, and its reports afterwards: one line in the log (target `request`),
//! the metrics by operation, a line of the bucket's access log if the bucket has one, and one of the audit log if the
//! operation is audited.

use super::access_log::{AccessEntry, Ended};
use super::audit::{self, AuditLog, Listener};
use crate::actors::traffic::Meter;
use crate::api::call::RequestTrace;
use crate::api::errors::Named;
use crate::api::text::Query;
use crate::metrics::{RECEIVED_BYTES, REQUEST_SECONDS, REQUESTS, REQUESTS_ACTIVE, SENT_BYTES};
use actix_web::web::Data;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The client went away before it was answered. No status of HTTP; the log's readers know it from other servers.
const STATUS_CLIENT_GONE: u16 = 499;
/// The name under which requests without an account are counted.
const ANONYMOUS: &str = "anonymous";

/// The record of a request from its head to the end of its response. Dropping it logs it, however it ended.
#[derive(Debug)]
pub struct RequestRecord {
    pub id: String,
    pub trace: Arc<RequestTrace>,
    /// The entry of the access log, if this host keeps any.
    pub access: Option<AccessEntry>,
    /// The meter of the worker that answers.
    pub meter: Option<Data<Meter>>,
    pub audit: Option<Arc<AuditLog>>,
    /// The query of the URL, as it came.
    pub query: String,
    method: String,
    path: String,
    remote: String,
    started: Instant,
    /// The time to the response's head.
    head: Option<Duration>,
    status: u16,
    /// S3's code of an error.
    code: Option<String>,
    sent_bytes: u64,
    broken: Option<String>,
}

impl RequestRecord {
    pub fn begin(id: String, method: String, path: String, remote: String) -> Self {
        REQUESTS_ACTIVE.with_label_values::<&str>(&[]).inc();
        Self {
            id,
            trace: Arc::default(),
            access: None,
            meter: None,
            audit: None,
            query: String::new(),
            method,
            path,
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
        &self.path
    }

    /// Returns the bucket and key of the request, and its elements for an error.
    pub fn named(&self) -> Named<'_> {
        let details = self.trace.details();
        Named { method: &self.method, query: &self.query, details, ..self.trace.named() }
    }

    /// The head of the answer is made.
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

    /// The answer's body ended with an error.
    pub fn broken(&mut self, why: String) {
        self.broken = Some(why);
    }

    fn tell_bucket(&mut self) {
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

    fn tell_auditor(&self) {
        let Some(audit) = &self.audit else { return };
        let call = audit::Ended {
            id: &self.id,
            listener: Listener::S3,
            from: &self.remote,
            trace: &self.trace,
            status: Some(self.status).filter(|status| *status != STATUS_CLIENT_GONE),
            code: self.code.as_deref(),
            is_denied: matches!(self.status, 401 | 403),
        };
        audit.tell(call, || self.subject());
    }

    /// The bucket, and which of its configurations.
    fn subject(&self) -> Vec<(&'static str, String)> {
        let bucket = self.trace.bucket().map(|bucket| ("Bucket", bucket.to_owned()));
        let query = Query::read(Some(self.query.as_str()).filter(|query| query.contains("id="))).ok();
        let id = query.and_then(|query| Some(("Id", query.only("id")?.to_owned())));
        bucket.into_iter().chain(id).collect()
    }
}

impl Drop for RequestRecord {
    fn drop(&mut self) {
        let operation = self.trace.operation();
        let received = self.trace.received_bytes();
        REQUESTS_ACTIVE.with_label_values::<&str>(&[]).dec();
        REQUESTS.with_label_values(&[operation, &self.status.to_string()]).inc();
        RECEIVED_BYTES.with_label_values::<&str>(&[]).inc_by(received);
        SENT_BYTES.with_label_values::<&str>(&[]).inc_by(self.sent_bytes);
        if let Some(meter) = &self.meter {
            // Whoever makes names up is not to fill the list with them.
            let bucket = self.trace.bucket().filter(|_| self.code.as_deref() != Some("NoSuchBucket"));
            meter.count(self.trace.account().unwrap_or(ANONYMOUS), bucket, received + self.sent_bytes);
        }
        self.tell_bucket();
        self.tell_auditor();
        if !tracing::enabled!(target: "request", tracing::Level::INFO) {
            return;
        }
        tracing::info!(
            target: "request",
            id = %self.id,
            operation,
            method = %self.method,
            path = %self.path,
            bucket = self.trace.bucket().unwrap_or(""),
            key = self.trace.key().unwrap_or(""),
            access_key = self.trace.access_key().unwrap_or(""),
            remote = %self.remote,
            status = self.status,
            error = self.code.as_deref().unwrap_or(""),
            received_bytes = received,
            sent_bytes = self.sent_bytes,
            duration_us = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX),
            broken = self.broken.as_deref().unwrap_or(""),
            "request"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::RequestRecord;
    use crate::metrics::{REQUESTS, SENT_BYTES};

    fn record() -> RequestRecord {
        RequestRecord::begin("1".to_owned(), "GET".to_owned(), "/".to_owned(), String::new())
    }

    #[test]
    fn a_request_is_counted_once_by_operation_and_status() {
        let counter = REQUESTS.with_label_values(&["a test of counting", "206"]);
        let mut one = record();
        one.trace.resolved("a test of counting", None, None, None);
        one.answered(206);
        one.sent(10);
        assert_eq!(counter.get(), 0);
        drop(one);
        assert_eq!(counter.get(), 1);
        assert!(SENT_BYTES.with_label_values::<&str>(&[]).get() >= 10);
    }

    #[test]
    fn a_client_that_goes_away_is_counted_as_gone() {
        let counter = REQUESTS.with_label_values(&["a test of going away", "499"]);
        let one = record();
        one.trace.resolved("a test of going away", None, None, None);
        drop(one);
        assert_eq!(counter.get(), 1);
    }
}
