//! The trace of a request: facts that its layers collect for the log, the metrics, the audit log and error responses.

use crate::api::errors::ErrorContext;
use crate::api::identity::{PrincipalKind, ResolvedPrincipal};
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
    named_bucket: OnceLock<String>,
    /// The verified caller; unset for an anonymous request.
    principal: OnceLock<Arc<ResolvedPrincipal>>,
    /// Names of what a call is about, other than bucket and key.
    subject: OnceLock<Vec<(&'static str, String)>>,
    /// Names of what a call created.
    result: OnceLock<Vec<(&'static str, String)>>,
    /// The error for the response.
    error: Mutex<Option<S3Error>>,
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
    pub fn set_operation(
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
    pub fn set_named_bucket(&self, bucket: &str) {
        if !bucket.is_empty() {
            // A second call would record the same bucket.
            let _ = self.named_bucket.set(bucket.to_owned());
        }
    }

    /// Records the verified caller. Only the first call counts.
    pub fn set_principal(&self, principal: &Arc<ResolvedPrincipal>) {
        // A second call would record the same caller.
        let _ = self.principal.set(Arc::clone(principal));
    }

    /// Records the subject of a call. Only the first call counts.
    pub fn set_subject(&self, subject: Vec<(&'static str, String)>) {
        let _ = self.subject.set(subject);
    }

    /// Records what a call created. Only the first call counts.
    pub fn set_result(&self, result: Vec<(&'static str, String)>) {
        let _ = self.result.set(result);
    }

    /// Records the error for the response; the last call counts. The error bypasses s3s this way, which would keep only
    /// what it writes of it.
    pub fn set_error(&self, error: S3Error) {
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    /// Takes the error that `set_error` recorded.
    pub fn take_error(&self) -> Option<S3Error> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Records the code of an error whose response does not have the form of S3. Only the first call counts.
    pub fn set_code(&self, code: &str) {
        let _ = self.code.set(code.to_owned());
    }

    pub fn add_received(&self, bytes: usize) {
        self.received_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Records the rate limits that the request is under until its trace is dropped. Only the first call counts.
    pub fn set_rates(&self, rates: Rates) {
        let _ = self.rates.set(rates);
    }

    pub fn rates(&self) -> Option<&Rates> {
        self.rates.get()
    }

    /// Returns the bucket and key for error responses; neither for copies, whose errors may be about the source.
    pub fn error_context(&self) -> ErrorContext<'_> {
        match self.resolved.get() {
            None => ErrorContext { bucket: self.named_bucket.get().map(String::as_str), ..ErrorContext::default() },
            Some(resolved) if COPIES.contains(&resolved.operation) => ErrorContext::default(),
            Some(resolved) => ErrorContext {
                bucket: resolved.bucket.as_deref(),
                key: resolved.key.as_deref(),
                ..ErrorContext::default()
            },
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

    pub fn principal(&self) -> Option<&ResolvedPrincipal> {
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
        assert_eq!(trace.error_context().bucket, None);
        trace.set_named_bucket("B_");
        assert_eq!((trace.error_context().bucket, trace.error_context().key), (Some("B_"), None));
        trace.set_operation("CopyObject", Some("B_".to_owned()), Some("k".to_owned()), None);
        assert_eq!(trace.error_context().bucket, None, "an error may be about the source's");
    }
}
