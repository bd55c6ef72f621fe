//! Access control lists: canned ACLs, and what a grant covers (S3 User Guide, "Access control list (ACL) overview").
//! Also the settings that override ACLs: object ownership, and the public access block.

use super::principal::Principal;
use crate::actors::meta::{Acl, Grant, Grantee, Permission};
use serde::{Deserialize, Serialize};

/// The service that writes access logs into buckets that grant it.
pub const LOG_DELIVERY_SERVICE: &str = "logging.s3.amazonaws.com";

/// The setting for Object Ownership: who owns objects that other accounts write, and whether ACLs apply (S3 User Guide,
/// "Controlling ownership of objects").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ownership {
    /// The bucket's owner owns all objects, and ACLs are disabled.
    #[default]
    BucketOwnerEnforced,
    BucketOwnerPreferred,
    ObjectWriter,
}

/// Settings that override grants to the public ("Blocking public access to your Amazon S3 storage").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicAccessBlock {
    /// Refuses new public ACLs.
    pub block_public_acls: bool,
    /// Ignores grants of ACLs to the public.
    pub ignore_public_acls: bool,
    /// Refuses new public policies.
    pub block_public_policy: bool,
    /// Limits access to a bucket with a public policy to its own account.
    pub restrict_public_buckets: bool,
}

impl PublicAccessBlock {
    /// Combines the settings of a bucket and of its account: what either blocks is blocked.
    pub fn with(self, other: Self) -> Self {
        Self {
            block_public_acls: self.block_public_acls || other.block_public_acls,
            ignore_public_acls: self.ignore_public_acls || other.ignore_public_acls,
            block_public_policy: self.block_public_policy || other.block_public_policy,
            restrict_public_buckets: self.restrict_public_buckets || other.restrict_public_buckets,
        }
    }
}

/// Returns whether the ACL grants anything to all users, or to all authenticated users.
pub fn is_public(acl: &Acl) -> bool {
    acl.grants.iter().any(|grant| is_public_group(&grant.grantee))
}

pub fn is_public_group(grantee: &Grantee) -> bool {
    matches!(grantee, Grantee::AllUsers | Grantee::AuthenticatedUsers)
}

/// Returns whether the ACL grants this account full control and nothing else: the only ACL that can be given where ACLs
/// are disabled.
pub fn is_full_control_of(acl: &Acl, canonical_id: &str) -> bool {
    let full = |grant: &Grant| {
        grant.permission == Permission::FullControl
            && matches!(&grant.grantee, Grantee::Account(id) if id == canonical_id)
    };
    !acl.grants.is_empty() && acl.grants.iter().all(full)
}

/// Returns the canned ACL of this name; `None` if there is none. For the ACL of a bucket `bucket_owner` equals `owner`.
pub fn canned(name: &str, owner: &str, bucket_owner: &str) -> Option<Acl> {
    let everybody = |permission| Grant { grantee: Grantee::AllUsers, permission };
    let more = match name {
        "private" | "aws-exec-read" => vec![],
        "public-read" => vec![everybody(Permission::Read)],
        "public-read-write" => vec![everybody(Permission::Read), everybody(Permission::Write)],
        "authenticated-read" => {
            vec![Grant { grantee: Grantee::AuthenticatedUsers, permission: Permission::Read }]
        }
        "bucket-owner-read" => of_bucket_owner(owner, bucket_owner, Permission::Read),
        "bucket-owner-full-control" => of_bucket_owner(owner, bucket_owner, Permission::FullControl),
        "log-delivery-write" => [Permission::Write, Permission::ReadAcp]
            .map(|permission| Grant { grantee: Grantee::LogDelivery, permission })
            .to_vec(),
        _ => return None,
    };
    let own = Grant { grantee: Grantee::Account(owner.to_owned()), permission: Permission::FullControl };
    Some(Acl { grants: std::iter::once(own).chain(more).collect() })
}

/// Returns a grant to the bucket's owner; none if it is also the object's owner, who has full control already.
fn of_bucket_owner(owner: &str, bucket_owner: &str, permission: Permission) -> Vec<Grant> {
    let grant = Grant { grantee: Grantee::Account(bucket_owner.to_owned()), permission };
    if owner == bucket_owner { vec![] } else { vec![grant] }
}

/// Returns whether a grantee includes the caller. A grant to an account includes its users and role sessions.
pub fn includes(grantee: &Grantee, principal: &Principal) -> bool {
    match grantee {
        Grantee::AllUsers => true,
        Grantee::AuthenticatedUsers => principal.account().is_some(),
        Grantee::LogDelivery => *principal == Principal::Service(LOG_DELIVERY_SERVICE.to_owned()),
        Grantee::Account(id) => principal.account().is_some_and(|account| account.canonical_id == *id),
    }
}

/// Returns whether the granted permission includes the wanted one.
pub fn covers(granted: Permission, wanted: Permission) -> bool {
    granted == wanted || granted == Permission::FullControl
}
