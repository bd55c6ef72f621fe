//! The treatment of an S3 request's head before s3s: refuses requests that s3s would misread (`subresources`,
//! `conditions`), normalises headers for it (`normalise`), and reads RenameObject, which it does not know (`renaming`).

mod conditions;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod normalise;
mod renaming;
mod subresources;

pub use conditions::check_conditions;
pub use normalise::normalise;
pub use renaming::{is_rename, rename_source};
pub use subresources::{check as check_subresources, take_overrides};
