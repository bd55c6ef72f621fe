//! Faults of how a request is put, and of browsers' forms, with S3's codes and messages.

use super::custom;
use super::details::time;
use super::form::FormFault;
use s3s::S3ErrorCode;

/// The condition that does not hold, in a response.
pub(super) const NOT_A_FORM: &str = "Bucket POST must be of the enclosure-type multipart/form-data";

pub(super) const LENGTH_DIFFERS: &str =
    "You did not provide the number of bytes specified by the Content-Length HTTP header";
pub(super) const NO_BODY: &str = "Request Body is empty";
pub(super) const SIGNATURE_DIFFERS: &str =
    "The request signature we calculated does not match the signature you provided. Check your key and signing method.";

/// A request that is refused before anybody asks what it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestFault {
    /// A malformed `Authorization` header.
    HeaderMalformed(String),
    InvalidUri,
    /// The body that would set something is empty.
    NoBody,
    /// A POST that can only be a browser's form, and is none.
    NotAForm,
    /// A body of another length; `other_length` makes the words.
    OtherLength(String),
    /// The request was signed too long ago, or not yet.
    Skewed {
        /// The server's time, since the Unix epoch.
        now_s: u64,
    },
}

impl RequestFault {
    /// Returns the fault of a body whose length differs from the declared one.
    pub fn other_length(provided: u64, expected: u64) -> Self {
        Self::OtherLength(format!("{LENGTH_DIFFERS}: {provided} of {expected}"))
    }

    pub(super) fn code(&self) -> S3ErrorCode {
        match self {
            Self::HeaderMalformed(_) => S3ErrorCode::AuthorizationHeaderMalformed,
            Self::InvalidUri => S3ErrorCode::InvalidURI,
            Self::NoBody => S3ErrorCode::MissingRequestBodyError,
            Self::NotAForm => S3ErrorCode::PreconditionFailed,
            Self::OtherLength(_) => S3ErrorCode::IncompleteBody,
            Self::Skewed { .. } => S3ErrorCode::RequestTimeTooSkewed,
        }
    }

    pub(super) fn details(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Skewed { now_s } => time("ServerTime", *now_s).into_iter().collect(),
            _ => Vec::new(),
        }
    }

    pub(super) fn words(&self) -> &str {
        match self {
            Self::HeaderMalformed(why) | Self::OtherLength(why) => why,
            Self::InvalidUri => "Couldn't parse the specified URI.",
            Self::NoBody => NO_BODY,
            Self::NotAForm => NOT_A_FORM,
            Self::Skewed { .. } => "The difference between the request time and the current time is too large.",
        }
    }
}

pub(super) fn code_of_form(fault: &FormFault) -> S3ErrorCode {
    match fault {
        FormFault::Malformed => S3ErrorCode::MalformedPOSTRequest,
        FormFault::FieldsTooLarge => custom("MaxPostPreDataLengthExceeded"),
        FormFault::NotOneFile | FormFault::Argument(_) => S3ErrorCode::InvalidArgument,
        FormFault::Policy(_) => S3ErrorCode::InvalidPolicyDocument,
        FormFault::Refused(_) => S3ErrorCode::AccessDenied,
        FormFault::TooSmall => S3ErrorCode::EntityTooSmall,
        FormFault::TooLarge => S3ErrorCode::EntityTooLarge,
        FormFault::SignatureDiffers => S3ErrorCode::SignatureDoesNotMatch,
        FormFault::Tags => S3ErrorCode::MalformedXML,
    }
}

#[cfg(test)]
mod tests {
    use super::RequestFault;
    use crate::api::errors::Fault;
    use crate::api::errors::FormFault;
    use crate::api::errors::{body_error, body_fault};
    use s3s::{S3Error, StdError};

    fn told(fault: impl Into<Fault>) -> (String, u16) {
        let error = S3Error::from(fault.into());
        (error.code().as_str().to_owned(), error.status_code().map_or(0, |status| status.as_u16()))
    }

    #[test]
    fn how_a_request_is_put_is_judged_with_s3s_codes() {
        for (fault, code, status) in [
            (RequestFault::HeaderMalformed(String::new()), "AuthorizationHeaderMalformed", 400),
            (RequestFault::InvalidUri, "InvalidURI", 400),
            (RequestFault::NoBody, "MissingRequestBodyError", 400),
            (RequestFault::NotAForm, "PreconditionFailed", 412),
            (RequestFault::other_length(1, 2), "IncompleteBody", 400),
            (RequestFault::Skewed { now_s: 0 }, "RequestTimeTooSkewed", 403),
        ] {
            assert_eq!(told(fault), (code.to_owned(), status));
        }
    }

    #[test]
    fn forms_are_refused_with_s3s_codes() {
        for (fault, code, status) in [
            (FormFault::Malformed, "MalformedPOSTRequest", 400),
            (FormFault::FieldsTooLarge, "MaxPostPreDataLengthExceeded", 400),
            (FormFault::NotOneFile, "InvalidArgument", 400),
            (FormFault::missing("key"), "InvalidArgument", 400),
            (FormFault::policy("Invalid JSON."), "InvalidPolicyDocument", 400),
            (FormFault::expired(), "AccessDenied", 403),
            (FormFault::TooSmall, "EntityTooSmall", 400),
            (FormFault::TooLarge, "EntityTooLarge", 400),
            (FormFault::SignatureDiffers, "SignatureDoesNotMatch", 403),
            (FormFault::Tags, "MalformedXML", 400),
        ] {
            assert_eq!(told(fault), (code.to_owned(), status));
        }
    }

    #[test]
    fn a_fault_that_a_forms_file_has_at_its_end_keeps_its_meaning() {
        let error: StdError = Box::new(FormFault::TooSmall);
        assert_eq!(body_fault(&error), Fault::Form(FormFault::TooSmall));
        let error = S3Error::from(body_error(&error));
        assert_eq!((error.code().as_str(), error.message()), ("EntityTooSmall", Some(FormFault::TooSmall.words())));
    }
}
