//! Who may do what, and what is refused before an operation begins: the root key's secret for s3s to verify signatures
//! with; the parts of a signature that s3s leaves open (what must be signed, for which service, for how long); operations
//! and features that do not exist here. Anonymous requests are refused.

use super::errors::Fault;
use super::percent::parameter;
use super::unsupported;
use crate::api::request_log::RequestTrace;
use crate::limits::{XML_BODIES_BYTES_MAX, XML_BODY_BYTES_MAX};
use http::{HeaderMap, Uri, header};
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Error, S3Result};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// AWS: a presigned URL is good for at most a week.
const PRESIGNED_SECONDS_MAX: u64 = 7 * 24 * 60 * 60;
/// How long a request waits for room to hold its XML.
const XML_ROOM_WAIT: Duration = Duration::from_secs(10);
/// The unit in which that room is handed out.
const XML_ROOM_UNIT_BYTES: usize = 1024;

/// The store's one key.
#[derive(Clone)]
pub struct Credentials {
    pub access_key: String,
    pub secret_key: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl S3Auth for Credentials {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        if access_key == self.access_key {
            Ok(SecretKey::from(self.secret_key.as_str()))
        } else {
            Err(Fault::InvalidAccessKey.into())
        }
    }
}

/// Operations that exist here; s3s knows more.
const OPERATIONS: [&str; 22] = [
    "AbortMultipartUpload",
    "CompleteMultipartUpload",
    "CopyObject",
    "CreateBucket",
    "CreateMultipartUpload",
    "DeleteBucket",
    "DeleteObject",
    "DeleteObjects",
    "GetBucketLocation",
    "GetBucketVersioning",
    "GetObject",
    "GetObjectAttributes",
    "HeadBucket",
    "HeadObject",
    "ListBuckets",
    "ListMultipartUploads",
    "ListObjects",
    "ListObjectsV2",
    "ListParts",
    "PutObject",
    "UploadPart",
    "UploadPartCopy",
];

/// What every request passes after its signature was verified.
pub struct Gate {
    owner_id: String,
    /// Room for the XML that requests carry: s3s holds it whole.
    xml_room: Arc<Semaphore>,
}

impl Gate {
    pub fn new(owner_id: String) -> Self {
        Self { owner_id, xml_room: Arc::new(Semaphore::new(XML_BODIES_BYTES_MAX / XML_ROOM_UNIT_BYTES)) }
    }

    async fn room_for_xml(&self, headers: &HeaderMap) -> Result<OwnedSemaphorePermit, Fault> {
        let claimed = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let bytes = claimed.unwrap_or(XML_BODY_BYTES_MAX).min(XML_BODY_BYTES_MAX);
        let units = u32::try_from(bytes / XML_ROOM_UNIT_BYTES + 1).unwrap_or(u32::MAX);
        let full = || Fault::SlowDown("Too many requests with XML bodies are in progress.".to_owned());
        let waited = tokio::time::timeout(XML_ROOM_WAIT, Arc::clone(&self.xml_room).acquire_many_owned(units)).await;
        waited.map_err(|_| full())?.map_err(|_| full())
    }
}

/// Room held until the request has been dropped. Extensions of a request must be cloneable.
#[derive(Clone)]
struct XmlRoom {
    _held: Arc<OwnedSemaphorePermit>,
}

#[async_trait::async_trait]
impl S3Access for Gate {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let name = cx.s3_op().name();
        let operation = OPERATIONS.iter().copied().find(|known| *known == name);
        let refused = Fault::NotImplemented(format!("The operation {name} is not implemented."));
        let bucket = cx.s3_path().get_bucket_name().map(str::to_owned);
        let key = cx.s3_path().get_object_key().map(str::to_owned);
        let access_key = cx.credentials().map(|credentials| credentials.access_key.clone());
        if let Some(trace) = cx.extensions_mut().get::<Arc<RequestTrace>>() {
            trace.resolved(operation.unwrap_or("Other"), bucket, key, access_key);
        }
        if cx.credentials().is_none() {
            return Err(Fault::AccessDenied("Anonymous access is not allowed: the request must be signed.").into());
        }
        if is_version_2(cx.uri()) {
            check_version_2(operation.unwrap_or_default(), cx.headers())?;
        } else {
            check_signature_covers(cx.headers(), cx.uri())?;
        }
        let Some(operation) = operation else {
            return Err(refused.into());
        };
        unsupported::check(cx.headers(), cx.uri(), &self.owner_id)?;
        if matches!(operation, "CompleteMultipartUpload" | "CreateBucket" | "DeleteObjects") {
            let room = XmlRoom { _held: Arc::new(self.room_for_xml(cx.headers()).await.map_err(S3Error::from)?) };
            cx.extensions_mut().insert(room);
        }
        Ok(())
    }
}

/// A signature's scope and the headers that it covers, from the header or the query.
struct Scope {
    service: String,
    signed_headers: String,
}

impl Scope {
    fn find(headers: &HeaderMap, uri: &Uri) -> Option<Self> {
        let (credential, signed_headers) = match headers.get(header::AUTHORIZATION) {
            Some(value) => {
                let fields = value.to_str().ok()?.split_once(' ')?.1;
                let field = |name: &str| {
                    let mut fields = fields.split(',').map(str::trim);
                    fields.find_map(|field| field.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
                };
                (field("Credential")?, field("SignedHeaders")?)
            }
            None => {
                let query = uri.query();
                (parameter(query, "X-Amz-Credential")?, parameter(query, "X-Amz-SignedHeaders")?)
            }
        };
        // An access key may hold slashes; the scope is the last four fields.
        let service = credential.rsplit('/').nth(1)?.to_owned();
        Some(Self { service, signed_headers })
    }
}

/// AWS's rule, so that nothing that steers a request can be added to it on its way: the host and every `x-amz-` header
/// must be signed.
fn check_signature_covers(headers: &HeaderMap, uri: &Uri) -> Result<(), Fault> {
    let Some(scope) = Scope::find(headers, uri) else {
        return Err(Fault::AccessDenied("The request's signature has no scope."));
    };
    if scope.service != "s3" {
        return Err(Fault::AccessDenied("The request is signed for another service than s3."));
    }
    let signed = |name: &str| scope.signed_headers.split(';').any(|one| one.eq_ignore_ascii_case(name));
    if !signed("host") {
        return Err(Fault::AccessDenied("The Host header must be signed."));
    }
    let in_query = !headers.contains_key(header::AUTHORIZATION);
    let unsigned = headers.keys().map(|name| name.as_str()).find(|name| {
        // A presigned URL's payload is verified against this header whether it was signed or not.
        let harmless = in_query && *name == "x-amz-content-sha256";
        name.starts_with("x-amz-") && !harmless && !signed(name)
    });
    match unsigned {
        Some(_) => Err(Fault::AccessDenied("There were headers present in the request which were not signed.")),
        None => Ok(()),
    }
}

/// A URL presigned with signature version 2: what boto3 and the aws tool make unless told otherwise. s3s verifies it.
fn is_version_2(uri: &Uri) -> bool {
    parameter(uri.query(), "Signature").is_some()
}

/// Version 2 signs the method, the path, the `x-amz-` headers and some parameters, so such a URL is good for the three
/// operations whose meaning those determine.
fn check_version_2(operation: &str, headers: &HeaderMap) -> Result<(), Fault> {
    if !matches!(operation, "GetObject" | "HeadObject" | "PutObject") {
        return Err(Fault::AccessDenied("A URL presigned with signature version 2 can only read or write an object."));
    }
    let framed = |value: &header::HeaderValue| value.as_bytes().starts_with(b"STREAMING-");
    if headers.get(s3s::header::X_AMZ_CONTENT_SHA256).is_some_and(framed) {
        return Err(Fault::NotImplemented("Chunked bodies of presigned requests are not implemented.".to_owned()));
    }
    Ok(())
}

/// What is refused before s3s sees the request at all.
pub fn refuse_early(method: &http::Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Fault> {
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let query = uri.query();
    if text(header::AUTHORIZATION).starts_with("AWS ") {
        return Err(Fault::InvalidRequest(
            "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.".to_owned(),
        ));
    }
    // s3s would hold the form's file in memory.
    if *method == http::Method::POST
        && text(header::CONTENT_TYPE).to_ascii_lowercase().starts_with("multipart/form-data")
    {
        return Err(Fault::NotImplemented("Browser-based uploads by POST are not implemented.".to_owned()));
    }
    if let Some(seconds) = parameter(query, "X-Amz-Expires")
        && !seconds.parse::<u64>().is_ok_and(|seconds| (1..=PRESIGNED_SECONDS_MAX).contains(&seconds))
    {
        return Err(Fault::InvalidQueryAuth(
            "X-Amz-Expires must be a number of seconds, at least 1 and at most a week (604800).".to_owned(),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{check_signature_covers, check_version_2, is_version_2, refuse_early};
    use crate::api::s3::errors::Fault;
    use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        HeaderMap::from_iter(
            pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))),
        )
    }

    const SIGNED: &str = "AWS4-HMAC-SHA256 Credential=K/20260101/us-east-1/s3/aws4_request, \
                          SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=00";

    #[test]
    fn every_header_that_steers_a_request_must_be_signed() {
        let root = Uri::from_static("/b/k");
        let base =
            [("authorization", SIGNED), ("x-amz-date", "d"), ("x-amz-content-sha256", "s"), ("range", "bytes=0-")];
        assert_eq!(check_signature_covers(&headers(&base), &root), Ok(()));
        let mut added = base.to_vec();
        added.push(("x-amz-copy-source", "/other/secret"));
        assert!(matches!(check_signature_covers(&headers(&added), &root), Err(Fault::AccessDenied(_))));
    }

    #[test]
    fn a_signature_for_another_service_or_without_the_host_is_refused() {
        let root = Uri::from_static("/");
        for signed in [
            "AWS4-HMAC-SHA256 Credential=K/20260101/us-east-1/sts/aws4_request, SignedHeaders=host, Signature=00",
            "AWS4-HMAC-SHA256 Credential=K/20260101/us-east-1/s3/aws4_request, SignedHeaders=date, Signature=00",
            "AWS4-HMAC-SHA256",
        ] {
            let headers = headers(&[("authorization", signed)]);
            assert!(matches!(check_signature_covers(&headers, &root), Err(Fault::AccessDenied(_))), "{signed}");
        }
    }

    #[test]
    fn a_presigned_url_is_held_to_the_same_rule() {
        let uri = Uri::from_static(
            "/b/k?X-Amz-Credential=K%2F20260101%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-SignedHeaders=host",
        );
        assert_eq!(check_signature_covers(&headers(&[("x-amz-content-sha256", "s")]), &uri), Ok(()));
        let tagged = headers(&[("x-amz-storage-class", "STANDARD")]);
        assert!(matches!(check_signature_covers(&tagged, &uri), Err(Fault::AccessDenied(_))));
    }

    #[test]
    fn a_url_of_version_2_reads_or_writes_one_object_and_no_more() {
        let none = HeaderMap::new();
        for operation in ["GetObject", "HeadObject", "PutObject"] {
            assert_eq!(check_version_2(operation, &none), Ok(()));
        }
        for operation in ["ListObjects", "DeleteObject", "UploadPart", "DeleteObjects"] {
            assert!(matches!(check_version_2(operation, &none), Err(Fault::AccessDenied(_))), "{operation}");
        }
        let framed = headers(&[("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")]);
        assert!(matches!(check_version_2("PutObject", &framed), Err(Fault::NotImplemented(_))));
        assert!(is_version_2(&Uri::from_static("/b/k?AWSAccessKeyId=k&Signature=s&Expires=1")));
        assert!(!is_version_2(&Uri::from_static("/b/k?X-Amz-Signature=s")));
    }

    #[test]
    fn legacy_signatures_forms_and_endless_urls_are_refused_at_the_door() {
        let refused = |method: Method, uri: &'static str, pairs: &[(&'static str, &'static str)]| {
            refuse_early(&method, &Uri::from_static(uri), &headers(pairs)).is_err()
        };
        assert!(refused(Method::GET, "/b", &[("authorization", "AWS key:signature")]));
        assert!(refused(Method::POST, "/b", &[("content-type", "multipart/form-data; boundary=x")]));
        assert!(refused(Method::GET, "/b/k?X-Amz-Expires=604801", &[]));
        assert!(refused(Method::GET, "/b/k?X-Amz-Expires=0", &[]));
        assert!(!refused(Method::GET, "/b/k?X-Amz-Expires=604800", &[("authorization", SIGNED)]));
    }
}
