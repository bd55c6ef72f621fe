//! The settings of tests, from environment variables.

/// Returns the number in a variable; `None` if it is not set. Fails if it is not a number, rather than use the default.
pub fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number, not {text:?}")))
}
