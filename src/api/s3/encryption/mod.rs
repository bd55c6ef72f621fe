//! Server-side encryption in S3 requests: the encryption that a request or its bucket's default asks for, the
//! customer-provided keys of requests, the data keys of objects, and the encryption headers of answers. Lower layers
//! seal and open the bytes with the keys from here:
//!
//! ```text
//! write: asked(headers, default) ─► prepare(asked, keys, place) ─► Sealing (for the metadata), DataKey (for the bytes)
//! read:  check_read(headers), key_of_read(headers, sealing) ─► open(sealing, keys, place, key) ─► DataKey
//! part:  key_of_part(headers, the upload's sealing) ─► open(..)
//! copy:  key_of_source(..) ─► open(..) of the source; asked(..) ─► prepare(..), or seal_key(..) where bytes are shared
//! ```
//!
//! S3 accepts customer-provided keys over TLS only. Here they are accepted over plain HTTP as well: TLS may end in a
//! proxy in front of this process, and public test suites use plain HTTP.

mod algorithm;
mod bucket_default;
mod customer;
mod keys;
mod kms;
mod requested;
mod requests;
mod shown;
#[cfg(test)]
mod tests;

#[cfg(test)]
use bucket_default::{DefaultAlgorithm, DefaultEncryption};
pub use bucket_default::{delete, get, of_bucket, put};
#[cfg(test)]
use customer::{CustomerHeaders, customer_key};
pub use keys::{Keys, open, prepare, rewrap, seal_key, with_own_keys};
pub use kms::{KmsNames, arn_to_judge, names_key};
#[cfg(test)]
use requested::RequestedKms;
pub use requested::{RequestedEncryption, requested_encryption};
pub use requests::{check_read, key_of_completion, key_of_part, key_of_read, key_of_source};
pub use shown::{EncryptionFields, add_customer_headers, shown};

use crate::api::errors::Fault;
use std::fmt::Display;

/// Logs an internal failure and returns an error without its reason.
fn internal(why: &dyn Display) -> Fault {
    tracing::error!(%why, "a request for encryption failed inside the store");
    Fault::Internal("We encountered an internal error. Please try again.".to_owned())
}
