//! A bucket's CORS rules: their stored form, S3's checks of them, the parsed form that is kept between requests, and the
//! choice of the rule that a request matches.
//!
//! Sources: S3's API reference (`CORSRule`) and user guide ("Elements of a CORS configuration").

use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// S3's limit on the rules of a bucket.
const RULES_MAX: usize = 100;
/// S3's limit on the characters of a rule's id.
const ID_CHARS_MAX: usize = 255;
/// The methods that a rule can allow. They are compared with case.
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
    /// The patterns of origins, each with at most one `*`, which matches any text or none.
    pub origins: Vec<String>,
    /// The patterns of header names, of the same form, compared without case.
    pub headers: Vec<String>,
    pub exposed_headers: Vec<String>,
    /// S3 accepts negative values, and sends them unchanged.
    pub max_age_seconds: Option<i32>,
}

/// The reason why CORS rules are refused.
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
}

impl CorsRule {
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

/// Returns whether the byte may be in a header's name (`tchar` of RFC 9110, section 5.6.2).
pub fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The rules of a bucket in the form in which requests are compared with them.
#[derive(Debug)]
pub struct ParsedRules {
    rules: Vec<ParsedRule>,
}

#[derive(Debug)]
pub struct ParsedRule {
    origins: Patterns,
    pub methods: Vec<String>,
    /// The patterns of header names, in lower case.
    headers: Patterns,
    pub exposed_headers: Vec<String>,
    pub max_age_seconds: Option<i32>,
}

impl From<CorsRules> for ParsedRules {
    fn from(given: CorsRules) -> Self {
        Self { rules: given.rules.into_iter().map(ParsedRule::from).collect() }
    }
}

impl From<CorsRule> for ParsedRule {
    fn from(given: CorsRule) -> Self {
        Self {
            origins: Patterns::of(given.origins),
            methods: given.methods,
            headers: Patterns::of(given.headers.into_iter().map(|pattern| pattern.to_ascii_lowercase())),
            exposed_headers: given.exposed_headers,
            max_age_seconds: given.max_age_seconds,
        }
    }
}

impl ParsedRules {
    /// Returns the first rule that allows the origin, the method and all of the requested headers, which are in lower
    /// case.
    pub fn matching(&self, origin: &str, method: &str, headers: &[String]) -> Option<&ParsedRule> {
        self.rules.iter().find(|rule| {
            rule.origins.match_text(origin)
                && rule.methods.iter().any(|allowed| allowed == method)
                && headers.iter().all(|header| rule.headers.match_text(header))
        })
    }
}

impl ParsedRule {
    /// Returns whether the rule allows every origin, so that the answer need not name one.
    pub fn is_for_all(&self) -> bool {
        self.origins.any
    }
}

/// Patterns with at most one `*` each.
#[derive(Debug, Default)]
struct Patterns {
    /// True if one of them is `*` alone.
    any: bool,
    /// The patterns without a `*`.
    texts: HashSet<String>,
    /// The texts before and after the `*` of the others.
    ends: Vec<(String, String)>,
}

impl Patterns {
    fn of(patterns: impl IntoIterator<Item = String>) -> Self {
        let mut found = Self::default();
        for pattern in patterns {
            match pattern.split_once('*') {
                Some(("", "")) => found.any = true,
                Some((head, tail)) => found.ends.push((head.to_owned(), tail.to_owned())),
                None => {
                    found.texts.insert(pattern);
                }
            }
        }
        found
    }

    /// Returns whether one of them matches a text.
    fn match_text(&self, text: &str) -> bool {
        let has_ends = |(head, tail): &(String, String)| {
            text.strip_prefix(head.as_str()).is_some_and(|rest| rest.ends_with(tail.as_str()))
        };
        self.any || self.texts.contains(text) || self.ends.iter().any(has_ends)
    }
}
