//! The audit log: who changed what of the store, and who was denied. One line a call, for whoever answers for the store; not
//! to be confused with what is logged of every request (`request_log`) and with what a bucket's owner gets about requests
//! to it (`access_log`).
//!
//! ```text
//!  S3, IAM, STS: RequestRecord, when the request has ended ──┐
//!  admin API: AdminRecord, likewise ─────────────────────────┼─► AuditLog: the table (operations) ─► a line ─► AuditSender,
//!  accounts file: Accounts, when it changed something ───────┘                                     one a destination
//! ```

mod line;
mod operations;

pub use line::{Line, LineCaller, Listener};
pub use operations::{ACCOUNTS_FILE, Audited, Service};

#[cfg(test)]
pub use operations::OPERATIONS;

use crate::actors::audit::{AuditSender, LineKind};
use crate::ambient::Ambient;
use crate::api::call::RequestTrace;
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

/// A call that has ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended<'a> {
    pub id: &'a str,
    pub listener: Listener,
    /// Its address and port.
    pub from: &'a str,
    pub trace: &'a RequestTrace,
    /// `None`: the client went away before it was answered.
    pub status: Option<u16>,
    /// The code of an error.
    pub code: Option<&'a str>,
    /// True if it was refused because of the caller.
    pub is_denied: bool,
}

impl AuditLog {
    /// `None` without any destination.
    pub fn new(senders: Vec<AuditSender>, ambient: Ambient, host: String) -> Option<Self> {
        let operations = operations::by_operation();
        (!senders.is_empty()).then_some(Self { senders, operations, ambient, host })
    }

    /// Returns the service of the call's audit line, if this operation has one.
    fn service(&self, operation: &str, is_denied: bool) -> Option<Service> {
        let (service, audited) = self.operations.get(operation)?;
        let is_due = match audited {
            Audited::Always => true,
            Audited::Denied => is_denied,
            Audited::Never => false,
        };
        is_due.then_some(*service)
    }

    /// Writes the line of a call, where the table asks for one. `more` names what the call was on, if its trace does not.
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
        self.append(&line, if call.is_denied { LineKind::Denial } else { LineKind::Call });
    }

    /// The accounts file changed something.
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
        self.append(&line, LineKind::Call);
    }

    fn append(&self, line: &Line<'_>, kind: LineKind) {
        let line = Bytes::from(line.render());
        self.senders.iter().for_each(|sender| sender.append(line.clone(), kind));
    }
}
