//! The bridge between actix-web, which holds the connections, and s3s, which speaks S3: requests, their bodies, and the
//! bodies of responses. A body is read on the worker that its connection belongs to, chunk by chunk as the store asks
//! for it, wherever the request is carried out.

mod body_bounds;
mod chunked;
mod collected;
mod content;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod pace;
mod payload;
mod references;
mod request;
mod request_body;
mod response;

pub use content::{Signed, content};
pub use request::{convert, header_bytes};
pub use response::{Answer, ResponseBody, Shared, referenced};
