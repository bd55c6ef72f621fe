//! The conversions between actix-web, which holds the connections, and s3s, which parses and writes S3: requests, their
//! bodies, and responses. The bytes of a body are read from the connection by the connection's worker, piece by piece
//! as the request asks for them, also if the request runs on another thread.

mod body_bounds;
mod chunked;
mod collected;
mod content;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod pace;
mod payload;
mod references;
mod request;
mod request_body;
mod response;

pub use content::{Signed, content};
pub use request::{check_size, convert};
pub use response::{Answer, ResponseBody, SLICE_BYTES, Shared, referenced};
