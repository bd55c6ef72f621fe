//! The load of one thread: puts, overwrites, multipart uploads, deletes and conditional puts on keys of its own, until
//! the server does not answer any more.

use crate::harness::client::{Answered, Body, S3};
use crate::harness::content::Content;
use crate::harness::data::Random;
use crate::ledger::Ledger;

const KEYS: u64 = 40;
const PART_BYTES: usize = 5 << 20;

struct Load<'a> {
    s3: &'a S3,
    bucket: &'a str,
    ledger: Ledger,
    random: Random,
    tally: Tally,
}

/// The number of answered requests, and of those that succeeded.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub answered: u64,
    pub succeeded: u64,
}

impl Tally {
    pub fn add(&mut self, other: Self) {
        self.answered += other.answered;
        self.succeeded += other.succeeded;
    }
}

/// Runs the load until the server does not answer; returns the ledger after the last operation, and the counts.
pub fn run(s3: &S3, bucket: &str, thread: u64, ledger: Ledger, seed: u64) -> (Ledger, Tally) {
    let mut load = Load { s3, bucket, ledger, random: Random::new(seed), tally: Tally::default() };
    loop {
        let key = format!("t{thread}/{}", load.random.below(KEYS));
        let alive = match load.random.below(20) {
            0..=7 => load.put(&key, 0, 20_000, &[]),
            8..=11 => load.put(&key, 20_000, 700_000, &[]),
            12..=14 => load.delete(&key),
            15..=16 => load.create(&key),
            17..=18 => load.replace(&key),
            _ => load.multipart(&key),
        };
        if alive.is_none() {
            return (load.ledger, load.tally);
        }
    }
}

impl Load<'_> {
    fn content(&mut self, len_min: u64, len_max: u64) -> Content {
        let len = len_min + self.random.below(len_max - len_min);
        Content { seed: self.random.next(), lens: vec![usize::try_from(len).expect("it is small")] }
    }

    /// Counts an answer and returns its status; `None` if there was no answer. Fails on a refusal that is not expected;
    /// errors of the server (5xx) are allowed.
    fn status(&mut self, key: &str, answered: &Answered, expected: &[u16]) -> Option<u16> {
        let answer = answered.as_ref().ok()?;
        // A completion may answer 200 and carry an error; only its result counts.
        let status = match answer.status {
            200 if !answer.code().is_empty() => 500,
            status => status,
        };
        let is_known = matches!(status, 200 | 204) || status >= 500 || expected.contains(&status);
        assert!(is_known, "{key}: answered {status} {}", answer.text());
        self.tally.add(Tally { answered: 1, succeeded: u64::from(status < 300) });
        Some(status)
    }

    /// Records the outcome of a write in the ledger; `None` if there was no answer.
    fn record(&mut self, key: &str, content: Option<Content>, answered: &Answered, expected: &[u16]) -> Option<()> {
        let status = self.status(key, answered, expected);
        match status {
            Some(200 | 204) => self.ledger.acknowledge(key, content),
            Some(refused) if refused < 500 => {}
            _ => self.ledger.suspect(key, content),
        }
        status.map(|_| ())
    }

    fn put(&mut self, key: &str, len_min: u64, len_max: u64, headers: &[(&str, &str)]) -> Option<()> {
        let content = self.content(len_min, len_max);
        let answered = self.s3.put_with(self.bucket, key, &content.bytes(), headers);
        self.record(key, Some(content), &answered, &[])
    }

    fn delete(&mut self, key: &str) -> Option<()> {
        let answered = self.s3.delete(self.bucket, key);
        self.record(key, None, &answered, &[])
    }

    /// Puts with `If-None-Match: *`, whose answer also shows whether an object existed.
    fn create(&mut self, key: &str) -> Option<()> {
        let known = self.ledger.known(key);
        let content = self.content(0, 100_000);
        let answered = self.s3.put_with(self.bucket, key, &content.bytes(), &[("if-none-match", "*")]);
        match (known, answered.as_ref().map(|answer| answer.status)) {
            (Some(Some(_)), Ok(200)) => panic!("{key}: created where an object was known to be"),
            (Some(None), Ok(412)) => panic!("{key}: not created where nothing was known to be"),
            (None, Ok(412)) => self.ledger.learn(key, true),
            _ => {}
        }
        self.record(key, Some(content), &answered, &[412])
    }

    /// Puts with `If-Match` and the ETag of the object that is known to exist.
    fn replace(&mut self, key: &str) -> Option<()> {
        let Some(Some(known)) = self.ledger.known(key) else { return self.put(key, 0, 1000, &[]) };
        let content = self.content(0, 100_000);
        let answered = self.s3.put_with(self.bucket, key, &content.bytes(), &[("if-match", &known.etag())]);
        if let Ok(answer) = &answered {
            assert!(!matches!(answer.status, 404 | 412), "{key}: not replaced where {} was known to be", known.etag());
        }
        self.record(key, Some(content), &answered, &[])
    }

    fn multipart(&mut self, key: &str) -> Option<()> {
        let last = usize::try_from(1 + self.random.below(100_000)).expect("it is small");
        let content = Content { seed: self.random.next(), lens: vec![PART_BYTES, last] };
        let begun = self.s3.call("POST", &format!("/{}/{key}", self.bucket), &[("uploads", "")], &[], Body::None);
        // An upload that is not completed changes nothing.
        if self.status(key, &begun, &[])? != 200 {
            return Some(());
        }
        let upload = crate::harness::xml::text(&begun.ok()?.text(), "UploadId");
        let mut etags = Vec::new();
        for (at, part) in content.parts().iter().enumerate() {
            let put = self.s3.put_part(self.bucket, key, &upload, at + 1, part);
            if self.status(key, &put, &[])? != 200 {
                return Some(());
            }
            etags.push(put.ok()?.header("etag").to_owned());
        }
        let answered = self.s3.complete_upload(self.bucket, key, &upload, &etags);
        self.record(key, Some(content), &answered, &[])
    }
}
