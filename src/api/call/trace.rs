//! The trace of a request: facts that its layers collect for the log, the metrics, the audit log and error responses.

use crate::api::errors::Named;
use crate::api::identity::{Principal, PrincipalKind};
use crate::api::rates::Rates;
use crate::traces::Spans;
use s3s::S3Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// The operation of a request that ended before its operation was known: malformed, or with a wrong signature.
const UNRESOLVED: &str = "Unresolved";
const COPIES: [&str; 3] = ["CopyObject", "RenameObject", "UploadPartCopy"];

/// Facts that the layers collect, most of them written once. The request's `Call` and its record share it.
#[derive(Debug, Default)]
pub struct RequestTrace {
    resolved: OnceLock<Resolved>,
    /// The bucket that the request names, which may not be a valid name.
    aimed_at: OnceLock<String>,
    /// The verified caller; unset for an anonymous request.
    principal: OnceLock<Arc<Principal>>,
    /// Names of what a call is about, other than bucket and key.
    subject: OnceLock<Vec<(&'static str, String)>>,
    /// Names of what a call created.
    result: OnceLock<Vec<(&'static str, String)>>,
    /// The error for the response.
    refusal: Mutex<Option<S3Error>>,
    /// The code of an error whose response does not have the form of S3.
    code: OnceLock<String>,
    received_bytes: AtomicU64,
    /// The rate limits of its account and bucket; unset if there are none.
    rates: OnceLock<Rates>,
    /// The recorder of the request's spans; off if the request is not sampled.
    spans: Spans,
}

#[derive(Debug)]
struct Resolved {
    operation: &'static str,
    bucket: Option<String>,
    key: Option<String>,
    access_key: Option<String>,
}

impl RequestTrace {
    /// Makes the trace of a request whose spans are recorded here.
    pub fn recorded(spans: Spans) -> Self {
        Self { spans, ..Self::default() }
    }

    pub fn spans(&self) -> &Spans {
        &self.spans
    }

    /// Records operation, bucket, key and access key. Only the first call counts.
    pub fn resolved(
        &self,
        operation: &'static str,
        bucket: Option<String>,
        key: Option<String>,
        access_key: Option<String>,
    ) {
        // A second call would record the same.
        let _ = self.resolved.set(Resolved { operation, bucket, key, access_key });
    }

    /// Records the bucket that the request names; an empty name is ignored. Only the first call counts.
    pub fn aimed_at(&self, bucket: &str) {
        if !bucket.is_empty() {
            // A second call would record the same bucket.
            let _ = self.aimed_at.set(bucket.to_owned());
        }
    }

    /// Records the verified caller. Only the first call counts.
    pub fn asked_by(&self, principal: &Arc<Principal>) {
        // A second call would record the same caller.
        let _ = self.principal.set(Arc::clone(principal));
    }

    /// Records the subject of a call. Only the first call counts.
    pub fn is_on(&self, subject: Vec<(&'static str, String)>) {
        let _ = self.subject.set(subject);
    }

    /// Records what a call created. Only the first call counts.
    pub fn made(&self, result: Vec<(&'static str, String)>) {
        let _ = self.result.set(result);
    }

    /// Records the error for the response; the last call counts. The error bypasses s3s this way, which would keep only
    /// what it writes of it.
    pub fn refuse(&self, error: S3Error) {
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    /// Takes the error that `refuse` recorded.
    pub fn take_refusal(&self) -> Option<S3Error> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Records the code of an error whose response does not have the form of S3. Only the first call counts.
    pub fn answered_with(&self, code: &str) {
        let _ = self.code.set(code.to_owned());
    }

    pub fn received(&self, bytes: usize) {
        self.received_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Records the rate limits that the request is under until its trace is dropped. Only the first call counts.
    pub fn limited(&self, rates: Rates) {
        let _ = self.rates.set(rates);
    }

    pub fn rates(&self) -> Option<&Rates> {
        self.rates.get()
    }

    /// Returns the bucket and key for error responses; neither for copies, whose errors may be about the source.
    pub fn named(&self) -> Named<'_> {
        match self.resolved.get() {
            None => Named { bucket: self.aimed_at.get().map(String::as_str), ..Named::default() },
            Some(resolved) if COPIES.contains(&resolved.operation) => Named::default(),
            Some(resolved) => {
                Named { bucket: resolved.bucket.as_deref(), key: resolved.key.as_deref(), ..Named::default() }
            }
        }
    }

    pub fn operation(&self) -> &'static str {
        self.resolved.get().map_or(UNRESOLVED, |resolved| resolved.operation)
    }

    pub fn bucket(&self) -> Option<&str> {
        self.resolved.get()?.bucket.as_deref()
    }

    pub fn key(&self) -> Option<&str> {
        self.resolved.get()?.key.as_deref()
    }

    pub fn access_key(&self) -> Option<&str> {
        self.resolved.get()?.access_key.as_deref()
    }

    pub fn principal(&self) -> Option<&Principal> {
        self.principal.get().map(Arc::as_ref)
    }

    /// Returns the requester as access logs name it: a root by its canonical id, any other identity by its ARN.
    pub fn requester(&self) -> Option<&str> {
        let principal = self.principal()?;
        Some(if principal.kind == PrincipalKind::Root { &principal.canonical_id } else { &principal.arn })
    }

    pub fn subject(&self) -> &[(&'static str, String)] {
        self.subject.get().map(Vec::as_slice).unwrap_or_default()
    }

    pub fn result(&self) -> &[(&'static str, String)] {
        self.result.get().map(Vec::as_slice).unwrap_or_default()
    }

    /// Returns the code of an error whose response does not have the form of S3.
    pub fn code(&self) -> Option<&str> {
        self.code.get().map(String::as_str)
    }

    /// Returns the id of the caller's account; `None` for an anonymous request.
    pub fn account(&self) -> Option<&str> {
        self.principal().map(|principal| principal.account.as_str())
    }

    pub fn received_bytes(&self) -> u64 {
        self.received_bytes.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::RequestTrace;

    #[test]
    fn an_error_names_the_bucket_before_the_operation_is_known() {
        let trace = RequestTrace::default();
        assert_eq!(trace.named().bucket, None);
        trace.aimed_at("B_");
        assert_eq!((trace.named().bucket, trace.named().key), (Some("B_"), None));
        trace.resolved("CopyObject", Some("B_".to_owned()), Some("k".to_owned()), None);
        assert_eq!(trace.named().bucket, None, "an error may be about the source's");
    }
}
