//! The names of S3's events, and the patterns of notification configurations: one event, or all events of a family.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeSet;
use std::fmt;

/// The prefix of names in configurations; records leave it out.
const PREFIX: &str = "s3:";

macro_rules! events {
    ($($name:ident = $text:literal $version:literal;)*) => {
        /// The type of an event (S3 user guide, "Event notification types and destinations"). Types that this store
        /// never emits may be configured, too.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum EventName {
            $($name,)*
        }

        impl EventName {
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Returns the name as in records: `ObjectCreated:Put`.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// Returns the version of the record's format. Types that S3 added later have a later version.
            pub const fn record_version(self) -> &'static str {
                match self {
                    $(Self::$name => $version,)*
                }
            }
        }
    };
}

events! {
    ObjectCreatedPut = "ObjectCreated:Put" "2.1";
    ObjectCreatedPost = "ObjectCreated:Post" "2.1";
    ObjectCreatedCopy = "ObjectCreated:Copy" "2.1";
    ObjectCreatedCompleteMultipartUpload = "ObjectCreated:CompleteMultipartUpload" "2.1";
    ObjectRemovedDelete = "ObjectRemoved:Delete" "2.1";
    ObjectRemovedDeleteMarkerCreated = "ObjectRemoved:DeleteMarkerCreated" "2.1";
    LifecycleExpirationDelete = "LifecycleExpiration:Delete" "2.3";
    LifecycleExpirationDeleteMarkerCreated = "LifecycleExpiration:DeleteMarkerCreated" "2.3";
    ObjectTaggingPut = "ObjectTagging:Put" "2.3";
    ObjectTaggingDelete = "ObjectTagging:Delete" "2.3";
    ObjectAclPut = "ObjectAcl:Put" "2.3";
    ObjectRestorePost = "ObjectRestore:Post" "2.1";
    ObjectRestoreCompleted = "ObjectRestore:Completed" "2.1";
    ObjectRestoreDelete = "ObjectRestore:Delete" "2.3";
    LifecycleTransition = "LifecycleTransition" "2.3";
    IntelligentTiering = "IntelligentTiering" "2.3";
    ReducedRedundancyLostObject = "ReducedRedundancyLostObject" "2.1";
    ReplicationOperationFailed = "Replication:OperationFailedReplication" "2.2";
    ReplicationOperationMissedThreshold = "Replication:OperationMissedThreshold" "2.2";
    ReplicationOperationReplicatedAfterThreshold = "Replication:OperationReplicatedAfterThreshold" "2.2";
    ReplicationOperationNotTracked = "Replication:OperationNotTracked" "2.2";
}

/// The families that a pattern may name as a whole.
const FAMILIES: &[&str] =
    &["ObjectCreated", "ObjectRemoved", "ObjectRestore", "Replication", "LifecycleExpiration", "ObjectTagging"];

impl EventName {
    /// Parses a name without its prefix `s3:`. `None` if no event has this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().find(|known| known.as_str() == text).copied()
    }

    /// Returns the family: `ObjectCreated` for `ObjectCreated:Put`.
    fn family(self) -> &'static str {
        let text = self.as_str();
        text.split_once(':').map_or(text, |(family, _)| family)
    }
}

impl fmt::Display for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The pattern of a rule. Its text, also in the stored form, is `s3:ObjectCreated:*` or `s3:ObjectCreated:Put`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventPattern {
    One(EventName),
    /// All events of a family.
    Family(&'static str),
}

impl EventPattern {
    /// Parses a pattern. `None` if S3 has no such event or family.
    pub fn parse(text: &str) -> Option<Self> {
        let name = text.strip_prefix(PREFIX)?;
        match name.strip_suffix(":*") {
            Some(family) => FAMILIES.iter().find(|known| **known == family).map(|known| Self::Family(known)),
            None => EventName::parse(name).map(Self::One),
        }
    }

    pub fn matches(self, event: EventName) -> bool {
        match self {
            Self::One(name) => name == event,
            Self::Family(family) => family == event.family(),
        }
    }

    /// Returns the patterns in their order, each once.
    pub fn distinct(mut patterns: Vec<Self>) -> Vec<Self> {
        let mut seen = BTreeSet::new();
        patterns.retain(|pattern| seen.insert(*pattern));
        patterns
    }
}

impl fmt::Display for EventPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(name) => write!(f, "{PREFIX}{name}"),
            Self::Family(family) => write!(f, "{PREFIX}{family}:*"),
        }
    }
}

impl Serialize for EventPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EventPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom(format!("{text} is not an event")))
    }
}

#[cfg(test)]
mod tests {
    use super::{EventName, EventPattern};

    #[test]
    fn every_event_name_parses_from_its_text() {
        for &event in EventName::ALL {
            assert_eq!(EventName::parse(event.as_str()), Some(event));
            let pattern = EventPattern::parse(&format!("s3:{event}"));
            assert_eq!(pattern, Some(EventPattern::One(event)), "{event}");
        }
        assert_eq!(EventName::parse("s3:ObjectCreated:Put"), None);
    }

    #[test]
    fn a_family_pattern_matches_exactly_the_events_of_its_family() {
        let created = EventPattern::parse("s3:ObjectCreated:*").expect("a family");
        let matched = EventName::ALL.iter().filter(|event| created.matches(**event)).count();
        assert_eq!(matched, 4);
        assert!(!created.matches(EventName::LifecycleExpirationDelete));
    }

    #[test]
    fn distinct_patterns_keep_their_order() {
        let parse = |text: &&str| EventPattern::parse(text).expect("a pattern");
        let patterns = |texts: &[&str]| texts.iter().map(parse).collect::<Vec<_>>();
        let (put, created, removed) = ("s3:ObjectCreated:Put", "s3:ObjectCreated:*", "s3:ObjectRemoved:*");
        let given = patterns(&[removed, put, removed, created, put, created]);
        assert_eq!(EventPattern::distinct(given), patterns(&[removed, put, created]));
    }

    #[test]
    fn event_patterns_that_s3_does_not_have_are_not_parsed() {
        for text in ["ObjectCreated:Put", "s3:ObjectCreated", "s3:ObjectAcl:*", "s3:TestEvent", "s3:*", "", "s3:Object"]
        {
            assert_eq!(EventPattern::parse(text), None, "{text}");
        }
    }

    #[test]
    fn event_patterns_are_stored_as_text() {
        let pattern = EventPattern::parse("s3:LifecycleExpiration:*").expect("a family");
        let text = serde_json::to_string(&pattern).expect("JSON");
        assert_eq!(text, "\"s3:LifecycleExpiration:*\"");
        assert_eq!(serde_json::from_str::<EventPattern>(&text).expect("a pattern"), pattern);
        assert!(serde_json::from_str::<EventPattern>("\"s3:Never\"").is_err());
    }
}
