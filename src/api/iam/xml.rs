//! Results of IAM and STS calls as a tree of elements without attributes, which is written as XML for the query
//! protocol, or as JSON of the same names for the admin API.

use crate::api::text::xml::escape_into;
use crate::types::UnixMs;
use serde_json::{Map, Value};
use std::fmt::Write;
use time::OffsetDateTime;

/// The content of an answer's result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Xml {
    elements: Vec<(String, Content)>,
}

/// The content of an element.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Content {
    Text(String),
    Flag(bool),
    Number(u64),
    /// The text of a policy: percent-encoded in XML, parsed in JSON.
    Document(String),
    Within(Xml),
    /// A list; in XML each entry is a `member` element.
    List(Vec<Content>),
}

impl Xml {
    pub fn text(&mut self, name: &str, value: &str) {
        self.push(name, Content::Text(value.to_owned()));
    }

    pub fn optional(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    pub fn flag(&mut self, name: &str, value: bool) {
        self.push(name, Content::Flag(value));
    }

    pub fn number(&mut self, name: &str, value: u64) {
        self.push(name, Content::Number(value));
    }

    pub fn date(&mut self, name: &str, at: UnixMs) {
        self.push(name, Content::Text(timestamp(at)));
    }

    /// Adds an element with the text of a policy.
    pub fn document(&mut self, name: &str, text: &str) {
        self.push(name, Content::Document(text.to_owned()));
    }

    /// Adds an element that contains elements.
    pub fn within(&mut self, name: &str, content: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        content(&mut inner);
        self.push(name, Content::Within(inner));
    }

    /// Adds a list whose entries contain elements.
    pub fn list<T>(&mut self, name: &str, items: impl IntoIterator<Item = T>, mut entry: impl FnMut(&mut Self, T)) {
        let members = items.into_iter().map(|item| {
            let mut member = Self::default();
            entry(&mut member, item);
            Content::Within(member)
        });
        let members = members.collect();
        self.push(name, Content::List(members));
    }

    pub fn texts<'a>(&mut self, name: &str, items: impl IntoIterator<Item = &'a str>) {
        let members = items.into_iter().map(|item| Content::Text(item.to_owned())).collect();
        self.push(name, Content::List(members));
    }

    /// Returns the text of the first element of this name at any depth, except in lists.
    pub fn first(&self, name: &str) -> Option<&str> {
        self.elements.iter().find_map(|(own, content)| match content {
            Content::Text(text) if own == name => Some(text.as_str()),
            Content::Within(inner) => inner.first(name),
            _ => None,
        })
    }

    pub fn into_text(self) -> String {
        let mut text = String::new();
        self.write(&mut text);
        text
    }

    /// Converts the elements to JSON. A repeated name outside of a list becomes an array.
    pub fn into_json(self) -> Value {
        let mut object = Map::new();
        for (name, content) in self.elements {
            let value = content.into_json();
            match object.remove(&name) {
                None => object.insert(name, value),
                Some(Value::Array(mut values)) => {
                    values.push(value);
                    object.insert(name, Value::Array(values))
                }
                Some(first) => object.insert(name, Value::Array(vec![first, value])),
            };
        }
        Value::Object(object)
    }

    fn push(&mut self, name: &str, content: Content) {
        self.elements.push((name.to_owned(), content));
    }

    fn write(&self, into: &mut String) {
        for (name, content) in &self.elements {
            content.write(name, into);
        }
    }
}

impl Content {
    fn write(&self, name: &str, into: &mut String) {
        // Writing to a string does not fail.
        let _ = write!(into, "<{name}>");
        match self {
            Self::Text(text) => escape_into(into, text),
            Self::Flag(flag) => into.push_str(if *flag { "true" } else { "false" }),
            Self::Number(number) => into.push_str(&number.to_string()),
            Self::Document(text) => into.push_str(&percent_encoded(text)),
            Self::Within(inner) => inner.write(into),
            Self::List(members) => members.iter().for_each(|member| member.write("member", into)),
        }
        let _ = write!(into, "</{name}>");
    }

    fn into_json(self) -> Value {
        match self {
            Self::Text(text) => Value::String(text),
            Self::Flag(flag) => Value::Bool(flag),
            Self::Number(number) => Value::from(number),
            Self::Document(text) => serde_json::from_str(&text).unwrap_or(Value::String(text)),
            Self::Within(inner) => inner.into_json(),
            Self::List(members) => members.into_iter().map(Self::into_json).collect(),
        }
    }
}

/// Formats a time such as `2024-05-06T07:08:09Z`.
pub fn timestamp(at: UnixMs) -> String {
    let seconds = i64::try_from(at.0 / 1000).unwrap_or(0);
    let at = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (year, month, day) = at.to_calendar_date();
    let (hour, minute, second) = at.to_hms();
    format!("{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z", u8::from(month))
}

/// Percent-encodes a text as AWS encodes policies in answers: every byte but the unreserved characters of RFC 3986.
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
    use serde_json::json;

    #[test]
    fn xml_elements_are_nested_and_their_text_is_escaped() {
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
    fn the_elements_of_a_result_convert_to_json() {
        let mut xml = Xml::default();
        xml.flag("IsTruncated", false);
        xml.number("Count", 7);
        xml.list("Users", ["a", "b"], |xml, name| xml.text("UserName", name));
        xml.texts("None", []);
        xml.within("Version", |xml| {
            xml.document("Document", r#"{"Statement": []}"#);
            xml.document("Broken", "{");
        });
        xml.within("entry", |xml| xml.text("key", "x"));
        xml.within("entry", |xml| xml.text("key", "y"));
        let expected = json!({
            "IsTruncated": false, "Count": 7, "Users": [{"UserName": "a"}, {"UserName": "b"}], "None": [],
            "Version": {"Document": {"Statement": []}, "Broken": "{"}, "entry": [{"key": "x"}, {"key": "y"}],
        });
        assert_eq!(xml.clone().into_json(), expected);
        assert!(xml.into_text().contains("<Document>%7B%22Statement%22%3A%20%5B%5D%7D</Document>"));
    }

    #[test]
    fn timestamps_and_policies_are_encoded_as_on_aws() {
        assert_eq!(timestamp(UnixMs(1_714_979_289_999)), "2024-05-06T07:08:09Z");
        assert_eq!(percent_encoded(r#"{"a": 1}"#), "%7B%22a%22%3A%201%7D");
    }
}
