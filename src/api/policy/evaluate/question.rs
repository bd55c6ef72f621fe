//! The input of an access decision: caller and action, the policies of both sides, and the context of the request.

use crate::actors::meta::Acl;
use crate::api::policy::acl::{Ownership, PublicAccessBlock};
use crate::api::policy::context::Context;
use crate::api::policy::document::Policy;
use crate::api::policy::principal::{Account, Principal, PrincipalIds};

/// One access question: may this principal perform this action on this resource? A request that needs several actions
/// asks one question for each.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    pub principal: &'a Principal,
    /// The principal's identity policies; used for users and role sessions only.
    pub identity: Identity<'a>,
    /// The action with its service: `s3:GetObject`.
    pub action: &'a str,
    /// The ARN of the resource.
    pub resource: &'a str,
    pub target: Target<'a>,
    pub context: &'a Context,
}

/// A policy with its name, which reasons quote.
#[derive(Clone, Copy, Debug)]
pub struct PolicyRef<'a> {
    pub name: &'a str,
    pub policy: &'a Policy,
}

/// The policies that decide what an identity may do.
#[derive(Clone, Debug, Default)]
pub struct Identity<'a> {
    /// The inline and attached policies of the user or the role.
    pub own: Vec<PolicyRef<'a>>,
    /// The policies of the user's groups.
    pub groups: Vec<PolicyRef<'a>>,
    pub boundary: Option<PolicyRef<'a>>,
    /// The session policies, which together limit temporary credentials. `None` is no limit; an empty list allows
    /// nothing.
    pub session: Option<Vec<PolicyRef<'a>>>,
    /// True for a service key: the session policies limit what is granted to everybody, too.
    pub is_service_key: bool,
}

/// The target of the action.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// A resource of the principal's own account without a policy of its own: identity policies alone decide.
    Account,
    Bucket(Bucket<'a>),
    /// A role to be assumed, in the account with this id.
    Role {
        account: &'a str,
        trust: ResourcePolicy<'a>,
    },
}

/// The policy of a resource, with the ids of the principals that it was stored with.
#[derive(Clone, Copy, Debug)]
pub struct ResourcePolicy<'a> {
    pub policy: &'a Policy,
    pub ids: &'a PrincipalIds,
}

/// A bucket, or an object in it.
#[derive(Clone, Copy, Debug)]
pub struct Bucket<'a> {
    pub owner: &'a Account,
    pub policy: Option<ResourcePolicy<'a>>,
    /// True if the author of the policy confirmed that it may exclude the owner's root from changing it.
    pub policy_binds_root: bool,
    /// The ACL; without one the owner has full control.
    pub acl: Option<&'a Acl>,
    pub ownership: Ownership,
    /// The public access block of the bucket and of its account together.
    pub block: PublicAccessBlock,
    /// The object, if the action is on one. An upload counts as an object owned by its initiator.
    pub object: Option<Object<'a>>,
}

#[derive(Clone, Copy, Debug)]
pub struct Object<'a> {
    /// The canonical id of the owner; empty if it is the bucket's owner.
    pub owner: &'a str,
    /// The ACL; without one the owner has full control.
    pub acl: Option<&'a Acl>,
}
