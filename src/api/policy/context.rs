//! What is known of a request besides who asks for what: condition keys and their values. Names of keys are compared
//! without regard to case (IAM User Guide, "AWS global condition context keys").

use std::collections::BTreeMap;

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

    /// The value of a key that has exactly one, as policy variables require.
    pub fn single(&self, key: &str) -> Option<&str> {
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
