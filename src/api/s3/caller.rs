//! The caller of a request, as identified by the access check.

/// The caller of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The canonical id of the account; `None` for an anonymous request.
    pub account: Option<String>,
    pub display_name: String,
    /// True if the request asks to bypass governance-mode retention. The gate has then required the right to; of
    /// DeleteObjects, the operation requires it for each object.
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
