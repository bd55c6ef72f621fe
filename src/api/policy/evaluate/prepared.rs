//! The part of a decision that is the same for all objects of one request (such as `DeleteObjects`): the statements
//! that apply to the caller and the action, and the results of their conditions. It is evaluated once.

use super::decision::{Decision, Place, Reason, StatementName};
use super::question::{Identity, Object, Question, ResourcePolicy, Target};
use super::{Covering, Evaluation, KEPT_BY_ROOT};
use crate::api::policy::condition::Condition;
use crate::api::policy::context::{Budget, Context, Facts, Meter};
use crate::api::policy::document::{Effect, Policy, Statement};
use crate::api::policy::principal::{Principal, PrincipalIds, PrincipalPattern, Reach};
use std::cell::OnceCell;

/// Steps charged for each statement that is examined, and for each of its principals.
const STATEMENT_STEPS: usize = 4;
const PRINCIPAL_STEPS: usize = 16;

/// A statement that applies to the caller and the action.
pub struct Candidate<'a> {
    pub place: Place,
    policy: &'a str,
    index: usize,
    statement: &'a Statement,
    /// How directly the statement names the caller; only for an `Allow` of a resource's policy.
    pub reach: Option<Reach>,
    /// Whether all conditions hold that do not depend on the object; evaluated on first use.
    holds: OnceCell<bool>,
}

impl Candidate<'_> {
    pub fn effect(&self) -> Effect {
        self.statement.effect
    }

    pub fn name(&self) -> StatementName {
        let (place, policy, sid) = (self.place, self.policy.to_owned(), self.statement.sid.clone());
        StatementName { place, policy, sid, index: self.index }
    }

    pub fn covers(&self, resource: &str, facts: &Facts<'_>) -> bool {
        facts.meter.charge(STATEMENT_STEPS)
            && self.statement.covers_resource(resource, facts)
            && self.holds(facts)
            && self.are_met(true, facts)
    }

    fn holds(&self, facts: &Facts<'_>) -> bool {
        if let Some(holds) = self.holds.get() {
            return *holds;
        }
        let holds = self.are_met(false, facts);
        // A result that was computed without enough steps is not cached.
        if facts.meter.is_exhausted() { false } else { *self.holds.get_or_init(|| holds) }
    }

    fn are_met(&self, of_object: bool, facts: &Facts<'_>) -> bool {
        let is_met =
            |condition: &Condition| facts.meter.charge(condition.steps()) && self.statement.is_met(condition, facts);
        let mut conditions = self.statement.conditions.iter();
        conditions
            .all(|condition| facts.meter.charge(1) && (condition.is_of_object() != of_object || is_met(condition)))
    }
}

/// A question whose common part is evaluated, to be decided for many objects.
pub struct Prepared<'a> {
    pub(super) question: Question<'a>,
    /// The action in lower case.
    pub(super) action: String,
    pub(super) candidates: Vec<Candidate<'a>>,
    budget: &'a Budget,
    /// True if the request has more condition values than are compared, or the search for candidates used up all steps.
    is_too_costly: bool,
}

impl<'a> Prepared<'a> {
    pub fn of(question: Question<'a>, budget: &'a Budget) -> Self {
        let action = question.action.to_lowercase();
        let mut prepared = Self { question, action, candidates: Vec::new(), budget, is_too_costly: false };
        let meter = Meter::of(budget);
        if prepared.question.context.is_within_bounds() {
            prepared.find_candidates(&meter);
        } else {
            prepared.is_too_costly = true;
        }
        prepared.is_too_costly |= meter.is_exhausted();
        prepared
    }

    /// Decides on the question's own resource.
    pub fn decide(&self) -> Decision {
        self.decide_on(self.question.resource, self.object(), &Context::default())
    }

    /// Decides on an object in the same bucket. The condition keys in `object_keys` replace those of the request.
    pub fn decide_on(&self, resource: &str, object: Option<Object<'_>>, object_keys: &Context) -> Decision {
        self.decide_with((resource, object), object_keys, Covering::AsTheySay)
    }

    /// Decides before the objects and all condition values are known: denied is what nothing could make allowed.
    pub fn may_become_allowed(&self) -> Decision {
        self.decide_with((self.question.resource, self.object()), &Context::default(), Covering::AllThatAllow)
    }

    /// Returns the question's own object.
    fn object(&self) -> Option<Object<'a>> {
        match self.question.target {
            Target::Bucket(bucket) => bucket.object,
            Target::Account | Target::Role { .. } => None,
        }
    }

    fn decide_with(
        &self,
        (resource, object): (&str, Option<Object<'_>>),
        object_keys: &Context,
        covering: Covering,
    ) -> Decision {
        let meter = Meter::of(self.budget);
        if self.is_too_costly || !object_keys.is_within_bounds() {
            return Decision::deny(Reason::TooCostly);
        }
        let facts = Facts::of(self.question.context, object_keys, &meter);
        let decision = Evaluation { prepared: self, resource, object, facts, covering }.decide();
        if meter.is_exhausted() { Decision::deny(Reason::TooCostly) } else { decision }
    }

    /// Returns the policies of the caller's identity; `None` for callers without identity policies.
    pub(super) fn identity(&self) -> Option<&Identity<'a>> {
        let has_policies = matches!(self.question.principal, Principal::User { .. } | Principal::RoleSession { .. });
        has_policies.then_some(&self.question.identity)
    }

    fn find_candidates(&mut self, meter: &Meter<'_>) {
        let nothing = Context::default();
        let facts = Facts::of(self.question.context, &nothing, meter);
        let identity = self.identity().cloned().unwrap_or_default();
        let boundary: Vec<_> = identity.boundary.into_iter().collect();
        let of_identity = [
            (Place::Identity, identity.own),
            (Place::Group, identity.groups),
            (Place::Boundary, boundary),
            (Place::Session, identity.session.unwrap_or_default()),
        ];
        for (place, policies) in of_identity {
            for named in policies {
                self.add(place, named.name, named.policy, |_| Some(None), &facts);
            }
        }
        let (place, policy) = match self.question.target {
            Target::Account => return,
            Target::Bucket(bucket) => (Place::Bucket, bucket.policy),
            Target::Role { trust, .. } => (Place::Trust, Some(trust)),
        };
        let Some(ResourcePolicy { policy, ids }) = policy else { return };
        let bounded = self.identity().is_some_and(|own| own.boundary.is_some());
        let caller = NamedCaller { principal: self.question.principal, ids, meter };
        let spared = self.is_exempt_root();
        let reach = |statement: &Statement| match statement.effect {
            Effect::Deny => (!spared && caller.is_denied(statement, bounded)).then_some(None),
            Effect::Allow => caller.granted_reach(statement).map(Some),
        };
        self.add(place, "", policy, reach, &facts);
    }

    /// Adds the statements of a policy that apply to the action and the caller. `reach` returns `None` for a statement
    /// that does not apply to the caller.
    fn add(
        &mut self,
        place: Place,
        name: &'a str,
        policy: &'a Policy,
        reach: impl Fn(&Statement) -> Option<Option<Reach>>,
        facts: &Facts<'_>,
    ) {
        for (index, statement) in policy.statements().iter().enumerate() {
            let is_about = facts.meter.charge(STATEMENT_STEPS) && statement.covers_action(&self.action, facts);
            if let Some(reach) = Some(statement).filter(|_| is_about).and_then(&reach) {
                self.candidates.push(Candidate {
                    place,
                    policy: name,
                    index,
                    statement,
                    reach,
                    holds: OnceCell::new(),
                });
            }
        }
    }

    fn is_exempt_root(&self) -> bool {
        let (Target::Bucket(bucket), Principal::Root(account)) = (self.question.target, self.question.principal) else {
            return false;
        };
        let always = KEPT_BY_ROOT.contains(&self.action.as_str());
        always && account.id == bucket.owner.id && !bucket.policy_binds_root
    }
}

/// The caller, as the principals of a resource's policy may name it.
struct NamedCaller<'a> {
    principal: &'a Principal,
    /// The ids with which the policy was stored.
    ids: &'a PrincipalIds,
    meter: &'a Meter<'a>,
}

impl NamedCaller<'_> {
    fn reach<'p>(&self, patterns: impl Iterator<Item = &'p PrincipalPattern>) -> Option<Reach> {
        let reach = |pattern: &PrincipalPattern| {
            self.meter.charge(PRINCIPAL_STEPS).then(|| pattern.reaches(self.principal, self.ids)).flatten()
        };
        patterns.filter_map(reach).max()
    }

    /// Returns whether a `Deny` applies to the caller. `NotPrincipal` exempts only a caller that is named directly:
    /// naming its account or its role is not enough. A caller with a permissions boundary is never exempt ("Permissions
    /// boundaries for IAM entities").
    fn is_denied(&self, statement: &Statement, bounded: bool) -> bool {
        let Some(principals) = &statement.principals else { return false };
        let reach = self.reach(principals.items.iter());
        if principals.negated { bounded || reach < Some(Reach::User) } else { reach.is_some() }
    }

    /// Returns how directly an `Allow` names the caller. A federated user must be named: `*` does not include users of
    /// identity providers.
    fn granted_reach(&self, statement: &Statement) -> Option<Reach> {
        let principals = statement.principals.as_ref().filter(|principals| !principals.negated)?;
        let is_federated = matches!(self.principal, Principal::Federated(_));
        let patterns = principals.items.iter();
        self.reach(patterns.filter(|pattern| !is_federated || **pattern != PrincipalPattern::Everybody))
    }
}
