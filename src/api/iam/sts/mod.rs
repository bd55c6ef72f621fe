//! STS (Security Token Service API Reference, version 2011-06-15), which issues sessions. A session is not stored: its
//! token holds all of it.

mod assume;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod issue;
mod jwt;
mod web_identity;

pub use jwt::check_key_set;
pub use web_identity::assume_with_web_identity;

use super::authorize::Caller;
use super::fault::IamFault;
use super::parameters::Parameters;
use super::xml::Xml;
use crate::ambient::Ambient;
use crate::api::identity::{
    Directory, IdentityError, PrincipalKind, Session, SessionKeys, SessionLimits, SessionOf, federated_arn, names,
};

pub type StsResult = Result<Xml, IamFault>;

/// A signed call, with the directory and keys that its action uses.
#[derive(Clone, Copy)]
pub struct StsCall<'a> {
    pub directory: Directory<'a>,
    pub ambient: &'a Ambient,
    pub sessions: &'a SessionKeys,
    pub caller: Caller<'a>,
    pub parameters: &'a Parameters,
}

pub type StsAction = fn(&StsCall<'_>) -> StsResult;

const ACTIONS: &[(&str, StsAction)] = &[
    ("AssumeRole", assume::assume_role),
    ("GetAccessKeyInfo", access_key_info),
    ("GetCallerIdentity", caller_identity),
    ("GetFederationToken", federation_token),
    ("GetSessionToken", session_token),
];

/// The action that needs no signature: the token in the call authenticates the caller.
pub const UNSIGNED_ACTION: &str = "AssumeRoleWithWebIdentity";

pub fn names() -> impl Iterator<Item = &'static str> {
    ACTIONS.iter().map(|(name, _)| *name).chain([UNSIGNED_ACTION])
}

pub fn find(name: &str) -> Option<(&'static str, StsAction)> {
    ACTIONS.iter().find(|(known, _)| *known == name).copied()
}

/// GetCallerIdentity, which needs no permission.
fn caller_identity(call: &StsCall<'_>) -> StsResult {
    let who = &call.caller.resolved.principal;
    let mut xml = Xml::default();
    xml.text("Arn", &who.arn);
    xml.text("UserId", &who.user_id);
    xml.text("Account", &who.account);
    Ok(xml)
}

/// GetAccessKeyInfo, for keys of the caller's own account only. AWS answers for keys of any account.
fn access_key_info(call: &StsCall<'_>) -> StsResult {
    let id = call.parameters.required("AccessKeyId")?;
    call.caller.check("sts:GetAccessKeyInfo", "*", &[])?;
    let account = &call.caller.resolved.principal.account;
    let key = call.directory.access_key(id)?.filter(|key| key.record.owner.account() == account);
    let is_own = id == call.directory.root().access_key && account == crate::api::identity::ROOT_ACCOUNT;
    if key.is_none() && !is_own {
        return Err(IdentityError::Validation(format!("The access key {id} does not belong to this account.")).into());
    }
    let mut xml = Xml::default();
    xml.text("Account", account);
    Ok(xml)
}

/// Checks that the caller has long-term credentials of a user or a root, other than a service key.
fn check_lasting(call: &StsCall<'_>, action: &str) -> Result<(), IdentityError> {
    let who = call.caller.resolved;
    if who.session.is_some() {
        return Err(IdentityError::AccessDenied(format!("Cannot call {action} with session credentials")));
    }
    if who.is_service_key {
        return Err(IdentityError::AccessDenied(format!("Cannot call {action} with a service key")));
    }
    Ok(())
}

/// GetSessionToken: temporary credentials with all rights of the caller. It needs no permission.
fn session_token(call: &StsCall<'_>) -> StsResult {
    check_lasting(call, "GetSessionToken")?;
    let who = &call.caller.resolved.principal;
    let seconds = issue::lasting_seconds(call)?;
    let of = match who.kind {
        PrincipalKind::Root => SessionOf::Root,
        _ => {
            let (name, id) = issue::user_of(call)?;
            SessionOf::User { name, id }
        }
    };
    let session = Session { of, ..issue::session(call, seconds) };
    let mut xml = Xml::default();
    issue::credentials(&mut xml, call.ambient, call.sessions, &session)?;
    Ok(xml)
}

/// GetFederationToken: temporary credentials for a federated user, with those rights of the caller that the session
/// policies of the call allow.
fn federation_token(call: &StsCall<'_>) -> StsResult {
    let name = call.parameters.required("Name")?;
    issue::check_session_name("name", name, 32)?;
    check_lasting(call, "GetFederationToken")?;
    let who = &call.caller.resolved.principal;
    let arn = federated_arn(&who.account, name);
    let tags = call.parameters.tags("Tags");
    names::check_tags(&tags)?;
    let (key, keys): (Vec<_>, Vec<_>) = tags
        .iter()
        .map(|(key, value)| ((format!("aws:RequestTag/{key}"), value), ("aws:TagKeys", key.as_str())))
        .unzip();
    let keys: Vec<(&str, &str)> = key.iter().map(|(key, value)| (key.as_str(), value.as_str())).chain(keys).collect();
    call.caller.check("sts:GetFederationToken", &arn, &keys)?;
    if !tags.is_empty() {
        call.caller.check("sts:TagSession", &arn, &keys)?;
    }
    let seconds = issue::lasting_seconds(call)?;
    let limits = issue::limits(call.directory, &who.account, call.parameters)?;
    let by = match who.kind {
        PrincipalKind::Root => None,
        _ => Some(issue::user_of(call)?),
    };
    let packed = issue::packed_percent(&limits, &tags);
    let session = Session {
        of: SessionOf::Federated { name: name.to_owned(), by },
        // Without session policies a federated user may do nothing.
        limits: Some(limits.unwrap_or_else(SessionLimits::default)),
        tags,
        ..issue::session(call, seconds)
    };
    let mut xml = Xml::default();
    issue::credentials(&mut xml, call.ambient, call.sessions, &session)?;
    xml.within("FederatedUser", |xml| {
        xml.text("FederatedUserId", &format!("{}:{name}", who.account));
        xml.text("Arn", &arn);
    });
    xml.number("PackedPolicySize", packed);
    Ok(xml)
}
