//! What is known of a request besides who asks for what: condition keys and their values. Names of keys are compared
//! without regard to case (IAM User Guide, "AWS global condition context keys").

mod meter;

pub use meter::{Budget, Meter};

use crate::limits::{CONDITION_VALUE_BYTES_MAX, CONDITION_VALUES_MAX};
use std::collections::BTreeMap;

/// Keys that follow from the object, or from what a request says of one object among many. One that ends in `/` goes on
/// with a tag's key.
const OF_OBJECT: [&str; 3] = ["s3:existingobjecttag/", "s3:if-match", "s3:versionid"];

/// Condition keys with their values. A key with several values is what AWS calls a multivalued one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    values: BTreeMap<String, Vec<String>>,
}

impl Context {
    /// Adds one value to those of the key.
    pub fn add(&mut self, key: &str, value: impl Into<String>) {
        self.values.entry(key.to_lowercase()).or_default().push(value.into());
    }

    /// Gives the key this value and no other, or none.
    pub fn set(&mut self, key: &str, value: Option<String>) {
        self.values.insert(key.to_lowercase(), value.into_iter().collect());
    }

    /// Gives each key of the other one its values there, and no others.
    pub fn replace(&mut self, other: &Self) {
        self.values.extend(other.values.iter().map(|(key, values)| (key.clone(), values.clone())));
    }

    /// In lower case.
    #[cfg(test)]
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// The values of a key that is given in lower case; `None` where it has none.
    pub fn values(&self, key: &str) -> Option<&[String]> {
        self.values.get(key).map(Vec::as_slice).filter(|values| !values.is_empty())
    }

    /// Whether there are as few values as conditions are compared with, none of them longer than such a value may be.
    pub fn is_within_bounds(&self) -> bool {
        let count: usize = self.values.values().map(Vec::len).sum();
        let fits = |value: &String| value.len() <= CONDITION_VALUE_BYTES_MAX;
        count <= CONDITION_VALUES_MAX && self.values.values().flatten().all(fits)
    }

    /// The value of a key that has exactly one, as policy variables require.
    pub fn single(&self, key: &str) -> Option<&str> {
        match self.values(key)? {
            [value] => Some(value),
            _ => None,
        }
    }
}

/// Whether the key, in lower case, is of one object among those that a request is about.
pub fn is_of_object(key: &str) -> bool {
    OF_OBJECT.iter().any(|known| if known.ends_with('/') { key.starts_with(known) } else { key == *known })
}

/// What statements are compared with, and what that may cost.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    request: &'a Context,
    /// Of the object; what it says takes the place of what the request says.
    object: &'a Context,
    pub meter: &'a Meter<'a>,
}

impl<'a> Facts<'a> {
    pub fn of(request: &'a Context, object: &'a Context, meter: &'a Meter<'a>) -> Self {
        Self { request, object, meter }
    }

    /// Asks something that is about no request and no object, with a budget of its own.
    pub fn alone<T>(context: &Context, ask: impl FnOnce(&Facts<'_>) -> T) -> T {
        let (budget, nothing) = (Budget::default(), Context::default());
        let meter = Meter::of(&budget);
        ask(&Facts::of(context, &nothing, &meter))
    }

    /// The values of a key that is given in lower case; `None` where it has none.
    pub fn values(&self, key: &str) -> Option<&'a [String]> {
        let of = if self.object.values.contains_key(key) { self.object } else { self.request };
        of.values(key)
    }

    /// The value of a key that has exactly one, as policy variables require.
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
