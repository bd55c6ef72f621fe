//! Percent-encoding: of keys in listings with `encoding-type=url`, and of queries and paths.

use std::fmt::Write;

/// Encodes all characters but letters, digits and `-._~/`, as S3 does for `encoding-type=url`.
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

/// Encodes only what must be: `%`, `+`, and characters that XML cannot hold. A text without them is returned unchanged.
pub fn encode_sparsely(text: &str) -> String {
    let stays =
        |c: char| !matches!(c, '%' | '+' | '\u{fffe}' | '\u{ffff}') && (!c.is_control() || matches!(c, '\t' | '\n'));
    let mut encoded = String::with_capacity(text.len());
    for c in text.chars() {
        if stays(c) {
            encoded.push(c);
        } else {
            encoded.push_str(&encode(c.encode_utf8(&mut [0; 4])));
        }
    }
    encoded
}

/// Decodes a name or value of a query, in which `+` is a space; `None` if it is malformed or not UTF-8.
pub fn decode_query(text: &str) -> Option<String> {
    decode(text, b' ')
}

/// Decodes a path, in which `+` is itself; `None` if it is malformed or not UTF-8.
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
    use super::{decode_query, encode, encode_sparsely};

    #[test]
    fn encoding_keeps_slashes_and_escapes_what_xml_cannot_hold() {
        assert_eq!(encode("a/b c+d\u{1}é~"), "a/b%20c%2Bd%01%C3%A9~");
    }

    #[test]
    fn sparse_encoding_escapes_only_what_must_be() {
        assert_eq!(encode_sparsely("a b/é\n\t=&<"), "a b/é\n\t=&<");
        assert_eq!(encode_sparsely("1+1 100%\r\u{1}\u{ffff}"), "1%2B1 100%25%0D%01%EF%BF%BF");
        for text in ["a b", "100%41", "a+b", "\u{0}\r\né🔑\u{85}"] {
            assert_eq!(decode_query(&encode_sparsely(text)).as_deref(), Some(text));
        }
    }

    #[test]
    fn a_query_parameter_is_decoded() {
        assert_eq!(decode_query("host%3Bx-amz-date").as_deref(), Some("host;x-amz-date"));
        assert_eq!(decode_query("a+b").as_deref(), Some("a b"));
        assert_eq!(decode_query("").as_deref(), Some(""));
        assert_eq!((decode_query("%zz"), decode_query("%ff")), (None, None));
    }
}
