//! URLs that are signed beforehand, followed without the SDK.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};

use crate::multipart::Upload;
use crate::suite::Suite;

fn for_a_minute() -> PresigningConfig {
    PresigningConfig::expires_in(Duration::from_secs(60)).unwrap()
}

pub async fn reads_and_writes(suite: Suite) {
    let (client, bucket) = (&suite.client, &suite.bucket);
    let put =
        client.put_object().bucket(bucket).key("a b/ü").content_type("text/x").presigned(for_a_minute()).await.unwrap();
    assert_eq!(suite.send(&put, "PUT", put.uri(), "by url").await, (200, String::new()));
    assert_eq!(suite.read("a b/ü").await, b"by url");
    let get = client.get_object().bucket(bucket).key("a b/ü").range("bytes=3-4");
    let get = get.response_content_type("text/y").presigned(for_a_minute()).await.unwrap();
    assert_eq!(suite.send(&get, "GET", get.uri(), "").await, (206, "ur".to_owned()));
    let upload = Upload::begin(&suite).await;
    let part = client.upload_part().bucket(bucket).key("k").upload_id(&upload.id).part_number(1);
    let part = part.presigned(for_a_minute()).await.unwrap();
    assert_eq!(suite.send(&part, "PUT", part.uri(), "a part").await.0, 200);
    let listed = client.list_parts().bucket(bucket).key("k").upload_id(&upload.id).send().await.unwrap();
    let done = CompletedPart::builder().part_number(1).e_tag(listed.parts()[0].e_tag().unwrap()).build();
    let complete = client.complete_multipart_upload().bucket(bucket).key("k").upload_id(&upload.id);
    complete.multipart_upload(CompletedMultipartUpload::builder().parts(done).build()).send().await.unwrap();
    assert_eq!(suite.read("k").await, b"a part");
    let delete = client.delete_object().bucket(bucket).key("k").presigned(for_a_minute()).await.unwrap();
    assert_eq!(suite.send(&delete, "DELETE", delete.uri(), "").await.0, 204);
}

pub async fn changed_ones_are_refused(suite: Suite) {
    suite.put("k", "x").await;
    let get = || suite.client.get_object().bucket(&suite.bucket).key("k");
    let good = get().presigned(for_a_minute()).await.unwrap();
    assert_eq!(suite.send(&good, "GET", good.uri(), "").await, (200, "x".to_owned()));
    for changed in [good.uri().replace("X-Amz-Expires=60", "X-Amz-Expires=61"), good.uri().replace("/k?", "/other?")] {
        let (status, body) = suite.send(&good, "GET", &changed, "").await;
        assert!(status == 403 && body.contains("<Code>SignatureDoesNotMatch</Code>"), "{changed}: {status} {body}");
    }
    assert_eq!(suite.send(&good, "PUT", good.uri(), "other").await.0, 403);
    let an_hour_ago = SystemTime::now() - Duration::from_secs(3600);
    let short =
        PresigningConfig::builder().start_time(an_hour_ago).expires_in(Duration::from_secs(60)).build().unwrap();
    let expired = get().presigned(short).await.unwrap();
    let (status, body) = suite.send(&expired, "GET", expired.uri(), "").await;
    assert!(status == 403 && body.contains("expired"), "{status} {body}");
    assert_eq!(suite.read("k").await, b"x");
}
