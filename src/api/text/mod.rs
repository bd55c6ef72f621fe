//! Texts of requests and responses: percent-encoding, query parameters, header parameters, and XML.

pub mod documents;
mod header_parameters;
pub mod percent;
pub mod query;
pub mod xml;

pub use header_parameters::parameters_of;
pub use query::{MalformedQuery, Query};

/// Returns whether some text is an integer with nothing beside it but blanks.
pub fn is_integer(text: &[u8]) -> bool {
    let text = text.trim_ascii();
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}
