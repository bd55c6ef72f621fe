//! Errors of S3 requests and their responses. A fault is created where its cause is known (`fault` and the enums beside
//! it), gets code, status and message from one table (`table`), travels as an `S3Error` with its details, and is
//! written in one place (`answer`). Only the codes for absent bucket configurations are named elsewhere, where
//! `Fault::NoConfiguration` is created.

mod answer;
mod argument;
mod details;
mod fault;
mod form;
mod grant;
mod location;
mod request_body;
mod request_head;
mod table;

pub use answer::{Names, of_s3s, written};
pub use argument::ArgumentFault;
pub use details::{ErrorContext, Text, again, details_of, time, with_details};
pub use fault::Fault;
pub use form::FormFault;
pub use grant::GrantFault;
pub use location::LocationFault;
pub use request_body::{FramingFault, Sha256Mismatch, Stalled};
pub use request_head::RequestFault;

use crate::actors::gateway::{BodyFault, StoreError};
use crate::actors::meta::{KvError, MetaError, Refusal};
use s3s::{S3Error, S3ErrorCode, StdError};

/// The message of GetObjectAttributes if no attribute is requested.
pub const NO_ATTRIBUTES: &str =
    "The x-amz-object-attributes header specifying the attributes to be retrieved is either missing or empty";
const OUTCOME_UNKNOWN: &str = "The change was not decided in time; whether it takes effect is not known.";

impl From<StoreError> for S3Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::BodyRefused(fault) => match fault.of_reader::<S3Error>() {
                Some(error) => again(error),
                None => refused_body(&fault).into(),
            },
            other => Fault::from(other).into(),
        }
    }
}

/// Converts an error of the store. An internal failure is logged, and its reason is not shown to the client.
impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Refused(refusal) => refusal.into(),
            StoreError::Unavailable { why } | StoreError::DataUnavailable { why } => Self::Unavailable(why),
            StoreError::Busy { why } => Self::SlowDown(why),
            StoreError::OutOfSpace => Self::OutOfSpace,
            StoreError::TooLarge { why } => Self::MessageTooLarge(why),
            StoreError::OutcomeUnknown => Self::Unavailable(OUTCOME_UNKNOWN.to_owned()),
            StoreError::BodyIncomplete { .. } => Self::IncompleteBody,
            StoreError::BodyTooLarge => Self::EntityTooLarge,
            StoreError::Md5Mismatch => Self::Md5Differs { calculated: None },
            StoreError::ChecksumMismatch(algorithm) => Self::BadDigest(format!(
                "The {} you specified did not match the calculated checksum.",
                algorithm.name()
            )),
            StoreError::BodyRefused(fault) => refused_body(&fault),
            error @ StoreError::TrailerUnannounced(_) => Self::InvalidRequest(error.to_string()),
            StoreError::Internal { why } => {
                tracing::error!(%why, "a request failed inside the store");
                Self::Internal("We encountered an internal error. Please try again.".to_owned())
            }
        }
    }
}

/// Returns the fault that the reader of the body reported.
fn refused_body(fault: &BodyFault) -> Fault {
    fault.of_reader::<Fault>().cloned().unwrap_or(Fault::IncompleteBody)
}

impl From<MetaError> for S3Error {
    fn from(error: MetaError) -> Self {
        StoreError::from(error).into()
    }
}

impl From<KvError> for S3Error {
    fn from(error: KvError) -> Self {
        tracing::error!(%error, "a lookup in the metadata tables failed");
        Fault::Unavailable("The metadata cannot be read.".to_owned()).into()
    }
}

impl From<Refusal> for S3Error {
    fn from(refusal: Refusal) -> Self {
        Fault::from(refusal).into()
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoSuchBucket => Self::NoSuchBucket,
            Refusal::NoSuchKey => Self::NoSuchKey,
            Refusal::NoSuchUpload => Self::NoSuchUpload,
            Refusal::PreconditionFailed => Self::PreconditionFailed(None),
            Refusal::InvalidPart => Self::InvalidPart,
            Refusal::EntityTooLarge => Self::EntityTooLarge,
            Refusal::BucketOwnedByCaller => Self::BucketOwnedByCaller,
            Refusal::BucketOwnedByOther => Self::BucketOwnedByOther,
            Refusal::BucketNotEmpty => Self::BucketNotEmpty,
            Refusal::InvalidPartOrder => Self::InvalidPartOrder,
            Refusal::EntityTooSmall => Self::EntityTooSmall,
            Refusal::ChecksumMismatch => Self::BadDigest(
                "The checksum you specified did not match the calculated checksum of the object.".to_owned(),
            ),
            Refusal::SizeMismatch => Self::InvalidRequest(
                "The provided 'x-amz-mp-object-size' header value does not match the size of the object.".to_owned(),
            ),
            Refusal::InvalidRequest => Self::InvalidRequest("The request is not valid.".to_owned()),
            // Refusals of layout changes, which no S3 request makes.
            Refusal::HostHasNodes | Refusal::NodeHoldsShards | Refusal::Removed => {
                Self::InvalidRequest("The request is not valid.".to_owned())
            }
            // A retry uses the current layout.
            Refusal::NoSuchNode => Self::Unavailable(
                "A drive chosen for the object was removed or replaced during the write; send the request again."
                    .to_owned(),
            ),
            Refusal::Fenced => {
                Self::Unavailable("The write took too long and was given up; send the request again.".to_owned())
            }
            Refusal::Forgotten => Self::Unavailable(OUTCOME_UNKNOWN.to_owned()),
            Refusal::NoSuchVersion => Self::NoSuchVersion,
            Refusal::IsDeleteMarker => Self::MethodNotAllowed,
            Refusal::Locked => Self::Locked,
            Refusal::LockNotEnabled => Self::LockNotEnabled,
            Refusal::LockNeedsVersioning => Self::LockNeedsVersioning,
            Refusal::QuotaExceeded => Self::QuotaExceeded,
            Refusal::SourceChanged | Refusal::DocumentChanged | Refusal::NotAppendable => Self::OperationAborted,
            Refusal::Versioned => {
                Self::InvalidRequest("The operation is for buckets that never had versioning enabled.".to_owned())
            }
            Refusal::TooManyBuckets => Self::TooManyBuckets,
            Refusal::TooManyParts => Self::TooManyParts,
            Refusal::PartsShared => Self::PartsShared,
            Refusal::RepeatedOtherwise => Self::IdempotencyMismatch,
        }
    }
}

/// Returns the fault for an error that ended the reading of a request's body.
pub fn body_fault(error: &StdError) -> Fault {
    if let Some(fault) = error.downcast_ref::<FormFault>() {
        return fault.clone().into();
    }
    if error.is::<Stalled>() {
        return Fault::RequestTimeout;
    }
    if let Some(Sha256Mismatch { computed }) = error.downcast_ref() {
        return Fault::InvalidContentSha256 { computed: Some(computed.clone()) };
    }
    match error.downcast_ref::<FramingFault>() {
        Some(FramingFault::TooSmall { next, size }) => Fault::ChunkTooSmall { next: *next, size: *size },
        Some(FramingFault::SignatureDiffers) => Fault::SignatureDoesNotMatch,
        // A broken connection is `IncompleteBody`, too: S3 does not distinguish them.
        Some(FramingFault::Malformed | FramingFault::Unfinished) | None => Fault::IncompleteBody,
    }
}

/// Returns the error that carries a fault of the body through the store and back.
pub fn body_error(error: &StdError) -> StoreError {
    match body_fault(error) {
        Fault::IncompleteBody => StoreError::BodyIncomplete { why: error.to_string() },
        fault => StoreError::BodyRefused(BodyFault::new(fault)),
    }
}

/// Returns the error that carries a refusal through the store, for a request whose body must not be stored.
pub fn body_refused(error: S3Error) -> StoreError {
    match error.code() {
        S3ErrorCode::ServiceUnavailable | S3ErrorCode::InternalError => {
            StoreError::Unavailable { why: error.message().unwrap_or_default().to_owned() }
        }
        _ => StoreError::BodyRefused(BodyFault::new(error)),
    }
}

/// Returns the error for a body whose length differs from the declared one.
pub fn length_differs(provided: u64, expected: u64) -> StoreError {
    StoreError::BodyRefused(BodyFault::new(Fault::from(RequestFault::OtherLength { provided, expected })))
}

/// Returns the error for an announced trailer that is missing, or a trailer that was not announced.
pub fn trailer_malformed() -> StoreError {
    StoreError::BodyRefused(BodyFault::new(Fault::MalformedTrailer))
}

/// Returns the error for a trailer whose value is not a checksum.
pub fn trailer_invalid(name: &str) -> StoreError {
    let why = format!("Value for {name} trailing header is invalid.");
    StoreError::BodyRefused(BodyFault::new(Fault::InvalidRequest(why)))
}

/// Returns the error of one key for the result of DeleteObjects.
pub fn entry_of_many(key: String, version_id: Option<String>, error: impl Into<S3Error>) -> s3s::dto::Error {
    let error = error.into();
    s3s::dto::Error {
        code: Some(error.code().as_str().to_owned()),
        key: Some(key),
        message: error.message().map(str::to_owned),
        version_id,
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Fault, FormFault, FramingFault, GrantFault, RequestFault, Sha256Mismatch, Stalled, Text, body_error,
        body_refused, details_of, length_differs,
    };
    use crate::actors::gateway::StoreError;
    use crate::actors::meta::{MetaError, Refusal};
    use crate::limits::SHARED_PARTS_COPIED_MAX;
    use http::StatusCode;
    use s3s::{S3Error, StdError};

    fn status(error: impl Into<S3Error>) -> (String, u16) {
        let error = error.into();
        (error.code().as_str().to_owned(), error.status_code().map_or(0, |status| status.as_u16()))
    }

    fn own(name: &'static str, text: &str) -> (&'static str, Text) {
        (name, Text::Own(text.to_owned()))
    }

    #[test]
    fn f3_an_unavailable_store_answers_503_with_retry_after() {
        for error in [
            StoreError::Unavailable { why: "two drives are lost".to_owned() },
            StoreError::DataUnavailable { why: "three shards are lost".to_owned() },
            StoreError::Busy { why: "memory".to_owned() },
            StoreError::OutcomeUnknown,
        ] {
            let error = S3Error::from(error);
            assert_eq!(error.status_code(), Some(StatusCode::SERVICE_UNAVAILABLE));
            assert!(error.headers().is_some_and(|headers| headers.contains_key("retry-after")));
        }
        let (code, status) = status(MetaError::Unavailable { why: "no leader".to_owned() });
        assert_eq!((code.as_str(), status), ("ServiceUnavailable", 503));
    }

    #[test]
    fn f3_a_full_store_is_507() {
        assert_eq!(status(StoreError::OutOfSpace), ("InsufficientStorage".to_owned(), 507));
    }

    #[test]
    fn refusals_have_the_codes_of_s3() {
        assert_eq!(status(Refusal::BucketNotEmpty), ("BucketNotEmpty".to_owned(), 409));
        assert_eq!(status(Refusal::PreconditionFailed), ("PreconditionFailed".to_owned(), 412));
        assert_eq!(status(Refusal::EntityTooSmall), ("EntityTooSmall".to_owned(), 400));
        assert_eq!(status(Refusal::NoSuchUpload), ("NoSuchUpload".to_owned(), 404));
        assert_eq!(status(Fault::InvalidPartNumber), ("InvalidPartNumber".to_owned(), 416));
        assert_eq!(status(Fault::InvalidRange { size_bytes: 7 }), ("InvalidRange".to_owned(), 416));
        assert_eq!(status(Fault::MalformedTrailer), ("MalformedTrailerError".to_owned(), 400));
        assert_eq!(status(Fault::MissingContentLength), ("MissingContentLength".to_owned(), 411));
        assert_eq!(status(Refusal::TooManyBuckets), ("TooManyBuckets".to_owned(), 400));
        assert_eq!(status(Refusal::TooManyParts), ("TooManyParts".to_owned(), 400));
        assert_eq!(status(Refusal::PartsShared), ("TooManyParts".to_owned(), 400));
        assert_eq!(status(Fault::InvalidWriteOffset), ("InvalidWriteOffset".to_owned(), 400));
        assert_eq!(status(Refusal::RepeatedOtherwise), ("IdempotencyParameterMismatch".to_owned(), 400));
        assert_eq!(status(Refusal::NoSuchNode), ("ServiceUnavailable".to_owned(), 503));
        assert_eq!(status(Refusal::Fenced), ("ServiceUnavailable".to_owned(), 503));
    }

    /// F5: a failed verification of the body is reported as such.
    #[test]
    fn f5_faults_of_a_body_have_the_codes_of_s3() {
        let code_and_status = |error: StdError| status(S3Error::from(body_error(&error)));
        let code = |error: StdError| code_and_status(error).0;
        assert_eq!(code(Box::new(FramingFault::SignatureDiffers)), "SignatureDoesNotMatch");
        assert_eq!(code(Box::new(Sha256Mismatch { computed: "00".to_owned() })), "XAmzContentSHA256Mismatch");
        assert_eq!(code_and_status(Box::new(Stalled)), ("RequestTimeout".to_owned(), 400));
        assert_eq!(code(Box::new(FramingFault::Malformed)), "IncompleteBody");
        assert_eq!(code(Box::new(FramingFault::Unfinished)), "IncompleteBody");
        assert_eq!(code("the connection failed".into()), "IncompleteBody");
        let small = code_and_status(Box::new(FramingFault::TooSmall { next: 2, size: 5 }));
        assert_eq!(small, ("InvalidChunkSizeError".to_owned(), 403));
    }

    /// The store returns the fault of the body's reader together with its details.
    #[test]
    fn a_fault_of_a_body_passes_the_store_with_its_details() {
        let through = |error: StoreError| {
            let error = S3Error::from(error.clone());
            (error.code().as_str().to_owned(), details_of(&error).to_vec())
        };
        let of = |error: StdError| through(body_error(&error));
        let (code, details) = of(Box::new(Sha256Mismatch { computed: "00".to_owned() }));
        assert_eq!((code.as_str(), details), ("XAmzContentSHA256Mismatch", vec![own("S3ComputedContentSHA256", "00")]));
        let (_, details) = of(Box::new(FramingFault::TooSmall { next: 2, size: 5 }));
        assert_eq!(details, [own("Chunk", "2"), own("BadChunkSize", "5")]);
        let (code, details) = through(length_differs(4, 32));
        assert_eq!(code, "IncompleteBody");
        assert_eq!(details, [own("NumberBytesExpected", "32"), own("NumberBytesProvided", "4")]);
        let refused = body_refused(super::with_details(Fault::InvalidToken.into(), [("A", "b".to_owned())]));
        assert_eq!(through(refused), ("InvalidToken".to_owned(), vec![own("A", "b")]));
        let unavailable = body_refused(Fault::Unavailable("why".to_owned()).into());
        assert!(matches!(unavailable, StoreError::Unavailable { .. }));
    }

    /// The messages equal those of AWS, including the presence of a full stop.
    #[test]
    fn messages_are_those_of_s3() {
        let metadata = Fault::MetadataTooLarge { size_bytes: 2050 };
        for (error, words) in [
            (S3Error::from(Fault::NoSuchBucket), "The specified bucket does not exist"),
            (Fault::NoSuchKey.into(), "The specified key does not exist."),
            (Refusal::BucketNotEmpty.into(), "The bucket you tried to delete is not empty"),
            (Fault::BucketOwnerDiffers.into(), "Access Denied"),
            (Fault::EntityTooLarge.into(), "Your proposed upload exceeds the maximum allowed size"),
            (Fault::Form(FormFault::TooLarge).into(), "Your proposed upload exceeds the maximum allowed size"),
            (metadata.clone().into(), "Your metadata headers exceed the maximum allowed metadata size"),
            (Fault::Grant(GrantFault::UnexpectedContent).into(), "This request does not support content"),
            (Fault::Request(RequestFault::NoBody).into(), "Request Body is empty"),
        ] {
            assert_eq!(error.message(), Some(words));
        }
        assert_eq!(details_of(&metadata.into()), [own("Size", "2050"), own("MaxSizeAllowed", "2048")]);
        let header = Fault::HeaderNotImplemented { header: "If-Match", why: "why".to_owned() };
        assert_eq!(status(header.clone()), ("NotImplemented".to_owned(), 501));
        assert_eq!(details_of(&header.into()), [own("Header", "If-Match"), own("additionalMessage", "why")]);
        let list = Fault::Grant(GrantFault::MissingAcl);
        assert_eq!(details_of(&list.into()), [own("MissingHeaderName", "x-amz-acl")]);
        let skewed = Fault::Request(RequestFault::Skewed { now_s: 1_438_172_160 });
        assert_eq!(details_of(&skewed.into()), [own("ServerTime", "2015-07-29T12:16:00Z")]);
    }

    #[test]
    fn a_refused_append_to_shared_parts_says_how_many_there_may_be_and_what_to_do() {
        let error = S3Error::from(Refusal::PartsShared);
        let message = error.message().unwrap_or_default();
        assert!(message.contains(&format!("more than {SHARED_PARTS_COPIED_MAX} parts")), "{message}");
        assert!(message.contains("Copy the object onto itself"), "{message}");
    }

    #[test]
    fn an_s3_error_carries_the_details_of_its_fault() {
        let details = |fault: Fault| details_of(&S3Error::from(fault)).to_vec();
        assert_eq!(details(Fault::InvalidRange { size_bytes: 9 }), [own("ActualObjectSize", "9")]);
        assert_eq!(details(Fault::PreconditionFailed(Some("If-Match"))), [own("Condition", "If-Match")]);
        assert!(details(Fault::PreconditionFailed(None)).is_empty() && details(Fault::NoSuchKey).is_empty());
    }
}
