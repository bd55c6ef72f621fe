//! Headers that would be ignored without a word, or read by half: conditions that an operation does not know, of which
//! the request must not go on as if it had none, and numbers with something behind their digits, which s3s skips.

use super::subresources::subresources_of;
use crate::api::call::{Head, Level};
use crate::api::errors::{ArgumentFault, Fault};
use crate::api::text::is_integer;
use http::Method;

/// The conditions of requests that change something.
const CONDITIONS: [&str; 7] = [
    "If-Match",
    "If-None-Match",
    "If-Modified-Since",
    "If-Unmodified-Since",
    "x-amz-if-match-size",
    "x-amz-if-match-last-modified-time",
    "x-amz-if-match-initiated-time",
];
/// The conditions of a PUT of an object, a copy, an append, and a CompleteMultipartUpload.
const OF_WRITES: &[&str] = &["If-Match", "If-None-Match"];
const OF_RENAMES: &[&str] = &["If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"];
const OF_DELETES: &[&str] = &["If-Match", "x-amz-if-match-size", "x-amz-if-match-last-modified-time"];
const OF_ABORTS: &[&str] = &["x-amz-if-match-initiated-time"];

/// The headers with a number that s3s reads.
const NUMBERS: [&str; 4] =
    ["x-amz-if-match-size", "x-amz-max-parts", "x-amz-mp-object-size", "x-amz-part-number-marker"];

/// Refuses a condition that the operation of a write does not know, one that is given twice, and a malformed number.
/// What a signed URL has in its query must be among the headers.
pub fn check_conditions(head: Head<'_>) -> Result<(), Fault> {
    for name in NUMBERS {
        if head.headers.get_all(name).iter().any(|value| !is_integer(value.as_bytes())) {
            return Err(ArgumentFault::bare(name, "The value must be an integer.").into());
        }
    }
    if !matches!(*head.method, Method::PUT | Method::POST | Method::DELETE) {
        return Ok(());
    }
    let known = known_conditions(head);
    for name in CONDITIONS {
        let count = head.headers.get_all(name).iter().count();
        if count > 0 && !known.contains(&name) {
            let why = format!("This operation has no condition {name}");
            return Err(Fault::HeaderNotImplemented { header: name, why });
        }
        if count > 1 {
            return Err(Fault::InvalidArgument(format!("The header {name} is given more than once.")));
        }
    }
    Ok(())
}

/// Returns the conditions that are decided for an operation that changes something.
fn known_conditions(head: Head<'_>) -> &'static [&'static str] {
    if head.target.level != Level::Object {
        return &[];
    }
    let mut named = subresources_of(head.query);
    match (head.method.as_str(), named.next(), named.next()) {
        ("PUT", None, None) | ("POST", Some("uploadId"), None) => OF_WRITES,
        ("PUT", Some("renameObject"), None) => OF_RENAMES,
        ("DELETE", None, None) => OF_DELETES,
        ("DELETE", Some("uploadId"), None) => OF_ABORTS,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::check_conditions;
    use crate::api::call::{Head, Target};
    use crate::api::errors::Fault;
    use crate::api::text::Query;
    use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

    fn check(method: &Method, uri: &'static str, headers: &[(&'static str, &'static str)]) -> Result<(), Fault> {
        let uri = Uri::from_static(uri);
        let query = Query::read(uri.query()).expect("a query");
        let target = Target::of(uri.path(), None).expect("a target");
        let pairs = headers.iter();
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        check_conditions(Head { method, headers: &headers, query: &query, target: &target })
    }

    #[test]
    fn a_condition_that_an_operation_does_not_know_is_refused() {
        let (put, post, delete) = (&Method::PUT, &Method::POST, &Method::DELETE);
        let of_deletes = ["x-amz-if-match-size", "x-amz-if-match-last-modified-time"];
        let of_dates = ["if-modified-since", "if-unmodified-since"];
        for (method, uri, known) in [
            (put, "/b/k", &["if-match", "if-none-match"][..]),
            (put, "/b/k?x-id=PutObject", &["if-match", "if-none-match"]),
            (post, "/b/k?uploadId=1", &["if-match", "if-none-match"]),
            (put, "/b/k?renameObject", &["if-match", "if-none-match", of_dates[0], of_dates[1]]),
            (delete, "/b/k", &["if-match", of_deletes[0], of_deletes[1]]),
            (delete, "/b/k?versionId=null", &["if-match", of_deletes[0], of_deletes[1]]),
            (delete, "/b/k?uploadId=1", &["x-amz-if-match-initiated-time"]),
            (put, "/b/k?partNumber=1&uploadId=1", &[]),
            (post, "/b/k?uploads", &[]),
            (put, "/b/k?tagging", &[]),
            (delete, "/b/k?tagging", &[]),
            (put, "/b/k?acl&renameObject", &[]),
            (put, "/b", &[]),
            (delete, "/b", &[]),
            (put, "/b?policy", &[]),
            (post, "/b?delete", &[]),
        ] {
            for name in ["if-match", "if-none-match", "x-amz-if-match-initiated-time"]
                .into_iter()
                .chain(of_dates)
                .chain(of_deletes)
            {
                let value = if name == of_deletes[0] { "5" } else { "a" };
                let checked = check(method, uri, &[(name, value)]);
                if known.contains(&name) {
                    assert_eq!(checked, Ok(()), "{method} {uri} {name}");
                } else {
                    assert!(matches!(checked, Err(Fault::HeaderNotImplemented { .. })), "{method} {uri} {name}");
                }
            }
        }
        assert_eq!(check(&Method::GET, "/b/k", &[("if-unmodified-since", "a"), ("if-match", "b")]), Ok(()));
    }

    #[test]
    fn a_condition_of_a_write_is_given_once() {
        for (method, name) in [(&Method::PUT, "if-none-match"), (&Method::DELETE, "if-match")] {
            let twice = check(method, "/b/k", &[(name, "\"a\""), (name, "\"b\"")]);
            assert!(matches!(twice, Err(Fault::InvalidArgument(_))), "{method} {name}");
        }
    }

    #[test]
    fn numbers_in_headers_have_digits_alone() {
        let check = |method: &Method, value| check(method, "/b/k?attributes", &[("x-amz-max-parts", value)]);
        for value in ["0", "1000", " 7 ", "-1"] {
            assert_eq!(check(&Method::GET, value), Ok(()), "{value}");
        }
        for value in ["5x", "1,000", "1.5", "0x10", "", "-", "+1", "1 0"] {
            assert!(matches!(check(&Method::GET, value), Err(Fault::Argument(_))), "{value}");
        }
        let twice = super::tests::check(
            &Method::DELETE,
            "/b/k",
            &[("x-amz-if-match-size", "5"), ("x-amz-if-match-size", "6x")],
        );
        assert!(matches!(twice, Err(Fault::Argument(_))));
    }
}
