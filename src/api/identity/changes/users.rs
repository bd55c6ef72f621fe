//! Changes of users.

use super::editor::{Decided, Decision, Editor, remove, write};
use super::policies::{self, Use};
use crate::actors::meta::{DocumentWrite, Expect};
use crate::api::identity::directory::Stored;
use crate::api::identity::error::IdentityError;
use crate::api::identity::names::{self, USER_NAME_MAX};
use crate::api::identity::records::{AccessKeyRecord, Granted, KeyOwner, Tags, UserRecord};
use crate::api::identity::secrets::{IdOf, fresh_id};

pub struct NewUser<'a> {
    pub name: &'a str,
    pub path: &'a str,
    pub tags: Tags,
    /// The ARN of a policy.
    pub boundary: Option<&'a str>,
}

pub fn create(editor: &Editor<'_>, account: &str, new: NewUser<'_>) -> Decision<UserRecord> {
    names::check_name("userName", new.name, USER_NAME_MAX)?;
    names::check_path("path", new.path)?;
    names::check_tags(&new.tags)?;
    if editor.directory.record::<UserRecord>(&names::path_of(account, new.name))?.is_some() {
        return Err(IdentityError::exists("User", new.name));
    }
    let mut writes = Vec::new();
    if let Some(boundary) = new.boundary {
        writes.extend(policies::count(editor, account, boundary, Use::Boundary, true)?);
    }
    let user = UserRecord {
        account: account.to_owned(),
        name: new.name.to_owned(),
        path: new.path.to_owned(),
        id: fresh_id(editor.ambient, IdOf::User),
        created: editor.now(),
        tags: new.tags,
        granted: Granted::default(),
        groups: Vec::new(),
        boundary: new.boundary.map(str::to_owned),
        keys: Vec::new(),
    };
    writes.push(write(&user, Expect::Absent));
    Ok(Decided::new(writes, user))
}

/// Changes the name or the path of a user, or both. The access keys follow.
pub fn update(
    editor: &Editor<'_>,
    account: &str,
    name: &str,
    new_name: Option<&str>,
    new_path: Option<&str>,
) -> Decision<UserRecord> {
    let Stored { record: old, expect } = editor.directory.user(account, name)?;
    let mut user = old.clone();
    if let Some(path) = new_path {
        names::check_path("newPath", path)?;
        user.path = path.to_owned();
    }
    if let Some(new_name) = new_name {
        names::check_name("newUserName", new_name, USER_NAME_MAX)?;
        user.name = new_name.to_owned();
    }
    if names::path_of(account, &user.name) == names::path_of(account, &old.name) {
        return Ok(Decided::new(vec![write(&user, expect)], user));
    }
    if editor.directory.record::<UserRecord>(&names::path_of(account, &user.name))?.is_some() {
        return Err(IdentityError::exists("User", &user.name));
    }
    let mut writes = vec![remove(&old, expect), write(&user, Expect::Absent)];
    writes.extend(keys_to(editor, &user)?);
    Ok(Decided::new(writes, user))
}

/// Returns the writes that put the user's new name into its access keys.
fn keys_to(editor: &Editor<'_>, user: &UserRecord) -> Result<Vec<DocumentWrite>, IdentityError> {
    let owner = KeyOwner::User { account: user.account.clone(), name: user.name.to_ascii_lowercase() };
    let keys = user.keys.iter().map(|id| editor.directory.access_key(id));
    let keys = keys.collect::<Result<Vec<_>, _>>()?;
    let moved =
        |key: Stored<AccessKeyRecord>| write(&AccessKeyRecord { owner: owner.clone(), ..key.record }, key.expect);
    Ok(keys.into_iter().flatten().map(moved).collect())
}

/// Deletes a user. Refused while it has access keys, policies or groups.
pub fn delete(editor: &Editor<'_>, account: &str, name: &str) -> Decision<()> {
    let Stored { record: user, expect } = editor.directory.user(account, name)?;
    let conflict = |what: &str| Err(IdentityError::DeleteConflict(format!("Cannot delete entity, must {what} first.")));
    if !user.granted.attached.is_empty() {
        return conflict("detach all policies");
    }
    if !user.granted.inline.is_empty() {
        return conflict("delete policies");
    }
    if !user.keys.is_empty() {
        return conflict("delete access keys");
    }
    if !user.groups.is_empty() {
        return conflict("remove users from group");
    }
    let mut writes = vec![remove(&user, expect)];
    if let Some(boundary) = &user.boundary {
        writes.extend(policies::count(editor, account, boundary, Use::Boundary, false)?);
    }
    Ok(Decided::new(writes, ()))
}

/// Sets the permissions boundary; `None` removes it.
pub fn set_boundary(editor: &Editor<'_>, account: &str, name: &str, boundary: Option<&str>) -> Decision<()> {
    let Stored { record: mut user, expect } = editor.directory.user(account, name)?;
    let mut writes = policies::exchange_boundary(editor, account, user.boundary.as_deref(), boundary)?;
    user.boundary = boundary.map(str::to_owned);
    writes.push(write(&user, expect));
    Ok(Decided::new(writes, ()))
}
