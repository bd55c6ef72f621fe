//! Tests that caches are never stale: an acknowledged change of policies or settings applies to the very next request.

use super::permissions::{Client, call};
use super::start;
use crate::actors::request::test_world::World;
use serde_json::{Value, json};

const READ: &str = "s3:GetObject";

fn statement(effect: &str, action: &str, resource: &str) -> Value {
    json!({"Effect": effect, "Action": action, "Resource": resource})
}

/// Returns a bucket policy with one statement, for all principals.
fn policy(effect: &str, resource: &str) -> Vec<u8> {
    let mut statement = statement(effect, READ, resource);
    statement["Principal"] = json!("*");
    json!({"Version": "2012-10-17", "Statement": [statement]}).to_string().into_bytes()
}

async fn make(root: &Client<'_>, bucket: &str) {
    root.done("PUT", &format!("/{bucket}"), &[], b"").await;
    root.done("PUT", &format!("/{bucket}/k"), &[], b"x").await;
}

#[actix::test]
async fn a_changed_bucket_policy_applies_to_the_next_request() {
    let world = World::new(2, 2);
    let api = start(&world);
    let (root, nobody) = (Client::root(&api), Client::nobody(&api));
    make(&root, "box").await;
    make(&root, "other").await;
    let alice = Client::user(&api, "alice", json!([statement("Allow", READ, "*")])).await;
    let statuses = async || {
        let mut found = [0; 4];
        for _ in 0..2 {
            let asked = [(&alice, "/box/k"), (&nobody, "/box/k"), (&alice, "/other/k"), (&nobody, "/other/k")];
            for (status, (client, target)) in found.iter_mut().zip(asked) {
                *status = client.status("HEAD", target, &[], b"").await;
            }
        }
        found
    };
    assert_eq!(statuses().await, [200, 403, 200, 403]);
    for _ in 0..2 {
        root.done("PUT", "/box?policy", &[], &policy("Allow", "arn:aws:s3:::box/*")).await;
        assert_eq!(statuses().await, [200, 200, 200, 403]);
        root.done("PUT", "/box?policy", &[], &policy("Deny", "arn:aws:s3:::box/*")).await;
        assert_eq!(statuses().await, [403, 403, 200, 403]);
        root.done("DELETE", "/box?policy", &[], b"").await;
        assert_eq!(statuses().await, [200, 403, 200, 403]);
    }
    root.done("PUT", "/box?policy", &[], &policy("Allow", "arn:aws:s3:::box/*")).await;
    assert_eq!(statuses().await, [200, 200, 200, 403]);
    root.done("DELETE", "/box/k", &[], b"").await;
    root.done("DELETE", "/box", &[], b"").await;
    assert_eq!(statuses().await, [404, 404, 200, 403]);
    make(&root, "box").await;
    assert_eq!(statuses().await, [200, 403, 200, 403], "a new bucket with the same name");
    api.stop().await;
}

#[actix::test]
async fn changed_user_permissions_apply_to_the_next_request() {
    let world = World::new(2, 2);
    let api = start(&world);
    let root = Client::root(&api);
    make(&root, "box").await;
    let all = json!([statement("Allow", READ, "*")]);
    let (alice, bob) = (Client::user(&api, "alice", all.clone()).await, Client::user(&api, "bob", all.clone()).await);
    let statuses = async || {
        let mut found = [0; 2];
        for _ in 0..2 {
            found = [alice.status("HEAD", "/box/k", &[], b"").await, bob.status("HEAD", "/box/k", &[], b"").await];
        }
        found
    };
    assert_eq!(statuses().await, [200, 200]);
    for _ in 0..2 {
        alice.allow("alice", json!([statement("Allow", READ, "arn:aws:s3:::box/other")])).await;
        assert_eq!(statuses().await, [403, 200]);
        alice.allow("alice", all.clone()).await;
        assert_eq!(statuses().await, [200, 200]);
    }
    let group = json!({"GroupName": "denied", "PolicyName": "p", "UserName": "alice"});
    let denied = json!({"Version": "2012-10-17", "Statement": [statement("Deny", READ, "*")]}).to_string();
    call(&api, "CreateGroup", json!({"GroupName": "denied"})).await;
    call(&api, "PutGroupPolicy", json!({"GroupName": "denied", "PolicyName": "p", "PolicyDocument": denied})).await;
    assert_eq!(statuses().await, [200, 200]);
    call(&api, "AddUserToGroup", json!({"GroupName": "denied", "UserName": "alice"})).await;
    assert_eq!(statuses().await, [403, 200]);
    call(&api, "DeleteGroupPolicy", json!({"GroupName": group["GroupName"], "PolicyName": "p"})).await;
    assert_eq!(statuses().await, [200, 200]);
    let key = alice.keys.as_ref().expect("a key").0.clone();
    for (status, head) in [("Inactive", 403), ("Active", 200)] {
        let change = json!({"UserName": "alice", "AccessKeyId": key, "Status": status});
        call(&api, "UpdateAccessKey", change).await;
        assert_eq!(statuses().await, [head, 200], "{status}");
    }
    call(&api, "DeleteAccessKey", json!({"UserName": "alice", "AccessKeyId": key})).await;
    assert_eq!(statuses().await, [403, 200]);
    api.stop().await;
}

#[actix::test]
async fn changed_lifecycle_and_cors_rules_apply_to_the_next_response() {
    let world = World::new(2, 2);
    let api = start(&world);
    let root = Client::root(&api);
    make(&root, "box").await;
    make(&root, "other").await;
    let origin = [("origin", "https://a.test")];
    let shown = async || {
        let mut found = (None, None, None);
        for _ in 0..2 {
            let head = root.done("HEAD", "/box/k", &origin, b"").await;
            let text = |name: &str| head.header(name).map(str::to_owned);
            let other = root.done("HEAD", "/other/k", &origin, b"").await;
            let of_other = other.header("x-amz-expiration").or(other.header("access-control-allow-origin"));
            found = (
                text("x-amz-expiration").map(|text| text.contains("rule-id=\"b\"")),
                text("access-control-allow-origin"),
                of_other.map(str::to_owned),
            );
        }
        found
    };
    assert_eq!(shown().await, (None, None, None));
    let rule = |id: &str| {
        format!(
            "<LifecycleConfiguration><Rule><ID>{id}</ID><Status>Enabled</Status><Filter><Prefix></Prefix></Filter>\
             <Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>"
        )
    };
    for (id, is_b) in [("a", false), ("b", true)] {
        let body = rule(id).into_bytes();
        root.done("PUT", "/box?lifecycle", &[("content-md5", &super::permissions::md5(&body))], &body).await;
        assert_eq!(shown().await, (Some(is_b), None, None), "{id}");
    }
    root.done("DELETE", "/box?lifecycle", &[], b"").await;
    assert_eq!(shown().await, (None, None, None));
    for allowed in ["https://a.test", "*"] {
        let body = format!(
            "<CORSConfiguration><CORSRule><AllowedMethod>HEAD</AllowedMethod><AllowedOrigin>{allowed}</AllowedOrigin>\
             </CORSRule></CORSConfiguration>"
        );
        let body = body.as_bytes();
        root.done("PUT", "/box?cors", &[("content-md5", &super::permissions::md5(body))], body).await;
        assert_eq!(shown().await, (None, Some(allowed.to_owned()), None));
    }
    root.done("DELETE", "/box?cors", &[], b"").await;
    assert_eq!(shown().await, (None, None, None));
    api.stop().await;
}
