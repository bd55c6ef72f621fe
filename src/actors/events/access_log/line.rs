//! `AccessLine`: renders a request as a line of S3's server access log (user guide, "Amazon S3 server access log
//! format"). Pure.

use crate::types::UnixMs;
use std::fmt::Write;
use time::OffsetDateTime;

/// The values of one line. An absent value is written as `-`.
#[derive(Clone, Copy, Debug, Default)]
pub struct AccessLine<'a> {
    /// Canonical id.
    pub bucket_owner: &'a str,
    pub bucket: &'a str,
    /// The arrival time of the request.
    pub at: UnixMs,
    pub remote_ip: Option<&'a str>,
    /// The canonical id or the ARN of a user; `None` for anonymous requests.
    pub requester: Option<&'a str>,
    pub request_id: &'a str,
    /// The name of the operation, from `operation_word`.
    pub operation: &'a str,
    /// The key, not encoded.
    pub key: Option<&'a str>,
    /// The request line as received: `GET /bucket/key?versionId=x HTTP/1.1`.
    pub request_line: Option<&'a str>,
    pub status: Option<u16>,
    pub error_code: Option<&'a str>,
    /// The size of the body sent; 0 is written as `-`.
    pub bytes_sent: u64,
    pub object_bytes: Option<u64>,
    pub total_ms: Option<u64>,
    /// The time from the last byte of the request to the first of the response.
    pub turn_around_ms: Option<u64>,
    pub referer: Option<&'a str>,
    pub user_agent: Option<&'a str>,
    pub version_id: Option<&'a str>,
    pub host_id: Option<&'a str>,
    /// `SigV4` or `SigV2`.
    pub signature_version: Option<&'a str>,
    pub cipher_suite: Option<&'a str>,
    /// `AuthHeader` or `QueryString`.
    pub authentication: Option<&'a str>,
    pub host_header: Option<&'a str>,
    /// `TLSv1.2` or `TLSv1.3`.
    pub tls_version: Option<&'a str>,
    pub access_point: Option<&'a str>,
    /// S3's `aclRequired`: true if the request needed an ACL to be authorized. Nothing but tests sets it.
    pub acl_required: bool,
}

impl AccessLine<'_> {
    /// Returns the line, including its line end.
    pub fn render(&self) -> String {
        let mut line = Line(String::with_capacity(512));
        line.word(Some(self.bucket_owner));
        line.word(Some(self.bucket));
        line.time(self.at);
        line.word(self.remote_ip);
        line.word(self.requester);
        line.word(Some(self.request_id));
        line.word(Some(self.operation));
        line.key(self.key);
        line.quoted(self.request_line);
        line.number(self.status.map(u64::from));
        line.word(self.error_code);
        line.number(Some(self.bytes_sent).filter(|sent| *sent > 0));
        line.number(self.object_bytes);
        line.number(self.total_ms);
        line.number(self.turn_around_ms);
        line.quoted(self.referer);
        line.quoted(self.user_agent);
        line.word(self.version_id);
        line.word(self.host_id);
        line.word(self.signature_version);
        line.word(self.cipher_suite);
        line.word(self.authentication);
        line.word(self.host_header);
        line.word(self.tls_version);
        line.word(self.access_point);
        line.word(self.acl_required.then_some("Yes"));
        line.0.push('\n');
        line.0
    }
}

/// A line under construction: fields separated by a space.
struct Line(String);

impl Line {
    fn begin(&mut self) {
        if !self.0.is_empty() {
            self.0.push(' ');
        }
    }

    /// Appends a value. Spaces, quotes and control characters are percent-encoded, so that no client can add fields or
    /// lines.
    fn word(&mut self, text: Option<&str>) {
        self.begin();
        match text.filter(|text| !text.is_empty()) {
            None => self.0.push('-'),
            Some(text) => self.encoded(text, |c| c == ' ' || c == '"' || c.is_control()),
        }
    }

    fn quoted(&mut self, text: Option<&str>) {
        self.begin();
        self.0.push('"');
        match text.filter(|text| !text.is_empty()) {
            None => self.0.push('-'),
            Some(text) => self.encoded(text, |c| c == '"' || c.is_control()),
        }
        self.0.push('"');
    }

    /// Appends a key, percent-encoded except for slashes.
    fn key(&mut self, key: Option<&str>) {
        self.begin();
        match key.filter(|key| !key.is_empty()) {
            None => self.0.push('-'),
            Some(key) => {
                let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~' | '/');
                self.encoded(key, |c| !plain(c));
            }
        }
    }

    fn number(&mut self, number: Option<u64>) {
        self.begin();
        match number {
            None => self.0.push('-'),
            // Writing to a string cannot fail.
            Some(number) => drop(write!(self.0, "{number}")),
        }
    }

    /// Appends a time in the form `[06/Feb/2019:00:00:38 +0000]`.
    fn time(&mut self, at: UnixMs) {
        self.begin();
        let nanos = i128::from(at.0) * 1_000_000;
        let time = OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let (hour, minute, second) = time.to_hms();
        let month = MONTHS[usize::from(u8::from(time.month())) - 1];
        let (day, year) = (time.day(), time.year());
        let _ = write!(self.0, "[{day:02}/{month}/{year:04}:{hour:02}:{minute:02}:{second:02} +0000]");
    }

    fn encoded(&mut self, text: &str, is_encoded: impl Fn(char) -> bool) {
        let mut bytes = [0; 4];
        for c in text.chars() {
            if is_encoded(c) {
                for byte in c.encode_utf8(&mut bytes).bytes() {
                    let _ = write!(self.0, "%{byte:02X}");
                }
            } else {
                self.0.push(c);
            }
        }
    }
}

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Returns the name that the access log has for an operation of S3's API: `REST.GET.OBJECT` for `GetObject`.
pub fn operation_word(operation: &str) -> String {
    let whole = match operation {
        "ListBuckets" => "REST.GET.SERVICE",
        "CreateBucket" => "REST.PUT.BUCKET",
        "ListObjects" | "ListObjectsV2" => "REST.GET.BUCKET",
        "ListObjectVersions" => "REST.GET.BUCKETVERSIONS",
        "DeleteObjects" => "REST.POST.MULTI_OBJECT_DELETE",
        "PostObject" => "REST.POST.OBJECT",
        "CopyObject" => "REST.COPY.OBJECT",
        "RenameObject" => "REST.RENAME.OBJECT",
        "SelectObjectContent" => "REST.SELECT.OBJECT",
        "RestoreObject" => "REST.POST.RESTORE",
        "CreateMultipartUpload" => "REST.POST.UPLOADS",
        "ListMultipartUploads" => "REST.GET.UPLOADS",
        "UploadPart" => "REST.PUT.PART",
        "UploadPartCopy" => "REST.COPY.PART",
        "CompleteMultipartUpload" => "REST.POST.UPLOAD",
        "AbortMultipartUpload" => "REST.DELETE.UPLOAD",
        "ListParts" => "REST.GET.UPLOAD",
        "Preflight" => "REST.OPTIONS.PREFLIGHT",
        _ => "",
    };
    if !whole.is_empty() {
        return whole.to_owned();
    }
    let verbs = [("Get", "GET"), ("List", "GET"), ("Head", "HEAD"), ("Put", "PUT"), ("Delete", "DELETE")];
    let split = verbs.iter().find_map(|(verb, method)| Some((*method, operation.strip_prefix(verb)?)));
    let Some((method, resource)) = split else { return "-".to_owned() };
    format!("REST.{method}.{}", resource_word(resource))
}

fn resource_word(resource: &str) -> String {
    let known = match resource {
        "BucketAcl" | "ObjectAcl" => "ACL",
        "BucketPolicy" => "BUCKETPOLICY",
        "BucketPolicyStatus" => "BUCKETPOLICYSTATUS",
        "BucketLogging" => "LOGGING_STATUS",
        "BucketNotificationConfiguration" => "NOTIFICATION",
        "BucketLifecycleConfiguration" | "BucketLifecycle" => "LIFECYCLE",
        "ObjectRetention" => "OBJECT_LOCK_RETENTION",
        "ObjectLegalHold" => "OBJECT_LOCK_LEGALHOLD",
        "ObjectLockConfiguration" => "OBJECT_LOCK_CONFIGURATION",
        _ => "",
    };
    if !known.is_empty() {
        return known.to_owned();
    }
    let plain = resource.strip_prefix("Bucket").filter(|rest| !rest.is_empty()).unwrap_or(resource);
    let plain = plain.strip_suffix("Configurations").or_else(|| plain.strip_suffix("Configuration")).unwrap_or(plain);
    let mut word = String::new();
    for (at, c) in plain.char_indices() {
        if at > 0 && c.is_ascii_uppercase() {
            word.push('_');
        }
        word.push(c.to_ascii_uppercase());
    }
    word
}

#[cfg(test)]
mod tests {
    use super::{AccessLine, operation_word};
    use crate::types::UnixMs;

    const OWNER: &str = "79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be";

    fn example() -> AccessLine<'static> {
        AccessLine {
            bucket_owner: OWNER,
            bucket: "amzn-s3-demo-bucket1",
            at: UnixMs(1_549_411_238_000),
            remote_ip: Some("192.0.2.3"),
            requester: Some(OWNER),
            request_id: "3E57427F3EXAMPLE",
            operation: "REST.GET.VERSIONING",
            request_line: Some("GET /amzn-s3-demo-bucket1?versioning HTTP/1.1"),
            status: Some(200),
            bytes_sent: 113,
            total_ms: Some(7),
            user_agent: Some("S3Console/0.4"),
            host_id: Some("s9lzHYrFp76ZVxRcpX9+5cjAnEH2ROuNkd2BHfIa6UkFVdtjf5mKR3/eTPFvsiP/XV/VLi31234="),
            signature_version: Some("SigV4"),
            cipher_suite: Some("ECDHE-RSA-AES128-GCM-SHA256"),
            authentication: Some("AuthHeader"),
            host_header: Some("amzn-s3-demo-bucket1.s3.us-west-1.amazonaws.com"),
            tls_version: Some("TLSV1.2"),
            access_point: Some("arn:aws:s3:us-west-1:123456789012:accesspoint/example-AP"),
            acl_required: true,
            ..AccessLine::default()
        }
    }

    /// The expected line is the first of the example in S3's user guide.
    #[test]
    fn an_access_log_line_equals_the_example_of_the_s3_guide() {
        let expected = concat!(
            "79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be amzn-s3-demo-bucket1 ",
            "[06/Feb/2019:00:00:38 +0000] 192.0.2.3 ",
            "79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be 3E57427F3EXAMPLE ",
            "REST.GET.VERSIONING - \"GET /amzn-s3-demo-bucket1?versioning HTTP/1.1\" 200 - 113 - 7 - ",
            "\"-\" \"S3Console/0.4\" - ",
            "s9lzHYrFp76ZVxRcpX9+5cjAnEH2ROuNkd2BHfIa6UkFVdtjf5mKR3/eTPFvsiP/XV/VLi31234= SigV4 ",
            "ECDHE-RSA-AES128-GCM-SHA256 AuthHeader amzn-s3-demo-bucket1.s3.us-west-1.amazonaws.com ",
            "TLSV1.2 arn:aws:s3:us-west-1:123456789012:accesspoint/example-AP Yes\n"
        );
        assert_eq!(example().render(), expected);
    }

    #[test]
    fn an_absent_access_log_value_is_a_hyphen() {
        let line =
            AccessLine { bucket_owner: "o", bucket: "b", request_id: "r", operation: "x", ..AccessLine::default() };
        let expected = "o b [01/Jan/1970:00:00:00 +0000] - - r x - \"-\" - - - - - - \"-\" \"-\" - - - - - - - - -\n";
        assert_eq!(line.render(), expected);
        assert_eq!(line.render().replace("[01/Jan/1970:00:00:00 +0000]", "t").split(' ').count(), 26);
    }

    #[test]
    fn client_text_cannot_add_a_field_or_line_to_the_access_log() {
        let line = AccessLine {
            key: Some("a b/\"é\n"),
            user_agent: Some("x\" 1 2\r\nforged"),
            referer: Some("spaces stay"),
            host_header: Some("a b"),
            request_line: None,
            ..example()
        };
        let text = line.render();
        assert_eq!(text.matches('\n').count(), 1);
        assert!(text.contains(" a%20b/%22%C3%A9%0A \"-\" "), "{text}");
        assert!(text.contains(" \"spaces stay\" \"x%22 1 2%0D%0Aforged\" "), "{text}");
        assert!(text.contains(" a%20b TLSV1.2 "), "{text}");
    }

    #[test]
    fn operations_have_the_names_of_the_s3_access_log() {
        for (operation, word) in [
            ("GetObject", "REST.GET.OBJECT"),
            ("HeadBucket", "REST.HEAD.BUCKET"),
            ("DeleteBucket", "REST.DELETE.BUCKET"),
            ("ListObjectsV2", "REST.GET.BUCKET"),
            ("DeleteObjects", "REST.POST.MULTI_OBJECT_DELETE"),
            ("GetBucketPolicy", "REST.GET.BUCKETPOLICY"),
            ("GetBucketLogging", "REST.GET.LOGGING_STATUS"),
            ("PutBucketVersioning", "REST.PUT.VERSIONING"),
            ("PutObjectTagging", "REST.PUT.OBJECT_TAGGING"),
            ("GetBucketTagging", "REST.GET.TAGGING"),
            ("GetPublicAccessBlock", "REST.GET.PUBLIC_ACCESS_BLOCK"),
            ("ListBucketInventoryConfigurations", "REST.GET.INVENTORY"),
            ("PutBucketIntelligentTieringConfiguration", "REST.PUT.INTELLIGENT_TIERING"),
            ("DeleteBucketLifecycle", "REST.DELETE.LIFECYCLE"),
            ("UploadPartCopy", "REST.COPY.PART"),
            ("Unresolved", "-"),
        ] {
            assert_eq!(operation_word(operation), word);
        }
    }
}
