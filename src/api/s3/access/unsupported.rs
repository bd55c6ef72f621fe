//! Headers that ask for features that are not implemented. They are refused: if they were ignored, a client would
//! believe that the feature is in effect.

use crate::api::errors::Fault;
use http::HeaderMap;

const NAMES: [(&str, &str); 3] = [
    ("x-amz-mfa", "MFA delete"),
    ("x-amz-object-lock-event-hold", "Event-based hold"),
    (WRITE_OFFSET, "Appending by other operations than PutObject"),
];
const WRITE_OFFSET: &str = "x-amz-write-offset-bytes";

pub fn check(operation: &str, headers: &HeaderMap) -> Result<(), Fault> {
    let is_there = |name: &str| name == WRITE_OFFSET && operation == "PutObject";
    match NAMES.iter().find(|(name, _)| headers.keys().any(|known| known == name) && !is_there(name)) {
        Some((_, what)) => Err(Fault::NotImplemented(format!("{what} is not implemented."))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::api::errors::Fault;
    use http::{HeaderMap, HeaderName, HeaderValue};

    fn judge_of(operation: &str, name: &'static str, value: &'static str) -> Result<(), Fault> {
        let headers = HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))]);
        check(operation, &headers)
    }

    fn judge(name: &'static str, value: &'static str) -> Result<(), Fault> {
        judge_of("CopyObject", name, value)
    }

    #[test]
    fn unsupported_features_are_refused_and_not_ignored() {
        for (name, value) in
            [("x-amz-mfa", "1 2"), ("x-amz-object-lock-event-hold", "ON"), ("x-amz-write-offset-bytes", "7")]
        {
            assert!(matches!(judge(name, value), Err(Fault::NotImplemented(_))), "{name}");
        }
    }

    #[test]
    fn supported_features_are_accepted() {
        for (name, value) in [
            ("x-amz-acl", "public-read"),
            ("x-amz-grant-read", "id=1"),
            ("x-amz-object-ownership", "ObjectWriter"),
            ("x-amz-meta-tagging", "a"),
        ] {
            assert_eq!(judge(name, value), Ok(()), "{name}");
        }
        assert_eq!(judge_of("PutObject", "x-amz-write-offset-bytes", "7"), Ok(()));
    }
}
