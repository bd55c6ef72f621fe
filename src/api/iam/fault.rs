//! Errors of IAM and STS calls: their codes and statuses ("Common errors" of both API references), and their XML.

use crate::api::identity::{IdentityError, ResolveError, TokenFault};
use crate::api::sharing::Ungathered;
use crate::api::text::xml::escape;
use crate::sigv4::SignatureFault;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IamFault {
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Signature(#[from] SignatureFault),
    #[error("The security token included in the request is invalid.")]
    InvalidToken,
    #[error("The security token included in the request is expired.")]
    ExpiredToken,
    #[error("Could not find operation {action} for version {version}")]
    InvalidAction { action: String, version: String },
    #[error("The request is not a valid form of the query protocol, or repeats a parameter.")]
    MalformedForm,
    #[error("{0}")]
    InvalidIdentityToken(String),
    #[error("{0}")]
    ExpiredIdentityToken(String),
    #[error("{0}")]
    IdentityProviderUnavailable(String),
    #[error("{0}")]
    PackedPolicyTooLarge(String),
    #[error(transparent)]
    Ungathered(#[from] Ungathered),
}

impl From<ResolveError> for IamFault {
    fn from(error: ResolveError) -> Self {
        match error {
            ResolveError::UnknownKey | ResolveError::Token(TokenFault::Invalid) => Self::InvalidToken,
            ResolveError::Token(TokenFault::Expired) => Self::ExpiredToken,
            ResolveError::Directory(error) => Self::Identity(error),
        }
    }
}

impl IamFault {
    pub fn status_and_code(&self) -> (u16, &'static str) {
        match self {
            Self::Identity(error) => (error.status(), error.code()),
            Self::Signature(SignatureFault::Missing) => (403, "MissingAuthenticationToken"),
            Self::Signature(SignatureFault::Malformed(_)) => (403, "IncompleteSignature"),
            Self::Signature(SignatureFault::UnknownKey) | Self::InvalidToken => (403, "InvalidClientTokenId"),
            Self::Signature(_) => (403, "SignatureDoesNotMatch"),
            Self::ExpiredToken => (403, "ExpiredToken"),
            Self::InvalidAction { .. } => (400, "InvalidAction"),
            Self::MalformedForm => (400, "MalformedInput"),
            Self::InvalidIdentityToken(_) => (400, "InvalidIdentityToken"),
            Self::ExpiredIdentityToken(_) => (400, "ExpiredTokenException"),
            Self::IdentityProviderUnavailable(_) => (400, "IDPCommunicationError"),
            Self::PackedPolicyTooLarge(_) => (400, "PackedPolicyTooLarge"),
            Self::Ungathered(Ungathered::TooLarge { .. }) => (413, "RequestEntityTooLarge"),
            Self::Ungathered(Ungathered::NoRoom) => (503, "ServiceUnavailable"),
            Self::Ungathered(Ungathered::TooSlow | Ungathered::Broken) => (408, "RequestTimeout"),
        }
    }

    /// Returns the XML document of the answer.
    pub fn document(&self, namespace: &str, request_id: &str) -> String {
        let (status, code) = self.status_and_code();
        let whose = if status < 500 { "Sender" } else { "Receiver" };
        format!(
            "<ErrorResponse xmlns=\"{namespace}\"><Error><Type>{whose}</Type>\
             <Code>{code}</Code><Message>{}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>",
            escape(&self.message())
        )
    }

    fn message(&self) -> String {
        match self {
            Self::Signature(SignatureFault::Missing) => "Request is missing Authentication Token".to_owned(),
            Self::Signature(SignatureFault::UnknownKey) => Self::InvalidToken.to_string(),
            Self::Signature(SignatureFault::Mismatch) => "The request signature we calculated does not match the \
                signature you provided. Check your AWS Secret Access Key and signing method. Consult the service \
                documentation for details."
                .to_owned(),
            other => other.to_string(),
        }
    }
}
