//! Changes of managed policies and their versions, and the counts of how often each policy is attached.

use super::editor::{Decided, Decision, Editor, remove, write};
use crate::actors::meta::{DocumentWrite, Expect};
use crate::api::identity::builtin;
use crate::api::identity::directory::{Directory, Managed, Stored};
use crate::api::identity::error::IdentityError;
use crate::api::identity::names::{self, POLICY_NAME_MAX};
use crate::api::identity::policy_text::{self, TextOf};
use crate::api::identity::records::{PolicyRecord, PolicyText, PolicyVersion, Tags};
use crate::api::identity::secrets::{IdOf, fresh_id};

pub const VERSIONS_MAX: usize = 5;
const DESCRIPTION_CHARS_MAX: usize = 1000;

pub struct NewPolicy<'a> {
    pub name: &'a str,
    pub path: &'a str,
    pub description: Option<&'a str>,
    pub document: &'a str,
    pub tags: Tags,
}

pub fn create(editor: &Editor<'_>, account: &str, new: NewPolicy<'_>) -> Decision<PolicyRecord> {
    names::check_name("policyName", new.name, POLICY_NAME_MAX)?;
    names::check_path("path", new.path)?;
    names::check_tags(&new.tags)?;
    check_description(new.description)?;
    let document = policy_text::kept(TextOf::Managed, new.name, new.document)?;
    if editor.directory.record::<PolicyRecord>(&names::path_of(account, new.name))?.is_some() {
        return Err(IdentityError::EntityAlreadyExists(format!(
            "A policy called {} already exists. Duplicate names are not allowed.",
            new.name
        )));
    }
    let now = editor.now();
    let policy = PolicyRecord {
        account: account.to_owned(),
        name: new.name.to_owned(),
        path: new.path.to_owned(),
        id: fresh_id(editor.ambient, IdOf::Policy),
        description: new.description.map(str::to_owned),
        created: now,
        updated: now,
        tags: new.tags,
        versions: vec![PolicyVersion { number: 1, created: now }],
        default_version: 1,
        document,
        next_version: 2,
        attachments: 0,
        boundaries: 0,
    };
    Ok(Decided::new(vec![write(&policy, Expect::Absent)], policy))
}

pub fn check_description(description: Option<&str>) -> Result<(), IdentityError> {
    match description {
        Some(text) if text.chars().count() > DESCRIPTION_CHARS_MAX => Err(IdentityError::Validation(format!(
            "1 validation error detected: Value at 'description' failed to satisfy constraint: \
             Member must have length less than or equal to {DESCRIPTION_CHARS_MAX}"
        ))),
        _ => Ok(()),
    }
}

/// Deletes a policy. Refused if it is attached, is a boundary, or has versions besides the default.
pub fn delete(editor: &Editor<'_>, account: &str, arn: &str) -> Decision<()> {
    let Stored { record: policy, expect } = changeable(&editor.directory, account, arn)?;
    if policy.attachments > 0 || policy.boundaries > 0 {
        return Err(IdentityError::DeleteConflict(
            "Cannot delete a policy attached to entities, or used as their permissions boundary.".to_owned(),
        ));
    }
    if policy.versions.len() > 1 {
        return Err(IdentityError::DeleteConflict(
            "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. \
             The default version is deleted with the policy."
                .to_owned(),
        ));
    }
    Ok(Decided::new(vec![remove(&policy, expect)], ()))
}

pub fn create_version(
    editor: &Editor<'_>,
    account: &str,
    arn: &str,
    document: &str,
    as_default: bool,
) -> Decision<(PolicyVersion, bool)> {
    let Stored { record: mut policy, expect } = changeable(&editor.directory, account, arn)?;
    let document = policy_text::kept(TextOf::Managed, &policy.name, document)?;
    if policy.versions.len() >= VERSIONS_MAX {
        return Err(IdentityError::LimitExceeded(format!(
            "A managed policy can have up to {VERSIONS_MAX} versions. Before you create a new version, you must delete \
             an existing version."
        )));
    }
    let now = editor.now();
    let version = PolicyVersion { number: policy.next_version, created: now };
    policy.next_version += 1;
    policy.updated = now;
    policy.versions.push(version.clone());
    let aside = if as_default {
        set_in_force(&mut policy, version.number, document)
    } else {
        aside(&policy, version.number, document)
    };
    Ok(Decided::new(vec![write(&policy, expect), write(&aside, Expect::Absent)], (version, as_default)))
}

/// Returns the document for the text of a version that is not the default.
fn aside(policy: &PolicyRecord, number: u32, document: String) -> PolicyText {
    PolicyText { account: policy.account.clone(), name: policy.name.clone(), number, document }
}

/// Makes a version the default, and returns the document for the text of the previous default.
fn set_in_force(policy: &mut PolicyRecord, number: u32, document: String) -> PolicyText {
    let before = std::mem::replace(&mut policy.default_version, number);
    let text = std::mem::replace(&mut policy.document, document);
    aside(policy, before, text)
}

/// Returns the text of one version of a policy.
pub fn text_of(directory: &Directory<'_>, policy: &PolicyRecord, number: u32) -> Result<String, IdentityError> {
    if number == policy.default_version {
        return Ok(policy.document.clone());
    }
    let missing = || IdentityError::Unreadable(format!("version v{number} of the policy {} has no text", policy.arn()));
    Ok(stored_text(directory, policy, number)?.ok_or_else(missing)?.record.document)
}

fn stored_text(
    directory: &Directory<'_>,
    policy: &PolicyRecord,
    number: u32,
) -> Result<Option<Stored<PolicyText>>, IdentityError> {
    directory.record(&PolicyText::path_of(policy, number))
}

pub fn set_default_version(editor: &Editor<'_>, account: &str, arn: &str, version: &str) -> Decision<()> {
    let Stored { record: mut policy, expect } = changeable(&editor.directory, account, arn)?;
    let number = version_of(&policy, version)?.number;
    if number == policy.default_version {
        return Ok(Decided::new(Vec::new(), ()));
    }
    let document = text_of(&editor.directory, &policy, number)?;
    let mut writes = Vec::new();
    if let Some(stored) = stored_text(&editor.directory, &policy, number)? {
        writes.push(remove(&stored.record, stored.expect));
    }
    writes.push(write(&set_in_force(&mut policy, number, document), Expect::Absent));
    policy.updated = editor.now();
    writes.push(write(&policy, expect));
    Ok(Decided::new(writes, ()))
}

pub fn delete_version(editor: &Editor<'_>, account: &str, arn: &str, version: &str) -> Decision<()> {
    let Stored { record: mut policy, expect } = changeable(&editor.directory, account, arn)?;
    let number = version_of(&policy, version)?.number;
    if number == policy.default_version {
        return Err(IdentityError::DeleteConflict("Cannot delete the default version of a policy.".to_owned()));
    }
    policy.versions.retain(|version| version.number != number);
    policy.updated = editor.now();
    let mut writes = vec![write(&policy, expect)];
    if let Some(stored) = stored_text(&editor.directory, &policy, number)? {
        writes.push(remove(&stored.record, stored.expect));
    }
    Ok(Decided::new(writes, ()))
}

/// Finds a version of a policy by its id, such as `v3`.
pub fn version_of<'a>(policy: &'a PolicyRecord, version: &str) -> Result<&'a PolicyVersion, IdentityError> {
    let digits = version.strip_prefix('v').filter(|digits| !digits.starts_with(['0', '+']));
    let number: Option<u32> = digits.and_then(|digits| digits.parse().ok());
    let number = number.ok_or_else(|| {
        IdentityError::Validation(format!(
            "1 validation error detected: Value '{version}' at 'versionId' failed to satisfy constraint: \
             Member must satisfy regular expression pattern: v[1-9][0-9]*(\\.[A-Za-z0-9-]*)?"
        ))
    })?;
    let found = policy.versions.iter().find(|version| version.number == number);
    found.ok_or_else(|| {
        let arn = policy.arn();
        IdentityError::NoSuchEntity(format!("Policy {arn} version {version} does not exist or is not attachable."))
    })
}

/// Returns a policy that may change, which a built-in one may not.
pub fn changeable(directory: &Directory<'_>, account: &str, arn: &str) -> Result<Stored<PolicyRecord>, IdentityError> {
    if builtin::built_in(arn).is_some() {
        return Err(IdentityError::AccessDenied(format!("The policy {arn} is built in and cannot be changed.")));
    }
    directory.local_policy(account, arn)
}

/// The ways in which an identity can use a managed policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    Attachment,
    Boundary,
}

/// Changes the count of uses of a policy by one. Returns `None` for a built-in policy, which has no counts. Adding a
/// use of a policy that does not exist is `NoSuchEntity`.
pub fn count(
    editor: &Editor<'_>,
    account: &str,
    arn: &str,
    used_as: Use,
    more: bool,
) -> Result<Option<DocumentWrite>, IdentityError> {
    let Stored { record: mut policy, expect } = match editor.directory.managed(account, arn) {
        Ok(Managed::Local(stored)) => *stored,
        Ok(Managed::BuiltIn(_)) => return Ok(None),
        // When a use ends, a policy that is not there needs no count.
        Err(IdentityError::NoSuchEntity(_)) if !more => return Ok(None),
        Err(error) => return Err(error),
    };
    let uses = match used_as {
        Use::Attachment => &mut policy.attachments,
        Use::Boundary => &mut policy.boundaries,
    };
    *uses = if more { *uses + 1 } else { uses.saturating_sub(1) };
    Ok(Some(write(&policy, expect)))
}

/// Returns the writes that adjust the counts when one permissions boundary replaces another.
pub fn exchange_boundary(
    editor: &Editor<'_>,
    account: &str,
    old: Option<&str>,
    new: Option<&str>,
) -> Result<Vec<DocumentWrite>, IdentityError> {
    if old == new {
        return Ok(Vec::new());
    }
    let taken = old.map(|arn| count(editor, account, arn, Use::Boundary, false)).transpose()?.flatten();
    let given = new.map(|arn| count(editor, account, arn, Use::Boundary, true)).transpose()?.flatten();
    Ok(taken.into_iter().chain(given).collect())
}
