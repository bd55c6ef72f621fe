//! The question of a decision: caller and action, the policies of both sides, and the context of the request.

use crate::actors::meta::Acl;
use crate::api::policy::acl::{Ownership, PublicAccessBlock};
use crate::api::policy::context::Context;
use crate::api::policy::document::Policy;
use crate::api::policy::principal::{Account, Principal};

/// A question: one request, or one of the actions that it needs.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    pub principal: &'a Principal,
    /// The policies of the principal's own side; for users and sessions of roles only.
    pub identity: Identity<'a>,
    /// The action with its service: `s3:GetObject`.
    pub action: &'a str,
    /// An ARN.
    pub resource: &'a str,
    pub target: Target<'a>,
    pub context: &'a Context,
}

/// A policy as reasons call it.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    pub name: &'a str,
    pub policy: &'a Policy,
}

/// The policies that decide what an identity may do.
#[derive(Clone, Debug, Default)]
pub struct Identity<'a> {
    /// Inline and attached ones of the user or the role.
    pub own: Vec<Named<'a>>,
    /// The policies of the user's groups.
    pub groups: Vec<Named<'a>>,
    pub boundary: Option<Named<'a>>,
    /// The session policies, which together limit the credentials; without any there is no limit.
    pub session: Vec<Named<'a>>,
}

/// The target of the action.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// Something of the principal's own account that has no policy: only the identity's side decides.
    Account,
    Bucket(Bucket<'a>),
    /// A role that is to be assumed, in the account of this id.
    Role {
        account: &'a str,
        trust: &'a Policy,
    },
}

/// A bucket, or an object in it.
#[derive(Clone, Copy, Debug)]
pub struct Bucket<'a> {
    pub owner: &'a Account,
    pub policy: Option<&'a Policy>,
    /// True if the author of the policy confirmed that it may exclude the owner's root from changing it.
    pub policy_binds_root: bool,
    /// The ACL; without one the owner has full control.
    pub acl: Option<&'a Acl>,
    pub ownership: Ownership,
    /// The public access block of the bucket and of its account together.
    pub block: PublicAccessBlock,
    /// The object, if the action is on one: also an upload, which its initiator owns.
    pub object: Option<Object<'a>>,
}

#[derive(Clone, Copy, Debug)]
pub struct Object<'a> {
    /// A canonical id; empty for the bucket's owner.
    pub owner: &'a str,
    /// The ACL; without one the owner has full control.
    pub acl: Option<&'a Acl>,
}
