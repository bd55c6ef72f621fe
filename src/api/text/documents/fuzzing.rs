//! The fuzz target of the check of XML: what is accepted means the same in the form that s3s reads, and has its length.

use super::as_read;
use super::schemas::{COMPLETES, DELETES, NEW_BUCKET, OF_DOCUMENTS};
use bytes::Bytes;
use quick_xml::Reader;
use quick_xml::events::Event;

/// Reads the input as each document.
pub fn documents(data: &[u8]) {
    let xml = Bytes::copy_from_slice(data);
    let schemas = OF_DOCUMENTS.iter().map(|(_, schema)| *schema).chain([&NEW_BUCKET, &DELETES, &COMPLETES]);
    for read in schemas.filter_map(|schema| as_read(xml.clone(), schema).ok().map(|read| (read, schema))) {
        let (read, schema) = read;
        assert_eq!(read.len(), data.len());
        assert_eq!(meaning(&read), meaning(data));
        assert_eq!(as_read(read.clone(), schema).as_ref(), Ok(&read), "it needs no further change");
    }
}

/// Returns the elements of some XML in their order, each with the text in front of it. Blanks around a text do not
/// count; references and CDATA sections are resolved.
fn meaning(xml: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let (mut reader, mut text, mut found) = (Reader::from_reader(xml), Vec::new(), Vec::new());
    let mut tag = |text: &mut Vec<u8>, name: &[u8]| {
        found.push((text.trim_ascii().to_vec(), name.to_vec()));
        text.clear();
    };
    loop {
        match reader.read_event().expect("it was read before") {
            Event::Start(start) => tag(&mut text, start.name().as_ref()),
            Event::End(end) => tag(&mut text, &[b"/", end.name().as_ref()].concat()),
            Event::Empty(empty) => {
                tag(&mut text, empty.name().as_ref());
                tag(&mut text, &[b"/", empty.name().as_ref()].concat());
            }
            Event::Text(part) => text.extend_from_slice(&part),
            Event::CData(part) => text.extend_from_slice(&part),
            Event::GeneralRef(reference) => match reference.resolve_char_ref() {
                Ok(Some(character)) => text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
                _ => text.extend_from_slice(match &*reference {
                    b"lt" => b"<",
                    b"gt" => b">",
                    b"amp" => b"&",
                    b"quot" => b"\"",
                    b"apos" => b"'",
                    other => other,
                }),
            },
            Event::Eof => return found,
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
}
