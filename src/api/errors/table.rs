//! The table of errors: code, status and message of each fault.

use super::fault::Fault;
use super::form::FormFault;
use super::grant::GrantFault;
use super::location::LocationFault;
use super::request_head::RequestFault;

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    pub status: u16,
    pub code: &'a str,
    pub message: &'a str,
}

const fn row<'a>(status: u16, code: &'a str, message: &'a str) -> Row<'a> {
    Row { status, code, message }
}

macro_rules! table {
    ($of:ty { $($fault:pat => $row:expr,)* }) => {
        impl $of {
            /// Returns the status, code and message of the fault.
            pub fn row(&self) -> Row<'_> {
                match self {
                    $($fault => $row,)*
                }
            }
        }
    };
}

table! { Fault {
    Self::AccessDenied(why) => row(403, "AccessDenied", why),
    Self::AccessForbidden(why) => row(403, "AccessForbidden", why),
    Self::Argument(fault) => row(400, "InvalidArgument", &fault.why),
    Self::BadDigest(why) => row(400, "BadDigest", why),
    Self::BadRequest(why) => row(400, "BadRequest", why),
    Self::BucketNotEmpty => row(409, "BucketNotEmpty", "The bucket you tried to delete is not empty"),
    Self::BucketOwnedByCaller => row(409, "BucketAlreadyOwnedByYou", BUCKET_IS_YOURS),
    Self::BucketOwnedByOther => row(409, "BucketAlreadyExists", BUCKET_EXISTS),
    Self::BucketOwnerDiffers => row(403, "AccessDenied", "Access Denied"),
    Self::ChunkTooSmall { .. } => row(403, "InvalidChunkSizeError", CHUNK_TOO_SMALL),
    Self::CustomerKeyDiffers => row(400, "InvalidRequest", CUSTOMER_KEY_DIFFERS),
    Self::DeleteMarker { named: false, .. } => row(404, "NoSuchKey", NO_SUCH_KEY),
    Self::DeleteMarker { named: true, .. } => row(405, "MethodNotAllowed", METHOD_NOT_ALLOWED),
    Self::EncryptionTypeMismatch => row(400, "EncryptionTypeMismatch", ENCRYPTION_DIFFERS),
    Self::EntityTooLarge => row(400, "EntityTooLarge", ENTITY_TOO_LARGE),
    Self::EntityTooSmall => row(400, "EntityTooSmall", ENTITY_TOO_SMALL),
    Self::ExpiredToken => row(400, "ExpiredToken", "The provided token has expired."),
    Self::Form(fault) => fault.row(),
    Self::Grant(fault) => fault.row(),
    Self::HeaderNotImplemented { .. } => row(501, "NotImplemented", HEADER_NOT_IMPLEMENTED),
    Self::HeadersNotSigned(_) => row(403, "AccessDenied", HEADERS_NOT_SIGNED),
    Self::IdempotencyMismatch => row(400, "IdempotencyParameterMismatch", TOKEN_WAS_GIVEN),
    Self::IdMismatch => row(400, "IdMismatch", "Document ID does not match the specified configuration ID."),
    Self::IncompleteBody => row(400, "IncompleteBody", "The request body terminated unexpectedly"),
    Self::Internal(why) => row(500, "InternalError", why),
    Self::InvalidAccessKey => row(403, "InvalidAccessKeyId", UNKNOWN_ACCESS_KEY),
    Self::InvalidArgument(why) => row(400, "InvalidArgument", why),
    Self::InvalidBucketName => row(400, "InvalidBucketName", "The specified bucket is not valid."),
    Self::InvalidBucketState(why) => row(409, "InvalidBucketState", why),
    Self::InvalidContentSha256 { .. } => row(400, "XAmzContentSHA256Mismatch", CONTENT_SHA256_DIFFERS),
    Self::InvalidDestinationBucket(why) => row(400, "InvalidS3DestinationBucket", why),
    Self::InvalidDigest => row(400, "InvalidDigest", "The Content-MD5 you specified was invalid."),
    Self::InvalidEncryptionAlgorithm => row(400, "InvalidEncryptionAlgorithmError", ENCRYPTION_ALGORITHM),
    Self::InvalidPart => row(400, "InvalidPart", INVALID_PART),
    Self::InvalidPartNumber => row(416, "InvalidPartNumber", "The requested partnumber is not satisfiable"),
    Self::InvalidPartOrder => row(400, "InvalidPartOrder", INVALID_PART_ORDER),
    Self::InvalidQueryAuth(why) => row(400, "AuthorizationQueryParametersError", why),
    Self::InvalidRange { .. } => row(416, "InvalidRange", "The requested range is not satisfiable"),
    Self::InvalidRedirect => row(400, "InvalidRedirectLocation", INVALID_REDIRECT),
    Self::InvalidRequest(why) => row(400, "InvalidRequest", why),
    Self::InvalidStorageClass => row(400, "InvalidStorageClass", "The storage class you specified is not valid"),
    Self::InvalidTag(why) => row(400, "InvalidTag", why),
    Self::InvalidTargetBucket(why) => row(400, "InvalidTargetBucketForLogging", why),
    Self::InvalidToken => row(400, "InvalidToken", "The provided token is malformed or otherwise invalid."),
    Self::InvalidWriteOffset => row(400, "InvalidWriteOffset", INVALID_WRITE_OFFSET),
    Self::KeyTooLong => row(400, "KeyTooLongError", "Your key is too long"),
    Self::KmsDisabled(why) => row(400, "KMS.DisabledException", why),
    Self::KmsNotFound(why) => row(400, "KMS.NotFoundException", why),
    Self::Location(fault) => fault.row(),
    Self::LockNeedsVersioning => row(409, "InvalidBucketState", LOCK_NEEDS_VERSIONING),
    Self::LockNotEnabled => row(400, "InvalidRequest", "Bucket is missing Object Lock Configuration"),
    Self::Locked => row(403, "AccessDenied", "Access Denied because object protected by object lock."),
    Self::MalformedTrailer => row(400, "MalformedTrailerError", MALFORMED_TRAILER),
    Self::MalformedXml => row(400, "MalformedXML", MALFORMED_XML),
    Self::Md5Differs { .. } => row(400, "BadDigest", MD5_DIFFERS),
    Self::MessageTooLarge(why) => row(400, "MaxMessageLengthExceeded", why),
    Self::MessageTooLong => row(400, "MaxMessageLengthExceeded", "Your request was too big."),
    Self::MetadataTooLarge { .. } => row(400, "MetadataTooLarge", METADATA_TOO_LARGE),
    Self::MethodNotAllowed => row(405, "MethodNotAllowed", METHOD_NOT_ALLOWED),
    Self::MissingContentLength => row(411, "MissingContentLength", "You must provide the Content-Length HTTP header."),
    Self::NoConfiguration(code, why) => row(404, code, why),
    Self::NoObjectLock => row(404, "NoSuchObjectLockConfiguration", NO_OBJECT_LOCK),
    Self::NoObjectLockConfiguration => row(404, "ObjectLockConfigurationNotFoundError", NO_LOCK_CONFIGURATION),
    Self::NoSuchBucket => row(404, "NoSuchBucket", "The specified bucket does not exist"),
    Self::NoSuchKey => row(404, "NoSuchKey", NO_SUCH_KEY),
    Self::NoSuchUpload => row(404, "NoSuchUpload", NO_SUCH_UPLOAD),
    Self::NoSuchVersion => row(404, "NoSuchVersion", "The specified version does not exist."),
    Self::NoTags => row(404, "NoSuchTagSet", "The TagSet does not exist"),
    Self::NotImplemented(why) => row(501, "NotImplemented", why),
    Self::NotModified(_) => row(304, "NotModified", "Not modified."),
    Self::OperationAborted => row(409, "OperationAborted", OPERATION_ABORTED),
    // S3 itself never answers this. Other stores answer 507, which SDKs do not retry at once.
    Self::OutOfSpace => row(507, "InsufficientStorage", OUT_OF_SPACE),
    Self::PartsShared => row(400, "TooManyParts", PARTS_SHARED),
    Self::PreconditionFailed(_) => row(412, "PreconditionFailed", PRECONDITION_FAILED),
    Self::QuotaExceeded => row(507, "QuotaExceeded", "The bucket's quota does not allow it to hold more."),
    Self::Request(fault) => fault.row(),
    Self::RequestHeadersTooLarge => row(400, "RequestHeaderSectionTooLarge", HEADERS_TOO_LARGE),
    Self::RequestTimeout => row(400, "RequestTimeout", REQUEST_TIMEOUT),
    Self::SignatureDoesNotMatch => row(403, "SignatureDoesNotMatch", SIGNATURE_DIFFERS),
    Self::SlowDown(why) => row(503, "SlowDown", why),
    Self::TooManyBuckets => row(400, "TooManyBuckets", "You have attempted to create more buckets than allowed"),
    Self::TooManyConfigurations => row(400, "TooManyConfigurations", TOO_MANY_CONFIGURATIONS),
    Self::TooManyParts => row(400, "TooManyParts", TOO_MANY_PARTS),
    Self::Unavailable(why) => row(503, "ServiceUnavailable", why),
    Self::VersionsLeft => row(409, "BucketNotEmpty", VERSIONS_LEFT),
} }

table! { RequestFault {
    Self::HeaderMalformed(why) => row(400, "AuthorizationHeaderMalformed", why),
    Self::InvalidUri => row(400, "InvalidURI", "Couldn't parse the specified URI."),
    Self::NoBody => row(400, "MissingRequestBodyError", "Request Body is empty"),
    Self::NotAForm => row(412, "PreconditionFailed", PRECONDITION_FAILED),
    Self::OtherLength { .. } => row(400, "IncompleteBody", LENGTH_DIFFERS),
    Self::Skewed { .. } => row(403, "RequestTimeTooSkewed", TIME_TOO_SKEWED),
    Self::UriTooLong => row(414, "URITooLong", "The path and the query of the request are too long."),
} }

table! { FormFault {
    Self::Malformed => row(400, "MalformedPOSTRequest", MALFORMED_FORM),
    Self::FieldsTooLarge => row(400, "MaxPostPreDataLengthExceeded", FIELDS_TOO_LARGE),
    Self::NotOneFile => row(400, "InvalidArgument", "POST requires exactly one file upload per request."),
    Self::Argument(why) => row(400, "InvalidArgument", why),
    Self::Policy(why) => row(400, "InvalidPolicyDocument", why),
    Self::Refused(why) => row(403, "AccessDenied", why),
    Self::TooSmall => row(400, "EntityTooSmall", ENTITY_TOO_SMALL),
    Self::TooLarge => row(400, "EntityTooLarge", ENTITY_TOO_LARGE),
    Self::SignatureDiffers => row(403, "SignatureDoesNotMatch", SIGNATURE_DIFFERS),
    Self::Tags => row(400, "MalformedXML", MALFORMED_XML),
} }

table! { GrantFault {
    Self::AclsDisabled => row(400, "AccessControlListNotSupported", "The bucket does not allow ACLs"),
    Self::AclGrantsToOthers => row(400, "InvalidBucketAclWithObjectOwnership", ACL_WITH_OWNERSHIP),
    Self::MalformedAcl => row(400, "MalformedACLError", MALFORMED_XML),
    Self::MalformedPolicy(why) => row(400, "MalformedPolicy", why),
    Self::MissingAcl => row(400, "MissingSecurityHeader", "Your request was missing a required header"),
    Self::UnexpectedContent => row(400, "UnexpectedContent", "This request does not support content"),
    Self::UnknownEmail => row(400, "UnresolvableGrantByEmailAddress", UNKNOWN_EMAIL),
} }

table! { LocationFault {
    Self::Unknown(_) => row(400, "InvalidLocationConstraint", "The specified location-constraint is not valid"),
    Self::Elsewhere(why) => row(400, "IllegalLocationConstraintException", why),
} }

const ACL_WITH_OWNERSHIP: &str = "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting";
const BUCKET_EXISTS: &str = "The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again.";
const BUCKET_IS_YOURS: &str = "Your previous request to create the named bucket succeeded and you already own it.";
const CHUNK_TOO_SMALL: &str = "Only the last chunk is allowed to have a size less than 8192 bytes";
const CONTENT_SHA256_DIFFERS: &str = "The provided 'x-amz-content-sha256' header does not match what was computed.";
const CUSTOMER_KEY_DIFFERS: &str =
    "Requests specifying Server Side Encryption with Customer provided keys must provide the correct secret key.";
const ENCRYPTION_ALGORITHM: &str = "The Encryption request you specified is not valid. Supported value: AES256.";
const ENCRYPTION_DIFFERS: &str = "The encryption type of the request differs from that of the object.";
const ENTITY_TOO_LARGE: &str = "Your proposed upload exceeds the maximum allowed size";
const ENTITY_TOO_SMALL: &str = "Your proposed upload is smaller than the minimum allowed size";
const FIELDS_TOO_LARGE: &str = "Your POST request fields preceding the upload file were too large.";
const HEADER_NOT_IMPLEMENTED: &str = "A header you provided implies functionality that is not implemented";
const HEADERS_NOT_SIGNED: &str = "There were headers present in the request which were not signed";
const HEADERS_TOO_LARGE: &str = "Your request header section exceeds the maximum allowed request header section size.";
const INVALID_PART: &str = "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.";
const INVALID_PART_ORDER: &str = "The list of parts was not in ascending order. Parts must be ordered by part number.";
const INVALID_REDIRECT: &str = "The website redirect location must have a prefix of 'http://' or 'https://' or '/'.";
const INVALID_WRITE_OFFSET: &str = "The write offset value that you specified does not match the current object size.";
const LENGTH_DIFFERS: &str = "You did not provide the number of bytes specified by the Content-Length HTTP header";
const LOCK_NEEDS_VERSIONING: &str =
    "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.";
const MALFORMED_FORM: &str = "The body of your POST request is not well-formed multipart/form-data.";
const MALFORMED_TRAILER: &str =
    "The request contained trailing data that was not well-formed or did not conform to our published schema.";
const MALFORMED_XML: &str = "The XML you provided was not well-formed or did not validate against our published schema";
const MD5_DIFFERS: &str = "The Content-MD5 you specified did not match what we received.";
const METADATA_TOO_LARGE: &str = "Your metadata headers exceed the maximum allowed metadata size";
const METHOD_NOT_ALLOWED: &str = "The specified method is not allowed against this resource.";
const NO_LOCK_CONFIGURATION: &str = "Object Lock configuration does not exist for this bucket";
const NO_OBJECT_LOCK: &str = "The specified object does not have a ObjectLock configuration";
const NO_SUCH_KEY: &str = "The specified key does not exist.";
const NO_SUCH_UPLOAD: &str = "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.";
const OPERATION_ABORTED: &str =
    "A conflicting conditional operation is currently in progress against this resource. Please try again.";
const OUT_OF_SPACE: &str = "The store has no space left for writes; reads and deletes go on.";
const PARTS_SHARED: &str = "The object cannot be appended to: it has more than 64 parts, to which copies of it refer. Copy the object onto itself, which writes it anew, or delete the copies.";
const PRECONDITION_FAILED: &str = "At least one of the pre-conditions you specified did not hold";
const REQUEST_TIMEOUT: &str =
    "Your socket connection to the server was not read from or written to within the timeout period.";
const SIGNATURE_DIFFERS: &str =
    "The request signature we calculated does not match the signature you provided. Check your key and signing method.";
const TIME_TOO_SKEWED: &str = "The difference between the request time and the current time is too large.";
const TOKEN_WAS_GIVEN: &str = "The client token was used before with other parameters.";
const TOO_MANY_CONFIGURATIONS: &str =
    "You are attempting to create a new configuration but have already reached the 1,000-configuration limit.";
const TOO_MANY_PARTS: &str = "The object cannot be appended to any more: it has as many parts as an object can have.";
const UNKNOWN_ACCESS_KEY: &str = "The AWS Access Key Id you provided does not exist in our records.";
const UNKNOWN_EMAIL: &str = "The e-mail address you provided does not match any account on record.";
const VERSIONS_LEFT: &str = "The bucket you tried to delete is not empty. You must delete all versions in the bucket.";

#[cfg(test)]
mod tests {
    use crate::api::errors::{Fault, FormFault, GrantFault, LocationFault, RequestFault};
    use s3s::{S3Error, S3ErrorCode};

    /// A code has one status, whether s3s or this table answers it.
    #[test]
    fn codes_have_the_same_status_in_the_table_and_in_s3s() {
        let sample = || String::new();
        for fault in [
            Fault::AccessDenied(""),
            Fault::InvalidArgument(sample()),
            Fault::IncompleteBody,
            Fault::Internal(sample()),
            Fault::InvalidBucketName,
            Fault::InvalidRequest(sample()),
            Fault::KeyTooLong,
            Fault::MalformedXml,
            Fault::MessageTooLong,
            Fault::MethodNotAllowed,
            Fault::MissingContentLength,
            Fault::NoSuchKey,
            Fault::NotImplemented(sample()),
            Fault::TooManyBuckets,
            Fault::Unavailable(sample()),
            Fault::Request(RequestFault::InvalidUri),
            Fault::Request(RequestFault::NoBody),
        ] {
            let row = fault.row();
            let of_s3s = row.code.parse::<S3ErrorCode>().ok().and_then(|code| code.status_code());
            assert_eq!(of_s3s.map(|status| status.as_u16()), Some(row.status), "{}", row.code);
        }
    }

    #[test]
    fn an_s3_error_has_status_code_and_message_of_the_table() {
        for fault in [
            Fault::QuotaExceeded,
            Fault::Form(FormFault::TooSmall),
            Fault::Grant(GrantFault::MissingAcl),
            Fault::Location(LocationFault::Unknown("here".to_owned())),
            Fault::Request(RequestFault::NotAForm),
        ] {
            let error = S3Error::from(fault.clone());
            let status = error.status_code().map_or(0, |status| status.as_u16());
            let row = fault.row();
            assert_eq!((status, error.code().as_str(), error.message()), (row.status, row.code, Some(row.message)));
        }
    }
}
