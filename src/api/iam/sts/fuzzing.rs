//! The fuzz target for tokens of identity providers and their key sets.

use super::jwt::Unverified;

/// Parses and verifies a token. The input is a token, a newline, and the key set of its issuer.
pub fn tokens(data: &[u8]) {
    let text = std::str::from_utf8(data).unwrap_or_default();
    let (token, key_set) = text.split_once('\n').unwrap_or((text, ""));
    let Ok(token) = Unverified::parse(token) else { return };
    let _ = token.issuer();
    let _ = token.verify(key_set);
}
