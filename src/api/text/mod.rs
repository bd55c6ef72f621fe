//! Text of requests and answers: percent-encoding and parameters of queries.

mod header_parameters;
pub mod percent;
pub mod query;

pub use header_parameters::parameters_of;
pub use query::{MalformedQuery, Query};
