//! Facts that the layers find out about a request, for its line in the log, its metrics and the answer to an error.

use crate::api::errors::Named;
use crate::api::identity::{Principal, PrincipalKind};
use crate::api::rates::Rates;
use s3s::S3Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// A request that ended before its operation was known: malformed, or with a wrong signature.
const UNRESOLVED: &str = "Unresolved";
const COPIES: [&str; 3] = ["CopyObject", "RenameObject", "UploadPartCopy"];

/// Facts that the layers find out, each written once. Shared between the request's `Call` and its record.
#[derive(Debug, Default)]
pub struct RequestTrace {
    resolved: OnceLock<Resolved>,
    /// The bucket that it names, before anybody looks whether one can have that name.
    aimed_at: OnceLock<String>,
    /// The verified caller; absent for an anonymous request.
    principal: OnceLock<Arc<Principal>>,
    /// Names of what a call is on, besides a bucket and a key.
    subject: OnceLock<Vec<(&'static str, String)>>,
    /// Names of what a call made.
    result: OnceLock<Vec<(&'static str, String)>>,
    /// The error that the request is to be answered with.
    refusal: Mutex<Option<S3Error>>,
    /// The code of an error that is answered in another form than S3's.
    code: OnceLock<String>,
    received_bytes: AtomicU64,
    /// The limits that its account or bucket has; absent where there are none.
    rates: OnceLock<Rates>,
}

#[derive(Debug)]
struct Resolved {
    operation: &'static str,
    bucket: Option<String>,
    key: Option<String>,
    access_key: Option<String>,
}

impl RequestTrace {
    /// Notes the operation. Only the first call counts.
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

    /// Notes the bucket that the request names; an empty name is none. Only the first call counts.
    pub fn aimed_at(&self, bucket: &str) {
        if !bucket.is_empty() {
            // A request that is asked again names the same.
            let _ = self.aimed_at.set(bucket.to_owned());
        }
    }

    /// Notes the caller. Only the first call counts.
    pub fn asked_by(&self, principal: &Arc<Principal>) {
        // A request is asked once; a second time would say the same.
        let _ = self.principal.set(Arc::clone(principal));
    }

    /// Notes the subject of a call. Only the first call counts.
    pub fn is_on(&self, subject: Vec<(&'static str, String)>) {
        let _ = self.subject.set(subject);
    }

    /// Notes the result of a call. Only the first call counts.
    pub fn made(&self, result: Vec<(&'static str, String)>) {
        let _ = self.result.set(result);
    }

    /// Notes the error that the request is to be answered with; the last one counts. Between us and s3s, which writes what it
    /// gets, there is no other way for an error to stay what it is.
    pub fn refuse(&self, error: S3Error) {
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    /// Takes that error.
    pub fn take_refusal(&self) -> Option<S3Error> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Notes the code of an error that is answered in another form than S3's. Only the first call counts.
    pub fn answered_with(&self, code: &str) {
        let _ = self.code.set(code.to_owned());
    }

    pub fn received(&self, bytes: usize) {
        self.received_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Notes the limits that the request is under until its trace is dropped. Only the first call counts.
    pub fn limited(&self, rates: Rates) {
        let _ = self.rates.set(rates);
    }

    pub fn rates(&self) -> Option<&Rates> {
        self.rates.get()
    }

    /// The bucket and key that the request is on; nothing for copies, whose errors may be about the source.
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

    /// Returns the requester as in access logs: an account by its canonical id, an identity within it by name.
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

    /// The code of an error that was answered in another form than S3's.
    pub fn code(&self) -> Option<&str> {
        self.code.get().map(String::as_str)
    }

    /// The number of the caller's account; `None` for an anonymous request.
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
    fn the_bucket_that_a_request_names_is_known_before_its_operation_is() {
        let trace = RequestTrace::default();
        assert_eq!(trace.named().bucket, None);
        trace.aimed_at("B_");
        assert_eq!((trace.named().bucket, trace.named().key), (Some("B_"), None));
        trace.resolved("CopyObject", Some("B_".to_owned()), Some("k".to_owned()), None);
        assert_eq!(trace.named().bucket, None, "an error may be about the source's");
    }
}
