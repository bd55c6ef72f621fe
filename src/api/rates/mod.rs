//! Limits on the rates of requests and of bytes, by account and by bucket. A request beyond a limit of requests is refused before
//! a byte of its body is read; bytes beyond a limit of bytes wait.
//!
//! The limits are documents of the metadata, read with what a request is judged by, so that they hold on every host from the
//! moment when they are set. Each host applies an equal share of them: the limit over the number of hosts that serve S3 and are up.

mod limiter;
mod limits;
mod paced;
mod schedule;

pub use limiter::{Admitted, Limited, OverLimit, RateLimiter};
pub use limits::RateLimits;
pub use paced::{Direction, Paced, Rates};
