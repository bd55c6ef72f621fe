//! A bucket's rules about requests from other origins: their stored form, the checks that S3 makes of them, and which of them
//! a request matches.
//!
//! Sources: S3's API reference (`CORSRule`) and user guide ("Elements of a CORS configuration").

use serde::{Deserialize, Serialize};

/// S3: rules of a bucket.
const RULES_MAX: usize = 100;
/// S3: characters of a rule's id.
const ID_CHARS_MAX: usize = 255;
/// The methods that there are to allow, in the case in which they must be given.
pub const METHODS: [&str; 5] = ["GET", "PUT", "HEAD", "POST", "DELETE"];

/// The rules, in the order in which they were given and are tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CorsRules {
    pub rules: Vec<CorsRule>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CorsRule {
    pub id: Option<String>,
    pub methods: Vec<String>,
    /// The origins, each with at most one `*`, which matches any text, an empty one too.
    pub origins: Vec<String>,
    /// The same, in any case.
    pub headers: Vec<String>,
    pub exposed_headers: Vec<String>,
    /// S3 takes what is less than none, and says it as it is.
    pub max_age_seconds: Option<i32>,
}

/// The reason for which rules are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CorsError {
    /// The configuration violates the schema.
    #[error("the configuration is malformed")]
    Malformed,
    #[error("The number of CORS rules should not exceed allowed limit of {RULES_MAX} rules.")]
    TooManyRules,
    #[error("ID length should not exceed allowed limit of {ID_CHARS_MAX}")]
    IdTooLong,
    #[error("Found unsupported HTTP method in CORS config. Unsupported method is {0}")]
    Method(String),
    #[error("{element} \"{value}\" can not have more than one wildcard.")]
    Wildcards { element: &'static str, value: String },
    #[error("ExposeHeader \"{0}\" contains wildcard. We currently do not support wildcard for ExposeHeader.")]
    ExposedWildcard(String),
    #[error("{element} \"{value}\" contains invalid character.")]
    Character { element: &'static str, value: String },
}

impl CorsRules {
    pub fn new(rules: Vec<CorsRule>) -> Result<Self, CorsError> {
        if rules.is_empty() {
            return Err(CorsError::Malformed);
        }
        if rules.len() > RULES_MAX {
            return Err(CorsError::TooManyRules);
        }
        rules.iter().try_for_each(CorsRule::check)?;
        Ok(Self { rules })
    }

    /// The first rule that allows the origin, the method and every one of the headers that are asked for.
    pub fn matching(&self, origin: &str, method: &str, headers: &[String]) -> Option<&CorsRule> {
        self.rules.iter().find(|rule| {
            rule.origins.iter().any(|pattern| stands_for(pattern, origin))
                && rule.methods.iter().any(|allowed| allowed == method)
                && headers.iter().all(|header| rule.allows_header(header))
        })
    }
}

impl CorsRule {
    /// Returns whether it allows every origin, so that the response need not name one.
    pub fn is_for_all(&self) -> bool {
        self.origins.iter().any(|origin| origin == "*")
    }

    fn allows_header(&self, header: &str) -> bool {
        let header = header.to_ascii_lowercase();
        self.headers.iter().any(|pattern| stands_for(&pattern.to_ascii_lowercase(), &header))
    }

    fn check(&self) -> Result<(), CorsError> {
        let empty = |list: &[String]| list.iter().any(String::is_empty);
        if self.methods.is_empty() || self.origins.is_empty() || empty(&self.origins) || empty(&self.headers) {
            return Err(CorsError::Malformed);
        }
        if self.id.as_deref().is_some_and(|id| id.chars().count() > ID_CHARS_MAX) {
            return Err(CorsError::IdTooLong);
        }
        if let Some(method) = self.methods.iter().find(|method| !METHODS.contains(&method.as_str())) {
            return Err(CorsError::Method(method.clone()));
        }
        check_patterns("AllowedOrigin", &self.origins)?;
        check_patterns("AllowedHeader", &self.headers)?;
        if let Some(header) = self.exposed_headers.iter().find(|header| header.contains('*')) {
            return Err(CorsError::ExposedWildcard(header.clone()));
        }
        check_characters("AllowedHeader", &self.headers)?;
        check_characters("ExposeHeader", &self.exposed_headers)
    }
}

fn check_patterns(element: &'static str, patterns: &[String]) -> Result<(), CorsError> {
    match patterns.iter().find(|pattern| pattern.matches('*').count() > 1) {
        Some(pattern) => Err(CorsError::Wildcards { element, value: pattern.clone() }),
        None => Ok(()),
    }
}

/// Checks the characters of header names.
fn check_characters(element: &'static str, names: &[String]) -> Result<(), CorsError> {
    match names.iter().find(|name| !name.bytes().all(is_token_byte)) {
        Some(name) => Err(CorsError::Character { element, value: name.clone() }),
        None => Ok(()),
    }
}

/// RFC 9110 section 5.6.2: what names of headers are made of.
pub fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Returns whether a text matches a pattern with at most one `*`.
fn stands_for(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, tail)) => text.strip_prefix(head).is_some_and(|rest| rest.ends_with(tail)),
    }
}
