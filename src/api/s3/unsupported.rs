//! Headers and parameters that ask for what does not exist here. They are refused, never ignored: who asks for encryption
//! or a lock must not be told that it is there.

use super::errors::Fault;
use super::percent::parameter;
use http::{HeaderMap, Uri};

/// Any header that begins so asks for something.
const PREFIXES: [(&str, &str); 5] = [
    ("x-amz-server-side-encryption", "Server-side encryption"),
    ("x-amz-copy-source-server-side-encryption", "Server-side encryption"),
    ("x-amz-object-lock", "Object lock"),
    ("x-amz-grant-", "Access control lists"),
    ("x-amz-bypass-governance-retention", "Object lock"),
];

const NAMES: [(&str, &str); 7] = [
    ("x-amz-tagging", "Object tagging"),
    ("x-amz-mfa", "MFA delete"),
    ("x-amz-write-offset-bytes", "Appending to objects"),
    ("x-amz-if-match-size", "The condition on size"),
    ("x-amz-if-match-last-modified-time", "The condition on the time of modification"),
    ("x-amz-if-match-initiated-time", "The condition on the time of initiation"),
    ("x-amz-security-token", "Temporary credentials"),
];

/// Canned lists that say what holds anyway, since there is one account.
const ACLS: [&str; 3] = ["private", "bucket-owner-full-control", "bucket-owner-read"];

pub fn check(headers: &HeaderMap, uri: &Uri, owner_id: &str) -> Result<(), Fault> {
    let missing = |what: &str| Err(Fault::NotImplemented(format!("{what} is not implemented.")));
    for (name, value) in headers {
        let name = name.as_str();
        if !name.starts_with("x-amz-") {
            continue;
        }
        let value = value.to_str().unwrap_or_default();
        if let Some((_, what)) = PREFIXES.iter().find(|(prefix, _)| name.starts_with(prefix)) {
            return missing(what);
        }
        if let Some((_, what)) = NAMES.iter().find(|(known, _)| *known == name) {
            return missing(what);
        }
        match name {
            "x-amz-acl" if !ACLS.contains(&value) => {
                return missing(&format!("The canned access control list {value}"));
            }
            "x-amz-tagging-directive" if value != "COPY" => return missing("Object tagging"),
            "x-amz-bucket-object-lock-enabled" if !value.eq_ignore_ascii_case("false") => {
                return missing("Object lock");
            }
            "x-amz-object-ownership" if value != "BucketOwnerEnforced" => {
                return missing("Ownership by object writers");
            }
            "x-amz-expected-bucket-owner" | "x-amz-source-expected-bucket-owner" if value != owner_id => {
                return Err(Fault::BucketOwnerDiffers);
            }
            _ => {}
        }
    }
    match parameter(uri.query(), "versionId").as_deref() {
        // What S3 calls the only version of an object in a bucket without versioning.
        None | Some("null" | "") => Ok(()),
        Some(_) => missing("Versioning"),
    }
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::api::s3::errors::Fault;
    use http::{HeaderMap, HeaderName, HeaderValue, Uri};

    fn judge(name: &'static str, value: &'static str) -> Result<(), Fault> {
        let headers = HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))]);
        check(&headers, &Uri::from_static("/b/k"), "us")
    }

    #[test]
    fn what_does_not_exist_is_refused_and_not_ignored() {
        for (name, value) in [
            ("x-amz-server-side-encryption", "AES256"),
            ("x-amz-server-side-encryption-customer-algorithm", "AES256"),
            ("x-amz-tagging", "a=b"),
            ("x-amz-object-lock-mode", "GOVERNANCE"),
            ("x-amz-grant-read", "id=1"),
            ("x-amz-acl", "public-read"),
            ("x-amz-tagging-directive", "REPLACE"),
            ("x-amz-bucket-object-lock-enabled", "true"),
            ("x-amz-if-match-size", "3"),
        ] {
            assert!(matches!(judge(name, value), Err(Fault::NotImplemented(_))), "{name}");
        }
    }

    #[test]
    fn what_holds_anyway_is_accepted() {
        for (name, value) in [
            ("x-amz-acl", "private"),
            ("x-amz-acl", "bucket-owner-full-control"),
            ("x-amz-object-ownership", "BucketOwnerEnforced"),
            ("x-amz-bucket-object-lock-enabled", "false"),
            ("x-amz-expected-bucket-owner", "us"),
            ("x-amz-meta-tagging", "a"),
        ] {
            assert_eq!(judge(name, value), Ok(()), "{name}");
        }
        assert_eq!(judge("x-amz-expected-bucket-owner", "them"), Err(Fault::BucketOwnerDiffers));
    }

    #[test]
    fn the_only_version_is_called_null() {
        let ask = |uri: &'static str| check(&HeaderMap::new(), &Uri::from_static(uri), "us");
        assert_eq!(ask("/b/k?versionId=null"), Ok(()));
        assert!(matches!(ask("/b/k?versionId=abc"), Err(Fault::NotImplemented(_))));
    }
}
