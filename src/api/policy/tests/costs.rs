//! Tests of the cost of decisions in steps: the worst that policies of the largest legal sizes and requests can cause.

use super::world::{parse, principal, without_ids};
use crate::api::policy::{
    Account, Bucket, Budget, Context, Decision, Identity, Object, Ownership, Policy, PolicyKind, PolicyRef, Prepared,
    Principal, PublicAccessBlock, Question, Reason, Target, evaluate,
};
use crate::limits::{CONDITION_VALUE_BYTES_MAX, CONDITION_VALUES_MAX, DECISION_STEPS_MAX, REQUEST_STEPS_MAX};
use serde_json::{Value, json};

/// The bytes for patterns in one bucket policy; the rest is for the statement around them.
const ROOM: usize = 20_000;
const KEY_BYTES_MAX: usize = 1_024;
/// The most steps of an ordinary decision.
const PLAIN_STEPS_MAX: u64 = 200_000;

/// A bucket with a policy, which alone can allow anything.
struct World {
    owner: Account,
    policy: Policy,
}

impl World {
    fn of(statements: Value) -> Self {
        let owner = Account { id: "999988887777".to_owned(), canonical_id: "owner".to_owned() };
        Self { owner, policy: parse(PolicyKind::Bucket("photos"), &statements) }
    }

    fn target(&self) -> Target<'_> {
        Target::Bucket(Bucket {
            owner: &self.owner,
            policy: Some(without_ids(&self.policy)),
            policy_binds_root: false,
            acl: None,
            ownership: Ownership::BucketOwnerEnforced,
            block: PublicAccessBlock::default(),
            object: None,
        })
    }

    fn question<'a>(&'a self, principal: &'a Principal, resource: &'a str, context: &'a Context) -> Question<'a> {
        let (identity, target) = (Identity::default(), self.target());
        Question { principal, identity, action: "s3:DeleteObject", resource, target, context }
    }

    /// Returns the decision for an anonymous caller on this key, and the steps it took.
    fn ask(&self, key: &str, context: &Context) -> (Decision, u64) {
        let (budget, resource) = (Budget::default(), format!("arn:aws:s3:::photos/{key}"));
        let decision = evaluate(self.question(&Principal::Anonymous, &resource, context), &budget);
        (decision, budget.spent())
    }
}

fn allow(resource: &Value, condition: &Value) -> Value {
    json!({"Effect": "Allow", "Principal": "*", "Action": "s3:DeleteObject", "Resource": resource, "Condition": condition})
}

/// Returns a statement for GetObject, the action to which conditions on the tags of an object apply.
fn reads(condition: &Value) -> Value {
    json!({"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::photos/*",
        "Condition": condition})
}

fn with_agent(agent: String) -> Context {
    Context::from_iter([("aws:UserAgent", agent)])
}

/// Returns as many copies of the pattern as fit into a bucket policy.
fn as_many(pattern: &str) -> Vec<String> {
    (0..ROOM / (pattern.len() + 3)).map(|_| pattern.to_owned()).collect()
}

#[test]
fn the_worst_resource_patterns_of_a_bucket_policy_take_few_steps() {
    let key = "a".repeat(KEY_BYTES_MAX);
    let arn = "arn:aws:s3:::photos/";
    let worst = [
        format!("{arn}{}b", "a*".repeat(9_900)),
        format!("{arn}*{}b*", "a".repeat(500)),
        format!("{arn}*?{}b*", "a".repeat(500)),
        format!("{arn}{}b", "*a?".repeat(300)),
    ];
    for resource in worst {
        let world = World::of(json!([allow(&json!(as_many(&resource)), &json!({}))]));
        let (decision, steps) = world.ask(&key, &Context::default());
        assert!(!decision.allowed && decision.reason != Reason::TooCostly, "{decision}");
        assert!(steps <= DECISION_STEPS_MAX / 4, "{steps} steps for {}...", &resource[..40]);
    }
}

#[test]
fn the_longest_condition_values_are_compared_within_the_budget_or_denied() {
    let context = with_agent("a".repeat(CONDITION_VALUE_BYTES_MAX));
    let worst = ["*ab*", "*a?b*", "*a*a*a*b", "*?*?*?*?b", "${aws:UserAgent}b", "*${aws:UserAgent}*"];
    for (operator, pattern) in ["StringLike", "StringNotLike", "StringEqualsIgnoreCase", "ArnLike"]
        .into_iter()
        .flat_map(|operator| worst.map(|pattern| (operator, pattern)))
    {
        let condition = json!({operator: {"aws:UserAgent": as_many(pattern)}});
        let denies = json!({"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::photos/*",
            "Condition": condition});
        let world = World::of(json!([allow(&json!("arn:aws:s3:::photos/*"), &json!({})), denies]));
        let (decision, steps) = world.ask("k", &context);
        assert!(steps <= DECISION_STEPS_MAX + PLAIN_STEPS_MAX, "{operator} {pattern}: {steps} steps");
        // A comparison that was not finished allows nobody.
        let is_compared = steps < DECISION_STEPS_MAX;
        assert!(is_compared || decision.reason == Reason::TooCostly, "{operator} {pattern}: {decision}");
    }
}

#[test]
fn a_deny_statement_that_is_too_costly_to_evaluate_denies() {
    let condition = json!({"StringLike": {"aws:UserAgent": as_many("*ab*")}});
    let denies = json!({"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::photos/*",
        "Condition": condition});
    let world = World::of(json!([denies, allow(&json!("arn:aws:s3:::photos/*"), &json!({}))]));
    assert!(world.ask("k", &with_agent("short".to_owned())).0.allowed);
    let (decision, steps) = world.ask("k", &with_agent("a".repeat(CONDITION_VALUE_BYTES_MAX)));
    assert_eq!(decision.reason, Reason::TooCostly);
    assert!(steps >= DECISION_STEPS_MAX, "{steps} steps");
}

#[test]
fn a_request_with_too_many_or_too_long_condition_values_is_denied() {
    let world = World::of(json!([allow(&json!("arn:aws:s3:::photos/*"), &json!({}))]));
    assert!(world.ask("k", &with_agent("a".repeat(CONDITION_VALUE_BYTES_MAX))).0.allowed);
    let long = with_agent("a".repeat(CONDITION_VALUE_BYTES_MAX + 1));
    assert_eq!(world.ask("k", &long).0.reason, Reason::TooCostly);
    let many = Context::from_iter((0..=CONDITION_VALUES_MAX).map(|_| ("s3:RequestObjectTagKeys", "a")));
    assert_eq!(world.ask("k", &many).0.reason, Reason::TooCostly);
}

#[test]
fn conditions_common_to_a_thousand_objects_are_evaluated_once() {
    let common = json!({"StringLike": {"aws:UserAgent": as_many("*ab*")[..500]}});
    let world = World::of(json!([allow(&json!("arn:aws:s3:::photos/*"), &common)]));
    let (budget, context) = (Budget::default(), with_agent(format!("{}b", "a".repeat(8_000))));
    let prepared = Prepared::of(world.question(&Principal::Anonymous, "", &context), &budget);
    let may = |key: &str| prepared.decide_on(&format!("arn:aws:s3:::photos/{key}"), None, &Context::default()).allowed;
    assert!(may("0"));
    let first = budget.spent();
    assert!((1..1_000).all(|number| may(&number.to_string())));
    assert!(budget.spent() - first <= 1_000 * 200, "{} steps", budget.spent() - first);
}

#[test]
fn conditions_on_an_object_are_evaluated_for_each_object() {
    let tagged = json!({"StringEquals": {"s3:ExistingObjectTag/team": "${s3:VersionId}"}});
    let world = World::of(json!([reads(&tagged)]));
    let (budget, context) = (Budget::default(), Context::from_iter([("s3:VersionId", "red")]));
    let question = Question { action: "s3:GetObject", ..world.question(&Principal::Anonymous, "", &context) };
    let prepared = Prepared::of(question, &budget);
    let object = Object { owner: "", acl: None };
    let may = |tag: &str, version: Option<&str>| {
        let mut object_keys = Context::from_iter([("s3:ExistingObjectTag/team", tag)]);
        object_keys.set("s3:VersionId", version.map(str::to_owned));
        prepared.decide_on("arn:aws:s3:::photos/k", Some(object), &object_keys).allowed
    };
    assert!(may("blue", Some("blue")) && !may("red", Some("blue")) && may("red", Some("red")));
    // A key that one object lacks is not taken from the request.
    assert!(!may("red", None));
}

#[test]
fn all_objects_of_one_request_share_a_budget() {
    let costly = json!({"StringLike": {"s3:ExistingObjectTag/a": as_many("*a?b*")}});
    let world = World::of(json!([reads(&costly)]));
    let (budget, context) = (Budget::of(2 * DECISION_STEPS_MAX), Context::default());
    let question = Question { action: "s3:GetObject", ..world.question(&Principal::Anonymous, "", &context) };
    let prepared = Prepared::of(question, &budget);
    let object_keys = Context::from_iter([("s3:ExistingObjectTag/a", "a".repeat(256))]);
    let decide = || prepared.decide_on("arn:aws:s3:::photos/k", None, &object_keys).reason;
    assert_ne!(decide(), Reason::TooCostly);
    let refused_after = (0..100).take_while(|_| decide() != Reason::TooCostly).count();
    assert!(refused_after < 100 && budget.left() == 0, "{refused_after} decisions, {} steps left", budget.left());
}

/// Statements that apply to every object, with conditions of many wildcards that are the same for all objects.
#[test]
fn a_thousand_objects_cost_no_walk_over_the_operands_of_common_conditions() {
    // The long operand comes first: it is passed over for every object until a condition on the object fails.
    let condition = json!({"StringNotLike": {"aws:PrincipalTag/x": "?a".repeat(2_900), "s3:VersionId": "1"}});
    let denies = json!([{"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": condition}]);
    let allows = json!([{"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::photos/*"}]);
    let (denies, allows) = (parse(PolicyKind::Identity, &denies), parse(PolicyKind::Identity, &allows));
    let groups = vec![PolicyRef { name: "denies", policy: &denies }; 200];
    let own = vec![PolicyRef { name: "allows", policy: &allows }];
    let identity = Identity { own, groups, ..Identity::default() };
    let (asking, budget, context) = (principal("alice"), Budget::default(), Context::default());
    let (action, resource, target) = ("s3:DeleteObject", "arn:aws:s3:::photos/k", Target::Account);
    let question = Question { principal: &asking, identity, action, resource, target, context: &context };
    let prepared = Prepared::of(question, &budget);
    let object_keys = Context::from_iter([("s3:VersionId", "1")]);
    let prepared_with = budget.spent();
    let began = cpu_ns();
    assert!((0..1_000).all(|_| prepared.decide_on(resource, None, &object_keys).allowed));
    let taken_ms = (cpu_ns() - began) / 1_000_000;
    assert!(taken_ms < 2_000, "{taken_ms} ms for 200,000 conditions");
    // Each statement is passed over, its conditions are looked at, and one of them is compared.
    let spent = budget.spent() - prepared_with;
    assert!((1_000 * 200 * 18..=1_000 * 200 * 40).contains(&spent), "{spent} steps");
}

/// A user with ten managed policies, in ten groups with ten managed policies each.
#[test]
fn the_largest_policies_of_a_user_are_evaluated_within_the_budget() {
    let statements: Vec<_> = (0..35)
        .map(|number| {
            json!({"Effect": "Allow", "Action": ["s3:Get*", "s3:PutObject", "s3:DeleteObject"],
                "Resource": [format!("arn:aws:s3:::bucket-{number}/*"), format!("arn:aws:s3:::bucket-{number}")]})
        })
        .collect();
    let managed = parse(PolicyKind::Identity, &json!(statements));
    let own = parse(
        PolicyKind::Identity,
        &json!([{"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::photos/*"}]),
    );
    let repeated = |count| vec![PolicyRef { name: "managed", policy: &managed }; count];
    let groups = [repeated(110), vec![PolicyRef { name: "last", policy: &own }]].concat();
    let identity = Identity { own: repeated(10), groups, ..Identity::default() };
    let (asking, budget, context) = (principal("alice"), Budget::default(), Context::default());
    let resource = format!("arn:aws:s3:::photos/{}", "k".repeat(KEY_BYTES_MAX));
    let (action, target) = ("s3:DeleteObject", Target::Account);
    let question = Question { principal: &asking, identity, action, resource: &resource, target, context: &context };
    let prepared = Prepared::of(question, &budget);
    assert!(prepared.decide().allowed && budget.spent() <= 10 * PLAIN_STEPS_MAX, "{} steps", budget.spent());
    // A thousand such decisions are within the budget of a request.
    let before = budget.spent();
    assert!(prepared.decide_on(&resource, None, &Context::default()).allowed);
    assert!((budget.spent() - before) * 1_000 <= REQUEST_STEPS_MAX, "{} steps", budget.spent() - before);
}

/// Returns the CPU time of this thread.
fn cpu_ns() -> u64 {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux has this file");
    schedstat.split(' ').next().and_then(|ns| ns.parse().ok()).expect("a number")
}

/// Prints figures: `cargo test --release --lib the_processor_time_of_decisions -- --ignored --nocapture`.
#[test]
#[ignore = "it measures and checks nothing"]
fn the_processor_time_of_decisions() {
    let context = with_agent("a".repeat(CONDITION_VALUE_BYTES_MAX));
    for pattern in ["*ab*", "*a?b*", "*a*a*a*b", "*?*?*?*?b", "*${aws:UserAgent}*"] {
        let world = World::of(json!([allow(
            &json!("arn:aws:s3:::photos/*"),
            &json!({"StringLike": {"aws:UserAgent": as_many(pattern)}})
        )]));
        let began = cpu_ns();
        let (decision, steps) = world.ask("k", &context);
        println!("{pattern}: {steps} steps, {} us: {decision}", (cpu_ns() - began) / 1000);
    }
}
