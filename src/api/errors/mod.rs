//! The map from what can go wrong to S3's error codes, statuses and messages. No other folder names a code. s3s writes an error's XML; `identify`
//! adds to it what the request tells (`details`).

mod details;
mod fault;
mod form;
mod grant;
mod location;
mod request_body;
mod request_head;

pub use details::{Named, details_of, time, with_details};
pub use fault::Fault;
pub use form::FormFault;
pub use grant::GrantFault;
pub use location::LocationFault;
pub use request_body::{ChunkFault, Sha256Mismatch, Stalled};
pub use request_head::RequestFault;

use crate::actors::gateway::StoreError;
use crate::actors::meta::{KvError, MetaError, Refusal};
use bytes::Bytes;
use fault::{
    CHUNK_SIZE, INCOMPLETE_BODY, MALFORMED_TRAILER, MALFORMED_XML, PRECONDITION_FAILED, code_of, custom, message_of,
};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use request_head::{LENGTH_DIFFERS, NO_BODY, NOT_A_FORM, SIGNATURE_DIFFERS};
use s3s::{HttpResponse, S3Error, S3ErrorCode, StdError};

/// The seconds after which a client may repeat a request that was refused as unavailable.
const RETRY_AFTER_SECONDS: &str = "2";
/// The message of GetObjectAttributes if no attribute is asked for.
pub const NO_ATTRIBUTES: &str =
    "The x-amz-object-attributes header specifying the attributes to be retrieved is either missing or empty";
const BUCKET_ALREADY_EXISTS: &str = "The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again.";

/// Headers of an error's answer replace those that s3s would set, so the type of the body must be among them.
pub fn xml_headers<const N: usize>(headers: [(HeaderName, HeaderValue); N]) -> HeaderMap {
    let mut map = HeaderMap::from_iter(headers);
    map.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    map
}

pub fn retry_headers() -> HeaderMap {
    xml_headers([(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS))])
}

fn retry_later(code: S3ErrorCode, why: String) -> S3Error {
    let mut error = S3Error::with_message(code, why);
    error.set_headers(retry_headers());
    error
}

/// Returns the error for a failure inside the store. Its reason is logged, and not shown to clients.
fn internal(why: &dyn std::fmt::Display) -> S3Error {
    tracing::error!(%why, "a request failed inside the store");
    Fault::Internal("We encountered an internal error. Please try again.".to_owned()).into()
}

impl From<StoreError> for S3Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Refused(refusal) => refusal.into(),
            StoreError::Unavailable { why } | StoreError::DataUnavailable { why } => {
                retry_later(S3ErrorCode::ServiceUnavailable, why)
            }
            StoreError::Busy { why } => retry_later(S3ErrorCode::SlowDown, why),
            // S3 itself never says this; 507 is what its peers answer and what SDKs do not retry at once.
            StoreError::OutOfSpace => {
                let mut full = S3Error::with_message(
                    custom("InsufficientStorage"),
                    "The store has no space left for writes; reads and deletes go on.",
                );
                full.set_status_code(StatusCode::INSUFFICIENT_STORAGE);
                full
            }
            StoreError::TooLarge { why } => S3Error::with_message(S3ErrorCode::MaxMessageLengthExceeded, why),
            StoreError::OutcomeUnknown => retry_later(
                S3ErrorCode::ServiceUnavailable,
                "The change was not decided in time; whether it takes effect is not known.".to_owned(),
            ),
            StoreError::BodyIncomplete { .. } => Fault::IncompleteBody.into(),
            StoreError::BodyTooLarge => Fault::EntityTooLarge.into(),
            StoreError::Md5Mismatch => {
                Fault::BadDigest("The Content-MD5 you specified did not match what we received.".to_owned()).into()
            }
            StoreError::ChecksumMismatch(algorithm) => Fault::BadDigest(format!(
                "The {} you specified did not match the calculated checksum.",
                algorithm.name()
            ))
            .into(),
            StoreError::BodyMalformed { code, why } => {
                let code = S3ErrorCode::from_bytes(code.as_bytes()).unwrap_or(S3ErrorCode::InvalidRequest);
                let forbidden = code.as_str() == CHUNK_SIZE;
                let otherwise = if forbidden { StatusCode::FORBIDDEN } else { StatusCode::BAD_REQUEST };
                let status = code.status_code().unwrap_or(otherwise);
                let mut error = S3Error::with_message(code, why);
                error.set_status_code(status);
                error
            }
            StoreError::Internal { why } => internal(&why),
        }
    }
}

impl From<MetaError> for S3Error {
    fn from(error: MetaError) -> Self {
        StoreError::from(error).into()
    }
}

impl From<KvError> for S3Error {
    fn from(error: KvError) -> Self {
        tracing::error!(%error, "a lookup in the metadata tables failed");
        retry_later(S3ErrorCode::ServiceUnavailable, "The metadata cannot be read.".to_owned())
    }
}

impl From<Refusal> for S3Error {
    fn from(refusal: Refusal) -> Self {
        let simple = |code: S3ErrorCode, message: &'static str| S3Error::with_message(code, message);
        match refusal {
            Refusal::NoSuchBucket => Fault::NoSuchBucket.into(),
            Refusal::NoSuchKey => Fault::NoSuchKey.into(),
            Refusal::NoSuchUpload => Fault::NoSuchUpload.into(),
            Refusal::PreconditionFailed => Fault::PreconditionFailed(None).into(),
            Refusal::InvalidPart => Fault::InvalidPart.into(),
            Refusal::EntityTooLarge => Fault::EntityTooLarge.into(),
            Refusal::BucketOwnedByCaller => simple(
                S3ErrorCode::BucketAlreadyOwnedByYou,
                "Your previous request to create the named bucket succeeded and you already own it.",
            ),
            Refusal::BucketOwnedByOther => simple(S3ErrorCode::BucketAlreadyExists, BUCKET_ALREADY_EXISTS),
            Refusal::BucketNotEmpty => {
                simple(S3ErrorCode::BucketNotEmpty, "The bucket you tried to delete is not empty")
            }
            Refusal::InvalidPartOrder => simple(
                S3ErrorCode::InvalidPartOrder,
                "The list of parts was not in ascending order. Parts must be ordered by part number.",
            ),
            Refusal::EntityTooSmall => {
                simple(S3ErrorCode::EntityTooSmall, "Your proposed upload is smaller than the minimum allowed size")
            }
            Refusal::ChecksumMismatch => Fault::BadDigest(
                "The checksum you specified did not match the calculated checksum of the object.".to_owned(),
            )
            .into(),
            Refusal::SizeMismatch => Fault::InvalidRequest(
                "The provided 'x-amz-mp-object-size' header value does not match the size of the object.".to_owned(),
            )
            .into(),
            Refusal::InvalidRequest => Fault::InvalidRequest("The request is not valid.".to_owned()).into(),
            // Answers to changes of the layout, which no S3 request makes.
            Refusal::HostHasNodes | Refusal::NodeHoldsShards | Refusal::Removed => {
                Fault::InvalidRequest("The request is not valid.".to_owned()).into()
            }
            // The next try goes by the layout that is in force.
            Refusal::NoSuchNode => retry_later(
                S3ErrorCode::ServiceUnavailable,
                "A drive that was to hold the object was removed or replaced meanwhile.".to_owned(),
            ),
            Refusal::Fenced => retry_later(
                S3ErrorCode::ServiceUnavailable,
                "The write was under way for too long without being heard of; send it again.".to_owned(),
            ),
            Refusal::Forgotten => StoreError::OutcomeUnknown.into(),
            Refusal::NoSuchVersion => Fault::NoSuchVersion.into(),
            Refusal::IsDeleteMarker => Fault::MethodNotAllowed.into(),
            Refusal::Locked => Fault::Locked.into(),
            Refusal::LockNotEnabled => Fault::LockNotEnabled.into(),
            Refusal::LockNeedsVersioning => Fault::LockNeedsVersioning.into(),
            Refusal::QuotaExceeded => Fault::QuotaExceeded.into(),
            Refusal::SourceChanged | Refusal::DocumentChanged | Refusal::NotAppendable => {
                Fault::OperationAborted.into()
            }
            Refusal::Versioned => {
                Fault::InvalidRequest("The operation is for buckets that never had versioning enabled.".to_owned())
                    .into()
            }
            Refusal::TooManyParts => Fault::TooManyParts.into(),
            Refusal::RepeatedOtherwise => Fault::IdempotencyMismatch.into(),
        }
    }
}

/// The fault of an error that ends a request's body.
pub fn body_fault(error: &StdError) -> Fault {
    if let Some(fault) = error.downcast_ref::<FormFault>() {
        return fault.clone().into();
    }
    if error.is::<Stalled>() {
        return Fault::RequestTimeout;
    }
    if error.is::<Sha256Mismatch>() {
        return Fault::InvalidContentSha256;
    }
    match error.downcast_ref::<ChunkFault>() {
        Some(ChunkFault::TooSmall { .. }) => Fault::ChunkTooSmall,
        Some(ChunkFault::SignatureDiffers) => Fault::SignatureDoesNotMatch,
        // Also of a connection that ended: S3 does not tell them apart.
        Some(ChunkFault::Malformed | ChunkFault::Unfinished) | None => Fault::IncompleteBody,
    }
}

/// A body's fault in the form in which the store hands it back.
pub fn body_error(error: &StdError) -> StoreError {
    match body_fault(error) {
        Fault::IncompleteBody => StoreError::BodyIncomplete { why: error.to_string() },
        fault => {
            let (code, why) = (code_of(&fault).as_str().to_owned(), message_of(&fault).to_owned());
            StoreError::BodyMalformed { code, why }
        }
    }
}

/// The error of a request of whose body nothing may be kept, in the form in which the store hands it back.
pub fn body_refused(error: &S3Error) -> StoreError {
    let code = match error.code() {
        S3ErrorCode::ServiceUnavailable | S3ErrorCode::InternalError => {
            return StoreError::Unavailable { why: error.message().unwrap_or_default().to_owned() };
        }
        code => code.as_str().to_owned(),
    };
    StoreError::BodyMalformed { code, why: error.message().unwrap_or_default().to_owned() }
}

/// A body that is shorter than was declared, or longer as far as it was read.
pub fn length_differs(provided: u64, expected: u64) -> StoreError {
    let why = RequestFault::other_length(provided, expected).words().to_owned();
    StoreError::BodyMalformed { code: "IncompleteBody".to_owned(), why }
}

/// A trailer that was announced and did not come, or came and was not.
pub fn trailer_malformed() -> StoreError {
    StoreError::BodyMalformed { code: "MalformedTrailerError".to_owned(), why: MALFORMED_TRAILER.to_owned() }
}

/// A trailer whose value cannot be a checksum.
pub fn trailer_invalid(name: &str) -> StoreError {
    let why = format!("Value for {name} trailing header is invalid.");
    StoreError::BodyMalformed { code: "InvalidRequest".to_owned(), why }
}

/// Returns the error of one key within a delete of many.
pub fn entry_of_many(key: String, version_id: Option<String>, error: impl Into<S3Error>) -> s3s::dto::Error {
    let error = error.into();
    s3s::dto::Error {
        code: Some(error.code().as_str().to_owned()),
        key: Some(key),
        message: error.message().map(str::to_owned),
        version_id,
    }
}

/// Returns the response to a request that is refused before s3s sees it, or that replaces the one of s3s.
pub fn response(error: impl Into<S3Error>) -> HttpResponse {
    error.into().to_http_response().unwrap_or_else(|_| {
        let mut bare = HttpResponse::new(s3s::Body::from(Bytes::new()));
        *bare.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        bare
    })
}

/// Returns the `Code` of a failed response, and its body with S3's further elements: the missing item, the resource and
/// the ids.
pub fn identify(
    body: &[u8],
    resource: &str,
    named: Named<'_>,
    request_id: &str,
    host_id: &str,
) -> Option<(String, Vec<u8>)> {
    let text = std::str::from_utf8(body).ok()?;
    // s3s refers to apostrophes, which S3 writes as they are.
    let text = &text.replace("&apos;", "'");
    let restated = restated(text);
    let text = restated.as_deref().unwrap_or(text);
    let code = text.split_once("<Code>")?.1.split_once("</Code>")?.0.to_owned();
    let head = text.strip_suffix("</Error>")?;
    // S3 does not say it of a request that is one of nothing.
    let resource = match code.as_str() {
        "InvalidRequest" => String::new(),
        _ => format!("<Resource>{}</Resource>", escape(resource)),
    };
    let message = match text.contains("<Message>") {
        true => String::new(),
        false => format!("<Message>{}</Message>", plain_message(&code)),
    };
    let words = text.split_once("<Message>").and_then(|(_, rest)| rest.split_once("</Message>"));
    let told = named.elements(&code, words.map(|(words, _)| words).unwrap_or_default());
    let full =
        format!("{head}{message}{told}{resource}<RequestId>{request_id}</RequestId><HostId>{host_id}</HostId></Error>");
    Some((code, full.into_bytes()))
}

/// S3's own words where s3s has others: for numbers in a query, POSTs that are no forms, missing attributes, and lengths.
fn restated(text: &str) -> Option<String> {
    if let Some((head, tail)) = text.split_once(&format!("<Message>{NOT_A_FORM}</Message>")) {
        let told = format!("<Message>{PRECONDITION_FAILED}</Message><Condition>{NOT_A_FORM}</Condition>");
        return Some(format!("{head}{told}{tail}"));
    }
    if let Some((head, tail)) = text.split_once("<Message>missing header: x-amz-object-attributes</Message>") {
        return Some(format!("{head}<Message>{NO_ATTRIBUTES}</Message>{tail}"));
    }
    if let Some((head, rest)) = text.split_once(&format!("<Message>{LENGTH_DIFFERS}: ")) {
        let (lengths, tail) = rest.split_once("</Message>")?;
        let (provided, expected) = lengths.split_once(" of ")?;
        let told = format!("<NumberBytesExpected>{expected}</NumberBytesExpected>");
        let told = format!("{told}<NumberBytesProvided>{provided}</NumberBytesProvided>");
        return Some(format!("{head}<Message>{LENGTH_DIFFERS}</Message>{told}{tail}"));
    }
    let (head, rest) = text.split_once("<Message>invalid query: ")?;
    let (said, tail) = rest.split_once("</Message>")?;
    let numbers = ["max-keys", "max-parts", "max-uploads", "part-number-marker"];
    let name = numbers.into_iter().find(|name| said.starts_with(*name))?;
    Some(format!("{head}<Message>Provided {name} not an integer or within integer range</Message>{tail}"))
}

/// Returns the message of a refusal that comes without one.
fn plain_message(code: &str) -> &'static str {
    match code {
        "InvalidBucketName" => "The specified bucket is not valid.",
        "InvalidURI" => "Couldn't parse the specified URI.",
        "KeyTooLongError" => "Your key is too long",
        "MalformedXML" => MALFORMED_XML,
        "MethodNotAllowed" => "The specified method is not allowed against this resource.",
        "MissingRequestBodyError" => NO_BODY,
        "SignatureDoesNotMatch" => SIGNATURE_DIFFERS,
        "IncompleteBody" => INCOMPLETE_BODY,
        _ => "The request is not one that can be served.",
    }
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            c if c.is_control() && c != '\n' => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::{
        ChunkFault, Fault, FormFault, GrantFault, Named, RequestFault, Sha256Mismatch, Stalled, body_error, details_of,
        identify, response,
    };
    use crate::actors::gateway::StoreError;
    use crate::actors::meta::{MetaError, Refusal};
    use http::StatusCode;
    use s3s::{S3Error, StdError};

    fn status(error: impl Into<S3Error>) -> (String, u16) {
        let error = error.into();
        (error.code().as_str().to_owned(), error.status_code().map_or(0, |status| status.as_u16()))
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
        assert_eq!(status(Refusal::TooManyParts), ("TooManyParts".to_owned(), 400));
        assert_eq!(status(Fault::InvalidWriteOffset), ("InvalidWriteOffset".to_owned(), 400));
        assert_eq!(status(Refusal::RepeatedOtherwise), ("IdempotencyParameterMismatch".to_owned(), 400));
        assert_eq!(status(Refusal::NoSuchNode), ("ServiceUnavailable".to_owned(), 503));
        assert_eq!(status(Refusal::Fenced), ("ServiceUnavailable".to_owned(), 503));
    }

    /// F5: what was verified and did not hold is said as such.
    #[test]
    fn f5_faults_of_a_body_keep_their_meaning() {
        let told = |error: StdError| status(S3Error::from(body_error(&error)));
        let code = |error: StdError| told(error).0;
        assert_eq!(code(Box::new(ChunkFault::SignatureDiffers)), "SignatureDoesNotMatch");
        assert_eq!(code(Box::new(Sha256Mismatch)), "XAmzContentSHA256Mismatch");
        assert_eq!(told(Box::new(Stalled)), ("RequestTimeout".to_owned(), 400));
        assert_eq!(code(Box::new(ChunkFault::Malformed)), "IncompleteBody");
        assert_eq!(code(Box::new(ChunkFault::Unfinished)), "IncompleteBody");
        assert_eq!(code("the connection failed".into()), "IncompleteBody");
        let small = told(Box::new(ChunkFault::TooSmall { next: 2, size: 5 }));
        assert_eq!(small, ("InvalidChunkSizeError".to_owned(), 403));
    }

    /// Compares messages with those of AWS, to the last full stop.
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
        let size = [("Size", "2050".to_owned()), ("MaxSizeAllowed", "2048".to_owned())];
        assert_eq!(details_of(&metadata.into()), size);
        let header = Fault::HeaderNotImplemented { header: "If-Match", why: "why".to_owned() };
        assert_eq!(status(header.clone()), ("NotImplemented".to_owned(), 501));
        let told = [("Header", "If-Match".to_owned()), ("additionalMessage", "why".to_owned())];
        assert_eq!(details_of(&header.into()), told);
        let list = Fault::Grant(GrantFault::MissingAcl);
        assert_eq!(details_of(&list.into()), [("MissingHeaderName", "x-amz-acl".to_owned())]);
        let skewed = Fault::Request(RequestFault::Skewed { now_s: 1_438_172_160 });
        assert_eq!(details_of(&skewed.into()), [("ServerTime", "2015-07-29T12:16:00Z".to_owned())]);
        for (code, words) in
            [("KeyTooLongError", "Your key is too long"), ("MissingRequestBodyError", "Request Body is empty")]
        {
            let bare = format!("<Error><Code>{code}</Code></Error>");
            let (_, body) = identify(bare.as_bytes(), "/b", Named::default(), "1", "h").expect("an error");
            let text = String::from_utf8(body).expect("text");
            assert!(text.contains(&format!("<Message>{words}</Message>")), "{text}");
        }
    }

    #[test]
    fn the_number_of_bytes_that_came_is_beside_the_message() {
        let error = "<Error><Code>IncompleteBody</Code><Message>";
        let told = format!("{error}{}</Message></Error>", RequestFault::other_length(4, 32).words());
        let (_, body) = identify(told.as_bytes(), "/b", Named::default(), "1", "h").expect("an error");
        let body = String::from_utf8(body).expect("text");
        let lengths = "header</Message><NumberBytesExpected>32</NumberBytesExpected>\
                       <NumberBytesProvided>4</NumberBytesProvided>";
        assert!(body.contains(lengths), "{body}");
    }

    #[test]
    fn details_of_a_fault_are_in_its_error() {
        let details = |fault: Fault| details_of(&S3Error::from(fault)).to_vec();
        assert_eq!(details(Fault::InvalidRange { size_bytes: 9 }), [("ActualObjectSize", "9".to_owned())]);
        let condition = details(Fault::PreconditionFailed(Some("If-Match")));
        assert_eq!(condition, [("Condition", "If-Match".to_owned())]);
        assert!(details(Fault::PreconditionFailed(None)).is_empty() && details(Fault::NoSuchKey).is_empty());
    }

    #[test]
    fn an_error_without_words_gets_some() {
        let (_, body) = identify(b"<Error><Code>InvalidBucketName</Code></Error>", "/b", Named::default(), "1", "h")
            .expect("an error");
        let text = String::from_utf8(body).expect("text");
        assert!(text.contains("<Message>The specified bucket is not valid.</Message><Resource>"), "{text}");
    }

    #[test]
    fn apostrophes_are_written_as_they_are() {
        let bytes = response(Fault::InvalidContentSha256).body().bytes().unwrap_or_default();
        let (_, body) = identify(&bytes, "/b", Named::default(), "1", "h").expect("an error's body");
        let text = String::from_utf8(body).expect("text");
        assert!(text.contains("<Message>The provided 'x-amz-content-sha256' header does not match"), "{text}");
    }

    #[test]
    fn an_error_of_a_request_that_is_none_has_no_resource() {
        let bytes = response(Fault::InvalidRequest("why".to_owned())).body().bytes().unwrap_or_default();
        let (_, body) = identify(&bytes, "/b", Named::default(), "1", "h").expect("an error's body");
        let text = String::from_utf8(body).expect("text");
        assert!(text.contains("<Message>why</Message><RequestId>1</RequestId>"), "{text}");
    }

    #[test]
    fn an_error_names_its_resource_and_request() {
        let answer = response(Fault::NoSuchKey);
        assert_eq!(answer.status(), StatusCode::NOT_FOUND);
        let bytes = answer.body().bytes().unwrap_or_default();
        let (code, body) = identify(&bytes, "/b/<k>", Named::default(), "0001", "host").expect("an error's body");
        let text = String::from_utf8(body).expect("text");
        assert_eq!(code, "NoSuchKey");
        assert!(
            text.ends_with("<Resource>/b/&lt;k&gt;</Resource><RequestId>0001</RequestId><HostId>host</HostId></Error>")
        );
    }

    #[test]
    fn messages_of_s3s_are_replaced_by_those_of_s3() {
        let told = |message: &str| {
            let bytes = format!("<Error><Code>InvalidArgument</Code><Message>{message}</Message></Error>");
            let (_, body) = identify(bytes.as_bytes(), "/b", Named::default(), "1", "h").expect("an error's body");
            String::from_utf8(body).expect("text")
        };
        let number = told("invalid query: max-keys: abc");
        assert!(number.contains("<Message>Provided max-keys not an integer or within integer range</Message>"));
        let form = response(Fault::Request(RequestFault::NotAForm)).body().bytes().unwrap_or_default();
        let (_, body) = identify(&form, "/b", Named::default(), "1", "h").expect("an error's body");
        assert!(String::from_utf8_lossy(&body).contains("did not hold</Message><Condition>Bucket POST must be"));
        assert!(told("invalid query: fetch-owner: abc").contains("<Message>invalid query: fetch-owner: abc</Message>"));
    }

    #[test]
    fn an_error_names_what_is_not_there() {
        let named = Named { bucket: Some("b"), key: Some("<k>"), ..Named::default() };
        let told = |fault: Fault| {
            let bytes = response(fault).body().bytes().unwrap_or_default();
            let (_, body) = identify(&bytes, "/b/<k>", named, "1", "h").expect("an error's body");
            String::from_utf8(body).expect("text")
        };
        assert!(told(Fault::NoSuchKey).contains("</Message><Key>&lt;k&gt;</Key><Resource>"));
        assert!(told(Fault::NoSuchBucket).contains("</Message><BucketName>b</BucketName><Resource>"));
        assert!(told(Fault::NoSuchUpload).contains("</Message><Resource>"));
    }
}
