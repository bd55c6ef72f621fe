//! The actions that policies name: S3's actions with the resources they are on and the ACL permissions that also grant
//! them (Service Authorization Reference, "Actions, resources, and condition keys for Amazon S3"; S3 User Guide, "ACL
//! overview", "Mapping of ACL permissions and access policy permissions"), and the actions of the admin API. The
//! actions that each operation needs are in `operations`.

pub mod condition_keys;
mod operations;
mod table;

pub use operations::{Asks, Need, On, needs};

use crate::actors::meta::Permission;
use crate::api::admin_routes::Route;

const SERVICE: &str = "s3:";
const ADMIN: &str = "admin:";

/// The kind of resource that an action's ARN names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceKind {
    /// No resource, or one that this store does not have, such as access points and jobs.
    Account,
    Bucket,
    Object,
}

/// The ACL that a permission is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AclOf {
    Bucket,
    Object,
}

/// The account that decides on an action if the object and its bucket have different owners (S3 User Guide, "How Amazon
/// S3 authorizes a request for an object operation").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecidedBy {
    BucketOwner,
    ObjectOwner,
    /// The bucket's owner decides; the initiator of a multipart upload may also list its parts and abort it.
    BucketOwnerOrInitiator,
    /// The bucket's owner decides; the object's owner may also perform the action (API Reference, "GetObjectTagging").
    EitherOwner,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Action {
    /// The name without the service.
    pub name: &'static str,
    pub kind: ResourceKind,
    /// The ACL permission that also grants the action.
    pub acl: Option<(AclOf, Permission)>,
    pub decided_by: DecidedBy,
    /// True if the owner of the bucket may perform the action without any grant, and an ACL grants it only to the owner
    /// of the bucket or of the object.
    pub owners_only: bool,
    /// True if callers without an account may never perform the action, even by a grant to everybody.
    pub accounts_only: bool,
}

/// Returns an action on an account, or on a resource that this store does not have.
const fn of_account(name: &'static str) -> Action {
    let decided_by = DecidedBy::BucketOwner;
    let kind = ResourceKind::Account;
    Action { name, kind, acl: None, decided_by, owners_only: false, accounts_only: false }
}

const fn of_bucket(name: &'static str) -> Action {
    Action { kind: ResourceKind::Bucket, ..of_account(name) }
}

/// Returns an action on an object, on which the bucket's owner decides.
const fn in_bucket(name: &'static str) -> Action {
    Action { kind: ResourceKind::Object, ..of_account(name) }
}

/// Returns an action on an object, on which the object's owner decides.
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

/// Returns the names of the admin API's actions, one for each route. Their resource is `*`.
pub fn of_admin() -> impl Iterator<Item = &'static str> {
    Route::ALL.iter().map(|route| route.name())
}

/// Returns all of S3's actions.
pub fn all() -> impl Iterator<Item = &'static Action> {
    table::OBJECT_ACTIONS.iter().chain(table::BUCKET_ACTIONS).chain(table::OTHER_ACTIONS)
}

/// Returns the full name of an action in S3's spelling, and its kind of resource. The given name may be in any case.
pub fn named(name: &str) -> Option<(String, ResourceKind)> {
    find(name).map(|action| (format!("{SERVICE}{}", action.name), action.kind))
}

/// Returns the full name of an action of the admin API in its proper case. Returns `None` for an action of another
/// service, and `Some(None)` for an unknown action of the admin API.
pub fn admin_named(name: &str) -> Option<Option<String>> {
    let (service, name) = name.split_at_checked(ADMIN.len())?;
    let found = || of_admin().find(|action| action.eq_ignore_ascii_case(name));
    service.eq_ignore_ascii_case(ADMIN).then(|| found().map(|action| format!("{ADMIN}{action}")))
}

/// Finds an action of S3 by its full name in any case; `None` for actions of other services.
pub fn find(name: &str) -> Option<&'static Action> {
    let (service, name) = name.split_at_checked(SERVICE.len())?;
    all().find(|action| service.eq_ignore_ascii_case(SERVICE) && action.name.eq_ignore_ascii_case(name))
}
