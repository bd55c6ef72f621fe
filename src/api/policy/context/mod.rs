//! The context of a request: condition keys and their values. Names of keys are compared without regard to case (IAM
//! User Guide, "AWS global condition context keys").

mod meter;

pub use meter::{Budget, Meter};

use crate::limits::{CONDITION_VALUE_BYTES_MAX, CONDITION_VALUES_MAX};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::{mem, slice};

/// Condition keys that depend on one object of a request for several. A name that ends in `/` is a prefix: the key of a
/// tag follows.
const OF_OBJECT: [&str; 3] = ["s3:existingobjecttag/", "s3:if-match", "s3:versionid"];

/// The values of one key; most keys have exactly one.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Values {
    One(String),
    Several(Vec<String>),
}

impl Values {
    fn as_slice(&self) -> &[String] {
        match self {
            Self::One(value) => slice::from_ref(value),
            Self::Several(values) => values,
        }
    }

    fn push(&mut self, value: String) {
        let mut values = match mem::replace(self, Self::Several(Vec::new())) {
            Self::One(first) => vec![first],
            Self::Several(values) => values,
        };
        values.push(value);
        *self = Self::Several(values);
    }
}

/// Condition keys with their values. A key with several values is what AWS calls a multivalued context key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    values: BTreeMap<Cow<'static, str>, Values>,
    /// The context below, which applies to keys that `values` does not contain.
    base: Option<Arc<Context>>,
}

impl Context {
    /// Returns a context layered over a shared one. The decisions of one request share a base, and each adds or
    /// replaces some keys.
    pub fn over(base: &Arc<Self>) -> Self {
        Self { values: BTreeMap::new(), base: Some(Arc::clone(base)) }
    }

    /// Adds one value to those of the key.
    pub fn add(&mut self, key: &str, value: impl Into<String>) {
        self.add_to(key.to_lowercase().into(), value.into());
    }

    /// Adds one value to those of the key, which must be in lower case.
    pub fn add_lower(&mut self, key: &'static str, value: impl Into<String>) {
        debug_assert!(!key.bytes().any(|byte| byte.is_ascii_uppercase()), "{key} is in lower case");
        self.add_to(Cow::Borrowed(key), value.into());
    }

    fn add_to(&mut self, key: Cow<'static, str>, value: String) {
        match self.values.entry(key) {
            Entry::Occupied(mut values) => values.get_mut().push(value),
            Entry::Vacant(vacant) => {
                let inherited = self.base.as_ref().and_then(|base| base.values(vacant.key()));
                vacant.insert(match inherited {
                    Some(inherited) => Values::Several(inherited.iter().cloned().chain([value]).collect()),
                    None => Values::One(value),
                });
            }
        }
    }

    /// Replaces the values of the key by this value. `None` removes the key.
    pub fn set(&mut self, key: &str, value: Option<String>) {
        let value = value.map_or_else(|| Values::Several(Vec::new()), Values::One);
        self.values.insert(key.to_lowercase().into(), value);
    }

    /// Replaces the values of each key that the other context has.
    pub fn replace(&mut self, other: &Self) {
        debug_assert!(other.base.is_none(), "all its values are its own");
        self.values.extend(other.values.iter().map(|(key, values)| (key.clone(), values.clone())));
    }

    /// Returns all keys in force, in lower case.
    #[cfg(test)]
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries().map(|(key, _)| key)
    }

    /// Returns the values of a key, given in lower case; `None` if it has none.
    pub fn values(&self, key: &str) -> Option<&[String]> {
        match self.values.get(key) {
            Some(values) => Some(values.as_slice()).filter(|values| !values.is_empty()),
            None => self.base.as_ref()?.values(key),
        }
    }

    /// Returns this context, then those below it, from top to bottom.
    fn levels(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |context| context.base.as_deref())
    }

    /// Returns all keys in force with their values.
    fn entries(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.levels().enumerate().flat_map(move |(depth, level)| {
            let is_hidden = move |key| self.levels().take(depth).any(|above| above.values.contains_key(key));
            let entries = level.values.iter().map(|(key, values)| (&**key, values.as_slice()));
            entries.filter(move |(key, _)| !is_hidden(*key))
        })
    }

    /// Returns whether the number and the lengths of the values are within the limits of conditions.
    pub fn is_within_bounds(&self) -> bool {
        // The fast check also counts hidden values of lower levels. Only if it fails are the values in force
        // determined.
        let all = self.levels().flat_map(|level| level.values.values().map(Values::as_slice));
        are_within_bounds(all) || are_within_bounds(self.entries().map(|(_, values)| values))
    }

    /// Returns the value of a key that has exactly one, as policy variables require.
    pub fn single(&self, key: &str) -> Option<&str> {
        match self.values(key)? {
            [value] => Some(value),
            _ => None,
        }
    }
}

fn are_within_bounds<'a>(mut values: impl Iterator<Item = &'a [String]>) -> bool {
    let mut count = 0;
    values.all(|values| {
        count += values.len();
        count <= CONDITION_VALUES_MAX && values.iter().all(|value| value.len() <= CONDITION_VALUE_BYTES_MAX)
    })
}

/// Returns whether the key, in lower case, depends on one object of a request for several.
pub fn is_of_object(key: &str) -> bool {
    OF_OBJECT.iter().any(|known| if known.ends_with('/') { key.starts_with(known) } else { key == *known })
}

/// The condition keys that statements are compared with, and the meter for the comparisons.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    request: &'a Context,
    /// The keys of one object, which replace those of the request.
    object: &'a Context,
    pub meter: &'a Meter<'a>,
}

impl<'a> Facts<'a> {
    pub fn of(request: &'a Context, object: &'a Context, meter: &'a Meter<'a>) -> Self {
        Self { request, object, meter }
    }

    /// Runs a comparison outside of a request, with a full budget of its own.
    pub fn alone<T>(context: &Context, ask: impl FnOnce(&Facts<'_>) -> T) -> T {
        let (budget, nothing) = (Budget::default(), Context::default());
        let meter = Meter::of(&budget);
        ask(&Facts::of(context, &nothing, &meter))
    }

    /// Returns the values of a key, given in lower case; `None` if it has none.
    pub fn values(&self, key: &str) -> Option<&'a [String]> {
        let of = if self.object.values.contains_key(key) { self.object } else { self.request };
        of.values(key)
    }

    /// Returns the value of a key that has exactly one, as policy variables require.
    pub fn single(&self, key: &str) -> Option<&'a str> {
        match self.values(key)? {
            [value] => Some(value),
            _ => None,
        }
    }
}

impl<K: AsRef<str>, V: Into<String>> FromIterator<(K, V)> for Context {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut context = Self::default();
        context.extend(pairs);
        context
    }
}

impl<K: AsRef<str>, V: Into<String>> Extend<(K, V)> for Context {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, pairs: I) {
        for (key, value) in pairs {
            self.add(key.as_ref(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Context;
    use std::sync::Arc;

    #[test]
    fn a_layered_context_adds_to_replaces_and_removes_keys_of_its_base() {
        let base = Arc::new(Context::from_iter([("a", "1"), ("B", "2"), ("c", "3")]));
        let mut over = Context::over(&base);
        over.add("b", "4");
        over.set("C", None);
        over.add("d", "5");
        let values = |key: &str| over.values(key).map(<[String]>::to_vec).unwrap_or_default();
        assert_eq!(
            [values("a"), values("b"), values("c"), values("d")],
            [vec!["1"], vec!["2", "4"], vec![], vec!["5"]]
        );
        let mut keys: Vec<_> = over.keys().collect();
        keys.sort_unstable();
        assert_eq!(keys, ["a", "b", "c", "d"]);
        assert_eq!(base.values("b").map(<[String]>::len), Some(1), "the base stays as it is");
    }

    #[test]
    fn hidden_values_do_not_count_towards_the_bounds_of_a_context() {
        let long = "x".repeat(crate::limits::CONDITION_VALUE_BYTES_MAX + 1);
        let base = Arc::new(Context::from_iter([("a", long)]));
        let mut over = Context::over(&base);
        assert!(!over.is_within_bounds());
        over.set("a", Some("short".to_owned()));
        assert!(over.is_within_bounds());
    }
}
