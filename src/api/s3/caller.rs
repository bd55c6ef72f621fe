//! The caller of a request, as identified by the access check.

/// The caller of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The canonical id of the account; `None` for an anonymous request.
    pub account: Option<String>,
    pub display_name: String,
    /// True if this request may bypass governance-mode retention.
    pub bypass_governance: bool,
}

impl Caller {
    /// Returns the canonical id that owns what this caller writes. Writes of an anonymous caller belong to an id that
    /// has no credentials.
    pub fn owner(&self) -> String {
        self.account.clone().unwrap_or_else(|| ANONYMOUS.to_owned())
    }
}

/// S3's canonical id of anonymous callers.
pub const ANONYMOUS: &str = "65a011a29cdf8ec533ec3d1ccaae921c";
