//! One thread's load: puts, overwrites, multipart uploads, deletes, conditional puts, on keys of its own, until the server
//! does not answer any more.

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
    answered: u64,
}

/// The ledger as it is after the last operation, and how many were answered.
pub fn run(s3: &S3, bucket: &str, thread: u64, ledger: Ledger, seed: u64) -> (Ledger, u64) {
    let mut load = Load { s3, bucket, ledger, random: Random::new(seed), answered: 0 };
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
            return (load.ledger, load.answered);
        }
    }
}

impl Load<'_> {
    fn content(&mut self, len_min: u64, len_max: u64) -> Content {
        let len = len_min + self.random.below(len_max - len_min);
        Content { seed: self.random.next(), lens: vec![usize::try_from(len).expect("it is small")] }
    }

    /// Records what an answer says of a write; `None` where there was none.
    fn record(&mut self, key: &str, content: Option<Content>, answered: Answered) -> Option<()> {
        let status = answered.as_ref().map_or(0, |answer| answer.status);
        match status {
            200 | 204 => self.ledger.acknowledge(key, content),
            412 | 404 => {}
            _ => self.ledger.suspect(key, content),
        }
        self.answered += u64::from(status != 0);
        (status != 0).then_some(())
    }

    fn put(&mut self, key: &str, len_min: u64, len_max: u64, headers: &[(&str, &str)]) -> Option<()> {
        let content = self.content(len_min, len_max);
        let answered = self.s3.put_with(self.bucket, key, &content.bytes(), headers);
        self.record(key, Some(content), answered)
    }

    fn delete(&mut self, key: &str) -> Option<()> {
        let answered = self.s3.delete(self.bucket, key);
        self.record(key, None, answered)
    }

    /// Only where nothing is: the answer tells what was there.
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
        self.record(key, Some(content), answered)
    }

    /// Only where exactly what is known to be there still is.
    fn replace(&mut self, key: &str) -> Option<()> {
        let Some(Some(known)) = self.ledger.known(key) else { return self.put(key, 0, 1000, &[]) };
        let content = self.content(0, 100_000);
        let answered = self.s3.put_with(self.bucket, key, &content.bytes(), &[("if-match", &known.etag())]);
        if let Ok(answer) = &answered {
            assert!(!matches!(answer.status, 404 | 412), "{key}: not replaced where {} was known to be", known.etag());
        }
        self.record(key, Some(content), answered)
    }

    fn multipart(&mut self, key: &str) -> Option<()> {
        let last = usize::try_from(1 + self.random.below(100_000)).expect("it is small");
        let content = Content { seed: self.random.next(), lens: vec![PART_BYTES, last] };
        let upload =
            self.s3.call("POST", &format!("/{}/{key}", self.bucket), &[("uploads", "")], &[], Body::None).ok()?;
        let upload = crate::harness::xml::text(&upload.text(), "UploadId");
        let mut etags = Vec::new();
        for (at, part) in content.parts().iter().enumerate() {
            let answer = self.s3.put_part(self.bucket, key, &upload, at + 1, part).ok()?;
            if answer.status != 200 {
                // Nothing changes by a part that was refused.
                return Some(());
            }
            etags.push(answer.header("etag").to_owned());
        }
        let answered = self.s3.complete_upload(self.bucket, key, &upload, &etags);
        // A completion may answer 200 and carry an error; only its result counts.
        let failed_inside = answered.as_ref().is_ok_and(|answer| answer.status == 200 && !answer.code().is_empty());
        if failed_inside {
            self.ledger.suspect(key, Some(content));
            return Some(());
        }
        self.record(key, Some(content), answered)
    }
}
