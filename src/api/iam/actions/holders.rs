//! The actions on the policies of users, groups and roles: the same seven for each.

use super::Action;
use crate::api::iam::call::{Answered, Call, Outcome};
use crate::api::identity::IdentityError;
use crate::api::identity::changes::holders::{self, PolicyHolder};
use crate::api::identity::names::{self, IamArn};
use crate::api::identity::records::{GroupRecord, RoleRecord, UserRecord};

pub const ACTIONS: &[(&str, Action)] = &[
    ("PutUserPolicy", put::<UserRecord>),
    ("GetUserPolicy", get::<UserRecord>),
    ("ListUserPolicies", list::<UserRecord>),
    ("DeleteUserPolicy", delete::<UserRecord>),
    ("AttachUserPolicy", attach::<UserRecord>),
    ("DetachUserPolicy", detach::<UserRecord>),
    ("ListAttachedUserPolicies", list_attached::<UserRecord>),
    ("PutGroupPolicy", put::<GroupRecord>),
    ("GetGroupPolicy", get::<GroupRecord>),
    ("ListGroupPolicies", list::<GroupRecord>),
    ("DeleteGroupPolicy", delete::<GroupRecord>),
    ("AttachGroupPolicy", attach::<GroupRecord>),
    ("DetachGroupPolicy", detach::<GroupRecord>),
    ("ListAttachedGroupPolicies", list_attached::<GroupRecord>),
    ("PutRolePolicy", put::<RoleRecord>),
    ("GetRolePolicy", get::<RoleRecord>),
    ("ListRolePolicies", list::<RoleRecord>),
    ("DeleteRolePolicy", delete::<RoleRecord>),
    ("AttachRolePolicy", attach::<RoleRecord>),
    ("DetachRolePolicy", detach::<RoleRecord>),
    ("ListAttachedRolePolicies", list_attached::<RoleRecord>),
];

/// A kind of holder, with its name in actions and parameters.
pub trait Called: PolicyHolder {
    /// `User`, as in `PutUserPolicy` and `UserName`.
    const CALLED: &'static str;
    fn own_arn(&self) -> String;
    fn own_name(&self) -> &str;
    fn own_boundary(&self) -> Option<&str>;
}

impl Called for UserRecord {
    const CALLED: &'static str = "User";

    fn own_arn(&self) -> String {
        self.arn()
    }

    fn own_name(&self) -> &str {
        &self.name
    }

    fn own_boundary(&self) -> Option<&str> {
        self.boundary.as_deref()
    }
}

impl Called for GroupRecord {
    const CALLED: &'static str = "Group";

    fn own_arn(&self) -> String {
        self.arn()
    }

    fn own_name(&self) -> &str {
        &self.name
    }

    fn own_boundary(&self) -> Option<&str> {
        None
    }
}

impl Called for RoleRecord {
    const CALLED: &'static str = "Role";

    fn own_arn(&self) -> String {
        self.arn()
    }

    fn own_name(&self) -> &str {
        &self.name
    }

    fn own_boundary(&self) -> Option<&str> {
        self.boundary.as_deref()
    }
}

/// Returns the permissions boundary of a holder; `None` if it has none or does not exist.
pub fn boundary_of<H: Called>(call: &Call<'_>, name: &str) -> Result<Option<String>, IdentityError> {
    let existing = call.directory().record::<H>(&names::path_of(call.account(), name))?;
    Ok(existing.and_then(|stored| stored.record.own_boundary().map(str::to_owned)))
}

/// Returns the name of the holder, after a check that the caller may perform the action on it. The condition keys are
/// its permissions boundary and the policy's ARN.
fn allowed<'a, H: Called>(
    call: &Call<'a>,
    verb: &str,
    noun: &str,
    policy: Option<&str>,
) -> Result<&'a str, IdentityError> {
    let name = call.required(&format!("{}Name", H::CALLED))?;
    let action = format!("iam:{verb}{}{noun}", H::CALLED);
    let boundary = boundary_of::<H>(call, name)?;
    let keys = boundary.as_deref().map(|arn| ("iam:PermissionsBoundary", arn));
    let keys: Vec<_> = keys.into_iter().chain(policy.map(|arn| ("iam:PolicyARN", arn))).collect();
    call.allow_named(&action, name, H::own_arn, &keys)?;
    Ok(name)
}

fn put<H: Called>(call: &Call<'_>) -> Answered {
    let name = allowed::<H>(call, "Put", "Policy", None)?;
    let (policy, document) = (call.required("PolicyName")?, call.required("PolicyDocument")?);
    Outcome::done(holders::put_inline::<H>(call.editor, call.account(), name, policy, document)?)
}

fn get<H: Called>(call: &Call<'_>) -> Answered {
    let name = allowed::<H>(call, "Get", "Policy", None)?;
    let policy = call.required("PolicyName")?;
    let (holder, document) = holders::inline::<H>(call.editor, call.account(), name, policy)?;
    Outcome::lookup(|xml| {
        xml.text(&format!("{}Name", H::CALLED), holder.own_name());
        xml.text("PolicyName", policy);
        xml.document("PolicyDocument", &document);
    })
}

fn list<H: Called>(call: &Call<'_>) -> Answered {
    let name = allowed::<H>(call, "List", "Policies", None)?;
    let holder = call.directory().named::<H>(call.account(), name)?.record;
    let page = call.page_of(holder.granted().inline.keys().cloned().collect(), Clone::clone)?;
    Outcome::lookup(|xml| {
        page.end(xml);
        xml.texts("PolicyNames", page.items.iter().map(String::as_str));
    })
}

fn delete<H: Called>(call: &Call<'_>) -> Answered {
    let name = allowed::<H>(call, "Delete", "Policy", None)?;
    let policy = call.required("PolicyName")?;
    Outcome::done(holders::delete_inline::<H>(call.editor, call.account(), name, policy)?)
}

fn attach<H: Called>(call: &Call<'_>) -> Answered {
    let arn = call.required("PolicyArn")?;
    let name = allowed::<H>(call, "Attach", "Policy", Some(arn))?;
    Outcome::done(holders::attach::<H>(call.editor, call.account(), name, arn)?)
}

fn detach<H: Called>(call: &Call<'_>) -> Answered {
    let arn = call.required("PolicyArn")?;
    let name = allowed::<H>(call, "Detach", "Policy", Some(arn))?;
    Outcome::done(holders::detach::<H>(call.editor, call.account(), name, arn)?)
}

fn list_attached<H: Called>(call: &Call<'_>) -> Answered {
    let name = allowed::<H>(call, "ListAttached", "Policies", None)?;
    let prefix = call.parameters.text("PathPrefix").unwrap_or("/");
    names::check_path_prefix(prefix)?;
    let holder = call.directory().named::<H>(call.account(), name)?.record;
    let below = |arn: &&String| IamArn::parse(arn).is_some_and(|arn| arn.path.starts_with(prefix));
    let attached: Vec<String> = holder.granted().attached.iter().filter(below).cloned().collect();
    let page = call.page_of(attached, Clone::clone)?;
    Outcome::lookup(|xml| {
        page.end(xml);
        xml.list("AttachedPolicies", &page.items, |xml, arn| {
            xml.text("PolicyName", IamArn::parse(arn).map_or("", |arn| arn.name));
            xml.text("PolicyArn", arn);
        });
    })
}
