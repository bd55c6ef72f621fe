//! The actions of IAM (IAM API Reference, version 2010-05-08). Each checks the caller's rights, decides, and writes the
//! answer.

mod account;
mod groups;
mod holders;
mod keys;
mod policies;
mod providers;
mod roles;
mod tagged;
mod users;

use super::call::{Answered, Call};
use super::xml::Xml;
use crate::api::identity::records::Tags;

pub type Action = fn(&Call<'_>) -> Answered;

/// The tables of actions, one of each module.
const ACTIONS: &[&[(&str, Action)]] = &[
    account::ACTIONS,
    groups::ACTIONS,
    holders::ACTIONS,
    keys::ACTIONS,
    policies::ACTIONS,
    providers::ACTIONS,
    roles::ACTIONS,
    tagged::ACTIONS,
    users::ACTIONS,
];

pub fn names() -> impl Iterator<Item = &'static str> {
    ACTIONS.iter().flat_map(|part| part.iter()).map(|(name, _)| *name)
}

pub fn find(name: &str) -> Option<(&'static str, Action)> {
    let mut all = ACTIONS.iter().flat_map(|part| part.iter());
    all.find(|(known, _)| *known == name).map(|(known, action)| (*known, *action))
}

fn tags(xml: &mut Xml, tags: &Tags) {
    xml.list("Tags", tags, |xml, (key, value)| {
        xml.text("Key", key);
        xml.text("Value", value);
    });
}

fn boundary(xml: &mut Xml, arn: Option<&str>) {
    if let Some(arn) = arn {
        xml.within("PermissionsBoundary", |xml| {
            xml.text("PermissionsBoundaryType", "Policy");
            xml.text("PermissionsBoundaryArn", arn);
        });
    }
}

/// Returns the condition keys of the tags in a call.
fn tag_keys(tags: &Tags) -> Vec<(String, String)> {
    let named = tags.iter().map(|(key, value)| (format!("aws:RequestTag/{key}"), value.clone()));
    named.chain(tags.iter().map(|(key, _)| ("aws:TagKeys".to_owned(), key.clone()))).collect()
}

/// Returns the condition keys of the tag keys in a call that removes tags.
fn removed_keys(gone: &[String]) -> Vec<(&str, &str)> {
    gone.iter().map(|key| ("aws:TagKeys", key.as_str())).collect()
}

fn as_pairs(keys: &[(String, String)]) -> Vec<(&str, &str)> {
    keys.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
}
