//! The evaluation of one access decision (IAM User Guide, "Policy evaluation logic"; S3 User Guide, "How Amazon S3
//! authorizes a request"). A `Deny` overrides every `Allow`. Within one account, either an identity policy or a grant
//! of the resource suffices; across accounts, both are needed. A grant to an account reaches its users and roles
//! through the account's own identity policies.

mod decision;
mod prepared;
mod question;

pub use decision::{Decision, Grounds, Missing, Place, Reason, StatementName};
pub use prepared::Prepared;
pub use question::{Bucket, Identity, Object, PolicyRef, Question, ResourcePolicy, Target};

use super::acl::{self, Ownership};
use super::actions::{self, AclOf, Action, DecidedBy};
use super::context::{Budget, Facts};
use super::document::Effect;
use super::principal::{Principal, Reach};
use crate::actors::meta::{Acl, Grantee, Permission};
use prepared::Candidate;

/// The actions that the root of the bucket's account keeps even if the bucket's policy denies them, so that a policy
/// cannot lock the bucket for good.
const KEPT_BY_ROOT: [&str; 3] = ["s3:deletebucketpolicy", "s3:getbucketpolicy", "s3:putbucketpolicy"];

/// The number of statements that are passed over, because they are of another policy or effect, for one step.
const CANDIDATES_PER_STEP: usize = 4;

/// Decides on one request. The steps of the decision are charged to the budget; a decision that needs more than is left
/// is a denial.
pub fn evaluate(question: Question<'_>, budget: &Budget) -> Decision {
    Prepared::of(question, budget).decide()
}

/// The evaluation of one decision.
struct Evaluation<'e> {
    prepared: &'e Prepared<'e>,
    resource: &'e str,
    object: Option<Object<'e>>,
    facts: Facts<'e>,
    covering: Covering,
}

/// Which statements cover the request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Covering {
    /// Those with its resource whose conditions hold.
    AsTheySay,
    /// Every statement that allows, and none that denies: resource and condition values are not known yet.
    AllThatAllow,
}

/// A grant of a resource to the caller.
struct Granted {
    reach: Reach,
    grounds: Grounds,
}

impl Evaluation<'_> {
    fn decide(&self) -> Decision {
        if let Some(statement) = self.find(None, Effect::Deny) {
            return Decision::deny(Reason::DeniedBy(statement));
        }
        match self.prepared.question.target {
            Target::Account => match self.identity_side() {
                Ok(grounds) => Decision::allow(Reason::AllowedBy(grounds)),
                Err(missing) => Decision::deny(Reason::NotAllowedBy(missing)),
            },
            Target::Role { account, .. } => {
                let same = self.principal().account().is_some_and(|asking| asking.id == account);
                self.join(same, false, &self.granted_by_policy(Place::Trust))
            }
            Target::Bucket(bucket) => self.in_bucket(&Bucket { object: self.object, ..bucket }),
        }
    }

    fn principal(&self) -> &Principal {
        self.prepared.question.principal
    }

    fn is_covered_by(&self, candidate: &Candidate<'_>) -> bool {
        match self.covering {
            Covering::AsTheySay => candidate.covers(self.resource, &self.facts),
            Covering::AllThatAllow => candidate.effect() == Effect::Allow,
        }
    }

    /// Finds the first statement of this effect that covers the request, in the policies at `place`, or in all policies
    /// if `place` is `None`.
    fn find(&self, place: Option<Place>, effect: Effect) -> Option<StatementName> {
        if !self.facts.meter.charge(self.prepared.candidates.len() / CANDIDATES_PER_STEP) {
            return None;
        }
        let is_meant = |of: &&Candidate<'_>| of.effect() == effect && place.is_none_or(|place| of.place == place);
        let mut candidates = self.prepared.candidates.iter().filter(is_meant);
        candidates.find(|of| self.is_covered_by(of)).map(Candidate::name)
    }

    /// Returns the grants of the resource's policy, the most direct one first.
    fn granted_by_policy(&self, place: Place) -> Vec<Granted> {
        let is_meant = |of: &&Candidate<'_>| of.effect() == Effect::Allow && of.place == place;
        let grant = |of: &Candidate<'_>| {
            let reach = of.reach.filter(|_| self.is_covered_by(of))?;
            Some(Granted { reach, grounds: Grounds::Statement(of.name()) })
        };
        let mut granted: Vec<_> = self.prepared.candidates.iter().filter(is_meant).filter_map(grant).collect();
        granted.sort_by_key(|granted| std::cmp::Reverse(granted.reach));
        granted
    }

    /// Decides by the caller's identity policies, permissions boundary and session policies.
    fn identity_side(&self) -> Result<Grounds, Missing> {
        match self.principal() {
            Principal::Root(_) => return Ok(Grounds::Root),
            Principal::User { .. } | Principal::RoleSession { .. } => {}
            Principal::Anonymous | Principal::Federated(_) | Principal::Service(_) => return Err(Missing::Identity),
        }
        let own = self.find(Some(Place::Identity), Effect::Allow);
        let allowing = own.or_else(|| self.find(Some(Place::Group), Effect::Allow));
        let allowing = allowing.ok_or(Missing::Identity)?;
        self.within_boundary()?;
        self.within_session()?;
        Ok(Grounds::Statement(allowing))
    }

    fn within_boundary(&self) -> Result<(), Missing> {
        match self.prepared.identity().and_then(|identity| identity.boundary) {
            Some(boundary) if self.find(Some(Place::Boundary), Effect::Allow).is_none() => {
                Err(Missing::Boundary(boundary.name.to_owned()))
            }
            _ => Ok(()),
        }
    }

    fn within_session(&self) -> Result<(), Missing> {
        let is_limited = self.prepared.identity().is_some_and(|identity| identity.session.is_some());
        let limited = is_limited && self.find(Some(Place::Session), Effect::Allow).is_none();
        if limited { Err(Missing::Session) } else { Ok(()) }
    }

    /// Returns whether the permissions boundary and session policies that limit such a grant allow the action.
    fn is_within_limits(&self, reach: Reach) -> bool {
        match reach {
            Reach::Account => false,
            Reach::Role => self.within_boundary().is_ok() && self.within_session().is_ok(),
            Reach::User => self.within_session().is_ok(),
            Reach::Direct => !self.prepared.question.identity.is_service_key || self.within_session().is_ok(),
        }
    }

    /// Combines the caller's identity policies with the resource's grants. `same`: both belong to one account.
    /// `identity_suffices`: within one account, identity policies alone can allow the action.
    fn join(&self, same: bool, identity_suffices: bool, granted: &[Granted]) -> Decision {
        let first = granted.first().map(|granted| granted.grounds.clone());
        let by = |grounds| Decision::allow(Reason::AllowedBy(grounds));
        let missing = |missing| Decision::deny(Reason::NotAllowedBy(missing));
        let principal = self.principal();
        if !matches!(principal, Principal::User { .. } | Principal::RoleSession { .. }) {
            return first.map_or_else(|| missing(Missing::Resource), by);
        }
        match self.identity_side() {
            Ok(grounds) if same && identity_suffices => by(grounds),
            Ok(identity) => first.map_or_else(
                || missing(Missing::Resource),
                |resource| Decision::allow(Reason::AllowedByBoth { identity, resource }),
            ),
            Err(lacking) => {
                let direct = granted.iter().find(|granted| same && self.is_within_limits(granted.reach));
                direct.map_or_else(|| missing(lacking), |granted| by(granted.grounds.clone()))
            }
        }
    }

    fn in_bucket(&self, bucket: &Bucket<'_>) -> Decision {
        let principal = self.principal();
        let account = principal.account();
        let restricted = bucket.block.restrict_public_buckets && bucket.policy.is_some_and(|of| of.policy.is_public());
        let outside = account.is_none_or(|account| account.id != bucket.owner.id);
        if restricted && outside && !matches!(principal, Principal::Service(_)) {
            return Decision::deny(Reason::RestrictedPublicBucket);
        }
        let action = actions::find(&self.prepared.action);
        if *principal == Principal::Anonymous && action.is_some_and(|action| action.accounts_only) {
            return Decision::deny(Reason::NeedsAccount);
        }
        let owner = decider(action, bucket);
        let mut granted = match bucket.policy {
            // A bucket's policy cannot grant access to objects of other owners.
            Some(_) if owner == bucket.owner.canonical_id => self.granted_by_policy(Place::Bucket),
            _ => Vec::new(),
        };
        granted.extend(self.granted_by_acl(action, bucket));
        if self.is_owned(action, bucket, owner) {
            granted.push(Granted { reach: Reach::Account, grounds: Grounds::Ownership });
        }
        let same = account.is_some_and(|account| account.canonical_id == owner);
        self.join(same, true, &granted)
    }

    /// Returns whether the principal's account may perform the action as an owner, without a grant.
    fn is_owned(&self, action: Option<&Action>, bucket: &Bucket<'_>, owner: &str) -> bool {
        let Some(account) = self.principal().account() else { return false };
        let id = account.canonical_id.as_str();
        let without_acl = action.is_none_or(|action| action.acl.is_none());
        let regardless = action.is_some_and(|action| action.owners_only);
        let its_own = match action.map(|action| action.decided_by) {
            Some(DecidedBy::BucketOwnerOrInitiator) => bucket.object.is_some_and(|upload| upload.owner == id),
            Some(DecidedBy::EitherOwner) => object_owner(bucket) == id,
            Some(DecidedBy::BucketOwner | DecidedBy::ObjectOwner) | None => false,
        };
        let disabled = bucket.ownership == Ownership::BucketOwnerEnforced;
        id == owner && (without_acl || regardless || disabled) || its_own
    }

    fn granted_by_acl(&self, action: Option<&Action>, bucket: &Bucket<'_>) -> Vec<Granted> {
        let Some((of, wanted)) = action.and_then(|action| action.acl) else { return Vec::new() };
        if bucket.ownership == Ownership::BucketOwnerEnforced {
            return Vec::new();
        }
        let (acl, owner) = match of {
            AclOf::Bucket => (bucket.acl, bucket.owner.canonical_id.as_str()),
            AclOf::Object => (bucket.object.and_then(|object| object.acl), object_owner(bucket)),
        };
        let asking = self.principal().account().map(|account| account.canonical_id.as_str());
        let owners = [Some(bucket.owner.canonical_id.as_str()), Some(object_owner(bucket))];
        if action.is_some_and(|action| action.owners_only) && !owners.contains(&asking) {
            return Vec::new();
        }
        let mut granted: Vec<Granted> = listed(acl, owner)
            .into_iter()
            .filter(|(grantee, permission)| {
                let ignored = bucket.block.ignore_public_acls && acl::is_public_group(grantee);
                !ignored && acl::covers(*permission, wanted) && acl::includes(grantee, self.principal())
            })
            .map(|(grantee, permission)| Granted {
                reach: if matches!(grantee, Grantee::Account(_)) { Reach::Account } else { Reach::Direct },
                grounds: Grounds::Acl { of, grantee, permission },
            })
            .collect();
        // An owner can always read and write its own ACL.
        if asking == Some(owner) && matches!(wanted, Permission::ReadAcp | Permission::WriteAcp) {
            granted.push(Granted { reach: Reach::Account, grounds: Grounds::Ownership });
        }
        granted
    }
}

/// Returns the canonical id of the account that decides on the action: the owner of the bucket or of the object.
fn decider<'a>(action: Option<&Action>, bucket: &Bucket<'a>) -> &'a str {
    let of_object = action.is_some_and(|action| action.decided_by == DecidedBy::ObjectOwner);
    if of_object { object_owner(bucket) } else { &bucket.owner.canonical_id }
}

/// Returns the canonical id of the object's owner. With ACLs disabled that is the bucket's owner.
fn object_owner<'a>(bucket: &Bucket<'a>) -> &'a str {
    let other = bucket.object.map(|object| object.owner).filter(|owner| !owner.is_empty());
    match bucket.ownership {
        Ownership::BucketOwnerEnforced => &bucket.owner.canonical_id,
        Ownership::BucketOwnerPreferred | Ownership::ObjectWriter => other.unwrap_or(&bucket.owner.canonical_id),
    }
}

/// Returns the grants of an ACL. A missing ACL grants full control to the owner.
fn listed(acl: Option<&Acl>, owner: &str) -> Vec<(Grantee, Permission)> {
    match acl {
        Some(acl) => acl.grants.iter().map(|grant| (grant.grantee.clone(), grant.permission)).collect(),
        None => vec![(Grantee::Account(owner.to_owned()), Permission::FullControl)],
    }
}
