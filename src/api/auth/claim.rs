//! Parsing of the signature claim of a request: a request claims at most one signature, which must be well-formed.
//! Nothing is verified here.

use super::SKEW_SECONDS_MAX;
use super::unframed::check_unframed;
use super::version_2::{self, Version2};
use crate::api::call::Head;
use crate::api::errors::{ArgumentFault, Fault, RequestFault, Text};
use crate::api::text::Query;
use crate::sigv4::{Credential, DATE_HEADER, Scope, component, read_stamp, stamp};
use crate::types::LegacySignatures;
use http::{HeaderMap, HeaderName, header};
use s3s::header::{X_AMZ_CONTENT_SHA256, X_AMZ_DATE, X_AMZ_DECODED_CONTENT_LENGTH};
use std::time::Duration;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const TERMINATOR: &str = "aws4_request";
const SERVICE: &str = "s3";
/// The longest validity of a presigned URL, as on AWS: a week.
const PRESIGNED_SECONDS_MAX: u64 = 7 * 24 * 60 * 60;
const VERSION_4: [&str; 6] =
    ["X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature"];
/// The query parameters that mark a URL as signed with version 4.
const SIGNS_OF_VERSION_4: [&str; 3] = ["X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature"];
const PAYLOADS: [&str; 6] = [
    "UNSIGNED-PAYLOAD",
    "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
    "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD",
    "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER",
];

/// Headers that describe the body. They must not be repeated.
const OF_PAYLOADS: [HeaderName; 2] = [X_AMZ_CONTENT_SHA256, X_AMZ_DECODED_CONTENT_LENGTH];

/// The components of an `Authorization` header, after the algorithm.
const COMPONENTS: [&str; 3] = ["Credential", "SignedHeaders", "Signature"];

/// The ways to sign a request: not at all, or with version 4 or version 2 (legacy) in a header or a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Unsigned,
    Header,
    Url,
    LegacyHeader,
    LegacyUrl,
}

/// The claimed signature of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim<'a> {
    None,
    Version4(Version4<'a>),
    Version2(Version2<'a>),
}

/// A signature of version 4, in a header or in the query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version4<'a> {
    pub credential: Credential<'a>,
    /// The time of the signature as in the string to sign: `20150830T123600Z`.
    pub stamp: String,
    /// The time of the signature, in seconds since the Unix epoch.
    pub signed_at: u64,
    /// The names of the signed headers, separated by semicolons.
    pub signed_headers: &'a str,
    /// The signature in hexadecimal.
    pub signature: &'a str,
    /// The seconds for which a presigned URL is valid; `None` for a signature in a header.
    pub expires_seconds: Option<u64>,
}

impl<'a> Version4<'a> {
    pub fn scope(&self) -> Scope<'a> {
        Scope { date: self.credential.date, region: self.credential.region, service: self.credential.service }
    }

    pub fn is_in_url(&self) -> bool {
        self.expires_seconds.is_some()
    }
}

impl Claim<'_> {
    pub fn scheme(&self) -> Scheme {
        match self {
            Self::None => Scheme::Unsigned,
            Self::Version4(claim) if claim.is_in_url() => Scheme::Url,
            Self::Version4(_) => Scheme::Header,
            Self::Version2(claim) if claim.expires.is_some() => Scheme::LegacyUrl,
            Self::Version2(_) => Scheme::LegacyHeader,
        }
    }
}

/// Parses the claim of a request. Refuses a claim that is malformed or made twice, and a signature in a header whose
/// time is too far from `now`, the time since the Unix epoch.
pub fn read<'a>(head: Head<'a>, legacy: LegacySignatures, now: Duration) -> Result<Claim<'a>, Fault> {
    for name in OF_PAYLOADS {
        if head.headers.get_all(&name).iter().nth(1).is_some() {
            return Err(Fault::InvalidRequest(format!("duplicate header: {name}")));
        }
    }
    Ok(match scheme(head.headers, head.query)? {
        Scheme::Unsigned => Claim::None,
        Scheme::Header => Claim::Version4(read_header(head.headers, now)?),
        Scheme::Url => {
            let claim = read_url(head.query)?;
            check_unframed(head)?;
            Claim::Version4(claim)
        }
        Scheme::LegacyHeader => Claim::Version2(version_2::read_header(head, legacy, now)?),
        Scheme::LegacyUrl => Claim::Version2(version_2::read_url(head, legacy, now)?),
    })
}

fn scheme(headers: &HeaderMap, query: &Query) -> Result<Scheme, Fault> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (header, second) = (values.next(), values.next());
    let url = SIGNS_OF_VERSION_4.iter().any(|name| query.has(name));
    let legacy_url = query.has("Signature");
    let ways = [header.is_some(), second.is_some(), url, legacy_url].into_iter().filter(|way| *way).count();
    if ways > 1 {
        return Err(Fault::InvalidArgument(
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or \
             the Authorization header should be specified"
                .to_owned(),
        ));
    }
    let Some(header) = header else {
        return Ok(match (url, legacy_url) {
            (true, _) => Scheme::Url,
            (false, true) => Scheme::LegacyUrl,
            (false, false) => Scheme::Unsigned,
        });
    };
    let text = header.to_str().unwrap_or_default();
    match text.split_once(' ').unwrap_or((text, "")) {
        ("", "") => Err(Fault::AccessDenied("Access Denied")),
        (ALGORITHM, _) => Ok(Scheme::Header),
        ("AWS", _) => Ok(Scheme::LegacyHeader),
        ("AWS4-ECDSA-P256-SHA256", _) => {
            Err(Fault::NotImplemented("The signing algorithm AWS4-ECDSA-P256-SHA256 is not implemented.".to_owned()))
        }
        (_, "") => {
            let why = "Authorization header is invalid -- one and only one ' ' (space) required.";
            Err(ArgumentFault::with_value("Authorization", Text::Authorization, why).into())
        }
        _ => {
            let why = "Unsupported Authorization Type";
            Err(ArgumentFault::with_value("Authorization", Text::AuthorizationType, why).into())
        }
    }
}

fn read_header(headers: &HeaderMap, now: Duration) -> Result<Version4<'_>, Fault> {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let malformed = |why: &str| {
        Fault::Request(RequestFault::HeaderMalformed(format!("The authorization header is malformed; {why}")))
    };
    let authorization = text(&header::AUTHORIZATION).unwrap_or_default();
    check_components(authorization).map_err(|why| malformed(&why))?;
    let required = |name: &str| {
        let value = component(authorization, name).filter(|value| !value.is_empty());
        value.ok_or_else(|| malformed(&format!("missing {name}.")))
    };
    let [credential, signed_headers, signature] = COMPONENTS;
    let (credential, signed_headers, signature) =
        (required(credential)?, required(signed_headers)?, required(signature)?);
    let credential = read_scope(credential).map_err(|why| malformed(&why))?;
    let Some(signed_at) = signed_at(headers) else {
        return Err(Fault::AccessDenied("AWS authentication requires a valid Date or x-amz-date header"));
    };
    // A valid `x-amz-date` is already in the form of the string to sign.
    let stamp = text(&X_AMZ_DATE).map_or_else(|| stamp(signed_at), str::to_owned);
    if stamp.get(..credential.date.len()) != Some(credential.date) {
        return Err(malformed("Invalid credential date. Date is not the same as X-Amz-Date."));
    }
    let Some(payload) = text(&X_AMZ_CONTENT_SHA256) else {
        let why = "Missing required header for this request: x-amz-content-sha256";
        return Err(Fault::InvalidRequest(why.to_owned()));
    };
    check_payload(payload)?;
    let length = text(&X_AMZ_DECODED_CONTENT_LENGTH).and_then(|length| length.trim().parse::<u64>().ok());
    if payload.starts_with("STREAMING-") && length.is_none() {
        return Err(Fault::MissingContentLength);
    }
    if now.as_secs().abs_diff(signed_at) > SKEW_SECONDS_MAX {
        return Err(RequestFault::Skewed { now_s: now.as_secs() }.into());
    }
    Ok(Version4 { credential, stamp, signed_at, signed_headers, signature, expires_seconds: None })
}

/// Returns the time of a version 4 signature in a header, in seconds since the Unix epoch. Without `x-amz-date`, S3
/// uses `Date` (S3 API Reference, "Common request headers").
fn signed_at(headers: &HeaderMap) -> Option<u64> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    match text(DATE_HEADER) {
        Some(text) => u64::try_from(read_stamp(text)?).ok(),
        None => text(header::DATE.as_str()).and_then(version_2::moment),
    }
}

/// Checks that an `Authorization` header has three components of the form `name=value`.
fn check_components(authorization: &str) -> Result<(), String> {
    let fields = authorization.split_once(' ').unwrap_or_default().1;
    let components = || fields.split(',').map(str::trim).filter(|component| !component.is_empty());
    if components().count() < COMPONENTS.len() {
        let named = "Credential, SignedHeaders, and Signature";
        return Err(format!("the authorization header requires three components: {named}."));
    }
    match components().find(|component| !component.contains('=')) {
        Some(component) => Err(format!("the authorization component \"{component}\" is malformed.")),
        None => Ok(()),
    }
}

fn check_payload(payload: &str) -> Result<(), Fault> {
    let is_hash = payload.len() == 64 && payload.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hash || PAYLOADS.contains(&payload) {
        return Ok(());
    }
    let why = "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, \
         STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER, \
         STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD, STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER or a valid sha256 \
         value.";
    Err(ArgumentFault::with_value("x-amz-content-sha256", Text::ContentSha256, why).into())
}

fn read_url(query: &Query) -> Result<Version4<'_>, Fault> {
    let refused = |why: String| Err(Fault::InvalidQueryAuth(why));
    let [algorithm, credential, date, expires, signed_headers, signature] = VERSION_4.map(|name| query.only(name));
    let (Some(algorithm), Some(credential), Some(date), Some(expires), Some(signed_headers), Some(signature)) =
        (algorithm, credential, date, expires, signed_headers, signature)
    else {
        return refused(
            "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, \
             X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters."
                .to_owned(),
        );
    };
    if algorithm != ALGORITHM {
        return refused(format!("X-Amz-Algorithm only supports \"{ALGORITHM}\""));
    }
    let credential = match read_scope(credential) {
        Ok(credential) => credential,
        Err(why) => return refused(format!("Error parsing the X-Amz-Credential parameter; {why}")),
    };
    let Some(signed_at) = read_stamp(date) else {
        return refused("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"".to_owned());
    };
    let day = date.get(..credential.date.len()).unwrap_or_default();
    if day != credential.date {
        return refused(format!(
            "Invalid credential date \"{}\". This date is not the same as X-Amz-Date: \"{day}\".",
            credential.date
        ));
    }
    let expires_seconds = Some(read_expires(expires)?);
    let is_hexadecimal = signature.len() == 64 && signature.bytes().all(|byte| byte.is_ascii_hexdigit());
    if signed_headers.is_empty() || !is_hexadecimal {
        return Err(Fault::SignatureDoesNotMatch);
    }
    // A time before 1970 becomes 0, which has long expired.
    let signed_at = u64::try_from(signed_at).unwrap_or_default();
    Ok(Version4 { credential, stamp: date.to_owned(), signed_at, signed_headers, signature, expires_seconds })
}

/// Parses `X-Amz-Expires`. Zero is valid; such a URL has expired at once.
fn read_expires(text: &str) -> Result<u64, Fault> {
    let why = match text.parse::<i128>() {
        Err(_) => "X-Amz-Expires should be a number".to_owned(),
        Ok(seconds) if seconds < 0 => "X-Amz-Expires must be non-negative".to_owned(),
        Ok(seconds) if seconds > i128::from(PRESIGNED_SECONDS_MAX) => format!(
            "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than {PRESIGNED_SECONDS_MAX} seconds"
        ),
        Ok(seconds) => return Ok(u64::try_from(seconds).unwrap_or_default()),
    };
    Err(Fault::InvalidQueryAuth(why))
}

/// Parses a credential, which must be for S3, in any region. The error completes a message after its semicolon.
pub fn read_scope(credential: &str) -> Result<Credential<'_>, String> {
    let Some(scope) = Credential::read(credential) else {
        return Err(
            "the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".".to_owned()
        );
    };
    let Credential { access_key, date, service, terminator, region: _ } = scope;
    if terminator != TERMINATOR {
        return Err(format!("incorrect terminal \"{terminator}\". This endpoint uses \"{TERMINATOR}\"."));
    }
    if service != SERVICE {
        return Err(format!("incorrect service \"{service}\". This endpoint belongs to \"{SERVICE}\"."));
    }
    if access_key.is_empty() {
        return Err("a non-empty Access Key (AKID) must be provided in the credential.".to_owned());
    }
    if date.len() != 8 || !date.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!(
            "incorrect date format \"{date}\". This date in the credential must be in the format \"yyyyMMdd\"."
        ));
    }
    Ok(scope)
}

#[cfg(test)]
mod tests {
    use super::{Scheme, read, signed_at};
    use crate::api::call::{Head, Target};
    use crate::api::errors::{Fault, RequestFault};
    use crate::api::text::Query;
    use crate::types::LegacySignatures;
    use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
    use std::time::Duration;

    fn judge(uri: &str, pairs: &[(&'static str, &str)]) -> Result<Scheme, Fault> {
        let uri = Uri::try_from(uri).expect("a URI");
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"));
        }
        let query = Query::read(uri.query())?;
        let target = Target::of(uri.path(), None)?;
        let head = Head { method: &Method::GET, headers: &headers, query: &query, target: &target };
        read(head, LegacySignatures::Urls, NOW).map(|claim| claim.scheme())
    }

    #[test]
    fn the_date_header_is_used_if_x_amz_date_is_absent() {
        let signed_at = |pairs: &[(&'static str, &'static str)]| {
            signed_at(&HeaderMap::from_iter(
                pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))),
            ))
        };
        let mail = ("date", "Tue, 27 Mar 2007 19:36:42 GMT");
        assert_eq!(signed_at(&[mail]), Some(1_175_024_202));
        assert_eq!(signed_at(&[mail, ("x-amz-date", "20070327T193643Z")]), Some(1_175_024_203));
        assert_eq!(signed_at(&[mail, ("x-amz-date", "soon")]), None);
        assert_eq!(signed_at(&[("date", "soon")]), None);
        assert_eq!(signed_at(&[]), None);
    }

    /// The beginning of 2026.
    const NOW: Duration = Duration::from_secs(1_767_225_600);
    const AUTHORIZATION: &str = "AWS4-HMAC-SHA256 Credential=K/20260101/us-east-1/s3/aws4_request, \
                                 SignedHeaders=host;x-amz-date, Signature=00";
    const DATE: (&str, &str) = ("x-amz-date", "20260101T000000Z");
    const UNSIGNED: (&str, &str) = ("x-amz-content-sha256", "UNSIGNED-PAYLOAD");

    fn url(changed: &str, value: Option<&str>) -> String {
        let signature = "0".repeat(64);
        let pairs = [
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
            ("X-Amz-Credential", "K%2F20260101%2Fus-east-1%2Fs3%2Faws4_request"),
            ("X-Amz-Date", "20260101T000000Z"),
            ("X-Amz-Expires", "3600"),
            ("X-Amz-SignedHeaders", "host"),
            ("X-Amz-Signature", &signature),
        ];
        let pairs =
            pairs.iter().map(|(name, given)| if *name == changed { (*name, value) } else { (*name, Some(*given)) });
        let pairs: Vec<String> = pairs.filter_map(|(name, value)| Some(format!("{name}={}", value?))).collect();
        format!("/b/k?{}", pairs.join("&"))
    }

    #[test]
    fn a_request_with_two_signatures_is_refused() {
        assert_eq!(judge("/b/k", &[]), Ok(Scheme::Unsigned));
        assert_eq!(judge("/b/k", &[("authorization", AUTHORIZATION), DATE, UNSIGNED]), Ok(Scheme::Header));
        assert_eq!(judge(&url("", None), &[]), Ok(Scheme::Url));
        assert_eq!(judge("/b/k?AWSAccessKeyId=K&Expires=1&Signature=s", &[]), Ok(Scheme::LegacyUrl));
        let twice = [("authorization", AUTHORIZATION), ("authorization", AUTHORIZATION), DATE, UNSIGNED];
        assert!(matches!(judge("/b/k", &twice), Err(Fault::InvalidArgument(_))));
        assert!(matches!(judge(&url("", None), &[("authorization", AUTHORIZATION)]), Err(Fault::InvalidArgument(_))));
        let both = url("", None) + "&AWSAccessKeyId=K&Expires=1&Signature=s";
        assert!(matches!(judge(&both, &[]), Err(Fault::InvalidArgument(_))));
    }

    #[test]
    fn a_malformed_authorization_header_is_refused_with_its_fault() {
        let refused = |value: &str| judge("/b/k", &[("authorization", value), DATE, UNSIGNED]).expect_err("refused");
        assert!(matches!(refused(""), Fault::AccessDenied(_)));
        for other in ["Basic dXNlcjpwYXNz", "AWS4 HAHAHA", "Bearer t", "AWS HAHAHA"] {
            assert!(matches!(refused(other), Fault::Argument(_) | Fault::InvalidArgument(_)), "{other}");
        }
        for malformed in [
            "AWS4-HMAC-SHA256",
            "AWS4-HMAC-SHA256 Credential=HAHAHA",
            "AWS4-HMAC-SHA256 Credential=K/20260101/us-east-1/s3/aws4_request",
            "AWS4-HMAC-SHA256 Credential=K/20260101/us-east-1/s3/aws4_request, SignedHeaders=host",
            "AWS4-HMAC-SHA256 Credential=K/2026/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=00",
            "AWS4-HMAC-SHA256 Credential=/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=00",
            "AWS4-HMAC-SHA256 Credential=K/20260101/us-east-1/s3/aws5, SignedHeaders=host, Signature=00",
            "AWS4-HMAC-SHA256 Credential=K/20260101/us-east-1/ec2/aws4_request, SignedHeaders=host, Signature=00",
            "AWS4-HMAC-SHA256 Credential=K/20251231/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=00",
            "AWS4-HMAC-SHA256 Credential=K/20260101/us-east-1/s3/aws4_request, SignedHeaders, Signature=00",
            "AWS4-HMAC-SHA256 Key=K/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=00",
        ] {
            assert!(matches!(refused(malformed), Fault::Request(RequestFault::HeaderMalformed(_))), "{malformed}");
        }
    }

    #[test]
    fn a_signed_request_needs_a_date_and_a_payload_hash() {
        let with =
            |pairs: &[(&'static str, &str)]| judge("/b/k", &[&[("authorization", AUTHORIZATION)], pairs].concat());
        for date in ["", "Bad Date", "Thu, 01 Jan 2026 00:00:00 GMT", "20260101T00000Z"] {
            assert!(matches!(with(&[("x-amz-date", date), UNSIGNED]), Err(Fault::AccessDenied(_))), "{date}");
        }
        assert!(matches!(with(&[UNSIGNED]), Err(Fault::AccessDenied(_))));
        assert!(matches!(with(&[DATE]), Err(Fault::InvalidRequest(_))));
        assert!(matches!(with(&[DATE, ("x-amz-content-sha256", "SOMETHING")]), Err(Fault::Argument(_))));
        for digit in ["a", "A"] {
            assert_eq!(with(&[DATE, ("x-amz-content-sha256", &digit.repeat(64))]), Ok(Scheme::Header));
        }
    }

    #[test]
    fn a_request_signed_more_than_15_minutes_off_is_refused() {
        let dated = |date: &str| judge("/b/k", &[("authorization", AUTHORIZATION), ("x-amz-date", date), UNSIGNED]);
        assert_eq!(dated("20260101T001500Z"), Ok(Scheme::Header));
        assert!(matches!(dated("20260101T001501Z"), Err(Fault::Request(RequestFault::Skewed { .. }))));
    }

    #[test]
    fn a_framed_body_needs_the_length_of_its_content() {
        let framed = ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER");
        let with = |length: &str| {
            let length = ("x-amz-decoded-content-length", length);
            judge("/b/k", &[("authorization", AUTHORIZATION), DATE, framed, length])
        };
        assert_eq!(with("5"), Ok(Scheme::Header));
        for length in ["", "abc", "12x", "-1"] {
            assert_eq!(with(length), Err(Fault::MissingContentLength), "{length}");
        }
    }

    #[test]
    fn a_presigned_url_needs_each_of_its_parameters_exactly_once() {
        for name in super::VERSION_4 {
            assert!(matches!(judge(&url(name, None), &[]), Err(Fault::InvalidQueryAuth(_))), "{name}");
        }
        let twice = url("", None) + "&X-Amz-Date=20260101T000000Z";
        assert!(matches!(judge(&twice, &[]), Err(Fault::InvalidQueryAuth(_))));
        for (name, value) in [
            ("X-Amz-Algorithm", "AWS4"),
            ("X-Amz-Credential", "HAHAHA"),
            ("X-Amz-Credential", "K/20260101/us-east-1/s3/other"),
            ("X-Amz-Credential", "K/20260101/us-east-1/sns/aws4_request"),
            ("X-Amz-Credential", "K/20251231/us-east-1/s3/aws4_request"),
            ("X-Amz-Date", "2026-01-01"),
        ] {
            assert!(matches!(judge(&url(name, Some(value)), &[]), Err(Fault::InvalidQueryAuth(_))), "{name}={value}");
        }
        assert_eq!(judge(&url("X-Amz-Signature", Some("short")), &[]), Err(Fault::SignatureDoesNotMatch));
    }

    #[test]
    fn a_presigned_url_is_valid_for_at_most_a_week() {
        let words = |expires: &str| match judge(&url("X-Amz-Expires", Some(expires)), &[]) {
            Err(Fault::InvalidQueryAuth(words)) => words,
            other => panic!("{expires} gave {other:?}"),
        };
        for expires in ["0", "1", "604800"] {
            assert_eq!(judge(&url("X-Amz-Expires", Some(expires)), &[]), Ok(Scheme::Url), "{expires}");
        }
        assert_eq!(words("-7"), "X-Amz-Expires must be non-negative");
        assert_eq!(words("soon"), "X-Amz-Expires should be a number");
        assert!(words("604801").starts_with("X-Amz-Expires must be less than a week (in seconds)"));
        assert!(words("99999999999999999999").starts_with("X-Amz-Expires must be less than a week (in seconds)"));
    }
}
