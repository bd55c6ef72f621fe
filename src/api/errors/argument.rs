//! A wrong argument of a request: S3 names it, and repeats its value.

use super::details::{Detail, Text};
use std::borrow::Cow;

/// The error in a named parameter, header or element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgumentFault {
    pub name: Cow<'static, str>,
    /// The value, unless S3 does not repeat it.
    pub value: Option<Text>,
    pub why: Cow<'static, str>,
}

impl ArgumentFault {
    /// A parameter of the query, whose value is repeated where it has one.
    pub fn parameter(name: &'static str, why: impl Into<Cow<'static, str>>) -> Self {
        Self { name: name.into(), value: Some(Text::Parameter(name.into())), why: why.into() }
    }

    /// An argument that would be wrong with any value.
    pub fn bare(name: &'static str, why: impl Into<Cow<'static, str>>) -> Self {
        Self { name: name.into(), value: None, why: why.into() }
    }

    pub fn with_value(name: &'static str, value: Text, why: &'static str) -> Self {
        Self { name: name.into(), value: Some(value), why: why.into() }
    }

    pub(super) fn details(&self) -> Vec<Detail> {
        let name = ("ArgumentName", Text::Own(self.name.clone().into_owned()));
        [name].into_iter().chain(self.value.clone().map(|value| ("ArgumentValue", value))).collect()
    }
}
