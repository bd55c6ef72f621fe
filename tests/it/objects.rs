//! Objects over HTTP, with the harness's own client: put, get, ranges, listings, multipart uploads, conditions.

use crate::harness::client::{Body, PAGES_MAX, S3};
use crate::harness::server::Server;
use crate::harness::settings::number;
use crate::harness::{data, xml};
use md5::{Digest, Md5};
use std::io::{BufRead, BufReader, Write};
use std::sync::Barrier;

fn md5_etag(bytes: &[u8]) -> String {
    format!("\"{}\"", data::hex(&Md5::digest(bytes)))
}

fn bucket(s3: &S3) -> &'static str {
    s3.create_bucket("bucket").unwrap().expect(200);
    "bucket"
}

/// F1: the ETag is the content's MD5, the same from PUT, GET, HEAD and the listing.
#[test]
fn an_object_reads_back_with_its_headers_and_etag() {
    let (_root, server) = Server::fresh();
    let s3 = server.client();
    let bucket = bucket(&s3);
    for len in [0, 1, 16 << 10, 100_000, 3 << 20] {
        let (key, bytes) = (format!("of/{len}"), data::bytes(len as u64, len));
        let headers = [("content-type", "text/x"), ("cache-control", "no-store"), ("x-amz-meta-a", "b c")];
        let put = s3.put_with(bucket, &key, &bytes, &headers).unwrap().expect(200);
        assert_eq!(put.header("etag"), md5_etag(&bytes));
        let got = s3.get(bucket, &key).unwrap().expect(200);
        assert!(got.body == bytes);
        let head = s3.head(bucket, &key).unwrap().expect(200);
        for answer in [&got, &head] {
            assert_eq!(answer.header("etag"), md5_etag(&bytes));
            assert_eq!(answer.header("content-length"), len.to_string());
            assert_eq!(answer.header("content-type"), "text/x");
            assert_eq!(answer.header("cache-control"), "no-store");
            assert_eq!(answer.header("x-amz-meta-a"), "b c");
        }
        assert!(s3.list_all(bucket).unwrap().contains(&(key.clone(), md5_etag(&bytes))));
        s3.delete(bucket, &key).unwrap().expect(204);
        assert_eq!(s3.get(bucket, &key).unwrap().expect(404).code(), "NoSuchKey");
    }
}

#[test]
fn keys_of_every_shape_come_back_as_they_were() {
    let (_root, server) = Server::fresh();
    let s3 = server.client();
    let bucket = bucket(&s3);
    let long = "k".repeat(1024);
    let mut keys = vec![
        "a",
        "a/b",
        "a//b",
        "../up",
        "with space",
        "plus+and%25",
        "ünïcödé/…",
        "~tilde.(x)",
        "'quotes'&<tags>",
        "\u{1f40e}",
        &long,
    ];
    for key in &keys {
        s3.put(bucket, key, key.as_bytes()).unwrap().expect(200);
    }
    for key in &keys {
        assert_eq!(s3.get(bucket, key).unwrap().expect(200).body, key.as_bytes());
    }
    keys.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
    let listed: Vec<String> = s3.list_all(bucket).unwrap().into_iter().map(|(key, _)| key).collect();
    assert_eq!(listed, keys);
    assert_eq!(s3.put(bucket, &format!("{long}k"), b"").unwrap().expect(400).code(), "KeyTooLongError");
}

/// P5: suffix ranges are right.
#[test]
fn every_form_of_range_returns_exactly_its_bytes() {
    let (_root, server) = Server::fresh_four();
    let s3 = server.client();
    let bucket = bucket(&s3);
    let bytes = data::bytes(1, 2_500_000);
    s3.put(bucket, "k", &bytes).unwrap().expect(200);
    let last = bytes.len() - 1;
    let cases: [(String, std::ops::Range<usize>); 7] = [
        ("bytes=0-0".into(), 0..1),
        ("bytes=100-299".into(), 100..300),
        ("bytes=262143-262144".into(), 262_143..262_145),
        ("bytes=1000000-2000000".into(), 1_000_000..2_000_001),
        (format!("bytes={last}-"), last..last + 1),
        ("bytes=-5".into(), last - 4..last + 1),
        ("bytes=2400000-9999999".into(), 2_400_000..last + 1),
    ];
    for (header, range) in cases {
        let answer = s3.get_with(bucket, "k", &[("range", &header)]).unwrap().expect(206);
        assert!(answer.body == bytes[range.clone()], "{header}");
        let expected = format!("bytes {}-{}/{}", range.start, range.end - 1, bytes.len());
        assert_eq!(answer.header("content-range"), expected);
    }
    let beyond = s3.get_with(bucket, "k", &[("range", "bytes=2500000-")]).unwrap().expect(416);
    assert_eq!(beyond.code(), "InvalidRange");
    for none in ["bytes=0-1,3-4", "bytes=5-2", "bytes=a-b", "bytes=-", "lines=0-4"] {
        let whole = s3.get_with(bucket, "k", &[("range", none)]).unwrap().expect(200);
        assert!(whole.body == bytes && whole.header("content-range").is_empty(), "{none}");
    }
}

/// P5: a range of a large object reads only the stripes that it touches.
#[test]
fn a_range_of_a_large_object_reads_little_more_than_itself_from_disk() {
    let (_root, server) = Server::fresh();
    let s3 = server.client();
    let bucket = bucket(&s3);
    let megabytes = usize::try_from(number("SHERD_TEST_RANGE_MB").unwrap_or(160)).unwrap();
    let part = data::bytes(1, 8 << 20);
    let parts = vec![part.as_slice(); megabytes / 8];
    s3.put_multipart(bucket, "large", &parts).unwrap().expect(200);
    let whole: Vec<u8> = parts[..4].concat();
    let start = (12 << 20) + 12_345;
    let before = server.process().disk_bytes();
    let range = format!("bytes={start}-{}", start + (8 << 20) - 1);
    let answer = s3.get_with(bucket, "large", &[("range", &range)]).unwrap().expect(206);
    let read = server.process().disk_bytes().read - before.read;
    assert!(answer.body == whole[start..start + (8 << 20)]);
    let least = if before.are_counted() { 8 << 20 } else { 0 };
    assert!((least..10 << 20).contains(&read), "{read} bytes were read for a range of 8 MiB");
}

#[test]
fn listings_are_in_byte_order_with_prefixes_and_pages() {
    let (_root, server) = Server::fresh();
    let s3 = server.client();
    let bucket = bucket(&s3);
    for key in ["a", "b/1", "b/2", "b/c/3", "b0", "ä", "z"] {
        s3.put(bucket, key, b"x").unwrap().expect(200);
    }
    let list = |query: &[(&str, &str)]| {
        let query: Vec<(&str, &str)> = [("list-type", "2")].iter().chain(query).copied().collect();
        s3.call("GET", "/bucket", &query, &[], Body::None).unwrap().expect(200).text()
    };
    let top = list(&[("delimiter", "/")]);
    assert_eq!(xml::texts(&top, "Key"), ["a", "b0", "z", "ä"]);
    assert_eq!(xml::texts(&top, "Prefix").into_iter().filter(|prefix| !prefix.is_empty()).collect::<Vec<_>>(), ["b/"]);
    assert_eq!(xml::texts(&list(&[("prefix", "b/")]), "Key"), ["b/1", "b/2", "b/c/3"]);
    assert_eq!(xml::texts(&list(&[("start-after", "b/2")]), "Key"), ["b/c/3", "b0", "z", "ä"]);
    let mut keys = Vec::new();
    let mut token = String::new();
    for page in 0.. {
        assert!(page < PAGES_MAX, "the listing does not end");
        let mut query = vec![("max-keys", "2")];
        if !token.is_empty() {
            query.push(("continuation-token", &token));
        }
        let page = list(&query);
        keys.extend(xml::texts(&page, "Key"));
        if xml::text(&page, "IsTruncated") != "true" {
            break;
        }
        token = xml::text(&page, "NextContinuationToken");
    }
    assert_eq!(keys, ["a", "b/1", "b/2", "b/c/3", "b0", "z", "ä"]);
}

/// M3: completion, HEAD, GET and the listing return the same ETag. M1: a completion changes metadata only.
#[test]
fn a_multipart_upload_becomes_one_object() {
    let (_root, server) = Server::fresh_four();
    let s3 = server.client();
    let bucket = bucket(&s3);
    let parts: Vec<Vec<u8>> =
        [5 << 20, 6 << 20, 77].iter().enumerate().map(|(at, len)| data::bytes(at as u64, *len)).collect();
    let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    let done = s3.put_multipart(bucket, "k", &slices).unwrap().expect(200);
    let digests: Vec<u8> = parts.iter().flat_map(|part| Md5::digest(part).to_vec()).collect();
    let etag = format!("\"{}-3\"", data::hex(&Md5::digest(&digests)));
    assert_eq!(xml::text(&done.text(), "ETag"), etag);
    assert_eq!(s3.head(bucket, "k").unwrap().header("etag"), etag);
    assert_eq!(s3.list_all(bucket).unwrap(), [("k".to_owned(), etag.clone())]);
    let got = s3.get(bucket, "k").unwrap().expect(200);
    assert_eq!(got.header("etag"), etag);
    assert!(got.body == parts.concat());
    let across = format!("bytes={}-{}", (5 << 20) - 10, (5 << 20) + 9);
    let answer = s3.get_with(bucket, "k", &[("range", &across)]).unwrap().expect(206);
    assert!(answer.body == parts.concat()[(5 << 20) - 10..(5 << 20) + 10]);
    let second = s3.call("GET", "/bucket/k", &[("partNumber", "2")], &[], Body::None).unwrap().expect(206);
    assert!(second.body == parts[1]);
}

#[test]
fn an_aborted_or_wrong_completion_leaves_no_object() {
    let (_root, server) = Server::fresh();
    let s3 = server.client();
    let bucket = bucket(&s3);
    let upload = s3.create_upload(bucket, "k").unwrap();
    let part = s3.put_part(bucket, "k", &upload, 1, &data::bytes(1, 1000)).unwrap().expect(200);
    let small = s3.put_part(bucket, "k", &upload, 2, &data::bytes(2, 1000)).unwrap().expect(200);
    let etags = [part.header("etag").to_owned(), small.header("etag").to_owned()];
    assert_eq!(s3.complete_upload(bucket, "k", &upload, &etags).unwrap().expect(400).code(), "EntityTooSmall");
    let wrong = ["\"00000000000000000000000000000000\"".to_owned()];
    assert_eq!(s3.complete_upload(bucket, "k", &upload, &wrong).unwrap().expect(400).code(), "InvalidPart");
    s3.call("DELETE", "/bucket/k", &[("uploadId", &upload)], &[], Body::None).unwrap().expect(204);
    assert_eq!(s3.complete_upload(bucket, "k", &upload, &etags[..1]).unwrap().expect(404).code(), "NoSuchUpload");
    s3.get(bucket, "k").unwrap().expect(404);
}

/// The condition of a write is decided when the write is applied, so that exactly one of many concurrent ones wins.
#[test]
fn exactly_one_of_a_hundred_concurrent_creations_succeeds() {
    let (_root, server) = Server::fresh_four();
    let s3 = server.client();
    let bucket = bucket(&s3);
    for (round, len) in [100, 300_000].into_iter().enumerate() {
        let key = format!("race-{round}");
        let barrier = Barrier::new(100);
        let statuses: Vec<u16> = std::thread::scope(|scope| {
            let race = |number: u64| {
                let (s3, barrier, key) = (s3.clone(), &barrier, &key);
                scope.spawn(move || {
                    let bytes = data::bytes(number, len);
                    barrier.wait();
                    s3.put_with(bucket, key, &bytes, &[("if-none-match", "*")]).unwrap().status
                })
            };
            let racers: Vec<_> = (0..100).map(race).collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).collect()
        });
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
        assert!(statuses.iter().all(|status| matches!(status, 200 | 409 | 412)), "{statuses:?}");
    }
}

#[test]
fn an_upload_that_ends_after_versioning_was_enabled_is_answered_with_its_version() {
    let (_root, server) = Server::fresh();
    let s3 = server.client();
    let bucket = bucket(&s3);
    let (status, mut upload) = s3.announce(bucket, "key").unwrap();
    assert_eq!(status, 100);
    let enabled = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    s3.call("PUT", &format!("/{bucket}"), &[("versioning", "")], &[], Body::Signed(enabled)).unwrap().expect(200);
    upload.write_all(b"0123456789").unwrap();
    let version = BufReader::new(upload)
        .lines()
        .map(|line| line.unwrap().to_lowercase())
        .skip_while(|line| !line.contains(" 200 "))
        .take_while(|line| !line.is_empty())
        .find_map(|line| line.strip_prefix("x-amz-version-id: ").map(str::to_owned));
    let stored = s3.head(bucket, "key").unwrap().expect(200);
    assert_eq!(version.as_deref(), Some(stored.header("x-amz-version-id")));
}

#[test]
fn a_copy_has_the_bytes_of_its_source() {
    let (_root, server) = Server::fresh();
    let s3 = server.client();
    let bucket = bucket(&s3);
    // F2: never an empty object.
    for len in [10, 500_000] {
        let bytes = data::bytes(len as u64, len);
        s3.put(bucket, "source", &bytes).unwrap().expect(200);
        let copied =
            s3.call("PUT", "/bucket/target", &[], &[("x-amz-copy-source", "/bucket/source")], Body::None).unwrap();
        assert_eq!(xml::text(&copied.expect(200).text(), "ETag"), md5_etag(&bytes));
        s3.delete(bucket, "source").unwrap().expect(204);
        assert!(s3.get(bucket, "target").unwrap().expect(200).body == bytes);
    }
}
