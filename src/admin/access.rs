//! The command `sherd admin policy explain`: whether a principal may perform an action, and which rule decided it.

use super::client::Client;
use super::{AdminFailure, tell};
use crate::api::admin::{BucketJson, ExplainAccess, Explained, ExplainedCaller, ObjectJson};
use crate::config::{AccessQuestion, WhoAsked};
use std::fmt::Write as _;
use std::io::Write;

/// Asks and prints the decision; returns the exit code: 0 if the action is allowed, 1 if it is denied.
pub fn run(
    client: &Client,
    account: Option<&str>,
    asked: &AccessQuestion,
    json: bool,
    out: &mut impl Write,
) -> Result<u8, AdminFailure> {
    let who = match &asked.who {
        WhoAsked::User(name) => ExplainedCaller::User { account: account.map(str::to_owned), name: name.clone() },
        WhoAsked::Key(access_key) => ExplainedCaller::Key { access_key: access_key.clone() },
        WhoAsked::Anonymous => ExplainedCaller::Anonymous {},
    };
    let AccessQuestion { action, resource, conditions, .. } = asked.clone();
    let answer: Explained = client.post("/access/explain", &ExplainAccess { who, action, resource, conditions })?;
    tell(&answer, json, explained, out)?;
    Ok(u8::from(!answer.allowed))
}

fn explained(answer: &Explained) -> String {
    let verdict = if answer.allowed { "allowed" } else { "denied" };
    let (who, action, resource) = (&answer.who, &answer.action, &answer.resource);
    let mut text =
        format!("{verdict}: {}\n\nwho       {who}\naction    {action}\nresource  {resource}\n", answer.reason);
    if let Some(bucket) = &answer.bucket {
        let _ = write!(text, "{}", of_bucket(bucket));
    }
    if let Some(object) = &answer.object {
        let _ = write!(text, "{}", of_object(object));
    }
    text
}

fn of_bucket(bucket: &BucketJson) -> String {
    let policy = match (bucket.has_policy, bucket.policy_is_public) {
        (false, _) => "none",
        (true, false) => "yes",
        (true, true) => "yes, and it is public",
    };
    let block = bucket.public_access_block;
    let blocks: Vec<&str> = [
        (block.block_public_acls, "BlockPublicAcls"),
        (block.ignore_public_acls, "IgnorePublicAcls"),
        (block.block_public_policy, "BlockPublicPolicy"),
        (block.restrict_public_buckets, "RestrictPublicBuckets"),
    ]
    .into_iter()
    .filter_map(|(set, name)| set.then_some(name))
    .collect();
    let blocked = if blocks.is_empty() { "nothing".to_owned() } else { blocks.join(", ") };
    let acl = if bucket.has_acl { "yes" } else { "none but the owner's" };
    let (owner, ownership) = (&bucket.owner, bucket.ownership);
    format!(
        "bucket    of {owner}, {ownership:?}\n  policy  {policy}\n  acl     {acl}\n  public access block: {blocked}\n"
    )
}

fn of_object(object: &ObjectJson) -> String {
    let owner = if object.owner.is_empty() { "the bucket's owner" } else { &object.owner };
    let acl = if object.has_acl { "yes" } else { "none but the owner's" };
    let tags: Vec<String> = object.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let tags = if tags.is_empty() { "none".to_owned() } else { tags.join(", ") };
    format!("object    of {owner}\n  acl     {acl}\n  tags    {tags}\n")
}

#[cfg(test)]
mod tests {
    use super::explained;
    use crate::api::admin::Explained;

    #[test]
    fn policy_explain_shows_the_decision_and_its_subject() {
        let answer: Explained = serde_json::from_str(
            r#"{"allowed":false,"who":"anonymous","action":"s3:GetObject","resource":"arn:aws:s3:::b/k",
                "reason":"nothing allows it","statements":[],"object":null,
                "bucket":{"owner":"000000000000","ownership":"ObjectWriter","has_policy":true,"policy_is_public":true,
                    "has_acl":false,"public_access_block":{"block_public_acls":false,"ignore_public_acls":true,
                    "block_public_policy":false,"restrict_public_buckets":true}}}"#,
        )
        .expect("an answer");
        let text = explained(&answer);
        assert!(text.starts_with("denied: nothing allows it\n\nwho       anonymous\n"), "{text}");
        for line in [
            "bucket    of 000000000000, ObjectWriter",
            "  policy  yes, and it is public",
            "  public access block: IgnorePublicAcls, RestrictPublicBuckets",
        ] {
            assert!(text.lines().any(|found| found == line), "{text}");
        }
    }
}
