//! The actions on groups and their members.

use super::{Action, users};
use crate::api::iam::call::{Answered, Call, Outcome};
use crate::api::iam::xml::Xml;
use crate::api::identity::IdentityError;
use crate::api::identity::changes::groups;
use crate::api::identity::names;
use crate::api::identity::records::{GroupRecord, UserRecord};

pub const ACTIONS: &[(&str, Action)] = &[
    ("CreateGroup", create),
    ("GetGroup", get),
    ("ListGroups", list),
    ("UpdateGroup", update),
    ("DeleteGroup", delete),
    ("AddUserToGroup", add_user),
    ("RemoveUserFromGroup", remove_user),
    ("ListGroupsForUser", of_user),
];

fn entry(xml: &mut Xml, group: &GroupRecord) {
    xml.text("Path", &group.path);
    xml.text("GroupName", &group.name);
    xml.text("GroupId", &group.id);
    xml.text("Arn", &group.arn());
    xml.date("CreateDate", group.created);
}

fn allow(call: &Call<'_>, action: &str, name: &str) -> Result<(), IdentityError> {
    call.allow_named(action, name, GroupRecord::arn, &[])
}

fn create(call: &Call<'_>) -> Answered {
    let (name, path) = (call.required("GroupName")?, call.path());
    call.allow("iam:CreateGroup", &names::arn(call.account(), "group", path, name), &[])?;
    let made = groups::create(call.editor, call.account(), name, path)?;
    Outcome::made(made, |xml, group| xml.within("Group", |xml| entry(xml, group)))
}

fn get(call: &Call<'_>) -> Answered {
    let name = call.required("GroupName")?;
    allow(call, "iam:GetGroup", name)?;
    let group = call.directory().group(call.account(), name)?.record;
    let name = group.name.to_ascii_lowercase();
    let page = call.records(|user: &UserRecord| user.groups.contains(&name))?;
    Outcome::lookup(|xml| {
        xml.within("Group", |xml| entry(xml, &group));
        page.end(xml);
        xml.list("Users", &page.items, users::brief);
    })
}

fn list(call: &Call<'_>) -> Answered {
    let prefix = call.parameters.text("PathPrefix").unwrap_or("/");
    names::check_path_prefix(prefix)?;
    call.allow("iam:ListGroups", &names::arn(call.account(), "group", prefix, ""), &[])?;
    let page = call.records(|group: &GroupRecord| group.path.starts_with(prefix))?;
    Outcome::lookup(|xml| {
        page.end(xml);
        xml.list("Groups", &page.items, entry);
    })
}

fn update(call: &Call<'_>) -> Answered {
    let name = call.required("GroupName")?;
    let (new_name, new_path) = (call.parameters.text("NewGroupName"), call.parameters.text("NewPath"));
    allow(call, "iam:UpdateGroup", name)?;
    if new_name.is_some() || new_path.is_some() {
        let old = call.directory().group(call.account(), name)?.record;
        let to = names::arn(call.account(), "group", new_path.unwrap_or(&old.path), new_name.unwrap_or(&old.name));
        call.allow("iam:UpdateGroup", &to, &[])?;
    }
    Outcome::done(groups::update(call.editor, call.account(), name, new_name, new_path)?)
}

fn delete(call: &Call<'_>) -> Answered {
    let name = call.required("GroupName")?;
    allow(call, "iam:DeleteGroup", name)?;
    Outcome::done(groups::delete(call.editor, call.account(), name)?)
}

fn add_user(call: &Call<'_>) -> Answered {
    let (name, user) = (call.required("GroupName")?, call.required("UserName")?);
    allow(call, "iam:AddUserToGroup", name)?;
    Outcome::done(groups::add_user(call.editor, call.account(), name, user)?)
}

fn remove_user(call: &Call<'_>) -> Answered {
    let (name, user) = (call.required("GroupName")?, call.required("UserName")?);
    allow(call, "iam:RemoveUserFromGroup", name)?;
    Outcome::done(groups::remove_user(call.editor, call.account(), name, user)?)
}

fn of_user(call: &Call<'_>) -> Answered {
    let name = call.required("UserName")?;
    call.allow_named("iam:ListGroupsForUser", name, UserRecord::arn, &[])?;
    let mut names = call.directory().user(call.account(), name)?.record.groups;
    names.sort_unstable();
    let page = call.page_of(names, Clone::clone)?;
    let found = page.items.iter().map(|name| call.directory().group(call.account(), name));
    let found = found.collect::<Result<Vec<_>, _>>()?;
    Outcome::lookup(|xml| {
        page.end(xml);
        xml.list("Groups", &found, |xml, stored| entry(xml, &stored.record));
    })
}
