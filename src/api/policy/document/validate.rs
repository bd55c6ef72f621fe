//! Validation of policy documents by the rules for their kind: bucket policies as S3 checks them in PutBucketPolicy,
//! the others as IAM checks them.

use super::errors::PolicyError;
use super::parse::{Draft, DraftCondition, DraftStatement};
use super::{Listed, PolicyKind};
use crate::api::policy::actions::{self, Action, ResourceKind, condition_keys};
use crate::api::policy::condition::{Block, Test};
use crate::api::policy::context::{Context, Facts};
use crate::api::policy::pattern::{Pattern, Variables};
use std::collections::HashSet;

/// The number of 64-bit words that hold a bit for each of S3's actions.
const ACTION_WORDS: usize = 4;
/// The prefix of the ARNs of buckets and objects, which have no region and no account.
const S3_ARN: &str = "arn:aws:s3:::";
/// The action on buckets that a bucket policy cannot grant, as the bucket does not exist yet.
const NEVER_IN_BUCKET_POLICY: &str = "CreateBucket";
/// The actions that a trust policy may name.
const ASSUME_ROLE_ACTIONS: [&str; 6] = [
    "sts:assumerole",
    "sts:assumerolewithsaml",
    "sts:assumerolewithwebidentity",
    "sts:setcontext",
    "sts:setsourceidentity",
    "sts:tagsession",
];
/// The starts of the last ARN segment of S3 resources whose ARNs have a region.
const REGIONAL_RESOURCES: [&str; 6] = ["accesspoint", "access-grants", "job/", "storage-lens", "async-request/", "*"];

pub fn check(kind: PolicyKind<'_>, draft: &Draft) -> Result<(), PolicyError> {
    match kind {
        PolicyKind::Bucket(name) => draft.statements.iter().try_for_each(|statement| of_a_bucket(name, statement)),
        PolicyKind::Trust => draft.statements.iter().try_for_each(of_a_role),
        PolicyKind::Identity | PolicyKind::Session => {
            if kind == PolicyKind::Identity && draft.variables == Variables::Literal {
                return Err(PolicyError::OutdatedVersion);
            }
            let mut sids = HashSet::new();
            for sid in draft.statements.iter().filter_map(|statement| statement.sid.as_ref()) {
                check_sid(sid)?;
                if !sid.is_empty() && !sids.insert(sid) {
                    return Err(PolicyError::RepeatedSid);
                }
            }
            draft.statements.iter().try_for_each(of_an_identity)
        }
    }
}

fn check_sid(sid: &str) -> Result<(), PolicyError> {
    let plain = sid.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if plain { Ok(()) } else { Err(PolicyError::InvalidSid) }
}

fn of_a_role(statement: &DraftStatement) -> Result<(), PolicyError> {
    statement.sid.as_deref().map_or(Ok(()), check_sid)?;
    let allowed = |action: &String| {
        let action = action.to_lowercase();
        action.starts_with("sts:") && ASSUME_ROLE_ACTIONS.iter().any(|known| wildcard(&action, known))
    };
    let all = !statement.actions.items.is_empty() && statement.actions.items.iter().all(allowed);
    if all { Ok(()) } else { Err(PolicyError::NotAnAssumeRoleAction) }
}

fn of_an_identity(statement: &DraftStatement) -> Result<(), PolicyError> {
    if statement.actions.items.is_empty() {
        return Err(PolicyError::NoActions);
    }
    statement.actions.items.iter().try_for_each(|action| check_vendor(action))?;
    let resources = statement.resources.as_ref().filter(|resources| !resources.items.is_empty());
    let resources = resources.ok_or(PolicyError::NoResources)?;
    resources.items.iter().try_for_each(|resource| check_arn(resource))?;
    let vendorless = |condition: &&DraftCondition| !condition.key.contains(':');
    if statement.conditions.iter().find(vendorless).is_some() {
        return Err(PolicyError::ActionWithoutVendor);
    }
    Ok(())
}

/// Checks the form of an action: `*`, or vendor and name with a colon between them.
fn check_vendor(action: &str) -> Result<(), PolicyError> {
    if action == "*" {
        return Ok(());
    }
    let (vendor, name) = action.split_once(':').ok_or(PolicyError::ActionWithoutVendor)?;
    if name.contains(':') {
        return Err(PolicyError::ActionWithColons);
    }
    let plain = vendor.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
    if vendor.is_empty() || !plain {
        return Err(PolicyError::InvalidVendor(vendor.to_owned()));
    }
    // A misspelled action of the admin API would grant nothing, so it is refused when the policy is written.
    let name = name.to_lowercase();
    let is_meant = |known: &str| wildcard(&name, &known.to_lowercase());
    if vendor.eq_ignore_ascii_case("admin") && !actions::of_admin().any(is_meant) {
        return Err(PolicyError::InvalidAction);
    }
    Ok(())
}

/// Checks the form of a resource: `*`, or an ARN.
fn check_arn(resource: &str) -> Result<(), PolicyError> {
    if resource == "*" {
        return Ok(());
    }
    let mut parts = resource.splitn(6, ':');
    let (arn, partition) = (parts.next(), parts.next());
    if arn != Some("arn") || partition.is_none() {
        return Err(PolicyError::ResourceNotAnArn(resource.to_owned()));
    }
    if let Some(partition) = partition.filter(|partition| !matches!(*partition, "aws" | "*")) {
        let (partition, resource) = (partition.to_owned(), resource.to_owned());
        return Err(PolicyError::InvalidPartition { partition, resource });
    }
    let (service, region, last) = (parts.next(), parts.next().unwrap_or_default(), parts.nth(1).unwrap_or_default());
    let regional = REGIONAL_RESOURCES.iter().any(|start| last.starts_with(start));
    if service == Some("s3") && !matches!(region, "" | "*") && !regional {
        return Err(PolicyError::ResourceWithRegion(resource.to_owned()));
    }
    Ok(())
}

fn wildcard(pattern: &str, text: &str) -> bool {
    Pattern::parse(pattern, Variables::Literal).is_ok_and(|pattern| matches(&pattern, text))
}

fn matches(pattern: &Pattern, text: &str) -> bool {
    Facts::alone(&Context::default(), |facts| pattern.matches(text, facts))
}

fn of_a_bucket(name: &str, statement: &DraftStatement) -> Result<(), PolicyError> {
    let kinds = kinds_of(name, statement.resources.as_ref())?;
    let meant = known_actions(&statement.actions)?;
    check_conditions(&statement.conditions)?;
    // With `NotAction`, actions and resources are not checked against each other.
    if statement.actions.negated {
        return Ok(());
    }
    let excluding = statement.resources.as_ref().is_some_and(|resources| resources.negated);
    let applies = |action: &Action| excluding || kinds.contains(&action.kind) && action.name != NEVER_IN_BUCKET_POLICY;
    let applicable = ActionSet::of(applies);
    // A document has room for thousands of actions and conditions, so each is looked up in the table once.
    let limited: HashSet<ActionSet> = statement
        .conditions
        .iter()
        .map(|condition| ActionSet::of(|action| condition_keys::applies(&condition.key, action.name)))
        .collect();
    for actions in meant {
        let actions = actions.and(&applicable);
        if actions.is_empty() {
            return Err(PolicyError::ActionWithoutResource);
        }
        if limited.iter().any(|limited| actions.and(limited).is_empty()) {
            return Err(PolicyError::ConditionWithoutAction);
        }
    }
    Ok(())
}

/// A set of S3's actions, with a bit for each action in the order of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct ActionSet([u64; ACTION_WORDS]);

impl ActionSet {
    fn of(mut is_in: impl FnMut(&Action) -> bool) -> Self {
        let mut words = [0; ACTION_WORDS];
        for (at, action) in actions::all().enumerate() {
            words[at / 64] |= u64::from(is_in(action)) << (at % 64);
        }
        Self(words)
    }

    fn and(&self, other: &Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at] & other.0[at]))
    }

    fn is_empty(&self) -> bool {
        self.0 == [0; ACTION_WORDS]
    }
}

/// Returns the kinds of the resources: bucket, object, or both. All resources must match this bucket.
fn kinds_of(name: &str, resources: Option<&Listed<String>>) -> Result<Vec<ResourceKind>, PolicyError> {
    let resources = resources.filter(|resources| !resources.items.is_empty()).ok_or(PolicyError::InvalidResource)?;
    let mut kinds = Vec::new();
    for resource in &resources.items {
        let path = resource.strip_prefix(S3_ARN).ok_or(PolicyError::InvalidResource)?;
        let (bucket, key) = path.split_once('/').map_or((path, None), |(bucket, key)| (bucket, Some(key)));
        if bucket.is_empty() || bucket.contains(['$', ':']) || !wildcard(bucket, name) {
            return Err(PolicyError::InvalidResource);
        }
        // A wildcard in the bucket's part also matches `/` and keys.
        if key.is_some() || bucket.contains(['*', '?']) {
            kinds.push(ResourceKind::Object);
        }
        if key.is_none() {
            kinds.push(ResourceKind::Bucket);
        }
    }
    Ok(kinds)
}

/// Returns the sets of S3's actions that the patterns of the statement match, each distinct set once. A pattern that
/// matches no action is an error.
fn known_actions(listed: &Listed<String>) -> Result<HashSet<ActionSet>, PolicyError> {
    if listed.items.is_empty() {
        return Err(PolicyError::InvalidAction);
    }
    let known: Vec<String> = actions::all().map(|action| action.name.to_lowercase()).collect();
    let meant = |text: &String| {
        let text = text.to_lowercase();
        let pattern = match text.strip_prefix("s3:") {
            Some(name) => name,
            None if text == "*" => "*",
            None => return Err(PolicyError::InvalidAction),
        };
        let pattern = Pattern::parse(pattern, Variables::Literal).map_err(|_| PolicyError::InvalidAction)?;
        let mut names = known.iter();
        let found = ActionSet::of(|_| names.next().is_some_and(|name| matches(&pattern, name)));
        if found.is_empty() { Err(PolicyError::InvalidAction) } else { Ok(found) }
    };
    listed.items.iter().map(meant).collect()
}

fn check_conditions(found: &[DraftCondition]) -> Result<(), PolicyError> {
    for condition in found {
        if !condition_keys::is_known(&condition.key) {
            return Err(PolicyError::InvalidConditionKey);
        }
        let test = condition.operator.test;
        let addresses = test == Test::IpAddress || condition.key.eq_ignore_ascii_case("aws:SourceIp");
        let is_block = |value: &String| Block::parse(value).is_some();
        if addresses && test != Test::Null && !condition.values.iter().all(is_block) {
            return Err(PolicyError::InvalidAddress);
        }
    }
    Ok(())
}
