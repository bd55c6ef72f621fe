//! The canonical request of a signature: the text that client and server derive from a request and hash.

use super::ToSign;
use std::borrow::Cow;
use std::fmt::Write;

pub fn canonical_request(request: &ToSign<'_>) -> String {
    let mut text = String::with_capacity(512);
    let path = if request.path.is_empty() { "/" } else { request.path };
    let query = canonical_query(request.query);
    // Writing to a string does not fail.
    let _ = write!(text, "{}\n{path}\n{query}\n", request.method);
    for (name, value) in request.headers {
        let _ = write!(text, "{name}:");
        one_spaced(&mut text, value);
        text.push('\n');
    }
    let names: Vec<&str> = request.headers.iter().map(|(name, _)| *name).collect();
    let _ = write!(text, "\n{}\n{}", names.join(";"), request.body_sha256);
    text
}

/// Returns the canonical query: sorted, with each name and value decoded and encoded again, so that the client's choice
/// of escapes does not matter.
fn canonical_query(query: &str) -> String {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let mut pairs: Vec<(Cow<'_, str>, Cow<'_, str>)> = pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (encoded_again(name), encoded_again(value))
        })
        .collect();
    pairs.sort_unstable();
    let mut text = String::with_capacity(query.len());
    for (number, (name, value)) in pairs.iter().enumerate() {
        let separator = if number > 0 { "&" } else { "" };
        // Writing to a string does not fail.
        let _ = write!(text, "{separator}{name}={value}");
    }
    text
}

/// Returns the path as S3 signs it: normalised, so that the client's choice of escapes does not matter.
pub fn path_to_sign(path: &str) -> Cow<'_, str> {
    if path.split('/').all(is_encoded) {
        return path.into();
    }
    path.split('/').map(encoded_again).collect::<Vec<_>>().join("/").into()
}

/// Decodes and encodes a text; returns it as it is if that would not change it.
fn encoded_again(text: &str) -> Cow<'_, str> {
    if is_encoded(text) { text.into() } else { encode(&decode(text)).into() }
}

/// Returns whether a text is exactly what `encode` would write.
fn is_encoded(text: &str) -> bool {
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = match (byte, after) {
            (b'%', [high, low, after @ ..]) => {
                let digit = |byte: u8| if byte.is_ascii_lowercase() { None } else { char::from(byte).to_digit(16) };
                let (Some(high), Some(low)) = (digit(*high), digit(*low)) else { return false };
                if is_unreserved((high * 16 + low) as u8) {
                    return false;
                }
                after
            }
            (byte, after) if is_unreserved(byte) => after,
            _ => return false,
        };
    }
    true
}

/// Appends a header's value trimmed, with runs of spaces and tabs collapsed to one space. Other white space is kept.
fn one_spaced(text: &mut String, value: &str) {
    for (number, word) in value.split([' ', '\t']).filter(|word| !word.is_empty()).enumerate() {
        if number > 0 {
            text.push(' ');
        }
        text.push_str(word);
    }
}

/// Decodes percent escapes; a malformed escape is kept as it is.
fn decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digit = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        match (bytes[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                at += 3;
            }
            (byte, ..) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    decoded
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Escapes every byte that is not one of RFC 3986's unreserved characters.
fn encode(bytes: &[u8]) -> String {
    let mut encoded = String::with_capacity(bytes.len());
    for &byte in bytes {
        if is_unreserved(byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::{decode, encode, encoded_again, is_encoded, path_to_sign};

    #[test]
    fn encoded_text_stays_and_other_text_is_encoded_again() {
        for (text, encoded) in [
            ("", true),
            ("a-b._~Z9", true),
            ("a%2Fb%C3%BC", true),
            ("a%2fb", false),
            ("%41", false),
            ("a b", false),
            ("a+b", false),
            ("a%", false),
            ("a%2", false),
            ("%G0", false),
            ("\u{fc}", false),
        ] {
            assert_eq!(is_encoded(text), encoded, "{text}");
            assert_eq!(encoded_again(text), encode(&decode(text)), "{text}");
        }
        assert_eq!(path_to_sign("/b/a%2Fb c"), "/b/a%2Fb%20c");
        assert_eq!(path_to_sign("/b//k%20"), "/b//k%20");
    }
}
