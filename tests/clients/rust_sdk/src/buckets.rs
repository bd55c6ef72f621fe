//! Buckets: made, found, described, deleted; and the errors of what is not there.

use aws_sdk_s3::types::{BucketVersioningStatus, Tag, Tagging};

use crate::suite::{Suite, refused};

pub async fn a_bucket_is_made_found_and_deleted(suite: Suite) {
    let (client, name) = (&suite.client, format!("{}-other", suite.bucket));
    client.create_bucket().bucket(&name).send().await.unwrap();
    assert_eq!(client.head_bucket().bucket(&name).send().await.unwrap().bucket_region(), Some("us-east-1"));
    let listed = client.list_buckets().prefix(&name).send().await.unwrap();
    assert_eq!(listed.buckets().iter().map(|one| one.name().unwrap()).collect::<Vec<_>>(), [&name]);
    assert!(listed.buckets()[0].creation_date().is_some() && listed.owner().is_some());
    let location = client.get_bucket_location().bucket(&name).send().await.unwrap();
    assert!(location.location_constraint().is_none_or(|name| name.as_str().is_empty()));
    let status = client.get_bucket_versioning().bucket(&name).send().await.unwrap().status().cloned();
    assert_eq!(status, None::<BucketVersioningStatus>);
    client.put_object().bucket(&name).key("k").send().await.unwrap();
    refused(client.delete_bucket().bucket(&name).send().await, 409, "BucketNotEmpty");
    client.delete_object().bucket(&name).key("k").send().await.unwrap();
    client.delete_bucket().bucket(&name).send().await.unwrap();
    assert!(refused(client.head_bucket().bucket(&name).send().await, 404, "NotFound").is_not_found());
}

pub async fn errors_have_the_types_of_the_sdk(suite: Suite) {
    let (client, bucket) = (&suite.client, &suite.bucket);
    let absent = client.get_object().bucket(bucket).key("absent").send().await;
    assert!(refused(absent, 404, "NoSuchKey").is_no_such_key());
    assert!(refused(client.head_object().bucket(bucket).key("absent").send().await, 404, "NotFound").is_not_found());
    let nowhere = format!("{bucket}-absent");
    assert!(refused(client.list_objects_v2().bucket(&nowhere).send().await, 404, "NoSuchBucket").is_no_such_bucket());
    let abort = client.abort_multipart_upload().bucket(bucket).key("k").upload_id("none").send().await;
    assert!(refused(abort, 404, "NoSuchUpload").is_no_such_upload());
    refused(client.get_bucket_tagging().bucket(bucket).send().await, 404, "NoSuchTagSet");
    refused(client.get_bucket_policy().bucket(bucket).send().await, 404, "NoSuchBucketPolicy");
    refused(client.get_bucket_cors().bucket(bucket).send().await, 404, "NoSuchCORSConfiguration");
}

pub async fn tags_and_policies_of_buckets(suite: Suite) {
    let (client, bucket) = (&suite.client, &suite.bucket);
    let tag = Tag::builder().key("team").value("störe: a+b").build().unwrap();
    let tagging = Tagging::builder().tag_set(tag.clone()).build().unwrap();
    client.put_bucket_tagging().bucket(bucket).tagging(tagging).send().await.unwrap();
    assert_eq!(client.get_bucket_tagging().bucket(bucket).send().await.unwrap().tag_set(), [tag]);
    client.delete_bucket_tagging().bucket(bucket).send().await.unwrap();
    let denied = format!(
        r#"{{"Effect":"Deny","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::{bucket}/secret/*"}}"#
    );
    let policy = format!(r#"{{"Version":"2012-10-17","Statement":[{denied}]}}"#);
    suite.put("secret/k", "x").await;
    client.put_bucket_policy().bucket(bucket).policy(&policy).send().await.unwrap();
    assert_eq!(client.get_bucket_policy().bucket(bucket).send().await.unwrap().policy(), Some(policy.as_str()));
    refused(client.get_object().bucket(bucket).key("secret/k").send().await, 403, "AccessDenied");
    client.delete_bucket_policy().bucket(bucket).send().await.unwrap();
    assert_eq!(suite.read("secret/k").await, b"x");
}
