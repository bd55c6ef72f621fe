//! The mixed load of one client over all hosts, on keys that it alone changes; every answer is compared with its
//! ledger.

use crate::harness::client::{Answer, Body, S3};
use crate::harness::content::Content;
use crate::harness::data::Random;
use crate::harness::xml;
use crate::ledger::{Ledger, Made};
use crate::report::Report;
use crate::retries::{Tried, is_failure, with_retries_on};
use std::thread;
use std::time::Duration;

pub const BUCKET: &str = "load";
const KEYS: u64 = 30;
const PART_BYTES: usize = 5 << 20;

pub struct Client {
    hosts: Vec<S3>,
    /// The numbers of the hosts that it sends to.
    used: Vec<usize>,
    number: usize,
    /// The time from an answer to the next request.
    pub pause: Duration,
    pub ledger: Ledger,
    random: Random,
    pub report: Report,
}

impl Client {
    pub fn new(hosts: Vec<S3>, number: usize, seed: u64) -> Self {
        let random = Random::new(seed.wrapping_mul(7919).wrapping_add(number as u64));
        let used = (0..hosts.len()).collect();
        let (pause, ledger, report) = (Duration::ZERO, Ledger::default(), Report::default());
        Self { hosts, used, number, pause, ledger, random, report }
    }

    /// Sends to the other hosts only until `verify`, as behind a load balancer that has noticed that this host is
    /// silent.
    pub fn spare(&mut self, host: usize) {
        self.used.retain(|used| *used != host);
    }

    pub fn run(&mut self, is_over: &(dyn Fn() -> bool + Sync)) {
        while !is_over() {
            let key = format!("c{}/{}", self.number, self.random.below(KEYS));
            match self.random.below(40) {
                0..=7 => self.put(&key, 0, 16_000),
                8..=13 => self.put(&key, 16_000, 300_000),
                14..=17 => self.delete(&key),
                18..=20 => self.create(&key),
                21..=23 => self.replace(&key),
                24..=30 => self.get(&key),
                31..=34 => self.range(&key),
                35..=38 => self.list(),
                _ => self.multipart(&key),
            }
            thread::sleep(self.pause);
        }
    }

    fn content(&mut self, len_min: u64, len_max: u64) -> Made {
        let len = len_min + self.random.below(len_max - len_min);
        Made::of(Content { seed: self.random.next(), lens: vec![usize::try_from(len).expect("it is small")] })
    }

    fn send(&mut self, what: &str, request: impl Fn(&S3) -> crate::harness::client::Answered) -> Tried {
        let tried = with_retries_on(&self.used, &self.hosts, &mut self.random, request);
        self.report.tried(what, &tried);
        tried
    }

    /// Records the outcome of a write's tries. A status in `expected` means that the last try changed nothing.
    fn record(&mut self, what: &str, key: &str, made: Option<Made>, tried: &Tried, expected: &[u16]) {
        if tried.may_have_happened() {
            self.ledger.suspect(key, made.clone());
        }
        match tried.status() {
            200 | 204 => self.ledger.acknowledge(key, made),
            0 => {}
            status if expected.contains(&status) => {}
            _ => self.report.violation(format!("{what} of {key} was answered {}", words(tried))),
        }
    }

    fn put(&mut self, key: &str, len_min: u64, len_max: u64) {
        let made = self.content(len_min, len_max);
        let bytes = made.content.bytes();
        let tried = self.send("put", |s3| s3.put(BUCKET, key, &bytes));
        self.record("a put", key, Some(made), &tried, &[]);
    }

    fn delete(&mut self, key: &str) {
        let tried = self.send("delete", |s3| s3.delete(BUCKET, key));
        self.record("a delete", key, None, &tried, &[]);
    }

    /// Puts with `If-None-Match: *`.
    fn create(&mut self, key: &str) {
        let made = self.content(0, 50_000);
        let bytes = made.content.bytes();
        let was = self.ledger.certain(key).map(|held| held.is_some());
        let tried = self.send("create", |s3| s3.put_with(BUCKET, key, &bytes, &[("if-none-match", "*")]));
        match (was, tried.status()) {
            (Some(true), 200) => self.report.violation(format!("{key} was created where an object was known to be")),
            // A failed try may have created the object, so only without one is this a violation.
            (Some(false), 412) if !tried.may_have_happened() => {
                self.report.violation(format!("{key} was not created where nothing was known to be"));
            }
            _ => {}
        }
        self.record("a create", key, Some(made), &tried, &[412]);
    }

    /// Puts with `If-Match` and the ETag of the object that is known to exist.
    fn replace(&mut self, key: &str) {
        let Some(Some(held)) = self.ledger.certain(key).map(|held| held.cloned()) else { return self.get(key) };
        let made = self.content(0, 50_000);
        let bytes = made.content.bytes();
        let tried = self.send("replace", |s3| s3.put_with(BUCKET, key, &bytes, &[("if-match", &held.etag)]));
        if matches!(tried.status(), 404 | 412) && !tried.may_have_happened() {
            let words = words(&tried);
            self.report.violation(format!("{key} was not replaced where {} was known to be: {words}", held.etag));
        }
        self.record("a replacement", key, Some(made), &tried, &[404, 412]);
    }

    fn multipart(&mut self, key: &str) {
        let last = usize::try_from(1 + self.random.below(100_000)).expect("it is small");
        let made = Made::of(Content { seed: self.random.next(), lens: vec![PART_BYTES, last] });
        let path = format!("/{BUCKET}/{key}");
        let begun = self.send("create upload", |s3| s3.call("POST", &path, &[("uploads", "")], &[], Body::None));
        let Some(answer) = self.step("the begin of an upload", key, begun) else { return };
        let upload = xml::text(&answer.text(), "UploadId");
        let mut etags = Vec::new();
        for (at, part) in made.content.parts().iter().enumerate() {
            let tried = self.send("put part", |s3| s3.put_part(BUCKET, key, &upload, at + 1, part));
            let Some(answer) = self.step("a part", key, tried) else { return };
            etags.push(answer.header("etag").to_owned());
        }
        let tried = self.send("complete upload", |s3| s3.complete_upload(BUCKET, key, &upload, &etags));
        self.record("a completion", key, Some(made), &tried, &[]);
    }

    /// Returns the answer to a step of an upload if it succeeded. No step may be refused because a step was tried
    /// twice.
    fn step(&mut self, what: &str, key: &str, tried: Tried) -> Option<Answer> {
        if !matches!(tried.status(), 0 | 200) {
            self.report.violation(format!("{what} of {key} was answered {}", words(&tried)));
        }
        tried.answer.filter(|answer| answer.status == 200)
    }

    fn get(&mut self, key: &str) {
        let tried = self.send("get", |s3| s3.get(BUCKET, key));
        let Some(answer) = &tried.answer else { return };
        let found = match answer.status {
            200 => Some(answer.header("etag")),
            404 => None,
            _ => return self.report.violation(format!("a get of {key} was answered {}", words(&tried))),
        };
        match self.ledger.look(key, found) {
            Err(why) => self.report.violation(format!("get: {why}")),
            Ok(Some(made)) if answer.body != made.content.bytes() => {
                self.report.violation(format!("a get of {key} gave wrong bytes: {} of them", answer.body.len()));
            }
            Ok(_) => {}
        }
    }

    fn range(&mut self, key: &str) {
        let Some(Some(held)) = self.ledger.certain(key).map(|held| held.cloned()) else { return self.get(key) };
        let bytes = held.content.bytes();
        if bytes.is_empty() {
            return self.get(key);
        }
        let first = usize::try_from(self.random.below(bytes.len() as u64)).expect("it is small");
        let last = (first + 100_000).min(bytes.len() - 1);
        let range = format!("bytes={first}-{last}");
        let tried = self.send("range", |s3| s3.get_with(BUCKET, key, &[("range", &range)]));
        let Some(answer) = &tried.answer else { return };
        if answer.status != 206 || answer.body != bytes[first..=last] {
            let len = answer.body.len();
            self.report.violation(format!("{range} of {key} gave {len} bytes, not the right ones: {}", words(&tried)));
        }
    }

    fn list(&mut self) {
        let prefix = format!("c{}/", self.number);
        let query = [("list-type", "2"), ("prefix", prefix.as_str())];
        let tried = self.send("list", |s3| s3.call("GET", &format!("/{BUCKET}"), &query, &[], Body::None));
        let Some(answer) = &tried.answer else { return };
        if answer.status != 200 {
            return self.report.violation(format!("a list was answered {}", words(&tried)));
        }
        let text = answer.text();
        let listed: Vec<(String, String)> =
            xml::texts(&text, "Key").into_iter().zip(xml::texts(&text, "ETag")).collect();
        for number in 0..KEYS {
            let key = format!("{prefix}{number}");
            let etag = listed.iter().find(|(name, _)| *name == key).map(|(_, etag)| etag.as_str());
            if let Err(why) = self.ledger.look(&key, etag) {
                self.report.violation(format!("list: {why}"));
            }
        }
    }

    /// Verifies everything once while nothing else is under way: lists on each host, and reads each object.
    pub fn verify(&mut self) {
        for host in 0..self.hosts.len() {
            self.used = vec![host];
            self.list();
        }
        self.used = (0..self.hosts.len()).collect();
        for number in 0..KEYS {
            self.get(&format!("c{}/{number}", self.number));
        }
        self.ledger.settle();
    }
}

fn words(tried: &Tried) -> String {
    let code = tried.answer.as_ref().map(|answer| answer.code()).unwrap_or_default();
    debug_assert!(!is_failure(tried.status()) || tried.answer.is_none());
    format!("{} {code} ({})", tried.status(), tried.words())
}
