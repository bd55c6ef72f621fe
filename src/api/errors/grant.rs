//! What is wrong with access control lists, bucket policies and the settings beside them, in S3's codes and words.

use s3s::S3ErrorCode;

/// Why nothing is granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrantFault {
    /// The bucket's owner owns all that is in it, and lists do not count.
    ListsDisabled,
    /// A list of a bucket whose owner is to own all that is in it lets others in.
    ListLetsOthersIn,
    MalformedList,
    MalformedPolicy(String),
    /// A request about a list says nothing of one.
    MissingList,
    /// A list both in headers and in the body.
    UnexpectedContent,
    UnknownEmail,
}

impl GrantFault {
    pub(super) fn code(&self) -> S3ErrorCode {
        match self {
            Self::ListsDisabled => S3ErrorCode::AccessControlListNotSupported,
            Self::ListLetsOthersIn => S3ErrorCode::InvalidBucketAclWithObjectOwnership,
            Self::MalformedList => S3ErrorCode::MalformedACLError,
            Self::MalformedPolicy(_) => S3ErrorCode::MalformedPolicy,
            Self::MissingList => S3ErrorCode::MissingSecurityHeader,
            Self::UnexpectedContent => S3ErrorCode::UnexpectedContent,
            Self::UnknownEmail => S3ErrorCode::UnresolvableGrantByEmailAddress,
        }
    }

    pub(super) fn details(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::MissingList => vec![("MissingHeaderName", "x-amz-acl".to_owned())],
            _ => Vec::new(),
        }
    }

    pub(super) fn words(&self) -> &str {
        match self {
            Self::ListsDisabled => "The bucket does not allow ACLs",
            Self::ListLetsOthersIn => "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting",
            Self::MalformedList => super::MALFORMED_XML,
            Self::MalformedPolicy(why) => why,
            Self::MissingList => "Your request was missing a required header",
            Self::UnexpectedContent => "This request does not support content",
            Self::UnknownEmail => "The e-mail address you provided does not match any account on record.",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::GrantFault;
    use crate::api::errors::Fault;
    use s3s::S3Error;

    #[test]
    fn what_is_wrong_with_grants_has_s3s_codes() {
        for (fault, code) in [
            (GrantFault::ListsDisabled, "AccessControlListNotSupported"),
            (GrantFault::ListLetsOthersIn, "InvalidBucketAclWithObjectOwnership"),
            (GrantFault::MalformedList, "MalformedACLError"),
            (GrantFault::MalformedPolicy("why".to_owned()), "MalformedPolicy"),
            (GrantFault::MissingList, "MissingSecurityHeader"),
            (GrantFault::UnexpectedContent, "UnexpectedContent"),
            (GrantFault::UnknownEmail, "UnresolvableGrantByEmailAddress"),
        ] {
            let error = S3Error::from(Fault::from(fault));
            assert_eq!((error.code().as_str(), error.status_code().map(|status| status.as_u16())), (code, Some(400)));
        }
    }
}
