//! The operators of conditions: their names, and how each compares a value of the request with an operand of the
//! policy.

use super::addresses::Block;
use super::values;
use crate::api::policy::context::Facts;
use crate::api::policy::pattern::{ArnPattern, InvalidVariable, Pattern, Variables};
use std::cmp::Ordering;

/// The largest ratio of lengths in bytes between two texts that are equal in lower case.
const CASE_GROWTH_MAX: usize = 6;
/// The length of the longer of `true` and `false`.
const BOOL_BYTES_MAX: usize = 5;

/// The prefix of a set operator: how many of the request's values must match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qualifier {
    ForAllValues,
    ForAnyValue,
}

/// The relation in which a number or date of the request must be to that of the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Equals,
    LessThan,
    LessThanEquals,
    GreaterThan,
    GreaterThanEquals,
}

impl Comparison {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Equals => order.is_eq(),
            Self::LessThan => order.is_lt(),
            Self::LessThanEquals => order.is_le(),
            Self::GreaterThan => order.is_gt(),
            Self::GreaterThanEquals => order.is_ge(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    StringEquals,
    StringEqualsIgnoreCase,
    StringLike,
    Numeric(Comparison),
    Date(Comparison),
    Bool,
    BinaryEquals,
    IpAddress,
    /// `ArnEquals` and `ArnLike` do the same.
    Arn,
    Null,
}

/// A parsed operator, such as `ForAnyValue:StringNotLikeIfExists`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operator {
    pub qualifier: Option<Qualifier>,
    pub test: Test,
    pub negated: bool,
    pub if_exists: bool,
}

const NAMES: &[(&str, Test, bool)] = &[
    ("StringEquals", Test::StringEquals, false),
    ("StringNotEquals", Test::StringEquals, true),
    ("StringEqualsIgnoreCase", Test::StringEqualsIgnoreCase, false),
    ("StringNotEqualsIgnoreCase", Test::StringEqualsIgnoreCase, true),
    ("StringLike", Test::StringLike, false),
    ("StringNotLike", Test::StringLike, true),
    ("NumericEquals", Test::Numeric(Comparison::Equals), false),
    ("NumericNotEquals", Test::Numeric(Comparison::Equals), true),
    ("NumericLessThan", Test::Numeric(Comparison::LessThan), false),
    ("NumericLessThanEquals", Test::Numeric(Comparison::LessThanEquals), false),
    ("NumericGreaterThan", Test::Numeric(Comparison::GreaterThan), false),
    ("NumericGreaterThanEquals", Test::Numeric(Comparison::GreaterThanEquals), false),
    ("DateEquals", Test::Date(Comparison::Equals), false),
    ("DateNotEquals", Test::Date(Comparison::Equals), true),
    ("DateLessThan", Test::Date(Comparison::LessThan), false),
    ("DateLessThanEquals", Test::Date(Comparison::LessThanEquals), false),
    ("DateGreaterThan", Test::Date(Comparison::GreaterThan), false),
    ("DateGreaterThanEquals", Test::Date(Comparison::GreaterThanEquals), false),
    ("Bool", Test::Bool, false),
    ("BinaryEquals", Test::BinaryEquals, false),
    ("IpAddress", Test::IpAddress, false),
    ("NotIpAddress", Test::IpAddress, true),
    ("ArnEquals", Test::Arn, false),
    ("ArnNotEquals", Test::Arn, true),
    ("ArnLike", Test::Arn, false),
    ("ArnNotLike", Test::Arn, true),
    ("Null", Test::Null, false),
];

impl Operator {
    /// Parses the name of an operator, which is case-sensitive. `NullIfExists` does not exist.
    pub fn named(name: &str) -> Option<Self> {
        let (qualifier, name) = match name.split_once(':') {
            Some(("ForAllValues", name)) => (Some(Qualifier::ForAllValues), name),
            Some(("ForAnyValue", name)) => (Some(Qualifier::ForAnyValue), name),
            Some(_) => return None,
            None => (None, name),
        };
        let (base, if_exists) = name.strip_suffix("IfExists").map_or((name, false), |base| (base, true));
        let (_, test, negated) = NAMES.iter().find(|(known, ..)| *known == base)?;
        let senseless = if_exists && *test == Test::Null;
        (!senseless).then_some(Self { qualifier, test: *test, negated: *negated, if_exists })
    }
}

/// A value of a policy, parsed for its operator.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    Exactly(Pattern),
    IgnoringCase(Pattern),
    Like(Pattern),
    Number(Comparison, f64),
    Date(Comparison, i128),
    Bool(Pattern),
    Bytes(Vec<u8>),
    Block(Block),
    Arn(ArnPattern),
}

/// Why a value of a policy is no operand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidOperand {
    Variable,
    /// The value is not of the operator's type.
    Value(String),
}

impl From<InvalidVariable> for InvalidOperand {
    fn from(_: InvalidVariable) -> Self {
        Self::Variable
    }
}

impl Operand {
    /// Parses a value. One that is not of the operator's type would equal nothing, so a `Deny` with it would never
    /// apply: it is refused.
    pub fn parse(test: Test, value: &str, variables: Variables) -> Result<Self, InvalidOperand> {
        let pattern = || Pattern::parse(value, variables);
        let invalid = || InvalidOperand::Value(value.to_owned());
        Ok(match test {
            Test::StringEquals => Self::Exactly(pattern()?),
            Test::StringEqualsIgnoreCase => Self::IgnoringCase(pattern()?),
            Test::StringLike => Self::Like(pattern()?),
            Test::Numeric(comparison) => Self::Number(comparison, values::number(value).ok_or_else(invalid)?),
            Test::Date(comparison) => Self::Date(comparison, values::date(value).ok_or_else(invalid)?),
            Test::Bool | Test::Null => {
                let pattern = pattern()?;
                let is_boolean = pattern.variables().next().is_some() || values::boolean(value).is_some();
                Self::Bool(if is_boolean { pattern } else { return Err(invalid()) })
            }
            Test::BinaryEquals => Self::Bytes(values::bytes(value).ok_or_else(invalid)?),
            Test::IpAddress => Self::Block(Block::parse(value).ok_or_else(invalid)?),
            Test::Arn => Self::Arn(ArnPattern::parse(value, variables)?),
        })
    }

    /// Returns whether the operand matches a value of the request, before negation.
    pub fn equals(&self, value: &str, facts: &Facts<'_>) -> bool {
        if !facts.meter.charge(self.steps(value)) {
            return false;
        }
        match self {
            Self::Exactly(pattern) => pattern.literal(facts, value.len()).is_some_and(|wanted| wanted == value),
            Self::IgnoringCase(pattern) => {
                let wanted = pattern.literal(facts, CASE_GROWTH_MAX * value.len());
                wanted.is_some_and(|wanted| {
                    facts.meter.charge(4 * wanted.len()) && wanted.to_lowercase() == value.to_lowercase()
                })
            }
            Self::Like(pattern) => pattern.matches(value, facts),
            Self::Number(comparison, wanted) => {
                let order = values::number(value).and_then(|found| found.partial_cmp(wanted));
                order.is_some_and(|order| comparison.holds(order))
            }
            Self::Date(comparison, wanted) => {
                values::date(value).is_some_and(|found| comparison.holds(found.cmp(wanted)))
            }
            Self::Bool(pattern) => {
                let wanted = pattern.literal(facts, BOOL_BYTES_MAX).and_then(|wanted| values::boolean(&wanted));
                wanted.is_some() && wanted == values::boolean(value)
            }
            Self::Bytes(wanted) => values::bytes(value).is_some_and(|found| found == *wanted),
            Self::Block(block) => block.holds(value),
            Self::Arn(pattern) => is_arn(value) && pattern.matches(value, facts),
        }
    }
}

impl Operand {
    /// Returns the steps charged for parsing the value; matching of patterns is charged separately.
    fn steps(&self, value: &str) -> usize {
        match self {
            Self::Exactly(_) | Self::Like(_) | Self::Bool(_) => 1,
            Self::Number(..)
            | Self::Date(..)
            | Self::Block(_)
            | Self::Bytes(_)
            | Self::IgnoringCase(_)
            | Self::Arn(_) => 16 + 4 * value.len(),
        }
    }

    /// Returns the keys of the variables, in lower case.
    pub fn variables(&self) -> Vec<&str> {
        match self {
            Self::Exactly(pattern) | Self::IgnoringCase(pattern) | Self::Like(pattern) | Self::Bool(pattern) => {
                pattern.variables().collect()
            }
            Self::Arn(pattern) => pattern.variables().collect(),
            Self::Number(..) | Self::Date(..) | Self::Bytes(_) | Self::Block(_) => Vec::new(),
        }
    }
}

/// Returns whether a text is an ARN with all six segments; ARN operators match nothing else.
fn is_arn(text: &str) -> bool {
    text.starts_with("arn:") && text.splitn(6, ':').count() == 6
}
