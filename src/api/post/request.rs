//! The conversion of a form's fields to the headers of the PUT that executes it.

use super::form::Form;
use super::tags;
use crate::api::auth::as_metadata;
use crate::api::errors::FormFault;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use s3s::dto::{Timestamp, TimestampFormat};

/// Standard headers that are stored with the object.
const CONTENT: [HeaderName; 6] = [
    header::CACHE_CONTROL,
    header::CONTENT_TYPE,
    header::CONTENT_DISPOSITION,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::EXPIRES,
];
const USER_METADATA: &str = "x-amz-meta-";
/// Prefixes of fields that have the same name and meaning as headers of a PUT; `SAME_NAMES` lists single such fields.
const SAME_PREFIXES: [&str; 4] =
    ["x-amz-server-side-encryption", "x-amz-checksum-", "x-amz-object-lock-", "x-amz-grant-"];
const SAME_NAMES: [&str; 8] = [
    "content-md5",
    "x-amz-acl",
    "x-amz-expected-bucket-owner",
    "x-amz-request-payer",
    "x-amz-security-token",
    "x-amz-storage-class",
    "x-amz-tagging",
    "x-amz-website-redirect-location",
];
/// Fields whose header in a PUT has another name.
const RENAMED: [(&str, &str); 2] = [("acl", "x-amz-acl"), ("x-amz-checksum-algorithm", "x-amz-sdk-checksum-algorithm")];
const TAGGING: &str = "tagging";
/// The fields of the signature, which has been verified already.
const SPENT: [&str; 4] = ["x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature"];

/// The headers of the PUT.
#[derive(Debug, Default)]
pub struct Headers {
    pub plain: HeaderMap,
    /// The headers whose values s3s does not parse; they are passed to the operation beside the request.
    pub aside: HeaderMap,
}

/// Converts the fields of a form. Fields that concern only the form become no header; other unknown `x-amz-` fields are
/// refused.
pub fn headers(form: &Form) -> Result<Headers, FormFault> {
    let mut headers = Headers::default();
    for (sent, value) in form.fields() {
        let name = sent.to_ascii_lowercase();
        if let Some(content) = CONTENT.iter().find(|content| content.as_str() == name) {
            let into = if is_taken(content, value) { &mut headers.plain } else { &mut headers.aside };
            into.insert(content.clone(), header_value(sent, value)?);
        } else if name.starts_with(USER_METADATA) {
            headers.plain.insert(header_name(&name)?, header_value(sent, &as_metadata(value))?);
        } else if name == TAGGING {
            headers.plain.insert(s3s::header::X_AMZ_TAGGING, header_value(sent, &tags::as_header(value)?)?);
        } else if let Some((_, renamed)) = RENAMED.iter().find(|(field, _)| *field == name) {
            headers.plain.insert(HeaderName::from_static(renamed), header_value(sent, value)?);
        } else if is_same(&name) {
            headers.plain.insert(header_name(&name)?, header_value(sent, value)?);
        } else if name.starts_with("if-") || name.starts_with("x-amz-") && !SPENT.contains(&name.as_str()) {
            // An `x-amz-` field could change the request's meaning, and so does a condition: they are not ignored.
            return Err(FormFault::Argument(format!("A POST cannot have the field '{sent}'.")));
        }
    }
    Ok(headers)
}

fn is_same(name: &str) -> bool {
    SAME_NAMES.contains(&name) || SAME_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Returns whether s3s parses this value: it must be ASCII, and for `Expires` an HTTP date.
fn is_taken(name: &HeaderName, value: &str) -> bool {
    let is_read = *name != header::EXPIRES || Timestamp::parse(TimestampFormat::HttpDate, value).is_ok();
    is_read && value.bytes().all(|byte| (b' '..=b'~').contains(&byte) || byte == b'\t')
}

fn header_name(name: &str) -> Result<HeaderName, FormFault> {
    let refused = |_| FormFault::Argument(format!("A POST cannot have the field '{name}'."));
    HeaderName::from_bytes(name.as_bytes()).map_err(refused)
}

fn header_value(field: &str, value: &str) -> Result<HeaderValue, FormFault> {
    let refused = |_| FormFault::Argument(format!("The value of the field '{field}' is not valid."));
    HeaderValue::from_bytes(value.as_bytes()).map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::{Headers, headers};
    use crate::api::errors::FormFault;
    use crate::api::post::form::Form;

    fn of(fields: &[(&str, &str)]) -> Result<Headers, FormFault> {
        let mut form = Form::default();
        fields.iter().for_each(|(name, value)| form.add(name, value));
        headers(&form)
    }

    /// Returns the only header that a field becomes.
    fn one(field: &str, value: &str) -> (String, Vec<u8>) {
        let made = of(&[(field, value)]).expect("headers");
        assert_eq!((made.plain.len(), made.aside.len()), (1, 0), "{field}");
        let (name, value) = made.plain.iter().next().expect("a header");
        (name.to_string(), value.as_bytes().to_vec())
    }

    #[test]
    fn fields_become_the_headers_of_a_put() {
        for (field, value, name, same) in [
            ("Content-Type", "text/plain", "content-type", "text/plain"),
            ("acl", "public-read", "x-amz-acl", "public-read"),
            ("X-Amz-Storage-Class", "STANDARD", "x-amz-storage-class", "STANDARD"),
            (
                "x-amz-server-side-encryption-customer-key-MD5",
                "k",
                "x-amz-server-side-encryption-customer-key-md5",
                "k",
            ),
            ("x-amz-checksum-sha256", "s", "x-amz-checksum-sha256", "s"),
            ("x-amz-checksum-algorithm", "SHA256", "x-amz-sdk-checksum-algorithm", "SHA256"),
            ("Content-MD5", "m", "content-md5", "m"),
            ("x-amz-object-lock-mode", "GOVERNANCE", "x-amz-object-lock-mode", "GOVERNANCE"),
            ("x-amz-security-token", "t", "x-amz-security-token", "t"),
            ("X-Amz-Meta-Test-2", "v", "x-amz-meta-test-2", "v"),
        ] {
            assert_eq!(one(field, value), (name.to_owned(), same.as_bytes().to_vec()), "{field}");
        }
        let tags = "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>";
        assert_eq!(one("tagging", tags), ("x-amz-tagging".to_owned(), b"a=b".to_vec()));
    }

    #[test]
    fn fields_that_concern_only_the_form_become_no_header() {
        for field in ["key", "policy", "x-amz-signature", "X-Amz-Date", "success_action_status", "submit", "x-ignore-a"]
        {
            let made = of(&[(field, "value")]).expect("headers");
            assert!(made.plain.is_empty() && made.aside.is_empty(), "{field}");
        }
    }

    #[test]
    fn metadata_that_headers_cannot_hold_is_encoded() {
        assert_eq!(one("x-amz-meta-a", "plain text").1, b"plain text");
        assert_eq!(one("x-amz-meta-a", "\u{c4}").1, b"=?UTF-8?B?w4Q=?=");
        assert_eq!(one("x-amz-meta-a", "a\r\nb").1, b"=?UTF-8?B?YQ0KYg==?=");
        assert_eq!(one("x-amz-meta-a", "=?a?=").1, b"=?UTF-8?B?PT9hPz0=?=");
        assert_eq!(one("x-amz-meta-a", " a").1, b"=?UTF-8?B?IGE=?=");
    }

    #[test]
    fn values_that_s3s_does_not_parse_are_passed_beside_the_request() {
        for (field, value) in
            [("Content-Disposition", "attachment; filename=\"\u{e9}\""), ("Expires", "never"), ("Expires", "0")]
        {
            let made = of(&[(field, value)]).expect("headers");
            assert!(made.plain.is_empty(), "{field}");
            assert_eq!(made.aside.get(field).map(|value| value.as_bytes()), Some(value.as_bytes()));
        }
        assert_eq!(one("Expires", "Sun, 06 Nov 1994 08:49:37 GMT").0, "expires");
    }

    #[test]
    fn a_field_that_would_change_the_request_is_refused() {
        for field in
            ["x-amz-copy-source", "x-amz-write-offset-bytes", "x-amz-content-sha256", "x-amz-decoded-content-length"]
        {
            assert!(matches!(of(&[(field, "v")]), Err(FormFault::Argument(_))), "{field}");
        }
        for (field, value) in
            [("Content-Type", "a\r\nx-amz-acl: b"), ("x-amz-meta-\u{e9}", "v"), ("x-amz-meta-a b", "v")]
        {
            assert!(matches!(of(&[(field, value)]), Err(FormFault::Argument(_))), "{field}");
        }
    }
}
