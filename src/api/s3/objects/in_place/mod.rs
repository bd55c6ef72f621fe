//! Changes of existing objects in place: appends and renames. S3 has them in directory buckets; this store has them in
//! every bucket that never had versions.

mod append;
mod rename;

pub use append::{Appended, append, write_offset};
pub use rename::{Renaming, rename};

use crate::api::errors::Fault;
use http::{HeaderMap, HeaderName};

/// The headers of a new object that a change in place cannot have.
const OF_NEW_OBJECTS: [&str; 4] = ["x-amz-acl", "x-amz-grant-", "x-amz-object-lock-", "x-amz-tagging"];

/// Refuses options of new objects, and those that begin with one of `others`. If they were ignored, a policy could take
/// the object for one that has them.
fn refuse_options_of_new_objects(headers: &HeaderMap, others: &[&str], when: &str) -> Result<(), Fault> {
    let refused =
        |name: &&HeaderName| OF_NEW_OBJECTS.iter().chain(others).any(|start| name.as_str().starts_with(start));
    match headers.keys().find(refused) {
        Some(name) => Err(Fault::InvalidRequest(format!("The header {name} cannot be used when {when}."))),
        None => Ok(()),
    }
}
