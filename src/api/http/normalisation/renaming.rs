//! RenameObject, which s3s does not know: recognises the request and reads its source.

use crate::api::call::{Head, Level};
use crate::api::errors::Fault;
use crate::api::text::percent::decode_path;
use http::{HeaderMap, Method};
use s3s::header::X_AMZ_COPY_SOURCE;

const SUBRESOURCE: &str = "renameObject";
const SOURCE: &str = "x-amz-rename-source";

pub fn is_rename(head: Head<'_>) -> bool {
    *head.method == Method::PUT && head.target.level == Level::Object && head.query.has(SUBRESOURCE)
}

/// Returns the decoded key of the object to rename. Some clients put the bucket before the key, as in copies; it is
/// removed.
pub fn rename_source(headers: &HeaderMap, bucket: &str) -> Result<String, Fault> {
    let invalid = || Fault::InvalidArgument(format!("The header '{SOURCE}' must name the object to rename."));
    let mut values = headers.get_all(SOURCE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return Err(invalid()) };
    let text = value.to_str().ok().and_then(decode_path).filter(|text| !text.is_empty()).ok_or_else(invalid)?;
    if headers.contains_key(X_AMZ_COPY_SOURCE) {
        let why = "A rename cannot have the header 'x-amz-copy-source'.";
        return Err(Fault::InvalidArgument(why.to_owned()));
    }
    let within = text.strip_prefix('/').and_then(|text| text.strip_prefix(bucket)?.strip_prefix('/'));
    Ok(within.filter(|key| !key.is_empty()).unwrap_or(&text).to_owned())
}

#[cfg(test)]
mod tests {
    use super::{SOURCE, is_rename, rename_source};
    use crate::api::call::{Head, Target};
    use crate::api::errors::Fault;
    use crate::api::text::Query;
    use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
    use s3s::header::X_AMZ_COPY_SOURCE;

    fn headers(sources: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for source in sources {
            headers.append(HeaderName::from_static(SOURCE), HeaderValue::from_str(source).expect("a value"));
        }
        headers
    }

    fn source(text: &str) -> Option<String> {
        rename_source(&headers(&[text]), "b").ok()
    }

    #[test]
    fn the_source_of_a_rename_is_a_key_with_or_without_its_bucket() {
        assert_eq!(source("a%20%3Fb/%C3%BC").as_deref(), Some("a ?b/\u{fc}"));
        assert_eq!(source("a%2Fb+c").as_deref(), Some("a/b+c"));
        assert_eq!(source("/b/key").as_deref(), Some("key"));
        assert_eq!(source("b/key").as_deref(), Some("b/key"));
        assert_eq!(source("/other/key").as_deref(), Some("/other/key"));
        assert_eq!(source("/b/").as_deref(), Some("/b/"));
    }

    #[test]
    fn a_rename_without_one_valid_source_is_refused() {
        for sources in [&[][..], &[""], &["%zz"], &["%ff"], &["a", "b"]] {
            let refused = rename_source(&headers(sources), "b");
            assert!(matches!(refused, Err(Fault::InvalidArgument(_))), "{sources:?}");
        }
        let mut copies = headers(&["a"]);
        copies.insert(X_AMZ_COPY_SOURCE, HeaderValue::from_static("b/a"));
        assert!(matches!(rename_source(&copies, "b"), Err(Fault::InvalidArgument(_))));
    }

    #[test]
    fn only_a_put_of_an_object_is_a_rename() {
        let of = |method: Method, uri: &'static str| {
            let uri = Uri::from_static(uri);
            let (query, target) = (Query::read(uri.query()).expect("a query"), Target::of(uri.path(), None));
            let target = target.expect("a target");
            is_rename(Head { method: &method, headers: &HeaderMap::new(), query: &query, target: &target })
        };
        assert!(of(Method::PUT, "/b/k?x-id=RenameObject&renameObject"));
        assert!(of(Method::PUT, "/b/k?%72enameObject"));
        assert!(!of(Method::PUT, "/b?renameObject") && !of(Method::GET, "/b/k?renameObject"));
        assert!(!of(Method::PUT, "/b/k?prefix=renameObject") && !of(Method::PUT, "/b/renameObject"));
    }
}
