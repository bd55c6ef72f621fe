//! Matching of a text against a pattern with `*` and `?`. A run is the part of a pattern between two `*`. The first run
//! matches at the start of the text, the last run at its end, and each other run at its first occurrence after the one
//! before. A run without `?` is found by substring search of the standard library, in linear time. A run with `?` is
//! found by a bit-parallel automaton, 64 characters at once (R. Baeza-Yates and G. Gonnet, "A New Approach to Text
//! Searching", 1992).

use super::pieces::{Piece, Pieces};
use crate::api::policy::context::Facts;
use std::iter::repeat_n;

/// The least number of steps charged for a comparison, and for each run.
const STEPS_MIN: usize = 8;
/// Steps charged for each 64-bit word of a table of bits: to build it, and to read one byte with it.
const BITS_TABLE_STEPS: usize = 128;
const BITS_READ_STEPS: usize = 2;
/// Steps charged for each variable: to find its value.
const VARIABLE_STEPS: usize = 12;

/// A piece of a pattern in which variables are replaced by their values.
#[derive(Clone, Copy)]
enum Part<'a> {
    Text(&'a str),
    /// A number of `?` in a row.
    Ones(usize),
    Many,
}

pub(super) fn matches(pieces: &Pieces, text: &str, facts: &Facts<'_>) -> bool {
    let first = match pieces.iter().next() {
        Some(Piece::Text(first)) => first,
        _ => "",
    };
    // Most comparisons fail at the fixed start of the pattern.
    let begins_with = |first: &str| facts.meter.charge(1 + first.len() / 16) && text.starts_with(first);
    if !first.is_empty() && !begins_with(first) {
        return false;
    }
    // No two texts follow each other, so a fixed pattern is its first text.
    if pieces.is_fixed() {
        return facts.meter.charge(1) && first.len() == text.len();
    }
    if !facts.meter.charge(STEPS_MIN + pieces.len()) {
        return false;
    }
    let parts: Option<Vec<Part<'_>>> = pieces.iter().map(|piece| part(piece, facts)).collect();
    let Some(parts) = parts else { return false };
    // This bounds the strings built below by the length of the text.
    parts.iter().map(Part::bytes_min).sum::<usize>() <= text.len() && glob(&parts, text, facts)
}

pub(super) fn literal(pieces: &Pieces, facts: &Facts<'_>, bytes_max: usize) -> Option<String> {
    let mut whole = String::new();
    for piece in pieces.iter() {
        let (next, count) = match piece {
            Piece::Text(text) => (text, 1),
            Piece::Ones(count) => ("?", count),
            Piece::Many => ("*", 1),
            Piece::Variable { key, default } => (value(key, default, facts)?, 1),
        };
        let bytes = count * next.len();
        // A long run of `?` is not charged for where it cannot fit.
        if !facts.meter.charge(1) || bytes > bytes_max - whole.len() || !facts.meter.charge(count - 1 + bytes / 16) {
            return None;
        }
        whole.extend(repeat_n(next, count));
    }
    Some(whole)
}

/// A run of `?` is charged for each of them, since each is compared with a character.
fn part<'a>(piece: Piece<'a>, facts: &Facts<'a>) -> Option<Part<'a>> {
    Some(match piece {
        Piece::Text(text) => Part::Text(text),
        Piece::Ones(count) => facts.meter.charge(count).then_some(Part::Ones(count))?,
        Piece::Many => Part::Many,
        Piece::Variable { key, default } => Part::Text(value(key, default, facts)?),
    })
}

/// Returns the value of a variable, or else its default.
fn value<'a>(key: &str, default: Option<&'a str>, facts: &Facts<'a>) -> Option<&'a str> {
    facts.meter.charge(VARIABLE_STEPS).then(|| facts.single(key).or(default))?
}

impl Part<'_> {
    fn bytes_min(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Ones(count) => *count,
            Self::Many => 0,
        }
    }
}

fn glob(parts: &[Part<'_>], text: &str, facts: &Facts<'_>) -> bool {
    let mut runs = parts.split(|part| matches!(part, Part::Many));
    let first = runs.next().unwrap_or_default();
    let Some(rest) = without_start(first, text, facts) else { return false };
    let Some(last) = runs.next_back() else { return rest.is_empty() };
    let Some(mut rest) = without_end(last, rest, facts) else { return false };
    runs.all(|run| match after(run, rest, facts) {
        Some(left) => {
            rest = left;
            true
        }
        None => false,
    })
}

fn without_start<'a>(run: &[Part<'_>], text: &'a str, facts: &Facts<'_>) -> Option<&'a str> {
    run.iter().try_fold(text, |rest, part| match part {
        Part::Text(text) => facts.meter.charge(1 + text.len() / 16).then(|| rest.strip_prefix(text))?,
        Part::Ones(count) => {
            let mut left = rest.chars();
            left.nth(count.checked_sub(1)?).map(|_| left.as_str())
        }
        Part::Many => Some(rest),
    })
}

fn without_end<'a>(run: &[Part<'_>], text: &'a str, facts: &Facts<'_>) -> Option<&'a str> {
    run.iter().rev().try_fold(text, |rest, part| match part {
        Part::Text(text) => facts.meter.charge(1 + text.len() / 16).then(|| rest.strip_suffix(text))?,
        Part::Ones(count) => {
            let mut left = rest.chars();
            left.nth_back(count.checked_sub(1)?).map(|_| left.as_str())
        }
        Part::Many => Some(rest),
    })
}

/// Returns the text after the first match of the run.
fn after<'a>(run: &[Part<'_>], text: &'a str, facts: &Facts<'_>) -> Option<&'a str> {
    let bytes: usize = run.iter().map(Part::bytes_min).sum();
    if bytes > text.len() || !facts.meter.charge(2 * STEPS_MIN + bytes) {
        return None;
    }
    let found = match run {
        [] => Some(0),
        [Part::Text(only)] => text.find(only).map(|at| at + only.len()),
        run => match joined(run) {
            Some(whole) => text.find(&whole).map(|at| at + whole.len()),
            None => return Bits::of(run).after(text, facts),
        },
    };
    let left = found.map(|end| &text[end..]);
    facts.meter.charge(text.len() - left.map_or(0, str::len)).then_some(left)?
}

/// Returns the text of a run without wildcards; `None` if it has one.
fn joined(run: &[Part<'_>]) -> Option<String> {
    let text = |part: &Part<'_>| match part {
        Part::Text(text) => Some((*text).to_owned()),
        Part::Ones(_) | Part::Many => None,
    };
    run.iter().map(text).collect()
}

fn is_continuation(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

/// The bit-parallel automaton of one run: a state for each byte of its texts, and one for each `?`. The state of a `?`
/// is entered by the first byte of a character, and kept by the continuation bytes. The bit of a state is set if the
/// text read so far ends in a match of the run up to that state.
struct Bits {
    words: usize,
    /// The states that each byte can lead to: `words` words for each of the 256 byte values.
    reached_by: Vec<u64>,
    /// The states of `?`, as bits.
    ones: Vec<u64>,
    last: usize,
}

impl Bits {
    fn of(run: &[Part<'_>]) -> Self {
        let states: usize = run.iter().map(Part::bytes_min).sum();
        let words = states / 64 + 1;
        let mut bits =
            Self { words, reached_by: vec![0; 256 * words], ones: vec![0; words], last: states.saturating_sub(1) };
        let mut state = 0;
        for part in run {
            match part {
                Part::Text(text) => {
                    for byte in text.bytes() {
                        bits.reached_by[usize::from(byte) * words + state / 64] |= 1 << (state % 64);
                        state += 1;
                    }
                }
                Part::Ones(count) => {
                    for _ in 0..*count {
                        bits.ones[state / 64] |= 1 << (state % 64);
                        state += 1;
                    }
                }
                Part::Many => {}
            }
        }
        for first in (0..=u8::MAX).filter(|byte| !is_continuation(*byte)) {
            let row = &mut bits.reached_by[usize::from(first) * words..][..words];
            row.iter_mut().zip(&bits.ones).for_each(|(reached, ones)| *reached |= ones);
        }
        bits
    }

    /// Returns the text after the first match.
    fn after<'a>(&self, text: &'a str, facts: &Facts<'_>) -> Option<&'a str> {
        if !facts.meter.charge(BITS_TABLE_STEPS * self.words) {
            return None;
        }
        let mut states = vec![0_u64; self.words];
        let is_last = |states: &[u64]| states[self.last / 64] >> (self.last % 64) & 1 == 1;
        let found = text.bytes().position(|byte| {
            self.read(&mut states, byte);
            is_last(&states)
        });
        // A `?` at the end of the run matches a whole character.
        let end = found.map(|at| (at + 1..=text.len()).find(|end| text.is_char_boundary(*end)).unwrap_or(text.len()));
        let steps = BITS_READ_STEPS * self.words * end.unwrap_or(text.len());
        facts.meter.charge(steps).then_some(end)?.map(|end| &text[end..])
    }

    fn read(&self, states: &mut [u64], byte: u8) {
        let reached_by = &self.reached_by[usize::from(byte) * self.words..][..self.words];
        // A match may begin anywhere.
        let mut carried = 1;
        for ((states, reached_by), ones) in states.iter_mut().zip(reached_by).zip(&self.ones) {
            let stays = if is_continuation(byte) { *states & ones } else { 0 };
            let next = (*states << 1 | carried) & reached_by | stays;
            carried = *states >> 63;
            *states = next;
        }
    }
}
