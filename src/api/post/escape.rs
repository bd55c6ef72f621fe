//! Percent-encoding of keys and values in URLs.

use std::fmt::Write;

/// Escapes every byte that is not one of RFC 3986's unreserved characters.
pub fn escape(text: &str) -> String {
    escape_but(text, b"-._~")
}

/// Escapes like `escape`, but leaves slashes.
pub fn escape_path(path: &str) -> String {
    escape_but(path, b"-._~/")
}

/// Escapes like `escape`, but writes a space as a plus sign, as HTML forms do.
pub fn escape_form(text: &str) -> String {
    escape(text).replace("%20", "+")
}

fn escape_but(text: &str, kept: &[u8]) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || kept.contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::{escape, escape_form, escape_path};

    #[test]
    fn reserved_characters_in_urls_are_escaped() {
        assert_eq!(escape("a/b c+d~é"), "a%2Fb%20c%2Bd~%C3%A9");
        assert_eq!(escape_path("/a/../b?c%"), "/a/../b%3Fc%25");
        assert_eq!(escape_form("a b+c"), "a+b%2Bc");
    }
}
