//! Authorisation of IAM and STS actions. The decisions are those of `policy`; this adds the condition keys, and the
//! error messages of IAM.

use super::facts::RequestFacts;
use crate::api::identity::records::RoleRecord;
use crate::api::identity::{Asking, IdentityError, PrincipalKind, Resolved, TextOf, check_policy, rfc3339};
use crate::api::policy::{Context, Decision, Missing, Reason, ResourcePolicy, Target};
use crate::types::UnixMs;

/// The caller of a call, with the properties and the time of the request.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    pub resolved: &'a Resolved,
    pub asking: &'a Asking,
    pub facts: &'a RequestFacts,
    pub now: UnixMs,
}

impl Caller<'_> {
    /// Checks that the caller's policies allow the action. `keys` are further condition keys of this action.
    pub fn check(&self, action: &str, resource: &str, keys: &[(&str, &str)]) -> Result<(), IdentityError> {
        let decision = self.asking.decide(action, resource, Target::Account, &self.context(keys));
        if decision.allowed { Ok(()) } else { Err(self.denied(action, resource, &decision)) }
    }

    /// Refuses IAM calls with temporary credentials, except those of a role (IAM User Guide, "Compare AWS STS
    /// credentials").
    pub fn check_may_call_iam(&self) -> Result<(), IdentityError> {
        if self.resolved.session.is_some() && self.resolved.principal.kind != PrincipalKind::AssumedRole {
            return Err(IdentityError::AccessDenied(
                "IAM cannot be called with the credentials of GetSessionToken or GetFederationToken.".to_owned(),
            ));
        }
        Ok(())
    }

    /// Refuses the STS actions that temporary credentials may not call: those of a federated user may only call
    /// GetCallerIdentity, and those of GetSessionToken only AssumeRole besides (the same page).
    pub fn check_may_call_sts(&self, action: &str) -> Result<(), IdentityError> {
        let kind = &self.resolved.principal.kind;
        let may = match (&self.resolved.session, kind) {
            (None, _) | (Some(_), PrincipalKind::AssumedRole) => true,
            (Some(_), PrincipalKind::FederatedUser) => action == "GetCallerIdentity",
            (Some(_), PrincipalKind::Root | PrincipalKind::User) => {
                ["AssumeRole", "GetCallerIdentity"].contains(&action)
            }
        };
        if may {
            return Ok(());
        }
        Err(IdentityError::AccessDenied(format!("Cannot call {action} with these session credentials")))
    }

    pub fn context(&self, keys: &[(&str, &str)]) -> Context {
        let mut context = self.asking.context();
        context.extend(request_keys(self.facts.clone(), self.now));
        context.extend(keys.iter().copied());
        context
    }

    /// Returns the error for a denial, in the words of IAM.
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

    /// Returns whether the caller may assume the role. Within the role's account, a trust policy that names the caller
    /// itself suffices; if it names only the account, the caller's own policies must allow it, too. From another
    /// account, the trust policy and the caller's own policies must both allow it.
    pub fn decide_on_role(
        &self,
        action: &str,
        role: &RoleRecord,
        context: &Context,
    ) -> Result<Decision, IdentityError> {
        let trust = check_policy(TextOf::Trust, &role.name, &role.trust)?;
        let trust = ResourcePolicy { policy: &trust, ids: &role.trust_ids };
        let target = Target::Role { account: &role.account, trust };
        Ok(self.asking.decide(action, &role.arn(), target, context))
    }
}

/// Returns the condition keys of the tags of a resource of IAM: `aws:ResourceTag/…` and IAM's own `iam:ResourceTag/…`
/// (Service Authorization Reference, "AWS Identity and Access Management" and "AWS Security Token Service").
pub fn resource_tag_keys(tags: &[(String, String)]) -> impl Iterator<Item = (String, &str)> {
    let services = ["aws", "iam"].into_iter();
    services.flat_map(move |service| {
        tags.iter().map(move |(key, value)| (format!("{service}:ResourceTag/{key}"), value.as_str()))
    })
}

/// Returns the condition keys of the request, in lower case (IAM User Guide, "AWS global condition context keys",
/// "Properties of the request").
pub fn request_keys(facts: RequestFacts, now: UnixMs) -> Vec<(&'static str, String)> {
    let mut keys = vec![
        ("aws:currenttime", rfc3339(now)),
        ("aws:epochtime", (now.0 / 1000).to_string()),
        ("aws:securetransport", facts.secure.to_string()),
        ("aws:requestedregion", facts.region),
    ];
    keys.extend(facts.source_ip.map(|ip| ("aws:sourceip", ip)));
    keys.extend(facts.user_agent.filter(|agent| !agent.is_empty()).map(|agent| ("aws:useragent", agent)));
    keys
}
