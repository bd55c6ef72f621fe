//! The steps of issuing a session that all STS actions share: duration, session policies, and the credentials in the
//! answer.

use super::{IamFault, StsCall};
use crate::ambient::Ambient;
use crate::api::iam::parameters::Parameters;
use crate::api::iam::xml::Xml;
use crate::api::identity::records::{RoleRecord, Tags};
use crate::api::identity::{
    Directory, IdOf, IdentityError, PrincipalKind, Session, SessionKeys, SessionLimits, SessionOf, TOKEN_BYTES_MAX,
    TextOf, assumed_role_arn, check_policy, fresh_id,
};
use crate::types::UnixMs;

const SECONDS_MIN: u64 = 900;
/// The default and the longest duration of GetSessionToken and GetFederationToken. For a root the longest is an hour.
const LASTING_SECONDS_DEFAULT: u64 = 43_200;
const LASTING_SECONDS_MAX: u64 = 129_600;
const ROOT_SECONDS_MAX: u64 = 3600;
/// The default duration of a role session, and the longest with role chaining.
const ROLE_SECONDS_DEFAULT: u64 = 3600;
const ROLE_SECONDS_MAX: u64 = 43_200;
/// AWS's quota of managed policies that limit one session.
const POLICY_ARNS_MAX: usize = 10;
/// The longest inline session policy. `PackedPolicySize` in answers is a percentage of it.
const POLICY_CHARS_MAX: usize = 2048;

/// Returns a session of the caller's account that begins now. Its owner is still to be set.
pub fn session(call: &StsCall<'_>, seconds: u64) -> Session {
    let source_identity = call.caller.resolved.session.as_ref().and_then(|session| session.source_identity.clone());
    Session { source_identity, ..bare(call.ambient, &call.caller.resolved.principal.account, call.caller.now, seconds) }
}

pub fn bare(ambient: &Ambient, account: &str, now: UnixMs, seconds: u64) -> Session {
    Session {
        access_key: fresh_id(ambient, IdOf::SessionKey),
        account: account.to_owned(),
        of: SessionOf::Root,
        issued: now,
        expires: UnixMs(now.0.saturating_add(seconds.saturating_mul(1000))),
        limits: None,
        tags: Vec::new(),
        transitive: Vec::new(),
        source_identity: None,
        claims: Vec::new(),
    }
}

/// Returns the calling user: its name in lower case, and its id.
pub fn user_of(call: &StsCall<'_>) -> Result<(String, String), IdentityError> {
    let who = &call.caller.resolved.principal;
    let name = who.user_name.as_deref();
    let name = name.ok_or_else(|| {
        IdentityError::AccessDenied("This call needs the credentials of a user or of an account's root.".to_owned())
    })?;
    Ok((name.to_ascii_lowercase(), who.user_id.clone()))
}

/// Returns the duration for GetSessionToken and GetFederationToken.
pub fn lasting_seconds(call: &StsCall<'_>) -> Result<u64, IdentityError> {
    let requested = call.parameters.number("DurationSeconds")?;
    check_seconds(requested, SECONDS_MIN, LASTING_SECONDS_MAX)?;
    let seconds = requested.unwrap_or(LASTING_SECONDS_DEFAULT);
    let is_root = call.caller.resolved.principal.kind == PrincipalKind::Root;
    Ok(if is_root { seconds.min(ROOT_SECONDS_MAX) } else { seconds })
}

/// Returns the duration of a role session. `chained`: the caller is a role session itself.
pub fn role_seconds(parameters: &Parameters, role: &RoleRecord, chained: bool) -> Result<u64, IdentityError> {
    let requested = parameters.number("DurationSeconds")?;
    check_seconds(requested, SECONDS_MIN, ROLE_SECONDS_MAX)?;
    let seconds = requested.unwrap_or(ROLE_SECONDS_DEFAULT);
    if seconds > role.session_seconds_max {
        return Err(IdentityError::Validation(
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.".to_owned(),
        ));
    }
    if chained && seconds > ROLE_SECONDS_DEFAULT {
        return Err(IdentityError::Validation(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining."
                .to_owned(),
        ));
    }
    Ok(seconds)
}

fn check_seconds(requested: Option<u64>, min: u64, max: u64) -> Result<(), IdentityError> {
    match requested {
        Some(seconds) if !(min..=max).contains(&seconds) => Err(IdentityError::Validation(format!(
            "1 validation error detected: Value '{seconds}' at 'durationSeconds' failed to satisfy constraint: \
             Member must have value between {min} and {max}"
        ))),
        _ => Ok(()),
    }
}

/// Checks the name of a session or of a federated user.
pub fn check_session_name(parameter: &str, name: &str, length_max: usize) -> Result<(), IdentityError> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte);
    if (2..=length_max).contains(&name.len()) && name.bytes().all(fits) {
        return Ok(());
    }
    Err(IdentityError::Validation(format!(
        "1 validation error detected: Value '{name}' at '{parameter}' failed to satisfy constraint: Member must have 2 \
         to {length_max} characters and satisfy regular expression pattern: [\\w+=,.@-]*"
    )))
}

/// Checks the parameters that do not depend on the role: duration and session policy.
pub fn check_common_parameters(parameters: &Parameters) -> Result<(), IamFault> {
    check_seconds(parameters.number("DurationSeconds")?, SECONDS_MIN, ROLE_SECONDS_MAX)?;
    parameters.text("Policy").map_or(Ok(()), check_document)
}

fn check_document(text: &str) -> Result<(), IamFault> {
    let checked = check_policy(TextOf::Session, "session policy", text).map(|_| ());
    checked.map_err(|error| match error {
        IdentityError::LimitExceeded(_) => {
            IamFault::PackedPolicyTooLarge(format!("The session policy is longer than {POLICY_CHARS_MAX} characters."))
        }
        error => error.into(),
    })
}

/// Parses and checks the session policies of a call; `None` if it has none.
pub fn limits(
    directory: Directory<'_>,
    account: &str,
    parameters: &Parameters,
) -> Result<Option<SessionLimits>, IamFault> {
    let document = parameters.text("Policy").map(str::to_owned);
    let arns = parameters.parts("PolicyArns", "arn");
    if document.is_none() && arns.is_empty() {
        return Ok(None);
    }
    if let Some(text) = &document {
        check_document(text)?;
    }
    if arns.len() > POLICY_ARNS_MAX {
        return Err(
            IdentityError::Validation(format!("A session can have at most {POLICY_ARNS_MAX} policy ARNs.")).into()
        );
    }
    for arn in &arns {
        directory.managed(account, arn).map_err(|error| match error {
            IdentityError::NoSuchEntity(_) => {
                IdentityError::MalformedPolicyDocument(format!("The policy {arn} does not exist."))
            }
            error => error,
        })?;
    }
    Ok(Some(SessionLimits { document, arns }))
}

/// Returns `PackedPolicySize`: the size of session policies and tags, in percent of the limit.
pub fn packed_percent(limits: &Option<SessionLimits>, tags: &Tags) -> u64 {
    let of_limits = limits.as_ref().map_or(0, |limits| {
        limits.document.as_ref().map_or(0, String::len) + limits.arns.iter().map(String::len).sum::<usize>()
    });
    let of_tags: usize = tags.iter().map(|(key, value)| key.len() + value.len()).sum();
    ((of_limits + of_tags) * 100 / POLICY_CHARS_MAX).min(100) as u64
}

/// Writes the credentials of a session. Refuses a session whose token would be too long to be accepted.
pub fn credentials(
    xml: &mut Xml,
    ambient: &Ambient,
    sessions: &SessionKeys,
    session: &Session,
) -> Result<(), IamFault> {
    let token = sessions.seal(ambient, session);
    if token.len() > TOKEN_BYTES_MAX {
        return Err(IamFault::PackedPolicyTooLarge(format!(
            "The policies and tags of the session make its token longer than {TOKEN_BYTES_MAX} bytes."
        )));
    }
    xml.within("Credentials", |xml| {
        xml.text("AccessKeyId", &session.access_key);
        xml.text("SecretAccessKey", &sessions.secret_of(&session.access_key));
        xml.text("SessionToken", &token);
        xml.date("Expiration", session.expires);
    });
    Ok(())
}

pub fn assumed_role_user(xml: &mut Xml, role: &RoleRecord, session_name: &str) {
    xml.within("AssumedRoleUser", |xml| {
        xml.text("AssumedRoleId", &format!("{}:{session_name}", role.id));
        xml.text("Arn", &assumed_role_arn(role, session_name));
    });
}
