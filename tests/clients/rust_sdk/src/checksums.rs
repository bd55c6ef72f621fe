//! Checksums, which this SDK sends with every write and verifies with every read: by header, by trailer, of parts.

use std::fs;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode, ChecksumType, CompletedMultipartUpload, CompletedPart};

use crate::suite::{PART_BYTES, Suite, content, refused, variable, whole};

const ALGORITHMS: [ChecksumAlgorithm; 5] = [
    ChecksumAlgorithm::Crc32,
    ChecksumAlgorithm::Crc32C,
    ChecksumAlgorithm::Crc64Nvme,
    ChecksumAlgorithm::Sha1,
    ChecksumAlgorithm::Sha256,
];

/// Collects all checksums of an answer, in the order of `ALGORITHMS`.
macro_rules! told {
    ($answer:expr) => {
        [
            $answer.checksum_crc32(),
            $answer.checksum_crc32_c(),
            $answer.checksum_crc64_nvme(),
            $answer.checksum_sha1(),
            $answer.checksum_sha256(),
        ]
        .map(|text| text.map(str::to_owned))
    };
}

pub async fn each_algorithm(suite: Suite) {
    let known = [
        "y/Q5Jg==",
        "4waSgw==",
        "rosUhgp5mIg=",
        "98O8HYCOBHMq32eZZczDTKeuNEE=",
        "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=",
    ];
    for (place, algorithm) in ALGORITHMS.into_iter().enumerate() {
        let put = suite.client.put_object().bucket(&suite.bucket).key("k").body(ByteStream::from_static(b"123456789"));
        let sent = put.checksum_algorithm(algorithm.clone()).send().await.unwrap();
        let get = suite.client.get_object().bucket(&suite.bucket).key("k").checksum_mode(ChecksumMode::Enabled);
        let found = get.send().await.unwrap();
        assert_eq!(told!(sent), told!(found));
        for (other, text) in told!(found).iter().enumerate() {
            let right = text.as_ref().is_some_and(|text| text == known[other]);
            assert_eq!(right, other == place, "{algorithm:?}: {text:?}");
        }
        assert_eq!(found.checksum_type(), Some(&ChecksumType::FullObject));
        assert_eq!(whole(found).await, b"123456789");
    }
    let put = suite.client.put_object().bucket(&suite.bucket).key("k").body(ByteStream::from_static(b"123456789"));
    assert_eq!(put.send().await.unwrap().checksum_crc32(), Some(known[0]), "by default");
}

pub async fn streams_with_trailers(suite: Suite) {
    let path = format!("{}/stream", variable("WORK"));
    for length in [0, 1, 70_000, 3_000_000] {
        let body = content(length, 5);
        fs::write(&path, &body).unwrap();
        for (place, algorithm) in ALGORITHMS.into_iter().enumerate() {
            let stream = ByteStream::from_path(&path).await.unwrap();
            let put = suite.client.put_object().bucket(&suite.bucket).key("k").body(stream);
            let sent = put.checksum_algorithm(algorithm).send().await.unwrap();
            let get = suite.client.get_object().bucket(&suite.bucket).key("k").checksum_mode(ChecksumMode::Enabled);
            let found = get.send().await.unwrap();
            assert!(told!(found)[place].is_some() && told!(found) == told!(sent), "{found:?}");
            assert_eq!(found.content_encoding(), None);
            assert!(whole(found).await == body);
        }
    }
}

pub async fn wrong_ones_are_refused(suite: Suite) {
    let put = || suite.client.put_object().bucket(&suite.bucket).key("k").body(ByteStream::from_static(b"123456789"));
    refused(put().checksum_crc32("AAAAAA==").send().await, 400, "BadDigest");
    refused(put().checksum_crc64_nvme("AAAAAAAAAAA=").send().await, 400, "BadDigest");
    refused(put().content_md5("1B2M2Y8AsgTpgAmY7PhCfg==").send().await, 400, "BadDigest");
    refused(suite.client.head_object().bucket(&suite.bucket).key("k").send().await, 404, "NotFound");
}

pub async fn of_objects_of_parts(suite: Suite) {
    for (algorithm, kind) in [
        (ChecksumAlgorithm::Sha256, ChecksumType::Composite),
        (ChecksumAlgorithm::Crc32, ChecksumType::Composite),
        (ChecksumAlgorithm::Crc32C, ChecksumType::FullObject),
        (ChecksumAlgorithm::Crc64Nvme, ChecksumType::FullObject),
    ] {
        let create = suite.client.create_multipart_upload().bucket(&suite.bucket).key("k");
        let create = create.checksum_algorithm(algorithm.clone()).checksum_type(kind.clone());
        let id = create.send().await.unwrap().upload_id().unwrap().to_owned();
        let mut parts = Vec::new();
        for (number, length) in [(1, PART_BYTES), (2, 9)] {
            let part = suite.client.upload_part().bucket(&suite.bucket).key("k").upload_id(&id).part_number(number);
            let part = part.body(content(length, 6).into()).checksum_algorithm(algorithm.clone());
            let sent = part.send().await.unwrap();
            let [crc32, crc32_c, crc64_nvme, sha1, sha256] = told!(sent);
            let done =
                CompletedPart::builder().part_number(number).e_tag(sent.e_tag().unwrap()).set_checksum_crc32(crc32);
            let done = done.set_checksum_crc32_c(crc32_c).set_checksum_crc64_nvme(crc64_nvme).set_checksum_sha1(sha1);
            parts.push(done.set_checksum_sha256(sha256).build());
        }
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let complete = suite.client.complete_multipart_upload().bucket(&suite.bucket).key("k").upload_id(id);
        let done = complete.multipart_upload(parts).checksum_type(kind.clone()).send().await.unwrap();
        let get = suite.client.get_object().bucket(&suite.bucket).key("k").checksum_mode(ChecksumMode::Enabled);
        let found = get.send().await.unwrap();
        assert_eq!((told!(done), found.checksum_type()), (told!(found), Some(&kind)));
        let composite = told!(found).into_iter().flatten().all(|text| text.ends_with("-2"));
        assert_eq!(composite, kind == ChecksumType::Composite, "{found:?}");
        assert!(whole(found).await == [content(PART_BYTES, 6), content(9, 6)].concat());
    }
}
