//! Subresources: query parameters that name a part of a bucket or an object, such as `?policy`. s3s ignores a
//! subresource that it does not know for a method and runs the plain operation: DELETE of a bucket's unknown
//! configuration would delete the bucket. Such requests are refused here, as are methods that do not apply to the
//! service as a whole.

mod reads;

pub use reads::take_overrides;

use crate::api::call::is_form;
use crate::api::call::{Head, Level};
use crate::api::errors::{ArgumentFault, Fault};
use crate::api::text::Query;
use http::Method;

/// A subresource, and the methods other than GET and HEAD that it supports on a bucket and on an object.
struct Subresource {
    name: &'static str,
    of_bucket: &'static [&'static str],
    of_object: &'static [&'static str],
}

const fn of_bucket(name: &'static str, methods: &'static [&'static str]) -> Subresource {
    Subresource { name, of_bucket: methods, of_object: &[] }
}

const fn of_object(name: &'static str, methods: &'static [&'static str]) -> Subresource {
    Subresource { name, of_bucket: &[], of_object: methods }
}

const SUBRESOURCES: &[Subresource] = &[
    of_bucket("accelerate", &["PUT"]),
    Subresource { name: "acl", of_bucket: &["PUT"], of_object: &["PUT"] },
    of_bucket("analytics", &["PUT", "DELETE"]),
    of_object("attributes", &[]),
    of_bucket("cors", &["PUT", "DELETE"]),
    of_bucket("delete", &["POST"]),
    of_bucket("encryption", &["PUT", "DELETE"]),
    of_bucket("intelligent-tiering", &["PUT", "DELETE"]),
    of_bucket("inventory", &["PUT", "DELETE"]),
    of_object("legal-hold", &["PUT"]),
    of_bucket("lifecycle", &["PUT", "DELETE"]),
    of_bucket("location", &[]),
    of_bucket("logging", &["PUT"]),
    of_bucket("metadataTable", &["POST", "DELETE"]),
    of_bucket("metrics", &["PUT", "DELETE"]),
    of_bucket("notification", &["PUT"]),
    of_bucket("object-lock", &["PUT"]),
    of_bucket("ownershipControls", &["PUT", "DELETE"]),
    of_bucket("policy", &["PUT", "DELETE"]),
    of_bucket("policyStatus", &[]),
    of_bucket("publicAccessBlock", &["PUT", "DELETE"]),
    of_object("renameObject", &["PUT"]),
    of_bucket("replication", &["PUT", "DELETE"]),
    of_bucket("requestPayment", &["PUT"]),
    of_object("restore", &["POST"]),
    of_object("retention", &["PUT"]),
    of_object("select", &["POST"]),
    of_bucket("session", &[]),
    Subresource { name: "tagging", of_bucket: &["PUT", "DELETE"], of_object: &["PUT", "DELETE"] },
    of_object("torrent", &[]),
    of_object("uploadId", &["PUT", "POST", "DELETE"]),
    of_object("uploads", &["POST"]),
    of_bucket("versioning", &["PUT"]),
    of_bucket("versions", &[]),
    of_bucket("website", &["PUT", "DELETE"]),
];
/// The subresources of S3 that s3s does not know, whatever the method.
const UNKNOWN: [&str; 7] = [
    "abac",
    "annotation",
    "annotationName",
    "annotations",
    "metadataConfiguration",
    "metadataInventoryTable",
    "metadataJournalTable",
];

/// Refuses a request whose subresource, method or parameters s3s would misread.
pub fn check(head: Head<'_>) -> Result<(), Fault> {
    if head.target.level == Level::Service {
        return check_service(head.method);
    }
    if let Some(name) = UNKNOWN.iter().find(|name| head.query.has(name)) {
        return Err(Fault::NotImplemented(format!("The subresource {name} is not implemented.")));
    }
    reads::check_source(head)?;
    let named = SUBRESOURCES.iter().find(|one| head.query.has(one.name));
    let method = head.method.as_str();
    if !matches!(method, "PUT" | "POST" | "DELETE") {
        return match head.target.level {
            Level::Object => reads::check_key(head),
            _ if named.is_none() && reads::is_list(head) => reads::check_list(head),
            _ => Ok(()),
        };
    }
    let allowed = named.map(|one| if head.target.level == Level::Bucket { one.of_bucket } else { one.of_object });
    if allowed.is_some_and(|methods| !methods.contains(&method)) {
        return Err(Fault::MethodNotAllowed);
    }
    let is_plain_post = method == "POST" && named.is_none() && !is_form(head.method, head.headers);
    if is_plain_post && head.target.level == Level::Object {
        return Err(Fault::MethodNotAllowed);
    }
    if head.target.level != Level::Object {
        return Ok(());
    }
    if head.query.has("versionId") && !takes_version(method, named.map(|one| one.name)) {
        return Err(ArgumentFault::parameter("versionId", "This operation does not accept a version-id.").into());
    }
    if method != "PUT" {
        return Ok(());
    }
    match ["partNumber", "uploadId"].map(|name| head.query.has(name)) {
        [true, false] => {
            let why = "This operation does not accept partNumber without uploadId";
            Err(ArgumentFault::parameter("partNumber", why).into())
        }
        [false, true] => Err(Fault::MethodNotAllowed),
        _ => Ok(()),
    }
}

/// Returns whether an operation that changes an object is on a version that its query names. All others are on the
/// current one, so that a condition on the named version would be decided on another one than is changed.
fn takes_version(method: &str, subresource: Option<&str>) -> bool {
    match method {
        "PUT" => matches!(subresource, Some("acl" | "legal-hold" | "retention" | "tagging")),
        "POST" => matches!(subresource, Some("restore" | "select")),
        _ => matches!(subresource, None | Some("tagging")),
    }
}

/// Returns the subresources that a query names, in alphabetical order.
pub fn subresources_of(query: &Query) -> impl Iterator<Item = &'static str> {
    SUBRESOURCES.iter().map(|one| one.name).filter(|name| query.has(name))
}

/// Refuses HEAD, PUT, POST and DELETE of `/`, whose GET lists the buckets. Calls of IAM and STS were routed before.
fn check_service(method: &Method) -> Result<(), Fault> {
    match *method {
        Method::HEAD | Method::PUT | Method::POST | Method::DELETE => Err(Fault::MethodNotAllowed),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{check, take_overrides};
    use crate::api::call::{Head, Target};
    use crate::api::errors::Fault;
    use crate::api::text::Query;
    use http::{HeaderMap, HeaderValue, Method, Request, Uri};

    fn judge(method: Method, uri: &'static str) -> Result<(), Fault> {
        judge_with(method, uri, &HeaderMap::new())
    }

    fn judge_with(method: Method, uri: &'static str, headers: &HeaderMap) -> Result<(), Fault> {
        let uri = Uri::from_static(uri);
        let query = Query::read(uri.query()).expect("a query");
        let target = Target::of(uri.path(), None).expect("a target");
        check(Head { method: &method, headers, query: &query, target: &target })
    }

    #[test]
    fn a_version_is_named_only_where_it_is_changed() {
        for (method, uri) in [
            (Method::PUT, "/b/k?versionId=v"),
            (Method::PUT, "/b/k?partNumber=1&uploadId=u&versionId=v"),
            (Method::PUT, "/b/k?renameObject&versionId=v"),
            (Method::POST, "/b/k?uploads&versionId=v"),
            (Method::POST, "/b/k?uploadId=u&versionId="),
            (Method::DELETE, "/b/k?uploadId=u&versionId=v"),
        ] {
            assert!(matches!(judge(method.clone(), uri), Err(Fault::Argument(_))), "{method} {uri}");
        }
        for (method, uri) in [
            (Method::PUT, "/b/k?acl&versionId=v"),
            (Method::PUT, "/b/k?retention&versionId=v"),
            (Method::PUT, "/b/k?legal-hold&versionId=v"),
            (Method::PUT, "/b/k?tagging&versionId=v"),
            (Method::DELETE, "/b/k?tagging&versionId=v"),
            (Method::DELETE, "/b/k?versionId=v"),
            (Method::GET, "/b/k?versionId=v"),
            (Method::PUT, "/b?versionId=v"),
        ] {
            assert_eq!(judge(method.clone(), uri), Ok(()), "{method} {uri}");
        }
    }

    #[test]
    fn a_method_that_a_subresource_does_not_support_is_refused() {
        for (method, uri) in [
            (Method::DELETE, "/b?acl"),
            (Method::DELETE, "/b?versioning"),
            (Method::DELETE, "/b?uploadId=u"),
            (Method::PUT, "/b?versions"),
            (Method::PUT, "/b?location"),
            (Method::DELETE, "/b/k?acl"),
            (Method::DELETE, "/b/k?retention"),
            (Method::PUT, "/b/k?uploads"),
            (Method::PUT, "/b/k?torrent"),
            (Method::PUT, "/b?renameObject"),
            (Method::DELETE, "/b/k?renameObject"),
            (Method::POST, "/b/k?acl"),
        ] {
            assert_eq!(judge(method.clone(), uri), Err(Fault::MethodNotAllowed), "{method} {uri}");
        }
        assert!(matches!(judge(Method::PUT, "/b/k?annotation"), Err(Fault::NotImplemented(_))));
        assert!(matches!(judge(Method::GET, "/b?abac"), Err(Fault::NotImplemented(_))));
    }

    #[test]
    fn only_get_is_allowed_on_the_service() {
        for method in [Method::HEAD, Method::PUT, Method::POST, Method::DELETE] {
            assert_eq!(judge(method.clone(), "/"), Err(Fault::MethodNotAllowed), "{method}");
        }
        assert_eq!(judge(Method::GET, "/"), Ok(()));
    }

    #[test]
    fn requests_with_supported_subresources_are_accepted() {
        for (method, uri) in [
            (Method::DELETE, "/b"),
            (Method::DELETE, "/b?policy"),
            (Method::DELETE, "/b/k?tagging&versionId=v"),
            (Method::DELETE, "/b/k?uploadId=u"),
            (Method::PUT, "/b/k?x-id=PutObject"),
            (Method::PUT, "/b/k?renameObject"),
            (Method::PUT, "/b/k?partNumber=1&uploadId=u"),
            (Method::POST, "/b?delete"),
            (Method::POST, "/b/k?uploads"),
            (Method::GET, "/b?location"),
            (Method::GET, "/b?whatever"),
            (Method::GET, "/?x-id=ListBuckets"),
        ] {
            assert_eq!(judge(method.clone(), uri), Ok(()), "{method} {uri}");
        }
    }

    #[test]
    fn a_part_without_its_upload_id_or_number_is_refused() {
        assert!(matches!(judge(Method::PUT, "/b/k?partNumber=1"), Err(Fault::Argument(_))));
        assert_eq!(judge(Method::PUT, "/b/k?uploadId=u"), Err(Fault::MethodNotAllowed));
    }

    #[test]
    fn a_plain_post_to_an_object_is_refused() {
        let form = HeaderValue::from_static("multipart/form-data; boundary=x");
        let form = HeaderMap::from_iter([(http::header::CONTENT_TYPE, form)]);
        assert_eq!(judge(Method::POST, "/b/k"), Err(Fault::MethodNotAllowed));
        assert_eq!(judge_with(Method::POST, "/b/k", &form), Ok(()));
    }

    #[test]
    fn a_parameter_of_another_read_operation_is_refused() {
        for uri in [
            "/b?start-after=a",
            "/b?continuation-token=t",
            "/b?list-type=2&marker=a",
            "/b?list-type=3",
            "/b/k?response-content-type=text%2Fplain&response-color=red",
        ] {
            assert!(matches!(judge(Method::GET, uri), Err(Fault::Argument(_))), "{uri}");
        }
        assert!(matches!(judge(Method::HEAD, "/b/k?response-color=red"), Err(Fault::Argument(_))));
        for uri in ["/b/k?uploads", "/b/k?versions"] {
            assert!(matches!(judge(Method::GET, uri), Err(Fault::InvalidRequest(_))), "{uri}");
        }
        for uri in [
            "/b?marker=a",
            "/b?list-type=2&start-after=a&continuation-token=t",
            "/b?inventory&continuation-token=t",
            "/b?versions&key-marker=a",
            "/b/k?response-expires=x",
            "/?continuation-token=t",
        ] {
            assert_eq!(judge(Method::GET, uri), Ok(()), "{uri}");
        }
    }

    #[test]
    fn a_response_override_that_cannot_be_a_header_value_is_refused() {
        for uri in ["/b/k?response-expires=a%0ab", "/b/k?response-content-type=%00"] {
            assert!(matches!(judge(Method::GET, uri), Err(Fault::InvalidArgument(_))), "{uri}");
        }
        assert_eq!(judge(Method::GET, "/b/k?response-content-disposition=%C3%A9"), Ok(()));
    }

    #[test]
    fn response_overrides_are_removed_from_the_query_escaped_or_not() {
        let take = |method: Method, path: &str| {
            let mut request = Request::builder().method(method).uri(path).body(()).expect("a request");
            let query = Query::read(request.uri().query()).expect("a query");
            let target = Target::of(request.uri().path(), None).expect("a target");
            let taken = take_overrides(&mut request, &target, &query);
            let text = |value: &HeaderValue| String::from_utf8(value.as_bytes().to_vec()).expect("text");
            let taken = taken.iter().map(|(name, value)| (name.to_string(), text(value))).collect::<Vec<_>>();
            (taken, request.uri().to_string())
        };
        let one = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
        let plain = take(Method::GET, "/b/k?partNumber=1&response-expires=not+a+date");
        assert_eq!(plain, (one("expires", "not a date"), "/b/k?partNumber=1".to_owned()));
        let escaped = take(Method::HEAD, "/b/k?%72esponse-content%2Dtype=%C3%A9");
        assert_eq!(escaped, (one("content-type", "\u{e9}"), "/b/k".to_owned()));
        let empty = take(Method::GET, "/b/k?response-expires");
        assert_eq!(empty, (one("expires", ""), "/b/k".to_owned()));
        for (method, path) in [(Method::PUT, "/b/k?response-expires=0"), (Method::GET, "/b?response-expires=0")] {
            assert_eq!(take(method, path), (vec![], path.to_owned()));
        }
    }

    #[test]
    fn a_copy_source_is_refused_outside_copies_and_with_an_empty_version() {
        let judge = |method: Method, uri: &'static str, source: &'static str| {
            let uri = Uri::from_static(uri);
            let query = Query::read(uri.query()).expect("a query");
            let target = Target::of(uri.path(), None).expect("a target");
            let headers = HeaderMap::from_iter([(s3s::header::X_AMZ_COPY_SOURCE, HeaderValue::from_static(source))]);
            check(Head { method: &method, headers: &headers, query: &query, target: &target })
        };
        for (method, uri) in
            [(Method::GET, "/b"), (Method::HEAD, "/b/k"), (Method::DELETE, "/b/k"), (Method::POST, "/b/k?uploadId=u")]
        {
            assert!(matches!(judge(method, uri, "b/k"), Err(Fault::Argument(_))), "{uri}");
        }
        assert_eq!(judge(Method::PUT, "/b/k", "b/k?versionId=v"), Ok(()));
        assert!(matches!(judge(Method::PUT, "/b/k", "b/k?versionId="), Err(Fault::Argument(_))));
    }
}
