//! Policies that are kept parsed, by their texts: one that many requests ask is parsed once.

use super::document::{Policy, PolicyError, PolicyKind};
use crate::limits::MEMO_BYTES_MAX;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Policies that are kept, and the bytes of their texts.
const POLICIES_MAX: usize = 1024;

/// The kind of a policy: the same text may be valid for a user and wrong for a bucket.
#[derive(Debug, PartialEq, Eq)]
enum Of {
    Identity,
    Session,
    Trust,
    Bucket(String),
}

impl Of {
    fn kind(&self) -> PolicyKind<'_> {
        match self {
            Self::Identity => PolicyKind::Identity,
            Self::Session => PolicyKind::Session,
            Self::Trust => PolicyKind::Trust,
            Self::Bucket(name) => PolicyKind::Bucket(name),
        }
    }
}

impl From<PolicyKind<'_>> for Of {
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
struct Kept {
    /// The policies by the hash of kind and text.
    by_hash: HashMap<u64, (Of, Arc<Policy>)>,
    /// Hashes, in the order in which they came.
    order: VecDeque<u64>,
    bytes: usize,
}

impl Kept {
    fn remove(&mut self, hash: u64) -> Option<(Of, Arc<Policy>)> {
        let removed = self.by_hash.remove(&hash)?;
        self.bytes -= removed.1.text().len();
        Some(removed)
    }

    /// Caches a policy, in the place of the oldest if there is no room. Returns the evicted ones.
    fn keep(&mut self, hash: u64, of: Of, policy: &Arc<Policy>) -> Vec<(Of, Arc<Policy>)> {
        let mut gone: Vec<_> = self.remove(hash).into_iter().collect();
        if gone.is_empty() {
            self.order.push_back(hash);
        }
        self.bytes += policy.text().len();
        self.by_hash.insert(hash, (of, Arc::clone(policy)));
        while self.order.len() > POLICIES_MAX || self.bytes > MEMO_BYTES_MAX {
            let Some(oldest) = self.order.pop_front() else { break };
            gone.extend(self.remove(oldest));
        }
        gone
    }
}

#[derive(Debug, Default)]
pub struct ParsedPolicies {
    hashes: RandomState,
    kept: Mutex<Kept>,
}

impl ParsedPolicies {
    pub fn parse(&self, kind: PolicyKind<'_>, text: &str) -> Result<Arc<Policy>, PolicyError> {
        // All requests pass here: a text is hashed and compared while nobody waits for it.
        let hash = self.hashes.hash_one((kind, text));
        if let Some(policy) = self.find(hash, kind).filter(|policy| policy.text() == text) {
            return Ok(policy);
        }
        let policy = Arc::new(Policy::parse(kind, text)?);
        let gone = self.kept().keep(hash, kind.into(), &policy);
        drop(gone);
        Ok(policy)
    }

    /// Finds a policy by its hash; the text may still differ.
    fn find(&self, hash: u64, kind: PolicyKind<'_>) -> Option<Arc<Policy>> {
        let kept = self.kept();
        let (of, policy) = kept.by_hash.get(&hash)?;
        (of.kind() == kind).then(|| Arc::clone(policy))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Nothing is ever left half done in it that does harm.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn a_text_is_parsed_once_for_each_thing_that_it_is_the_policy_of() {
        let parsed = ParsedPolicies::default();
        let once = parsed.parse(PolicyKind::Identity, TEXT).expect("it is one");
        assert!(Arc::ptr_eq(&once, &parsed.parse(PolicyKind::Identity, TEXT).expect("it is one")));
        assert!(!Arc::ptr_eq(&once, &parsed.parse(PolicyKind::Session, TEXT).expect("it is one")));
        assert!(parsed.parse(PolicyKind::Bucket("box"), TEXT).is_err(), "a bucket's names who may do something");
    }

    #[test]
    fn a_policy_of_one_bucket_is_not_taken_for_that_of_another() {
        let parsed = ParsedPolicies::default();
        let text = TEXT.replace(r#""Effect""#, r#""Principal":"*","Effect""#);
        for _ in 0..2 {
            assert!(parsed.parse(PolicyKind::Bucket("box"), &text).is_ok());
            assert!(parsed.parse(PolicyKind::Bucket("other"), &text).is_err());
        }
    }

    #[test]
    fn cached_policies_are_bounded_and_the_oldest_goes_first() {
        let parsed = ParsedPolicies::default();
        let text = TEXT.replace(r#""Effect""#, r#""Principal":"*","Effect""#).replace("box/*", "*");
        let parse = |number: usize| parsed.parse(PolicyKind::Bucket(&format!("bucket-{number}")), &text).expect("one");
        let first: Vec<_> = (0..POLICIES_MAX).map(parse).collect();
        let newest = parse(POLICIES_MAX);
        assert_eq!(parsed.kept().by_hash.len(), POLICIES_MAX);
        assert_eq!(parsed.kept().order.len(), POLICIES_MAX);
        assert!(Arc::ptr_eq(&newest, &parse(POLICIES_MAX)) && Arc::ptr_eq(&first[1], &parse(1)));
        assert!(!Arc::ptr_eq(&first[0], &parse(0)), "it was parsed anew");
    }

    #[test]
    fn long_policies_are_fewer() {
        let parsed = ParsedPolicies::default();
        let resources = format!("arn:aws:s3:::box/{}", "k".repeat(9_000));
        for number in 0..200 {
            let text = TEXT.replace("arn:aws:s3:::box/*", &format!("{resources}{number}"));
            parsed.parse(PolicyKind::Identity, &text).expect("one");
            let kept = parsed.kept();
            let bytes: usize = kept.by_hash.values().map(|(_, policy)| policy.text().len()).sum();
            assert_eq!((kept.bytes, kept.by_hash.len()), (bytes, kept.order.len()));
            assert!(bytes <= MEMO_BYTES_MAX);
        }
        assert!(parsed.kept().by_hash.len() > 50);
    }
}
