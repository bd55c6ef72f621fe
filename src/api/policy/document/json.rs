//! A JSON value, as policies are parsed from. An object with a repeated name is refused, because parsers differ in
//! which of the values they use.

use serde::Deserialize;
use serde::Deserializer;
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use std::fmt;

#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    /// The number in canonical decimal text.
    Number(String),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Returns the length in bytes of the value as JSON without whitespace.
    pub fn compact_bytes(&self) -> usize {
        let listed = |lengths: usize, count: usize| 2 + lengths + count.saturating_sub(1);
        match self {
            Self::Null => 4,
            Self::Bool(value) => value.to_string().len(),
            Self::Number(text) => text.len(),
            Self::Text(text) => quoted_bytes(text),
            Self::List(items) => listed(items.iter().map(Self::compact_bytes).sum(), items.len()),
            Self::Object(members) => {
                let member = |(name, value): &(String, Self)| quoted_bytes(name) + 1 + value.compact_bytes();
                listed(members.iter().map(member).sum(), members.len())
            }
        }
    }
}

/// Returns whether some text is JSON without a repeated name, so that it has one meaning.
pub fn is_unambiguous(text: &str) -> bool {
    serde_json::from_str::<Json>(text).is_ok()
}

fn quoted_bytes(text: &str) -> usize {
    let escaped = |c: char| match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        other => other.len_utf8(),
    };
    2 + text.chars().map(escaped).sum::<usize>()
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value.to_string()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value.to_string()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Number(value.to_string()))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Json, E> {
        Ok(Json::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Json::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Json, A::Error> {
        let mut members: Vec<(String, Json)> = Vec::new();
        let mut names = std::collections::HashSet::new();
        while let Some((name, value)) = object.next_entry::<String, Json>()? {
            if !names.insert(name.clone()) {
                return Err(A::Error::custom("a name is there twice"));
            }
            members.push((name, value));
        }
        Ok(Json::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::Json;

    #[test]
    fn the_compact_size_counts_no_whitespace() {
        for text in ["{}", "[]", "null", r#"{"a":[1,true,"b\n\"\\\u0001é"],"b":{}}"#, r#"[-1,"😀",1.5]"#] {
            let spaced = text.replace(',', " ,\n ");
            let json: Json = serde_json::from_str(&spaced).expect("valid JSON");
            assert_eq!(json.compact_bytes(), text.len(), "{text}");
        }
    }

    #[test]
    fn a_json_object_with_a_repeated_name_is_refused() {
        assert!(serde_json::from_str::<Json>(r#"{"a":1,"a":1}"#).is_err());
        assert!(serde_json::from_str::<Json>(r#"{"a":{"b":1},"c":{"b":1}}"#).is_ok());
    }
}
