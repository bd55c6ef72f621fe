//! Operations on one object, or on many by name: read, describe, write, copy, delete.

mod attributes;
mod copy;
mod delete;
mod get;
mod put;
mod slice;
mod upload_body;

pub use attributes::attributes;
pub use copy::{copy, open_source};
pub use delete::{delete, delete_many};
pub use get::{get, head};
pub use put::put;
pub use upload_body::upload;
