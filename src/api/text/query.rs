//! The parameters of a request's query, decoded once for all layers before s3s.

use std::collections::HashSet;

/// The parameters of a presigned URL that belong to its signature.
pub const OF_SIGNATURES: [&str; 9] = [
    "AWSAccessKeyId",
    "Expires",
    "Signature",
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-Signature",
    "X-Amz-SignedHeaders",
];

/// The error for a query that does not decode to UTF-8, or escapes the name of a signature parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the query string is malformed")]
pub struct MalformedQuery;

/// The names and values of a query, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Parses a query. Refuses values that do not decode to UTF-8, and escaped names of signature parameters, on which
    /// layers would disagree.
    pub fn read(query: Option<&str>) -> Result<Self, MalformedQuery> {
        let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decoded = decode(name)?;
            if decoded != name && OF_SIGNATURES.contains(&decoded.as_str()) {
                return Err(MalformedQuery);
            }
            Ok((decoded, decode(value)?))
        });
        Ok(Self { pairs: pairs.collect::<Result<_, MalformedQuery>>()? })
    }

    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Returns the first value of a parameter; empty if it has none.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// Returns the value of a parameter that occurs once; `None` if it is repeated.
    pub fn only(&self, name: &str) -> Option<&str> {
        let mut found = self.pairs.iter().filter(|(found, _)| found == name);
        match (found.next(), found.next()) {
            (Some((_, value)), None) => Some(value),
            _ => None,
        }
    }

    /// Returns whether any parameter is repeated.
    pub fn has_repeated(&self) -> bool {
        let mut seen = HashSet::new();
        !self.names().all(|name| seen.insert(name))
    }

    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.pairs().map(|(name, _)| name)
    }
}

/// Decodes a text. A plus sign is a space; a percent sign without two hexadecimal digits stands for itself.
fn decode(text: &str) -> Result<String, MalformedQuery> {
    if !text.contains(['%', '+']) {
        return Ok(text.to_owned());
    }
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let digit = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                at += 3;
                continue;
            }
            (b'+', ..) => decoded.push(b' '),
            (byte, ..) => decoded.push(byte),
        }
        at += 1;
    }
    String::from_utf8(decoded).map_err(|_| MalformedQuery)
}

#[cfg(test)]
mod tests {
    use super::{MalformedQuery, Query};

    #[test]
    fn parameters_are_decoded_and_may_be_empty() {
        let query = Query::read(Some("uploads&prefix=a+b%2Fc&empty=&&twice=1&twice=2&odd=%zz")).expect("a query");
        assert_eq!((query.get("uploads"), query.get("empty"), query.get("absent")), (Some(""), Some(""), None));
        assert_eq!((query.get("prefix"), query.get("odd")), (Some("a b/c"), Some("%zz")));
        assert_eq!((query.get("twice"), query.only("twice"), query.only("prefix")), (Some("1"), None, Some("a b/c")));
        assert_eq!(query.names().count(), 6);
        assert_eq!(Query::read(None), Ok(Query::default()));
    }

    #[test]
    fn a_repeated_parameter_is_found_among_very_many() {
        let many: Vec<String> = (0..20_000).map(|number| format!("{number:x}=1")).collect();
        let read = |text: &str| Query::read(Some(text)).expect("a query");
        assert!(!read(&many.join("&")).has_repeated() && !Query::default().has_repeated());
        assert!(read(&format!("{}&0", many.join("&"))).has_repeated() && read("a&%61=1").has_repeated());
    }

    #[test]
    fn a_query_that_is_not_utf_8_is_refused() {
        assert_eq!(Query::read(Some("prefix=%FF")), Err(MalformedQuery));
    }

    #[test]
    fn escaped_names_of_signature_parameters_are_refused() {
        for name in ["X%2DAmz-Signature", "%53ignature", "X-Amz%2dCredential"] {
            assert_eq!(Query::read(Some(&format!("{name}=1"))), Err(MalformedQuery), "{name}");
        }
        assert!(Query::read(Some("%61cl&x=X%2DAmz-Signature")).expect("a query").has("acl"));
    }
}
