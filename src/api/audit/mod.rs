//! The audit log: who changed what in the store, and who was denied, one line for each call, for those responsible for
//! the store. It is separate from the log of all requests (`request_log`), and from the access logs that owners of
//! buckets get (`access_log`).
//!
//! ```text
//!  S3, IAM, STS: RequestRecord, at the end of a request ──┐
//!  admin API: AdminRecord, likewise ──────────────────────┼─► AuditLog ── rule (operations) ──► line ──► AuditSender
//!  accounts file: Accounts, when it changed something ────┘                                      (one a destination)
//! ```

mod line;
mod operations;

pub use line::{Line, LineCaller, Listener};
pub use operations::{ACCOUNTS_FILE, Audited, Service};

use crate::actors::audit::{AuditSender, LineKind};
use crate::ambient::Ambient;
use crate::api::ROOT_ACCOUNT;
use crate::api::call::RequestTrace;
use crate::api::identity::ResolvedPrincipal;
use bytes::Bytes;
use std::collections::HashMap;

/// The audit log of one host.
#[derive(Debug)]
pub struct AuditLog {
    senders: Vec<AuditSender>,
    operations: HashMap<&'static str, (Service, Audited)>,
    ambient: Ambient,
    host: String,
}

/// A finished call.
#[derive(Clone, Copy, Debug)]
pub struct Ended<'a> {
    pub id: &'a str,
    pub listener: Listener,
    /// The client's address and port.
    pub from: &'a str,
    pub trace: &'a RequestTrace,
    /// `None` if the client disconnected before the response.
    pub status: Option<u16>,
    /// The error code, if the call failed.
    pub code: Option<&'a str>,
    /// True if the call was refused because of the caller.
    pub is_denied: bool,
}

impl AuditLog {
    /// Returns `None` if there are no destinations.
    pub fn new(senders: Vec<AuditSender>, ambient: Ambient, host: String) -> Option<Self> {
        (!senders.is_empty()).then(|| Self { senders, operations: operations::by_operation(), ambient, host })
    }

    /// Returns the service of an operation if the call gets a line.
    fn service(&self, operation: &str, is_denied: bool) -> Option<Service> {
        let (service, audited) = self.operations.get(operation)?;
        let is_due = match audited {
            Audited::Always => true,
            Audited::Denied => is_denied,
            Audited::Never => false,
        };
        is_due.then_some(*service)
    }

    /// Writes the line of a call, if it gets one. `more` returns names of what the call was about that are
    /// not in its trace.
    pub fn tell(&self, call: Ended<'_>, more: impl FnOnce() -> Vec<(&'static str, String)>) {
        let trace = call.trace;
        let Some(service) = self.service(trace.operation(), call.is_denied) else { return };
        let mut resource = trace.subject().to_vec();
        resource.extend(more());
        let outcome = match call.status {
            None => "unanswered",
            Some(200..=399) => "ok",
            Some(_) => call.code.unwrap_or("error"),
        };
        let line = Line {
            time: self.ambient.clock.unix_ms(),
            id: call.id,
            host: &self.host,
            listener: Some(call.listener),
            from: call.from,
            who: LineCaller::of(trace.principal(), trace.access_key()),
            service,
            operation: trace.operation(),
            resource: &resource,
            result: trace.result(),
            outcome,
            status: call.status,
        };
        self.append(&line, kind_of(trace.principal(), call.is_denied));
    }

    /// Writes a line for changes that the accounts file made.
    pub fn tell_of_accounts_file(&self, changes: usize) {
        let line = Line {
            time: self.ambient.clock.unix_ms(),
            id: &format!("{:016X}", self.ambient.random_u128() as u64),
            host: &self.host,
            listener: None,
            from: "",
            who: LineCaller::settings(),
            service: Service::Iam,
            operation: ACCOUNTS_FILE,
            resource: &[("Changes", changes.to_string())],
            result: &[],
            outcome: "ok",
            status: None,
        };
        self.append(&line, LineKind::Root);
    }

    fn append(&self, line: &Line<'_>, kind: LineKind) {
        let line = Bytes::from(line.render());
        self.senders.iter().for_each(|sender| sender.append(line.clone(), kind));
    }
}

/// Returns the kind of the line of a call. A call without a verified caller counts as a denial, whatever its outcome:
/// anybody can cause any number of them.
fn kind_of(caller: Option<&ResolvedPrincipal>, is_denied: bool) -> LineKind {
    match caller.filter(|_| !is_denied) {
        None => LineKind::Denial,
        Some(caller) if caller.account == ROOT_ACCOUNT => LineKind::Root,
        Some(_) => LineKind::Tenant,
    }
}

#[cfg(test)]
mod tests {
    use super::kind_of;
    use crate::actors::audit::LineKind;
    use crate::api::identity::{ResolvedPrincipal, RootIdentity};

    #[test]
    fn a_call_without_a_verified_caller_counts_as_a_denial_in_the_audit_queue() {
        let [access_key, secret_key, canonical_id] = ["key", "secret", "root-id"].map(str::to_owned);
        let root = ResolvedPrincipal::store_root(&RootIdentity { access_key, secret_key, canonical_id });
        let tenant = ResolvedPrincipal { account: "123456789012".to_owned(), ..root.clone() };
        for is_denied in [true, false] {
            assert_eq!(kind_of(None, is_denied), LineKind::Denial);
        }
        assert_eq!(kind_of(Some(&root), false), LineKind::Root);
        assert_eq!(kind_of(Some(&tenant), false), LineKind::Tenant);
        assert_eq!([&root, &tenant].map(|caller| kind_of(Some(caller), true)), [LineKind::Denial; 2]);
    }
}
