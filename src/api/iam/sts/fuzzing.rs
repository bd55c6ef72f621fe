//! Tokens of identity providers, and their key sets.

use super::jwt::Unverified;

/// A token, a line's end, and the key set of who is said to have issued it.
pub fn tokens(data: &[u8]) {
    let text = std::str::from_utf8(data).unwrap_or_default();
    let (token, key_set) = text.split_once('\n').unwrap_or((text, ""));
    let Ok(token) = Unverified::parse(token) else { return };
    let _ = token.issuer();
    let _ = token.verify(key_set);
}
