//! Changes of groups and their members.

use super::editor::{Decided, Decision, Editor, remove, write};
use crate::actors::meta::{DocumentWrite, Expect};
use crate::api::identity::directory::Stored;
use crate::api::identity::error::IdentityError;
use crate::api::identity::names::{self, GROUP_NAME_MAX};
use crate::api::identity::records::{Granted, GroupRecord, UserRecord, encode};
use crate::api::identity::secrets::{IdOf, fresh_id};
use crate::limits::COMMAND_BYTES_MAX;

/// AWS's quota of groups for each user.
pub const GROUPS_OF_USER_MAX: usize = 10;

pub fn create(editor: &Editor<'_>, account: &str, name: &str, path: &str) -> Decision<GroupRecord> {
    names::check_name("groupName", name, GROUP_NAME_MAX)?;
    names::check_path("path", path)?;
    if editor.directory.record::<GroupRecord>(&names::path_of(account, name))?.is_some() {
        return Err(IdentityError::exists("Group", name));
    }
    let group = GroupRecord {
        account: account.to_owned(),
        name: name.to_owned(),
        path: path.to_owned(),
        id: fresh_id(editor.ambient, IdOf::Group),
        created: editor.now(),
        granted: Granted::default(),
        members: 0,
    };
    Ok(Decided::new(vec![write(&group, Expect::Absent)], group))
}

/// Changes the name or the path of a group, or both. Its members follow.
pub fn update(
    editor: &Editor<'_>,
    account: &str,
    name: &str,
    new_name: Option<&str>,
    new_path: Option<&str>,
) -> Decision<GroupRecord> {
    let Stored { record: old, expect } = editor.directory.group(account, name)?;
    let mut group = old.clone();
    if let Some(path) = new_path {
        names::check_path("newPath", path)?;
        group.path = path.to_owned();
    }
    if let Some(new_name) = new_name {
        names::check_name("newGroupName", new_name, GROUP_NAME_MAX)?;
        group.name = new_name.to_owned();
    }
    let (from, to) = (old.name.to_ascii_lowercase(), group.name.to_ascii_lowercase());
    if from == to {
        return Ok(Decided::new(vec![write(&group, expect)], group));
    }
    if editor.directory.record::<GroupRecord>(&names::path_of(account, &group.name))?.is_some() {
        return Err(IdentityError::exists("Group", &group.name));
    }
    let mut writes = vec![remove(&old, expect), write(&group, Expect::Absent)];
    writes.extend(members_to(editor, account, &from, &to)?);
    Ok(Decided::new(writes, group))
}

/// Returns the writes that put the new name of a group into its members. A member that is added meanwhile conflicts, as
/// that also writes the group.
fn members_to(editor: &Editor<'_>, account: &str, from: &str, to: &str) -> Result<Vec<DocumentWrite>, IdentityError> {
    let members = members(editor, account, from)?;
    let renamed = members.into_iter().map(|member| {
        let Stored { record: mut user, expect } = editor.directory.user(account, &member.name)?;
        user.groups.iter_mut().filter(|group| *group == from).for_each(|group| to.clone_into(group));
        Ok(write(&user, expect))
    });
    renamed.collect()
}

/// Returns all members of a group, sorted by name; `LimitExceeded` if they are more than fit into one change.
pub fn members(editor: &Editor<'_>, account: &str, group: &str) -> Result<Vec<UserRecord>, IdentityError> {
    let group = group.to_ascii_lowercase();
    let (mut members, mut bytes) = (Vec::new(), 0);
    editor.directory.each(&format!("{account}/"), |user: UserRecord| {
        if user.groups.contains(&group) {
            bytes += encode(&user).len();
            members.push(user);
        }
        if bytes <= COMMAND_BYTES_MAX {
            return Ok(());
        }
        Err(IdentityError::LimitExceeded(format!(
            "The group {group} has too many members to be renamed in one change."
        )))
    })?;
    Ok(members)
}

/// Deletes a group. Refused while it has members or policies.
pub fn delete(editor: &Editor<'_>, account: &str, name: &str) -> Decision<()> {
    let Stored { record: group, expect } = editor.directory.group(account, name)?;
    let conflict = |what: &str| Err(IdentityError::DeleteConflict(format!("Cannot delete entity, must {what} first.")));
    if group.members > 0 {
        return conflict("remove users from group");
    }
    if !group.granted.attached.is_empty() {
        return conflict("detach all policies");
    }
    if !group.granted.inline.is_empty() {
        return conflict("delete policies");
    }
    Ok(Decided::new(vec![remove(&group, expect)], ()))
}

/// Adds a user to a group; no effect if it is a member.
pub fn add_user(editor: &Editor<'_>, account: &str, name: &str, user: &str) -> Decision<()> {
    let Stored { record: mut group, expect: of_group } = editor.directory.group(account, name)?;
    let Stored { record: mut user, expect: of_user } = editor.directory.user(account, user)?;
    let group_name = group.name.to_ascii_lowercase();
    if user.groups.contains(&group_name) {
        return Ok(Decided::new(Vec::new(), ()));
    }
    if user.groups.len() >= GROUPS_OF_USER_MAX {
        return Err(IdentityError::LimitExceeded(format!(
            "Cannot exceed quota for GroupsPerUser: {GROUPS_OF_USER_MAX}"
        )));
    }
    user.groups.push(group_name);
    group.members += 1;
    Ok(Decided::new(vec![write(&user, of_user), write(&group, of_group)], ()))
}

pub fn remove_user(editor: &Editor<'_>, account: &str, name: &str, user: &str) -> Decision<()> {
    let Stored { record: mut group, expect: of_group } = editor.directory.group(account, name)?;
    let Stored { record: mut user, expect: of_user } = editor.directory.user(account, user)?;
    let group_name = group.name.to_ascii_lowercase();
    if !user.groups.contains(&group_name) {
        return Err(IdentityError::NoSuchEntity(format!(
            "User {} is not a member of group {}.",
            user.name, group.name
        )));
    }
    user.groups.retain(|existing| *existing != group_name);
    group.members = group.members.saturating_sub(1);
    Ok(Decided::new(vec![write(&user, of_user), write(&group, of_group)], ()))
}
