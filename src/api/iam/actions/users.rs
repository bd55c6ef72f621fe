//! The actions on users.

use super::holders::boundary_of;
use super::{Action, as_pairs, boundary, tag_keys, tags};
use crate::api::iam::call::{Answered, Call, Outcome};
use crate::api::iam::xml::Xml;
use crate::api::identity::changes::users::{self, NewUser};
use crate::api::identity::names;
use crate::api::identity::records::UserRecord;
use crate::api::identity::{IdentityError, PrincipalKind};
use crate::types::UnixMs;

pub const ACTIONS: &[(&str, Action)] = &[
    ("CreateUser", create),
    ("GetUser", get),
    ("ListUsers", list),
    ("UpdateUser", update),
    ("DeleteUser", delete),
    ("PutUserPermissionsBoundary", put_boundary),
    ("DeleteUserPermissionsBoundary", delete_boundary),
];

/// Writes the elements of a user that every answer has.
pub fn brief(xml: &mut Xml, user: &UserRecord) {
    xml.text("Path", &user.path);
    xml.text("UserName", &user.name);
    xml.text("UserId", &user.id);
    xml.text("Arn", &user.arn());
    xml.date("CreateDate", user.created);
}

fn full(xml: &mut Xml, user: &UserRecord) {
    brief(xml, user);
    boundary(xml, user.boundary.as_deref());
    if !user.tags.is_empty() {
        tags(xml, &user.tags);
    }
}

pub fn allowed<'a>(call: &Call<'a>, action: &str, keys: &[(&str, &str)]) -> Result<&'a str, IdentityError> {
    let name = call.required("UserName")?;
    call.allow_named(action, name, UserRecord::arn, keys)?;
    Ok(name)
}

fn create(call: &Call<'_>) -> Answered {
    let (name, path) = (call.required("UserName")?, call.path());
    let (new_tags, boundary) = (call.parameters.tags("Tags"), call.parameters.text("PermissionsBoundary"));
    let mut keys = tag_keys(&new_tags);
    keys.extend(boundary.map(|arn| ("iam:PermissionsBoundary".to_owned(), arn.to_owned())));
    let arn = names::arn(call.account(), "user", path, name);
    call.allow("iam:CreateUser", &arn, &as_pairs(&keys))?;
    if !new_tags.is_empty() {
        call.allow("iam:TagUser", &arn, &as_pairs(&keys))?;
    }
    let new = NewUser { name, path, tags: new_tags, boundary };
    let made = users::create(call.editor, call.account(), new)?;
    Outcome::made(made, |xml, user| xml.within("User", |xml| full(xml, user)))
}

/// GetUser. Without a name it returns the caller.
fn get(call: &Call<'_>) -> Answered {
    let principal = &call.resolved().principal;
    if call.parameters.text("UserName").is_none() && principal.kind == PrincipalKind::Root {
        let created = call.directory().account(call.account())?.map_or(UnixMs(0), |stored| stored.record.created);
        return Outcome::lookup(|xml| {
            xml.within("User", |xml| {
                xml.text("UserId", &principal.user_id);
                xml.text("Arn", &principal.arn);
                xml.date("CreateDate", created);
            });
        });
    }
    let name = call.parameters.text("UserName").or(principal.user_name.as_deref());
    let name = name.ok_or_else(|| {
        IdentityError::Validation("Must specify userName when calling with non-User credentials".to_owned())
    })?;
    call.allow_named("iam:GetUser", name, UserRecord::arn, &[])?;
    let user = call.directory().user(call.account(), name)?.record;
    Outcome::lookup(|xml| xml.within("User", |xml| full(xml, &user)))
}

fn list(call: &Call<'_>) -> Answered {
    let prefix = call.parameters.text("PathPrefix").unwrap_or("/");
    names::check_path_prefix(prefix)?;
    call.allow("iam:ListUsers", &names::arn(call.account(), "user", prefix, ""), &[])?;
    let page = call.records(|user: &UserRecord| user.path.starts_with(prefix))?;
    Outcome::lookup(|xml| {
        page.end(xml);
        xml.list("Users", &page.items, brief);
    })
}

fn update(call: &Call<'_>) -> Answered {
    let name = allowed(call, "iam:UpdateUser", &[])?;
    let (new_name, new_path) = (call.parameters.text("NewUserName"), call.parameters.text("NewPath"));
    if new_name.is_some() || new_path.is_some() {
        let old = call.directory().user(call.account(), name)?.record;
        let to = names::arn(call.account(), "user", new_path.unwrap_or(&old.path), new_name.unwrap_or(&old.name));
        call.allow_tagged("iam:UpdateUser", &to, &old.tags, &[])?;
    }
    Outcome::done(users::update(call.editor, call.account(), name, new_name, new_path)?)
}

fn delete(call: &Call<'_>) -> Answered {
    let name = allowed(call, "iam:DeleteUser", &[])?;
    Outcome::done(users::delete(call.editor, call.account(), name)?)
}

fn put_boundary(call: &Call<'_>) -> Answered {
    let (name, arn) = (call.required("UserName")?, call.required("PermissionsBoundary")?);
    let keys = [("iam:PermissionsBoundary", arn)];
    call.allow_named("iam:PutUserPermissionsBoundary", name, UserRecord::arn, &keys)?;
    Outcome::done(users::set_boundary(call.editor, call.account(), name, Some(arn))?)
}

fn delete_boundary(call: &Call<'_>) -> Answered {
    let old = boundary_of::<UserRecord>(call, call.required("UserName")?)?;
    let keys: Vec<_> = old.iter().map(|arn| ("iam:PermissionsBoundary", arn.as_str())).collect();
    let name = allowed(call, "iam:DeleteUserPermissionsBoundary", &keys)?;
    Outcome::done(users::set_boundary(call.editor, call.account(), name, None)?)
}
