//! The elements of an error response besides code and message: those that the refusing layer adds, and those that
//! repeat parts of the request.

use crate::api::text::Query;
use crate::api::text::xml::escape;
use s3s::S3Error;
use std::borrow::Cow;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The codes whose errors name the bucket.
const OF_BUCKETS: [&str; 15] = [
    "BucketAlreadyExists",
    "BucketAlreadyOwnedByYou",
    "BucketNotEmpty",
    "NoSuchBucket",
    "NoSuchBucketPolicy",
    "NoSuchCORSConfiguration",
    "NoSuchLifecycleConfiguration",
    "NoSuchPublicAccessBlockConfiguration",
    "NoSuchTagSet",
    "NoSuchWebsiteConfiguration",
    "ObjectLockConfigurationNotFoundError",
    "OwnershipControlsNotFoundError",
    "ReplicationConfigurationNotFoundError",
    "ServerSideEncryptionConfigurationNotFoundError",
    "InvalidBucketName",
];
/// An element of an error response: its name and its text.
pub type Detail = (&'static str, Text);

/// The text of an element: one of the error itself, or a part of the request that the response repeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    Own(String),
    /// This query parameter. Without it the element is left out.
    Parameter(Cow<'static, str>),
    /// The header `Authorization`.
    Authorization,
    /// The first word of the header `Authorization`.
    AuthorizationType,
    /// The header `x-amz-content-sha256`.
    ContentSha256,
    /// The digest of the header `Content-MD5`.
    ContentMd5,
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::Own(text)
    }
}

/// The further elements of an error. They travel as the source of its `S3Error`.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0:?}")]
struct Details(Vec<Detail>);

/// Adds further elements to an error.
pub fn with_details<T: Into<Text>>(
    mut error: S3Error,
    details: impl IntoIterator<Item = (&'static str, T)>,
) -> S3Error {
    let details: Vec<Detail> = details.into_iter().map(|(name, text)| (name, text.into())).collect();
    if !details.is_empty() {
        error.set_source(Box::new(Details(details)));
    }
    error
}

pub fn details_of(error: &S3Error) -> &[Detail] {
    let details = error.source().and_then(|source| source.downcast_ref::<Details>());
    details.map(|details| details.0.as_slice()).unwrap_or_default()
}

/// Returns a copy of the error.
pub fn again(error: &S3Error) -> S3Error {
    let mut copy = S3Error::new(error.code().clone());
    error.message().into_iter().for_each(|message| copy.set_message(message.to_owned()));
    error.status_code().into_iter().for_each(|status| copy.set_status_code(status));
    error.headers().into_iter().for_each(|headers| copy.set_headers(headers.clone()));
    with_details(copy, details_of(error).iter().cloned())
}

/// Returns an element with a time, given in seconds since the Unix epoch; `None` for a time out of range.
pub fn time(name: &'static str, seconds: u64) -> Option<(&'static str, String)> {
    let at = OffsetDateTime::from_unix_timestamp(i64::try_from(seconds).ok()?).ok()?;
    Some((name, at.format(&Rfc3339).ok()?))
}

/// The parts of a request that error responses may repeat.
#[derive(Clone, Copy, Debug, Default)]
pub struct ErrorContext<'a> {
    pub bucket: Option<&'a str>,
    pub key: Option<&'a str>,
    pub method: &'a str,
    /// The raw query.
    pub query: &'a str,
    /// The header `Authorization`.
    pub authorization: &'a str,
    /// The header `x-amz-date`.
    pub date: &'a str,
    /// The header `Content-MD5`.
    pub md5: &'a str,
    /// The header `x-amz-content-sha256`.
    pub sha256: &'a str,
    /// The header `Range`.
    pub range: &'a str,
    /// The header `x-amz-storage-class`.
    pub storage_class: &'a str,
}

impl ErrorContext<'_> {
    /// Returns the elements that S3 adds to an error: those of its code, then those of the error itself.
    pub(super) fn elements(&self, error: &S3Error) -> String {
        let own = details_of(error).iter().map(|(name, text)| element(name, self.text(text).as_deref()));
        self.of_code(error.code().as_str()) + &own.collect::<String>()
    }

    fn text<'t>(&'t self, text: &'t Text) -> Option<Cow<'t, str>> {
        match text {
            Text::Own(text) => Some(text.into()),
            Text::Parameter(name) => self.parameter(name).map(Cow::Owned),
            Text::Authorization => Some(self.authorization.into()),
            Text::AuthorizationType => Some(self.authorization.split(' ').next().unwrap_or_default().into()),
            Text::ContentSha256 => Some(self.sha256.into()),
            Text::ContentMd5 => self.expected_md5().map(Cow::Owned),
        }
    }

    fn of_code(&self, code: &str) -> String {
        match code {
            "InvalidAccessKeyId" => element("AWSAccessKeyId", self.access_key().as_deref()),
            "InvalidDigest" if !self.md5.is_empty() => element("Content-MD5", Some(self.md5)),
            "InvalidPart" | "InvalidPartOrder" | "NoSuchUpload" => {
                element("UploadId", self.parameter("uploadId").as_deref())
            }
            "InvalidRange" if !self.range.is_empty() => element("RangeRequested", Some(self.range)),
            "InvalidStorageClass" if !self.storage_class.is_empty() => {
                element("StorageClassRequested", Some(self.storage_class))
            }
            "MaxMessageLengthExceeded" if self.parameter("website").is_some() => {
                element("MaxMessageLengthBytes", Some("131072"))
            }
            "MethodNotAllowed" if !self.method.is_empty() => self.not_allowed(),
            "NoSuchKey" => element("Key", self.key),
            "RequestTimeTooSkewed" if !self.date.is_empty() => {
                element("RequestTime", Some(self.date)) + &element("MaxAllowedSkewMilliseconds", Some("900000"))
            }
            "SignatureDoesNotMatch" => {
                element("AWSAccessKeyId", self.access_key().as_deref())
                    + &element("SignatureProvided", self.signature().as_deref())
            }
            "NoSuchVersion" => element("Key", self.key) + &element("VersionId", self.parameter("versionId").as_deref()),
            "XAmzContentSHA256Mismatch" => element("ClientComputedContentSHA256", Some(self.sha256)),
            code if OF_BUCKETS.contains(&code) => element("BucketName", self.bucket),
            _ => String::new(),
        }
    }

    /// Returns the expected MD5 as S3 shows it: in hexadecimal for the body of an object, and as sent for the XML body
    /// of a POST.
    fn expected_md5(&self) -> Option<String> {
        if self.method == "POST" {
            return Some(self.md5.to_owned()).filter(|md5| !md5.is_empty());
        }
        let digest = base64_simd::STANDARD.decode_to_vec(self.md5).ok().filter(|digest| !digest.is_empty())?;
        Some(hex_simd::encode_to_string(digest, hex_simd::AsciiCase::Lower))
    }

    fn not_allowed(&self) -> String {
        let kind = [("versionId", "DeleteMarker"), ("uploadId", "UPLOAD")]
            .into_iter()
            .find(|(name, _)| self.parameter(name).is_some())
            .map(|(_, kind)| kind);
        element("Method", Some(self.method)) + &element("ResourceType", kind)
    }

    /// Returns the access key of a request, in the header or in the query.
    fn access_key(&self) -> Option<String> {
        let credential = self.field("Credential").or_else(|| self.parameter("X-Amz-Credential"));
        match credential {
            // An access key may contain slashes; the scope is the last four fields.
            Some(credential) => credential.rsplitn(5, '/').nth(4).map(str::to_owned),
            None => self.parameter("AWSAccessKeyId"),
        }
    }

    fn signature(&self) -> Option<String> {
        let in_query = || self.parameter("X-Amz-Signature").or_else(|| self.parameter("Signature"));
        self.field("Signature").or_else(in_query)
    }

    /// Returns a component of the header `Authorization`.
    fn field(&self, name: &str) -> Option<String> {
        let mut fields = self.authorization.split([' ', ',']);
        fields.find_map(|field| field.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
    }

    /// Returns a parameter of the query, decoded.
    fn parameter(&self, name: &str) -> Option<String> {
        let query = Query::read(Some(self.query)).ok()?;
        query.get(name).map(str::to_owned)
    }
}

fn element(name: &str, text: Option<&str>) -> String {
    text.map(|text| format!("<{name}>{}</{name}>", escape(text))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{ErrorContext, Text};
    use crate::api::errors::{ArgumentFault, Fault, with_details};
    use s3s::{S3Error, S3ErrorCode};

    fn named(query: &str) -> ErrorContext<'_> {
        ErrorContext { bucket: Some("b"), key: Some("<k>"), method: "GET", query, ..ErrorContext::default() }
    }

    fn of_code(named: ErrorContext<'_>, code: &str) -> String {
        named.elements(&S3Error::new(code.parse::<S3ErrorCode>().expect("any text is one")))
    }

    fn of_fault(named: ErrorContext<'_>, fault: impl Into<Fault>) -> String {
        named.elements(&S3Error::from(fault.into()))
    }

    #[test]
    fn an_argument_error_repeats_name_and_value() {
        let version = || ArgumentFault::parameter("versionId", "Invalid version id specified");
        assert_eq!(
            of_fault(named("versions&versionId=a%26b"), version()),
            "<ArgumentName>versionId</ArgumentName><ArgumentValue>a&amp;b</ArgumentValue>"
        );
        assert_eq!(
            of_fault(named("versionId="), version()),
            "<ArgumentName>versionId</ArgumentName><ArgumentValue></ArgumentValue>"
        );
        assert_eq!(of_fault(named("a=b"), version()), "<ArgumentName>versionId</ArgumentName>", "it is in a header");
        assert_eq!(
            of_fault(named("start-after=a"), ArgumentFault::bare("start-after", "why")),
            "<ArgumentName>start-after</ArgumentName>"
        );
        let authorization = "AWS4-HMAC-SHA256 Credential=a";
        let header = ErrorContext { authorization, sha256: "00", ..ErrorContext::default() };
        let of = |name, value| of_fault(header, ArgumentFault::with_value(name, value, "why"));
        let expected = "<ArgumentName>Authorization</ArgumentName><ArgumentValue>AWS4-HMAC-SHA256</ArgumentValue>";
        assert_eq!(of("Authorization", Text::AuthorizationType), expected);
        let expected = "<ArgumentName>Authorization</ArgumentName>\
                    <ArgumentValue>AWS4-HMAC-SHA256 Credential=a</ArgumentValue>";
        assert_eq!(of("Authorization", Text::Authorization), expected);
        let expected = "<ArgumentName>x-amz-content-sha256</ArgumentName><ArgumentValue>00</ArgumentValue>";
        assert_eq!(of("x-amz-content-sha256", Text::ContentSha256), expected);
        assert_eq!(of_fault(named("a=b"), Fault::InvalidArgument("Something else is wrong".to_owned())), "");
    }

    #[test]
    fn a_signature_error_repeats_key_signature_and_time() {
        let authorization = "AWS4-HMAC-SHA256 Credential=a/b/20260101/us-east-1/s3/aws4_request, Signature=00";
        let header = ErrorContext { authorization, date: "20260101T000000Z", ..ErrorContext::default() };
        assert_eq!(of_code(header, "InvalidAccessKeyId"), "<AWSAccessKeyId>a/b</AWSAccessKeyId>");
        let expected = "<AWSAccessKeyId>a/b</AWSAccessKeyId><SignatureProvided>00</SignatureProvided>";
        assert_eq!(of_code(header, "SignatureDoesNotMatch"), expected);
        let expected = "<RequestTime>20260101T000000Z</RequestTime>\
                    <MaxAllowedSkewMilliseconds>900000</MaxAllowedSkewMilliseconds>";
        assert_eq!(of_code(header, "RequestTimeTooSkewed"), expected);
        let unsigned = Fault::HeadersNotSigned("x-amz-acl, x-amz-tagging".to_owned());
        assert_eq!(of_fault(header, unsigned), "<HeadersNotSigned>x-amz-acl, x-amz-tagging</HeadersNotSigned>");
        let url = named("X-Amz-Credential=k%2F20260101%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Expires=60");
        assert_eq!(of_code(url, "InvalidAccessKeyId"), "<AWSAccessKeyId>k</AWSAccessKeyId>");
    }

    #[test]
    fn a_digest_error_repeats_the_expected_and_computed_digests() {
        let put =
            ErrorContext { method: "PUT", md5: "AAAAAAAAAAAAAAAAAAAAAA==", sha256: "00", ..ErrorContext::default() };
        let expected = "<ExpectedDigest>00000000000000000000000000000000</ExpectedDigest>";
        assert_eq!(of_fault(put, Fault::Md5Differs { calculated: None }), expected);
        let post = ErrorContext { method: "POST", ..put };
        let expected = "<ExpectedDigest>AAAAAAAAAAAAAAAAAAAAAA==</ExpectedDigest>\
                    <CalculatedDigest>XUFAKrxLKna5cZ2REBfFkg==</CalculatedDigest>";
        let calculated = Some("XUFAKrxLKna5cZ2REBfFkg==".to_owned());
        assert_eq!(of_fault(post, Fault::Md5Differs { calculated }), expected);
        let crc = Fault::BadDigest("The CRC32 you specified did not match the calculated checksum.".to_owned());
        assert_eq!(of_fault(put, crc), "");
        assert_eq!(of_code(put, "InvalidDigest"), "<Content-MD5>AAAAAAAAAAAAAAAAAAAAAA==</Content-MD5>");
        let expected = "<ClientComputedContentSHA256>00</ClientComputedContentSHA256>\
                    <S3ComputedContentSHA256>11</S3ComputedContentSHA256>";
        assert_eq!(of_fault(put, Fault::InvalidContentSha256 { computed: Some("11".to_owned()) }), expected);
    }

    #[test]
    fn a_copied_error_keeps_its_details() {
        let error = with_details(Fault::NoSuchKey.into(), [("Key", "other".to_owned())]);
        let copy = super::again(&error);
        assert_eq!(super::details_of(&copy), [("Key", Text::Own("other".to_owned()))]);
        assert_eq!(
            (copy.code(), copy.message(), copy.status_code()),
            (error.code(), error.message(), error.status_code())
        );
    }

    #[test]
    fn errors_name_the_missing_resource_and_the_method() {
        let named = named("versionId=v");
        assert_eq!(of_code(named, "NoSuchVersion"), "<Key>&lt;k&gt;</Key><VersionId>v</VersionId>");
        assert_eq!(of_code(named, "BucketNotEmpty"), "<BucketName>b</BucketName>");
        let ranged = ErrorContext { range: "bytes=9-", storage_class: "GLACIER", ..named };
        assert_eq!(of_code(ranged, "InvalidRange"), "<RangeRequested>bytes=9-</RangeRequested>");
        let expected = "<StorageClassRequested>GLACIER</StorageClassRequested>";
        assert_eq!(of_code(ranged, "InvalidStorageClass"), expected);
        assert_eq!(of_code(named, "InvalidStorageClass"), "");
        let upload = ErrorContext { query: "uploadId=u", ..named };
        for code in ["InvalidPart", "InvalidPartOrder", "NoSuchUpload"] {
            assert_eq!(of_code(upload, code), "<UploadId>u</UploadId>", "{code}");
        }
        assert_eq!(of_code(named, "MethodNotAllowed"), "<Method>GET</Method><ResourceType>DeleteMarker</ResourceType>");
        assert_eq!(of_code(named, "AccessDenied"), "");
    }
}
