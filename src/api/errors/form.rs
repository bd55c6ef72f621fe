//! The faults of a form. The API maps each to S3's code, where all codes are.

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

    /// Returns the message for its sender, in S3's own words where it has some.
    pub fn words(&self) -> &str {
        match self {
            Self::Malformed => "The body of your POST request is not well-formed multipart/form-data.",
            Self::FieldsTooLarge => "Your POST request fields preceding the upload file were too large.",
            Self::NotOneFile => "POST requires exactly one file upload per request.",
            Self::Argument(words) | Self::Policy(words) | Self::Refused(words) => words,
            Self::TooSmall => "Your proposed upload is smaller than the minimum allowed size",
            Self::TooLarge => super::fault::ENTITY_TOO_LARGE,
            Self::SignatureDiffers => super::request_head::SIGNATURE_DIFFERS,
            Self::Tags => super::fault::MALFORMED_XML,
        }
    }
}

impl fmt::Display for FormFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

impl std::error::Error for FormFault {}
