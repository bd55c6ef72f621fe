//! Listings of a large bucket: the time of a page at different positions, and behind common prefixes that hide many
//! keys.

use super::target::Target;
use crate::harness::client::{Body, S3};
use crate::harness::xml;
use std::time::{Duration, Instant};

const BUCKET: &str = "many";
const WORKERS: usize = 64;
/// The number of requests for each page; the table shows the median.
const TIMES: usize = 25;

/// A kind of page, and its measured times.
#[derive(Clone, Debug)]
pub struct Page {
    pub name: &'static str,
    /// Keys and common prefixes on it.
    pub entries: usize,
    pub p50: Duration,
    pub longest: Duration,
}

/// Stores `keys` objects of one byte under a common prefix, with a few keys before and after it, and lists them. Also
/// returns the time that storing took.
pub fn measure(target: &Target, keys: usize) -> (Duration, Vec<Page>) {
    let s3 = target.client(0);
    s3.create_bucket(BUCKET).expect("the store answers").expect(200);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            let s3 = target.client(worker);
            scope.spawn(move || (worker..keys).step_by(WORKERS).for_each(|number| put(&s3, &key(number))));
        }
    });
    let stored = begun.elapsed();
    for number in 0..5 {
        put(&s3, &format!("a/{number}"));
        put(&s3, &format!("z{number}"));
    }
    let (middle, end) = (key(keys / 2), key(keys.saturating_sub(1001)));
    let pages = vec![
        page(&s3, "flat, the first", &[]),
        page(&s3, "flat, in the middle", &[("start-after", middle.as_str())]),
        page(&s3, "flat, the last thousand", &[("start-after", end.as_str())]),
        page(&s3, "flat, after the last key", &[("start-after", "zz")]),
        page(&s3, "delimiter /, all keys hidden by one prefix", &[("delimiter", "/")]),
        page(&s3, "delimiter /, after the hiding prefix", &[("delimiter", "/"), ("start-after", "n")]),
        page(
            &s3,
            "delimiter /, within the prefix, in the middle",
            &[("delimiter", "/"), ("prefix", "many/"), ("start-after", middle.as_str())],
        ),
        page(&s3, "a prefix that nothing has", &[("prefix", "many/none")]),
        page(&s3, "versions, in the middle", &[("versions", ""), ("key-marker", middle.as_str())]),
    ];
    (stored, pages)
}

fn key(number: usize) -> String {
    format!("many/{number:09}")
}

fn put(s3: &S3, key: &str) {
    s3.put(BUCKET, key, b"1").expect("the store answers").expect(200);
}

fn page(s3: &S3, name: &'static str, query: &[(&str, &str)]) -> Page {
    let mut query = query.to_vec();
    if !query.contains(&("versions", "")) {
        query.push(("list-type", "2"));
    }
    let mut entries = 0;
    let mut times: Vec<Duration> = (0..TIMES)
        .map(|_| {
            let from = Instant::now();
            let answer = s3.call("GET", &format!("/{BUCKET}"), &query, &[], Body::None);
            let text = answer.expect("the store answers").expect(200).text();
            let took = from.elapsed();
            entries = xml::texts(&text, "Key").len() + xml::texts(&text, "CommonPrefixes").len();
            took
        })
        .collect();
    times.sort();
    Page { name, entries, p50: times[TIMES / 2], longest: times[TIMES - 1] }
}

pub fn table(keys: usize, stored: Duration, pages: &[Page]) -> String {
    let mut text = format!(
        "{keys} keys, stored at {:.0} a second:\n\n| page of a listing | entries | p50 ms | longest ms |\n|---|---|---|---|\n",
        keys as f64 / stored.as_secs_f64()
    );
    for Page { name, entries, p50, longest } in pages {
        let millis = |time: &Duration| time.as_secs_f64() * 1e3;
        text.push_str(&format!("| {name} | {entries} | {:.2} | {:.2} |\n", millis(p50), millis(longest)));
    }
    text
}
