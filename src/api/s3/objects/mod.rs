//! Operations on one object, or on many by name: read, describe, write, copy, append to, rename, delete.

mod attributes;
mod copy;
mod delete;
mod get;
mod in_place;
mod put;
pub mod sealed;
mod slice;
pub mod tagging;
mod traits;
mod upload_body;

pub use attributes::{attributes, unquoted};
pub use copy::{copy, open_source};
pub use delete::{delete, delete_many};
pub use get::{blob, get, head, partial};
pub use in_place::{Renaming, rename};
pub use put::put;
pub use slice::{Slice, select};
pub use traits::requested_traits;
pub use upload_body::upload;
