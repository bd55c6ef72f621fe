//! The CORS headers in the answer to a preflight request and in other answers, computed from a request's headers.
//!
//! Sources: the Fetch standard ("CORS protocol"), and S3's user guide ("How does Amazon S3 evaluate the CORS
//! configuration on a bucket?").

use super::rules::{METHODS, ParsedRule, ParsedRules, is_token_byte};
use crate::limits::CORS_REQUESTED_HEADERS_MAX;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

/// The `Vary` header of responses.
const VARIES_BY: &str = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method";

/// The reason why a preflight request is refused, in S3's words and spelling. The first three are faults of the request
/// itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PreflightRefusal {
    #[error("Insufficient information. Origin request header needed.")]
    NoOrigin,
    #[error("Invalid Access-Control-Request-Method: {0}")]
    Method(String),
    #[error("Invalid Access-Control-Request-Headers: {0}")]
    Header(String),
    #[error("CORSResponse: Bucket not found")]
    NoSuchBucket,
    #[error("CORSResponse: CORS is not enabled for this bucket.")]
    NotEnabled,
    #[error(
        "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, \
         request method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted \
         by the resource's CORS spec."
    )]
    NotAllowed,
}

/// A parsed preflight request.
pub struct Preflight<'a> {
    origin: &'a str,
    method: &'a str,
    /// The names of headers in lower case, each once.
    headers: Vec<String>,
}

impl<'a> Preflight<'a> {
    /// Parses a preflight request. Fails if the request itself is invalid, whatever the bucket's rules are.
    pub fn read(request: &'a HeaderMap) -> Result<Self, PreflightRefusal> {
        let origin = text(request, &ORIGIN).ok_or(PreflightRefusal::NoOrigin)?;
        let method = text(request, &ACCESS_CONTROL_REQUEST_METHOD).unwrap_or("null");
        if !METHODS.contains(&method) {
            return Err(PreflightRefusal::Method(method.to_owned()));
        }
        Ok(Self { origin, method, headers: requested_headers(request)? })
    }

    /// Returns the headers of the answer. `rules` is `None` for a bucket without rules.
    pub fn answer(&self, rules: Option<&ParsedRules>) -> Result<HeaderMap, PreflightRefusal> {
        let rules = rules.ok_or(PreflightRefusal::NotEnabled)?;
        let rule = rules.matching(self.origin, self.method, &self.headers).ok_or(PreflightRefusal::NotAllowed)?;
        Ok(permission(rule, self.origin, &self.headers))
    }
}

/// Returns the CORS headers of the answer to any other request, whatever its status; none if no rule allows the
/// request. As in S3, `Access-Control-Request-Method` takes precedence over the request's own method.
pub fn answer_headers(rules: &ParsedRules, method: &Method, request: &HeaderMap) -> HeaderMap {
    let Some(origin) = text(request, &ORIGIN) else { return HeaderMap::new() };
    let Ok(headers) = requested_headers(request) else { return HeaderMap::new() };
    let method = text(request, &ACCESS_CONTROL_REQUEST_METHOD).unwrap_or(method.as_str());
    match rules.matching(origin, method, &headers) {
        Some(rule) => permission(rule, origin, &headers),
        None => HeaderMap::new(),
    }
}

fn permission(rule: &ParsedRule, origin: &str, requested: &[String]) -> HeaderMap {
    let mut answer = HeaderMap::new();
    let mut add = |name: HeaderName, value: &str| {
        // Names and origins were checked before. A value that still cannot be in a header is left out.
        if let Ok(value) = HeaderValue::from_str(value) {
            answer.insert(name, value);
        }
    };
    if rule.is_for_all() {
        add(ACCESS_CONTROL_ALLOW_ORIGIN, "*");
    } else {
        add(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        add(ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
    }
    add(ACCESS_CONTROL_ALLOW_METHODS, &rule.methods.join(", "));
    if !requested.is_empty() {
        add(ACCESS_CONTROL_ALLOW_HEADERS, &requested.join(", "));
    }
    if !rule.exposed_headers.is_empty() {
        add(ACCESS_CONTROL_EXPOSE_HEADERS, &rule.exposed_headers.join(", "));
    }
    if let Some(seconds) = rule.max_age_seconds {
        add(ACCESS_CONTROL_MAX_AGE, &seconds.to_string());
    }
    answer.insert(VARY, HeaderValue::from_static(VARIES_BY));
    answer
}

/// Returns the requested headers in lower case, as S3 answers them, each once. Refuses a malformed name, and a list that
/// is longer than any client's: each name is compared with every pattern of a rule.
fn requested_headers(request: &HeaderMap) -> Result<Vec<String>, PreflightRefusal> {
    let (mut names, mut listed) = (Vec::new(), 0);
    for list in request.get_all(ACCESS_CONTROL_REQUEST_HEADERS) {
        let malformed = |_| PreflightRefusal::Header(String::from_utf8_lossy(list.as_bytes()).into_owned());
        let list = list.to_str().map_err(malformed)?;
        for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            if !name.bytes().all(is_token_byte) {
                return Err(PreflightRefusal::Header(name.to_owned()));
            }
            listed += 1;
            if listed > CORS_REQUESTED_HEADERS_MAX {
                return Err(PreflightRefusal::NotAllowed);
            }
            let name = name.to_ascii_lowercase();
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    Ok(names)
}

fn text<'a>(request: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    request.get(name)?.to_str().ok().filter(|text| !text.is_empty())
}
