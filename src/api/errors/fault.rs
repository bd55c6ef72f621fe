//! Faults of requests, with the elements and headers of their responses. Their codes, statuses and messages are in
//! `table`.

use super::argument::ArgumentFault;
use super::details::{Detail, Text, with_details};
use super::form::FormFault;
use super::grant::GrantFault;
use super::location::LocationFault;
use super::request_head::RequestFault;
use crate::api::text::MalformedQuery;
use crate::limits::USER_METADATA_BYTES_MAX;
use http::header::{CONTENT_RANGE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use s3s::{S3Error, S3ErrorCode};
use std::convert::Infallible;
use std::fmt;

/// The value of `Retry-After` for a request that was refused as unavailable.
const RETRY_AFTER_SECONDS: &str = "2";

/// A fault of a request, or of the store that answers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    AccessDenied(&'static str),
    AccessForbidden(String),
    /// A named argument is wrong.
    Argument(ArgumentFault),
    BadDigest(String),
    BadRequest(String),
    BucketNotEmpty,
    BucketOwnedByCaller,
    BucketOwnedByOther,
    BucketOwnerDiffers,
    /// A signed chunk is too small for one that is not the last. `next` is the number of the chunk after it.
    ChunkTooSmall {
        next: u64,
        size: u64,
    },
    EntityTooLarge,
    EntityTooSmall,
    /// A fault of a browser's form.
    Form(FormFault),
    IncompleteBody,
    Internal(String),
    InvalidAccessKey,
    InvalidArgument(String),
    InvalidBucketName,
    /// The SHA-256 of the body differs from the one in the request.
    InvalidContentSha256 {
        computed: Option<String>,
    },
    InvalidDigest,
    InvalidPart,
    InvalidPartNumber,
    InvalidPartOrder,
    /// A fault of a presigned URL.
    InvalidQueryAuth(String),
    InvalidRange {
        size_bytes: u64,
    },
    InvalidRedirect,
    InvalidRequest(String),
    InvalidStorageClass,
    /// A trailer is missing, was not announced, or is announced for a body that cannot have one.
    MalformedTrailer,
    /// The XML is malformed, or has a value that the operation does not allow.
    MalformedXml,
    /// The MD5 of the content differs from `Content-MD5`.
    Md5Differs {
        calculated: Option<String>,
    },
    /// A change is larger than the store can hold.
    MessageTooLarge(String),
    /// The body of a request that sets a configuration is too large.
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
    /// The signature does not cover these headers, which it must.
    HeadersNotSigned(String),
    /// S3 does not support this value of the header in this operation.
    HeaderNotImplemented {
        header: &'static str,
        why: String,
    },
    /// The requested version is a delete marker.
    DeleteMarker {
        /// True if the request names its version id; false if it is the current version.
        named: bool,
        version: String,
        modified: Option<String>,
    },
    InvalidBucketState(&'static str),
    InvalidTag(String),
    InvalidEncryptionAlgorithm,
    KmsNotFound(String),
    KmsDisabled(String),
    /// The customer-provided key (SSE-C) is not the one that the object is encrypted with.
    CustomerKeyDiffers,
    /// An append requests another encryption than the object has.
    EncryptionTypeMismatch,
    InvalidWriteOffset,
    /// The client token was used before in a different request.
    IdempotencyMismatch,
    InvalidTargetBucket(&'static str),
    TooManyConfigurations,
    IdMismatch,
    ExpiredToken,
    InvalidToken,
    InvalidDestinationBucket(&'static str),
    KeyTooLong,
    Locked,
    LockNeedsVersioning,
    LockNotEnabled,
    MethodNotAllowed,
    NoObjectLock,
    NoObjectLockConfiguration,
    NoTags,
    OperationAborted,
    OutOfSpace,
    /// Bytes cannot be appended to an object while copies refer to its parts, if these are many.
    PartsShared,
    QuotaExceeded,
    TooManyBuckets,
    TooManyParts,
    /// The store cannot carry out the request now. Either nothing was done, or the outcome is unknown.
    Unavailable(String),
    /// The bucket to be deleted still has versions or delete markers, although a list of its objects may be empty.
    VersionsLeft,
    /// The bucket has no such configuration. Holds S3's code and message for this case.
    NoConfiguration(&'static str, &'static str),
    /// The client already has this version; the headers identify it.
    NotModified(Box<HeaderMap>),
    /// A condition of the request does not hold: its header, if known.
    PreconditionFailed(Option<&'static str>),
    RequestHeadersTooLarge,
    RequestTimeout,
    /// The signature of the request, of a chunk of its body, or of its trailer does not match.
    SignatureDoesNotMatch,
    SlowDown(String),
    /// A fault found before the operation is considered.
    Request(RequestFault),
    /// A fault of an ACL, a bucket policy or a related setting.
    Grant(GrantFault),
    /// A fault of the location constraint of a new bucket.
    Location(LocationFault),
}

impl From<ArgumentFault> for Fault {
    fn from(fault: ArgumentFault) -> Self {
        Self::Argument(fault)
    }
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

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().message)
    }
}

impl std::error::Error for Fault {}

impl From<Fault> for S3Error {
    fn from(fault: Fault) -> Self {
        let row = fault.row();
        let code = row.code.parse::<S3ErrorCode>().unwrap_or_else(|never: Infallible| match never {});
        let mut error = S3Error::with_message(code, row.message.to_owned());
        error.set_status_code(StatusCode::from_u16(row.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
        let mut error = with_details(error, fault.details());
        fault.headers().into_iter().for_each(|headers| error.set_headers(headers));
        error
    }
}

impl Fault {
    /// Returns the elements of the response besides code and message.
    fn details(&self) -> Vec<Detail> {
        let own = |name, text: &str| (name, Text::Own(text.to_owned()));
        let number = |name, number: u64| (name, Text::Own(number.to_string()));
        match self {
            Self::Argument(fault) => fault.details(),
            Self::ChunkTooSmall { next, size } => vec![number("Chunk", *next), number("BadChunkSize", *size)],
            Self::HeadersNotSigned(names) => vec![own("HeadersNotSigned", names)],
            Self::InvalidContentSha256 { computed } => {
                computed.iter().map(|computed| own("S3ComputedContentSHA256", computed)).collect()
            }
            Self::InvalidRange { size_bytes } => vec![number("ActualObjectSize", *size_bytes)],
            Self::Location(fault) => fault.details(),
            Self::Grant(fault) => fault.details(),
            Self::Request(fault) => fault.details(),
            Self::Md5Differs { calculated } => {
                let calculated = calculated.iter().map(|calculated| own("CalculatedDigest", calculated));
                [("ExpectedDigest", Text::ContentMd5)].into_iter().chain(calculated).collect()
            }
            Self::MetadataTooLarge { size_bytes } => {
                vec![own("Size", &size_bytes.to_string()), own("MaxSizeAllowed", &USER_METADATA_BYTES_MAX.to_string())]
            }
            Self::HeaderNotImplemented { header, why } => vec![own("Header", header), own("additionalMessage", why)],
            Self::PreconditionFailed(Some(condition)) => vec![own("Condition", condition)],
            _ => Vec::new(),
        }
    }

    /// Returns the headers of the response, if any.
    fn headers(self) -> Option<HeaderMap> {
        Some(match self {
            Self::InvalidRange { size_bytes } => {
                HeaderMap::from_iter([(CONTENT_RANGE, HeaderValue::try_from(format!("bytes */{size_bytes}")).ok()?)])
            }
            Self::NotModified(headers) => *headers,
            Self::DeleteMarker { version, modified, .. } => marker_headers(&version, modified),
            Self::SlowDown(_) | Self::Unavailable(_) => {
                HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS))])
            }
            _ => return None,
        })
    }
}

/// Returns the headers that describe a delete marker.
fn marker_headers(version: &str, modified: Option<String>) -> HeaderMap {
    let name = HeaderName::from_static("x-amz-delete-marker");
    let mut headers = HeaderMap::from_iter([(name, HeaderValue::from_static("true"))]);
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
