//! Customer-provided keys (SSE-C): a request has one in three headers for the object, and a copy another for its
//! source.

use crate::actors::sealing::{CustomerKey, Secret};
use crate::api::errors::Fault;
use http::{HeaderMap, HeaderName, HeaderValue};
use md5::{Digest, Md5};
use s3s::header::{
    X_AMZ_COPY_SOURCE_SERVER_SIDE_ENCRYPTION_CUSTOMER_ALGORITHM, X_AMZ_COPY_SOURCE_SERVER_SIDE_ENCRYPTION_CUSTOMER_KEY,
    X_AMZ_COPY_SOURCE_SERVER_SIDE_ENCRYPTION_CUSTOMER_KEY_MD5, X_AMZ_SERVER_SIDE_ENCRYPTION_CUSTOMER_ALGORITHM,
    X_AMZ_SERVER_SIDE_ENCRYPTION_CUSTOMER_KEY, X_AMZ_SERVER_SIDE_ENCRYPTION_CUSTOMER_KEY_MD5,
};

/// The only algorithm for customer-provided keys.
pub const CUSTOMER_ALGORITHM: &str = "AES256";

pub(super) const NO_ALGORITHM: &str =
    "Requests specifying Server Side Encryption with Customer provided keys must provide a valid encryption algorithm.";
const NO_KEY: &str =
    "Requests specifying Server Side Encryption with Customer provided keys must provide an appropriate secret key.";
const NO_MD5: &str = "Requests specifying Server Side Encryption with Customer provided keys must provide the client calculated MD5 of the secret key.";
const WRONG_MD5: &str = "The calculated MD5 hash of the key did not match the hash that was provided.";
const WRONG_LENGTH: &str = "The secret key was invalid for the specified algorithm.";

/// The headers of a customer-provided key, by the object that it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CustomerHeaders {
    /// The headers for the object that is written or read.
    Object,
    CopySource,
}

impl CustomerHeaders {
    /// Returns the names of the headers with the algorithm, the key, and the key's MD5.
    fn names(self) -> [HeaderName; 3] {
        match self {
            Self::Object => [
                X_AMZ_SERVER_SIDE_ENCRYPTION_CUSTOMER_ALGORITHM,
                X_AMZ_SERVER_SIDE_ENCRYPTION_CUSTOMER_KEY,
                X_AMZ_SERVER_SIDE_ENCRYPTION_CUSTOMER_KEY_MD5,
            ],
            Self::CopySource => [
                X_AMZ_COPY_SOURCE_SERVER_SIDE_ENCRYPTION_CUSTOMER_ALGORITHM,
                X_AMZ_COPY_SOURCE_SERVER_SIDE_ENCRYPTION_CUSTOMER_KEY,
                X_AMZ_COPY_SOURCE_SERVER_SIDE_ENCRYPTION_CUSTOMER_KEY_MD5,
            ],
        }
    }

    pub(super) fn any(self, headers: &HeaderMap) -> bool {
        self.names().iter().any(|name| headers.contains_key(name))
    }
}

/// Returns the customer-provided key of a request; `None` if it has none of the three headers. Faults are reported in
/// S3's order: a missing header, an empty key, the algorithm, the MD5, the key's length. An empty header is not
/// missing.
pub fn customer_key(headers: &HeaderMap, which: CustomerHeaders) -> Result<Option<CustomerKey>, Fault> {
    if !which.any(headers) {
        return Ok(None);
    }
    let invalid = |why: &str| Fault::InvalidArgument(why.to_owned());
    let [algorithm, key, md5] = which.names().map(|name| headers.get(&name).map(HeaderValue::as_bytes));
    let algorithm = algorithm.ok_or_else(|| invalid(NO_ALGORITHM))?;
    let key = key.ok_or_else(|| invalid(NO_KEY))?;
    let md5 = md5.ok_or_else(|| invalid(NO_MD5))?;
    let mut key = base64_simd::forgiving_decode_to_vec(key).unwrap_or_default();
    let fault = if key.is_empty() {
        Some(invalid(WRONG_LENGTH))
    } else if algorithm != CUSTOMER_ALGORITHM.as_bytes() {
        Some(Fault::InvalidEncryptionAlgorithm)
    } else if !base64_simd::forgiving_decode_to_vec(md5).is_ok_and(|md5| md5 == Md5::digest(&key).as_slice()) {
        Some(invalid(WRONG_MD5))
    } else {
        None
    };
    let secret = Secret::of(&key);
    key.fill(0);
    match (fault, secret) {
        (Some(fault), _) => Err(fault),
        (None, None) => Err(invalid(WRONG_LENGTH)),
        (None, Some(secret)) => Ok(Some(CustomerKey::new(secret))),
    }
}
