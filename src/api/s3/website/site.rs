//! A bucket's website: its stored form, and S3's checks of it with S3's messages.
//!
//! Source: S3's API reference (`WebsiteConfiguration` and its members).

use serde::{Deserialize, Serialize};

/// S3's limit on the routing rules of a website.
const ROUTING_RULES_MAX: usize = 50;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Website {
    RedirectAll { host: String, scheme: Option<Scheme> },
    Site(Site),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    /// The suffix that is appended to a key that is empty or ends in a slash.
    pub index_suffix: String,
    /// The key of the error document.
    pub error_key: Option<String>,
    /// The routing rules. The first one that applies counts.
    pub routing: Vec<RoutingRule>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoutingRule {
    /// The condition of the rule; without one it applies to every request.
    pub condition: Option<Condition>,
    pub redirect: Redirect,
}

/// The condition of a rule. At least one part is given, and all given parts must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    pub key_prefix: Option<String>,
    /// If given, the rule applies only after an error with this status.
    pub error_status: Option<u16>,
}

/// The redirect of a rule. A part that is not given stays as in the request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redirect {
    pub host: Option<String>,
    pub scheme: Option<Scheme>,
    pub status: Option<u16>,
    pub key: Option<NewKey>,
}

/// The key in the location of a redirect. It is not encoded, so that a `?` or a `#` begins a query or a fragment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NewKey {
    Whole(String),
    /// A replacement of the prefix of the rule's condition.
    Prefix(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scheme {
    Http,
    Https,
}

/// The reason why a website configuration is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SiteError {
    /// The configuration violates the schema.
    #[error("the configuration is malformed: {0}")]
    Malformed(&'static str),
    #[error("A host name must be provided to redirect all requests (e.g. \"example.com\").")]
    NoHost,
    #[error("A value for IndexDocument Suffix must be provided if RedirectAllRequestsTo is empty")]
    NoIndex,
    #[error("The IndexDocument Suffix is not well formed")]
    IndexSuffix,
    #[error("The ErrorDocument Key is not well formed")]
    ErrorKey,
    #[error(
        "Invalid protocol, protocol can be http or https. If not defined the protocol will be selected automatically."
    )]
    Scheme,
    #[error(
        "{0} routing rules provided, the number of routing rules in a website configuration is limited to \
         {ROUTING_RULES_MAX}."
    )]
    TooManyRules(usize),
    #[error("You can only define ReplaceKeyPrefix or ReplaceKey but not both.")]
    TwoKeys,
    #[error("The provided HTTP redirect code ({0}) is not valid. Valid codes are 3XX except 300.")]
    RedirectStatus(u16),
    #[error("The provided HTTP error code ({0}) is not valid. Valid codes are 4XX or 5XX.")]
    ErrorStatus(u16),
}

impl Website {
    pub fn redirect_all(host: String, scheme: Option<Scheme>) -> Result<Self, SiteError> {
        if host.is_empty() { Err(SiteError::NoHost) } else { Ok(Self::RedirectAll { host, scheme }) }
    }
}

impl Site {
    /// Checks the parts of a site. `routing` is `None` if the element is missing, which an empty one is not.
    pub fn new(
        index_suffix: String,
        error_key: Option<String>,
        routing: Option<Vec<RoutingRule>>,
    ) -> Result<Self, SiteError> {
        if index_suffix.is_empty() || index_suffix.contains('/') {
            return Err(SiteError::IndexSuffix);
        }
        if error_key.as_deref() == Some("") {
            return Err(SiteError::ErrorKey);
        }
        match routing.as_ref().map(Vec::len) {
            Some(0) => return Err(SiteError::Malformed("there is no RoutingRule in RoutingRules")),
            Some(count) if count > ROUTING_RULES_MAX => return Err(SiteError::TooManyRules(count)),
            _ => {}
        }
        Ok(Self { index_suffix, error_key, routing: routing.unwrap_or_default() })
    }
}

impl Condition {
    pub fn new(key_prefix: Option<String>, error_status: Option<&str>) -> Result<Self, SiteError> {
        if key_prefix.is_none() && error_status.is_none() {
            return Err(SiteError::Malformed("a Condition is empty"));
        }
        let error_status = error_status.map(number).transpose()?;
        match error_status {
            Some(status) if !matches!(status, 400..=417 | 500..=505) => Err(SiteError::ErrorStatus(status)),
            error_status => Ok(Self { key_prefix, error_status }),
        }
    }
}

impl Redirect {
    pub fn new(
        host: Option<String>,
        scheme: Option<Scheme>,
        status: Option<&str>,
        key: Option<NewKey>,
    ) -> Result<Self, SiteError> {
        let status = status.map(number).transpose()?;
        if let Some(status) = status.filter(|status| !matches!(status, 301..=305 | 307 | 308)) {
            return Err(SiteError::RedirectStatus(status));
        }
        let redirect = Self { host: host.filter(|host| !host.is_empty()), scheme, status, key };
        if redirect == Self::default() {
            return Err(SiteError::Malformed("a Redirect changes nothing"));
        }
        Ok(redirect)
    }
}

impl NewKey {
    pub fn new(whole: Option<String>, prefix: Option<String>) -> Result<Option<Self>, SiteError> {
        match (whole, prefix) {
            (Some(_), Some(_)) => Err(SiteError::TwoKeys),
            (Some(whole), None) => Ok(Some(Self::Whole(whole))),
            (None, Some(prefix)) => Ok(Some(Self::Prefix(prefix))),
            (None, None) => Ok(None),
        }
    }
}

impl Scheme {
    pub fn parse(text: &str) -> Result<Self, SiteError> {
        match text {
            "http" => Ok(Self::Http),
            "https" => Ok(Self::Https),
            _ => Err(SiteError::Scheme),
        }
    }

    pub fn text(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

fn number(text: &str) -> Result<u16, SiteError> {
    text.parse().map_err(|_| SiteError::Malformed("a status is not a number"))
}
