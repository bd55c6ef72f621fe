//! Parameters that name a part of a bucket or an object. s3s takes a request for the plain operation where it does not
//! know the named one, so that what is meant to delete a configuration would delete the bucket: such requests are
//! refused here.

use super::target::{Head, Level};
use crate::api::s3::Fault;

/// What a name means, by the methods that change it.
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
/// What S3 has and s3s knows nothing of, whatever the method.
const UNKNOWN: [&str; 8] = [
    "abac",
    "annotation",
    "annotationName",
    "annotations",
    "metadataConfiguration",
    "metadataInventoryTable",
    "metadataJournalTable",
    "renameObject",
];

pub fn check(head: Head<'_>) -> Result<(), Fault> {
    if head.target.level == Level::Service {
        return Ok(());
    }
    if let Some(name) = UNKNOWN.iter().find(|name| head.query.has(name)) {
        return Err(Fault::NotImplemented(format!("The subresource {name} is not implemented.")));
    }
    let method = head.method.as_str();
    if !matches!(method, "PUT" | "POST" | "DELETE") {
        return Ok(());
    }
    let named = SUBRESOURCES.iter().find(|one| head.query.has(one.name));
    let allowed = named.map(|one| if head.target.level == Level::Bucket { one.of_bucket } else { one.of_object });
    if allowed.is_some_and(|methods| !methods.contains(&method)) {
        return Err(Fault::MethodNotAllowed);
    }
    let is_part = ["partNumber", "uploadId"].map(|name| head.query.has(name));
    if method == "PUT" && head.target.level == Level::Object && is_part[0] != is_part[1] {
        return Err(Fault::InvalidArgument("partNumber and uploadId must be given together.".to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::api::s3::Fault;
    use crate::api::wire::query::Query;
    use crate::api::wire::target::{Head, Target};
    use http::{HeaderMap, Method, Uri};

    fn judge(method: Method, uri: &'static str) -> Result<(), Fault> {
        let uri = Uri::from_static(uri);
        let query = Query::read(uri.query()).expect("a query");
        let target = Target::of(uri.path(), None).expect("a target");
        check(Head { method: &method, headers: &HeaderMap::new(), query: &query, target: &target })
    }

    #[test]
    fn what_cannot_be_done_to_a_part_is_not_done_to_the_whole() {
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
            (Method::POST, "/b/k?acl"),
        ] {
            assert_eq!(judge(method.clone(), uri), Err(Fault::MethodNotAllowed), "{method} {uri}");
        }
        assert!(matches!(judge(Method::PUT, "/b/k?renameObject"), Err(Fault::NotImplemented(_))));
        assert!(matches!(judge(Method::GET, "/b?abac"), Err(Fault::NotImplemented(_))));
    }

    #[test]
    fn what_can_be_done_is_let_through() {
        for (method, uri) in [
            (Method::DELETE, "/b"),
            (Method::DELETE, "/b?policy"),
            (Method::DELETE, "/b/k?tagging&versionId=v"),
            (Method::DELETE, "/b/k?uploadId=u"),
            (Method::PUT, "/b/k?x-id=PutObject"),
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
    fn a_part_is_named_by_its_upload_and_its_number() {
        for uri in ["/b/k?partNumber=1", "/b/k?uploadId=u"] {
            assert!(matches!(judge(Method::PUT, uri), Err(Fault::InvalidArgument(_))), "{uri}");
        }
    }
}
