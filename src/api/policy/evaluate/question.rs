//! What a decision is about: who asks for what, the policies of both sides, and what is known of the request.

use crate::actors::meta::Acl;
use crate::api::policy::acl::{Ownership, PublicAccessBlock};
use crate::api::policy::context::Context;
use crate::api::policy::document::Policy;
use crate::api::policy::principal::{Account, Principal};

/// One request, or one of the actions that it needs.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    pub principal: &'a Principal,
    /// What the principal's own side has to say; of users and sessions of roles only.
    pub identity: Identity<'a>,
    /// With its service: `s3:GetObject`.
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
    /// Those of the groups that the user is in.
    pub groups: Vec<Named<'a>>,
    pub boundary: Option<Named<'a>>,
    /// Given when the credentials were: together they limit them. Without any they do not.
    pub session: Vec<Named<'a>>,
}

/// What the action is done to.
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
    /// Who put the policy confirmed that it may keep the owner's root from the policy itself.
    pub policy_binds_root: bool,
    /// Without one the owner has full control.
    pub acl: Option<&'a Acl>,
    pub ownership: Ownership,
    /// Of the bucket and of its account together.
    pub block: PublicAccessBlock,
    /// What is known of the object, where the action is on one: also of an upload, which its initiator owns.
    pub object: Option<Object<'a>>,
}

#[derive(Clone, Copy, Debug)]
pub struct Object<'a> {
    /// A canonical id; empty for the bucket's owner.
    pub owner: &'a str,
    /// Without one the owner has full control.
    pub acl: Option<&'a Acl>,
}
