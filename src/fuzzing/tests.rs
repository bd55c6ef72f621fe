//! Each door over its seeds and some mutations of them: always the same ones, a fixed number, or as many as
//! `SHERD_FUZZ_SECONDS` allow. What fails is printed, so that it can be put among the seeds.

use super::{TARGETS, Target};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

const SECONDS: &str = "SHERD_FUZZ_SECONDS";
const MUTATIONS: usize = 400;
/// Longer ones are not made of shorter ones.
const INPUT_BYTES_MAX: usize = 4096;
/// A door that takes longer over one input hangs.
const ONE_INPUT_MAX: Duration = Duration::from_secs(10);
/// Bytes that parsers are particular about.
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

/// One of the seeds with a few changes: bytes set, put in, taken out, repeated, or brought over from another seed.
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

macro_rules! doors {
    ($($name:ident),* $(,)?) => {
        const TESTED: &[&str] = &[$(stringify!($name)),*];

        $(#[test]
        fn $name() {
            let target = TARGETS.iter().find(|target| target.name == stringify!($name));
            fuzz(target.expect("one of the doors"));
        })*
    };
}

/// Each door's test says: no bytes make it fail.
mod no_bytes_break {
    use super::{TARGETS, fuzz};

    doors! {
        policies, decisions, forms, form_policies, heads, chunks, calls, tokens, settings, headers, requests, admin,
        signatures, frames, webhook_answers, group_messages, membership, entries, snapshots, rows, logs,
    }

    #[test]
    fn every_door_is_tried() {
        assert_eq!(TARGETS.iter().map(|target| target.name).collect::<Vec<_>>(), TESTED);
    }
}
