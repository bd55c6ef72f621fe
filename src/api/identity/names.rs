//! The syntax of names, paths, tags and ARNs (IAM User Guide, "IAM and AWS STS quotas"; patterns in the IAM API
//! Reference).

use super::error::IdentityError;

const PATH_BYTES_MAX: usize = 512;
const TAGS_MAX: usize = 50;
const TAG_KEY_CHARS_MAX: usize = 128;
const TAG_VALUE_CHARS_MAX: usize = 256;
pub const USER_NAME_MAX: usize = 64;
pub const GROUP_NAME_MAX: usize = 128;
pub const ROLE_NAME_MAX: usize = 64;
pub const POLICY_NAME_MAX: usize = 128;
pub const ACCOUNT_NAME_CHARS_MAX: usize = 128;
pub const EMAIL_BYTES_MAX: usize = 254;
pub const ACCOUNT_DIGITS: usize = 12;
pub const CANONICAL_DIGITS: usize = 64;
/// The account in the ARNs of built-in policies.
pub const EVERYBODYS_ACCOUNT: &str = "aws";

/// Checks a name. `parameter` is the name of the parameter in the error.
pub fn check_name(parameter: &str, name: &str, length_max: usize) -> Result<(), IdentityError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte);
    if name.is_empty() || name.len() > length_max {
        return Err(length_fault(parameter, name, length_max));
    }
    if !name.bytes().all(allowed) {
        return Err(IdentityError::Validation(format!(
            "The specified value for {parameter} is invalid. It must contain only alphanumeric characters and/or the \
             following: +=,.@_-"
        )));
    }
    Ok(())
}

fn length_fault(parameter: &str, value: &str, length_max: usize) -> IdentityError {
    let bound = match value {
        "" => "greater than or equal to 1".to_owned(),
        _ => format!("less than or equal to {length_max}"),
    };
    IdentityError::Validation(format!(
        "1 validation error detected: Value at '{parameter}' failed to satisfy constraint: Member must have length {bound}"
    ))
}

/// Checks a path: `/`, or a text that begins and ends with `/`.
pub fn check_path(parameter: &str, path: &str) -> Result<(), IdentityError> {
    if path.is_empty() || path.len() > PATH_BYTES_MAX {
        return Err(length_fault(parameter, path, PATH_BYTES_MAX));
    }
    let framed = path == "/" || (path.len() > 2 && path.starts_with('/') && path.ends_with('/'));
    if framed && path.bytes().all(|byte| (0x21..=0x7e).contains(&byte)) {
        return Ok(());
    }
    Err(IdentityError::Validation(format!(
        "The specified value for {parameter} is invalid. It must begin and end with / and contain only alphanumeric \
         characters and/or / characters."
    )))
}

/// Checks the path prefix of a list call.
pub fn check_path_prefix(prefix: &str) -> Result<(), IdentityError> {
    let well_formed = prefix.len() <= PATH_BYTES_MAX && prefix.starts_with('/');
    if well_formed && prefix.bytes().all(|byte| (0x21..=0x7f).contains(&byte)) {
        return Ok(());
    }
    Err(IdentityError::Validation(
        "The specified value for pathPrefix is invalid. It must begin with the / character and contain only \
         alphanumeric characters and/or / characters."
            .to_owned(),
    ))
}

/// Checks tags: at most 50, with keys that differ when case is ignored, and no key that begins with `aws:`.
pub fn check_tags(tags: &[(String, String)]) -> Result<(), IdentityError> {
    if tags.len() > TAGS_MAX {
        return Err(IdentityError::LimitExceeded(format!(
            "The number of tags has reached the maximum limit of {TAGS_MAX}."
        )));
    }
    let fits = |text: &str| text.chars().all(|c| c.is_alphanumeric() || c.is_whitespace() || "_.:/=+-@".contains(c));
    for (at, (key, value)) in tags.iter().enumerate() {
        let (keys, values) = (key.chars().count(), value.chars().count());
        if !(1..=TAG_KEY_CHARS_MAX).contains(&keys) || values > TAG_VALUE_CHARS_MAX || !fits(key) || !fits(value) {
            return Err(IdentityError::Validation(format!(
                "1 validation error detected: Value at 'tags.{}.member' failed to satisfy constraint: a key has 1 to \
                 {TAG_KEY_CHARS_MAX} characters, a value at most {TAG_VALUE_CHARS_MAX}, each a letter, a number, a \
                 space or one of _.:/=+-@",
                at + 1
            )));
        }
        if key.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("aws:")) {
            return Err(IdentityError::InvalidInput(
                "System tag keys that start with aws: cannot be used in tags.".to_owned(),
            ));
        }
        if tags[..at].iter().any(|(earlier, _)| earlier.eq_ignore_ascii_case(key)) {
            return Err(IdentityError::InvalidInput(
                "Duplicate tag keys found. Please note that Tag keys are case insensitive.".to_owned(),
            ));
        }
    }
    Ok(())
}

pub fn is_account_id(id: &str) -> bool {
    id.len() == ACCOUNT_DIGITS && id.bytes().all(|byte| byte.is_ascii_digit())
}

pub fn is_canonical_id(id: &str) -> bool {
    id.len() == CANONICAL_DIGITS && id.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Returns the path of a record within the documents of its kind.
pub fn path_of(account: &str, name: &str) -> String {
    format!("{account}/{}", name.to_ascii_lowercase())
}

/// Returns an ARN such as `arn:aws:iam::111122223333:user/division/alice`; `kind` is `user`, `role` and so on.
pub fn arn(account: &str, kind: &str, path: &str, name: &str) -> String {
    format!("arn:aws:iam::{account}:{kind}{path}{name}")
}

pub fn root_arn(account: &str) -> String {
    format!("arn:aws:iam::{account}:root")
}

/// A parsed ARN of IAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IamArn<'a> {
    pub account: &'a str,
    /// `user`, `role` and so on; `root` for the root of an account, which has no name.
    pub kind: &'a str,
    /// Begins and ends with `/`.
    pub path: &'a str,
    pub name: &'a str,
}

impl<'a> IamArn<'a> {
    pub fn parse(arn: &'a str) -> Option<Self> {
        let mut fields = arn.splitn(6, ':');
        let (Some("arn"), Some(_), Some("iam"), Some(""), Some(account), Some(resource)) =
            (fields.next(), fields.next(), fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return None;
        };
        if !is_account_id(account) && account != EVERYBODYS_ACCOUNT {
            return None;
        }
        if resource == "root" {
            return Some(Self { account, kind: "root", path: "/", name: "" });
        }
        let slash = resource.find('/')?;
        let (kind, rest) = resource.split_at(slash);
        let last = rest.rfind('/')?;
        let (path, name) = rest.split_at(last + 1);
        if name.is_empty() { None } else { Some(Self { account, kind, path, name }) }
    }

    /// Parses an ARN that must be of this kind.
    pub fn of_kind(arn: &'a str, kind: &str) -> Result<Self, IdentityError> {
        let parsed = Self::parse(arn).filter(|parsed| parsed.kind == kind);
        parsed.ok_or_else(|| IdentityError::InvalidInput(format!("ARN {arn} is not valid.")))
    }
}

/// Returns the identifier of a provider: its URL without `https://` or `http://`, and without a `/` at the end.
pub fn without_scheme(url: &str) -> &str {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).unwrap_or(url);
    rest.trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use super::{IamArn, check_name, check_path, check_tags, path_of, without_scheme};

    #[test]
    fn names_are_limited_to_the_characters_of_iam() {
        assert!(check_name("userName", "a.b-c_d+e=f,g@h", 64).is_ok());
        for wrong in ["", "a b", "a/b", "é", &"x".repeat(65)] {
            assert!(check_name("userName", wrong, 64).is_err(), "{wrong}");
        }
        assert_eq!(path_of("111122223333", "Alice"), "111122223333/alice");
    }

    #[test]
    fn a_path_begins_and_ends_with_a_slash() {
        for right in ["/", "/a/", "/a/b.c/"] {
            assert!(check_path("path", right).is_ok(), "{right}");
        }
        for wrong in ["", "a", "/a", "a/", "//", "/a b/"] {
            assert!(check_path("path", wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn too_many_repeated_or_reserved_tags_are_refused() {
        let tag = |key: &str| (key.to_owned(), "v".to_owned());
        assert!(check_tags(&[tag("a"), tag("b")]).is_ok());
        assert!(check_tags(&[tag("a"), tag("A")]).is_err());
        assert!(check_tags(&[tag("aws:x")]).is_err());
        assert!(check_tags(&[tag("")]).is_err());
        assert!(check_tags(&(0..51).map(|at| tag(&at.to_string())).collect::<Vec<_>>()).is_err());
    }

    #[test]
    fn an_iam_arn_is_parsed_into_account_kind_path_and_name() {
        let parsed = IamArn::parse("arn:aws:iam::111122223333:role/a/b/r");
        assert_eq!(parsed, Some(IamArn { account: "111122223333", kind: "role", path: "/a/b/", name: "r" }));
        let everybodys = IamArn::parse("arn:aws:iam::aws:policy/AdministratorAccess").map(|arn| arn.name);
        assert_eq!(everybodys, Some("AdministratorAccess"));
        for wrong in ["arn:aws:s3:::b", "arn:aws:iam::1:user/a", "arn:aws:iam::111122223333:user/", "x", ""] {
            assert_eq!(IamArn::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_provider_is_identified_by_its_url_without_the_scheme() {
        assert_eq!(without_scheme("https://id.example.org/realm/"), "id.example.org/realm");
        assert_eq!(without_scheme("id.example.org"), "id.example.org");
    }
}
