//! Errors of reading and changing identities, with the codes and statuses of IAM (IAM API Reference, "Common errors"
//! and "Errors" of each action).

use crate::actors::meta::KvError;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    #[error("{0}")]
    NoSuchEntity(String),
    #[error("{0}")]
    EntityAlreadyExists(String),
    #[error("{0}")]
    DeleteConflict(String),
    #[error("{0}")]
    LimitExceeded(String),
    #[error("{0}")]
    MalformedPolicyDocument(String),
    /// A parameter is missing or malformed.
    #[error("{0}")]
    Validation(String),
    /// A parameter that must be a number is not.
    #[error("{0}")]
    MalformedInput(String),
    /// A parameter is well-formed but makes no sense.
    #[error("{0}")]
    InvalidInput(String),
    #[error("{0}")]
    AccessDenied(String),
    /// A stored record cannot be read: its format is of a later version, or it is damaged.
    #[error("{0}")]
    Unreadable(String),
    /// The metadata cannot be read now; the client can try again.
    #[error("{0}")]
    Unavailable(String),
}

impl IdentityError {
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoSuchEntity(_) => "NoSuchEntity",
            Self::EntityAlreadyExists(_) => "EntityAlreadyExists",
            Self::DeleteConflict(_) => "DeleteConflict",
            Self::LimitExceeded(_) => "LimitExceeded",
            Self::MalformedPolicyDocument(_) => "MalformedPolicyDocument",
            Self::Validation(_) => "ValidationError",
            Self::InvalidInput(_) => "InvalidInput",
            Self::MalformedInput(_) => "MalformedInput",
            Self::AccessDenied(_) => "AccessDenied",
            Self::Unreadable(_) => "ServiceFailure",
            Self::Unavailable(_) => "ServiceUnavailable",
        }
    }

    pub fn status(&self) -> u16 {
        match self {
            Self::NoSuchEntity(_) => 404,
            Self::EntityAlreadyExists(_) | Self::DeleteConflict(_) | Self::LimitExceeded(_) => 409,
            Self::MalformedPolicyDocument(_)
            | Self::Validation(_)
            | Self::InvalidInput(_)
            | Self::MalformedInput(_) => 400,
            Self::AccessDenied(_) => 403,
            Self::Unreadable(_) => 500,
            Self::Unavailable(_) => 503,
        }
    }

    /// Returns an error such as `The user with name alice cannot be found.`
    pub fn no_such(what: &str, name: &str) -> Self {
        Self::NoSuchEntity(format!("The {what} with name {name} cannot be found."))
    }

    pub fn exists(what: &str, name: &str) -> Self {
        Self::EntityAlreadyExists(format!("{what} with name {name} already exists."))
    }

    pub fn missing(parameter: &str) -> Self {
        Self::Validation(format!(
            "1 validation error detected: Value null at '{parameter}' failed to satisfy constraint: \
             Member must not be null"
        ))
    }
}

impl From<KvError> for IdentityError {
    fn from(error: KvError) -> Self {
        Self::Unavailable(error.to_string())
    }
}
