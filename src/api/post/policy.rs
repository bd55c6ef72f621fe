//! The policy of a form: a JSON document in base64 with an expiration and with conditions on the form's fields and its
//! file. The parser is strict: a policy with anything unknown is refused, as ignoring a condition could allow more than
//! the signer meant.

use crate::api::errors::FormFault;
use crate::api::policy::is_unambiguous;
use serde_json::{Map, Value};
use std::fmt;
use time::{Date, Month, OffsetDateTime, Time};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub expires: OffsetDateTime,
    pub conditions: Vec<Condition>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    Equals(Match),
    StartsWith(Match),
    /// The allowed range of the file's size, inclusive.
    Size {
        min: u64,
        max: u64,
    },
    /// A well-formed condition that never holds; the text is as in the policy.
    Never(String),
}

/// The field and the value that a condition compares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// The field's name as the policy writes it, without the `$`.
    pub field: String,
    pub value: String,
}

/// Writes a condition as S3 does: in the long form, with the policy's spelling of names.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |text: &str| Value::from(text).to_string();
        let of = |operation: &str, Match { field, value }: &Match| {
            format!("[\"{operation}\", {}, {}]", quoted(&format!("${field}")), quoted(value))
        };
        match self {
            Self::Equals(on) => f.write_str(&of(EQUALS, on)),
            Self::StartsWith(on) => f.write_str(&of(STARTS_WITH, on)),
            Self::Size { min, max } => write!(f, "[\"{SIZE}\", {min}, {max}]"),
            Self::Never(text) => f.write_str(text),
        }
    }
}

const EQUALS: &str = "eq";
const STARTS_WITH: &str = "starts-with";
const SIZE: &str = "content-length-range";

impl Policy {
    /// Reads a policy from the form's field.
    pub fn read(base64: &str) -> Result<Self, FormFault> {
        let invalid = || FormFault::policy("Invalid JSON.");
        let bytes = base64_simd::STANDARD
            .decode_to_vec(base64.trim())
            .map_err(|_| FormFault::policy("invalid Base64 encoding."))?;
        let text = String::from_utf8(bytes).map_err(|_| invalid())?;
        if text.trim().is_empty() {
            return Err(FormFault::policy("Expecting '{' but found End-of-Input"));
        }
        let text = standard_escapes(&text);
        let document: Value = serde_json::from_str(&text).map_err(|_| invalid())?;
        if !is_unambiguous(&text) {
            return Err(FormFault::policy("A name is repeated."));
        }
        let Value::Object(members) = document else { return Err(invalid()) };
        Self::from_members(&members)
    }

    fn from_members(members: &Map<String, Value>) -> Result<Self, FormFault> {
        if let Some(name) = members.keys().find(|name| !matches!(name.as_str(), "expiration" | "conditions")) {
            return Err(FormFault::policy(&format!("Unexpected: '{}'", name.to_lowercase())));
        }
        let expires = match members.get("expiration") {
            None => return Err(FormFault::policy("Policy missing expiration.")),
            Some(Value::String(text)) => {
                expiration(text).ok_or_else(|| FormFault::policy(&format!("Invalid 'expiration' value: '{text}'")))?
            }
            Some(_) => return Err(FormFault::policy("Invalid JSON.")),
        };
        let conditions = match members.get("conditions") {
            None => return Err(FormFault::policy("Policy missing conditions.")),
            Some(Value::Array(conditions)) => conditions.iter().map(condition).collect::<Result<_, _>>()?,
            Some(_) => return Err(FormFault::policy("Invalid 'conditions' value: must be a List.")),
        };
        Ok(Self { expires, conditions })
    }
}

/// Replaces the two escapes that AWS documents and JSON does not have: `\$` and `\v`.
fn standard_escapes(text: &str) -> String {
    let mut standard = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            standard.push(character);
            continue;
        }
        match characters.next() {
            Some('$') => standard.push('$'),
            Some('v') => standard.push_str("\\u000b"),
            Some(escaped) => standard.extend(['\\', escaped]),
            None => standard.push('\\'),
        }
    }
    standard
}

/// Parses a time in UTC: `2030-01-01T12:00:00Z`, optionally with a fraction of the second, which is ignored.
fn expiration(text: &str) -> Option<OffsetDateTime> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let digits = |text: &str, count: usize| {
        let well_formed = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|_| well_formed)
    };
    let small = |text: &str| u8::try_from(digits(text, 2)?).ok();
    if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let [year, month, day] = date.split('-').collect::<Vec<_>>().try_into().ok()?;
    let [hour, minute, second] = time.split(':').collect::<Vec<_>>().try_into().ok()?;
    let month = Month::try_from(small(month)?).ok()?;
    let date = Date::from_calendar_date(i32::from(digits(year, 4)?), month, small(day)?).ok()?;
    let time = Time::from_hms(small(hour)?, small(minute)?, small(second)?).ok()?;
    Some(OffsetDateTime::new_utc(date, time))
}

fn condition(value: &Value) -> Result<Condition, FormFault> {
    match value {
        Value::Object(members) => simple(members),
        Value::Array(items) => listed(value, items),
        _ => Err(FormFault::policy("Invalid condition: must be a List or Object.")),
    }
}

/// Parses a condition `{"field": "value"}`.
fn simple(members: &Map<String, Value>) -> Result<Condition, FormFault> {
    let mut members = members.iter();
    let (Some((field, value)), None) = (members.next(), members.next()) else {
        return Err(FormFault::policy(
            "Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.",
        ));
    };
    match value {
        Value::String(value) => Ok(Condition::Equals(Match { field: field.clone(), value: value.clone() })),
        Value::Null => Err(FormFault::policy("Invalid JSON.")),
        _ => Err(FormFault::policy("Invalid Simple-Condition: value must be a string.")),
    }
}

/// Parses a condition `["eq", "$field", "value"]`, `["starts-with", …]` or `["content-length-range", min, max]`.
fn listed(whole: &Value, items: &[Value]) -> Result<Condition, FormFault> {
    let Some(operation) = items.first() else {
        return Err(FormFault::policy("Invalid Condition: missing operation identifier."));
    };
    let operation = operation.as_str().ok_or_else(|| FormFault::policy("Invalid JSON."))?;
    let known = operation.to_ascii_lowercase();
    if ![EQUALS, STARTS_WITH, SIZE].contains(&known.as_str()) {
        return Err(FormFault::policy(&format!("Invalid Condition: unknown operation '{operation}'.")));
    }
    let [_, first, second] = items else {
        return Err(FormFault::policy(&format!("Invalid {known}: wrong number of arguments.")));
    };
    if known == SIZE {
        return Ok(match (size(first)?, size(second)?) {
            (Some(min), Some(max)) => Condition::Size { min, max },
            _ => Condition::Never(spaced(whole)),
        });
    }
    let (Value::String(field), Value::String(value)) = (first, second) else {
        return Err(FormFault::policy("Invalid JSON."));
    };
    let Some(field) = field.strip_prefix('$') else { return Ok(Condition::Never(spaced(whole))) };
    let on = Match { field: field.to_owned(), value: value.clone() };
    Ok(if known == EQUALS { Condition::Equals(on) } else { Condition::StartsWith(on) })
}

/// Parses a whole number, in quotes or not; returns `None` for a text that is not a number.
fn size(value: &Value) -> Result<Option<u64>, FormFault> {
    match value {
        Value::String(text) => Ok(text.parse().ok()),
        other => other.as_u64().map(Some).ok_or_else(|| FormFault::policy("Invalid JSON.")),
    }
}

/// Writes a list as S3 does, with a space after each comma.
fn spaced(list: &Value) -> String {
    let items = list.as_array().into_iter().flatten().map(Value::to_string);
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::{Condition, Match, Policy};
    use crate::api::errors::FormFault;

    fn read(document: &str) -> Result<Policy, FormFault> {
        Policy::read(&base64_simd::STANDARD.encode_to_string(document))
    }

    fn conditions(list: &str) -> Result<Vec<Condition>, FormFault> {
        read(&format!("{{\"expiration\": \"2030-01-01T00:00:00Z\", \"conditions\": {list}}}"))
            .map(|read| read.conditions)
    }

    fn on(field: &str, value: &str) -> Match {
        Match { field: field.to_owned(), value: value.to_owned() }
    }

    fn words(document: &str) -> String {
        match read(document) {
            Err(FormFault::Policy(words)) => words,
            other => panic!("{document} gave {other:?}"),
        }
    }

    #[test]
    fn conditions_are_parsed_in_both_forms_with_operations_in_any_case() {
        let list = r#"[{"acl": "public-read"}, ["eq", "$Key", "k"], ["StArTs-WiTh", "$key", ""],
                       ["content-length-range", 1, 10], ["content-length-range", "5", "7"]]"#;
        let expected = vec![
            Condition::Equals(on("acl", "public-read")),
            Condition::Equals(on("Key", "k")),
            Condition::StartsWith(on("key", "")),
            Condition::Size { min: 1, max: 10 },
            Condition::Size { min: 5, max: 7 },
        ];
        assert_eq!(conditions(list), Ok(expected));
        assert_eq!(conditions("[]"), Ok(Vec::new()));
    }

    #[test]
    fn conditions_are_displayed_in_the_long_form_with_the_policys_spelling() {
        let written = |list: &str| conditions(list).expect("conditions")[0].to_string();
        assert_eq!(written(r#"[{"Acl": "a\"b"}]"#), r#"["eq", "$Acl", "a\"b"]"#);
        assert_eq!(
            written(r#"[["starts-with","$Content-Type","image/"]]"#),
            r#"["starts-with", "$Content-Type", "image/"]"#
        );
        assert_eq!(written(r#"[["eq", "key", "k"]]"#), r#"["eq", "key", "k"]"#);
        assert_eq!(written(r#"[["content-length-range", "test", "10"]]"#), r#"["content-length-range", "test", "10"]"#);
    }

    #[test]
    fn the_two_escapes_that_aws_adds_to_json_are_parsed() {
        assert_eq!(conditions(r#"[{"key": "\$a\\$b\v"}]"#), Ok(vec![Condition::Equals(on("key", "$a\\$b\u{b}"))]));
    }

    #[test]
    fn a_malformed_form_policy_is_refused_with_the_message_of_s3() {
        let with = |list: &str| words(&format!("{{\"expiration\": \"2030-01-01T00:00:00Z\", \"conditions\": {list}}}"));
        for (list, expected) in [
            ("{}", "Invalid 'conditions' value: must be a List."),
            ("[{}]", "Invalid Simple-Condition: Simple-Conditions must have exactly one property specified."),
            (
                r#"[{"a": "1", "b": "2"}]"#,
                "Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.",
            ),
            (r#"[{"Content-Length": 5}]"#, "Invalid Simple-Condition: value must be a string."),
            (r#"[{"a": null}]"#, "Invalid JSON."),
            ("[[]]", "Invalid Condition: missing operation identifier."),
            (r#"[["like", "$key", "a"]]"#, "Invalid Condition: unknown operation 'like'."),
            (r#"[["eq", "$key"]]"#, "Invalid eq: wrong number of arguments."),
            (r#"[["content-length-range", 0]]"#, "Invalid content-length-range: wrong number of arguments."),
            (r#"[["content-length-range", -1, 0]]"#, "Invalid JSON."),
            (r#"[["content-length-range", 0, 512.0]]"#, "Invalid JSON."),
            (r#"[["eq", "$key", 7]]"#, "Invalid JSON."),
            (r#"["eq"]"#, "Invalid condition: must be a List or Object."),
        ] {
            assert_eq!(with(list), format!("Invalid Policy: {expected}"), "{list}");
        }
        for (document, expected) in [
            ("", "Expecting '{' but found End-of-Input"),
            ("[]", "Invalid JSON."),
            ("{\"expiration\": \"2030-01-01T00:00:00Z\", \"conditions\": [],}", "Invalid JSON."),
            ("{\"conditions\": []}", "Policy missing expiration."),
            ("{\"expiration\": \"2030-01-01T00:00:00Z\"}", "Policy missing conditions."),
            ("{\"EXPIRATION\": \"2030-01-01T00:00:00Z\", \"conditions\": []}", "Unexpected: 'expiration'"),
            ("{\"Version\": \"2012-10-17\"}", "Unexpected: 'version'"),
        ] {
            assert_eq!(words(document), format!("Invalid Policy: {expected}"), "{document}");
        }
        for repeated in [
            r#"{"expiration":"2000-01-01T00:00:00Z","expiration":"2099-01-01T00:00:00Z","conditions":[]}"#,
            r#"{"expiration":"2099-01-01T00:00:00Z","conditions":[{"key":"a","key":"b"}]}"#,
        ] {
            assert_eq!(read(repeated), Err(FormFault::policy("A name is repeated.")), "{repeated}");
        }
        assert_eq!(Policy::read("!"), Err(FormFault::policy("invalid Base64 encoding.")));
    }

    #[test]
    fn an_expiration_that_is_not_in_utc_is_refused() {
        let expires =
            |text: &str| read(&format!("{{\"expiration\": \"{text}\", \"conditions\": []}}")).map(|read| read.expires);
        assert_eq!(expires("2013-08-01T12:00:00.000Z").map(|at| at.unix_timestamp()), Ok(1_375_358_400));
        assert_eq!(expires("2013-08-01T12:00:00Z").map(|at| at.unix_timestamp()), Ok(1_375_358_400));
        for text in [
            "2011-09-13T07:52:58+02:00",
            "2015-10-17 03:15:59 UTC",
            "2026-09-29 12:00:00.123456+00:00",
            "2013-13-01T12:00:00Z",
            "2013-08-01T12:00:00.Z",
            "2013-08-01T12:00Z",
            "2013-08-01",
            "",
        ] {
            let refused = FormFault::policy(&format!("Invalid 'expiration' value: '{text}'"));
            assert_eq!(expires(text), Err(refused), "{text}");
        }
    }

    #[test]
    fn the_form_policy_of_awss_documentation_is_parsed() {
        let document = "{ \"expiration\": \"2015-12-30T12:00:00.000Z\",\r\n  \"conditions\": [\r\n    \
            {\"bucket\": \"sigv4examplebucket\"},\r\n    [\"starts-with\", \"$key\", \"user/user1/\"],\r\n    \
            [\"starts-with\", \"$x-amz-meta-tag\", \"\"]\r\n  ]\r\n}";
        assert_eq!(read(document).expect("a policy").conditions.len(), 3);
    }
}
