//! Faults of browser forms (POST Object).

use std::fmt;

/// A fault of a form. Its texts are complete sentences for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FormFault {
    Malformed,
    FieldsTooLarge,
    NotOneFile,
    /// A field is missing, or has an invalid value.
    Argument(String),
    /// The policy document is malformed.
    Policy(String),
    /// The form does not satisfy its policy.
    Refused(String),
    TooSmall,
    TooLarge,
    SignatureDiffers,
    /// The tags are malformed.
    Tags,
}

impl FormFault {
    pub fn missing(field: &str) -> Self {
        Self::Argument(format!(
            "Bucket POST must contain a field named '{field}'.  If it is specified, please check the order of the fields."
        ))
    }

    /// Returns the fault of a malformed policy. `what` follows "Invalid Policy:" in the message.
    pub fn policy(what: &str) -> Self {
        Self::Policy(format!("Invalid Policy: {what}"))
    }

    pub fn expired() -> Self {
        Self::refused("Policy expired.")
    }

    /// Returns the fault of a condition that does not hold, which is quoted as in the policy.
    pub fn failed(condition: impl fmt::Display) -> Self {
        Self::refused(&format!("Policy Condition failed: {condition}"))
    }

    pub fn extra(fields: &[&str]) -> Self {
        Self::refused(&format!("Extra input fields: {}", fields.join(", ")))
    }

    fn refused(what: &str) -> Self {
        Self::Refused(format!("Invalid according to Policy: {what}"))
    }
}

impl fmt::Display for FormFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().message)
    }
}

impl std::error::Error for FormFault {}
