//! The report of the clients: numbers of requests, latencies, and violations.

use crate::retries::{REFUSED_WITHIN, TRIES, Tried, is_failure};
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Clone, Debug, Default)]
pub struct Report {
    pub requests: u64,
    pub retries: u64,
    /// Requests that failed with all their tries.
    pub failures: Vec<String>,
    /// The violations, which no fault excuses.
    pub violations: Vec<String>,
    /// Tries that failed later than the bound for refusals: the host, and a description.
    pub late: Vec<(usize, String)>,
    latencies: Vec<Duration>,
    refusals: BTreeMap<String, u64>,
    pub refused_after_max: Duration,
}

/// The number of violations kept of each kind; more say nothing new.
const KEPT_MAX: usize = 20;

impl Report {
    pub fn tried(&mut self, what: &str, tried: &Tried) {
        self.requests += 1;
        self.retries += tried.tries.len() as u64 - 1;
        self.latencies.push(tried.took);
        for one in tried.tries.iter().filter(|one| is_failure(one.status)) {
            let code = crate::harness::xml::text(&one.error, "Code");
            *self.refusals.entry(format!("{} {code}", one.status)).or_default() += 1;
            if one.status != 0 {
                self.refused_after_max = self.refused_after_max.max(one.took);
            }
            if one.took > REFUSED_WITHIN && self.late.len() < KEPT_MAX {
                self.late.push((one.host, format!("{what}: {}", tried.words())));
            }
        }
        if tried.tries.len() == TRIES && tried.answer.is_none() && self.failures.len() < KEPT_MAX {
            self.failures.push(format!("{what}: {}", tried.words()));
        }
    }

    pub fn violation(&mut self, what: String) {
        if self.violations.len() < KEPT_MAX {
            self.violations.push(what);
        }
    }

    pub fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.retries += other.retries;
        self.failures.extend(other.failures);
        self.violations.extend(other.violations);
        self.late.extend(other.late);
        self.latencies.extend(other.latencies);
        for (refusal, count) in other.refusals {
            *self.refusals.entry(refusal).or_default() += count;
        }
        self.refused_after_max = self.refused_after_max.max(other.refused_after_max);
    }

    /// Returns a percentile of whole requests, retries and pauses included.
    pub fn percentile(&self, of_hundred: usize) -> Duration {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        let at = (sorted.len() * of_hundred / 100).min(sorted.len().saturating_sub(1));
        sorted.get(at).copied().unwrap_or_default()
    }

    pub fn words(&self) -> String {
        format!(
            "{} requests, {} retries, {} failed, p50 {:?}, p99 {:?}, longest {:?}, refusals {:?} within {:?}",
            self.requests,
            self.retries,
            self.failures.len(),
            self.percentile(50),
            self.percentile(99),
            self.percentile(100),
            self.refusals,
            self.refused_after_max,
        )
    }

    /// Checks that there was no violation, no failed request, and no late refusal except by the host that may be
    /// silent.
    #[track_caller]
    pub fn check(&self, silent: Option<usize>) {
        let late: Vec<&String> =
            self.late.iter().filter(|(host, _)| Some(*host) != silent).map(|(_, words)| words).collect();
        assert!(self.violations.is_empty(), "{} violations:\n{}", self.violations.len(), self.violations.join("\n"));
        assert!(self.failures.is_empty(), "failed after all tries:\n{}", self.failures.join("\n"));
        assert!(late.is_empty(), "refused too late:\n{late:#?}");
    }
}
