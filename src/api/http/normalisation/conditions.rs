//! Headers that would be ignored without a word, or read by half: conditions that an operation does not know, of which
//! the request must not go on as if it had none, and numbers with something behind their digits, which s3s skips.

use super::normalise::is_date as is_http_date;
use super::subresources::subresources_of;
use crate::api::call::{Head, Level};
use crate::api::errors::{ArgumentFault, Fault};
use crate::api::text::is_integer;
use http::Method;
use s3s::header::X_AMZ_COPY_SOURCE;

/// The conditions of requests that change something.
const CONDITIONS: [&str; 15] = [
    "If-Match",
    "If-None-Match",
    "If-Modified-Since",
    "If-Unmodified-Since",
    "x-amz-if-match-size",
    "x-amz-if-match-last-modified-time",
    "x-amz-if-match-initiated-time",
    "x-amz-copy-source-if-match",
    "x-amz-copy-source-if-none-match",
    "x-amz-copy-source-if-modified-since",
    "x-amz-copy-source-if-unmodified-since",
    "x-amz-rename-source-if-match",
    "x-amz-rename-source-if-none-match",
    "x-amz-rename-source-if-modified-since",
    "x-amz-rename-source-if-unmodified-since",
];
const OF_COPY_SOURCE: &str = "x-amz-copy-source-if-";
const OF_RENAME_SOURCE: &str = "x-amz-rename-source-if-";
/// The conditions of a PUT of an object, a copy, an append, and a CompleteMultipartUpload.
const OF_PUTS: &[&str] = &["If-Match", "If-None-Match"];
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
    for name in CONDITIONS {
        let mut values = head.headers.get_all(name).iter();
        let Some(value) = values.next() else { continue };
        if !is_known(head, name) {
            let why = format!("This operation has no condition {name}");
            return Err(Fault::HeaderNotImplemented { header: name, why });
        }
        if values.next().is_some() {
            return Err(Fault::InvalidArgument(format!("The header {name} is given more than once.")));
        }
        let is_date = name.ends_with("-Since") || name.ends_with("-since");
        let is_read = if is_date { is_http_date(value) } else { !name.starts_with("x-amz-") || !value.is_empty() };
        if !is_read {
            return Err(ArgumentFault::bare(name, "The value of the condition cannot be read.").into());
        }
    }
    Ok(())
}

/// Returns whether an operation that changes something decides this condition.
fn is_known(head: Head<'_>, name: &str) -> bool {
    if head.target.level != Level::Object {
        return false;
    }
    let mut named = subresources_of(head.query);
    let known = match (head.method.as_str(), named.next(), named.next()) {
        ("PUT", None | Some("uploadId"), None) if name.starts_with(OF_COPY_SOURCE) => {
            return head.headers.contains_key(X_AMZ_COPY_SOURCE);
        }
        ("PUT", Some("renameObject"), None) if name.starts_with(OF_RENAME_SOURCE) => return true,
        ("PUT", None, None) | ("POST", Some("uploadId"), None) => OF_PUTS,
        ("PUT", Some("renameObject"), None) => OF_RENAMES,
        ("DELETE", None, None) => OF_DELETES,
        ("DELETE", Some("uploadId"), None) => OF_ABORTS,
        _ => return false,
    };
    known.contains(&name)
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
                let value = match name {
                    "x-amz-if-match-size" => "5",
                    name if name.ends_with("since") => "Thu, 01 Jan 1970 00:16:39 GMT",
                    _ => "a",
                };
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
    fn conditions_on_a_source_need_a_copy_or_a_rename() {
        let (copied, renamed) = (("x-amz-copy-source-if-match", "a"), ("x-amz-rename-source-if-match", "a"));
        let source = ("x-amz-copy-source", "/b/s");
        let put = |uri, headers: &[_]| check(&Method::PUT, uri, headers).is_ok();
        assert!(put("/b/k", &[source, copied]) && put("/b/k?partNumber=1&uploadId=1", &[source, copied]));
        assert!(put("/b/k?renameObject", &[renamed]));
        assert!(!put("/b/k", &[copied]) && !put("/b/k", &[renamed]) && !put("/b/k?tagging", &[source, copied]));
    }

    #[test]
    fn a_condition_of_a_write_that_cannot_be_read_is_refused() {
        for (method, uri, name, value) in [
            (&Method::PUT, "/b/k?renameObject", "if-unmodified-since", "1970-01-01T00:16:39Z"),
            (&Method::PUT, "/b/k?renameObject", "x-amz-rename-source-if-unmodified-since", "junk"),
            (&Method::PUT, "/b/k?renameObject", "if-modified-since", ""),
            (&Method::DELETE, "/b/k", "x-amz-if-match-last-modified-time", ""),
            (&Method::DELETE, "/b/k?uploadId=1", "x-amz-if-match-initiated-time", ""),
        ] {
            assert!(matches!(check(method, uri, &[(name, value)]), Err(Fault::Argument(_))), "{name}: {value}");
        }
        let copy = [("x-amz-copy-source", "/b/s"), ("x-amz-copy-source-if-unmodified-since", "")];
        assert!(matches!(check(&Method::PUT, "/b/k", &copy), Err(Fault::Argument(_))));
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
