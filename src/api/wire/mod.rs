//! The head of an S3 request: its target and its parameters, refusals of what s3s would misread (`subresources`), its
//! normalisation to what s3s takes (`normalise`), and what s3s does not know (`renaming`).

mod form;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod normalise;
mod renaming;
mod subresources;

#[cfg(any(test, fuzzing))]
pub use form::boundary_of;
pub use form::{boundary, is_form};
pub use normalise::normalise;
pub use renaming::{is_rename, rename_source};
pub use subresources::{check as check_subresources, take_overrides};
