//! Faults of ACLs, bucket policies and related settings, in S3's codes and words.

use s3s::S3ErrorCode;

/// A fault of an ACL, a bucket policy or a related setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrantFault {
    /// The bucket's owner owns all of its objects, and ACLs are disabled.
    AclsDisabled,
    /// An ACL grants something to others in a bucket under BucketOwnerEnforced.
    AclGrantsToOthers,
    MalformedAcl,
    MalformedPolicy(String),
    /// A request that sets an ACL has none.
    MissingAcl,
    /// An ACL is both in headers and in the body.
    UnexpectedContent,
    UnknownEmail,
}

impl GrantFault {
    pub(super) fn code(&self) -> S3ErrorCode {
        match self {
            Self::AclsDisabled => S3ErrorCode::AccessControlListNotSupported,
            Self::AclGrantsToOthers => S3ErrorCode::InvalidBucketAclWithObjectOwnership,
            Self::MalformedAcl => S3ErrorCode::MalformedACLError,
            Self::MalformedPolicy(_) => S3ErrorCode::MalformedPolicy,
            Self::MissingAcl => S3ErrorCode::MissingSecurityHeader,
            Self::UnexpectedContent => S3ErrorCode::UnexpectedContent,
            Self::UnknownEmail => S3ErrorCode::UnresolvableGrantByEmailAddress,
        }
    }

    pub(super) fn details(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::MissingAcl => vec![("MissingHeaderName", "x-amz-acl".to_owned())],
            _ => Vec::new(),
        }
    }

    pub(super) fn words(&self) -> &str {
        match self {
            Self::AclsDisabled => "The bucket does not allow ACLs",
            Self::AclGrantsToOthers => "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting",
            Self::MalformedAcl => super::MALFORMED_XML,
            Self::MalformedPolicy(why) => why,
            Self::MissingAcl => "Your request was missing a required header",
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
    fn faults_of_grants_have_s3s_codes() {
        for (fault, code) in [
            (GrantFault::AclsDisabled, "AccessControlListNotSupported"),
            (GrantFault::AclGrantsToOthers, "InvalidBucketAclWithObjectOwnership"),
            (GrantFault::MalformedAcl, "MalformedACLError"),
            (GrantFault::MalformedPolicy("why".to_owned()), "MalformedPolicy"),
            (GrantFault::MissingAcl, "MissingSecurityHeader"),
            (GrantFault::UnexpectedContent, "UnexpectedContent"),
            (GrantFault::UnknownEmail, "UnresolvableGrantByEmailAddress"),
        ] {
            let error = S3Error::from(Fault::from(fault));
            assert_eq!((error.code().as_str(), error.status_code().map(|status| status.as_u16())), (code, Some(400)));
        }
    }
}
