//! The speed of the disk and file system without a store, to which the store's figures are compared (T4).

use crate::harness::data;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

const COPY_BYTES: usize = 64 << 20;
const WRITERS: usize = 8;
const BLOCK_BYTES: usize = 4 << 10;

/// The speed of plain files on the disk that the store is measured on.
#[derive(Clone, Debug)]
pub struct Plain {
    /// Whole files of 64 MiB, each synced.
    pub copy_mebibytes_per_second: f64,
    /// The same files read back (from the page cache, as a copy would).
    pub read_mebibytes_per_second: f64,
    /// Median latency of 4 KiB written in place and synced, one at a time.
    pub sync_p50: Duration,
    /// Rates of 4 KiB writes, each synced, by 8 threads: all to one file, and each to its own.
    pub one_file_per_second: f64,
    pub own_files_per_second: f64,
}

pub fn measure(parent: &Path, each: Duration) -> Plain {
    let root = tempfile::tempdir_in(parent).expect("the directory can be written");
    let (copied, read) = copy(root.path(), each);
    let mut latencies = write_synced(&[open(root.path(), "single")], 1, each);
    latencies.sort();
    let shared = [open(root.path(), "shared")];
    let own: Vec<File> = (0..WRITERS).map(|number| open(root.path(), &format!("own-{number}"))).collect();
    let rate = |files: &[File]| write_synced(files, WRITERS, each).len() as f64 / each.as_secs_f64();
    Plain {
        copy_mebibytes_per_second: copied,
        read_mebibytes_per_second: read,
        sync_p50: latencies[latencies.len() / 2],
        one_file_per_second: rate(&shared),
        own_files_per_second: rate(&own),
    }
}

fn open(root: &Path, name: &str) -> File {
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(root.join(name))
        .expect("it can be made");
    file.write_all_at(&vec![0; 1 << 20], 0).and_then(|()| file.sync_all()).expect("it can be written");
    file
}

fn copy(root: &Path, each: Duration) -> (f64, f64) {
    let bytes = data::bytes(1, COPY_BYTES);
    let rate =
        |files: usize, begun: Instant| (files * COPY_BYTES) as f64 / f64::from(1 << 20) / begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    let mut files = 0;
    while files == 0 || begun.elapsed() < each {
        let path = root.join(format!("copy-{}", files % 8));
        fs::write(&path, &bytes).and_then(|()| File::open(&path)?.sync_all()).expect("it can be written");
        files += 1;
    }
    let copied = rate(files, begun);
    let begun = Instant::now();
    let mut read = 0;
    let mut into = vec![0; 1 << 20];
    while read == 0 || begun.elapsed() < each {
        let mut file = File::open(root.join(format!("copy-{}", read % files.min(8)))).expect("it was written");
        while file.read(&mut into).expect("it can be read") > 0 {}
        read += 1;
    }
    (copied, rate(read, begun))
}

/// Has every writer write and sync a block of its own again and again; returns all latencies.
fn write_synced(files: &[File], writers: usize, each: Duration) -> Vec<Duration> {
    let block = data::bytes(2, BLOCK_BYTES);
    let end = Instant::now() + each;
    std::thread::scope(|scope| {
        let writer = |number: usize| {
            let (file, block) = (&files[number % files.len()], &block);
            scope.spawn(move || {
                let mut latencies = Vec::new();
                while latencies.is_empty() || Instant::now() < end {
                    let from = Instant::now();
                    let written = file.write_all_at(block, (number * BLOCK_BYTES) as u64);
                    written.and_then(|()| file.sync_data()).expect("it can be written");
                    latencies.push(from.elapsed());
                }
                latencies
            })
        };
        let threads: Vec<_> = (0..writers).map(writer).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a writer only writes")).collect()
    })
}

pub fn table(plain: &Plain) -> String {
    format!(
        "| plain files on the same disk | |\n|---|---|\n| write 64 MiB and sync | {:.0} MiB/s |\n| read 64 MiB, cached | {:.0} MiB/s |\n\
         | write 4 KiB in place and sync, p50 | {:.3} ms |\n| the same, {WRITERS} writers, one file | {:.0}/s |\n| the same, a file each | {:.0}/s |\n",
        plain.copy_mebibytes_per_second,
        plain.read_mebibytes_per_second,
        plain.sync_p50.as_secs_f64() * 1e3,
        plain.one_file_per_second,
        plain.own_files_per_second,
    )
}
