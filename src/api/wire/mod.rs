//! What is done to a request between HTTP and s3s: refusals in S3's own words of what s3s would misread
//! (`authorization`, `version_2`, `subresources`), and ways around s3s for what it does not take (`restated`, `around`,
//! `renaming`, `verified`, `signer`).

mod around;
mod authorization;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod query;
mod renaming;
mod restated;
mod signer;
mod subresources;
mod target;
mod verified;
mod version_2;

#[cfg(test)]
mod tests;

pub use around::{Around, Handback, Remedies};
pub use authorization::{Scheme, read_scope};
pub use query::Query;
pub use renaming::{Renaming, as_copy, is_rename};
pub use restated::{Resigning, as_metadata, restate};
pub use signer::signer;
pub use target::{Head, Level, Target};
pub use verified::{Aside, FormFile, Trailers, Verified, WholeBody, whole};

use super::s3::Fault;
use crate::types::LegacySignatures;
use std::time::Duration;

/// How a request is signed, if it is one that S3 would look at further. `now`: since the Unix epoch.
pub fn check(head: Head<'_>, legacy: LegacySignatures, now: Duration) -> Result<Scheme, Fault> {
    let scheme = authorization::check(head, legacy, now)?;
    subresources::check(head)?;
    Ok(scheme)
}
