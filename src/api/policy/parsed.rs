//! Policies that are kept parsed, by their texts: one that many requests ask is parsed once.

use super::document::{Policy, PolicyError, PolicyKind};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Texts that are kept.
const TEXTS_MAX: usize = 1024;
/// What the same text may be the policy of.
const OF_TEXT_MAX: usize = 8;

/// What a policy is of: the same text may be one thing for a user and wrong for a bucket.
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

type ByText = HashMap<String, Vec<(Of, Arc<Policy>)>>;

#[derive(Debug, Default)]
pub struct ParsedPolicies {
    kept: Mutex<ByText>,
}

impl ParsedPolicies {
    pub fn parse(&self, kind: PolicyKind<'_>, text: &str) -> Result<Arc<Policy>, PolicyError> {
        if let Some(policy) = self.find(kind, text) {
            return Ok(policy);
        }
        let policy = Arc::new(Policy::parse(kind, text)?);
        let mut kept = self.kept();
        if kept.len() >= TEXTS_MAX {
            kept.clear();
        }
        let of_text = kept.entry(text.to_owned()).or_default();
        if of_text.len() >= OF_TEXT_MAX {
            of_text.clear();
        }
        of_text.push((kind.into(), Arc::clone(&policy)));
        Ok(policy)
    }

    fn find(&self, kind: PolicyKind<'_>, text: &str) -> Option<Arc<Policy>> {
        let kept = self.kept();
        let (_, policy) = kept.get(text)?.iter().find(|(of, _)| of.kind() == kind)?;
        Some(Arc::clone(policy))
    }

    fn kept(&self) -> MutexGuard<'_, ByText> {
        // Nothing is ever left half done in it.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{OF_TEXT_MAX, ParsedPolicies};
    use crate::api::policy::PolicyKind;
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
    fn what_is_kept_has_bounds() {
        let parsed = ParsedPolicies::default();
        let text = TEXT.replace("arn:aws:s3:::box/*", "*");
        let names: Vec<String> = (0..3 * OF_TEXT_MAX).map(|number| format!("bucket-{number}")).collect();
        let kinds = names.iter().map(|name| PolicyKind::Bucket(name));
        for kind in kinds.chain([PolicyKind::Identity, PolicyKind::Session, PolicyKind::Trust]) {
            let _ = parsed.parse(kind, &text);
            assert!(parsed.kept().values().all(|of_text| of_text.len() <= OF_TEXT_MAX));
        }
    }
}
