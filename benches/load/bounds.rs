//! Measurements of bounds (start time, bytes read for a range, memory) on a fresh server, each with its promised limit.

use crate::harness::client::{Body, S3};
use crate::harness::data;
use crate::harness::server::{Server, Setup};
use std::time::{Duration, Instant};

const BUCKET: &str = "bounds";
const PARTS: usize = 75;
const RANGE_BYTES: u64 = 8 << 20;
const UPLOADS: usize = 16;
const MIB: f64 = (1 << 20) as f64;

/// The sizes of objects and parts.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    pub part_bytes: usize,
    pub upload_bytes: usize,
}

impl Sizes {
    pub fn full() -> Self {
        Self { part_bytes: 8 << 20, upload_bytes: 1 << 30 }
    }

    pub fn tiny() -> Self {
        Self { part_bytes: 5 << 20, upload_bytes: 4 << 20 }
    }
}

/// A figure that has a limit.
#[derive(Clone, Debug)]
pub struct Bound {
    pub what: String,
    pub unit: &'static str,
    pub found: f64,
    pub limit: f64,
}

pub fn measure(setup: &Setup, sizes: Sizes) -> (Vec<Bound>, Server) {
    let begun = Instant::now();
    let server = setup.start();
    let mut bounds = vec![bound("from the process's start to ready", "s", begun.elapsed().as_secs_f64(), 3.0)];
    std::thread::sleep(Duration::from_secs(1));
    let idle = server.process().resident_bytes() as f64 / MIB;
    bounds.push(bound("resident memory, idle", "MiB", idle, 60.0));
    let s3 = server.client();
    s3.create_bucket(BUCKET).expect("the store answers").expect(200);
    bounds.push(complete(&s3, sizes));
    bounds.push(range(&server, &s3, sizes));
    bounds.push(uploads(&server, sizes));
    (bounds, server)
}

fn bound(what: &str, unit: &'static str, found: f64, limit: f64) -> Bound {
    Bound { what: what.to_owned(), unit, found, limit }
}

fn complete(s3: &S3, sizes: Sizes) -> Bound {
    let part = data::bytes(1, sizes.part_bytes);
    let upload = s3.create_upload(BUCKET, "parts").expect("the store answers");
    let put = |number: usize| {
        let answer = s3.put_part(BUCKET, "parts", &upload, number, &part).expect("the store answers").expect(200);
        answer.header("etag").to_owned()
    };
    let etags: Vec<String> = (1..=PARTS).map(put).collect();
    let begun = Instant::now();
    s3.complete_upload(BUCKET, "parts", &upload, &etags).expect("the store answers").expect(200);
    let what = format!("CompleteMultipartUpload of {PARTS} parts of {} MiB", sizes.part_bytes >> 20);
    bound(&what, "s", begun.elapsed().as_secs_f64(), 1.0)
}

/// Measures the bytes that are read from the drives for a range in the middle of the uploaded object.
fn range(server: &Server, s3: &S3, sizes: Sizes) -> Bound {
    let size = (PARTS * sizes.part_bytes) as u64;
    let start = size / 2 + 12_345;
    let header = format!("bytes={start}-{}", start + RANGE_BYTES - 1);
    let before = server.process().disk_bytes().read;
    let answer = s3.call("GET", &format!("/{BUCKET}/parts"), &[], &[("range", &header)], Body::None);
    let answer = answer.expect("the store answers").expect(206);
    assert_eq!(answer.body.len() as u64, RANGE_BYTES);
    let read = (server.process().disk_bytes().read - before) as f64 / MIB;
    let what = format!("read from the drives for a range of {} MiB of {} MiB", RANGE_BYTES >> 20, size >> 20);
    bound(&what, "MiB", read, 10.0)
}

fn uploads(server: &Server, sizes: Sizes) -> Bound {
    let bytes = data::bytes(2, sizes.upload_bytes);
    server.process().reset_resident_peak();
    std::thread::scope(|scope| {
        for number in 0..UPLOADS {
            let (s3, bytes) = (server.client(), &bytes);
            scope.spawn(move || {
                let path = format!("/{BUCKET}/upload-{number}");
                s3.call("PUT", &path, &[], &[], Body::Unsigned(bytes)).expect("the store answers").expect(200);
            });
        }
    });
    let what = format!("peak resident memory of {UPLOADS} uploads of {} MiB at once", sizes.upload_bytes >> 20);
    bound(&what, "MiB", server.process().resident_bytes_peak() as f64 / MIB, 300.0)
}

pub fn table(bounds: &[Bound]) -> String {
    let mut text = String::from("| bound | found | limit |\n|---|---|---|\n");
    for Bound { what, unit, found, limit } in bounds {
        text.push_str(&format!("| {what} | {found:.3} {unit} | {limit} {unit} |\n"));
    }
    text
}
