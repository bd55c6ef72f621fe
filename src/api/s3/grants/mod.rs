//! Access control of a bucket and its objects as set by their owners: ACLs, bucket policies, object ownership, and
//! public access blocks. `policy` evaluates them; a bucket keeps them in one document (`record`), an object keeps its
//! ACL and its owner with its version.
//!
//! ```text
//!  headers, XML ──`requested`──► grantees by name ──`resolve`──► accounts, groups ──`writes`──► the stored ACL
//! ```
//!
//! `writes` checks against the object ownership and the public access block.

pub mod bucket_acl;
pub mod bucket_policy;
pub mod object_acl;
mod owners;
pub mod ownership;
pub mod public_access;
mod record;
pub(super) mod requested;
mod resolve;
mod shown;
mod writes;

pub use owners::{Owners, owner_of};
pub use record::{BucketAccess, access_of, sized_access_of};
pub use resolve::{group_named, invalid_id, lookup_failed};
pub use writes::{access_of_new_bucket, acl_of_new_object, allows_acl, check_acl_allowed};
