//! The choices made by environment variables.

/// None where it is not set. Nonsense is an error: whoever chose something else would believe it to be so.
pub fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number, not {text:?}")))
}
