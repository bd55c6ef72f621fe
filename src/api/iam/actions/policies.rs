//! The actions on managed policies and their versions.

use super::{Action, as_pairs, tag_keys, tags};
use crate::api::iam::call::{Answered, Call, Outcome, Page, Scan};
use crate::api::iam::parameters::Paging;
use crate::api::iam::xml::Xml;
use crate::api::identity::changes::policies::{self, NewPolicy};
use crate::api::identity::names;
use crate::api::identity::records::{GroupRecord, PolicyRecord, PolicyVersion, Record, RoleRecord, Tags, UserRecord};
use crate::api::identity::{BUILT_IN, BuiltInPolicy, IdentityError, Managed};
use crate::limits::IDENTITIES_LISTED_BYTES;
use crate::types::UnixMs;

/// The creation date of built-in policies: 17 October 2012, that of the policy language.
const BUILT_IN_SINCE: UnixMs = UnixMs(1_350_432_000_000);

pub const ACTIONS: &[(&str, Action)] = &[
    ("CreatePolicy", create),
    ("GetPolicy", get),
    ("ListPolicies", list),
    ("DeletePolicy", delete),
    ("CreatePolicyVersion", create_version),
    ("GetPolicyVersion", get_version),
    ("ListPolicyVersions", list_versions),
    ("SetDefaultPolicyVersion", set_default_version),
    ("DeletePolicyVersion", delete_version),
    ("ListEntitiesForPolicy", list_entities),
];

fn entry(xml: &mut Xml, policy: &PolicyRecord) {
    xml.text("PolicyName", &policy.name);
    xml.text("PolicyId", &policy.id);
    xml.text("Arn", &policy.arn());
    xml.text("Path", &policy.path);
    xml.text("DefaultVersionId", &format!("v{}", policy.default_version));
    xml.number("AttachmentCount", policy.attachments);
    xml.number("PermissionsBoundaryUsageCount", policy.boundaries);
    xml.flag("IsAttachable", true);
    xml.date("CreateDate", policy.created);
    xml.date("UpdateDate", policy.updated);
}

/// Writes a policy with the elements that lists leave out.
fn full(xml: &mut Xml, policy: &PolicyRecord) {
    entry(xml, policy);
    xml.optional("Description", policy.description.as_deref());
    if !policy.tags.is_empty() {
        tags(xml, &policy.tags);
    }
}

fn built_in_entry(xml: &mut Xml, policy: &BuiltInPolicy) {
    xml.text("PolicyName", policy.name);
    xml.text("PolicyId", policy.id);
    xml.text("Arn", &policy.arn());
    xml.text("Path", "/");
    xml.text("DefaultVersionId", "v1");
    xml.number("AttachmentCount", 0);
    xml.number("PermissionsBoundaryUsageCount", 0);
    xml.flag("IsAttachable", true);
    xml.date("CreateDate", BUILT_IN_SINCE);
    xml.date("UpdateDate", BUILT_IN_SINCE);
}

fn version_entry(xml: &mut Xml, version: &PolicyVersion, is_default: bool) {
    xml.text("VersionId", &format!("v{}", version.number));
    xml.flag("IsDefaultVersion", is_default);
    xml.date("CreateDate", version.created);
}

/// Returns the only version of a built-in policy.
fn built_in_version() -> PolicyVersion {
    PolicyVersion { number: 1, created: BUILT_IN_SINCE }
}

/// Returns the tags of a policy; a built-in one has none.
pub fn tags_of(call: &Call<'_>, arn: &str) -> Result<Tags, IdentityError> {
    Ok(match call.directory().managed(call.account(), arn)? {
        Managed::Local(stored) => stored.record.tags,
        Managed::BuiltIn(_) => Vec::new(),
    })
}

/// Returns the policy ARN in the call, after a check that the caller may perform the action on it. The condition keys
/// are those given and the policy's tags.
pub fn allowed<'a>(call: &Call<'a>, action: &str, keys: &[(&str, &str)]) -> Result<&'a str, IdentityError> {
    let arn = call.required("PolicyArn")?;
    let existing = match tags_of(call, arn) {
        // A caller who may not perform the action does not learn whether the policy exists.
        Err(IdentityError::NoSuchEntity(_) | IdentityError::InvalidInput(_)) => Vec::new(),
        existing => existing?,
    };
    call.allow_tagged(action, arn, &existing, keys)?;
    Ok(arn)
}

fn create(call: &Call<'_>) -> Answered {
    let (name, path, document) = (call.required("PolicyName")?, call.path(), call.required("PolicyDocument")?);
    let new_tags = call.parameters.tags("Tags");
    let keys = tag_keys(&new_tags);
    let arn = names::arn(call.account(), "policy", path, name);
    call.allow("iam:CreatePolicy", &arn, &as_pairs(&keys))?;
    if !new_tags.is_empty() {
        call.allow("iam:TagPolicy", &arn, &as_pairs(&keys))?;
    }
    let description = call.parameters.text("Description");
    let new = NewPolicy { name, path, description, document, tags: new_tags };
    let made = policies::create(call.editor, call.account(), new)?;
    Outcome::made(made, |xml, policy| xml.within("Policy", |xml| full(xml, policy)))
}

fn get(call: &Call<'_>) -> Answered {
    let arn = allowed(call, "iam:GetPolicy", &[])?;
    let found = call.directory().managed(call.account(), arn)?;
    Outcome::lookup(|xml| {
        xml.within("Policy", |xml| match &found {
            Managed::Local(stored) => full(xml, &stored.record),
            Managed::BuiltIn(policy) => {
                built_in_entry(xml, policy);
                xml.text("Description", policy.description);
            }
        });
    })
}

/// An entry of ListPolicies, which lists the built-in policies first, then those of the account.
enum Listed {
    BuiltIn(&'static BuiltInPolicy),
    Local(Box<PolicyRecord>),
}

impl Listed {
    fn arn(&self) -> String {
        match self {
            Self::BuiltIn(policy) => policy.arn(),
            Self::Local(policy) => policy.arn(),
        }
    }

    fn path(&self) -> &str {
        match self {
            Self::BuiltIn(_) => "/",
            Self::Local(policy) => &policy.path,
        }
    }

    fn is_used(&self, filter: Option<&str>) -> bool {
        let Self::Local(policy) = self else { return false };
        match filter {
            Some("PermissionsBoundary") => policy.boundaries > 0,
            Some("PermissionsPolicy") => policy.attachments > 0,
            _ => policy.attachments + policy.boundaries > 0,
        }
    }
}

fn list(call: &Call<'_>) -> Answered {
    let prefix = call.parameters.text("PathPrefix").unwrap_or("/");
    names::check_path_prefix(prefix)?;
    call.allow("iam:ListPolicies", &names::arn(call.account(), "policy", prefix, ""), &[])?;
    let (scope, usage) = (call.parameters.text("Scope").unwrap_or("All"), call.parameters.text("PolicyUsageFilter"));
    if !matches!(scope, "All" | "AWS" | "Local") {
        return Err(IdentityError::Validation(format!(
            "The scope {scope} is not valid: it must be All, AWS or Local."
        )));
    }
    let only_attached = call.parameters.flag("OnlyAttached");
    let is_shown = |policy: &Listed| {
        let is_used = !only_attached && usage.is_none() || policy.is_used(usage);
        policy.path().starts_with(prefix) && is_used
    };
    let Paging { after, limit } = call.parameters.paging()?;
    // A marker is the ARN of a built-in policy, or the name of a policy of the account, which has no colon.
    let of_built_in = after.filter(|after| after.contains(':'));
    let mut items: Vec<Listed> = Vec::new();
    if scope != "Local" && (after.is_none() || of_built_in.is_some()) {
        let begun = of_built_in.and_then(|after| BUILT_IN.iter().position(|policy| policy.arn() == after));
        let rest = BUILT_IN.iter().skip(begun.map_or(0, |at| at + 1));
        items.extend(rest.map(Listed::BuiltIn).filter(&is_shown));
    }
    let cut = items.len() > limit;
    items.truncate(limit);
    let last_built_in = items.last().map(Listed::arn);
    let mut marker = last_built_in.clone().filter(|_| cut);
    if !cut && scope != "AWS" {
        let mut scan = Scan { limit: limit - items.len(), bytes: IDENTITIES_LISTED_BYTES };
        let kept = |policy: &PolicyRecord| is_shown(&Listed::Local(Box::new(policy.clone())));
        let own = call.scan(&mut scan, after.filter(|_| of_built_in.is_none()), kept)?;
        items.extend(own.items.into_iter().map(|policy| Listed::Local(Box::new(policy))));
        // If the page has no room for any policy of the account, the next page begins after the last built-in one.
        marker = own.marker.and_then(|name| if name.is_empty() { last_built_in } else { Some(name) });
    }
    let page = Page { items, marker };
    Outcome::lookup(|xml| {
        page.end(xml);
        xml.list("Policies", &page.items, |xml, policy| match policy {
            Listed::BuiltIn(policy) => built_in_entry(xml, policy),
            Listed::Local(policy) => entry(xml, policy),
        });
    })
}

fn delete(call: &Call<'_>) -> Answered {
    let arn = allowed(call, "iam:DeletePolicy", &[])?;
    Outcome::done(policies::delete(call.editor, call.account(), arn)?)
}

fn create_version(call: &Call<'_>) -> Answered {
    let arn = allowed(call, "iam:CreatePolicyVersion", &[])?;
    let (document, as_default) = (call.required("PolicyDocument")?, call.parameters.flag("SetAsDefault"));
    let made = policies::create_version(call.editor, call.account(), arn, document, as_default)?;
    Outcome::made(made, |xml, (version, is_default)| {
        xml.within("PolicyVersion", |xml| version_entry(xml, version, *is_default));
    })
}

fn get_version(call: &Call<'_>) -> Answered {
    let arn = allowed(call, "iam:GetPolicyVersion", &[])?;
    let wanted = call.required("VersionId")?;
    let directory = call.directory();
    let (version, document, is_default) = match directory.managed(call.account(), arn)? {
        Managed::Local(stored) => {
            let version = policies::version_of(&stored.record, wanted)?;
            let document = policies::text_of(&directory, &stored.record, version.number)?;
            (version.clone(), document, version.number == stored.record.default_version)
        }
        Managed::BuiltIn(policy) if wanted == "v1" => (built_in_version(), policy.document.to_owned(), true),
        Managed::BuiltIn(_) => {
            return Err(IdentityError::NoSuchEntity(format!("Policy {arn} version {wanted} does not exist.")));
        }
    };
    Outcome::lookup(|xml| {
        xml.within("PolicyVersion", |xml| {
            xml.document("Document", &document);
            version_entry(xml, &version, is_default);
        });
    })
}

fn list_versions(call: &Call<'_>) -> Answered {
    let arn = allowed(call, "iam:ListPolicyVersions", &[])?;
    let (versions, default) = match call.directory().managed(call.account(), arn)? {
        Managed::Local(stored) => (stored.record.versions, stored.record.default_version),
        Managed::BuiltIn(_) => (vec![built_in_version()], 1),
    };
    let newest_first = versions.into_iter().rev().collect();
    let page = call.page_of(newest_first, |version: &PolicyVersion| format!("v{}", version.number))?;
    Outcome::lookup(|xml| {
        page.end(xml);
        xml.list("Versions", &page.items, |xml, version| version_entry(xml, version, version.number == default));
    })
}

fn set_default_version(call: &Call<'_>) -> Answered {
    let arn = allowed(call, "iam:SetDefaultPolicyVersion", &[])?;
    let version = call.required("VersionId")?;
    Outcome::done(policies::set_default_version(call.editor, call.account(), arn, version)?)
}

fn delete_version(call: &Call<'_>) -> Answered {
    let arn = allowed(call, "iam:DeletePolicyVersion", &[])?;
    let version = call.required("VersionId")?;
    Outcome::done(policies::delete_version(call.editor, call.account(), arn, version)?)
}

/// A page of ListEntitiesForPolicy: groups, then users, then roles. A marker is the kind and name of the last entry.
struct Entities<'a> {
    begin: Option<(&'a str, &'a str)>,
    scan: Scan,
    marker: Option<String>,
}

impl Entities<'_> {
    /// Returns the records of one kind that `keep` accepts, up to the end of the page.
    fn of<R: Record>(
        &mut self,
        call: &Call<'_>,
        kind: &str,
        keep: impl Fn(&R) -> bool,
    ) -> Result<Vec<R>, IdentityError> {
        if self.marker.is_some() || self.begin.is_some_and(|(begin, _)| begin != kind) {
            return Ok(Vec::new());
        }
        let after = self.begin.take().map(|(_, name)| name);
        let page = call.scan(&mut self.scan, after, keep)?;
        self.marker = page.marker.map(|name| format!("{kind}/{name}"));
        Ok(page.items)
    }
}

fn list_entities(call: &Call<'_>) -> Answered {
    let arn = allowed(call, "iam:ListEntitiesForPolicy", &[])?;
    call.directory().managed(call.account(), arn)?;
    let (filter, usage) = (call.parameters.text("EntityFilter"), call.parameters.text("PolicyUsageFilter"));
    let prefix = call.parameters.text("PathPrefix").unwrap_or("/");
    let wanted = |kind: &str| filter.is_none_or(|filter| filter == kind);
    let holds = |attached: &[String], boundary: Option<&str>| match usage {
        Some("PermissionsBoundary") => boundary == Some(arn),
        Some(_) => attached.iter().any(|held| held == arn),
        None => attached.iter().any(|held| held == arn) || boundary == Some(arn),
    };
    let Paging { after, limit } = call.parameters.paging()?;
    let scan = Scan { limit, bytes: IDENTITIES_LISTED_BYTES };
    let begin = after.and_then(|after| after.split_once('/')).filter(|(kind, _)| wanted(kind));
    let mut entities = Entities { begin, scan, marker: None };
    let groups = entities.of(call, "Group", |group: &GroupRecord| {
        wanted("Group") && group.path.starts_with(prefix) && holds(&group.granted.attached, None)
    })?;
    let users = entities.of(call, "User", |user: &UserRecord| {
        let (attached, boundary) = (&user.granted.attached, user.boundary.as_deref());
        wanted("User") && user.path.starts_with(prefix) && holds(attached, boundary)
    })?;
    let roles = entities.of(call, "Role", |role: &RoleRecord| {
        let (attached, boundary) = (&role.granted.attached, role.boundary.as_deref());
        wanted("Role") && role.path.starts_with(prefix) && holds(attached, boundary)
    })?;
    let page = Page::<()> { items: Vec::new(), marker: entities.marker };
    Outcome::lookup(|xml| {
        xml.list("PolicyGroups", &groups, |xml, group| {
            xml.text("GroupName", &group.name);
            xml.text("GroupId", &group.id);
        });
        xml.list("PolicyUsers", &users, |xml, user| {
            xml.text("UserName", &user.name);
            xml.text("UserId", &user.id);
        });
        xml.list("PolicyRoles", &roles, |xml, role| {
            xml.text("RoleName", &role.name);
            xml.text("RoleId", &role.id);
        });
        page.end(xml);
    })
}
