//! The elements of an error's body besides its code and its words: the subject as the request named it.

use super::escape;
use crate::api::text::Query;
use s3s::S3Error;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Codes that say something of a bucket as a whole.
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
/// The beginnings of messages about a wrong argument, and the argument's name.
const ARGUMENTS: [(&str, &str); 21] = [
    ("A version-id marker", "version-id-marker"),
    ("Argument max-buckets ", "max-buckets"),
    ("Argument max-keys ", "max-keys"),
    ("Argument maxKeys ", "maxKeys"),
    ("Argument max-parts ", "max-parts"),
    ("Argument max-uploads ", "max-uploads"),
    ("Invalid Encoding Method ", "encoding-type"),
    ("Invalid List Type ", "list-type"),
    ("Invalid attribute name ", "x-amz-object-attributes"),
    ("Invalid version id ", "versionId"),
    ("Invalid x-amz-object-ownership ", "x-amz-object-ownership"),
    ("Part number must be ", "partNumber"),
    ("Provided max-keys ", "max-keys"),
    ("Provided max-parts ", "max-parts"),
    ("Provided max-uploads ", "max-uploads"),
    ("Provided part-number-marker ", "part-number-marker"),
    ("The continuation token provided ", "continuation-token"),
    ("This operation does not accept partNumber ", "partNumber"),
    ("Unknown wormMode ", "x-amz-object-lock-mode"),
    ("Version id cannot be ", "versionId"),
    ("You can only specify a copy source header ", "x-amz-copy-source"),
];
/// The arguments whose value S3 does not repeat: they would be wrong with any.
const BARE_ARGUMENTS: [(&str, &str); 5] = [
    ("Marker unsupported ", "marker"),
    ("The ErrorDocument Key ", "ErrorDocument"),
    ("The IndexDocument Suffix ", "IndexDocument"),
    ("continuation-token only ", "continuation-token"),
    ("startAfter only ", "start-after"),
];

/// Elements and their text that only who refuses knows, on their way to the answer as the source of an error.
#[derive(Debug, thiserror::Error)]
#[error("{0:?}")]
struct Details(Vec<(&'static str, String)>);

/// The error, with what its answer says besides.
pub fn with_details(mut error: S3Error, details: Vec<(&'static str, String)>) -> S3Error {
    error.set_source(Box::new(Details(details)));
    error
}

pub fn details_of(error: &S3Error) -> &[(&'static str, String)] {
    let details = error.source().and_then(|source| source.downcast_ref::<Details>());
    details.map(|details| details.0.as_slice()).unwrap_or_default()
}

/// An element with a time, given in seconds since the Unix epoch.
pub fn time(name: &'static str, seconds: u64) -> Option<(&'static str, String)> {
    let at = OffsetDateTime::from_unix_timestamp(i64::try_from(seconds).ok()?).ok()?;
    Some((name, at.format(&Rfc3339).ok()?))
}

/// The bucket and key of a request, of which one may not exist, and the request's elements.
#[derive(Clone, Copy, Debug, Default)]
pub struct Named<'a> {
    pub bucket: Option<&'a str>,
    pub key: Option<&'a str>,
    pub method: &'a str,
    /// The query as it came.
    pub query: &'a str,
    /// The header of this name.
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
    /// The names of its headers that a signature must cover, between semicolons.
    pub amazon_headers: &'a str,
    /// Elements and their text, from who refused it.
    pub details: &'a [(&'static str, String)],
}

impl Named<'_> {
    /// Returns the elements that S3 adds to an error of this code and with these words.
    pub(super) fn elements(&self, code: &str, words: &str) -> String {
        let details = self.details.iter().map(|(name, text)| element(name, Some(text)));
        self.of_code(code, words) + &details.collect::<String>()
    }

    fn of_code(&self, code: &str, words: &str) -> String {
        match code {
            "AccessDenied" if words.starts_with("Request has expired") => {
                element("X-Amz-Expires", self.parameter("X-Amz-Expires").as_deref())
            }
            "AccessDenied" if words.starts_with("There were headers present ") => {
                element("HeadersNotSigned", Some(&self.not_signed()))
            }
            "BadDigest" if words.starts_with("The Content-MD5 ") => {
                element("ExpectedDigest", self.expected_md5().as_deref())
            }
            "InvalidAccessKeyId" => element("AWSAccessKeyId", self.access_key().as_deref()),
            "InvalidArgument" => self.argument(words),
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

    fn argument(&self, words: &str) -> String {
        let of = |known: &[(&str, &'static str)]| {
            known.iter().find(|(start, _)| words.starts_with(*start)).map(|(_, name)| *name)
        };
        if let Some(name) = of(&BARE_ARGUMENTS) {
            return element("ArgumentName", Some(name));
        }
        let value = match words {
            words if words.starts_with("Authorization header is invalid ") => {
                Some(("Authorization", self.authorization))
            }
            "Unsupported Authorization Type" => {
                Some(("Authorization", self.authorization.split(' ').next().unwrap_or_default()))
            }
            words if words.starts_with("x-amz-content-sha256 must be ") => Some(("x-amz-content-sha256", self.sha256)),
            words if words.starts_with("A value for IndexDocument Suffix ") => Some(("IndexDocument", "null")),
            _ => None,
        };
        if let Some((name, value)) = value {
            return element("ArgumentName", Some(name)) + &element("ArgumentValue", Some(value));
        }
        let overriding = words.split_once(" is not in the set of overridable response headers").map(|(name, _)| name);
        let Some(name) = of(&ARGUMENTS).or(overriding) else { return String::new() };
        let parameter = if name == "maxKeys" { "max-keys" } else { name };
        element("ArgumentName", Some(name)) + &element("ArgumentValue", self.parameter(parameter).as_deref())
    }

    /// S3 tells it in hexadecimal digits where the body is an object, and as it came where it is XML of a POST.
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
            // An access key may hold slashes; the scope is the last four fields.
            Some(credential) => credential.rsplitn(5, '/').nth(4).map(str::to_owned),
            None => self.parameter("AWSAccessKeyId"),
        }
    }

    fn signature(&self) -> Option<String> {
        let in_query = || self.parameter("X-Amz-Signature").or_else(|| self.parameter("Signature"));
        self.field("Signature").or_else(in_query)
    }

    fn not_signed(&self) -> String {
        let signed = self.field("SignedHeaders").or_else(|| self.parameter("X-Amz-SignedHeaders")).unwrap_or_default();
        // A presigned URL's payload may be told, and is not signed.
        let exempt = if self.authorization.is_empty() { "x-amz-content-sha256" } else { "" };
        let lacks = |name: &&str| *name != exempt && !signed.split(';').any(|one| one == *name);
        self.amazon_headers.split(';').filter(lacks).collect::<Vec<_>>().join(", ")
    }

    /// Returns a component of the header.
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
    use super::Named;

    fn named(query: &str) -> Named<'_> {
        Named { bucket: Some("b"), key: Some("<k>"), method: "GET", query, ..Named::default() }
    }

    #[test]
    fn an_argument_error_has_name_and_value() {
        let told = |query: &str, words: &str| named(query).elements("InvalidArgument", words);
        assert_eq!(
            told("versions&versionId=a%26b", "Invalid version id specified"),
            "<ArgumentName>versionId</ArgumentName><ArgumentValue>a&amp;b</ArgumentValue>"
        );
        assert_eq!(
            told("versionId=", "Version id cannot be the empty string"),
            "<ArgumentName>versionId</ArgumentName><ArgumentValue></ArgumentValue>"
        );
        assert_eq!(
            told("start-after=a", "startAfter only supported in REST.GET.BUCKET with list-type=2"),
            "<ArgumentName>start-after</ArgumentName>"
        );
        assert_eq!(
            told("response-color=red", "response-color is not in the set of overridable response headers. Please"),
            "<ArgumentName>response-color</ArgumentName><ArgumentValue>red</ArgumentValue>"
        );
        assert_eq!(
            told("max-keys=-1", "Argument maxKeys must be an integer between 0 and 2147483647"),
            "<ArgumentName>maxKeys</ArgumentName><ArgumentValue>-1</ArgumentValue>"
        );
        assert_eq!(told("a=b", "Something else is wrong"), "");
    }

    #[test]
    fn a_signature_error_has_its_details() {
        let authorization = "AWS4-HMAC-SHA256 Credential=a/b/20260101/us-east-1/s3/aws4_request, Signature=00";
        let header = Named { authorization, date: "20260101T000000Z", ..Named::default() };
        assert_eq!(header.elements("InvalidAccessKeyId", ""), "<AWSAccessKeyId>a/b</AWSAccessKeyId>");
        let told = "<AWSAccessKeyId>a/b</AWSAccessKeyId><SignatureProvided>00</SignatureProvided>";
        assert_eq!(header.elements("SignatureDoesNotMatch", ""), told);
        let told = "<RequestTime>20260101T000000Z</RequestTime>\
                    <MaxAllowedSkewMilliseconds>900000</MaxAllowedSkewMilliseconds>";
        assert_eq!(header.elements("RequestTimeTooSkewed", ""), told);
        let told = "<ArgumentName>Authorization</ArgumentName><ArgumentValue>AWS4-HMAC-SHA256</ArgumentValue>";
        assert_eq!(header.elements("InvalidArgument", "Unsupported Authorization Type"), told);
        let authorization = "AWS4-HMAC-SHA256 SignedHeaders=host;x-amz-date, Signature=00";
        let header = Named { authorization, amazon_headers: "x-amz-acl;x-amz-date;x-amz-tagging", ..Named::default() };
        let told = header.elements("AccessDenied", "There were headers present in the request which were not signed");
        assert_eq!(told, "<HeadersNotSigned>x-amz-acl, x-amz-tagging</HeadersNotSigned>");
        let url = named("X-Amz-Credential=k%2F20260101%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Expires=60");
        assert_eq!(url.elements("InvalidAccessKeyId", ""), "<AWSAccessKeyId>k</AWSAccessKeyId>");
        assert_eq!(url.elements("AccessDenied", "Request has expired"), "<X-Amz-Expires>60</X-Amz-Expires>");
    }

    #[test]
    fn a_digest_error_has_its_details() {
        let wrong = "The Content-MD5 you specified did not match what we received.";
        let put = Named { method: "PUT", md5: "AAAAAAAAAAAAAAAAAAAAAA==", sha256: "00", ..Named::default() };
        let told = "<ExpectedDigest>00000000000000000000000000000000</ExpectedDigest>";
        assert_eq!(put.elements("BadDigest", wrong), told);
        let details = [("CalculatedDigest", "XUFAKrxLKna5cZ2REBfFkg==".to_owned())];
        let post = Named { method: "POST", details: &details, ..put };
        let told = "<ExpectedDigest>AAAAAAAAAAAAAAAAAAAAAA==</ExpectedDigest>\
                    <CalculatedDigest>XUFAKrxLKna5cZ2REBfFkg==</CalculatedDigest>";
        assert_eq!(post.elements("BadDigest", wrong), told);
        assert_eq!(put.elements("BadDigest", "The CRC32 you specified did not match the calculated checksum."), "");
        assert_eq!(put.elements("InvalidDigest", ""), "<Content-MD5>AAAAAAAAAAAAAAAAAAAAAA==</Content-MD5>");
        let told = "<ClientComputedContentSHA256>00</ClientComputedContentSHA256>";
        assert_eq!(put.elements("XAmzContentSHA256Mismatch", ""), told);
        let told = "<ArgumentName>x-amz-content-sha256</ArgumentName><ArgumentValue>00</ArgumentValue>";
        assert_eq!(put.elements("InvalidArgument", "x-amz-content-sha256 must be UNSIGNED-PAYLOAD"), told);
    }

    #[test]
    fn errors_name_the_missing_resource_and_the_method() {
        let named = named("versionId=v");
        assert_eq!(named.elements("NoSuchVersion", ""), "<Key>&lt;k&gt;</Key><VersionId>v</VersionId>");
        assert_eq!(named.elements("BucketNotEmpty", ""), "<BucketName>b</BucketName>");
        let ranged = Named { range: "bytes=9-", storage_class: "GLACIER", ..named };
        assert_eq!(ranged.elements("InvalidRange", ""), "<RangeRequested>bytes=9-</RangeRequested>");
        let told = "<StorageClassRequested>GLACIER</StorageClassRequested>";
        assert_eq!(ranged.elements("InvalidStorageClass", ""), told);
        assert_eq!(named.elements("InvalidStorageClass", ""), "");
        let upload = Named { query: "uploadId=u", ..named };
        for code in ["InvalidPart", "InvalidPartOrder", "NoSuchUpload"] {
            assert_eq!(upload.elements(code, ""), "<UploadId>u</UploadId>", "{code}");
        }
        assert_eq!(
            named.elements("MethodNotAllowed", ""),
            "<Method>GET</Method><ResourceType>DeleteMarker</ResourceType>"
        );
        assert_eq!(named.elements("AccessDenied", ""), "");
    }
}
