//! `SpaceSaving`: the heaviest names of a stream in bounded memory (Metwally, Agrawal, El Abbadi 2005). Pure.

use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// The load of a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    pub requests: u64,
    /// Bytes received and sent.
    pub bytes: u64,
}

impl Load {
    pub fn add(&mut self, other: Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// A sketch of at most `names_max` names. It has every name whose weight exceeds the sum of all weights divided by
/// `names_max`.
#[derive(Clone, Debug)]
pub struct SpaceSaving {
    names_max: usize,
    names: HashMap<Box<str>, Counter>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counter {
    /// An upper bound of the name's weight: it includes the weight of the name that was evicted for it.
    weight: u64,
    /// The load since the name was inserted.
    load: Load,
}

impl SpaceSaving {
    pub fn new(names_max: usize) -> Self {
        Self { names_max: names_max.max(1), names: HashMap::new() }
    }

    pub fn add(&mut self, name: &str, weight: u64, load: Load) {
        if let Some(counter) = self.names.get_mut(name) {
            counter.weight = counter.weight.saturating_add(weight);
            counter.load.add(load);
            return;
        }
        let mut counter = Counter { weight, load };
        if self.names.len() >= self.names_max {
            counter.weight = counter.weight.saturating_add(self.let_lightest_go());
        }
        self.names.insert(name.into(), counter);
    }

    /// Evicts the name with the least weight and returns that weight.
    fn let_lightest_go(&mut self) -> u64 {
        let lightest = self.names.iter().min_by_key(|(_, counter)| counter.weight);
        let Some((name, weight)) = lightest.map(|(name, counter)| (name.clone(), counter.weight)) else { return 0 };
        self.names.remove(&name);
        weight
    }

    pub fn clear(&mut self) {
        self.names.clear();
    }

    /// Returns a lower bound of each name's load.
    pub fn loads(&self) -> impl Iterator<Item = (&str, Load)> {
        self.names.iter().map(|(name, counter)| (&**name, counter.load))
    }
}

#[cfg(test)]
mod tests {
    use super::{Load, SpaceSaving};
    use std::collections::BTreeMap;

    fn one(bytes: u64) -> Load {
        Load { requests: 1, bytes }
    }

    #[test]
    fn a_sketch_that_is_not_full_counts_exactly() {
        let mut names = SpaceSaving::new(2);
        for (name, bytes) in [("a", 5), ("b", 1), ("a", 6)] {
            names.add(name, 1, one(bytes));
        }
        let loads: BTreeMap<&str, Load> = names.loads().collect();
        assert_eq!(loads, BTreeMap::from([("a", Load { requests: 2, bytes: 11 }), ("b", one(1))]));
    }

    #[test]
    fn a_heavy_name_is_never_evicted_for_light_ones() {
        let mut names = SpaceSaving::new(8);
        for round in 0..1000 {
            names.add("heavy", 1, one(10));
            names.add("heavier", 2, one(20));
            names.add(&format!("other {round}"), 1, one(1));
        }
        let loads: BTreeMap<&str, Load> = names.loads().collect();
        assert_eq!(loads.len(), 8);
        assert_eq!(loads["heavy"], Load { requests: 1000, bytes: 10_000 });
        assert_eq!(loads["heavier"], Load { requests: 1000, bytes: 20_000 });
    }

    #[test]
    fn the_load_of_an_evicted_name_is_not_counted_for_another() {
        let mut names = SpaceSaving::new(1);
        names.add("a", 1, one(100));
        names.add("b", 1, one(7));
        let loads: BTreeMap<&str, Load> = names.loads().collect();
        assert_eq!(loads, BTreeMap::from([("b", one(7))]), "its weight is 2, its load is its own");
    }
}
