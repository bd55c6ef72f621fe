//! Runs each fuzz target over its seeds and over mutations of them: a fixed number, or as many as fit into
//! `SHERD_FUZZ_SECONDS` for each target. The mutations are the same in each run. A failing input is printed, so that it
//! can be added to the seeds.

use super::{TARGETS, Target};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

const SECONDS: &str = "SHERD_FUZZ_SECONDS";
const MUTATIONS: usize = 400;
/// The longest mutated input. Longer seeds are cut to it when they are mutated.
const INPUT_BYTES_MAX: usize = 4096;
/// The longest time for one input; a target that takes longer counts as hanging.
const ONE_INPUT_MAX: Duration = Duration::from_secs(10);
/// Bytes that are special to many parsers, which mutations prefer.
const TELLING: &[u8] = b"\0\x01\x7f\x80\xff \t\r\n\"'%&=,;:/\\.*?+-<>{}[]$0129";

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }

    fn byte(&mut self) -> u8 {
        if self.below(3) == 0 { self.below(256) as u8 } else { TELLING[self.below(TELLING.len())] }
    }
}

fn seeds(target: &Target) -> Vec<Vec<u8>> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds").join(target.name);
    let listed = fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut paths: Vec<PathBuf> = listed.map(|entry| entry.expect("a listed file").path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("a seed")).collect()
}

/// Returns a seed with a few changes: bytes set, inserted, removed, repeated, or copied from another seed.
fn mutated(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(4) {
        let at = random.below(input.len() + 1);
        let length = random.below((input.len() - at).min(64) + 1);
        match random.below(6) {
            0 if at < input.len() => input[at] = random.byte(),
            1 if at < input.len() => input[at] ^= 1 << random.below(8),
            2 => input.insert(at, random.byte()),
            3 => drop(input.drain(at..at + length)),
            4 => {
                let repeated = input[at..at + length].to_vec();
                input.splice(at..at, repeated);
            }
            _ => {
                let other = &seeds[random.below(seeds.len())];
                let from = random.below(other.len());
                let until = from + random.below((other.len() - from).min(64) + 1);
                input.splice(at..at, other[from..until].iter().copied());
            }
        }
        input.truncate(INPUT_BYTES_MAX);
    }
    input
}

fn check(target: &Target, input: &[u8]) {
    let started = Instant::now();
    let ended = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    let slow = started.elapsed() > ONE_INPUT_MAX;
    assert!(ended.is_ok() && !slow, "{} fails over b\"{}\"", target.name, input.escape_ascii());
}

fn fuzz(target: &Target) {
    let seeds = seeds(target);
    assert!(!seeds.is_empty(), "{} has no seeds", target.name);
    seeds.iter().for_each(|seed| check(target, seed));
    let budget = std::env::var(SECONDS).ok().and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs_f64);
    let (mut random, started) = (Random(0x2545_f491_4f6c_dd1d), Instant::now());
    for made in 0.. {
        if budget.map_or(made >= MUTATIONS, |budget| started.elapsed() >= budget) {
            return;
        }
        check(target, &mutated(&seeds, &mut random));
    }
}

macro_rules! tests_of {
    ($($name:ident),* $(,)?) => {
        const TESTED: &[&str] = &[$(stringify!($name)),*];

        $(#[test]
        fn $name() {
            let target = TARGETS.iter().find(|target| target.name == stringify!($name));
            fuzz(target.expect("a target of this name"));
        })*
    };
}

/// One test for each target, with the target's name: no input makes it fail.
mod no_bytes_break {
    use super::{TARGETS, fuzz};

    tests_of! {
        policies, decisions, forms, form_policies, heads, chunks, calls, tokens, settings, documents, headers,
        requests, admin, signatures, frames, webhook_answers, group_messages, membership, entries, snapshots, rows, logs,
    }

    #[test]
    fn every_fuzz_target_has_a_test() {
        assert_eq!(TARGETS.iter().map(|target| target.name).collect::<Vec<_>>(), TESTED);
    }
}
