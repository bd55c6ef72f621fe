//! The actions, as policies call them: S3's actions, the resources they are about, and the ACL permissions that grant
//! them too (Service Authorization Reference, "Actions, resources, and condition keys for Amazon S3"; S3 User Guide,
//! "ACL overview", "Mapping of ACL permissions and access policy permissions"). `operations` has the actions that each
//! operation needs.

pub mod condition_keys;
mod operations;
mod table;

pub use operations::{Asks, Need, On, needs};

use crate::actors::meta::Permission;

const SERVICE: &str = "s3:";
const ADMIN: &str = "admin:";

/// The actions of the admin API, on the resource `*`: the names of its routes.
pub const ADMIN_ACTIONS: [&str; 30] = [
    "AcceptClock",
    "AddDrive",
    "CallIam",
    "ChangeEncryptionKey",
    "DropUnknownShards",
    "ExplainAccess",
    "ExportMetadata",
    "GetBucketQuota",
    "GetClock",
    "GetHealStatus",
    "GetHealth",
    "GetInfo",
    "GetLayout",
    "GetScrubStatus",
    "GetStopSafety",
    "GetTop",
    "ListBucketUsage",
    "ListDrives",
    "ListEncryptionKeys",
    "ListRateLimits",
    "ListShards",
    "MoveLeader",
    "PutBucketQuota",
    "PutRateLimits",
    "ReplaceDrive",
    "RewrapKeys",
    "StartHeal",
    "StartScrub",
    "StopScrub",
    "UpdateLayout",
];

/// The kind of resource that an action's ARN names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceKind {
    /// No resource, or one that is not kept here: access points, jobs and the like.
    Account,
    Bucket,
    Object,
}

/// The list that a permission is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AclOf {
    Bucket,
    Object,
}

/// The account that decides if an object does not belong to the owner of its bucket (S3 User Guide, "How Amazon S3
/// authorizes a request for an object operation").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecidedBy {
    BucketOwner,
    ObjectOwner,
    /// The bucket's owner decides, and who began an upload may end it.
    BucketOwnerOrInitiator,
    /// The bucket's owner decides, and the object's owner may too (API Reference, "GetObjectTagging").
    EitherOwner,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Action {
    /// The name without the service.
    pub name: &'static str,
    pub kind: ResourceKind,
    /// The permission that grants it too.
    pub acl: Option<(AclOf, Permission)>,
    pub decided_by: DecidedBy,
    /// The owner of the bucket has it whatever the ACL says, and of its ACL's grantees only owners have it.
    pub owners_only: bool,
    /// No grant to everybody gives it to callers without an account.
    pub accounts_only: bool,
}

/// Returns an action on an account's own resources, or on those that do not exist here.
const fn of_account(name: &'static str) -> Action {
    let decided_by = DecidedBy::BucketOwner;
    let kind = ResourceKind::Account;
    Action { name, kind, acl: None, decided_by, owners_only: false, accounts_only: false }
}

const fn of_bucket(name: &'static str) -> Action {
    Action { kind: ResourceKind::Bucket, ..of_account(name) }
}

/// Returns an action on an object that the bucket's owner decides.
const fn in_bucket(name: &'static str) -> Action {
    Action { kind: ResourceKind::Object, ..of_account(name) }
}

/// Returns an action on an object that its owner decides.
const fn of_object(name: &'static str) -> Action {
    Action { decided_by: DecidedBy::ObjectOwner, ..in_bucket(name) }
}

const fn of_upload(name: &'static str) -> Action {
    Action { decided_by: DecidedBy::BucketOwnerOrInitiator, ..in_bucket(name) }
}

/// Returns an action on an object's tags.
const fn of_tags(name: &'static str) -> Action {
    Action { decided_by: DecidedBy::EitherOwner, ..in_bucket(name) }
}

impl Action {
    const fn granted_by(self, of: AclOf, permission: Permission) -> Self {
        Self { acl: Some((of, permission)), ..self }
    }

    const fn for_owners(self) -> Self {
        Self { owners_only: true, ..self }
    }

    const fn for_accounts(self) -> Self {
        Self { accounts_only: true, ..self }
    }
}

/// Returns all of S3's actions.
pub fn all() -> impl Iterator<Item = &'static Action> {
    table::OBJECT_ACTIONS.iter().chain(table::BUCKET_ACTIONS).chain(table::OTHER_ACTIONS)
}

/// Returns S3's spelling of an action that is named in any case, and its kind of resource.
pub fn named(name: &str) -> Option<(String, ResourceKind)> {
    find(name).map(|action| (format!("{SERVICE}{}", action.name), action.kind))
}

/// An action of the admin API by its full name in any case; within, `None` for a name of that service that none has.
pub fn admin_named(name: &str) -> Option<Option<String>> {
    let (service, name) = name.split_at_checked(ADMIN.len())?;
    let found = || ADMIN_ACTIONS.iter().find(|action| action.eq_ignore_ascii_case(name));
    service.eq_ignore_ascii_case(ADMIN).then(|| found().map(|action| format!("{ADMIN}{action}")))
}

/// An action by its full name in any case; `None` for those of other services.
pub fn find(name: &str) -> Option<&'static Action> {
    let (service, name) = name.split_at_checked(SERVICE.len())?;
    all().find(|action| service.eq_ignore_ascii_case(SERVICE) && action.name.eq_ignore_ascii_case(name))
}
