//! Validation of a policy text for a kind of policy: where identities and the language of policies meet.

use super::directory::Directory;
use super::error::IdentityError;
use super::resolve::is_known_principal;
use crate::api::policy::{Policy, PolicyError, PolicyKind, PrincipalPattern};

/// The kind of policy that a text is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextOf {
    /// A policy of a user, group or role: names no principal.
    Inline,
    Managed,
    /// A policy of a session, or a service key.
    Session,
    /// The trust policy of a role: names no resources.
    Trust,
}

impl TextOf {
    /// Returns the bound in characters, white space apart (IAM User Guide, "IAM and AWS STS quotas"); inline policies
    /// are counted together.
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

/// Returns the length of a policy's text as AWS counts it.
pub fn chars_of(text: &str) -> usize {
    text.chars().filter(|c| !c.is_whitespace()).count()
}

/// Bytes for each character that is counted, with the white space that is kept: what a request reads of policies is bounded by it.
const BYTES_OF_A_CHAR: usize = 4;

/// The text as it is kept. One that is much longer than what is counted of it is kept without the white space outside of its
/// strings, and refused if that does not make it short enough.
pub fn kept(of: TextOf, name: &str, text: &str) -> Result<String, IdentityError> {
    check(of, name, text)?;
    within(of.chars_max(), text).ok_or_else(|| too_large(of.chars_max(), name))
}

/// The text in so many characters, as far as its bytes go.
pub fn within(chars_max: usize, text: &str) -> Option<String> {
    let bytes_max = chars_max * BYTES_OF_A_CHAR;
    if text.len() <= bytes_max {
        return Some(text.to_owned());
    }
    Some(compact(text)).filter(|text| text.len() <= bytes_max)
}

/// JSON without the white space outside of its strings.
fn compact(json: &str) -> String {
    let (mut in_string, mut escaped) = (false, false);
    let kept = json.chars().filter(|&c| {
        let is_kept = in_string || !c.is_ascii_whitespace();
        (in_string, escaped) = match c {
            _ if escaped => (in_string, false),
            '\\' => (in_string, in_string),
            '"' => (!in_string, false),
            _ => (in_string, false),
        };
        is_kept
    });
    kept.collect()
}

fn too_large(limit: usize, name: &str) -> IdentityError {
    IdentityError::LimitExceeded(format!("Cannot exceed quota for PolicySize: {limit} ({name})"))
}

/// `name` is told where the text is too long.
pub fn check(of: TextOf, name: &str, text: &str) -> Result<Policy, IdentityError> {
    let limit = of.chars_max();
    let policy = Policy::parse(of.kind(), text).map_err(|error| match error {
        PolicyError::TooLarge { .. } => too_large(limit, name),
        error => IdentityError::MalformedPolicyDocument(error.to_string()),
    })?;
    if chars_of(text) <= limit { Ok(policy) } else { Err(too_large(limit, name)) }
}

/// As `kept`, for a role's trust policy; the principals that it names must exist.
pub fn kept_trust(directory: &Directory<'_>, role: &str, text: &str) -> Result<String, IdentityError> {
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
    kept(TextOf::Trust, role, text)
}

#[cfg(test)]
mod tests {
    use super::{TextOf, compact, kept};
    use crate::api::identity::error::IdentityError;

    const TEXT: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}"#;

    #[test]
    fn white_space_is_removed_outside_of_strings_only() {
        let spaced = " {\n\t\"a b\" : [ \"c \\\" d \\\\\" , 1 ] }\r\n";
        assert_eq!(compact(spaced), "{\"a b\":[\"c \\\" d \\\\\",1]}");
        assert_eq!(compact(TEXT), TEXT);
    }

    #[test]
    fn a_policy_is_kept_as_it_is_given_or_without_white_space_or_not_at_all() {
        let short = TEXT.replace("\":", "\" : ");
        assert_eq!(kept(TextOf::Managed, "p", &short), Ok(short));
        let long = format!("{{{}{}", " \n".repeat(50_000), &TEXT[1..]);
        assert_eq!(kept(TextOf::Managed, "p", &long).as_deref(), Ok(TEXT));
        // White space in a string is part of it, and counts for nothing against the quota.
        let within = format!("{{\"Id\":\"{}\",{}", " ".repeat(100_000), &TEXT[1..]);
        assert!(matches!(kept(TextOf::Managed, "p", &within), Err(IdentityError::LimitExceeded(_))));
    }
}
