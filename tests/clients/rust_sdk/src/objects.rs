//! Objects: written, read in ranges and under conditions, copied, tagged, deleted.

use std::fs;
use std::time::{Duration, SystemTime};

use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{Delete, MetadataDirective, Tag, Tagging};

use crate::suite::{Suite, content, identifier, refused, variable, whole};

pub async fn objects_of_any_size_come_back(suite: Suite) {
    for length in [0, 1, 1000, 65_536, (1 << 20) + 1, (9 << 20) + 13] {
        let body = content(length, 1);
        suite.put("k", body.clone()).await;
        let found = suite.client.get_object().bucket(&suite.bucket).key("k").send().await.unwrap();
        assert_eq!(found.content_length(), Some(length as i64));
        assert!(whole(found).await == body, "other bytes of {length}");
    }
}

pub async fn a_stream_of_64_mib_goes_and_comes(suite: Suite) {
    let (path, body) = (format!("{}/large", variable("WORK")), content(64 << 20, 7));
    fs::write(&path, &body).unwrap();
    let stream = ByteStream::from_path(&path).await.unwrap();
    suite.client.put_object().bucket(&suite.bucket).key("large").body(stream).send().await.unwrap();
    let mut found = suite.client.get_object().bucket(&suite.bucket).key("large").send().await.unwrap();
    let mut at = 0;
    while let Some(piece) = found.body.try_next().await.unwrap() {
        assert!(piece[..] == body[at..at + piece.len()], "other bytes from {at}");
        at += piece.len();
    }
    assert_eq!(at, body.len());
    fs::remove_file(&path).unwrap();
}

pub async fn headers_and_metadata_come_back(suite: Suite) {
    let put = suite.client.put_object().bucket(&suite.bucket).key("k").body(ByteStream::from_static(b"hello"));
    let put = put.content_type("text/x-mine; a=b").cache_control("max-age=5").content_language("de");
    let put =
        put.content_disposition("attachment; filename=\"a b\"").metadata("Colour", "light blue").metadata("empty", "");
    let tag = put.expires(DateTime::from_secs(2_000_000_000)).send().await.unwrap().e_tag().unwrap().to_owned();
    let found = suite.client.head_object().bucket(&suite.bucket).key("k").send().await.unwrap();
    assert_eq!((found.content_length(), found.e_tag()), (Some(5), Some(tag.as_str())));
    assert_eq!((found.content_type(), found.cache_control()), (Some("text/x-mine; a=b"), Some("max-age=5")));
    assert_eq!(found.content_disposition(), Some("attachment; filename=\"a b\""));
    assert_eq!((found.content_language(), found.accept_ranges()), (Some("de"), Some("bytes")));
    assert_eq!(found.expires_string(), Some("Wed, 18 May 2033 03:33:20 GMT"));
    let metadata = found.metadata().unwrap();
    assert_eq!((metadata["colour"].as_str(), metadata["empty"].as_str(), metadata.len()), ("light blue", "", 2));
    let age = SystemTime::now().duration_since(SystemTime::try_from(*found.last_modified().unwrap()).unwrap());
    assert!(age.unwrap_or_default() < Duration::from_secs(60));
}

pub async fn ranges(suite: Suite) {
    let body = content(3_000_000, 2);
    suite.put("k", body.clone()).await;
    let get = |range: &str| suite.client.get_object().bucket(&suite.bucket).key("k").range(range).send();
    for (range, from, to) in [
        ("bytes=0-0", 0, 1),
        ("bytes=1048575-1048577", 1_048_575, 1_048_578),
        ("bytes=-5", 2_999_995, 3_000_000),
        ("bytes=2000000-", 2_000_000, 3_000_000),
        ("bytes=10-9999999", 10, 3_000_000),
    ] {
        let found = get(range).await.unwrap();
        assert_eq!(found.content_range(), Some(format!("bytes {from}-{}/3000000", to - 1).as_str()));
        assert!(whole(found).await == body[from..to], "{range}");
    }
    refused(get("bytes=3000000-").await, 416, "InvalidRange");
}

pub async fn reads_under_conditions(suite: Suite) {
    suite.put("k", "x").await;
    let get = || suite.client.get_object().bucket(&suite.bucket).key("k");
    let found = get().send().await.unwrap();
    let (tag, modified) = (found.e_tag().unwrap(), *found.last_modified().unwrap());
    let (before, after) = (DateTime::from_secs(modified.secs() - 60), DateTime::from_secs(modified.secs() + 1));
    assert!(get().if_match(tag).if_modified_since(before).send().await.is_ok());
    assert!(get().if_none_match("\"other\"").if_unmodified_since(after).send().await.is_ok());
    refused(get().if_none_match(tag).send().await, 304, "NotModified");
    refused(get().if_modified_since(modified).send().await, 304, "NotModified");
    refused(get().if_match("\"other\"").send().await, 412, "PreconditionFailed");
    refused(get().if_unmodified_since(before).send().await, 412, "PreconditionFailed");
    let head = suite.client.head_object().bucket(&suite.bucket).key("k").if_match("\"other\"");
    refused(head.send().await, 412, "PreconditionFailed");
}

pub async fn writes_under_conditions(suite: Suite) {
    let put = |body: &'static [u8]| {
        suite.client.put_object().bucket(&suite.bucket).key("k").body(ByteStream::from_static(body))
    };
    refused(put(b"0").if_match("\"other\"").send().await, 404, "NoSuchKey");
    let first = put(b"1").if_none_match("*").send().await.unwrap();
    refused(put(b"2").if_none_match("*").send().await, 412, "PreconditionFailed");
    refused(put(b"2").if_match("\"other\"").send().await, 412, "PreconditionFailed");
    assert_eq!(suite.read("k").await, b"1");
    put(b"3").if_match(first.e_tag().unwrap()).send().await.unwrap();
    assert_eq!(suite.read("k").await, b"3");
    let delete = suite.client.delete_object().bucket(&suite.bucket).key("k").if_match(first.e_tag().unwrap());
    refused(delete.send().await, 412, "PreconditionFailed");
}

pub async fn keys_of_any_letters(suite: Suite) {
    let long = "ü".repeat(512);
    for key in ["a b", "a+b", "%41", "ü/日本/🦀", "?a=b&c#d", "//a//", "a/./b/../c", "..", "'\"<>&", "-_.!~*'()", &long]
    {
        suite.put(key, key).await;
        assert_eq!(suite.read(key).await, key.as_bytes(), "{key}");
        let listed = suite.client.list_objects_v2().bucket(&suite.bucket).prefix(key).send().await.unwrap();
        assert_eq!(listed.contents().iter().map(|one| one.key().unwrap()).collect::<Vec<_>>(), [key]);
        suite.client.delete_object().bucket(&suite.bucket).key(key).send().await.unwrap();
    }
    let too_long = suite.client.put_object().bucket(&suite.bucket).key(format!("{long}x"));
    refused(too_long.send().await, 400, "KeyTooLongError");
}

pub async fn many_are_deleted_at_once(suite: Suite) {
    let keys: Vec<String> = (0..20).map(|number| format!("a&<{number}>")).collect();
    for key in &keys {
        suite.put(key, "x").await;
    }
    let named = keys.iter().chain([&"absent".to_owned()]).map(|key| identifier(Some(key.clone()), None)).collect();
    let delete = Delete::builder().set_objects(Some(named)).build().unwrap();
    let answer = suite.client.delete_objects().bucket(&suite.bucket).delete(delete).send().await.unwrap();
    assert_eq!((answer.deleted().len(), answer.errors().len()), (21, 0));
    let listed = suite.client.list_objects_v2().bucket(&suite.bucket).send().await.unwrap();
    assert_eq!(listed.key_count(), Some(0));
}

pub async fn tags(suite: Suite) {
    let (client, bucket) = (&suite.client, &suite.bucket);
    client.put_object().bucket(bucket).key("k").tagging("a=1&b=x%20y%2B").send().await.unwrap();
    let tag = |key: &str, value: &str| Tag::builder().key(key).value(value).build().unwrap();
    let found = client.get_object_tagging().bucket(bucket).key("k").send().await.unwrap();
    assert_eq!(found.tag_set(), [tag("a", "1"), tag("b", "x y+")]);
    assert_eq!(client.get_object().bucket(bucket).key("k").send().await.unwrap().tag_count(), Some(2));
    let tagging = Tagging::builder().tag_set(tag("c", "ü @/:")).build().unwrap();
    client.put_object_tagging().bucket(bucket).key("k").tagging(tagging).send().await.unwrap();
    let found = client.get_object_tagging().bucket(bucket).key("k").send().await.unwrap();
    assert_eq!(found.tag_set(), [tag("c", "ü @/:")]);
    client.delete_object_tagging().bucket(bucket).key("k").send().await.unwrap();
    assert!(client.get_object_tagging().bucket(bucket).key("k").send().await.unwrap().tag_set().is_empty());
    let eleven = (0..11).map(|number| tag(&number.to_string(), "")).collect();
    let tagging = Tagging::builder().set_tag_set(Some(eleven)).build().unwrap();
    let answer = client.put_object_tagging().bucket(bucket).key("k").tagging(tagging).send().await;
    refused(answer, 400, "BadRequest");
}

pub async fn copies(suite: Suite) {
    let (client, bucket) = (&suite.client, &suite.bucket);
    let body = content(2_000_000, 3);
    let put = client.put_object().bucket(bucket).key("from").body(body.clone().into()).metadata("a", "1");
    let tag = put.content_type("text/x").send().await.unwrap().e_tag().unwrap().to_owned();
    let copy = || client.copy_object().bucket(bucket).key("to").copy_source(format!("{bucket}/from"));
    let answer = copy().copy_source_if_match(&tag).send().await.unwrap();
    let result = answer.copy_object_result().unwrap();
    assert!(result.e_tag() == Some(tag.as_str()) && result.last_modified().is_some());
    let found = client.get_object().bucket(bucket).key("to").send().await.unwrap();
    assert_eq!((found.metadata().unwrap()["a"].as_str(), found.content_type()), ("1", Some("text/x")));
    assert!(whole(found).await == body);
    copy().metadata_directive(MetadataDirective::Replace).metadata("b", "2").send().await.unwrap();
    let metadata = client.head_object().bucket(bucket).key("to").send().await.unwrap().metadata().unwrap().clone();
    assert_eq!((metadata.get("a"), metadata["b"].as_str()), (None, "2"));
    refused(copy().copy_source_if_none_match(&tag).send().await, 412, "PreconditionFailed");
    let onto_itself = client.copy_object().bucket(bucket).key("from").copy_source(format!("{bucket}/from"));
    refused(onto_itself.send().await, 400, "InvalidRequest");
    let absent = client.copy_object().bucket(bucket).key("to").copy_source(format!("{bucket}/absent"));
    refused(absent.send().await, 404, "NoSuchKey");
}
