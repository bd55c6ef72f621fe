//! Validation of policy texts for identities: syntax, quotas, and the existence of named principals.

use super::directory::Directory;
use super::error::IdentityError;
use super::resolve::find_principal;
use crate::api::policy::{Policy, PolicyError, PolicyKind, PrincipalIds, PrincipalPattern};

/// The kind of policy that a text is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextOf {
    /// An inline policy of a user, group or role.
    Inline,
    Managed,
    /// A session policy, or the policy of a service key.
    Session,
    /// The trust policy of a role.
    Trust,
}

impl TextOf {
    /// Returns the quota in characters, without whitespace (IAM User Guide, "IAM and AWS STS quotas"). For inline
    /// policies it is the largest quota of any holder, each of which counts its policies together.
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

/// Returns the length of a policy text as AWS's quotas count it: in characters, without whitespace.
pub fn chars_of(text: &str) -> usize {
    text.chars().filter(|c| !c.is_whitespace()).count()
}

/// The bytes that may be stored for each character of the quota. This bounds what a request reads of policies, although
/// the quota does not count whitespace.
const BYTES_OF_A_CHAR: usize = 4;

/// Validates a policy text and returns it as it is to be stored. A text with much whitespace is stored without the
/// whitespace outside of strings, and refused if it is too long even then.
pub fn kept(of: TextOf, name: &str, text: &str) -> Result<String, IdentityError> {
    check(of, name, text)?;
    within(of.chars_max(), text).ok_or_else(|| too_large(of.chars_max(), name))
}

/// Returns the text to store for a quota of `chars_max` characters; `None` if it is too long in bytes.
pub fn within(chars_max: usize, text: &str) -> Option<String> {
    let bytes_max = chars_max * BYTES_OF_A_CHAR;
    if text.len() <= bytes_max {
        return Some(text.to_owned());
    }
    Some(compact(text)).filter(|text| text.len() <= bytes_max)
}

/// Removes the whitespace outside of strings from a JSON text.
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

/// Validates a policy text. `name` is the name of the policy in the error for a text that is too long.
pub fn check(of: TextOf, name: &str, text: &str) -> Result<Policy, IdentityError> {
    let limit = of.chars_max();
    let policy = Policy::parse(of.kind(), text).map_err(|error| match error {
        PolicyError::TooLarge { .. } => too_large(limit, name),
        error => IdentityError::MalformedPolicyDocument(error.to_string()),
    })?;
    if chars_of(text) <= limit { Ok(policy) } else { Err(too_large(limit, name)) }
}

/// The reason why the principals of a policy are not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PrincipalFault {
    /// This one does not exist.
    Unknown(String),
    Directory(IdentityError),
}

impl From<IdentityError> for PrincipalFault {
    fn from(error: IdentityError) -> Self {
        Self::Directory(error)
    }
}

/// Returns the ids of the users and roles that a policy of a resource names. All its principals must exist, as the
/// policy would otherwise apply to one that gets the name later.
pub fn principal_ids<'p>(
    directory: &Directory<'_>,
    patterns: impl Iterator<Item = &'p PrincipalPattern>,
) -> Result<PrincipalIds, PrincipalFault> {
    let mut ids = PrincipalIds::new();
    for pattern in patterns {
        match pattern {
            PrincipalPattern::Account(name) | PrincipalPattern::Arn(name) => {
                let found = find_principal(directory, name)?;
                let found = found.ok_or_else(|| PrincipalFault::Unknown(name.clone()))?;
                ids.extend(found.id.map(|id| (name.clone(), id)));
            }
            PrincipalPattern::Canonical(id) => {
                let found = directory.account_by_canonical_id(id)?;
                found.ok_or_else(|| PrincipalFault::Unknown(id.clone()))?;
            }
            PrincipalPattern::Everybody | PrincipalPattern::Service(_) | PrincipalPattern::Federated(_) => {}
        }
    }
    Ok(ids)
}

/// Validates a role's trust policy, whose principals must exist. Returns the text to store, and their ids.
pub fn kept_trust(directory: &Directory<'_>, role: &str, text: &str) -> Result<(String, PrincipalIds), IdentityError> {
    let policy = check(TextOf::Trust, role, text)?;
    let ids = principal_ids(directory, policy.principals()).map_err(|fault| match fault {
        PrincipalFault::Unknown(name) => {
            IdentityError::MalformedPolicyDocument(format!("Invalid principal in policy: \"AWS\":\"{name}\""))
        }
        PrincipalFault::Directory(error) => error,
    })?;
    Ok((kept(TextOf::Trust, role, text)?, ids))
}

#[cfg(test)]
mod tests {
    use super::{TextOf, compact, kept};
    use crate::api::identity::error::IdentityError;

    const TEXT: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}"#;

    #[test]
    fn compacting_removes_whitespace_only_outside_of_strings() {
        let spaced = " {\n\t\"a b\" : [ \"c \\\" d \\\\\" , 1 ] }\r\n";
        assert_eq!(compact(spaced), "{\"a b\":[\"c \\\" d \\\\\",1]}");
        assert_eq!(compact(TEXT), TEXT);
    }

    #[test]
    fn a_policy_with_much_whitespace_is_stored_compacted_or_refused() {
        let short = TEXT.replace("\":", "\" : ");
        assert_eq!(kept(TextOf::Managed, "p", &short), Ok(short));
        let long = format!("{{{}{}", " \n".repeat(50_000), &TEXT[1..]);
        assert_eq!(kept(TextOf::Managed, "p", &long).as_deref(), Ok(TEXT));
        // Whitespace in a string cannot be removed, and the quota does not count it.
        let within = format!("{{\"Id\":\"{}\",{}", " ".repeat(100_000), &TEXT[1..]);
        assert!(matches!(kept(TextOf::Managed, "p", &within), Err(IdentityError::LimitExceeded(_))));
    }
}
