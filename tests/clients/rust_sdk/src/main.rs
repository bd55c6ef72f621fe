//! Works with a server through the Rust SDK of AWS, as a program written against S3 does. Each test has a bucket of its
//! own, made before it and emptied after it; one that panics has failed.
//!
//! The environment is that of tests/clients/run.py. Arguments choose the tests whose names contain one of them.

mod buckets;
mod checksums;
mod encryption;
mod lists;
mod multipart;
mod objects;
mod presigned;
mod suite;
mod versions;

use std::env;
use std::pin::Pin;
use std::process::ExitCode;

use suite::Suite;

struct Test {
    name: &'static str,
    run: fn(Suite) -> Pin<Box<dyn Future<Output = ()> + Send>>,
}

macro_rules! tests {
    ($($area:ident: $($test:ident),+;)+) => {
        &[$($(Test {
            name: concat!(stringify!($area), "::", stringify!($test)),
            run: |suite| Box::pin($area::$test(suite)),
        }),+),+]
    };
}

const TESTS: &[Test] = tests! {
    buckets: a_bucket_is_made_found_and_deleted, errors_have_the_types_of_the_sdk, tags_and_policies_of_buckets;
    objects: objects_of_any_size_come_back, a_stream_of_64_mib_goes_and_comes, headers_and_metadata_come_back,
        ranges, reads_under_conditions, writes_under_conditions, keys_of_any_letters, many_are_deleted_at_once, tags,
        copies;
    multipart: parts_become_one_object, parts_are_listed_and_given_up, parts_that_are_copied, parts_that_do_not_fit;
    checksums: each_algorithm, streams_with_trailers, wrong_ones_are_refused, of_objects_of_parts;
    lists: pages, directories, letters_that_xml_would_change;
    presigned: reads_and_writes, changed_ones_are_refused;
    versions: versions_come_back_and_are_listed, a_marker_hides_until_it_is_deleted, copies_of_versions;
    encryption: keys_of_the_store, keys_of_the_client;
};

/// Runs a test; returns whether it passed.
async fn attempt(test: &Test, number: usize) -> bool {
    let suite = Suite::new(number).await;
    let passed = tokio::spawn((test.run)(suite.clone())).await.is_ok();
    suite.clear().await;
    println!("{}: {}", test.name, if passed { "passed" } else { "FAILED" });
    passed
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let wanted: Vec<String> = env::args().skip(1).collect();
    let mut passed = true;
    for (number, test) in TESTS.iter().enumerate() {
        if wanted.is_empty() || wanted.iter().any(|word| test.name.contains(word)) {
            passed &= attempt(test, number).await;
        }
    }
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
