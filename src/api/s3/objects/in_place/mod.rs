//! Changes of existing objects in place: appends and renames. S3 has them in directory buckets; this store has them in
//! every bucket that never had versions.

mod append;
mod rename;

pub use append::{Appended, append, write_offset};
pub use rename::{Renaming, rename};
