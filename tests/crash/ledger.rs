//! The ledger of expected states: for each key, every state that it may be in. An answered operation leaves exactly one
//! state; an unanswered one leaves two, the state before it and the one that it would have made.

use crate::harness::content::Content;
use std::collections::{BTreeMap, BTreeSet};

/// The possible contents of a key; `None` is no object.
type Possible = BTreeMap<Option<String>, Option<Content>>;

#[derive(Debug, Default)]
pub struct Ledger {
    keys: BTreeMap<String, Possible>,
    touched: BTreeSet<String>,
}

impl Ledger {
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn keys(&self) -> Vec<String> {
        self.keys.keys().cloned().collect()
    }

    pub fn touched(&self) -> Vec<String> {
        self.touched.iter().cloned().collect()
    }

    /// Splits the ledger by thread: the keys `t0/…`, `t1/…` belong to the thread of that number, which alone changes
    /// them.
    pub fn split(&mut self, threads: u64) -> Vec<Self> {
        let mut parts: Vec<Self> = (0..threads).map(|_| Self::default()).collect();
        for (key, possible) in std::mem::take(&mut self.keys) {
            let thread = key
                .strip_prefix('t')
                .and_then(|rest| rest.split('/').next())
                .and_then(|text| text.parse::<usize>().ok());
            parts[thread.expect("keys name their thread")].keys.insert(key, possible);
        }
        parts
    }

    pub fn join(&mut self, part: Self) {
        self.keys.extend(part.keys);
    }

    /// Returns the certain content of a key, if there is one.
    pub fn known(&self, key: &str) -> Option<Option<Content>> {
        match self.keys.get(key) {
            None => Some(None),
            Some(possible) if possible.len() == 1 => possible.values().next().cloned(),
            Some(_) => None,
        }
    }

    /// Notes an answered operation: the key holds exactly this.
    pub fn acknowledge(&mut self, key: &str, content: Option<Content>) {
        self.touched.insert(key.to_owned());
        self.keys.insert(key.to_owned(), Possible::from([(content.as_ref().map(Content::etag), content)]));
    }

    /// Notes an operation whose outcome is unknown: the key may also hold this.
    pub fn suspect(&mut self, key: &str, content: Option<Content>) {
        self.touched.insert(key.to_owned());
        let possible = self.keys.entry(key.to_owned()).or_insert_with(|| Possible::from([(None, None)]));
        possible.insert(content.as_ref().map(Content::etag), content);
    }

    /// Notes that an answer showed whether the key holds an object.
    pub fn learn(&mut self, key: &str, exists: bool) {
        if let Some(possible) = self.keys.get_mut(key) {
            possible.retain(|etag, _| etag.is_some() == exists);
        }
    }

    /// Takes the found state as the only one, if it is possible; else returns an error.
    pub fn settle(&mut self, key: &str, etag: Option<&str>) -> Result<Option<Content>, String> {
        let possible = self.keys.get_mut(key).ok_or_else(|| format!("{key}: never written"))?;
        let found = etag.map(str::to_owned);
        match possible.get(&found).cloned() {
            Some(content) => {
                possible.retain(|known, _| *known == found);
                Ok(content)
            }
            None => Err(format!("{key}: found {found:?}, possible are {:?}", possible.keys().collect::<Vec<_>>())),
        }
    }

    /// Returns a complaint for each listed key that was never written.
    pub fn unexpected(&self, listed: &BTreeMap<String, String>) -> Vec<String> {
        listed
            .keys()
            .filter(|key| !self.keys.contains_key(*key))
            .map(|key| format!("{key}: listed, never written"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Ledger;
    use crate::harness::content::Content;
    use std::collections::BTreeMap;

    fn content(seed: u64) -> Content {
        Content { seed, lens: vec![100] }
    }

    #[test]
    fn a_lost_acknowledged_write_is_noticed() {
        let mut ledger = Ledger::default();
        ledger.acknowledge("k", Some(content(1)));
        assert!(ledger.settle("k", None).is_err());
        ledger.acknowledge("k", Some(content(2)));
        assert!(ledger.settle("k", Some(&content(1).etag())).is_err(), "the older content is a loss too");
    }

    #[test]
    fn a_deleted_object_that_comes_back_is_noticed() {
        let mut ledger = Ledger::default();
        ledger.acknowledge("k", Some(content(1)));
        ledger.acknowledge("k", None);
        assert!(ledger.settle("k", Some(&content(1).etag())).is_err());
        assert_eq!(ledger.unexpected(&BTreeMap::from([("other".into(), "x".into())])).len(), 1);
    }

    #[test]
    fn an_unanswered_write_may_have_happened_and_is_certain_once_read() {
        let mut ledger = Ledger::default();
        ledger.acknowledge("k", Some(content(1)));
        ledger.suspect("k", Some(content(2)));
        ledger.suspect("k", None);
        assert_eq!(ledger.known("k"), None);
        assert_eq!(ledger.settle("k", Some(&content(2).etag())), Ok(Some(content(2))));
        assert!(ledger.settle("k", Some(&content(1).etag())).is_err());
    }
}
