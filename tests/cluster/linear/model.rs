//! The sequential model of a store with a few keys, against which histories are checked.

/// The value of a key. Each write of a history has a different value.
pub type Value = u32;
pub const ABSENT: Value = 0;

/// An operation on a key's number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    Put {
        key: usize,
        value: Value,
    },
    /// If-None-Match: *
    Create {
        key: usize,
        value: Value,
    },
    /// If-Match
    Replace {
        key: usize,
        expected: Value,
        value: Value,
    },
    Delete {
        key: usize,
    },
    Get {
        key: usize,
    },
    /// Lists all keys.
    List,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// 412: the condition did not hold; for `Replace`, with something there.
    Refused,
    /// 404: there was no object for `Replace`.
    Missing,
    Found(Value),
    Listed(Vec<Value>),
    /// The operation may have taken effect, or may do so at any later time, or never.
    Unknown,
}

/// The values of all keys.
pub type State = Box<[Value]>;

pub enum Step {
    Impossible,
    /// The outcome fits this state, and the operation changes nothing.
    Read,
    Changed(State),
}

impl Operation {
    pub fn key(&self) -> Option<usize> {
        match *self {
            Self::Put { key, .. }
            | Self::Create { key, .. }
            | Self::Replace { key, .. }
            | Self::Delete { key }
            | Self::Get { key } => Some(key),
            Self::List => None,
        }
    }

    pub fn is_read(&self) -> bool {
        matches!(self, Self::Get { .. } | Self::List)
    }

    /// Returns the operation with its key renumbered by its place among `keys`; `None` if its key is not among them.
    pub fn projected(&self, keys: &[usize]) -> Option<Self> {
        let Some(own) = self.key() else { return Some(self.clone()) };
        let key = keys.iter().position(|key| *key == own)?;
        Some(match *self {
            Self::Put { value, .. } => Self::Put { key, value },
            Self::Create { value, .. } => Self::Create { key, value },
            Self::Replace { expected, value, .. } => Self::Replace { key, expected, value },
            Self::Delete { .. } => Self::Delete { key },
            Self::Get { .. } => Self::Get { key },
            Self::List => Self::List,
        })
    }

    /// Applies the operation to a state; returns whether it can have this outcome there, and the new state. An
    /// operation of unknown outcome counts only if it changes something.
    pub fn step(&self, state: &State, outcome: &Outcome) -> Step {
        let changed = |key: usize, value: Value| {
            let mut after = state.clone();
            after[key] = value;
            Step::Changed(after)
        };
        let read = |fits: bool| if fits { Step::Read } else { Step::Impossible };
        match (self, outcome) {
            (Self::Put { key, value }, Outcome::Done | Outcome::Unknown) => changed(*key, *value),
            (Self::Create { key, value }, Outcome::Done | Outcome::Unknown) if state[*key] == ABSENT => {
                changed(*key, *value)
            }
            (Self::Create { key, .. }, Outcome::Refused) => read(state[*key] != ABSENT),
            (Self::Replace { key, expected, value }, Outcome::Done | Outcome::Unknown) if state[*key] == *expected => {
                changed(*key, *value)
            }
            (Self::Replace { key, expected, .. }, Outcome::Refused) => {
                read(state[*key] != ABSENT && state[*key] != *expected)
            }
            (Self::Replace { key, .. }, Outcome::Missing) => read(state[*key] == ABSENT),
            // A delete of an absent key is no read, since it could take effect later and delete something.
            (Self::Delete { key }, Outcome::Done) => changed(*key, ABSENT),
            (Self::Delete { key }, Outcome::Unknown) if state[*key] != ABSENT => changed(*key, ABSENT),
            (Self::Get { key }, Outcome::Found(value)) => read(state[*key] == *value),
            (Self::List, Outcome::Listed(values)) => read(state[..] == values[..]),
            _ => Step::Impossible,
        }
    }
}

impl Outcome {
    pub fn projected(&self, keys: &[usize]) -> Self {
        match self {
            Self::Listed(values) => Self::Listed(keys.iter().map(|key| values[*key]).collect()),
            other => other.clone(),
        }
    }
}
