//! Changes of roles, including their trust policies, which say who may assume them.

use super::editor::{Decided, Decision, Editor, remove, write};
use super::policies::{self, Use, check_description};
use crate::actors::meta::Expect;
use crate::api::identity::directory::Stored;
use crate::api::identity::error::IdentityError;
use crate::api::identity::names::{self, ROLE_NAME_MAX};
use crate::api::identity::policy_text;
use crate::api::identity::records::{Granted, RoleRecord, Tags};
use crate::api::identity::secrets::{IdOf, fresh_id};

pub const SESSION_SECONDS_DEFAULT: u64 = 3600;
const SESSION_SECONDS_MAX: u64 = 43_200;

pub struct NewRole<'a> {
    pub name: &'a str,
    pub path: &'a str,
    pub description: Option<&'a str>,
    /// The trust policy.
    pub trust: &'a str,
    pub session_seconds_max: u64,
    pub tags: Tags,
    pub boundary: Option<&'a str>,
}

pub fn create(editor: &Editor<'_>, account: &str, new: NewRole<'_>) -> Decision<RoleRecord> {
    names::check_name("roleName", new.name, ROLE_NAME_MAX)?;
    names::check_path("path", new.path)?;
    names::check_tags(&new.tags)?;
    check_description(new.description)?;
    check_session_seconds(new.session_seconds_max)?;
    let (trust, trust_ids) = policy_text::kept_trust(&editor.directory, new.name, new.trust)?;
    if editor.directory.record::<RoleRecord>(&names::path_of(account, new.name))?.is_some() {
        return Err(IdentityError::exists("Role", new.name));
    }
    let mut writes = Vec::new();
    if let Some(boundary) = new.boundary {
        writes.extend(policies::count(editor, account, boundary, Use::Boundary, true)?);
    }
    let role = RoleRecord {
        account: account.to_owned(),
        name: new.name.to_owned(),
        path: new.path.to_owned(),
        id: fresh_id(editor.ambient, IdOf::Role),
        created: editor.now(),
        description: new.description.map(str::to_owned),
        trust,
        trust_ids,
        session_seconds_max: new.session_seconds_max,
        tags: new.tags,
        granted: Granted::default(),
        boundary: new.boundary.map(str::to_owned),
    };
    writes.push(write(&role, Expect::Absent));
    Ok(Decided::new(writes, role))
}

fn check_session_seconds(seconds: u64) -> Result<(), IdentityError> {
    if (SESSION_SECONDS_DEFAULT..=SESSION_SECONDS_MAX).contains(&seconds) {
        return Ok(());
    }
    Err(IdentityError::Validation(format!(
        "1 validation error detected: Value '{seconds}' at 'maxSessionDuration' failed to satisfy constraint: \
         Member must have value between {SESSION_SECONDS_DEFAULT} and {SESSION_SECONDS_MAX}"
    )))
}

/// Updates a role. A value that is `None` stays as it is.
pub fn update(
    editor: &Editor<'_>,
    account: &str,
    name: &str,
    description: Option<&str>,
    session_seconds_max: Option<u64>,
) -> Decision<RoleRecord> {
    let Stored { record: mut role, expect } = editor.directory.role(account, name)?;
    if let Some(description) = description {
        check_description(Some(description))?;
        role.description = Some(description.to_owned());
    }
    if let Some(seconds) = session_seconds_max {
        check_session_seconds(seconds)?;
        role.session_seconds_max = seconds;
    }
    Ok(Decided::new(vec![write(&role, expect)], role))
}

pub fn set_trust(editor: &Editor<'_>, account: &str, name: &str, trust: &str) -> Decision<()> {
    let Stored { record: mut role, expect } = editor.directory.role(account, name)?;
    (role.trust, role.trust_ids) = policy_text::kept_trust(&editor.directory, name, trust)?;
    Ok(Decided::new(vec![write(&role, expect)], ()))
}

/// Deletes a role, which ends its sessions. Refused while it has policies.
pub fn delete(editor: &Editor<'_>, account: &str, name: &str) -> Decision<()> {
    let Stored { record: role, expect } = editor.directory.role(account, name)?;
    let conflict = |what: &str| Err(IdentityError::DeleteConflict(format!("Cannot delete entity, must {what} first.")));
    if !role.granted.attached.is_empty() {
        return conflict("detach all policies");
    }
    if !role.granted.inline.is_empty() {
        return conflict("delete policies");
    }
    let mut writes = vec![remove(&role, expect)];
    if let Some(boundary) = &role.boundary {
        writes.extend(policies::count(editor, account, boundary, Use::Boundary, false)?);
    }
    Ok(Decided::new(writes, ()))
}

/// Sets the permissions boundary; `None` removes it.
pub fn set_boundary(editor: &Editor<'_>, account: &str, name: &str, boundary: Option<&str>) -> Decision<()> {
    let Stored { record: mut role, expect } = editor.directory.role(account, name)?;
    let mut writes = policies::exchange_boundary(editor, account, role.boundary.as_deref(), boundary)?;
    role.boundary = boundary.map(str::to_owned);
    writes.push(write(&role, expect));
    Ok(Decided::new(writes, ()))
}
