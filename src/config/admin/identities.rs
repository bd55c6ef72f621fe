//! The arguments of `sherd admin user`, `group`, `key` and `policy`: the identities of an account and their
//! permissions.

use super::{branch, leaf};
use crate::config::{ConfigError, FileReader, values};
use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command};
use std::path::Path;
use std::time::Duration;

/// A query or change of an account's identities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentityQuestion {
    Users,
    User {
        name: String,
    },
    CreateUser {
        name: String,
        path: Option<String>,
    },
    /// `force`: deletes the user's keys and policies and leaves its groups first.
    DeleteUser {
        name: String,
        force: bool,
    },
    Groups,
    Group {
        name: String,
    },
    CreateGroup {
        name: String,
        path: Option<String>,
    },
    DeleteGroup {
        name: String,
        force: bool,
    },
    AddToGroup {
        name: String,
        user: String,
    },
    RemoveFromGroup {
        name: String,
        user: String,
    },
    /// Attaches a policy, by its name or ARN.
    AttachPolicy {
        to: UserOrGroup,
        policy: String,
    },
    DetachPolicy {
        from: UserOrGroup,
        policy: String,
    },
    /// Lists the keys of a user; `None`: of the account's root.
    Keys {
        user: Option<String>,
    },
    CreateKey {
        user: Option<String>,
        service: Option<ServiceKeyAsked>,
    },
    ActivateKey {
        key: String,
    },
    DeactivateKey {
        key: String,
    },
    DeleteKey {
        key: String,
    },
    /// Lists the policies of the account; `all`: also those that every account has.
    Policies {
        all: bool,
    },
    Policy {
        policy: String,
    },
    CreatePolicy {
        name: String,
        document: String,
        path: Option<String>,
        description: Option<String>,
    },
    UpdatePolicy {
        policy: String,
        document: String,
    },
    DeletePolicy {
        policy: String,
    },
}

/// A user or group that a policy is attached to or detached from, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserOrGroup {
    User(String),
    Group(String),
}

/// The request for a service key: an access key that may be limited to less than its owner may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceKeyAsked {
    pub name: String,
    pub policy: Option<String>,
    pub lifetime: Option<Duration>,
}

/// A question whether a principal may do something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessQuestion {
    pub who: WhoAsked,
    pub action: String,
    pub resource: String,
    /// Condition keys of the request, with their values.
    pub conditions: Vec<(String, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhoAsked {
    User(String),
    Key(String),
    Anonymous,
}

/// A parsed command of one of these branches.
pub enum ParsedQuestion {
    Identities(IdentityQuestion),
    Access(Box<AccessQuestion>),
}

pub fn commands() -> [Command; 4] {
    [user(), group(), key(), policy()].map(|command| {
        let account = Arg::new("account").long("account").value_name("ID").global(true).value_parser(account_id);
        command.arg(account.help("The account, 12 digits; without it, the store's own account"))
    })
}

fn name() -> Arg {
    Arg::new("name").value_name("NAME").required(true)
}

fn path() -> Arg {
    Arg::new("path").long("path").value_name("PATH").help("Such as /team/, a part of its ARN")
}

fn force(help: &'static str) -> Arg {
    Arg::new("force").long("force").action(ArgAction::SetTrue).help(help)
}

fn policy_named() -> Arg {
    Arg::new("policy").value_name("POLICY").required(true).help("Its name or ARN")
}

fn file() -> Arg {
    Arg::new("file").value_name("FILE").required(true).help("The policy's JSON")
}

fn user() -> Command {
    branch("user", "Users of an account")
        .subcommand(leaf("list", "All users"))
        .subcommand(leaf("show", "One user, with its policies, groups and keys").arg(name()))
        .subcommand(leaf("create", "Make a user, who may do nothing yet").arg(name()).arg(path()))
        .subcommand(
            leaf("delete", "Delete a user without keys, policies and groups")
                .arg(name())
                .arg(force("Delete its keys and policies, and take it out of its groups, first")),
        )
        .subcommand(leaf("attach", "Give a user a managed policy").arg(name()).arg(policy_named()))
        .subcommand(leaf("detach", "Take a managed policy from a user").arg(name()).arg(policy_named()))
}

fn group() -> Command {
    let member = || Arg::new("user").value_name("USER").required(true);
    branch("group", "Groups of users")
        .subcommand(leaf("list", "All groups"))
        .subcommand(leaf("show", "One group, with its policies and users").arg(name()))
        .subcommand(leaf("create", "Make a group").arg(name()).arg(path()))
        .subcommand(
            leaf("delete", "Delete a group that is empty")
                .arg(name())
                .arg(force("Delete its policies, and take its users out, first")),
        )
        .subcommand(leaf("add", "Take a user into a group").arg(name()).arg(member()))
        .subcommand(leaf("remove", "Take a user out of a group").arg(name()).arg(member()))
        .subcommand(leaf("attach", "Give a group a managed policy").arg(name()).arg(policy_named()))
        .subcommand(leaf("detach", "Take a managed policy from a group").arg(name()).arg(policy_named()))
}

fn key() -> Command {
    let user = || Arg::new("user").long("user").value_name("NAME").help("The owner is this user");
    let root = || Arg::new("root").long("root").action(ArgAction::SetTrue).help("The owner is the account's root");
    let whose = || ArgGroup::new("whose").args(["user", "root"]).required(true);
    let id = || Arg::new("key").value_name("ACCESS_KEY").required(true);
    let service = Arg::new("service").long("service").value_name("NAME").help("Make a service key of this name");
    let policy = Arg::new("policy").long("policy").value_name("FILE").requires("service");
    let expires = Arg::new("expires").long("expires").value_name("TIME").requires("service");
    branch("key", "Access keys of users and roots")
        .subcommand(leaf("list", "The keys of a user or root").arg(user()).arg(root()).group(whose()))
        .subcommand(
            leaf("create", "Make a key; its secret is shown this once")
                .arg(user())
                .arg(root())
                .group(whose())
                .arg(service)
                .arg(policy.help("File with a policy that limits the service key to less than its owner may do"))
                .arg(
                    expires
                        .value_parser(values::key_lifetime)
                        .help("Lifetime, such as 90d; without it, it never expires"),
                ),
        )
        .subcommand(leaf("activate", "Allow the use of an inactive key again").arg(id()))
        .subcommand(leaf("deactivate", "Forbid the use of a key until it is activated").arg(id()))
        .subcommand(leaf("delete", "Delete a key").arg(id()))
}

fn policy() -> Command {
    let all = Arg::new("all").long("all").action(ArgAction::SetTrue);
    let description = Arg::new("description").long("description").value_name("TEXT");
    branch("policy", "Managed policies")
        .subcommand(leaf("list", "The account's own policies").arg(all.help("Also those that every account has")))
        .subcommand(leaf("show", "A policy's text, and who it is attached to").arg(policy_named()))
        .subcommand(leaf("create", "Make a policy").arg(name()).arg(file()).arg(path()).arg(description))
        .subcommand(leaf("update", "Put a new text in force; five versions are kept").arg(policy_named()).arg(file()))
        .subcommand(leaf("delete", "Delete a policy that is attached to nobody, with its versions").arg(policy_named()))
        .subcommand(explain())
}

fn explain() -> Command {
    let option = |name: &'static str, value: &'static str| Arg::new(name).long(name).value_name(value);
    let anonymous = Arg::new("anonymous").long("anonymous").action(ArgAction::SetTrue);
    let conditions = option("condition", "KEY=VALUE").action(ArgAction::Append).value_parser(condition);
    leaf("explain", "Whether a principal may perform an action, and why: exit code 0 if allowed, 1 if denied")
        .arg(option("user", "NAME").help("The principal is this user"))
        .arg(option("key", "ACCESS_KEY").help("The principal is the owner of this access key"))
        .arg(anonymous.help("The principal is an anonymous caller"))
        .group(ArgGroup::new("who").args(["user", "key", "anonymous"]).required(true))
        .arg(option("action", "ACTION").required(true).help("Such as s3:GetObject"))
        .arg(option("resource", "ARN").required(true).help("Such as arn:aws:s3:::bucket/key"))
        .arg(conditions.help("A condition key of the request, such as aws:SourceIp=192.0.2.1; any number of them"))
}

pub(super) fn account_id(text: &str) -> Result<String, String> {
    let good = text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    if good { Ok(text.to_owned()) } else { Err("expected 12 digits".to_owned()) }
}

fn condition(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
    pair.map(|(key, value)| (key.to_owned(), value.to_owned())).ok_or_else(|| "expected KEY=VALUE".to_owned())
}

/// Returns the parsed command, or `None` for another command.
pub fn asked(names: &[&str], last: &ArgMatches, files: &dyn FileReader) -> Result<Option<ParsedQuestion>, ConfigError> {
    let question = match names {
        ["user", verb] => of_user(verb, last),
        ["group", verb] => of_group(verb, last),
        ["key", verb] => of_key(verb, last, files)?,
        ["policy", "explain"] => return Ok(Some(ParsedQuestion::Access(Box::new(access_question(last))))),
        ["policy", verb] => of_policy(verb, last, files)?,
        _ => None,
    };
    Ok(question.map(ParsedQuestion::Identities))
}

fn text(last: &ArgMatches, name: &str) -> Option<String> {
    last.try_get_one::<String>(name).ok().flatten().cloned()
}

/// Returns an argument that the parser requires.
fn required(last: &ArgMatches, name: &str) -> String {
    text(last, name).unwrap_or_default()
}

fn of_user(verb: &str, last: &ArgMatches) -> Option<IdentityQuestion> {
    let (name, policy) = (required(last, "name"), required(last, "policy"));
    Some(match verb {
        "list" => IdentityQuestion::Users,
        "show" => IdentityQuestion::User { name },
        "create" => IdentityQuestion::CreateUser { name, path: text(last, "path") },
        "delete" => IdentityQuestion::DeleteUser { name, force: last.get_flag("force") },
        "attach" => IdentityQuestion::AttachPolicy { to: UserOrGroup::User(name), policy },
        "detach" => IdentityQuestion::DetachPolicy { from: UserOrGroup::User(name), policy },
        _ => return None,
    })
}

fn of_group(verb: &str, last: &ArgMatches) -> Option<IdentityQuestion> {
    let (name, user, policy) = (required(last, "name"), required(last, "user"), required(last, "policy"));
    Some(match verb {
        "list" => IdentityQuestion::Groups,
        "show" => IdentityQuestion::Group { name },
        "create" => IdentityQuestion::CreateGroup { name, path: text(last, "path") },
        "delete" => IdentityQuestion::DeleteGroup { name, force: last.get_flag("force") },
        "add" => IdentityQuestion::AddToGroup { name, user },
        "remove" => IdentityQuestion::RemoveFromGroup { name, user },
        "attach" => IdentityQuestion::AttachPolicy { to: UserOrGroup::Group(name), policy },
        "detach" => IdentityQuestion::DetachPolicy { from: UserOrGroup::Group(name), policy },
        _ => return None,
    })
}

fn of_key(verb: &str, last: &ArgMatches, files: &dyn FileReader) -> Result<Option<IdentityQuestion>, ConfigError> {
    let (user, key) = (text(last, "user"), required(last, "key"));
    Ok(Some(match verb {
        "list" => IdentityQuestion::Keys { user },
        "create" => IdentityQuestion::CreateKey { user, service: service_key(last, files)? },
        "activate" => IdentityQuestion::ActivateKey { key },
        "deactivate" => IdentityQuestion::DeactivateKey { key },
        "delete" => IdentityQuestion::DeleteKey { key },
        _ => return Ok(None),
    }))
}

fn service_key(last: &ArgMatches, files: &dyn FileReader) -> Result<Option<ServiceKeyAsked>, ConfigError> {
    let Some(name) = text(last, "service") else { return Ok(None) };
    let policy = text(last, "policy").map(|path| document(&path, files)).transpose()?;
    Ok(Some(ServiceKeyAsked { name, policy, lifetime: last.get_one::<Duration>("expires").copied() }))
}

fn of_policy(verb: &str, last: &ArgMatches, files: &dyn FileReader) -> Result<Option<IdentityQuestion>, ConfigError> {
    let (name, policy) = (required(last, "name"), required(last, "policy"));
    let document = || document(&required(last, "file"), files);
    Ok(Some(match verb {
        "list" => IdentityQuestion::Policies { all: last.get_flag("all") },
        "show" => IdentityQuestion::Policy { policy },
        "create" => {
            let (path, description) = (text(last, "path"), text(last, "description"));
            IdentityQuestion::CreatePolicy { name, document: document()?, path, description }
        }
        "update" => IdentityQuestion::UpdatePolicy { policy, document: document()? },
        "delete" => IdentityQuestion::DeletePolicy { policy },
        _ => return Ok(None),
    }))
}

fn access_question(last: &ArgMatches) -> AccessQuestion {
    let who = match (text(last, "user"), text(last, "key")) {
        (Some(user), _) => WhoAsked::User(user),
        (None, Some(key)) => WhoAsked::Key(key),
        (None, None) => WhoAsked::Anonymous,
    };
    let conditions = last.get_many::<(String, String)>("condition").unwrap_or_default().cloned().collect();
    AccessQuestion { who, action: required(last, "action"), resource: required(last, "resource"), conditions }
}

/// Reads a file's text. The store checks whether it is a policy.
fn document(path: &str, files: &dyn FileReader) -> Result<String, ConfigError> {
    let unreadable = |cause: String| ConfigError::Unreadable { name: "FILE".to_owned(), path: path.to_owned(), cause };
    let bytes = files.read(Path::new(path)).map_err(|cause| unreadable(cause.to_string()))?;
    String::from_utf8(bytes).map_err(|_| unreadable("it is no text in UTF-8".to_owned()))
}
