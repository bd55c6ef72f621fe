//! The check of XML in requests against its schema. s3s skips what it does not know: elements, CDATA sections, text
//! beside elements, and what follows the digits of a number. A rule of which a part is skipped means something else, so
//! such a document is refused before s3s reads it.

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod schemas;

use super::is_integer;
use bytes::Bytes;
use quick_xml::Reader;
use quick_xml::escape::minimal_escape;
use quick_xml::events::Event;
use schemas::{Content, DELETES, Schema};
use std::ops::Range;

/// The encodings that a document may declare: it is read as UTF-8.
const ENCODINGS: [&[u8]; 4] = [b"UTF-8", b"UTF8", b"US-ASCII", b"ASCII"];

/// XML that does not have the form of its document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Checks that XML has the elements of the schema alone, with numbers where they belong, and no text beside elements.
/// Returns it in the form that s3s reads: CDATA sections become text, and so do references to characters that s3s
/// refuses: those beyond the Basic Multilingual Plane, and control characters in keys. It keeps its length, which s3s compares with the header: blanks
/// follow it, and one that would be longer (of a section with four `&` or five `<`) is malformed. Empty and blank texts
/// are not looked at.
pub fn as_read(xml: Bytes, schema: &Schema) -> Result<Bytes, Malformed> {
    if xml.trim_ascii().is_empty() {
        return Ok(xml);
    }
    let mut reader = Reader::from_reader(&xml[..]);
    let (mut check, mut rewritten) = (Check { schema, open: Vec::new(), is_over: false }, Rewritten::default());
    loop {
        let begin = position(&reader);
        let event = reader.read_event().map_err(|_| Malformed)?;
        let at = begin..position(&reader);
        match event {
            Event::Start(start) => check.open(start.name().as_ref())?,
            Event::End(_) => check.close()?,
            Event::Empty(start) => {
                check.open(start.name().as_ref())?;
                check.close()?;
            }
            Event::Text(text) => check.text(&text)?,
            Event::CData(section) => {
                check.text(&section)?;
                let text = std::str::from_utf8(&section).map_err(|_| Malformed)?;
                rewritten.replace(&xml, at, &minimal_escape(text));
            }
            Event::GeneralRef(reference) => {
                check.text(&xml[at.clone()])?;
                let Some(character) = character(&reference)? else { continue };
                let mut utf8 = [0; 4];
                let utf8 = character.encode_utf8(&mut utf8);
                if !is_of_xml(utf8.as_bytes()) {
                    check.character()?;
                    rewritten.replace(&xml, at, utf8);
                } else if character > '\u{ffff}' {
                    rewritten.replace(&xml, at, utf8);
                }
            }
            Event::Decl(declaration) => {
                let encoding = declaration.encoding().transpose().map_err(|_| Malformed)?;
                let is_read =
                    encoding.is_none_or(|name| ENCODINGS.iter().any(|known| name.eq_ignore_ascii_case(known)));
                if begin > 0 || !is_read {
                    return Err(Malformed);
                }
            }
            Event::DocType(_) => return Err(Malformed),
            Event::Eof => break,
            Event::Comment(_) | Event::PI(_) => {}
        }
    }
    if !check.is_over {
        return Err(Malformed);
    }
    rewritten.finish(xml)
}

/// Returns the character of a numeric reference; `None` of another one.
fn character(reference: &[u8]) -> Result<Option<char>, Malformed> {
    let Some(number) = reference.strip_prefix(b"#") else { return Ok(None) };
    let (digits, radix) = number.strip_prefix(b"x").map_or((number, 10), |digits| (digits, 16));
    let text = std::str::from_utf8(digits).map_err(|_| Malformed)?;
    if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Malformed);
    }
    u32::from_str_radix(text, radix).ok().and_then(char::from_u32).map(Some).ok_or(Malformed)
}

/// Returns whether some UTF-8 has only the characters that XML may have.
fn is_of_xml(text: &[u8]) -> bool {
    let is_control = |byte: &u8| *byte < b' ' && !b"\t\n\r".contains(byte);
    !text.iter().any(is_control) && !text.windows(3).any(|three| matches!(three, [0xef, 0xbf, 0xbe | 0xbf]))
}

fn position(reader: &Reader<&[u8]>) -> usize {
    usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX)
}

/// A copy of a document in which ranges are replaced.
#[derive(Default)]
struct Rewritten {
    bytes: Vec<u8>,
    /// The end of what was copied.
    end: usize,
}

impl Rewritten {
    fn replace(&mut self, xml: &[u8], at: Range<usize>, with: &str) {
        self.bytes.extend_from_slice(&xml[self.end..at.start]);
        self.bytes.extend_from_slice(with.as_bytes());
        self.end = at.end;
    }

    fn finish(mut self, xml: Bytes) -> Result<Bytes, Malformed> {
        if self.end == 0 {
            return Ok(xml);
        }
        self.bytes.extend_from_slice(&xml[self.end..]);
        if self.bytes.len() > xml.len() {
            return Err(Malformed);
        }
        self.bytes.resize(xml.len(), b' ');
        Ok(self.bytes.into())
    }
}

/// The elements that are open, and the text of those that have numbers.
struct Check<'a> {
    schema: &'a Schema,
    open: Vec<(Content, Vec<u8>)>,
    /// True after the end of the root.
    is_over: bool,
}

impl Check<'_> {
    fn open(&mut self, name: &[u8]) -> Result<(), Malformed> {
        let content = match self.open.last() {
            None if self.is_over => None,
            None => self.schema.content(&[self.schema.root()], name),
            Some((Content::Elements(children), _)) => self.schema.content(children, name),
            Some(_) => None,
        };
        self.open.push((content.ok_or(Malformed)?, Vec::new()));
        Ok(())
    }

    /// Refuses a character that XML cannot have, so that no answer could repeat it. In a list of keys it may be there:
    /// keys have any character.
    fn character(&self) -> Result<(), Malformed> {
        (*self.schema == DELETES).then_some(()).ok_or(Malformed)
    }

    fn text(&mut self, text: &[u8]) -> Result<(), Malformed> {
        if !is_of_xml(text) {
            self.character()?;
        }
        match self.open.last_mut() {
            Some((Content::Text, _)) => Ok(()),
            Some((Content::Number, digits)) => {
                digits.extend_from_slice(text);
                Ok(())
            }
            Some((Content::Elements(_), _)) | None => text.trim_ascii().is_empty().then_some(()).ok_or(Malformed),
        }
    }

    fn close(&mut self) -> Result<(), Malformed> {
        let (content, text) = self.open.pop().ok_or(Malformed)?;
        self.is_over = self.open.is_empty();
        (content != Content::Number || is_integer(&text)).then_some(()).ok_or(Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::schemas::{DELETES, OF_DOCUMENTS, Schema};
    use super::{Malformed, as_read};

    fn read(schema: &Schema, xml: &str) -> Result<String, Malformed> {
        let read = as_read(xml.to_owned().into(), schema)?;
        Ok(String::from_utf8(read.to_vec()).expect("it is text"))
    }

    fn lifecycle(rule: &str) -> Result<String, Malformed> {
        let of = OF_DOCUMENTS.iter().find(|(name, _)| *name == "lifecycle").expect("it is there").1;
        let whole =
            |rule: &str| format!("<LifecycleConfiguration xmlns=\"a\"><Rule>{rule}</Rule></LifecycleConfiguration>");
        let read = read(of, &whole(rule))?;
        assert_eq!(read.len(), whole(rule).len());
        let (begin, end) = whole("|").split_once('|').map(|(begin, end)| (begin.len(), end.len())).expect("a mark");
        Ok(read.trim_end()[begin..read.trim_end().len() - end].to_owned())
    }

    #[test]
    fn cdata_sections_become_text() {
        for (section, text) in [
            ("<![CDATA[a<b>&c]]>", "a&lt;b>&amp;c"),
            ("logs/<![CDATA[tmp/]]>", "logs/tmp/"),
            ("<![CDATA[a]]>b<![CDATA[]]>c<![CDATA[d]]>", "abcd"),
        ] {
            let read = lifecycle(&format!("<Filter><Prefix>{section}</Prefix></Filter><!-- - -->"));
            assert_eq!(read.as_deref(), Ok(&format!("<Filter><Prefix>{text}</Prefix></Filter><!-- - -->")[..]));
        }
        for (section, fits) in [("&&&", true), ("<<<<", true), ("&&&&", false), ("<<<<<", false)] {
            let read = lifecycle(&format!("<Filter><Prefix><![CDATA[{section}]]></Prefix></Filter>"));
            assert_eq!(read.is_ok(), fits, "{section}");
        }
        assert_eq!(lifecycle("<Filter><![CDATA[a]]></Filter>"), Err(Malformed), "it is text beside elements");
        assert!(lifecycle("<Expiration><Days>1<![CDATA[0]]></Days></Expiration>").is_ok());
    }

    #[test]
    fn references_to_any_character_are_read() {
        let key = |text: &str| format!("<Delete><Object><Key>{text}</Key></Object></Delete>");
        let read_text = read(&DELETES, &key("a&#128512;b&#x1F600;&amp;")).map(|text| text.trim_end().to_owned());
        assert_eq!(read_text, Ok(key("a😀b😀&amp;")));
        assert_eq!(read(&DELETES, &key("&#65;")), Ok(key("&#65;")), "s3s reads it");
    }

    #[test]
    fn characters_that_xml_cannot_have_are_for_keys_alone() {
        let key = |text: &str| format!("<Delete><Object><Key>{text}</Key></Object></Delete>");
        let prefix = |text: &str| lifecycle(&format!("<Filter><Prefix>{text}</Prefix></Filter>"));
        for text in ["\u{1}", "a\u{ffff}", "\u{fffe}", "&#1;", "&#x1F;", "<![CDATA[\u{1}]]>"] {
            assert_eq!(prefix(text), Err(Malformed), "{text:?}");
            assert!(read(&DELETES, &key(text)).is_ok(), "{text:?}");
        }
        assert_eq!(read(&DELETES, &key("&#x1;")).map(|text| text.trim_end().to_owned()), Ok(key("\u{1}")));
        assert!(prefix("\t\n\r&#13;\u{85}é😀").is_ok());
        for text in ["&#+65;", "&#xG;", "&#;", "&#xD800;", "&#99999999999;"] {
            assert_eq!(prefix(text), Err(Malformed), "{text}");
        }
    }

    #[test]
    fn a_document_is_of_one_part_in_utf_8() {
        for (begin, is_read) in [
            ("<?xml version='1.0'?>", true),
            ("<?xml version=\"1.0\" encoding=\"utf-8\" standalone=\"yes\"?>\n", true),
            ("<?xml version='1.0' encoding='ISO-8859-1'?>", false),
            ("<?xml version='1.0'?><?xml version='1.0'?>", false),
            ("<!DOCTYPE Delete>", false),
            ("<!DOCTYPE Delete [<!ENTITY a 'b'>]>", false),
        ] {
            assert_eq!(read(&DELETES, &format!("{begin}<Delete/>")).is_ok(), is_read, "{begin}");
        }
    }

    #[test]
    fn text_beside_elements_is_refused() {
        for rule in [
            "<Filter>ab</Filter>",
            "<Filter>ab<Prefix>ab</Prefix></Filter>",
            "<Filter><Prefix>ab</Prefix>&#97;</Filter>",
            "x<Filter/>",
            "<Filter/></Rule>y<Rule>",
        ] {
            assert_eq!(lifecycle(rule), Err(Malformed), "{rule}");
        }
        assert!(lifecycle(" \n <Filter> \t </Filter>\r\n").is_ok());
        for xml in ["<Delete/>x", "x<Delete/>", "<Delete/><Delete/>", "<Delete>", "Delete", "<!-- -->"] {
            assert_eq!(read(&DELETES, xml), Err(Malformed), "{xml}");
        }
        for xml in ["", " \n", "<?xml version='1.0'?>\n<Delete>\n</Delete>\n<!-- -->\n"] {
            assert!(read(&DELETES, xml).is_ok(), "{xml}");
        }
    }

    #[test]
    fn elements_that_are_unknown_or_elsewhere_are_refused() {
        for rule in [
            "<Fillter><Prefix>a</Prefix></Fillter>",
            "<Filter><prefix>a</prefix></Filter>",
            "<Filter><a:Prefix xmlns:a='b'>a</a:Prefix></Filter>",
            "<Filter><Days>1</Days></Filter>",
            "<Prefix><a/></Prefix>",
            "<Expiration><Days#>1</Days#></Expiration>",
        ] {
            assert_eq!(lifecycle(rule), Err(Malformed), "{rule}");
        }
        assert_eq!(read(&DELETES, "<Tagging/>"), Err(Malformed));
    }

    #[test]
    fn numbers_have_digits_alone() {
        let days = |text: &str| lifecycle(&format!("<Expiration><Days>{text}</Days></Expiration>"));
        for number in ["1", "1000", "-1", "0"] {
            assert!(days(number).is_ok(), "{number}");
        }
        for text in ["1,000", "1.000", "1 000", "1_000", "1e3", "0x10", "", "-", "--1", "+1", "1<!-- -->.0", "1&#44;0"]
        {
            assert_eq!(days(text), Err(Malformed), "{text}");
        }
    }
}
