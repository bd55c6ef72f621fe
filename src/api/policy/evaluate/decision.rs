//! The result of an access decision, and its reason as text for the log.

use crate::actors::meta::{Grantee, Permission};
use crate::api::policy::actions::AclOf;
use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub allowed: bool,
    pub reason: Reason,
}

impl Decision {
    pub(super) fn allow(reason: Reason) -> Self {
        Self { allowed: true, reason }
    }

    pub(super) fn deny(reason: Reason) -> Self {
        Self { allowed: false, reason }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.allowed { "allowed" } else { "denied" };
        write!(f, "{verdict}: {}", self.reason)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// An explicit deny, which overrides every allow.
    DeniedBy(StatementName),
    AllowedBy(Grounds),
    /// A cross-account request, or the assumption of a role: the caller's identity policies and the resource's grants
    /// both allow it.
    AllowedByBoth {
        identity: Grounds,
        resource: Grounds,
    },
    /// The bucket's policy is public, and `RestrictPublicBuckets` limits it to the owner's account.
    RestrictedPublicBucket,
    /// The action is never allowed to callers without an account.
    NeedsAccount,
    /// The decision exceeds its budget of steps, or the request has more condition values than are compared.
    TooCostly,
    /// An implicit deny: no statement denies the action, and these policies do not allow it.
    NotAllowedBy(Missing),
}

/// The policy, grant or rule that allows an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grounds {
    Statement(StatementName),
    Acl {
        of: AclOf,
        grantee: Grantee,
        permission: Permission,
    },
    /// The principal belongs to the account that owns the resource.
    Ownership,
    /// The root of an account may do all that its account may.
    Root,
}

/// The policies whose permission is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// No policy of the user or role, or of its groups.
    Identity,
    /// The permissions boundary of this name.
    Boundary(String),
    /// No policy of the session.
    Session,
    /// Neither a policy nor an ACL of the resource.
    Resource,
}

/// The place where a policy is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Identity,
    Group,
    Boundary,
    Session,
    Bucket,
    Trust,
}

/// The name of a policy's statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementName {
    pub place: Place,
    /// The name of the policy; empty if there is only one.
    pub policy: String,
    pub sid: Option<String>,
    /// The index, from 0.
    pub index: usize,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DeniedBy(statement) => write!(f, "{statement} denies it"),
            Self::AllowedBy(grounds) => write!(f, "{grounds}"),
            Self::AllowedByBoth { identity, resource } => write!(f, "{identity}, and {resource}"),
            Self::RestrictedPublicBucket => {
                f.write_str("the bucket's policy is public, and public access is restricted to the owner's account")
            }
            Self::NeedsAccount => {
                f.write_str("only callers with an account can do this, whatever is granted to everybody")
            }
            Self::TooCostly => {
                f.write_str("evaluating the policies for this request takes more steps than are allowed")
            }
            Self::NotAllowedBy(missing) => write!(f, "{missing}"),
        }
    }
}

impl fmt::Display for Grounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Statement(statement) => write!(f, "{statement} allows it"),
            Self::Acl { of, grantee, permission } => {
                let of = match of {
                    AclOf::Bucket => "bucket",
                    AclOf::Object => "object",
                };
                write!(f, "the ACL of the {of} grants {} to {}", permission_name(*permission), Audience(grantee))
            }
            Self::Ownership => f.write_str("the account owns it"),
            Self::Root => f.write_str("the root of an account may do what the account may"),
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity => f.write_str("no policy of the identity allows it"),
            Self::Boundary(name) => write!(f, "the permissions boundary {name:?} does not allow it"),
            Self::Session => f.write_str("no policy of the session allows it"),
            Self::Resource => f.write_str("neither a policy nor an ACL of the resource allows it"),
        }
    }
}

impl fmt::Display for StatementName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.sid {
            Some(sid) => write!(f, "statement {sid:?} of ")?,
            None => write!(f, "statement {} of ", self.index + 1)?,
        }
        match self.place {
            Place::Identity => write!(f, "the policy {:?}", self.policy),
            Place::Group => write!(f, "the group's policy {:?}", self.policy),
            Place::Boundary => write!(f, "the permissions boundary {:?}", self.policy),
            Place::Session => write!(f, "the session's policy {:?}", self.policy),
            Place::Bucket => f.write_str("the bucket's policy"),
            Place::Trust => f.write_str("the role's trust policy"),
        }
    }
}

struct Audience<'a>(&'a Grantee);

impl fmt::Display for Audience<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Grantee::Account(id) => write!(f, "the account {id}"),
            Grantee::AllUsers => f.write_str("everybody"),
            Grantee::AuthenticatedUsers => f.write_str("everybody with credentials"),
            Grantee::LogDelivery => f.write_str("the delivery of logs"),
        }
    }
}

fn permission_name(permission: Permission) -> &'static str {
    match permission {
        Permission::FullControl => "FULL_CONTROL",
        Permission::Read => "READ",
        Permission::Write => "WRITE",
        Permission::ReadAcp => "READ_ACP",
        Permission::WriteAcp => "WRITE_ACP",
    }
}
