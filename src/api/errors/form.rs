//! The faults of a form.

use std::fmt;

/// A fault of a form; texts are whole sentences for its sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FormFault {
    Malformed,
    FieldsTooLarge,
    NotOneFile,
    /// A field is missing, or has a value that it cannot have.
    Argument(String),
    /// The policy is none.
    Policy(String),
    /// The form is not what its policy allows.
    Refused(String),
    TooSmall,
    TooLarge,
    SignatureDiffers,
    /// The tags are none.
    Tags,
}

impl FormFault {
    pub fn missing(field: &str) -> Self {
        Self::Argument(format!(
            "Bucket POST must contain a field named '{field}'.  If it is specified, please check the order of the fields."
        ))
    }

    /// `what` follows "Invalid Policy:".
    pub fn policy(what: &str) -> Self {
        Self::Policy(format!("Invalid Policy: {what}"))
    }

    pub fn expired() -> Self {
        Self::refused("Policy expired.")
    }

    /// `condition` as the policy has it.
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
