//! Uploads in parts: made, listed, given up, copied from others, and refused.

use aws_sdk_s3::operation::upload_part::builders::UploadPartFluentBuilder;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};

use crate::suite::{PART_BYTES, Suite, content, refused, whole};

/// One upload to key `k`.
pub struct Upload<'a> {
    suite: &'a Suite,
    pub id: String,
}

impl<'a> Upload<'a> {
    pub async fn begin(suite: &'a Suite) -> Self {
        let create = suite.client.create_multipart_upload().bucket(&suite.bucket).key("k").metadata("a", "1");
        Self { suite, id: create.send().await.unwrap().upload_id().unwrap().to_owned() }
    }

    pub fn part(&self, number: i32, body: Vec<u8>) -> UploadPartFluentBuilder {
        let part = self.suite.client.upload_part().bucket(&self.suite.bucket).key("k").upload_id(&self.id);
        part.part_number(number).body(body.into())
    }

    async fn put(&self, number: i32, body: Vec<u8>) -> CompletedPart {
        let tag = self.part(number, body).send().await.unwrap().e_tag().unwrap().to_owned();
        CompletedPart::builder().part_number(number).e_tag(tag).build()
    }

    async fn copy(&self, number: i32, range: &str) -> CompletedPart {
        let part = self.suite.client.upload_part_copy().bucket(&self.suite.bucket).key("k").upload_id(&self.id);
        let source = format!("{}/from", self.suite.bucket);
        let answer = part.part_number(number).copy_source(source).copy_source_range(range).send().await.unwrap();
        let tag = answer.copy_part_result().unwrap().e_tag().unwrap().to_owned();
        CompletedPart::builder().part_number(number).e_tag(tag).build()
    }
}

fn named(parts: &[CompletedPart]) -> CompletedMultipartUpload {
    CompletedMultipartUpload::builder().set_parts(Some(parts.to_vec())).build()
}

macro_rules! complete {
    ($upload:expr, $parts:expr) => {{
        let complete = $upload.suite.client.complete_multipart_upload().bucket(&$upload.suite.bucket).key("k");
        complete.upload_id(&$upload.id).multipart_upload(named($parts)).send().await
    }};
}

pub async fn parts_become_one_object(suite: Suite) {
    let bodies = [content(PART_BYTES, 1), content(PART_BYTES + 1, 2), content(5, 3)];
    let upload = Upload::begin(&suite).await;
    let mut parts = Vec::new();
    for (number, body) in [3, 1, 2].into_iter().map(|number| (number, bodies[number as usize - 1].clone())) {
        parts.push(upload.put(number, body).await);
    }
    parts.sort_by_key(CompletedPart::part_number);
    assert!(suite.client.head_object().bucket(&suite.bucket).key("k").send().await.is_err());
    let done = complete!(upload, &parts).unwrap();
    assert!(done.e_tag().unwrap().ends_with("-3\""), "{done:?}");
    let found = suite.client.get_object().bucket(&suite.bucket).key("k").send().await.unwrap();
    assert_eq!((found.metadata().unwrap()["a"].as_str(), found.e_tag()), ("1", done.e_tag()));
    assert!(whole(found).await == bodies.concat());
    for (number, body) in (1..).zip(&bodies) {
        let found = suite.client.get_object().bucket(&suite.bucket).key("k").part_number(number).send().await.unwrap();
        assert_eq!((found.parts_count(), found.content_length()), (Some(3), Some(body.len() as i64)));
        assert!(whole(found).await == *body, "part {number}");
    }
}

pub async fn parts_are_listed_and_given_up(suite: Suite) {
    let upload = Upload::begin(&suite).await;
    let mut numbers = vec![7, 1, 10_000];
    for number in numbers.clone() {
        upload.put(number, b"x".to_vec()).await;
    }
    numbers.sort();
    let list = || suite.client.list_parts().bucket(&suite.bucket).key("k").upload_id(&upload.id);
    let mut pages = list().into_paginator().page_size(2).send();
    let (mut found, mut count) = (Vec::new(), 0);
    while let Some(page) = pages.next().await {
        found.extend(page.unwrap().parts().iter().map(|part| (part.part_number().unwrap(), part.size().unwrap())));
        count += 1;
    }
    assert_eq!((found, count), (numbers.into_iter().map(|number| (number, 1)).collect(), 2));
    let uploads = suite.client.list_multipart_uploads().bucket(&suite.bucket).send().await.unwrap();
    let found = uploads.uploads().iter().map(|one| (one.key().unwrap(), one.upload_id().unwrap()));
    assert_eq!(found.collect::<Vec<_>>(), [("k", upload.id.as_str())]);
    let abort = suite.client.abort_multipart_upload().bucket(&suite.bucket).key("k").upload_id(&upload.id);
    abort.send().await.unwrap();
    refused(list().send().await, 404, "NoSuchUpload");
    refused(upload.part(1, b"x".to_vec()).send().await, 404, "NoSuchUpload");
}

pub async fn parts_that_are_copied(suite: Suite) {
    let body = content(2 * PART_BYTES, 4);
    suite.put("from", body.clone()).await;
    let upload = Upload::begin(&suite).await;
    let first = upload.copy(1, &format!("bytes=100-{}", PART_BYTES + 99)).await;
    let second = upload.copy(2, "bytes=0-9").await;
    complete!(upload, &[first, second]).unwrap();
    assert!(suite.read("k").await == [&body[100..PART_BYTES + 100], &body[..10]].concat());
}

pub async fn parts_that_do_not_fit(suite: Suite) {
    let upload = Upload::begin(&suite).await;
    let (first, second) = (upload.put(1, b"small".to_vec()).await, upload.put(2, b"x".to_vec()).await);
    refused(complete!(upload, &[first.clone(), second.clone()]), 400, "EntityTooSmall");
    refused(complete!(upload, &[second, first.clone()]), 400, "InvalidPartOrder");
    let other = CompletedPart::builder().part_number(3).e_tag(first.e_tag().unwrap()).build();
    refused(complete!(upload, &[first, other]), 400, "InvalidPart");
    refused(upload.part(10_001, b"x".to_vec()).send().await, 400, "InvalidArgument");
}
