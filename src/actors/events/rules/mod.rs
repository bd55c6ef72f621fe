//! `NotificationRules`: the notification configuration of a bucket, which says what events go to what webhooks. Stored
//! as the bucket's notification document. Pure.

use super::names::{EventName, EventPattern};
use super::target::{EVENT_BRIDGE, TargetArn, TargetKind};
use crate::actors::documents;
use crate::storage::meta::record::DocumentRow;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeSet;

/// S3's limit on the number of notification configurations of a bucket.
pub const RULES_MAX: usize = 100;
/// S3's limit on the value of a filter, in bytes of UTF-8.
pub const FILTER_BYTES_MAX: usize = 1024;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotificationRules {
    pub rules: Vec<NotificationRule>,
    /// True if all events also go to the webhook named `EVENTBRIDGE`, in EventBridge's format.
    #[serde(default)]
    pub event_bridge: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotificationRule {
    pub id: String,
    pub kind: TargetKind,
    pub target: TargetArn,
    /// The patterns in the order given, each once.
    #[serde(deserialize_with = "each_once")]
    pub events: Vec<EventPattern>,
    /// The filters in the order given, at most one of each kind.
    #[serde(default)]
    pub filters: Vec<KeyFilter>,
}

/// Reads patterns, of which a stored rule may repeat some.
fn each_once<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<EventPattern>, D::Error> {
    Vec::<EventPattern>::deserialize(deserializer).map(EventPattern::distinct)
}

/// A filter on the key, which is compared unencoded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyFilter {
    Prefix(String),
    Suffix(String),
}

/// A webhook that gets an event, and the rule that the event matched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Match {
    /// The webhook's name.
    pub target: String,
    /// The id of the rule; `None` if the event is sent in EventBridge's format.
    pub configuration: Option<String>,
}

/// The reason why a set of rules is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RulesFault {
    #[error("a bucket may have {RULES_MAX} notification configurations, not {count}")]
    TooMany { count: usize },
    #[error("the id {0} is used by two notification configurations")]
    SameId(String),
    /// Two rules without filters share an event.
    #[error("the notification configurations {0} and {1} match the same event")]
    SharedEvent(String, String),
    /// Two rules share an event, and a key can match the filters of both.
    #[error("the notification configurations {0} and {1} match the same event for the same keys")]
    Ambiguous(String, String),
}

impl NotificationRules {
    /// Decodes the rules of a bucket from its document. Empty if there is no document, or if this release cannot decode
    /// it.
    pub fn of(document: Option<&DocumentRow>) -> Self {
        let Some(row) = document else { return Self::default() };
        documents::decode(&row.value).unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot read a bucket's notification rules; its events are not sent");
            Self::default()
        })
    }

    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && !self.event_bridge
    }

    /// Refuses rules that one event could match twice (S3 user guide, "Configuring event notifications using object key
    /// name filtering"), duplicate ids, and too many rules.
    pub fn validate(&self) -> Result<(), RulesFault> {
        if self.rules.len() > RULES_MAX {
            return Err(RulesFault::TooMany { count: self.rules.len() });
        }
        let mut ids = BTreeSet::new();
        if let Some(twice) = self.rules.iter().find(|rule| !ids.insert(rule.id.as_str())) {
            return Err(RulesFault::SameId(twice.id.clone()));
        }
        let events: Vec<BTreeSet<EventName>> = self.rules.iter().map(NotificationRule::event_names).collect();
        for (at, (one, names)) in self.rules.iter().zip(&events).enumerate() {
            let mut others = self.rules[..at].iter().zip(&events);
            let overlaps = others.find(|(other, of_other)| !names.is_disjoint(of_other) && one.shares_keys(other));
            if let Some((other, _)) = overlaps {
                let (first, second) = (other.id.clone(), one.id.clone());
                let bare = one.filters.is_empty() && other.filters.is_empty();
                let fault = if bare { RulesFault::SharedEvent } else { RulesFault::Ambiguous };
                return Err(fault(first, second));
            }
        }
        Ok(())
    }

    /// Returns the webhooks that get an event, each once.
    pub fn matching(&self, event: EventName, key: &str) -> Vec<Match> {
        let to_match =
            |rule: &NotificationRule| Match { target: rule.target.webhook(), configuration: Some(rule.id.clone()) };
        let mut matches: Vec<Match> = Vec::new();
        for found in self.rules.iter().filter(|rule| rule.matches(event, key)).map(to_match) {
            if matches.iter().all(|known| known.target != found.target) {
                matches.push(found);
            }
        }
        if self.event_bridge {
            // A rule may name the webhook, too, and it gets an event once.
            matches.retain(|found| found.target != EVENT_BRIDGE);
            matches.push(Match { target: EVENT_BRIDGE.to_owned(), configuration: None });
        }
        matches
    }

    /// Returns the names of all webhooks that the rules name.
    pub fn webhooks(&self) -> BTreeSet<String> {
        let bridge = self.event_bridge.then(|| EVENT_BRIDGE.to_owned());
        self.rules.iter().map(|rule| rule.target.webhook()).chain(bridge).collect()
    }
}

impl NotificationRule {
    fn prefix(&self) -> &str {
        let prefix = self.filters.iter().find_map(|filter| match filter {
            KeyFilter::Prefix(value) => Some(value.as_str()),
            KeyFilter::Suffix(_) => None,
        });
        prefix.unwrap_or_default()
    }

    fn suffix(&self) -> &str {
        let suffix = self.filters.iter().find_map(|filter| match filter {
            KeyFilter::Suffix(value) => Some(value.as_str()),
            KeyFilter::Prefix(_) => None,
        });
        suffix.unwrap_or_default()
    }

    fn matches(&self, event: EventName, key: &str) -> bool {
        self.events.iter().any(|pattern| pattern.matches(event))
            && key.starts_with(self.prefix())
            && key.ends_with(self.suffix())
    }

    /// Returns the events that the rule is for.
    fn event_names(&self) -> BTreeSet<EventName> {
        let is_meant = |event: &EventName| self.events.iter().any(|pattern| pattern.matches(*event));
        EventName::ALL.iter().copied().filter(is_meant).collect()
    }

    /// Returns whether a key can match the filters of both rules.
    fn shares_keys(&self, other: &Self) -> bool {
        let (one, two) = (self.prefix(), other.prefix());
        let prefixes = one.starts_with(two) || two.starts_with(one);
        let (one, two) = (self.suffix(), other.suffix());
        let suffixes = one.ends_with(two) || two.ends_with(one);
        prefixes && suffixes
    }
}

#[cfg(test)]
mod tests;
