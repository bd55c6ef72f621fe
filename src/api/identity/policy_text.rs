//! Whether a text is a policy of the kind that is asked for: where identities and the language of policies meet.

use super::directory::Directory;
use super::error::IdentityError;
use super::resolve::is_known_principal;
use crate::api::policy::{Policy, PolicyError, PolicyKind, PrincipalPattern};

/// What a text is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextOf {
    /// Of a user, group or role: says nothing of who it is for.
    Inline,
    Managed,
    /// Of a session, or a service key.
    Session,
    /// Who may assume a role: says nothing of resources.
    Trust,
}

impl TextOf {
    /// In characters, white space apart (IAM User Guide, "IAM and AWS STS quotas"); inline policies are counted
    /// together.
    pub fn chars_max(self) -> usize {
        match self {
            Self::Inline => 10_240,
            Self::Managed => 6144,
            Self::Session | Self::Trust => 2048,
        }
    }

    fn kind(self) -> PolicyKind<'static> {
        match self {
            Self::Inline | Self::Managed => PolicyKind::Identity,
            Self::Session => PolicyKind::Session,
            Self::Trust => PolicyKind::Trust,
        }
    }
}

/// What AWS counts of a policy's text.
pub fn chars_of(text: &str) -> usize {
    text.chars().filter(|c| !c.is_whitespace()).count()
}

/// `name` is told where the text is too long.
pub fn check(of: TextOf, name: &str, text: &str) -> Result<Policy, IdentityError> {
    let limit = of.chars_max();
    let too_large = || IdentityError::LimitExceeded(format!("Cannot exceed quota for PolicySize: {limit} ({name})"));
    let policy = Policy::parse(of.kind(), text).map_err(|error| match error {
        PolicyError::TooLarge { .. } => too_large(),
        error => IdentityError::MalformedPolicyDocument(error.to_string()),
    })?;
    if chars_of(text) <= limit { Ok(policy) } else { Err(too_large()) }
}

/// As `check`, for a role's trust policy; those whom it names must exist.
pub fn check_trust(directory: &Directory<'_>, role: &str, text: &str) -> Result<(), IdentityError> {
    for principal in check(TextOf::Trust, role, text)?.principals() {
        let (known, name) = match principal {
            PrincipalPattern::Account(name) | PrincipalPattern::Arn(name) => {
                (is_known_principal(directory, name)?, name)
            }
            PrincipalPattern::Canonical(id) => (directory.account_by_canonical_id(id)?.is_some(), id),
            PrincipalPattern::Everybody | PrincipalPattern::Service(_) | PrincipalPattern::Federated(_) => continue,
        };
        if !known {
            return Err(IdentityError::MalformedPolicyDocument(format!(
                "Invalid principal in policy: \"AWS\":\"{name}\""
            )));
        }
    }
    Ok(())
}
