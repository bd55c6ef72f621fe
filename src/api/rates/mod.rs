//! Limits on the rates of requests and bytes for each account and bucket. A request over a limit of requests is refused
//! before its body is read; bytes over a limit of bytes are delayed.
//!
//! The limits are documents of the metadata, read from the same view as the access decision, so they apply on every
//! host as soon as they are set. Each host enforces an equal share: the limit divided by the number of live hosts that
//! serve S3.

mod limiter;
mod limits;
mod paced;
mod schedule;

pub use limiter::{Admitted, Direction, Limited, OverLimit, RateLimiter};
pub use limits::RateLimits;
pub use paced::{Paced, Rates};
