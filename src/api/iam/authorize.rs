//! Authorisation of IAM's and STS's actions, decided where all access is (`policy`).

use super::call::RequestFacts;
use crate::api::identity::records::RoleRecord;
use crate::api::identity::{Asking, IdentityError, PrincipalKind, Resolved, TextOf, check_policy, rfc3339};
use crate::api::policy::{Context, Decision, Missing, Reason, Target};
use crate::types::UnixMs;

/// The caller, the time and the address of a call.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    pub resolved: &'a Resolved,
    pub asking: &'a Asking,
    pub facts: &'a RequestFacts,
    pub now: UnixMs,
}

impl Caller<'_> {
    /// Refuses what the caller's policies do not allow; `keys` are conditions' keys of this very action.
    pub fn check(&self, action: &str, resource: &str, keys: &[(&str, &str)]) -> Result<(), IdentityError> {
        let decision = self.asking.decide(action, resource, Target::Account, &self.context(keys));
        if decision.allowed { Ok(()) } else { Err(self.denied(action, resource, &decision)) }
    }

    /// IAM is not for credentials that were handed out for a time, except by a role (IAM User Guide, "Compare AWS STS
    /// credentials").
    pub fn check_may_call_iam(&self) -> Result<(), IdentityError> {
        if self.resolved.session.is_some() && self.resolved.principal.kind != PrincipalKind::AssumedRole {
            return Err(IdentityError::AccessDenied(
                "IAM cannot be called with the credentials of GetSessionToken or GetFederationToken.".to_owned(),
            ));
        }
        Ok(())
    }

    pub fn context(&self, keys: &[(&str, &str)]) -> Context {
        let mut context = self.asking.context();
        context.extend(request_keys(self.facts.clone(), self.now));
        context.extend(keys.iter().copied());
        context
    }

    /// Returns the denial in the words of IAM.
    pub fn denied(&self, action: &str, resource: &str, decision: &Decision) -> IdentityError {
        let because = match &decision.reason {
            Reason::DeniedBy(statement) => format!("with an explicit deny: {statement} denies it"),
            Reason::NotAllowedBy(Missing::Boundary(_)) => {
                format!("because no permissions boundary allows the {action} action")
            }
            Reason::NotAllowedBy(Missing::Session) => format!("because no session policy allows the {action} action"),
            Reason::NotAllowedBy(Missing::Resource) => {
                format!("because no resource-based policy allows the {action} action")
            }
            _ => format!("because no identity-based policy allows the {action} action"),
        };
        let who = &self.resolved.principal.arn;
        IdentityError::AccessDenied(format!(
            "User: {who} is not authorized to perform: {action} on resource: {resource} {because}"
        ))
    }

    /// Returns whether the role's trust policy, and if needed the caller's own policies, allow to assume it.
    ///
    /// Whom the trust policy names itself may assume the role if nothing denies it, within the role's account. From
    /// another account both sides are needed: the role's trust, and the leave of the caller's own policies.
    pub fn decide_on_role(
        &self,
        action: &str,
        role: &RoleRecord,
        context: &Context,
    ) -> Result<Decision, IdentityError> {
        let trust = check_policy(TextOf::Trust, &role.name, &role.trust)?;
        let target = Target::Role { account: &role.account, trust: &trust };
        Ok(self.asking.decide(action, &role.arn(), target, context))
    }
}

/// IAM User Guide, "AWS global condition context keys", "Properties of the request". In lower case.
pub fn request_keys(facts: RequestFacts, now: UnixMs) -> Vec<(&'static str, String)> {
    let mut keys = vec![
        ("aws:currenttime", rfc3339(now)),
        ("aws:epochtime", (now.0 / 1000).to_string()),
        ("aws:securetransport", facts.secure.to_string()),
        ("aws:requestedregion", facts.region),
    ];
    keys.extend(facts.source_ip.map(|ip| ("aws:sourceip", ip)));
    keys.extend(facts.user_agent.map(|agent| ("aws:useragent", agent)));
    keys
}
