//! Conditions of statements: an operator, a key, and the operands with which the operator compares the request's values
//! of the key (IAM User Guide, "IAM JSON policy elements: Condition operators", and "Multivalued context keys").

mod addresses;
mod operators;
mod values;

pub use addresses::Block;
pub use operators::{InvalidOperand, Operand, Operator, Qualifier, Test};

use super::context::{Facts, is_of_object};
use super::pattern::Variables;

/// Steps charged for each condition that is evaluated: to find the values of its key.
const LOOKUP_STEPS: usize = 16;

/// A condition: one key under one operator. All conditions of a statement must hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    operator: Operator,
    /// The key in lower case.
    key: String,
    /// The operands. One of them must match; under a negated operator none may match.
    operands: Box<[Operand]>,
    /// Whether the key or a variable of an operand depends on one object of a request for several.
    of_object: bool,
}

impl Condition {
    pub fn new(operator: Operator, key: &str, values: &[String], variables: Variables) -> Result<Self, InvalidOperand> {
        let operands = values.iter().map(|value| Operand::parse(operator.test, value, variables));
        let (key, operands) = (key.to_lowercase(), operands.collect::<Result<Box<[Operand]>, _>>()?);
        let of_object =
            is_of_object(&key) || operands.iter().any(|operand| operand.variables().into_iter().any(is_of_object));
        Ok(Self { operator, key, operands, of_object })
    }

    pub fn operator(&self) -> Operator {
        self.operator
    }

    pub fn key(&self) -> &str {
        &self.key
    }

    pub fn operands(&self) -> &[Operand] {
        &self.operands
    }

    /// Returns whether the condition holds. If the request has no value for the key, the condition fails, unless its
    /// operator is negated or ends in `IfExists`. With a set operator, an absent value always satisfies `ForAllValues`
    /// and never `ForAnyValue`.
    pub fn holds(&self, facts: &Facts<'_>) -> bool {
        let values = facts.values(&self.key);
        if self.operator.test == Test::Null {
            return self.wants_absent(facts, values.is_none());
        }
        match (self.operator.qualifier, values) {
            (None, None) => self.operator.negated || self.operator.if_exists,
            (None, Some(values)) => self.operator.negated != values.iter().any(|value| self.equals_one(value, facts)),
            (Some(qualifier), values) => {
                let values = values.filter(|values| values.iter().any(|value| !value.is_empty())).unwrap_or_default();
                let matches = |value: &String| self.operator.negated != self.equals_one(value, facts);
                match qualifier {
                    Qualifier::ForAllValues => values.iter().all(matches),
                    Qualifier::ForAnyValue => values.iter().any(matches),
                }
            }
        }
    }

    /// Returns whether the condition is on a tag of which the request has several values: tags whose keys differ only
    /// in case are one condition key. AWS leaves open which of the values such a condition matches.
    pub fn is_ambiguous(&self, facts: &Facts<'_>) -> bool {
        let compares = self.operator.test != Test::Null;
        compares && self.key.contains("tag/") && facts.values(&self.key).is_some_and(|values| values.len() > 1)
    }

    /// Returns whether the condition can differ between the objects of one request. Every decision asks this of every
    /// condition, so it does not look at the operands.
    pub fn is_of_object(&self) -> bool {
        self.of_object
    }

    /// Returns the steps charged for finding the values of the key; comparing them is charged separately.
    pub fn steps(&self) -> usize {
        LOOKUP_STEPS + self.key.len() / 16
    }

    fn equals_one(&self, value: &str, facts: &Facts<'_>) -> bool {
        self.operands.iter().any(|operand| operand.equals(value, facts))
    }

    fn wants_absent(&self, facts: &Facts<'_>, absent: bool) -> bool {
        let wanted = if absent { "true" } else { "false" };
        self.equals_one(wanted, facts)
    }
}
