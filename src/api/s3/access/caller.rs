//! The caller of a request, as the access check found it out.

/// The caller of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The canonical id of the account; `None` where nobody signed.
    pub account: Option<String>,
    pub display_name: String,
    /// True if this request may bypass governance-mode retention.
    pub bypass_governance: bool,
}

impl Caller {
    /// Returns the owner of what this caller writes. An anonymous caller's writes belong to nobody that has
    /// credentials.
    pub fn owner(&self) -> String {
        self.account.clone().unwrap_or_else(|| ANONYMOUS.to_owned())
    }
}

/// S3's canonical id of whoever is not known.
pub const ANONYMOUS: &str = "65a011a29cdf8ec533ec3d1ccaae921c";
