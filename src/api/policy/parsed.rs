//! A cache of parsed policies, keyed by kind and text: a policy that many requests need is parsed once.

use super::document::{Policy, PolicyError, PolicyKind};
use crate::limits::MEMO_BYTES_MAX;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The number of policies that the cache holds at most.
const POLICIES_MAX: usize = 1024;

/// An owned `PolicyKind`. It is part of the key: a text that is valid for a user may be invalid for a bucket.
#[derive(Debug, PartialEq, Eq)]
enum OwnedKind {
    Identity,
    Session,
    Trust,
    Bucket(String),
}

impl OwnedKind {
    fn kind(&self) -> PolicyKind<'_> {
        match self {
            Self::Identity => PolicyKind::Identity,
            Self::Session => PolicyKind::Session,
            Self::Trust => PolicyKind::Trust,
            Self::Bucket(name) => PolicyKind::Bucket(name),
        }
    }
}

impl From<PolicyKind<'_>> for OwnedKind {
    fn from(kind: PolicyKind<'_>) -> Self {
        match kind {
            PolicyKind::Identity => Self::Identity,
            PolicyKind::Session => Self::Session,
            PolicyKind::Trust => Self::Trust,
            PolicyKind::Bucket(name) => Self::Bucket(name.to_owned()),
        }
    }
}

#[derive(Debug, Default)]
struct Cache {
    /// The policies, by the hash of kind and text.
    by_hash: HashMap<u64, (OwnedKind, Arc<Policy>)>,
    /// The hashes, in the order of insertion.
    order: VecDeque<u64>,
    bytes: usize,
}

impl Cache {
    fn remove(&mut self, hash: u64) -> Option<(OwnedKind, Arc<Policy>)> {
        let removed = self.by_hash.remove(&hash)?;
        self.bytes -= removed.1.text().len();
        Some(removed)
    }

    /// Caches a policy, and evicts the oldest ones to make room. Returns the evicted policies, so that they are dropped
    /// outside the lock.
    fn keep(&mut self, hash: u64, of: OwnedKind, policy: &Arc<Policy>) -> Vec<(OwnedKind, Arc<Policy>)> {
        let mut evicted: Vec<_> = self.remove(hash).into_iter().collect();
        if evicted.is_empty() {
            self.order.push_back(hash);
        }
        self.bytes += policy.text().len();
        self.by_hash.insert(hash, (of, Arc::clone(policy)));
        while self.order.len() > POLICIES_MAX || self.bytes > MEMO_BYTES_MAX {
            let Some(oldest) = self.order.pop_front() else { break };
            evicted.extend(self.remove(oldest));
        }
        evicted
    }
}

#[derive(Debug, Default)]
pub struct ParsedPolicies {
    hashes: RandomState,
    cache: Mutex<Cache>,
}

impl ParsedPolicies {
    pub fn parse(&self, kind: PolicyKind<'_>, text: &str) -> Result<Arc<Policy>, PolicyError> {
        // Every request locks the cache, so texts are hashed and compared outside the lock.
        let hash = self.hashes.hash_one((kind, text));
        if let Some(policy) = self.find(hash, kind).filter(|policy| policy.text() == text) {
            return Ok(policy);
        }
        let policy = Arc::new(Policy::parse(kind, text)?);
        let evicted = self.cache().keep(hash, kind.into(), &policy);
        drop(evicted);
        Ok(policy)
    }

    /// Finds the policy with this hash and kind. On a hash collision its text differs.
    fn find(&self, hash: u64, kind: PolicyKind<'_>) -> Option<Arc<Policy>> {
        let cache = self.cache();
        let (of, policy) = cache.by_hash.get(&hash)?;
        (of.kind() == kind).then(|| Arc::clone(policy))
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        // A panic cannot leave the cache in a state that does harm, so a poisoned lock is used.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{POLICIES_MAX, ParsedPolicies};
    use crate::api::policy::PolicyKind;
    use crate::limits::MEMO_BYTES_MAX;
    use std::sync::Arc;

    const TEXT: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::box/*"}]}"#;

    #[test]
    fn a_policy_text_is_parsed_once_for_each_kind_of_policy() {
        let parsed = ParsedPolicies::default();
        let once = parsed.parse(PolicyKind::Identity, TEXT).expect("it is one");
        assert!(Arc::ptr_eq(&once, &parsed.parse(PolicyKind::Identity, TEXT).expect("it is one")));
        assert!(!Arc::ptr_eq(&once, &parsed.parse(PolicyKind::Session, TEXT).expect("it is one")));
        assert!(parsed.parse(PolicyKind::Bucket("box"), TEXT).is_err(), "a bucket's names who may do something");
    }

    #[test]
    fn the_same_policy_text_is_cached_separately_for_each_bucket() {
        let parsed = ParsedPolicies::default();
        let text = TEXT.replace(r#""Effect""#, r#""Principal":"*","Effect""#);
        for _ in 0..2 {
            assert!(parsed.parse(PolicyKind::Bucket("box"), &text).is_ok());
            assert!(parsed.parse(PolicyKind::Bucket("other"), &text).is_err());
        }
    }

    #[test]
    fn the_policy_cache_is_bounded_and_evicts_the_oldest_policy() {
        let parsed = ParsedPolicies::default();
        let text = TEXT.replace(r#""Effect""#, r#""Principal":"*","Effect""#).replace("box/*", "*");
        let parse = |number: usize| parsed.parse(PolicyKind::Bucket(&format!("bucket-{number}")), &text).expect("one");
        let first: Vec<_> = (0..POLICIES_MAX).map(parse).collect();
        let newest = parse(POLICIES_MAX);
        assert_eq!(parsed.cache().by_hash.len(), POLICIES_MAX);
        assert_eq!(parsed.cache().order.len(), POLICIES_MAX);
        assert!(Arc::ptr_eq(&newest, &parse(POLICIES_MAX)) && Arc::ptr_eq(&first[1], &parse(1)));
        assert!(!Arc::ptr_eq(&first[0], &parse(0)), "it was parsed anew");
    }

    #[test]
    fn the_policy_cache_is_bounded_in_bytes() {
        let parsed = ParsedPolicies::default();
        let resources = format!("arn:aws:s3:::box/{}", "k".repeat(9_000));
        for number in 0..200 {
            let text = TEXT.replace("arn:aws:s3:::box/*", &format!("{resources}{number}"));
            parsed.parse(PolicyKind::Identity, &text).expect("one");
            let cache = parsed.cache();
            let bytes: usize = cache.by_hash.values().map(|(_, policy)| policy.text().len()).sum();
            assert_eq!((cache.bytes, cache.by_hash.len()), (bytes, cache.order.len()));
            assert!(bytes <= MEMO_BYTES_MAX);
        }
        assert!(parsed.cache().by_hash.len() > 50);
    }
}
