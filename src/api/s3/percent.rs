//! Percent-encoding: of keys in listings that ask for it, and of query parameters that are read beside s3s.

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

/// Of a query parameter: `+` is a space. What is not UTF-8 afterwards is `None`.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
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

/// The first value of a parameter, decoded; empty where it has none.
pub fn parameter(query: Option<&str>, name: &str) -> Option<String> {
    query?.split('&').find_map(|pair| {
        let (found, value) = pair.split_once('=').unwrap_or((pair, ""));
        if found == name { decode(value) } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::{encode, parameter};

    #[test]
    fn encoding_keeps_slashes_and_escapes_what_xml_cannot_hold() {
        assert_eq!(encode("a/b c+d\u{1}é~"), "a/b%20c%2Bd%01%C3%A9~");
    }

    #[test]
    fn a_parameter_is_found_and_decoded() {
        let query = Some("uploads&x=1&X-Amz-SignedHeaders=host%3Bx-amz-date&bad=%zz&space=a+b");
        assert_eq!(parameter(query, "X-Amz-SignedHeaders").as_deref(), Some("host;x-amz-date"));
        assert_eq!(parameter(query, "uploads").as_deref(), Some(""));
        assert_eq!(parameter(query, "space").as_deref(), Some("a b"));
        assert_eq!(parameter(query, "bad"), None);
        assert_eq!(parameter(query, "absent"), None);
        assert_eq!(parameter(None, "x"), None);
    }
}
