//! Writes to what stands already, which S3 has for directory buckets and this store for all that never had versions:
//! appends and renames.

mod append;
mod rename;

pub use append::{Appended, append, write_offset};
pub use rename::{Renaming, rename};
