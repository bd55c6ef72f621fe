//! A client's ledger of its own keys. An answered operation leaves one state. An operation of unknown outcome may take
//! effect once, at any later time, until the cluster was quiet and everything was read.

use crate::harness::content::Content;
use std::collections::BTreeMap;

/// An expected object with its ETag. In an option, `None` means no object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    pub content: Content,
    /// Quotes included.
    pub etag: String,
}

impl Made {
    pub fn of(content: Content) -> Self {
        let etag = content.etag();
        Self { content, etag }
    }
}

#[derive(Clone, Debug, Default)]
struct Key {
    /// The state after the last answered operation, or the last read.
    held: Option<Made>,
    /// The states that operations of unknown outcome may still make.
    late: Vec<Option<Made>>,
}

#[derive(Clone, Debug, Default)]
pub struct Ledger {
    keys: BTreeMap<String, Key>,
    /// The number of reads that showed the effect of an operation of unknown outcome.
    pub late_seen: u64,
}

impl Ledger {
    pub fn keys(&self) -> impl Iterator<Item = &String> {
        self.keys.keys()
    }

    /// Returns the certain state of a key, if it is certain.
    pub fn certain(&self, key: &str) -> Option<Option<&Made>> {
        match self.keys.get(key) {
            None => Some(None),
            Some(known) if known.late.is_empty() => Some(known.held.as_ref()),
            Some(_) => None,
        }
    }

    pub fn acknowledge(&mut self, key: &str, made: Option<Made>) {
        self.keys.entry(key.to_owned()).or_default().held = made;
    }

    pub fn suspect(&mut self, key: &str, made: Option<Made>) {
        self.keys.entry(key.to_owned()).or_default().late.push(made);
    }

    /// Compares a read of a key (an ETag, or nothing) with the possible states; returns the state, or the violation.
    pub fn look(&mut self, key: &str, etag: Option<&str>) -> Result<Option<Made>, String> {
        let nothing = Key::default();
        let known = self.keys.get(key).unwrap_or(&nothing);
        let tag = |made: &Option<Made>| made.as_ref().map(|made| made.etag.clone());
        if tag(&known.held).as_deref() == etag {
            return Ok(known.held.clone());
        }
        let Some(at) = known.late.iter().position(|made| tag(made).as_deref() == etag) else {
            let late: Vec<_> = known.late.iter().map(tag).collect();
            let what = match (&known.held, etag) {
                (Some(_), None) => "an acknowledged object is lost",
                (None, Some(_)) => "a deleted object is back",
                _ => "it is another object",
            };
            return Err(format!(
                "{key}: {what}: found {etag:?}, acknowledged {:?}, possible {late:?}",
                tag(&known.held)
            ));
        };
        let known = self.keys.get_mut(key).expect("it was found");
        known.held = known.late.remove(at);
        self.late_seen += 1;
        Ok(known.held.clone())
    }

    /// Settles the ledger: no operation is under way any more, so the present states stay.
    pub fn settle(&mut self) {
        self.keys.values_mut().for_each(|key| key.late.clear());
    }

    /// Keys that exist for certain.
    pub fn existing(&self) -> impl Iterator<Item = (&String, &Made)> {
        self.keys.iter().filter_map(|(name, key)| Some((name, key.held.as_ref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::{Ledger, Made};
    use crate::harness::content::Content;

    fn made(seed: u64) -> Option<Made> {
        Some(Made::of(Content { seed, lens: vec![10] }))
    }

    fn tag(seed: u64) -> Option<String> {
        made(seed).map(|made| made.etag)
    }

    #[test]
    fn an_acknowledged_write_that_is_lost_is_noticed() {
        let mut ledger = Ledger::default();
        ledger.acknowledge("k", made(1));
        assert!(ledger.look("k", None).unwrap_err().contains("lost"));
        ledger.acknowledge("k", made(2));
        assert!(ledger.look("k", tag(1).as_deref()).unwrap_err().contains("another object"));
        assert_eq!(ledger.look("k", tag(2).as_deref()), Ok(made(2)));
    }

    #[test]
    fn a_deleted_object_that_is_back_is_noticed() {
        let mut ledger = Ledger::default();
        ledger.acknowledge("k", made(1));
        ledger.acknowledge("k", None);
        assert!(ledger.look("k", tag(1).as_deref()).unwrap_err().contains("back"));
        assert!(ledger.look("never", tag(1).as_deref()).is_err());
    }

    #[test]
    fn a_write_of_unknown_outcome_may_take_effect_late_but_only_once() {
        let mut ledger = Ledger::default();
        ledger.suspect("k", made(1));
        ledger.acknowledge("k", made(2));
        assert_eq!(ledger.certain("k"), None);
        assert_eq!(ledger.look("k", tag(2).as_deref()), Ok(made(2)));
        assert_eq!(ledger.look("k", tag(1).as_deref()), Ok(made(1)));
        assert!(ledger.look("k", tag(2).as_deref()).is_err(), "it has been overwritten");
        ledger.acknowledge("k", None);
        assert!(ledger.look("k", tag(1).as_deref()).is_err(), "it has happened before");
        assert_eq!(ledger.late_seen, 1);
    }

    #[test]
    fn after_settling_no_late_effect_is_accepted() {
        let mut ledger = Ledger::default();
        ledger.acknowledge("k", made(1));
        ledger.suspect("k", None);
        ledger.settle();
        assert!(ledger.look("k", None).is_err());
    }
}
