//! A bucket's lifecycle rules: their stored form, S3's validation of them, and the decision what is due. Pure: the
//! caller passes the time and the attributes of each version.
//!
//! Sources: S3's API reference (`LifecycleRule` and what it holds) and user guide ("Lifecycle configuration elements").

mod check;
mod decide;

pub use check::{Objection, RuleError};
pub use decide::{
    Action, DAY, Expiry, MarkerFacts, NoncurrentFacts, ObjectFacts, UploadFacts, current_object, delete_marker,
    noncurrent_version, object_expiry, upload, upload_expiry,
};

use serde::{Deserialize, Serialize};

/// A bucket's lifecycle configuration, with the rules in the client's order. Decoding fails on a field that this
/// release does not know, because a rule must not be applied in part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    pub rules: Vec<Rule>,
    pub transition_minimum: TransitionMinimum,
}

impl Rules {
    /// Returns the number of newest noncurrent versions of a key that stay by a rule at any age.
    pub fn newer_versions_kept(&self, rule_id: &str) -> u32 {
        let rule = self.rules.iter().find(|rule| rule.id == rule_id);
        rule.and_then(|rule| rule.noncurrent?.newer_versions_kept).unwrap_or(0)
    }

    /// Returns the tags without which a rule does not apply to a version.
    pub fn tags_wanted(&self, rule_id: &str) -> Vec<(String, String)> {
        let rule = self.rules.iter().find(|rule| rule.id == rule_id);
        rule.map(|rule| rule.scope.tags()).unwrap_or_default()
    }
}

/// S3's setting for the smallest object that transitions by default. It is stored only to be returned: this store has
/// no transitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TransitionMinimum {
    #[default]
    AllStorageClasses128K,
    VariesByStorageClass,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    pub id: String,
    pub enabled: bool,
    pub scope: Scope,
    pub expiration: Option<Expiration>,
    pub noncurrent: Option<NoncurrentExpiration>,
    /// The age of multipart uploads, from their initiation, at which they are aborted.
    pub abort_uploads_after_days: Option<u32>,
}

/// The scope of a rule. It keeps the form that the client chose, because clients get it back in this form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    /// S3's older form: a `Prefix` in the rule itself.
    Prefix(String),
    Filter(Filter),
}

/// A conjunction of predicates. An empty filter matches every key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// The predicates directly in the `Filter` element, where S3's schema has at most one tag.
    pub own: Predicates,
    /// The predicates in its `And` element.
    pub and: Option<Predicates>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Predicates {
    pub prefix: Option<String>,
    pub tags: Vec<Tag>,
    /// An exclusive bound.
    pub larger_than_bytes: Option<u64>,
    /// An exclusive bound.
    pub smaller_than_bytes: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tag {
    pub key: String,
    pub value: String,
}

/// The expiration of current versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expiration {
    Days(u32),
    /// Midnight UTC, in seconds since the Unix epoch.
    Date(i64),
    /// `ExpiredObjectDeleteMarker`: true if a delete marker is removed once it is the only version of its key.
    DeleteMarkers(bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoncurrentExpiration {
    pub days: u32,
    /// The number of newest noncurrent versions of a key that stay at any age.
    pub newer_versions_kept: Option<u32>,
}

/// The attributes of an item that a filter examines.
#[derive(Clone, Copy, Debug)]
struct Subject<'a> {
    key: &'a str,
    size_bytes: u64,
    tags: &'a [(String, String)],
}

impl Rules {
    /// Returns whether an enabled rule can remove versions.
    pub fn concern_versions(&self) -> bool {
        self.enabled().any(|rule| rule.expiration.is_some() || rule.noncurrent.is_some())
    }

    /// Returns whether an enabled rule can remove uploads.
    pub fn concern_uploads(&self) -> bool {
        self.enabled().any(|rule| rule.abort_uploads_after_days.is_some())
    }

    /// Returns the longest prefix that is common to the scopes of all enabled rules.
    pub fn key_prefix(&self) -> &str {
        self.enabled().map(|rule| rule.scope.key_prefix()).reduce(shared_start).unwrap_or_default()
    }

    fn enabled(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(|rule| rule.enabled)
    }
}

fn shared_start<'a>(one: &'a str, other: &'a str) -> &'a str {
    let same = one.bytes().zip(other.bytes()).take_while(|(one, other)| one == other).count();
    &one[..one.floor_char_boundary(same)]
}

impl Scope {
    /// Returns a prefix that all keys in the scope have.
    fn key_prefix(&self) -> &str {
        match self {
            Self::Prefix(prefix) => prefix,
            Self::Filter(filter) => {
                let prefixes = filter.parts().filter_map(|part| part.prefix.as_deref());
                prefixes.max_by_key(|prefix| prefix.len()).unwrap_or_default()
            }
        }
    }

    /// Returns the tags that all versions in the scope have.
    fn tags(&self) -> Vec<(String, String)> {
        match self {
            Self::Prefix(_) => Vec::new(),
            Self::Filter(filter) => {
                let tags = filter.parts().flat_map(|part| &part.tags);
                tags.map(|tag| (tag.key.clone(), tag.value.clone())).collect()
            }
        }
    }

    fn holds(&self, subject: Subject<'_>) -> bool {
        match self {
            Self::Prefix(prefix) => subject.key.starts_with(prefix.as_str()),
            Self::Filter(filter) => filter.parts().all(|part| part.hold(subject)),
        }
    }
}

impl Filter {
    fn parts(&self) -> impl Iterator<Item = &Predicates> {
        std::iter::once(&self.own).chain(&self.and)
    }
}

impl Predicates {
    fn count(&self) -> usize {
        let single = [self.prefix.is_some(), self.larger_than_bytes.is_some(), self.smaller_than_bytes.is_some()];
        single.into_iter().filter(|given| *given).count() + self.tags.len()
    }

    fn hold(&self, subject: Subject<'_>) -> bool {
        let tagged =
            |wanted: &Tag| subject.tags.iter().any(|(key, value)| *key == wanted.key && *value == wanted.value);
        self.prefix.as_deref().is_none_or(|prefix| subject.key.starts_with(prefix))
            && self.larger_than_bytes.is_none_or(|bytes| subject.size_bytes > bytes)
            && self.smaller_than_bytes.is_none_or(|bytes| subject.size_bytes < bytes)
            && self.tags.iter().all(tagged)
    }
}

#[cfg(test)]
mod tests;
