//! Faults of requests that the store itself does not report, with S3's codes and messages. A code that s3s knows has
//! the status of s3s unless it is set here. A fault that ends a body is flattened to its code and message on the way
//! through the store (`StoreError::BodyMalformed`), and its status is found again from the code.

use super::details::with_details;
use super::form::FormFault;
use super::grant::GrantFault;
use super::location::LocationFault;
use super::request_head::{RequestFault, SIGNATURE_DIFFERS, code_of_form};
use super::{retry_headers, xml_headers};
use crate::api::text::MalformedQuery;
use crate::limits::USER_METADATA_BYTES_MAX;
use http::header::CONTENT_RANGE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use s3s::{S3Error, S3ErrorCode};

/// A fault of a request that the store itself does not report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    AccessDenied(&'static str),
    AccessForbidden(String),
    BadDigest(String),
    BadRequest(String),
    BucketOwnerDiffers,
    /// A signed chunk that is not the last is too small.
    ChunkTooSmall,
    EntityTooLarge,
    /// A fault of a browser's form.
    Form(FormFault),
    IncompleteBody,
    Internal(String),
    InvalidAccessKey,
    InvalidArgument(String),
    InvalidBucketName,
    InvalidContentSha256,
    InvalidDigest,
    InvalidPart,
    InvalidPartNumber,
    /// A fault of a presigned URL.
    InvalidQueryAuth(String),
    InvalidRange {
        size_bytes: u64,
    },
    InvalidRedirect,
    InvalidRequest(String),
    InvalidStorageClass,
    /// A trailer is announced, and the body has no room for one.
    MalformedTrailer,
    /// XML that says something that the operation has no meaning for.
    MalformedXml,
    /// The body of a request that sets something is too large.
    MessageTooLong,
    MetadataTooLarge {
        size_bytes: usize,
    },
    MissingContentLength,
    NoSuchBucket,
    NoSuchKey,
    NoSuchUpload,
    NoSuchVersion,
    NotImplemented(String),
    /// The header's value is one that S3 does not take there.
    HeaderNotImplemented {
        header: &'static str,
        why: String,
    },
    /// A delete marker stands where an object was asked for.
    DeleteMarker {
        /// True if it was asked for by its version id, and not as the current version.
        named: bool,
        version: String,
        modified: Option<String>,
    },
    InvalidBucketState(&'static str),
    InvalidTag(String),
    InvalidEncryptionAlgorithm,
    KmsNotFound(String),
    KmsDisabled(String),
    /// The key differs from that of an object whose key the client keeps.
    CustomerKeyDiffers,
    /// An append asks for another encryption than the object has.
    EncryptionTypeMismatch,
    InvalidWriteOffset,
    /// A client's token came with another request before.
    IdempotencyMismatch,
    InvalidTargetBucket(&'static str),
    TooManyConfigurations,
    IdMismatch,
    ExpiredToken,
    InvalidToken,
    InvalidDestinationBucket(&'static str),
    Locked,
    LockNeedsVersioning,
    LockNotEnabled,
    MethodNotAllowed,
    NoObjectLock,
    NoObjectLockConfiguration,
    NoTags,
    OperationAborted,
    QuotaExceeded,
    TooManyParts,
    /// A bucket to be deleted still has versions, although a list of its objects may be empty.
    VersionsLeft,
    /// The bucket has no such configuration: S3's code and message for its absence.
    NoConfiguration(&'static str, &'static str),
    /// The reader has this version already; the headers tell it which.
    NotModified(Box<HeaderMap>),
    /// A condition does not hold: its header, if known.
    PreconditionFailed(Option<&'static str>),
    RequestHeadersTooLarge,
    RequestTimeout,
    /// The signature of a chunk of a body, or of its trailer, does not match.
    SignatureDoesNotMatch,
    SlowDown(String),
    /// A fault of the request's form.
    Request(RequestFault),
    /// A fault of a grant.
    Grant(GrantFault),
    /// A fault of a new bucket's location.
    Location(LocationFault),
}

impl From<FormFault> for Fault {
    fn from(fault: FormFault) -> Self {
        Self::Form(fault)
    }
}

impl From<GrantFault> for Fault {
    fn from(fault: GrantFault) -> Self {
        Self::Grant(fault)
    }
}

impl From<LocationFault> for Fault {
    fn from(fault: LocationFault) -> Self {
        Self::Location(fault)
    }
}

impl From<RequestFault> for Fault {
    fn from(fault: RequestFault) -> Self {
        Self::Request(fault)
    }
}

impl From<MalformedQuery> for Fault {
    fn from(_: MalformedQuery) -> Self {
        RequestFault::InvalidUri.into()
    }
}

impl From<MalformedQuery> for S3Error {
    fn from(fault: MalformedQuery) -> Self {
        Fault::from(fault).into()
    }
}

impl From<Fault> for S3Error {
    fn from(fault: Fault) -> Self {
        let mut error = S3Error::with_message(code_of(&fault), message_of(&fault).to_owned());
        let details = details(&fault);
        if !details.is_empty() {
            error = with_details(error, details);
        }
        match fault {
            Fault::InvalidRange { size_bytes } => {
                if let Ok(value) = HeaderValue::try_from(format!("bytes */{size_bytes}")) {
                    error.set_headers(xml_headers([(CONTENT_RANGE, value)]));
                }
            }
            Fault::InvalidPartNumber => error.set_status_code(StatusCode::RANGE_NOT_SATISFIABLE),
            Fault::RequestHeadersTooLarge
            | Fault::InvalidContentSha256
            | Fault::InvalidQueryAuth(_)
            | Fault::InvalidRedirect
            | Fault::MalformedTrailer
            | Fault::Form(FormFault::FieldsTooLarge) => error.set_status_code(StatusCode::BAD_REQUEST),
            Fault::NotModified(headers) => error.set_headers(*headers),
            Fault::DeleteMarker { version, modified, .. } => error.set_headers(marker_headers(&version, modified)),
            Fault::NoConfiguration(..) | Fault::NoObjectLockConfiguration | Fault::NoObjectLock | Fault::NoTags => {
                error.set_status_code(StatusCode::NOT_FOUND);
            }
            Fault::AccessForbidden(_) | Fault::ChunkTooSmall => error.set_status_code(StatusCode::FORBIDDEN),
            Fault::QuotaExceeded => error.set_status_code(StatusCode::INSUFFICIENT_STORAGE),
            Fault::LockNotEnabled => error.set_status_code(StatusCode::BAD_REQUEST),
            Fault::InvalidBucketState(_) | Fault::LockNeedsVersioning => error.set_status_code(StatusCode::CONFLICT),
            Fault::InvalidTag(_)
            | Fault::BadRequest(_)
            | Fault::KmsNotFound(_)
            | Fault::KmsDisabled(_)
            | Fault::InvalidTargetBucket(_)
            | Fault::TooManyConfigurations
            | Fault::IdMismatch
            | Fault::InvalidDestinationBucket(_)
            | Fault::EncryptionTypeMismatch
            | Fault::InvalidWriteOffset
            | Fault::IdempotencyMismatch
            | Fault::TooManyParts
            | Fault::CustomerKeyDiffers => error.set_status_code(StatusCode::BAD_REQUEST),
            Fault::SlowDown(_) => error.set_headers(retry_headers()),
            _ => {}
        }
        error
    }
}

/// Returns the elements of the error besides its message.
fn details(fault: &Fault) -> Vec<(&'static str, String)> {
    match fault {
        Fault::InvalidRange { size_bytes } => vec![("ActualObjectSize", size_bytes.to_string())],
        Fault::Location(fault) => fault.details(),
        Fault::Grant(fault) => fault.details(),
        Fault::Request(fault) => fault.details(),
        Fault::MetadataTooLarge { size_bytes } => {
            vec![("Size", size_bytes.to_string()), ("MaxSizeAllowed", USER_METADATA_BYTES_MAX.to_string())]
        }
        Fault::HeaderNotImplemented { header, why } => {
            vec![("Header", (*header).to_owned()), ("additionalMessage", why.clone())]
        }
        Fault::PreconditionFailed(Some(condition)) => vec![("Condition", (*condition).to_owned())],
        _ => Vec::new(),
    }
}

/// Returns the headers that describe a delete marker.
fn marker_headers(version: &str, modified: Option<String>) -> HeaderMap {
    let mut headers = xml_headers([(HeaderName::from_static("x-amz-delete-marker"), HeaderValue::from_static("true"))]);
    let mut put = |name: HeaderName, text: Option<String>| {
        if let Some(value) = text.and_then(|text| HeaderValue::try_from(text).ok()) {
            headers.insert(name, value);
        }
    };
    put(s3s::header::X_AMZ_VERSION_ID, Some(version.to_owned()));
    if modified.is_some() {
        put(header::ALLOW, Some("DELETE".to_owned()));
    }
    put(header::LAST_MODIFIED, modified);
    headers
}

pub(super) fn code_of(fault: &Fault) -> S3ErrorCode {
    match fault {
        Fault::AccessDenied(_) | Fault::BucketOwnerDiffers => S3ErrorCode::AccessDenied,
        Fault::BadDigest(_) => S3ErrorCode::BadDigest,
        Fault::ChunkTooSmall => custom(CHUNK_SIZE),
        Fault::EntityTooLarge => S3ErrorCode::EntityTooLarge,
        Fault::Form(fault) => code_of_form(fault),
        Fault::IncompleteBody => S3ErrorCode::IncompleteBody,
        Fault::Internal(_) => S3ErrorCode::InternalError,
        Fault::InvalidAccessKey => S3ErrorCode::InvalidAccessKeyId,
        Fault::InvalidArgument(_) => S3ErrorCode::InvalidArgument,
        Fault::InvalidBucketName => S3ErrorCode::InvalidBucketName,
        Fault::InvalidContentSha256 => custom("XAmzContentSHA256Mismatch"),
        Fault::InvalidDigest => S3ErrorCode::InvalidDigest,
        Fault::InvalidPart => S3ErrorCode::InvalidPart,
        Fault::InvalidPartNumber => custom("InvalidPartNumber"),
        Fault::InvalidQueryAuth(_) => custom("AuthorizationQueryParametersError"),
        Fault::InvalidRange { .. } => S3ErrorCode::InvalidRange,
        Fault::InvalidRedirect => custom("InvalidRedirectLocation"),
        Fault::InvalidRequest(_) | Fault::CustomerKeyDiffers | Fault::LockNotEnabled => S3ErrorCode::InvalidRequest,
        Fault::InvalidStorageClass => S3ErrorCode::InvalidStorageClass,
        Fault::MalformedTrailer => custom("MalformedTrailerError"),
        Fault::MalformedXml => S3ErrorCode::MalformedXML,
        Fault::MessageTooLong => S3ErrorCode::MaxMessageLengthExceeded,
        Fault::MetadataTooLarge { .. } => S3ErrorCode::MetadataTooLarge,
        Fault::MissingContentLength => S3ErrorCode::MissingContentLength,
        Fault::NoSuchBucket => S3ErrorCode::NoSuchBucket,
        Fault::NoSuchKey => S3ErrorCode::NoSuchKey,
        Fault::NoSuchUpload => S3ErrorCode::NoSuchUpload,
        Fault::NoSuchVersion => S3ErrorCode::NoSuchVersion,
        Fault::NotImplemented(_) | Fault::HeaderNotImplemented { .. } => S3ErrorCode::NotImplemented,
        Fault::DeleteMarker { named: false, .. } => S3ErrorCode::NoSuchKey,
        Fault::DeleteMarker { named: true, .. } | Fault::MethodNotAllowed => S3ErrorCode::MethodNotAllowed,
        Fault::InvalidBucketState(_) | Fault::LockNeedsVersioning => S3ErrorCode::InvalidBucketState,
        Fault::InvalidTag(_) => S3ErrorCode::InvalidTag,
        Fault::BadRequest(_) => custom("BadRequest"),
        Fault::AccessForbidden(_) => custom("AccessForbidden"),
        Fault::InvalidEncryptionAlgorithm => S3ErrorCode::InvalidEncryptionAlgorithmError,
        Fault::KmsNotFound(_) => custom("KMS.NotFoundException"),
        Fault::KmsDisabled(_) => custom("KMS.DisabledException"),
        Fault::EncryptionTypeMismatch => custom("EncryptionTypeMismatch"),
        Fault::InvalidWriteOffset => custom("InvalidWriteOffset"),
        Fault::IdempotencyMismatch => custom("IdempotencyParameterMismatch"),
        Fault::InvalidTargetBucket(_) => S3ErrorCode::InvalidTargetBucketForLogging,
        Fault::TooManyConfigurations => custom("TooManyConfigurations"),
        Fault::IdMismatch => custom("IdMismatch"),
        Fault::ExpiredToken => S3ErrorCode::ExpiredToken,
        Fault::InvalidToken => S3ErrorCode::InvalidToken,
        Fault::InvalidDestinationBucket(_) => custom("InvalidS3DestinationBucket"),
        Fault::Locked => S3ErrorCode::AccessDenied,
        Fault::VersionsLeft => S3ErrorCode::BucketNotEmpty,
        Fault::NoObjectLock => S3ErrorCode::NoSuchObjectLockConfiguration,
        Fault::NoObjectLockConfiguration => custom("ObjectLockConfigurationNotFoundError"),
        Fault::NoTags => custom("NoSuchTagSet"),
        Fault::NoConfiguration(code, _) => custom(code),
        Fault::OperationAborted => S3ErrorCode::OperationAborted,
        Fault::QuotaExceeded => custom("QuotaExceeded"),
        Fault::TooManyParts => custom("TooManyParts"),
        Fault::NotModified(_) => S3ErrorCode::NotModified,
        Fault::PreconditionFailed(_) => S3ErrorCode::PreconditionFailed,
        Fault::RequestHeadersTooLarge => custom("RequestHeaderSectionTooLarge"),
        Fault::RequestTimeout => S3ErrorCode::RequestTimeout,
        Fault::SignatureDoesNotMatch => S3ErrorCode::SignatureDoesNotMatch,
        Fault::SlowDown(_) => S3ErrorCode::SlowDown,
        Fault::Request(fault) => fault.code(),
        Fault::Grant(fault) => fault.code(),
        Fault::Location(fault) => fault.code(),
    }
}

/// Returns the message of a fault, in S3's own words where it has some.
pub(super) fn message_of(fault: &Fault) -> &str {
    match fault {
        Fault::AccessDenied(why) => why,
        Fault::BadDigest(why)
        | Fault::Internal(why)
        | Fault::InvalidArgument(why)
        | Fault::InvalidQueryAuth(why)
        | Fault::InvalidRequest(why)
        | Fault::InvalidTag(why)
        | Fault::BadRequest(why)
        | Fault::AccessForbidden(why)
        | Fault::KmsNotFound(why)
        | Fault::KmsDisabled(why)
        | Fault::NotImplemented(why)
        | Fault::SlowDown(why) => why,
        Fault::Form(fault) => fault.words(),
        Fault::Request(fault) => fault.words(),
        Fault::Grant(fault) => fault.words(),
        Fault::Location(fault) => fault.words(),
        Fault::HeaderNotImplemented { .. } => "A header you provided implies functionality that is not implemented",
        Fault::BucketOwnerDiffers => "Access Denied",
        Fault::ChunkTooSmall => "Only the last chunk is allowed to have a size less than 8192 bytes",
        Fault::EntityTooLarge => ENTITY_TOO_LARGE,
        Fault::IncompleteBody => INCOMPLETE_BODY,
        Fault::InvalidAccessKey => "The AWS Access Key Id you provided does not exist in our records.",
        Fault::InvalidBucketName => "The specified bucket is not valid.",
        Fault::InvalidContentSha256 => "The provided 'x-amz-content-sha256' header does not match what was computed.",
        Fault::InvalidDigest => "The Content-MD5 you specified was invalid.",
        Fault::InvalidPart => INVALID_PART,
        Fault::InvalidPartNumber => "The requested partnumber is not satisfiable",
        Fault::InvalidRange { .. } => "The requested range is not satisfiable",
        Fault::InvalidRedirect => "The website redirect location must have a prefix of 'http://' or 'https://' or '/'.",
        Fault::InvalidStorageClass => "The storage class you specified is not valid",
        Fault::MalformedTrailer => MALFORMED_TRAILER,
        Fault::MalformedXml => MALFORMED_XML,
        Fault::MessageTooLong => "Your request was too big.",
        Fault::MetadataTooLarge { .. } => "Your metadata headers exceed the maximum allowed metadata size",
        Fault::MissingContentLength => "You must provide the Content-Length HTTP header.",
        Fault::NoSuchBucket => "The specified bucket does not exist",
        Fault::NoSuchKey => "The specified key does not exist.",
        Fault::NoSuchUpload => NO_SUCH_UPLOAD,
        Fault::NoSuchVersion => "The specified version does not exist.",
        Fault::NotModified(_) => "Not modified.",
        Fault::DeleteMarker { named: false, .. } => "The specified key does not exist.",
        Fault::DeleteMarker { named: true, .. } | Fault::MethodNotAllowed => {
            "The specified method is not allowed against this resource."
        }
        Fault::PreconditionFailed(_) => PRECONDITION_FAILED,
        Fault::RequestHeadersTooLarge => {
            "Your request header section exceeds the maximum allowed request header section size."
        }
        Fault::RequestTimeout => REQUEST_TIMEOUT,
        Fault::SignatureDoesNotMatch => SIGNATURE_DIFFERS,
        other => message_of_settings(other),
    }
}

/// Returns the message of a fault of bucket or version settings, or of sealing keys.
fn message_of_settings(fault: &Fault) -> &str {
    match fault {
        Fault::InvalidBucketState(why) | Fault::InvalidTargetBucket(why) | Fault::InvalidDestinationBucket(why) => why,
        Fault::TooManyConfigurations => {
            "You are attempting to create a new configuration but have already reached the 1,000-configuration limit."
        }
        Fault::ExpiredToken => "The provided token has expired.",
        Fault::InvalidToken => "The provided token is malformed or otherwise invalid.",
        Fault::IdMismatch => "Document ID does not match the specified configuration ID.",
        Fault::InvalidEncryptionAlgorithm => {
            "The Encryption request you specified is not valid. Supported value: AES256."
        }
        Fault::CustomerKeyDiffers => {
            "Requests specifying Server Side Encryption with Customer provided keys must provide the correct secret key."
        }
        Fault::Locked => "Access Denied because object protected by object lock.",
        Fault::LockNeedsVersioning => {
            "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed."
        }
        Fault::LockNotEnabled => "Bucket is missing Object Lock Configuration",
        Fault::NoObjectLock => "The specified object does not have a ObjectLock configuration",
        Fault::NoObjectLockConfiguration => "Object Lock configuration does not exist for this bucket",
        Fault::NoTags => "The TagSet does not exist",
        Fault::NoConfiguration(_, why) => why,
        Fault::OperationAborted => {
            "A conflicting conditional operation is currently in progress against this resource. Please try again."
        }
        Fault::QuotaExceeded => "The bucket's quota does not allow it to hold more.",
        Fault::EncryptionTypeMismatch => "The object has another encryption than the request says.",
        Fault::InvalidWriteOffset => {
            "The write offset value that you specified does not match the current object size."
        }
        Fault::IdempotencyMismatch => "The client token was given with other parameters before.",
        Fault::VersionsLeft => {
            "The bucket you tried to delete is not empty. You must delete all versions in the bucket."
        }
        Fault::TooManyParts => "The object cannot be appended to any more: it has as many parts as an object can have.",
        other => unreachable!("{other:?} has its words elsewhere"),
    }
}

pub(super) const MALFORMED_TRAILER: &str =
    "The request contained trailing data that was not well-formed or did not conform to our published schema.";
pub(super) const MALFORMED_XML: &str =
    "The XML you provided was not well-formed or did not validate against our published schema";
pub(super) const ENTITY_TOO_LARGE: &str = "Your proposed upload exceeds the maximum allowed size";
pub(super) const CHUNK_SIZE: &str = "InvalidChunkSizeError";
pub(super) const INCOMPLETE_BODY: &str = "The request body terminated unexpectedly";
pub(super) const PRECONDITION_FAILED: &str = "At least one of the pre-conditions you specified did not hold";
const REQUEST_TIMEOUT: &str =
    "Your socket connection to the server was not read from or written to within the timeout period.";
const INVALID_PART: &str = "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.";
const NO_SUCH_UPLOAD: &str = "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.";

pub(super) fn custom(code: &'static str) -> S3ErrorCode {
    S3ErrorCode::Custom(code.into())
}
