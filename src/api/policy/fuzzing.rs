//! Fuzz targets of policies: parsing and matching of arbitrary texts, and decisions compared with the reference
//! evaluator of the tests.

use super::context::Facts;
use super::document::Statement;
use super::tests::reference::allowed;
use super::tests::world::principal;
use super::tests::{picked, spelled};
use super::{Budget, Context, Identity, Policy, PolicyKind, PolicyRef, Principal, Question, Target, evaluate};

const KINDS: [PolicyKind<'_>; 4] =
    [PolicyKind::Identity, PolicyKind::Session, PolicyKind::Bucket("photos"), PolicyKind::Trust];
const ACTIONS: [&str; 3] = ["s3:getobject", "s3:listbucket", "sts:assumerole"];
const RESOURCES: [&str; 3] = ["arn:aws:s3:::photos/a", "arn:aws:s3:::photos", "arn:aws:iam::111122223333:role/a"];

/// Fuzzes a policy. The input is its text and, after an empty line, condition keys with values (`key=value`). Parsing
/// the text again gives the same policy, and no request is covered both by a statement and by the statement with
/// `Action` and `NotAction` exchanged.
pub fn policies(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (text, keys) = text.split_once("\n\n").unwrap_or((&text, ""));
    let context: Context = keys.lines().filter_map(|line| line.split_once('=')).collect();
    for kind in KINDS {
        let Ok(policy) = Policy::parse(kind, text) else { continue };
        assert_eq!(Policy::parse(kind, policy.text()).as_ref(), Ok(&policy));
        let _ = (policy.is_public(), policy.principals().count());
        for (action, resource) in ACTIONS.iter().zip(RESOURCES) {
            for statement in policy.statements() {
                let mut excepting = statement.clone();
                excepting.actions.negated = !excepting.actions.negated;
                let is_covered = covers(statement, action, resource, &context);
                assert!(!(is_covered && covers(&excepting, action, resource, &context)));
            }
            ask(&policy, action, resource, &context);
        }
    }
}

/// Returns whether the statement covers the request, within the budget.
fn covers(statement: &Statement, action: &str, resource: &str, context: &Context) -> bool {
    let covers = |facts: &Facts<'_>| statement.covers(action, resource, facts) && !facts.meter.is_exhausted();
    Facts::alone(context, covers)
}

/// Checks that an identity policy, if it is the only policy, allows nothing that none of its statements covers.
fn ask(policy: &Policy, action: &str, resource: &str, context: &Context) {
    let identity = Identity { own: vec![PolicyRef { name: "own", policy }], ..Identity::default() };
    for name in ["alice", "session", "anonymous"] {
        let asking: Principal = principal(name);
        let (identity, target) = (identity.clone(), Target::Account);
        let question = Question { principal: &asking, identity, action, resource, target, context };
        let decision = evaluate(question, &Budget::default());
        let covered = policy.statements().iter().any(|statement| covers(statement, action, resource, context));
        assert!(covered || !decision.allowed, "{decision}");
        let _ = decision.to_string();
    }
}

/// Fuzzes decisions. Each byte picks a part of policies, bucket and caller from a small alphabet; both evaluators must
/// decide the same.
pub fn decisions(data: &[u8]) {
    let (name, plain) = picked::question(data);
    let decision = spelled::asked(&name, &plain).decide();
    assert_eq!(decision.allowed, allowed(&plain), "{decision}: {plain:#?}");
}
