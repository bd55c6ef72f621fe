//! Percent-encoding: of keys in listings that ask for it, and of text that is encoded as queries are.

use std::fmt::Write;

/// As S3 encodes for `encoding-type=url`: everything but letters, digits and `-._~/`.
pub fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'/') {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// A name or value of a query: `+` is a space. What is not UTF-8 afterwards is `None`.
pub fn decode_query(text: &str) -> Option<String> {
    decode(text, b' ')
}

/// A path, in which `+` is itself.
pub fn decode_path(text: &str) -> Option<String> {
    decode(text, b'+')
}

fn decode(text: &str, plus: u8) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(plus),
            b'%' => {
                let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
                let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                bytes.push(u8::try_from(high * 16 + low).ok()?);
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::{decode_query, encode};

    #[test]
    fn encoding_keeps_slashes_and_escapes_what_xml_cannot_hold() {
        assert_eq!(encode("a/b c+d\u{1}é~"), "a/b%20c%2Bd%01%C3%A9~");
    }

    #[test]
    fn a_parameter_is_decoded() {
        assert_eq!(decode_query("host%3Bx-amz-date").as_deref(), Some("host;x-amz-date"));
        assert_eq!(decode_query("a+b").as_deref(), Some("a b"));
        assert_eq!(decode_query("").as_deref(), Some(""));
        assert_eq!((decode_query("%zz"), decode_query("%ff")), (None, None));
    }
}
