//! The properties of a request to IAM or STS besides its caller and action.

use super::xml::Xml;
use crate::api::call::RequestTrace;
use crate::api::identity::Resolved;
use crate::api::sharing::Seat;
use std::sync::Arc;

/// The elements of an answer that name what the call created, for the logs.
const MADE: [&str; 2] = ["Provider", "SubjectFromWebIdentityToken"];

/// The properties of a request besides its caller and action.
#[derive(Clone, Debug, Default)]
pub struct RequestFacts {
    pub source_ip: Option<String>,
    pub user_agent: Option<String>,
    pub secure: bool,
    pub region: String,
    /// The memory of the request, which is charged to the caller's account after its signature was verified.
    pub seat: Option<Arc<Seat>>,
    /// The trace of the request, which collects facts for the logs.
    pub trace: Option<Arc<RequestTrace>>,
}

impl RequestFacts {
    /// Records the operation, access key and subject in the trace, before the call is carried out.
    pub fn begun(&self, operation: &'static str, access_key: Option<&str>, subject: Vec<(&'static str, String)>) {
        if let Some(trace) = &self.trace {
            trace.set_operation(operation, None, None, access_key.map(str::to_owned));
            trace.set_subject(subject);
        }
    }

    /// Records what the call created in the trace. An access key is recorded only if its secret is in the answer.
    pub fn ended(&self, answer: &Xml) {
        let Some(trace) = &self.trace else { return };
        let key = answer.first("SecretAccessKey").and(answer.first("AccessKeyId"));
        let key = key.map(|key| ("AccessKeyId", key.to_owned()));
        let others = MADE.iter().filter_map(|name| Some((*name, answer.first(name)?.to_owned())));
        trace.set_result(key.into_iter().chain(others).collect());
    }

    /// Records in the trace that the call is refused with this code.
    pub fn refused(&self, code: &'static str) {
        if let Some(trace) = &self.trace {
            trace.set_code(code);
        }
    }

    /// Records the caller in the trace and charges the memory of the request to its account, after the signature was
    /// verified.
    pub async fn signed_by(&self, resolved: &Resolved) {
        if let Some(trace) = &self.trace {
            trace.set_principal(&resolved.principal);
        }
        if let Some(seat) = &self.seat {
            seat.of_account(&resolved.access_key, &resolved.principal.canonical_id).await;
        }
    }
}
