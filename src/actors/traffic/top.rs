//! `Top`: the accounts and buckets with the most traffic, of one host or merged from several. Pure.

use super::space_saving::Load;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The window of a count, with a precision of 20 seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    Minute,
    FiveMinutes,
}

/// The accounts and the buckets with the most traffic. Hosts send it to each other in this form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Top {
    pub accounts: TopOfKind,
    pub buckets: TopOfKind,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopOfKind {
    pub minute: Vec<Heavy>,
    pub five_minutes: Vec<Heavy>,
}

/// A name with a lower bound of its load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heavy {
    pub name: String,
    pub load: Load,
}

impl Top {
    /// Adds the loads of several hosts. Keeps the first `kept` names by requests and the first `kept` by bytes.
    pub fn merged(tops: &[Self], kept: usize) -> Self {
        let of = |kind: fn(&Self) -> &TopOfKind| TopOfKind {
            minute: merged(tops.iter().map(|top| &kind(top).minute), kept),
            five_minutes: merged(tops.iter().map(|top| &kind(top).five_minutes), kept),
        };
        Self { accounts: of(|top| &top.accounts), buckets: of(|top| &top.buckets) }
    }
}

fn merged<'a>(lists: impl Iterator<Item = &'a Vec<Heavy>>, kept: usize) -> Vec<Heavy> {
    let mut loads: BTreeMap<&str, Load> = BTreeMap::new();
    lists.flatten().for_each(|heavy| loads.entry(&heavy.name).or_default().add(heavy.load));
    heaviest(loads.into_iter().map(|(name, load)| (name.to_owned(), load)).collect(), kept)
}

/// Returns the first `kept` names by requests and the first `kept` by bytes, in descending order of requests.
pub(super) fn heaviest(loads: BTreeMap<String, Load>, kept: usize) -> Vec<Heavy> {
    let mut all: Vec<Heavy> = loads.into_iter().map(|(name, load)| Heavy { name, load }).collect();
    all.sort_by_key(|heavy| std::cmp::Reverse(heavy.load.bytes));
    let by_bytes: BTreeSet<String> = all.iter().take(kept).map(|heavy| heavy.name.clone()).collect();
    all.sort_by_key(|heavy| std::cmp::Reverse(heavy.load.requests));
    let all = all.into_iter().enumerate();
    all.filter(|(at, heavy)| *at < kept || by_bytes.contains(&heavy.name)).map(|(_, heavy)| heavy).collect()
}

#[cfg(test)]
mod tests {
    use super::{Heavy, Load, Top, TopOfKind};

    fn heavy(name: &str, requests: u64, bytes: u64) -> Heavy {
        Heavy { name: name.to_owned(), load: Load { requests, bytes } }
    }

    fn top(minute: Vec<Heavy>) -> Top {
        Top { buckets: TopOfKind { minute, five_minutes: Vec::new() }, accounts: TopOfKind::default() }
    }

    #[test]
    fn merging_adds_the_counts_of_all_hosts() {
        let tops = [top(vec![heavy("a", 5, 1), heavy("b", 2, 9)]), top(vec![heavy("b", 4, 1)])];
        assert_eq!(Top::merged(&tops, 9), top(vec![heavy("b", 6, 10), heavy("a", 5, 1)]));
        assert_eq!(Top::merged(&[], 9), Top::default());
    }

    #[test]
    fn a_merge_keeps_those_with_most_requests_and_those_with_most_bytes() {
        let all = vec![heavy("often", 9, 1), heavy("much", 1, 900), heavy("neither", 2, 2)];
        assert_eq!(Top::merged(&[top(all)], 1), top(vec![heavy("often", 9, 1), heavy("much", 1, 900)]));
    }
}
