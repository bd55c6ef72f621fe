//! `kill -9` at random moments under mixed load: no acknowledged operation is lost, no deleted object comes back, and
//! the listing equals the ledger. `SHERD_CRASH_ROUNDS` (default 20) is the number of kills, `SHERD_CRASH_SEED` the
//! seed.

#[path = "../harness/mod.rs"]
mod harness;

mod ledger;
mod load;

use harness::content::Content;
use harness::data::Random;
use harness::server::{Server, Setup};
use harness::settings::number;
use ledger::Ledger;
use load::Tally;
use std::time::Duration;

const BUCKET: &str = "ledger";
const THREADS: u64 = 4;
const ROUNDS_DEFAULT: u64 = 20;

#[test]
fn nothing_acknowledged_is_lost_by_kills_on_one_drive() {
    rounds(1);
}

#[test]
fn nothing_acknowledged_is_lost_by_kills_on_four_drives() {
    rounds(4);
}

/// Runs half of the rounds: there are two tests.
fn rounds(drives: usize) {
    let rounds = number("SHERD_CRASH_ROUNDS").unwrap_or(ROUNDS_DEFAULT).div_ceil(2);
    let seed = number("SHERD_CRASH_SEED").unwrap_or(1);
    eprintln!("to repeat: SHERD_CRASH_SEED={seed} SHERD_CRASH_ROUNDS={} cargo test --test crash", rounds * 2);
    let root = tempfile::tempdir().unwrap();
    let setup = Setup::drives(root.path(), drives);
    let mut random = Random::new(seed);
    let mut ledger = Ledger::default();
    setup.start().client().create_bucket(BUCKET).unwrap().expect(200);
    let mut tally = Tally::default();
    for round in 0..rounds {
        if random.below(4) == 0 {
            setup.start_and_kill(Duration::from_millis(random.below(400)));
        }
        let server = setup.start();
        let moment = Duration::from_millis(30 + random.below(900));
        let (touched, done) = one_round(&server, &mut ledger, &mut random, moment);
        tally.add(done);
        server.kill();
        let server = setup.start();
        let last = round + 1 == rounds;
        let failures = verify(&server, &mut ledger, |key| last || touched.iter().any(|touched| touched == key));
        assert!(failures.is_empty(), "round {round}, seed {seed}:\n{}\n--- log\n{}", failures.join("\n"), server.log());
        server.kill();
    }
    assert!(tally.succeeded > rounds * 5 && tally.succeeded * 2 > tally.answered, "{tally:?} in {rounds} rounds");
    eprintln!("{drives} drives: {rounds} rounds, {tally:?}, {} keys", ledger.len());
}

/// Loads the server until it is killed at `moment`; returns the keys that were touched, and the counts of answers.
fn one_round(server: &Server, ledger: &mut Ledger, random: &mut Random, moment: Duration) -> (Vec<String>, Tally) {
    let process = server.process();
    let parts = ledger.split(THREADS);
    let seeds: Vec<u64> = (0..THREADS).map(|_| random.next()).collect();
    let finished: Vec<(Ledger, Tally)> = std::thread::scope(|scope| {
        let run = |(thread, (part, seed)): (usize, (Ledger, u64))| {
            let s3 = server.client();
            scope.spawn(move || load::run(&s3, BUCKET, thread as u64, part, seed))
        };
        let threads: Vec<_> = parts.into_iter().zip(seeds).enumerate().map(run).collect();
        // The moment of the kill was drawn; this does not wait for a condition.
        std::thread::sleep(moment);
        process.signal(rustix::process::Signal::KILL);
        threads.into_iter().map(|thread| thread.join().expect("a load thread only records")).collect()
    });
    let mut touched = Vec::new();
    let mut tally = Tally::default();
    for (part, done) in finished {
        touched.extend(part.touched());
        tally.add(done);
        ledger.join(part);
    }
    (touched, tally)
}

/// Compares the store with the ledger, and settles the ledger on the found state of each key.
fn verify(server: &Server, ledger: &mut Ledger, reads: impl Fn(&str) -> bool) -> Vec<String> {
    let s3 = server.client();
    let listed: std::collections::BTreeMap<String, String> = s3.list_all(BUCKET).unwrap().into_iter().collect();
    let mut failures = ledger.unexpected(&listed);
    for key in ledger.keys() {
        let found = listed.get(&key).map(String::as_str);
        match ledger.settle(&key, found) {
            Err(failure) => failures.push(failure),
            Ok(content) if reads(&key) => failures.extend(read(&s3, &key, content.as_ref())),
            Ok(_) => {}
        }
    }
    failures
}

fn read(s3: &harness::client::S3, key: &str, expected: Option<&Content>) -> Option<String> {
    let answer = s3.get(BUCKET, key).unwrap();
    match expected {
        None if answer.status == 404 => None,
        None => Some(format!("{key}: not listed, but GET answers {}", answer.status)),
        Some(content) if answer.status == 200 && answer.body == content.bytes() => None,
        Some(_) => {
            Some(format!("{key}: GET answers {} with {} bytes, not what was put", answer.status, answer.body.len()))
        }
    }
}
