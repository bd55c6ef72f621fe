//! The parameters of a call: the pairs of its form and of its query. AWS's query protocol writes lists as
//! `Tags.member.1.Key`.

mod shapes;

use crate::api::identity::IdentityError;
use crate::api::identity::records::Tags;
use crate::api::text::percent::decode_query;
use std::collections::BTreeMap;

/// The most parameters of a call, far more than any call needs: lists have at most a hundred entries of two parts.
const PARAMETERS_MAX: usize = 1024;
/// The maximum and the default of `MaxItems`.
const PAGE_ITEMS_MAX: usize = 1000;
const PAGE_ITEMS_DEFAULT: usize = 100;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    pairs: BTreeMap<String, String>,
}

/// The `Marker` and `MaxItems` of a list call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paging<'a> {
    pub after: Option<&'a str>,
    pub limit: usize,
}

impl Parameters {
    /// Returns the parameters from decoded pairs.
    pub fn of(pairs: BTreeMap<String, String>) -> Self {
        Self { pairs }
    }

    /// Parses a query and a body as `application/x-www-form-urlencoded`; `None` if one is malformed or a name is
    /// repeated.
    pub fn parse(query: &str, body: &[u8]) -> Option<Self> {
        let body = std::str::from_utf8(body).ok()?;
        let mut pairs = BTreeMap::new();
        for pair in query.split('&').chain(body.split('&')).filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if pairs.insert(decode_query(name)?, decode_query(value)?).is_some() || pairs.len() > PARAMETERS_MAX {
                return None;
            }
        }
        Some(Self { pairs })
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Returns a value. An empty value counts as absent, as clients write empty lists that way.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.pairs.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Returns a value that may be empty, such as a description.
    pub fn given(&self, name: &str) -> Option<&str> {
        self.pairs.get(name).map(String::as_str)
    }

    pub fn required(&self, name: &str) -> Result<&str, IdentityError> {
        self.text(name).ok_or_else(|| IdentityError::missing(&member_name(name)))
    }

    pub fn number(&self, name: &str) -> Result<Option<u64>, IdentityError> {
        let parse = |text: &str| {
            text.parse().map_err(|_| match (member_name(name), text.parse::<i64>()) {
                (name, Ok(_)) => IdentityError::Validation(format!(
                    "1 validation error detected: Value '{text}' at '{name}' failed to satisfy constraint: Member must \
                     have value greater than or equal to 1"
                )),
                (name, Err(_)) => IdentityError::MalformedInput(format!("The value of {name} is not a number.")),
            })
        };
        self.text(name).map(parse).transpose()
    }

    pub fn flag(&self, name: &str) -> bool {
        self.text(name).is_some_and(|text| text.eq_ignore_ascii_case("true"))
    }

    /// Returns the list `name.member.1`, `name.member.2` and so on.
    pub fn list(&self, name: &str) -> Vec<String> {
        self.members(name).map(|prefix| self.pairs.get(&prefix).cloned().unwrap_or_default()).collect()
    }

    pub fn tags(&self, name: &str) -> Tags {
        let part = |prefix: &str, part: &str| self.pairs.get(&format!("{prefix}.{part}")).cloned().unwrap_or_default();
        self.members(name).map(|prefix| (part(&prefix, "Key"), part(&prefix, "Value"))).collect()
    }

    /// Returns one member of each entry of a list of structures.
    pub fn parts(&self, name: &str, part: &str) -> Vec<String> {
        let value = |prefix: String| self.pairs.get(&format!("{prefix}.{part}")).cloned().unwrap_or_default();
        self.members(name).map(value).collect()
    }

    /// Returns the prefixes of the entries of a list, in order.
    fn members(&self, name: &str) -> impl Iterator<Item = String> {
        let is_there = |prefix: &String| {
            let parts = format!("{prefix}.");
            let mut from = self.pairs.range(prefix.clone()..);
            from.next().is_some_and(|(key, _)| key == prefix) || {
                let mut from = self.pairs.range(parts.clone()..);
                from.next().is_some_and(|(key, _)| key.starts_with(&parts))
            }
        };
        (1..=PARAMETERS_MAX).map(move |at| format!("{name}.member.{at}")).take_while(is_there)
    }

    /// Checks the syntax of the values that is the same for all calls.
    pub fn check_shapes(&self) -> Result<(), IdentityError> {
        shapes::check(self)
    }

    pub fn paging(&self) -> Result<Paging<'_>, IdentityError> {
        let limit = match self.number("MaxItems")? {
            None => PAGE_ITEMS_DEFAULT,
            Some(limit) => {
                usize::try_from(limit).ok().filter(|limit| (1..=PAGE_ITEMS_MAX).contains(limit)).ok_or_else(|| {
                    IdentityError::Validation(format!(
                        "1 validation error detected: Value '{limit}' at 'maxItems' failed to satisfy constraint: \
                         Member must have value between 1 and {PAGE_ITEMS_MAX}"
                    ))
                })?
            }
        };
        Ok(Paging { after: self.text("Marker"), limit })
    }
}

/// Returns the name of a parameter as AWS's messages spell it, with a lower-case first letter.
fn member_name(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(chars).collect()
}

#[cfg(test)]
mod tests {
    use super::{Paging, Parameters};
    use crate::api::identity::IdentityError;

    fn parse(body: &str) -> Parameters {
        Parameters::parse("", body.as_bytes()).expect("a form")
    }

    #[test]
    fn a_form_is_parsed_with_its_escapes() {
        let form = parse("Action=CreateUser&UserName=a%2Bb+c&Empty=&Flag=true");
        assert_eq!(form.text("UserName"), Some("a+b c"));
        assert_eq!((form.text("Empty"), form.given("Empty")), (None, Some("")));
        assert!(form.flag("Flag") && !form.flag("Other"));
        assert!(form.required("Other").is_err());
        for wrong in [&b"a=%zz"[..], b"a=1&a=2", b"a=%ff", b"\xff"] {
            assert_eq!(Parameters::parse("", wrong), None);
        }
        assert_eq!(
            Parameters::parse("Action=X", b"b=1").and_then(|form| form.text("Action").map(str::to_owned)),
            Some("X".to_owned())
        );
    }

    #[test]
    fn parameter_lists_are_parsed_in_order() {
        let many: Vec<String> = (1..=11).map(|at| format!("L.member.{at}=v{at}")).collect();
        assert_eq!(parse(&many.join("&")).list("L").last().map(String::as_str), Some("v11"));
        assert_eq!(parse("L=").list("L"), Vec::<String>::new());
        let tags =
            parse("Tags.member.1.Key=k&Tags.member.1.Value=v&Tags.member.2.Key=x&Tags.member.2.Value=").tags("Tags");
        assert_eq!(tags, [("k".to_owned(), "v".to_owned()), ("x".to_owned(), String::new())]);
        assert_eq!(parse("PolicyArns.member.1.arn=a").parts("PolicyArns", "arn"), ["a"]);
    }

    #[test]
    fn a_page_has_100_items_unless_max_items_is_given() {
        assert_eq!(parse("").paging(), Ok(Paging { after: None, limit: 100 }));
        assert_eq!(parse("Marker=m&MaxItems=7").paging(), Ok(Paging { after: Some("m"), limit: 7 }));
        for wrong in ["0", "1001", "-1"] {
            let refused = parse(&format!("MaxItems={wrong}"));
            assert!(matches!(refused.paging(), Err(IdentityError::Validation(_))), "{wrong}");
        }
        assert!(matches!(parse("MaxItems=x").paging(), Err(IdentityError::MalformedInput(_))));
    }
}
