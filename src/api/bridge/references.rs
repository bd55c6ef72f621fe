//! Characters that XML has no room for, in the XML of answers. A key may hold them: a carriage return comes to a reader
//! as the end of a line, and other control characters end the document, unless they are written as references.

use bytes::Bytes;

const CHUNK_BYTES: usize = 256;

/// The document with references in the place of control characters; as it is, if it holds none. Between elements there are
/// none, so that all are in texts. Those that XML 1.0 forbids even so are read by S3's clients, and sent by AWS.
pub fn with_references(xml: Bytes) -> Bytes {
    // A chunk is looked at as a whole, many bytes an instruction, which a search that may end at each byte is not.
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
    fn control_characters_become_references() {
        let xml = Bytes::from_static("<Key>a\rb\u{0}\u{1f}ü</Key>".as_bytes());
        assert_eq!(with_references(xml), "<Key>a&#xD;b&#x0;&#x1F;ü</Key>".as_bytes());
    }

    #[test]
    fn other_text_stays_as_it_is() {
        let xml = Bytes::from_static("<?xml version=\"1.0\"?>\n<Key>a\n\tb &amp; \u{7f}ü</Key>".as_bytes());
        assert_eq!(with_references(xml.clone()).as_ptr(), xml.as_ptr());
    }
}
