//! Problems that parts of a host find while they work, and that somebody has to solve. Health names them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The part of the configuration that a problem is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    AccountsFile,
    AuditLog,
    /// The certificate of this listener.
    Certificate(&'static str),
    RootKeys,
}

/// The present problems. Cheap to clone; clones share their state.
#[derive(Clone, Debug, Default)]
pub struct Problems(Arc<Mutex<BTreeMap<Subject, Vec<String>>>>);

impl Problems {
    /// Replaces the problems of a subject by these, a sentence each.
    pub fn set(&self, subject: Subject, problems: Vec<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(subject, problems);
    }

    pub fn solved(&self, subject: Subject) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&subject);
    }

    pub fn all(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().flatten().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Problems, Subject};

    #[test]
    fn problems_of_one_subject_replace_each_other_until_they_are_solved() {
        let problems = Problems::default();
        problems.set(Subject::RootKeys, vec!["b".to_owned(), "c".to_owned()]);
        problems.set(Subject::AccountsFile, vec!["x".to_owned()]);
        problems.clone().set(Subject::AccountsFile, vec!["a".to_owned()]);
        assert_eq!(problems.all(), ["a", "b", "c"]);
        problems.solved(Subject::RootKeys);
        assert_eq!(problems.all(), ["a"]);
    }
}
