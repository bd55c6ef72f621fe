//! The rate limits of an account or a bucket, stored as a document of the metadata.

use crate::actors::documents::{DocumentError, decode, encode};
use crate::actors::meta::{BucketDocument, DocumentKey, IdentityKind};
use crate::limits::RATE_BYTES_MIN;
use crate::types::BucketId;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The limits for all hosts together; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLimits {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<u64>,
    /// The bytes per second of request bodies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received_bytes_per_second: Option<u64>,
    /// The bytes per second of response bodies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_bytes_per_second: Option<u64>,
    /// The number of active requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_active_max: Option<u64>,
}

impl RateLimits {
    pub fn is_unlimited(&self) -> bool {
        *self == Self::default()
    }

    pub fn key_of_account(account: &str) -> DocumentKey {
        DocumentKey::Identity(IdentityKind::RateLimits, account.to_owned())
    }

    pub fn key_of_bucket(bucket: BucketId) -> DocumentKey {
        DocumentKey::Bucket(bucket, BucketDocument::RateLimits, String::new())
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, DocumentError> {
        decode(bytes)
    }

    /// Returns the document to store; `None` if there are no limits.
    pub fn encode(&self) -> Option<Bytes> {
        (!self.is_unlimited()).then(|| encode(self).expect("numbers are JSON"))
    }

    /// Checks that no limit is too low to work with; the error says which one is.
    pub fn check(&self) -> Result<(), String> {
        let Self { requests_per_second, received_bytes_per_second, sent_bytes_per_second, requests_active_max } = *self;
        for (name, limit, least) in [
            ("requests_per_second", requests_per_second, 1),
            ("received_bytes_per_second", received_bytes_per_second, RATE_BYTES_MIN),
            ("sent_bytes_per_second", sent_bytes_per_second, RATE_BYTES_MIN),
            ("requests_active_max", requests_active_max, 1),
        ] {
            if let Some(limit) = limit.filter(|limit| *limit < least) {
                return Err(format!("{name} is {limit}: a limit is at least {least}, or null for none"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::RateLimits;
    use crate::limits::RATE_BYTES_MIN;

    #[test]
    fn the_stored_form_does_not_change() {
        let limits = RateLimits { requests_per_second: Some(5), requests_active_max: Some(7), ..RateLimits::default() };
        let stored = limits.encode().expect("it is kept");
        assert_eq!(&stored[..], b"\x01{\"requests_per_second\":5,\"requests_active_max\":7}");
        assert_eq!(RateLimits::decode(&stored).expect("it is read"), limits);
        assert_eq!(RateLimits::default().encode(), None);
        assert!(RateLimits::decode(b"\x02{}").is_err());
    }

    #[test]
    fn a_rate_limit_below_the_minimum_is_refused() {
        let bytes = |bytes| RateLimits { sent_bytes_per_second: Some(bytes), ..RateLimits::default() };
        assert_eq!(bytes(RATE_BYTES_MIN).check(), Ok(()));
        let why = bytes(RATE_BYTES_MIN - 1).check().expect_err("too little");
        assert_eq!(why, "sent_bytes_per_second is 65535: a limit is at least 65536, or null for none");
        let none = RateLimits { requests_per_second: Some(0), ..RateLimits::default() };
        assert!(none.check().is_err() && RateLimits::default().check().is_ok());
    }
}
