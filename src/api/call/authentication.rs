//! The result of authenticating a request: its access key, and the properties of its signature.

/// The authenticated sender of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authentication {
    /// The access key that signed the request; `None` for an anonymous one.
    pub access_key: Option<String>,
    pub signature: Option<SignatureFacts>,
}

impl Authentication {
    /// Returns the region that the request is signed for.
    pub fn region(&self) -> Option<&str> {
        self.signature.as_ref()?.region.as_deref()
    }
}

/// The properties of a verified signature that conditions of policies may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureFacts {
    /// `s3:authType`
    pub auth_type: &'static str,
    /// `s3:signatureversion`
    pub version: &'static str,
    /// The time of the signature in seconds since the Unix epoch; `None` for version 2.
    pub signed_at: Option<u64>,
    /// The region that the request is signed for; `None` for version 2.
    pub region: Option<String>,
}
