//! Control characters in the XML of responses, written as character references. A key may contain them: a bare carriage
//! return would be parsed as a line feed, and other bare control characters would make the document malformed.

use bytes::Bytes;

const CHUNK_BYTES: usize = 256;

/// Returns the document with each control character replaced by a reference; the same bytes, if it has none. Between
/// elements there are no control characters, so all of them are in texts. XML 1.0 forbids references to most of them,
/// but S3's clients read them, and AWS sends them.
pub fn with_references(xml: Bytes) -> Bytes {
    // No early exit within a chunk, so that the compiler can use vector instructions.
    let holds_some = |chunk: &[u8]| chunk.iter().fold(false, |found, byte| found | must_be_referred_to(*byte));
    if !xml.chunks(CHUNK_BYTES).any(holds_some) {
        return xml;
    }
    let mut written = Vec::with_capacity(xml.len() + 64);
    for byte in xml {
        if must_be_referred_to(byte) {
            written.extend_from_slice(format!("&#x{byte:X};").as_bytes());
        } else {
            written.push(byte);
        }
    }
    Bytes::from(written)
}

fn must_be_referred_to(byte: u8) -> bool {
    byte < 0x20 && byte != b'\n' && byte != b'\t'
}

#[cfg(test)]
mod tests {
    use super::with_references;
    use bytes::Bytes;

    #[test]
    fn control_characters_in_xml_become_character_references() {
        let xml = Bytes::from_static("<Key>a\rb\u{0}\u{1f}ü</Key>".as_bytes());
        assert_eq!(with_references(xml), "<Key>a&#xD;b&#x0;&#x1F;ü</Key>".as_bytes());
    }

    #[test]
    fn xml_without_control_characters_is_returned_unchanged() {
        let xml = Bytes::from_static("<?xml version=\"1.0\"?>\n<Key>a\n\tb &amp; \u{7f}ü</Key>".as_bytes());
        assert_eq!(with_references(xml.clone()).as_ptr(), xml.as_ptr());
    }
}
