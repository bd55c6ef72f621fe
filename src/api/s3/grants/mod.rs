//! Who may do what with a bucket and with what is in it, as its owners say it: access control lists, bucket policies,
//! who owns what others write, and what keeps the public out. What all of it means is `policy`'s; a bucket keeps it in
//! one document (`record`), an object keeps its list and its owner with its version.
//!
//! ```text
//!  headers, XML ──asked──► who is named ──resolve──► accounts, groups ──writes──► a list that may stand
//! ```

pub(super) mod asked;
pub mod bucket_acl;
pub mod bucket_policy;
pub mod object_acl;
mod owners;
pub mod ownership;
pub mod public_access;
mod record;
mod resolve;
mod shown;
mod writes;

pub use owners::{Owners, owner_of};
pub use record::{BucketAccess, access_of, sized_access_of};
pub use resolve::lookup_failed;
pub use writes::{acl_of_headers, of_new_bucket};
