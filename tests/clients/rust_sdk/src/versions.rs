//! Versions of objects, and the markers of those that were deleted.

use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};

use crate::suite::{Suite, refused, whole};

/// Has the bucket keep versions.
async fn enable(suite: &Suite) {
    let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    let put = suite.client.put_bucket_versioning().bucket(&suite.bucket).versioning_configuration(enabled);
    put.send().await.unwrap();
    let found = suite.client.get_bucket_versioning().bucket(&suite.bucket).send().await.unwrap();
    assert_eq!(found.status(), Some(&BucketVersioningStatus::Enabled));
}

/// Writes a version; its identity.
async fn put(suite: &Suite, body: &'static str) -> String {
    let put = suite.client.put_object().bucket(&suite.bucket).key("k").body(body.as_bytes().to_vec().into());
    put.send().await.unwrap().version_id().unwrap().to_owned()
}

pub async fn versions_come_back_and_are_listed(suite: Suite) {
    enable(&suite).await;
    let (first, second) = (put(&suite, "first").await, put(&suite, "second").await);
    for (id, body) in [(&first, "first"), (&second, "second")] {
        let found = suite.client.get_object().bucket(&suite.bucket).key("k").version_id(id).send().await.unwrap();
        assert_eq!(found.version_id(), Some(id.as_str()));
        assert_eq!(whole(found).await, body.as_bytes());
    }
    let list = || suite.client.list_object_versions().bucket(&suite.bucket);
    let listed = list().send().await.unwrap();
    let found = listed.versions().iter().map(|one| (one.version_id().unwrap(), one.is_latest().unwrap()));
    assert_eq!(found.collect::<Vec<_>>(), [(second.as_str(), true), (first.as_str(), false)]);
    let page = list().max_keys(1).send().await.unwrap();
    assert_eq!((page.is_truncated(), page.next_key_marker()), (Some(true), Some("k")));
    let next = list().key_marker("k").set_version_id_marker(page.next_version_id_marker).send().await.unwrap();
    assert_eq!(next.versions().iter().map(|one| one.version_id().unwrap()).collect::<Vec<_>>(), [first.as_str()]);
    suite.client.delete_object().bucket(&suite.bucket).key("k").version_id(&second).send().await.unwrap();
    assert_eq!(suite.read("k").await, b"first");
    let gone = suite.client.get_object().bucket(&suite.bucket).key("k").version_id(&second).send().await;
    refused(gone, 404, "NoSuchVersion");
}

pub async fn a_marker_hides_until_it_is_deleted(suite: Suite) {
    enable(&suite).await;
    put(&suite, "x").await;
    let delete = || suite.client.delete_object().bucket(&suite.bucket).key("k");
    let marked = delete().send().await.unwrap();
    assert_eq!(marked.delete_marker(), Some(true));
    let get = || suite.client.get_object().bucket(&suite.bucket).key("k");
    refused(get().send().await, 404, "NoSuchKey");
    let marker = marked.version_id().unwrap();
    refused(get().version_id(marker).send().await, 405, "MethodNotAllowed");
    let listed = suite.client.list_object_versions().bucket(&suite.bucket).send().await.unwrap();
    assert_eq!((listed.versions().len(), listed.delete_markers().len()), (1, 1));
    assert_eq!(listed.delete_markers()[0].version_id(), Some(marker));
    assert_eq!(delete().version_id(marker).send().await.unwrap().delete_marker(), Some(true));
    assert_eq!(suite.read("k").await, b"x");
}

pub async fn copies_of_versions(suite: Suite) {
    enable(&suite).await;
    let first = put(&suite, "first").await;
    put(&suite, "second").await;
    let source = format!("{}/k?versionId={first}", suite.bucket);
    let copied = suite.client.copy_object().bucket(&suite.bucket).key("to").copy_source(source).send().await.unwrap();
    assert_eq!(copied.copy_source_version_id(), Some(first.as_str()));
    assert!(copied.version_id().is_some_and(|id| id != first));
    assert_eq!(suite.read("to").await, b"first");
}
