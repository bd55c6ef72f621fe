//! What is known of a request while it is answered, and what is said of it afterwards: one line in the log (target
//! `request`), the metrics by operation, and a line of the bucket's access log where it asks for one.

use super::access_log::{AccessEntry, Ended};
use super::s3::{Fault, Named};
use crate::metrics::{RECEIVED_BYTES, REQUEST_SECONDS, REQUESTS, REQUESTS_ACTIVE, SENT_BYTES};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// A request that ended before its operation was known: malformed, or with a wrong signature.
const UNRESOLVED: &str = "Unresolved";
const COPIES: [&str; 3] = ["CopyObject", "RenameObject", "UploadPartCopy"];
/// The client went away before it was answered. No status of HTTP; the log's readers know it from other servers.
const STATUS_CLIENT_GONE: u16 = 499;

/// What the layers below the bridge find out. Travels with the request, in its extensions.
#[derive(Debug, Default)]
pub struct RequestTrace {
    resolved: OnceLock<Resolved>,
    /// The bucket that it names, before anybody looks whether one can have that name.
    aimed_at: OnceLock<String>,
    /// Who asks, as access logs call it; nobody where nobody signed.
    requester: OnceLock<String>,
    /// The operation itself began: what fails before is the protocol's.
    entered: AtomicBool,
    received_bytes: AtomicU64,
    fault: OnceLock<Fault>,
    /// What the answer says of it, where it is refused: elements and their text.
    details: OnceLock<Vec<(&'static str, String)>>,
}

#[derive(Debug)]
struct Resolved {
    operation: &'static str,
    bucket: Option<String>,
    key: Option<String>,
    access_key: Option<String>,
}

impl RequestTrace {
    /// The operation is known. Only the first call counts.
    pub fn resolved(
        &self,
        operation: &'static str,
        bucket: Option<String>,
        key: Option<String>,
        access_key: Option<String>,
    ) {
        // A request is resolved once; a second time would say the same.
        let _ = self.resolved.set(Resolved { operation, bucket, key, access_key });
    }

    /// It names a bucket, or none where that is empty. Only the first call counts.
    pub fn aimed_at(&self, bucket: &str) {
        if !bucket.is_empty() {
            // A request that is asked again names the same.
            let _ = self.aimed_at.set(bucket.to_owned());
        }
    }

    /// It is known who asks. Only the first call counts.
    pub fn asked_by(&self, requester: String) {
        // A request is asked once; a second time would say the same.
        let _ = self.requester.set(requester);
    }

    pub fn entered(&self) {
        self.entered.store(true, Ordering::Relaxed);
    }

    pub fn has_entered(&self) -> bool {
        self.entered.load(Ordering::Relaxed)
    }

    pub fn received(&self, bytes: usize) {
        self.received_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The body was refused for this; the first reason stands.
    pub fn failed(&self, fault: Fault) {
        let _ = self.fault.set(fault);
    }

    pub fn fault(&self) -> Option<&Fault> {
        self.fault.get()
    }

    /// What an error's body says that only the layer that refuses knows; the first details stand.
    pub fn detailed(&self, details: Vec<(&'static str, String)>) {
        let _ = self.details.set(details);
    }

    pub fn details(&self) -> &[(&'static str, String)] {
        self.details.get().map(Vec::as_slice).unwrap_or_default()
    }

    /// What the request is on. Of one that copies something, an error may be about that instead.
    pub fn named(&self) -> Named<'_> {
        match self.resolved.get() {
            None => Named { bucket: self.aimed_at.get().map(String::as_str), ..Named::default() },
            Some(resolved) if COPIES.contains(&resolved.operation) => Named::default(),
            Some(resolved) => {
                Named { bucket: resolved.bucket.as_deref(), key: resolved.key.as_deref(), ..Named::default() }
            }
        }
    }

    fn operation(&self) -> &'static str {
        self.resolved.get().map_or(UNRESOLVED, |resolved| resolved.operation)
    }
}

/// One request from its head to the end of its answer. Dropping it is what logs it, however it ended.
#[derive(Debug)]
pub struct RequestRecord {
    pub id: String,
    pub trace: Arc<RequestTrace>,
    /// Of the access log, where this host keeps any.
    pub access: Option<AccessEntry>,
    /// Of the URL, as it came.
    pub query: String,
    method: String,
    path: String,
    remote: String,
    started: Instant,
    /// To the answer's head.
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

    /// What it is on, and what it says of that.
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
        let resolved = self.trace.resolved.get();
        entry.tell(&Ended {
            id: &self.id,
            operation: self.trace.operation(),
            bucket: resolved.and_then(|one| one.bucket.as_deref()),
            key: resolved.and_then(|one| one.key.as_deref()),
            requester: self.trace.requester.get().map(String::as_str),
            status: Some(self.status).filter(|status| *status != STATUS_CLIENT_GONE),
            code: self.code.as_deref(),
            sent_bytes: self.sent_bytes,
            total: self.started.elapsed(),
            head: self.head,
        });
    }
}

impl Drop for RequestRecord {
    fn drop(&mut self) {
        let operation = self.trace.operation();
        let received = self.trace.received_bytes.load(Ordering::Relaxed);
        REQUESTS_ACTIVE.with_label_values::<&str>(&[]).dec();
        REQUESTS.with_label_values(&[operation, &self.status.to_string()]).inc();
        RECEIVED_BYTES.with_label_values::<&str>(&[]).inc_by(received);
        SENT_BYTES.with_label_values::<&str>(&[]).inc_by(self.sent_bytes);
        self.tell_bucket();
        if !tracing::enabled!(target: "request", tracing::Level::INFO) {
            return;
        }
        let resolved = self.trace.resolved.get();
        let text =
            |field: fn(&Resolved) -> &Option<String>| resolved.and_then(|one| field(one).as_deref()).unwrap_or("");
        tracing::info!(
            target: "request",
            id = %self.id,
            operation,
            method = %self.method,
            path = %self.path,
            bucket = text(|one| &one.bucket),
            key = text(|one| &one.key),
            access_key = text(|one| &one.access_key),
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
    use super::{RequestRecord, RequestTrace};
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
    fn the_bucket_that_a_request_names_is_known_before_its_operation_is() {
        let trace = RequestTrace::default();
        assert_eq!(trace.named().bucket, None);
        trace.aimed_at("B_");
        assert_eq!((trace.named().bucket, trace.named().key), (Some("B_"), None));
        trace.resolved("CopyObject", Some("B_".to_owned()), Some("k".to_owned()), None);
        assert_eq!(trace.named().bucket, None, "an error may be about the source's");
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
