//! The fault of an argument of a request, whose name and value the error repeats.

use super::details::{Detail, Text};
use std::borrow::Cow;

/// A wrong value of a named parameter, header or XML element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgumentFault {
    pub name: Cow<'static, str>,
    /// The value, if S3 repeats it.
    pub value: Option<Text>,
    pub why: Cow<'static, str>,
}

impl ArgumentFault {
    /// A wrong query parameter. The error repeats its value, if it has one.
    pub fn parameter(name: &'static str, why: impl Into<Cow<'static, str>>) -> Self {
        Self { name: name.into(), value: Some(Text::Parameter(name.into())), why: why.into() }
    }

    /// A wrong argument whose value the error does not repeat.
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
