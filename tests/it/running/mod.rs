//! Drives of a running host that are replaced and added, while clients write and read back.

mod adding;
mod replacing;

use crate::harness::client::S3;
use crate::harness::server::Server;
use crate::harness::{admin, data, eventually};
use serde_json::Value;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(120);
const WRITERS: u64 = 3;
const BUCKET: &str = "box";

/// Sizes of objects that are kept in the metadata, in one stripe and in several.
const LENS: [usize; 3] = [1000, 100_000, 1_200_000];

fn object(writer: u64, number: u64) -> (String, Vec<u8>) {
    let len = LENS[usize::try_from(number).unwrap() % LENS.len()];
    (format!("{writer}/{number}"), data::bytes(writer * 1_000_000 + number, len))
}

/// Writes and reads back until it is over; the number of objects, or the first request that failed.
fn load(s3: &S3, writer: u64, is_over: &AtomicBool) -> Result<u64, String> {
    let mut number = 0;
    while !is_over.load(Ordering::Relaxed) {
        let (key, bytes) = object(writer, number);
        let put = s3.put(BUCKET, &key, &bytes).map_err(|error| format!("PUT {key}: {error}"))?;
        if put.status != 200 {
            return Err(format!("PUT {key}: {} {}", put.status, put.text()));
        }
        number += 1;
        let (key, bytes) = object(writer, number / 2);
        let got = s3.get(BUCKET, &key).map_err(|error| format!("GET {key}: {error}"))?;
        if got.status != 200 || got.body != bytes {
            return Err(format!("GET {key}: {} {}", got.status, got.text()));
        }
    }
    Ok(number)
}

/// Ends the load when it is dropped, by a test that fails too.
struct EndOfLoad<'a>(&'a AtomicBool);

impl Drop for EndOfLoad<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Checks that all is there, where drives may just have been lost: the tables, if they were on one, are then made anew.
#[track_caller]
fn check(s3: &S3, written: &[u64]) {
    for (writer, count) in (0..).zip(written) {
        for number in 0..*count {
            let (key, bytes) = object(writer, number);
            let got = eventually(PATIENCE, "the tables", || {
                let got = s3.get(BUCKET, &key).unwrap();
                (got.status != 503).then_some(got)
            });
            assert!(got.expect(200).body == bytes, "{key} differs");
        }
    }
}

fn until_well(server: &Server) {
    eventually(PATIENCE, "the store to be whole and well", || {
        let told = admin::run(server.admin, &server.keys, &["health", "--json"]);
        let health: Value = serde_json::from_slice(&told.stdout).unwrap_or_default();
        (health["status"] == "ok").then_some(())
    });
}

fn until_out(server: &Server, node: &str) {
    eventually(PATIENCE, "the loss to be noticed", || {
        (server.metric("sherd_drive_up", &[("node", node)]) == 0.0).then_some(())
    });
}
