//! Faults of ACLs, bucket policies and related settings.

use super::details::Detail;

/// A fault of an ACL, a bucket policy or a related setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrantFault {
    /// The bucket's owner owns all of its objects, and ACLs are disabled.
    AclsDisabled,
    /// An ACL grants something to others in a bucket under BucketOwnerEnforced.
    AclGrantsToOthers,
    MalformedAcl,
    MalformedPolicy(String),
    /// A request that sets an ACL has none, neither in headers nor in the body.
    MissingAcl,
    /// An ACL is both in headers and in the body.
    UnexpectedContent,
    UnknownEmail,
}

impl GrantFault {
    pub(super) fn details(&self) -> Vec<Detail> {
        match self {
            Self::MissingAcl => vec![("MissingHeaderName", "x-amz-acl".to_owned().into())],
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::GrantFault;
    use crate::api::errors::Fault;
    use s3s::S3Error;

    #[test]
    fn faults_of_acls_and_policies_have_the_codes_of_s3() {
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
