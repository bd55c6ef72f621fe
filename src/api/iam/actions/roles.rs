//! The actions on roles.

use super::holders::boundary_of;
use super::{Action, as_pairs, boundary, tag_keys, tags};
use crate::api::iam::call::{Answered, Call, Outcome};
use crate::api::iam::xml::Xml;
use crate::api::identity::IdentityError;
use crate::api::identity::changes::roles::{self, NewRole, SESSION_SECONDS_DEFAULT};
use crate::api::identity::names;
use crate::api::identity::records::RoleRecord;

pub const ACTIONS: &[(&str, Action)] = &[
    ("CreateRole", create),
    ("GetRole", get),
    ("ListRoles", list),
    ("UpdateRole", update),
    ("UpdateRoleDescription", update_description),
    ("UpdateAssumeRolePolicy", set_trust),
    ("DeleteRole", delete),
    ("PutRolePermissionsBoundary", put_boundary),
    ("DeleteRolePermissionsBoundary", delete_boundary),
];

fn brief(xml: &mut Xml, role: &RoleRecord) {
    xml.text("Path", &role.path);
    xml.text("RoleName", &role.name);
    xml.text("RoleId", &role.id);
    xml.text("Arn", &role.arn());
    xml.date("CreateDate", role.created);
    xml.document("AssumeRolePolicyDocument", &role.trust);
    xml.optional("Description", role.description.as_deref());
    xml.number("MaxSessionDuration", role.session_seconds_max);
}

fn full(xml: &mut Xml, role: &RoleRecord) {
    brief(xml, role);
    boundary(xml, role.boundary.as_deref());
    if !role.tags.is_empty() {
        tags(xml, &role.tags);
    }
}

pub fn allowed<'a>(call: &Call<'a>, action: &str, keys: &[(&str, &str)]) -> Result<&'a str, IdentityError> {
    let name = call.required("RoleName")?;
    call.allow_named(action, name, RoleRecord::arn, keys)?;
    Ok(name)
}

fn create(call: &Call<'_>) -> Answered {
    let (name, path, trust) = (call.required("RoleName")?, call.path(), call.required("AssumeRolePolicyDocument")?);
    let (new_tags, boundary) = (call.parameters.tags("Tags"), call.parameters.text("PermissionsBoundary"));
    let mut keys = tag_keys(&new_tags);
    keys.extend(boundary.map(|arn| ("iam:PermissionsBoundary".to_owned(), arn.to_owned())));
    let arn = names::arn(call.account(), "role", path, name);
    call.allow("iam:CreateRole", &arn, &as_pairs(&keys))?;
    if !new_tags.is_empty() {
        call.allow("iam:TagRole", &arn, &as_pairs(&keys))?;
    }
    let session_seconds_max = call.parameters.number("MaxSessionDuration")?.unwrap_or(SESSION_SECONDS_DEFAULT);
    let description = call.parameters.text("Description");
    let new = NewRole { name, path, description, trust, session_seconds_max, tags: new_tags, boundary };
    let made = roles::create(call.editor, call.account(), new)?;
    Outcome::made(made, |xml, role| xml.within("Role", |xml| full(xml, role)))
}

fn get(call: &Call<'_>) -> Answered {
    let name = allowed(call, "iam:GetRole", &[])?;
    let role = call.directory().role(call.account(), name)?.record;
    Outcome::lookup(|xml| {
        xml.within("Role", |xml| {
            full(xml, &role);
            xml.within("RoleLastUsed", |_| {});
        });
    })
}

fn list(call: &Call<'_>) -> Answered {
    let prefix = call.parameters.text("PathPrefix").unwrap_or("/");
    names::check_path_prefix(prefix)?;
    call.allow("iam:ListRoles", &names::arn(call.account(), "role", prefix, ""), &[])?;
    let page = call.records(|role: &RoleRecord| role.path.starts_with(prefix))?;
    Outcome::lookup(|xml| {
        page.end(xml);
        xml.list("Roles", &page.items, brief);
    })
}

fn update(call: &Call<'_>) -> Answered {
    let name = allowed(call, "iam:UpdateRole", &[])?;
    let (description, seconds) = (call.parameters.given("Description"), call.parameters.number("MaxSessionDuration")?);
    let updated = roles::update(call.editor, call.account(), name, description, seconds)?;
    Outcome::made(updated, |_, _| {})
}

fn update_description(call: &Call<'_>) -> Answered {
    let name = allowed(call, "iam:UpdateRoleDescription", &[])?;
    let description = call.parameters.given("Description").ok_or_else(|| IdentityError::missing("description"))?;
    let updated = roles::update(call.editor, call.account(), name, Some(description), None)?;
    Outcome::made(updated, |xml, role| xml.within("Role", |xml| full(xml, role)))
}

fn set_trust(call: &Call<'_>) -> Answered {
    let name = allowed(call, "iam:UpdateAssumeRolePolicy", &[])?;
    let trust = call.required("PolicyDocument")?;
    Outcome::done(roles::set_trust(call.editor, call.account(), name, trust)?)
}

fn delete(call: &Call<'_>) -> Answered {
    let name = allowed(call, "iam:DeleteRole", &[])?;
    Outcome::done(roles::delete(call.editor, call.account(), name)?)
}

fn put_boundary(call: &Call<'_>) -> Answered {
    let arn = call.required("PermissionsBoundary")?;
    let name = allowed(call, "iam:PutRolePermissionsBoundary", &[("iam:PermissionsBoundary", arn)])?;
    Outcome::done(roles::set_boundary(call.editor, call.account(), name, Some(arn))?)
}

fn delete_boundary(call: &Call<'_>) -> Answered {
    let old = boundary_of::<RoleRecord>(call, call.required("RoleName")?)?;
    let keys: Vec<_> = old.iter().map(|arn| ("iam:PermissionsBoundary", arn.as_str())).collect();
    let name = allowed(call, "iam:DeleteRolePermissionsBoundary", &keys)?;
    Outcome::done(roles::set_boundary(call.editor, call.account(), name, None)?)
}
