//! The syntax of parameter values that is the same for all calls (patterns of the IAM API Reference). It is checked
//! before the named records are looked up.

use super::Parameters;
use crate::api::identity::{IdentityError, names};

/// The longest name that a lookup accepts; a new user may have a lower limit.
const NAME_CHARS_MAX: usize = 128;
/// Names of parameters, as clients and as AWS's messages write them, with the longest value.
const NAMES: [(&str, &str, usize); 4] = [
    ("GroupName", "groupName", names::GROUP_NAME_MAX),
    ("PolicyName", "policyName", names::POLICY_NAME_MAX),
    ("RoleName", "roleName", names::ROLE_NAME_MAX),
    ("UserName", "userName", NAME_CHARS_MAX),
];
const DOCUMENTS: [(&str, &str); 2] =
    [("AssumeRolePolicyDocument", "assumeRolePolicyDocument"), ("PolicyDocument", "policyDocument")];

pub fn check(parameters: &Parameters) -> Result<(), IdentityError> {
    for (name, message_name, length_max) in NAMES {
        if let Some(text) = parameters.text(name) {
            names::check_name(message_name, text, length_max)?;
        }
    }
    let is_strange = |c: char| !matches!(c, '\t' | '\n' | '\r' | ' '..='\u{ff}');
    for (name, message_name) in DOCUMENTS {
        if parameters.text(name).is_some_and(|text| text.contains(is_strange)) {
            return Err(IdentityError::Validation(format!(
                "The specified value for {message_name} is invalid. It must contain only printable ASCII characters."
            )));
        }
    }
    parameters.paging().map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::api::iam::parameters::Parameters;
    use crate::api::identity::IdentityError;

    fn judge(body: &str) -> Result<(), IdentityError> {
        check(&Parameters::parse("", body.as_bytes()).expect("a form"))
    }

    #[test]
    fn a_malformed_parameter_value_is_refused() {
        let long = "a".repeat(129);
        for body in [
            "UserName=no%2Fsuch",
            "RoleName=no%2Fsuch",
            "GroupName=a+b",
            &format!("UserName={long}"),
            &format!("PolicyName={long}"),
            "PolicyDocument=%F0%9F%98%80",
            "AssumeRolePolicyDocument=%F0%9F%98%80",
            "UserName=a&MaxItems=0",
        ] {
            assert!(matches!(judge(body), Err(IdentityError::Validation(_))), "{body}");
        }
        assert!(matches!(judge("MaxItems=some"), Err(IdentityError::MalformedInput(_))));
        for body in ["", "UserName=", "UserName=a.b%40c", "PolicyDocument=%7B%0A%7D", "PolicyDocument=%C3%A9"] {
            assert_eq!(judge(body), Ok(()), "{body}");
        }
    }
}
