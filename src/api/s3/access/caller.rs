//! Who asks: what the access check found out, handed on to the operation in the request's extensions.

use crate::api::s3::Store;
use http::Extensions;

/// For whom a request acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The canonical id of the account; `None` where nobody signed.
    pub account: Option<String>,
    pub display_name: String,
    /// Whether the retention of governance mode does not hold for this request.
    pub bypass_governance: bool,
}

impl Caller {
    /// Nobody, where the access check left no word.
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or(Self {
            account: None,
            display_name: String::new(),
            bypass_governance: false,
        })
    }

    /// Who owns what this caller writes. What nobody signed for belongs to nobody that has credentials.
    pub fn owner(&self, _store: &Store) -> String {
        self.account.clone().unwrap_or_else(|| ANONYMOUS.to_owned())
    }
}

/// S3's canonical id of whoever is not known.
pub const ANONYMOUS: &str = "65a011a29cdf8ec533ec3d1ccaae921c";
