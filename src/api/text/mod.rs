//! Texts of requests and responses: percent-encoding, query parameters, header parameters, and XML.

mod header_parameters;
pub mod percent;
pub mod query;
pub mod xml;

pub use header_parameters::parameters_of;
pub use query::{MalformedQuery, Query};
