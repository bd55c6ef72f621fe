//! Answers in XML, as the query protocol has them: elements in order, no attributes but the name space.

use crate::types::UnixMs;
use std::fmt::Write;
use time::OffsetDateTime;

/// What is within an answer's result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Xml {
    text: String,
}

impl Xml {
    pub fn text(&mut self, name: &str, value: &str) {
        self.open(name);
        escape_into(&mut self.text, value);
        self.close(name);
    }

    pub fn optional(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    pub fn flag(&mut self, name: &str, value: bool) {
        self.text(name, if value { "true" } else { "false" });
    }

    pub fn number(&mut self, name: &str, value: u64) {
        self.text(name, &value.to_string());
    }

    pub fn date(&mut self, name: &str, at: UnixMs) {
        self.text(name, &timestamp(at));
    }

    /// Elements within an element.
    pub fn within(&mut self, name: &str, content: impl FnOnce(&mut Self)) {
        self.open(name);
        content(self);
        self.close(name);
    }

    /// A list, each entry in a `member`.
    pub fn list<T>(&mut self, name: &str, items: impl IntoIterator<Item = T>, mut entry: impl FnMut(&mut Self, T)) {
        self.within(name, |xml| {
            for item in items {
                xml.within("member", |xml| entry(xml, item));
            }
        });
    }

    pub fn texts<'a>(&mut self, name: &str, items: impl IntoIterator<Item = &'a str>) {
        self.within(name, |xml| items.into_iter().for_each(|item| xml.text("member", item)));
    }

    pub fn into_text(self) -> String {
        self.text
    }

    fn open(&mut self, name: &str) {
        // Writing to a string does not fail.
        let _ = write!(self.text, "<{name}>");
    }

    fn close(&mut self, name: &str) {
        let _ = write!(self.text, "</{name}>");
    }
}

/// What stands for a character, or for one that XML cannot hold.
fn escape_into(into: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => into.push_str("&amp;"),
            '<' => into.push_str("&lt;"),
            '>' => into.push_str("&gt;"),
            '"' => into.push_str("&quot;"),
            '\r' => into.push_str("&#xD;"),
            '\n' | '\t' => into.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => into.push('\u{fffd}'),
            c => into.push(c),
        }
    }
}

pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    escape_into(&mut escaped, text);
    escaped
}

/// `2024-05-06T07:08:09Z`
pub fn timestamp(at: UnixMs) -> String {
    let seconds = i64::try_from(at.0 / 1000).unwrap_or(0);
    let at = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (year, month, day) = at.to_calendar_date();
    let (hour, minute, second) = at.to_hms();
    format!("{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z", u8::from(month))
}

/// As policies' texts stand in answers: every byte escaped but RFC 3986's unreserved characters.
pub fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::{Xml, percent_encoded, timestamp};
    use crate::types::UnixMs;

    #[test]
    fn elements_are_nested_and_their_text_is_escaped() {
        let mut xml = Xml::default();
        xml.within("User", |xml| {
            xml.text("Name", "a<b>&\"\u{1}");
            xml.optional("Absent", None);
            xml.flag("Flag", true);
        });
        xml.texts("Names", ["x", "y"]);
        let expected = "<User><Name>a&lt;b&gt;&amp;&quot;\u{fffd}</Name><Flag>true</Flag></User>\
                        <Names><member>x</member><member>y</member></Names>";
        assert_eq!(xml.into_text(), expected);
    }

    #[test]
    fn moments_and_policies_are_written_as_clients_read_them() {
        assert_eq!(timestamp(UnixMs(1_714_979_289_999)), "2024-05-06T07:08:09Z");
        assert_eq!(percent_encoded(r#"{"a": 1}"#), "%7B%22a%22%3A%201%7D");
    }
}
