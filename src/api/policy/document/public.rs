//! Whether a bucket's policy is public (S3 User Guide, "Blocking public access to your Amazon S3 storage", "The meaning
//! of public"). A policy is not public if every `Allow` is for fixed principals, or has a condition that only fixed
//! values meet.

use super::{Effect, Statement};
use crate::api::policy::condition::{Condition, Operand, Qualifier, Test};
use crate::api::policy::principal::PrincipalPattern;

/// Condition keys whose fixed values identify a particular account, principal or network.
const FIXING_KEYS: [&str; 12] = [
    "aws:principalaccount",
    "aws:principalarn",
    "aws:principalorgid",
    "aws:sourceaccount",
    "aws:sourcearn",
    "aws:sourceowner",
    "aws:sourcevpc",
    "aws:sourcevpce",
    "aws:userid",
    "s3:dataaccesspointaccount",
    "s3:dataaccesspointarn",
    "s3:x-amz-server-side-encryption-aws-kms-key-id",
];
/// The segment of an access point's ARN with the account's id, and the start of the last segment.
const ACCOUNT_SEGMENT: usize = 4;
const ACCESS_POINT: &str = "accesspoint/";
/// The prefix of role ids. In `aws:userid` the name of the session follows after a colon.
const ROLE_ID: &str = "AROA";

pub fn allows_anybody(statements: &[Statement]) -> bool {
    statements.iter().any(|statement| statement.effect == Effect::Allow && is_for_anybody(statement))
}

fn is_for_anybody(statement: &Statement) -> bool {
    let Some(principals) = &statement.principals else { return false };
    let fixed = !principals.negated && !principals.items.contains(&PrincipalPattern::Everybody);
    !fixed && !statement.conditions.iter().any(is_fixing)
}

/// Returns whether only requests with certain values of the key meet the condition. A condition that a request without
/// the key meets does not count.
fn is_fixing(condition: &Condition) -> bool {
    let operator = condition.operator();
    let met_without_value = operator.negated
        || operator.if_exists
        || operator.qualifier == Some(Qualifier::ForAllValues)
        || operator.test == Test::Null;
    let fixed = |operand: &Operand| is_fixed(condition.key(), operand);
    !met_without_value && !condition.operands().is_empty() && condition.operands().iter().all(fixed)
}

fn is_fixed(key: &str, operand: &Operand) -> bool {
    if key == "aws:sourceip" {
        return matches!(operand, Operand::Block(block) if block.is_fixed());
    }
    if !FIXING_KEYS.contains(&key) {
        return false;
    }
    match operand {
        Operand::Exactly(pattern) | Operand::IgnoringCase(pattern) => pattern.is_fixed(),
        Operand::Like(pattern) if pattern.is_fixed() => true,
        Operand::Like(pattern) if key == "aws:userid" => {
            let written = pattern.written().unwrap_or_default();
            let role = written.strip_suffix(":*").filter(|role| role.starts_with(ROLE_ID));
            role.is_some_and(|role| !role.contains(['*', '?']))
        }
        Operand::Arn(pattern) => {
            let access_point = pattern.segment(5).is_some_and(|last| last.starts_with(ACCESS_POINT));
            let in_account = access_point && pattern.is_fixed(&[ACCOUNT_SEGMENT]);
            pattern.all_fixed() || key == "s3:dataaccesspointarn" && in_account
        }
        _ => false,
    }
}
