//! Policy documents: parsing, validation, and whether a statement covers a request (IAM User Guide, "Grammar of the IAM
//! JSON policy language").

mod errors;
mod json;
mod parse;
mod public;
mod validate;

pub use errors::PolicyError;
pub use json::is_unambiguous;

use super::actions::condition_keys;
use super::condition::Condition;
use super::context::Facts;
use super::pattern::{ArnPattern, Pattern};
use super::principal::PrincipalPattern;

/// The kind of a policy: what it is attached to. The kind decides which elements a policy must and must not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PolicyKind<'a> {
    /// A policy of a user, a group or a role, including permissions boundaries.
    Identity,
    /// A session policy: given with a request for temporary credentials, it limits them.
    Session,
    /// The policy of the bucket of this name.
    Bucket(&'a str),
    /// The trust policy of a role.
    Trust,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Allow,
    Deny,
}

/// The items of an element such as `Action`, or of its negation such as `NotAction`.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed<T> {
    pub negated: bool,
    pub items: Vec<T>,
}

impl<T> Listed<T> {
    fn names(&self, mut matches: impl FnMut(&T) -> bool) -> bool {
        self.negated != self.items.iter().any(&mut matches)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    pub sid: Option<String>,
    pub effect: Effect,
    /// Identity and session policies have none.
    pub principals: Option<Listed<PrincipalPattern>>,
    /// The actions in lower case.
    pub actions: Listed<Pattern>,
    /// Trust policies have none.
    pub resources: Option<Listed<ArnPattern>>,
    pub conditions: Vec<Condition>,
}

impl Statement {
    /// Returns whether the statement covers the action, resource and conditions, for any principal. The action is in
    /// lower case.
    #[cfg(any(test, feature = "fuzzing"))]
    pub fn covers(&self, action: &str, resource: &str, facts: &Facts<'_>) -> bool {
        self.covers_action(action, facts)
            && self.covers_resource(resource, facts)
            && self.conditions.iter().all(|condition| self.is_met(condition, facts))
    }

    /// Returns whether the statement covers this action, in lower case.
    pub fn covers_action(&self, action: &str, facts: &Facts<'_>) -> bool {
        self.actions.names(|pattern| pattern.matches(action, facts))
    }

    /// Returns whether a condition is met. An ambiguous condition counts as met in a `Deny` and as not met in an
    /// `Allow`.
    pub fn is_met(&self, condition: &Condition, facts: &Facts<'_>) -> bool {
        if condition.is_ambiguous(facts) { self.effect == Effect::Deny } else { condition.holds(facts) }
    }

    pub fn covers_resource(&self, resource: &str, facts: &Facts<'_>) -> bool {
        let Some(resources) = &self.resources else { return true };
        resources.names(|pattern| pattern.matches(resource, facts))
    }
}

/// Translates an error to the one that AWS has for this kind of policy: for identity and session policies, IAM answers
/// all errors of structure with one.
fn in_words_of(kind: PolicyKind<'_>, error: PolicyError) -> PolicyError {
    let of_shape = matches!(
        error,
        PolicyError::NotAnObject
            | PolicyError::InvalidSyntax
            | PolicyError::InvalidVersion
            | PolicyError::NoStatements
            | PolicyError::MissingField("Statement" | "Effect")
            | PolicyError::UnknownField(_)
            | PolicyError::InvalidEffect(_)
            | PolicyError::InvalidOperator(_)
    );
    match (kind, error) {
        (PolicyKind::Identity | PolicyKind::Session, _) if of_shape => PolicyError::SyntaxErrors,
        (PolicyKind::Identity | PolicyKind::Session, PolicyError::InvalidJson(why)) => PolicyError::SyntaxErrorsAt(why),
        (PolicyKind::Identity | PolicyKind::Session, PolicyError::MissingField("Action")) => PolicyError::NoActions,
        (_, error) => error,
    }
}

fn statements(kind: PolicyKind<'_>, text: &str) -> Result<Vec<Statement>, PolicyError> {
    let draft = parse::draft(kind, text)?;
    validate::check(kind, &draft)?;
    let variables = draft.variables;
    draft.statements.into_iter().map(|statement| parse::compiled(statement, variables)).collect()
}

/// A valid, parsed policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    text: String,
    statements: Vec<Statement>,
    is_public: bool,
}

impl Policy {
    pub fn parse(kind: PolicyKind<'_>, text: &str) -> Result<Self, PolicyError> {
        let statements = statements(kind, text).map_err(|error| in_words_of(kind, error))?;
        let is_public = public::allows_anybody(&statements);
        Ok(Self { text: text.to_owned(), statements, is_public })
    }

    /// Returns the text as it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn statements(&self) -> &[Statement] {
        &self.statements
    }

    /// Returns whether a bucket with this policy is public ("Blocking public access", "The meaning of public").
    pub fn is_public(&self) -> bool {
        self.is_public
    }

    /// Returns whether the store evaluates every condition key that the policy uses.
    pub fn is_evaluated(&self) -> bool {
        let mut asked = self.statements.iter().flat_map(|statement| &statement.conditions);
        asked.all(|condition| condition_keys::is_evaluated(condition.key()))
    }

    /// Returns the principals that the policy names, for the check that they exist.
    pub fn principals(&self) -> impl Iterator<Item = &PrincipalPattern> {
        let named = self.statements.iter().filter_map(|statement| statement.principals.as_ref());
        named.flat_map(|principals| principals.items.iter())
    }
}
