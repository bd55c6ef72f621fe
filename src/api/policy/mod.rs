//! Access decisions by the rules of AWS, without side effects: policy documents, ACLs and settings go in, a decision
//! with its reason comes out. No other module decides on access.
//!
//! | part | what it owns |
//! |---|---|
//! | `document` | policy documents: grammar, the rules of each kind of policy, whether one is public, AWS's error messages |
//! | `pattern`, `condition`, `principal`, `acl` | what a statement or a grant matches |
//! | `context` | the condition keys of a request |
//! | `actions` | S3's actions, the operations that need them, the ACL permissions that grant them |
//! | `evaluate` | the evaluation of a decision |
//! | `parsed` | the cache of parsed policies |

mod acl;
mod actions;
mod condition;
mod context;
mod document;
mod evaluate;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod parsed;
mod pattern;
mod principal;

pub use acl::{Ownership, PublicAccessBlock, canned, is_full_control_of, is_public};
#[cfg(test)]
pub use actions::condition_keys;
pub use actions::{
    AclOf, Asks, Need, On, ResourceKind, admin_named as admin_action_named, named as action_named, needs,
};
pub use context::{Budget, Context};
pub use document::{Effect, Policy, PolicyError, PolicyKind, is_unambiguous};
pub use evaluate::{
    Bucket, Decision, Grounds, Identity, Missing, Object, Place, PolicyRef, Prepared, Question, Reason, ResourcePolicy,
    StatementName, Target, evaluate,
};
pub use parsed::ParsedPolicies;
pub use principal::{Account, Issuer, Principal, PrincipalIds, PrincipalPattern};

#[cfg(any(test, feature = "fuzzing"))]
mod tests;
