//! The commands `sherd admin user`, `group`, `key` and `policy`: calls of IAM as the root of an account. A command may
//! make several calls; after an interruption it can be repeated. JSON output has IAM's own names.

use super::client::Client;
use super::show::table;
use super::{AdminFailure, tell};
use crate::api::admin::CallIam;
use crate::config::{IdentityQuestion, ServiceKeyAsked, UserOrGroup};
use serde_json::{Value, json};
use std::io::Write;

/// The number of entries in a page, which is IAM's maximum.
const PAGE: &str = "1000";
/// The user name that IAM reports for a key of the account's root.
const ROOT: &str = "root";
/// The number of versions of a policy that IAM keeps.
const VERSIONS_MAX: usize = 5;
const NO_PATH: &str = "/";

/// Access to the identities of an account.
struct Iam<'a> {
    client: &'a Client,
    account: Option<&'a str>,
}

/// An answer as JSON, and as text for people.
type ShownResult = Result<(Value, String), AdminFailure>;
type Pairs<'a> = [(&'a str, &'a str)];

pub fn run(
    client: &Client,
    account: Option<&str>,
    asked: &IdentityQuestion,
    json: bool,
    out: &mut impl Write,
) -> Result<(), AdminFailure> {
    let (answer, words) = Iam { client, account }.answer(asked)?;
    tell(&answer, json, |_| words, out)
}

impl Iam<'_> {
    fn answer(&self, asked: &IdentityQuestion) -> ShownResult {
        match asked {
            IdentityQuestion::Users => self.users(),
            IdentityQuestion::User { name } => self.user(name),
            IdentityQuestion::CreateUser { name, path } => self.create("CreateUser", "User", name, path.as_deref()),
            IdentityQuestion::DeleteUser { name, force } => self.delete_user(name, *force),
            IdentityQuestion::Groups => self.groups(),
            IdentityQuestion::Group { name } => self.group(name),
            IdentityQuestion::CreateGroup { name, path } => self.create("CreateGroup", "Group", name, path.as_deref()),
            IdentityQuestion::DeleteGroup { name, force } => self.delete_group(name, *force),
            IdentityQuestion::AddToGroup { name, user } => {
                self.done("AddUserToGroup", &[("GroupName", name), ("UserName", user)])
            }
            IdentityQuestion::RemoveFromGroup { name, user } => {
                self.done("RemoveUserFromGroup", &[("GroupName", name), ("UserName", user)])
            }
            IdentityQuestion::AttachPolicy { to, policy } => self.hold("Attach", to, policy),
            IdentityQuestion::DetachPolicy { from, policy } => self.hold("Detach", from, policy),
            IdentityQuestion::Keys { user } => self.keys(user.as_deref()),
            IdentityQuestion::CreateKey { user, service } => self.create_key(user.as_deref(), service.as_ref()),
            IdentityQuestion::ActivateKey { key } => self.change_key("UpdateAccessKey", key, Some("Active")),
            IdentityQuestion::DeactivateKey { key } => self.change_key("UpdateAccessKey", key, Some("Inactive")),
            IdentityQuestion::DeleteKey { key } => self.change_key("DeleteAccessKey", key, None),
            IdentityQuestion::Policies { all } => self.policies(*all),
            IdentityQuestion::Policy { policy } => self.policy(policy),
            IdentityQuestion::CreatePolicy { name, document, path, description } => {
                let path = path.as_deref().unwrap_or(NO_PATH);
                let description = description.as_deref().unwrap_or_default();
                let pairs = [("PolicyName", name.as_str()), ("PolicyDocument", document), ("Path", path)];
                self.made("CreatePolicy", "Policy", &[&pairs[..], &[("Description", description)]].concat())
            }
            IdentityQuestion::UpdatePolicy { policy, document } => self.update_policy(policy, document),
            IdentityQuestion::DeletePolicy { policy } => self.delete_policy(policy),
        }
    }

    fn call(&self, action: &str, pairs: &Pairs<'_>) -> Result<Value, AdminFailure> {
        let parameters = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let account = self.account.map(str::to_owned);
        self.client.post("/iam", &CallIam { account, action: action.to_owned(), parameters })
    }

    /// Returns the entries of all pages of a list.
    fn all(&self, action: &str, pairs: &Pairs<'_>, list: &str) -> Result<Vec<Value>, AdminFailure> {
        let (mut all, mut marker) = (Vec::new(), None::<String>);
        loop {
            let mut pairs = [pairs, &[("MaxItems", PAGE)]].concat();
            pairs.extend(marker.as_deref().map(|marker| ("Marker", marker)));
            let mut page = self.call(action, &pairs)?;
            if let Some(Value::Array(entries)) = page.get_mut(list).map(Value::take) {
                all.extend(entries);
            }
            marker = page.get("Marker").and_then(Value::as_str).map(str::to_owned);
            if marker.is_none() {
                return Ok(all);
            }
        }
    }

    /// Makes a change whose answer is empty.
    fn done(&self, action: &str, pairs: &Pairs<'_>) -> ShownResult {
        Ok((self.call(action, pairs)?, "done\n".to_owned()))
    }

    /// Makes a change whose answer is the new record.
    fn made(&self, action: &str, what: &str, pairs: &Pairs<'_>) -> ShownResult {
        let made = self.call(action, pairs)?[what].take();
        let words = format!("{}\n", text(&made, "Arn"));
        Ok((made, words))
    }

    fn create(&self, action: &str, what: &str, name: &str, path: Option<&str>) -> ShownResult {
        let named = format!("{what}Name");
        self.made(action, what, &[(&named, name), ("Path", path.unwrap_or(NO_PATH))])
    }

    fn users(&self) -> ShownResult {
        let users = self.all("ListUsers", &[], "Users")?;
        let words = rows(&users, [("NAME", "UserName"), ("CREATED", "CreateDate"), ("ARN", "Arn")]);
        Ok((Value::Array(users), words))
    }

    fn user(&self, name: &str) -> ShownResult {
        let named = [("UserName", name)];
        let user = self.call("GetUser", &named)?["User"].take();
        let attached = self.all("ListAttachedUserPolicies", &named, "AttachedPolicies")?;
        let inline = self.all("ListUserPolicies", &named, "PolicyNames")?;
        let groups = self.all("ListGroupsForUser", &named, "Groups")?;
        let keys = self.all("ListAccessKeys", &named, "AccessKeyMetadata")?;
        let words = format!(
            "{}policies  {}\ninline    {}\ngroups    {}\n\n{}",
            lines(&user, [("name", "UserName"), ("arn", "Arn"), ("created", "CreateDate")]),
            names(&attached, "PolicyArn"),
            names(&inline, ""),
            names(&groups, "GroupName"),
            key_rows(&keys),
        );
        let (policies, names) = ("AttachedPolicies", "PolicyNames");
        Ok((json!({"User": user, policies: attached, names: inline, "Groups": groups, "AccessKeys": keys}), words))
    }

    fn delete_user(&self, name: &str, force: bool) -> ShownResult {
        let named = ("UserName", name);
        if force {
            for key in self.all("ListAccessKeys", &[named], "AccessKeyMetadata")? {
                self.call("DeleteAccessKey", &[named, ("AccessKeyId", &text(&key, "AccessKeyId"))])?;
            }
            for group in self.all("ListGroupsForUser", &[named], "Groups")? {
                self.call("RemoveUserFromGroup", &[named, ("GroupName", &text(&group, "GroupName"))])?;
            }
            self.strip("User", named)?;
        }
        self.done("DeleteUser", &[named])
    }

    /// Detaches and deletes all policies of a user or a group.
    fn strip(&self, what: &str, named: (&str, &str)) -> Result<(), AdminFailure> {
        for policy in self.all(&format!("ListAttached{what}Policies"), &[named], "AttachedPolicies")? {
            self.call(&format!("Detach{what}Policy"), &[named, ("PolicyArn", &text(&policy, "PolicyArn"))])?;
        }
        for policy in self.all(&format!("List{what}Policies"), &[named], "PolicyNames")? {
            self.call(&format!("Delete{what}Policy"), &[named, ("PolicyName", policy.as_str().unwrap_or_default())])?;
        }
        Ok(())
    }

    fn groups(&self) -> ShownResult {
        let groups = self.all("ListGroups", &[], "Groups")?;
        let words = rows(&groups, [("NAME", "GroupName"), ("CREATED", "CreateDate"), ("ARN", "Arn")]);
        Ok((Value::Array(groups), words))
    }

    fn group(&self, name: &str) -> ShownResult {
        let named = [("GroupName", name)];
        let group = self.call("GetGroup", &named)?["Group"].take();
        let users = self.all("GetGroup", &named, "Users")?;
        let attached = self.all("ListAttachedGroupPolicies", &named, "AttachedPolicies")?;
        let inline = self.all("ListGroupPolicies", &named, "PolicyNames")?;
        let words = format!(
            "{}policies  {}\ninline    {}\nusers     {}\n",
            lines(&group, [("name", "GroupName"), ("arn", "Arn"), ("created", "CreateDate")]),
            names(&attached, "PolicyArn"),
            names(&inline, ""),
            names(&users, "UserName"),
        );
        Ok((json!({"Group": group, "Users": users, "AttachedPolicies": attached, "PolicyNames": inline}), words))
    }

    fn delete_group(&self, name: &str, force: bool) -> ShownResult {
        let named = ("GroupName", name);
        if force {
            for user in self.all("GetGroup", &[named], "Users")? {
                self.call("RemoveUserFromGroup", &[named, ("UserName", &text(&user, "UserName"))])?;
            }
            self.strip("Group", named)?;
        }
        self.done("DeleteGroup", &[named])
    }

    fn hold(&self, verb: &str, holder: &UserOrGroup, policy: &str) -> ShownResult {
        let arn = self.arn_of(policy)?;
        let (what, named) = match holder {
            UserOrGroup::User(name) => ("User", ("UserName", name.as_str())),
            UserOrGroup::Group(name) => ("Group", ("GroupName", name.as_str())),
        };
        self.done(&format!("{verb}{what}Policy"), &[named, ("PolicyArn", &arn)])
    }

    fn keys(&self, user: Option<&str>) -> ShownResult {
        let keys = self.all("ListAccessKeys", &of(user), "AccessKeyMetadata")?;
        let words = key_rows(&keys);
        Ok((Value::Array(keys), words))
    }

    fn create_key(&self, user: Option<&str>, service: Option<&ServiceKeyAsked>) -> ShownResult {
        let (action, what) = match service {
            None => ("CreateAccessKey", "AccessKey"),
            Some(_) => ("CreateServiceKey", "ServiceKey"),
        };
        let lifetime = service.and_then(|service| service.lifetime).map(|lifetime| lifetime.as_secs().to_string());
        let mut pairs = of(user);
        pairs.extend(service.map(|service| ("Name", service.name.as_str())));
        pairs.extend(service.and_then(|service| service.policy.as_deref()).map(|policy| ("PolicyDocument", policy)));
        pairs.extend(lifetime.as_deref().map(|seconds| ("DurationSeconds", seconds)));
        let made = self.call(action, &pairs)?[what].take();
        let words = lines(&made, [("access key", "AccessKeyId"), ("secret key", "SecretAccessKey")]);
        Ok((made, format!("{words}The secret is not shown again.\n")))
    }

    fn change_key(&self, action: &str, key: &str, status: Option<&str>) -> ShownResult {
        let user = self.owner_of(key)?;
        let mut pairs = of(user.as_deref());
        pairs.push(("AccessKeyId", key));
        pairs.extend(status.map(|status| ("Status", status)));
        self.done(action, &pairs)
    }

    /// Returns the user that owns the key; `None` for the root.
    fn owner_of(&self, key: &str) -> Result<Option<String>, AdminFailure> {
        let owner = text(&self.call("GetAccessKeyLastUsed", &[("AccessKeyId", key)])?, "UserName");
        if owner != ROOT {
            return Ok(Some(owner));
        }
        // A user may have the name `root`, too.
        let of_root = self.all("ListAccessKeys", &[], "AccessKeyMetadata")?;
        let is_roots = of_root.iter().any(|one| text(one, "AccessKeyId") == key);
        Ok(Some(owner).filter(|_| !is_roots))
    }

    fn policies(&self, all: bool) -> ShownResult {
        let scope = if all { "All" } else { "Local" };
        let policies = self.all("ListPolicies", &[("Scope", scope)], "Policies")?;
        let columns =
            [("NAME", "PolicyName"), ("VERSION", "DefaultVersionId"), ("USES", "AttachmentCount"), ("ARN", "Arn")];
        let words = rows(&policies, columns);
        Ok((Value::Array(policies), words))
    }

    /// Returns the ARN of a policy that is given by ARN or name. The account's own policies come before those that
    /// every account has.
    fn arn_of(&self, policy: &str) -> Result<String, AdminFailure> {
        if policy.starts_with("arn:") {
            return Ok(policy.to_owned());
        }
        let is_named = |one: &&Value| text(one, "PolicyName").eq_ignore_ascii_case(policy);
        for scope in ["Local", "AWS"] {
            let policies = self.all("ListPolicies", &[("Scope", scope)], "Policies")?;
            if let Some(found) = policies.iter().find(is_named) {
                return Ok(text(found, "Arn"));
            }
        }
        let (code, message) = ("NoSuchEntity".to_owned(), format!("There is no policy of the name {policy}."));
        Err(AdminFailure::Refused { status: 404, code, message })
    }

    fn policy(&self, policy: &str) -> ShownResult {
        let arn = self.arn_of(policy)?;
        let named = ("PolicyArn", arn.as_str());
        let policy = self.call("GetPolicy", &[named])?["Policy"].take();
        let version = text(&policy, "DefaultVersionId");
        let version = self.call("GetPolicyVersion", &[named, ("VersionId", &version)])?["PolicyVersion"].take();
        let held = |kind: &str, list: &str| self.all("ListEntitiesForPolicy", &[named, ("EntityFilter", kind)], list);
        let (users, groups) = (held("User", "PolicyUsers")?, held("Group", "PolicyGroups")?);
        let roles = held("Role", "PolicyRoles")?;
        let words = format!(
            "{}users     {}\ngroups    {}\nroles     {}\n\n{:#}\n",
            lines(&policy, [("name", "PolicyName"), ("arn", "Arn"), ("version", "DefaultVersionId")]),
            names(&users, "UserName"),
            names(&groups, "GroupName"),
            names(&roles, "RoleName"),
            version["Document"],
        );
        let answer = json!({
            "Policy": policy, "PolicyVersion": version,
            "PolicyUsers": users, "PolicyGroups": groups, "PolicyRoles": roles,
        });
        Ok((answer, words))
    }

    /// Puts a new version in force. If the policy has as many versions as IAM keeps, the oldest one is deleted first.
    fn update_policy(&self, policy: &str, document: &str) -> ShownResult {
        let arn = self.arn_of(policy)?;
        let named = ("PolicyArn", arn.as_str());
        let put = || {
            let pairs = [named, ("PolicyDocument", document), ("SetAsDefault", "true")];
            let version = self.call("CreatePolicyVersion", &pairs)?["PolicyVersion"].take();
            let words = format!("version {} is in force\n", text(&version, "VersionId"));
            Ok((version, words))
        };
        match put() {
            Err(AdminFailure::Refused { code, .. }) if code == "LimitExceeded" => {}
            outcome => return outcome,
        }
        let versions = self.all("ListPolicyVersions", &[named], "Versions")?;
        let oldest = versions.iter().rev().find(|version| version["IsDefaultVersion"] == Value::Bool(false));
        // With room for a version, IAM refused the document for its length instead.
        if let Some(oldest) = oldest.filter(|_| versions.len() >= VERSIONS_MAX && fits(document)) {
            self.call("DeletePolicyVersion", &[named, ("VersionId", &text(oldest, "VersionId"))])?;
        }
        put()
    }

    fn delete_policy(&self, policy: &str) -> ShownResult {
        let arn = self.arn_of(policy)?;
        let named = ("PolicyArn", arn.as_str());
        let record = self.call("GetPolicy", &[named])?["Policy"].take();
        let is_held = ["AttachmentCount", "PermissionsBoundaryUsageCount"].iter().any(|count| record[count] != 0);
        // The store refuses to delete an attached policy, so its versions must not be deleted before.
        let versions = if is_held { Vec::new() } else { self.all("ListPolicyVersions", &[named], "Versions")? };
        for version in versions.iter().filter(|version| version["IsDefaultVersion"] == Value::Bool(false)) {
            self.call("DeletePolicyVersion", &[named, ("VersionId", &text(version, "VersionId"))])?;
        }
        self.done("DeletePolicy", &[named])
    }
}

/// Returns true if the text of a managed policy is within IAM's bound, which does not count white space.
fn fits(document: &str) -> bool {
    document.chars().filter(|c| !c.is_whitespace()).count() <= 6144
}

fn of(user: Option<&str>) -> Vec<(&str, &str)> {
    user.map(|user| ("UserName", user)).into_iter().collect()
}

fn text(value: &Value, field: &str) -> String {
    match value.get(field) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// Joins one field of each entry, or the entries themselves, into a line.
fn names(entries: &[Value], field: &str) -> String {
    let name = |entry: &Value| entry.as_str().map_or_else(|| text(entry, field), str::to_owned);
    let names: Vec<String> = entries.iter().map(name).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn lines<const N: usize>(value: &Value, fields: [(&str, &str); N]) -> String {
    let width = fields.iter().map(|(label, _)| label.len()).max().unwrap_or(0).max("policies".len());
    fields.iter().map(|(label, field)| format!("{label:width$}  {}\n", text(value, field))).collect()
}

fn rows<const N: usize>(entries: &[Value], columns: [(&str, &str); N]) -> String {
    let heads = columns.map(|(head, _)| head);
    table(heads, entries.iter().map(|entry| columns.map(|(_, field)| text(entry, field))))
}

fn key_rows(keys: &[Value]) -> String {
    let rows = keys.iter().map(|key| {
        let service = key.get("Service").unwrap_or(&Value::Null);
        let (name, expires) = (text(service, "Name"), text(service, "ExpirationDate"));
        [text(key, "AccessKeyId"), text(key, "Status"), text(key, "CreateDate"), name, expires]
    });
    table(["ACCESS KEY", "STATUS", "CREATED", "SERVICE", "EXPIRES"], rows)
}

#[cfg(test)]
mod tests {
    use super::{key_rows, lines, names, rows};
    use serde_json::json;

    #[test]
    fn answers_of_iam_are_shown_as_tables_and_lines() {
        let users = [json!({"UserName": "a", "Count": 7}), json!({"UserName": "bob"})];
        assert_eq!(rows(&users, [("NAME", "UserName"), ("N", "Count")]), "NAME  N\na     7\nbob\n");
        assert_eq!(lines(&users[0], [("name", "UserName"), ("count", "Count")]), "name      a\ncount     7\n");
        assert_eq!(names(&users, "UserName"), "a, bob");
        assert_eq!((names(&[json!("x")], ""), names(&[], "")), ("x".to_owned(), "none".to_owned()));
    }

    #[test]
    fn a_service_key_is_shown_with_its_service_and_expiry() {
        let service = json!({"Name": "n", "ExpirationDate": "2025"});
        let key = json!({"AccessKeyId": "AKIA", "Status": "Active", "CreateDate": "2024", "Service": service});
        let shown = "ACCESS KEY  STATUS  CREATED  SERVICE  EXPIRES\nAKIA        Active  2024     n        2025\n";
        assert_eq!(key_rows(&[key]), shown);
    }
}
