//! Encryption with the store's keys, and with the client's own.

use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::types::ServerSideEncryption;

use crate::suite::{Suite, content, refused, whole};

/// 32 bytes each in base64, with their MD5.
const KEY: (&str, &str) = ("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", "hRasmdxgYDKV3nvbahU1MA==");
const OTHER: (&str, &str) = ("QUJDREVGR0hJSktMTU5PUEFCQ0RFRkdISUpLTE1OT1A=", "P+IqOBusVD/kEc4kzBUucQ==");

pub async fn keys_of_the_store(suite: Suite) {
    let body = content(100_001, 8);
    let put = suite.client.put_object().bucket(&suite.bucket).key("k").body(body.clone().into());
    let sent = put.server_side_encryption(ServerSideEncryption::Aes256).send().await.unwrap();
    let found = suite.client.get_object().bucket(&suite.bucket).key("k").send().await.unwrap();
    assert_eq!(found.server_side_encryption(), Some(&ServerSideEncryption::Aes256));
    assert_eq!(found.server_side_encryption(), sent.server_side_encryption());
    assert!(whole(found).await == body);
}

pub async fn keys_of_the_client(suite: Suite) {
    let body = content(3_000_000, 9);
    let put = |(key, digest): (&str, &str)| -> PutObjectFluentBuilder {
        let put = suite.client.put_object().bucket(&suite.bucket).key("k").body(body.clone().into());
        put.sse_customer_algorithm("AES256").sse_customer_key(key).sse_customer_key_md5(digest)
    };
    assert_eq!(put(KEY).send().await.unwrap().sse_customer_key_md5(), Some(KEY.1));
    let get = || suite.client.get_object().bucket(&suite.bucket).key("k");
    let with = |(key, digest): (&str, &str)| {
        get().sse_customer_algorithm("AES256").sse_customer_key(key).sse_customer_key_md5(digest)
    };
    let found = with(KEY).send().await.unwrap();
    assert_eq!((found.sse_customer_algorithm(), found.content_length()), (Some("AES256"), Some(3_000_000)));
    assert!(whole(found).await == body);
    let ranged = with(KEY).range("bytes=1000000-1999999").send().await.unwrap();
    assert!(whole(ranged).await == body[1_000_000..2_000_000]);
    refused(get().send().await, 400, "InvalidRequest");
    refused(with(OTHER).send().await, 400, "InvalidRequest");
    refused(put((KEY.0, OTHER.1)).send().await, 400, "InvalidArgument");
    let copy = suite.client.copy_object().bucket(&suite.bucket).key("plain").copy_source(format!("{}/k", suite.bucket));
    let copy = copy.copy_source_sse_customer_algorithm("AES256").copy_source_sse_customer_key(KEY.0);
    copy.copy_source_sse_customer_key_md5(KEY.1).send().await.unwrap();
    assert!(suite.read("plain").await == body);
}
