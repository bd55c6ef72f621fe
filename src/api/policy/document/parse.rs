//! Parsing of the text of a policy document into statements: which elements there are, and their JSON types. The
//! content of the elements is checked in `validate`.

use super::errors::PolicyError;
use super::json::Json;
use super::{Effect, Listed, PolicyKind, Statement};
use crate::api::policy::condition::{Condition, InvalidOperand, Operator};
use crate::api::policy::pattern::{ArnPattern, InvalidVariable, Pattern, Variables};
use crate::api::policy::principal::PrincipalPattern;

/// A longer text is refused before it is parsed, even if most of it is whitespace; the limit is that of IAM.
const TEXT_BYTES_MAX: usize = 131_072;
/// "Bucket policies are limited to 20 KB in size."
const BUCKET_POLICY_BYTES_MAX: usize = 20_480;
/// The largest of IAM's limits for identity policies: that for all inline policies of one role. The lower limits for
/// managed policies and for users are checked where these policies are stored.
const IDENTITY_POLICY_BYTES_MAX: usize = 10_240;
const SESSION_POLICY_BYTES_MAX: usize = 2_048;
const TRUST_POLICY_BYTES_MAX: usize = 2_048;

/// A document that is parsed but not validated: its statements, and whether `${…}` in them is a variable.
pub struct Draft {
    pub variables: Variables,
    pub statements: Vec<DraftStatement>,
}

/// A statement whose actions, resources and conditions are still texts.
pub struct DraftStatement {
    pub sid: Option<String>,
    pub effect: Effect,
    pub principals: Option<Listed<PrincipalPattern>>,
    pub actions: Listed<String>,
    pub resources: Option<Listed<String>>,
    pub conditions: Vec<DraftCondition>,
}

pub struct DraftCondition {
    pub operator: Operator,
    pub key: String,
    pub values: Vec<String>,
}

/// Parses a document without validating it.
pub fn draft(kind: PolicyKind<'_>, text: &str) -> Result<Draft, PolicyError> {
    let bytes_max = bytes_max(kind);
    if text.len() > TEXT_BYTES_MAX {
        return Err(PolicyError::TooLarge { bytes_max });
    }
    if !text.starts_with('{') {
        return Err(PolicyError::NotAnObject);
    }
    let document: Json = serde_json::from_str(text).map_err(|error| PolicyError::InvalidJson(error.to_string()))?;
    if document.compact_bytes() > bytes_max {
        return Err(PolicyError::TooLarge { bytes_max });
    }
    let Json::Object(members) = document else { return Err(PolicyError::InvalidSyntax) };
    let mut variables = Variables::Literal;
    let mut statements = None;
    for (name, value) in members {
        match name.as_str() {
            "Version" => variables = version(&value)?,
            "Id" if matches!(value, Json::Text(_)) => {}
            "Id" => return Err(PolicyError::InvalidSyntax),
            "Statement" => statements = Some(value),
            _ => return Err(PolicyError::UnknownField(name)),
        }
    }
    let statements = match statements.ok_or(PolicyError::MissingField("Statement"))? {
        Json::List(items) if items.is_empty() => return Err(PolicyError::NoStatements),
        Json::List(items) => items,
        one @ Json::Object(_) => vec![one],
        _ => return Err(PolicyError::InvalidSyntax),
    };
    let statements = statements.into_iter().map(|item| statement(kind, item)).collect::<Result<_, _>>()?;
    Ok(Draft { variables, statements })
}

fn bytes_max(kind: PolicyKind<'_>) -> usize {
    match kind {
        PolicyKind::Bucket(_) => BUCKET_POLICY_BYTES_MAX,
        PolicyKind::Identity => IDENTITY_POLICY_BYTES_MAX,
        PolicyKind::Session => SESSION_POLICY_BYTES_MAX,
        PolicyKind::Trust => TRUST_POLICY_BYTES_MAX,
    }
}

/// Parses the version. Version 2008-10-17, which also applies to a document without a version, has no variables.
fn version(value: &Json) -> Result<Variables, PolicyError> {
    match value {
        Json::Text(text) if text == "2012-10-17" => Ok(Variables::Replaced),
        Json::Text(text) if text == "2008-10-17" => Ok(Variables::Literal),
        _ => Err(PolicyError::InvalidVersion),
    }
}

/// The elements of one statement, by name.
#[derive(Default)]
struct Elements {
    sid: Option<Json>,
    effect: Option<Json>,
    principals: Option<Listed<Json>>,
    actions: Option<Listed<Json>>,
    resources: Option<Listed<Json>>,
    condition: Option<Json>,
}

impl Elements {
    fn of(members: Vec<(String, Json)>) -> Result<Self, PolicyError> {
        let mut found = Self::default();
        for (name, value) in members {
            match name.as_str() {
                "Sid" => found.sid = Some(value),
                "Effect" => found.effect = Some(value),
                "Condition" => found.condition = Some(value),
                "Principal" | "NotPrincipal" => either(&mut found.principals, &name, value)?,
                "Action" | "NotAction" => either(&mut found.actions, &name, value)?,
                "Resource" | "NotResource" => either(&mut found.resources, &name, value)?,
                _ => return Err(PolicyError::UnknownField(name)),
            }
        }
        Ok(found)
    }
}

/// Sets an element of a statement. A statement with both the element and its negation is refused.
fn either(place: &mut Option<Listed<Json>>, name: &str, value: Json) -> Result<(), PolicyError> {
    if place.is_some() {
        return Err(PolicyError::InvalidSyntax);
    }
    *place = Some(Listed { negated: name.starts_with("Not"), items: vec![value] });
    Ok(())
}

fn statement(kind: PolicyKind<'_>, item: Json) -> Result<DraftStatement, PolicyError> {
    let Json::Object(members) = item else { return Err(PolicyError::InvalidSyntax) };
    let elements = Elements::of(members)?;
    let sid = match elements.sid {
        None => None,
        Some(Json::Text(sid)) => Some(sid),
        Some(_) => return Err(PolicyError::InvalidSyntax),
    };
    let effect = effect(elements.effect)?;
    let principals = principals(kind, effect, elements.principals)?;
    let actions = elements.actions.ok_or(PolicyError::MissingField("Action"))?;
    Ok(DraftStatement {
        sid,
        effect,
        principals,
        actions: texts(actions)?,
        resources: resources(kind, elements.resources)?,
        conditions: conditions(elements.condition)?,
    })
}

fn effect(value: Option<Json>) -> Result<Effect, PolicyError> {
    match value.ok_or(PolicyError::MissingField("Effect"))? {
        Json::Text(text) => match text.as_str() {
            "Allow" => Ok(Effect::Allow),
            "Deny" => Ok(Effect::Deny),
            _ => Err(PolicyError::InvalidEffect(text)),
        },
        _ => Err(PolicyError::InvalidSyntax),
    }
}

fn principals(
    kind: PolicyKind<'_>,
    effect: Effect,
    value: Option<Listed<Json>>,
) -> Result<Option<Listed<PrincipalPattern>>, PolicyError> {
    let of_a_resource = matches!(kind, PolicyKind::Bucket(_) | PolicyKind::Trust);
    match value {
        None if of_a_resource => Err(PolicyError::MissingField("Principal")),
        None => Ok(None),
        Some(_) if !of_a_resource => Err(PolicyError::PrincipalNotAllowed),
        Some(listed) if listed.negated && effect == Effect::Allow => Err(PolicyError::AllowWithNotPrincipal),
        Some(listed) => {
            let mut items = Vec::new();
            for value in listed.items {
                items.extend(principal_patterns(value)?);
            }
            Ok(Some(Listed { negated: listed.negated, items }))
        }
    }
}

fn principal_patterns(value: Json) -> Result<Vec<PrincipalPattern>, PolicyError> {
    let entries = match value {
        Json::Text(text) if text == "*" => return Ok(vec![PrincipalPattern::Everybody]),
        Json::Object(entries) if entries.is_empty() => return Err(PolicyError::EmptyPrincipal),
        Json::Object(entries) => entries,
        _ => return Err(PolicyError::InvalidPrincipal),
    };
    let mut found = Vec::new();
    for (provider, names) in entries {
        let names = strings(names).filter(|names| !names.is_empty()).ok_or(PolicyError::InvalidPrincipal)?;
        for name in names {
            found.push(PrincipalPattern::parse(&provider, &name).ok_or(PolicyError::InvalidPrincipal)?);
        }
    }
    Ok(found)
}

fn resources(kind: PolicyKind<'_>, value: Option<Listed<Json>>) -> Result<Option<Listed<String>>, PolicyError> {
    match (kind, value) {
        (PolicyKind::Trust, None) => Ok(None),
        (PolicyKind::Trust, Some(listed)) => {
            let name = if listed.negated { "NotResource" } else { "Resource" };
            Err(PolicyError::ProhibitedField(name.to_owned()))
        }
        (PolicyKind::Bucket(_), None) => Err(PolicyError::MissingField("Resource")),
        (_, None) => Err(PolicyError::NoResources),
        (_, Some(listed)) => texts(listed).map(Some),
    }
}

fn texts(listed: Listed<Json>) -> Result<Listed<String>, PolicyError> {
    let mut items = Vec::new();
    for value in listed.items {
        items.extend(strings(value).ok_or(PolicyError::InvalidSyntax)?);
    }
    Ok(Listed { negated: listed.negated, items })
}

/// A text, or a list of texts.
fn strings(value: Json) -> Option<Vec<String>> {
    let text = |item| match item {
        Json::Text(text) => Some(text),
        _ => None,
    };
    match value {
        Json::List(items) => items.into_iter().map(text).collect(),
        one => text(one).map(|text| vec![text]),
    }
}

fn conditions(value: Option<Json>) -> Result<Vec<DraftCondition>, PolicyError> {
    let operators = match value {
        None => return Ok(Vec::new()),
        Some(Json::Object(operators)) => operators,
        Some(_) => return Err(PolicyError::InvalidSyntax),
    };
    let mut found = Vec::new();
    for (name, keys) in operators {
        let operator = Operator::named(&name).ok_or(PolicyError::InvalidOperator(name))?;
        let Json::Object(keys) = keys else { return Err(PolicyError::InvalidSyntax) };
        for (key, values) in keys {
            let values = scalars(values).ok_or(PolicyError::InvalidSyntax)?;
            found.push(DraftCondition { operator, key, values });
        }
    }
    Ok(found)
}

/// "Quotation marks are optional for numeric and Boolean values."
fn scalars(value: Json) -> Option<Vec<String>> {
    let scalar = |item| match item {
        Json::Text(text) | Json::Number(text) => Some(text),
        Json::Bool(value) => Some(value.to_string()),
        _ => None,
    };
    match value {
        Json::List(items) => items.into_iter().map(scalar).collect(),
        one => scalar(one).map(|text| vec![text]),
    }
}

pub fn compiled(draft: DraftStatement, variables: Variables) -> Result<Statement, PolicyError> {
    let invalid = |_: InvalidVariable| PolicyError::InvalidVariable;
    let action = |text: &String| Pattern::parse(text, Variables::Literal).map(Pattern::lowercase);
    let actions = draft.actions.items.iter().map(action).collect::<Result<_, _>>().map_err(invalid)?;
    let resources = match draft.resources {
        None => None,
        Some(listed) => {
            let patterns = listed.items.iter().map(|text| ArnPattern::parse(text, variables));
            let items = patterns.collect::<Result<_, _>>().map_err(invalid)?;
            Some(Listed { negated: listed.negated, items })
        }
    };
    let condition = |draft: &DraftCondition| Condition::new(draft.operator, &draft.key, &draft.values, variables);
    let conditions = draft.conditions.iter().map(condition).collect::<Result<_, _>>().map_err(|error| match error {
        InvalidOperand::Variable => PolicyError::InvalidVariable,
        InvalidOperand::Value(value) => PolicyError::InvalidConditionValue(value),
    })?;
    Ok(Statement {
        sid: draft.sid,
        effect: draft.effect,
        principals: draft.principals,
        actions: Listed { negated: draft.actions.negated, items: actions },
        resources,
        conditions,
    })
}
