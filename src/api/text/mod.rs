//! Texts of requests and responses: percent-encoding, query parameters, and header parameters.

mod header_parameters;
pub mod percent;
pub mod query;

pub use header_parameters::parameters_of;
pub use query::{MalformedQuery, Query};
