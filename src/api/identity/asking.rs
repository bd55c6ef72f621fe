//! The caller as the input of access decisions: the principal, its parsed policies, and the condition keys that
//! describe it.

use super::error::IdentityError;
use super::resolve::{NamedPolicy, PrincipalKind, Resolved};
use crate::api::policy::{
    Account, Budget, Context, Decision, Identity, ParsedPolicies, Policy, PolicyKind, PolicyRef, Prepared, Principal,
    Question, Target,
};
use crate::types::UnixMs;
use std::sync::Arc;
use time::OffsetDateTime;

/// An identity with its policies parsed, which is cached across requests.
pub struct ParsedIdentity {
    pub principal: Principal,
    own: Vec<Parsed>,
    groups: Vec<Parsed>,
    boundary: Option<Parsed>,
    session: Option<Vec<Parsed>>,
    is_service_key: bool,
    /// The condition keys that describe the principal.
    pub context: Arc<Context>,
}

/// The caller of one request, on whose actions access is decided.
pub struct Asking {
    identity: Arc<ParsedIdentity>,
    /// The budget of steps for all decisions of the request.
    budget: Budget,
}

struct Parsed {
    name: String,
    policy: Arc<Policy>,
}

impl Parsed {
    fn of(parsed: &ParsedPolicies, kind: PolicyKind<'_>, named: &NamedPolicy) -> Result<Self, IdentityError> {
        let unreadable =
            |error| IdentityError::Unreadable(format!("the policy {} cannot be read: {error}", named.name));
        Ok(Self { name: named.name.clone(), policy: parsed.parse(kind, &named.text).map_err(unreadable)? })
    }

    fn named(&self) -> PolicyRef<'_> {
        PolicyRef { name: &self.name, policy: &self.policy }
    }
}

fn named(policies: &[Parsed]) -> Vec<PolicyRef<'_>> {
    policies.iter().map(Parsed::named).collect()
}

impl ParsedIdentity {
    /// Parses the policies of an identity. Fails if a stored policy cannot be parsed, because it might deny something.
    pub fn of(resolved: &Resolved, parsed: &ParsedPolicies) -> Result<Self, IdentityError> {
        let of_identity = |named| Parsed::of(parsed, PolicyKind::Identity, named);
        // Managed policies have their ARN as name.
        let kind = |named: &NamedPolicy| match named.name.starts_with("arn:") {
            true => PolicyKind::Identity,
            false => PolicyKind::Session,
        };
        let of_session = |session: &Vec<NamedPolicy>| {
            session.iter().map(|named| Parsed::of(parsed, kind(named), named)).collect::<Result<_, _>>()
        };
        Ok(Self {
            principal: principal(resolved),
            own: resolved.own_policies.iter().map(of_identity).collect::<Result<_, _>>()?,
            groups: resolved.group_policies.iter().map(of_identity).collect::<Result<_, _>>()?,
            boundary: resolved.boundary.as_ref().map(of_identity).transpose()?,
            session: resolved.session_policies.as_ref().map(of_session).transpose()?,
            is_service_key: resolved.is_service_key,
            context: Arc::new(context(resolved)),
        })
    }

    fn anonymous() -> Self {
        let principal = Principal::Anonymous;
        let context = Arc::new(principal.keys().into_iter().collect());
        let (own, groups) = (Vec::new(), Vec::new());
        Self { principal, own, groups, boundary: None, session: None, is_service_key: false, context }
    }
}

impl From<Arc<ParsedIdentity>> for Asking {
    fn from(identity: Arc<ParsedIdentity>) -> Self {
        Self { identity, budget: Budget::default() }
    }
}

impl Asking {
    /// Parses the policies of the caller. Fails if a stored policy cannot be parsed.
    pub fn of(resolved: &Resolved, parsed: &ParsedPolicies) -> Result<Self, IdentityError> {
        Ok(Arc::new(ParsedIdentity::of(resolved, parsed)?).into())
    }

    /// Returns the anonymous caller.
    pub fn anonymous() -> Self {
        Arc::new(ParsedIdentity::anonymous()).into()
    }

    pub fn principal(&self) -> &Principal {
        &self.identity.principal
    }

    /// Returns a context with the condition keys that describe the caller, to which those of the request can be added.
    pub fn context(&self) -> Context {
        Context::over(&self.identity.context)
    }

    pub fn decide(&self, action: &str, resource: &str, target: Target<'_>, context: &Context) -> Decision {
        self.prepare(action, resource, target, context).decide()
    }

    /// Prepares decisions on many objects: the common part is evaluated once.
    pub fn prepare<'a>(
        &'a self,
        action: &'a str,
        resource: &'a str,
        target: Target<'a>,
        context: &'a Context,
    ) -> Prepared<'a> {
        let ParsedIdentity { principal, own, groups, boundary, session, is_service_key, .. } = &*self.identity;
        let identity = Identity {
            own: named(own),
            groups: named(groups),
            boundary: boundary.as_ref().map(Parsed::named),
            session: session.as_deref().map(named),
            is_service_key: *is_service_key,
        };
        let question = Question { principal, identity, action, resource, target, context };
        Prepared::of(question, &self.budget)
    }
}

/// Converts the caller to a principal of policies. A root with session policies becomes a user with all permissions, as
/// the session policies of a `Root` would not be evaluated. A federated user becomes a user, too.
fn principal(resolved: &Resolved) -> Principal {
    let who = &resolved.principal;
    let account = Account { id: who.account.clone(), canonical_id: who.canonical_id.clone() };
    match (&who.kind, &who.role) {
        (PrincipalKind::Root, _) if resolved.session_policies.is_none() => Principal::Root(account),
        (PrincipalKind::AssumedRole, Some(role)) => Principal::RoleSession {
            account,
            role_arn: role.arn.clone(),
            role_id: role.id.clone(),
            session_name: role.session.clone(),
        },
        _ => Principal::User {
            account,
            arn: who.arn.clone(),
            name: who.user_name.clone().unwrap_or_default(),
            id: who.user_id.clone(),
            issuer: who.issuer.clone(),
        },
    }
}

/// Returns the condition keys that describe the caller (IAM User Guide, "AWS global condition context keys").
fn context(resolved: &Resolved) -> Context {
    let who = &resolved.principal;
    let kind = match who.kind {
        PrincipalKind::Root => "Account",
        PrincipalKind::User => "User",
        PrincipalKind::AssumedRole => "AssumedRole",
        PrincipalKind::FederatedUser => "FederatedUser",
    };
    let mut context = Context::default();
    context.add("aws:PrincipalType", kind);
    context.add("aws:PrincipalIsAWSService", "false");
    context.add("aws:userid", who.user_id.as_str());
    context.add("aws:PrincipalArn", who.role.as_ref().map_or(&who.arn, |role| &role.arn).as_str());
    context.add("aws:PrincipalAccount", who.account.as_str());
    if let Some(name) = &who.user_name {
        context.add("aws:username", name.as_str());
    }
    for (key, value) in &who.tags {
        context.add(&format!("aws:PrincipalTag/{key}"), value.as_str());
    }
    if let Some(session) = &resolved.session {
        context.add("aws:TokenIssueTime", rfc3339(session.issued));
        if let Some(identity) = &session.source_identity {
            context.add("aws:SourceIdentity", identity.as_str());
        }
        for (key, value) in &session.claims {
            context.add(key, value.as_str());
        }
    }
    context
}

/// Formats a time as date conditions expect it.
pub fn rfc3339(at: UnixMs) -> String {
    let seconds = i64::try_from(at.0 / 1000).unwrap_or(0);
    let at = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
    // Written by hand for speed, as every request formats a time.
    let mut text = String::with_capacity("2006-01-02T15:04:05Z".len());
    let century = u8::try_from(year / 100).unwrap_or_default();
    let numbers = [(century, None), (u8::try_from(year % 100).unwrap_or_default(), Some('-')), (month, Some('-'))];
    let of_day = [(day, Some('T')), (at.hour(), Some(':')), (at.minute(), Some(':')), (at.second(), Some('Z'))];
    for (number, separator) in numbers.into_iter().chain(of_day) {
        text.push(char::from(b'0' + number / 10));
        text.push(char::from(b'0' + number % 10));
        text.extend(separator);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::rfc3339;
    use crate::types::UnixMs;

    #[test]
    fn rfc3339_writes_every_field_with_all_its_digits() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_438_172_160_999, "2015-07-29T12:16:00Z"),
            (1_136_214_245_000, "2006-01-02T15:04:05Z"),
            (253_402_300_799_000, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(UnixMs(ms)), text);
        }
    }
}
