//! Faults of a request that are found before its operation is known.

use super::details::{Detail, time};

/// The failed condition in the error for a POST on a bucket that is not a form.
const IS_A_FORM: &str = "Bucket POST must be of the enclosure-type multipart/form-data";

/// A fault for which a request is refused before its operation is considered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestFault {
    /// A malformed `Authorization` header.
    HeaderMalformed(String),
    InvalidUri,
    /// The body of a request that sets a configuration is empty.
    NoBody,
    /// A POST on a bucket that is not a browser's form (`multipart/form-data`).
    NotAForm,
    /// The length of the body differs from the declared one.
    OtherLength {
        provided: u64,
        expected: u64,
    },
    /// The time of the signature differs too much from the server's time.
    Skewed {
        /// The server's time, since the Unix epoch.
        now_s: u64,
    },
    /// The target of the request, its path and query, is too long.
    UriTooLong,
}

impl RequestFault {
    pub(super) fn details(&self) -> Vec<Detail> {
        let number = |name, number: &u64| (name, number.to_string().into());
        match self {
            Self::NotAForm => vec![("Condition", IS_A_FORM.to_owned().into())],
            Self::OtherLength { provided, expected } => {
                vec![number("NumberBytesExpected", expected), number("NumberBytesProvided", provided)]
            }
            Self::Skewed { now_s } => {
                time("ServerTime", *now_s).map(|(name, at)| (name, at.into())).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::RequestFault;
    use crate::api::errors::Fault;
    use crate::api::errors::FormFault;
    use crate::api::errors::{body_error, body_fault};
    use s3s::{S3Error, StdError};

    fn code_and_status(fault: impl Into<Fault>) -> (String, u16) {
        let error = S3Error::from(fault.into());
        (error.code().as_str().to_owned(), error.status_code().map_or(0, |status| status.as_u16()))
    }

    #[test]
    fn faults_of_a_request_head_have_the_codes_of_s3() {
        for (fault, code, status) in [
            (RequestFault::HeaderMalformed(String::new()), "AuthorizationHeaderMalformed", 400),
            (RequestFault::InvalidUri, "InvalidURI", 400),
            (RequestFault::NoBody, "MissingRequestBodyError", 400),
            (RequestFault::NotAForm, "PreconditionFailed", 412),
            (RequestFault::OtherLength { provided: 1, expected: 2 }, "IncompleteBody", 400),
            (RequestFault::Skewed { now_s: 0 }, "RequestTimeTooSkewed", 403),
            (RequestFault::UriTooLong, "URITooLong", 414),
        ] {
            assert_eq!(code_and_status(fault), (code.to_owned(), status));
        }
    }

    #[test]
    fn faults_of_forms_have_the_codes_of_s3() {
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
            assert_eq!(code_and_status(fault), (code.to_owned(), status));
        }
    }

    #[test]
    fn a_fault_at_the_end_of_a_forms_file_keeps_its_code() {
        let error: StdError = Box::new(FormFault::TooSmall);
        assert_eq!(body_fault(&error), Fault::Form(FormFault::TooSmall));
        let error = S3Error::from(body_error(&error));
        assert_eq!(
            (error.code().as_str(), error.message()),
            ("EntityTooSmall", Some(FormFault::TooSmall.row().message))
        );
    }
}
