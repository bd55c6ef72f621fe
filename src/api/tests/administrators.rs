//! Tests of which callers may use which routes of the admin API.

use super::audit::sign;
use super::permissions::{Client, call};
use super::{Answer, LOCALHOST, ask, connect, options, s3_of, start_with};
use crate::actors::request::test_world::World;
use crate::api::admin_routes::Route;
use crate::api::{AccountsFile, ApiHandle, ApiOptions};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

const OTHER: (&str, &str) = ("otherkey", "othersecret");

/// Starts the listeners with a second account, whose root has a key.
async fn start(world: &World) -> ApiHandle {
    let (id, (access_key, secret_key)) = ("444455556666", OTHER);
    let key = json!({"access_key": access_key, "secret_key": secret_key});
    let file = json!({"accounts": [{"id": id, "name": "other", "keys": [key]}]}).to_string();
    let accounts = Some(Arc::new(AccountsFile::parse(&file).expect("a good file")));
    let api = start_with(world, Some(LOCALHOST.parse().expect("an address")), ApiOptions { accounts, ..options() });
    let other = Keys { access_key: OTHER.0.to_owned(), secret_key: OTHER.1.to_owned(), token: None };
    let applied = async {
        while s3(&api, &other, "sts", "Action=GetCallerIdentity").await.status != 200 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), applied).await.expect("the accounts are made");
    api
}

#[derive(Clone)]
struct Keys {
    access_key: String,
    secret_key: String,
    token: Option<String>,
}

impl Keys {
    /// Creates a user with these permissions.
    async fn user(api: &ApiHandle, name: &str, statements: Value) -> Self {
        let (access_key, secret_key) = Client::user(api, name, statements).await.keys.expect("it has keys");
        Self { access_key, secret_key, token: None }
    }

    fn parts(&self) -> (&str, &str, Option<&str>) {
        (&self.access_key, &self.secret_key, self.token.as_deref())
    }
}

/// Calls IAM or STS at the S3 listener.
async fn s3(api: &ApiHandle, keys: &Keys, service: &'static str, body: &str) -> Answer {
    let request = sign(keys.parts(), service, s3_of(api), ("POST", "/"), body.as_bytes());
    ask(&mut connect(s3_of(api)).await, &request).await
}

async fn administer(api: &ApiHandle, keys: &Keys, (method, path): (&str, &str), body: &str) -> (u16, String) {
    let path = format!("/admin/v1{path}");
    let request = sign(keys.parts(), "sherd-admin", api.admin_address, (method, &path), body.as_bytes());
    let answer = ask(&mut connect(api.admin_address).await, &request).await;
    (answer.status, String::from_utf8_lossy(&answer.body).into_owned())
}

/// Returns the routes that do not refuse these keys with 403. Bodies are empty, so an allowed call may still fail for
/// that.
async fn allowed(api: &ApiHandle, keys: &Keys) -> BTreeSet<&'static str> {
    let mut allowed = BTreeSet::new();
    for route in Route::ALL {
        let path = route.path().replace("{bucket}", "box");
        let (status, text) = administer(api, keys, (route.method(), &path), "").await;
        assert!(status != 403 || text.contains("AccessDenied"), "{text}");
        if status != 403 {
            allowed.insert(route.name());
        }
    }
    allowed
}

fn statement(effect: &str, action: Value) -> Value {
    json!({"Effect": effect, "Action": action, "Resource": "*"})
}

fn named(prefix: &[&str]) -> BTreeSet<&'static str> {
    let names = Route::ALL.iter().map(|route| route.name());
    names.filter(|name| prefix.iter().any(|prefix| name.starts_with(prefix))).collect()
}

#[actix::test]
async fn a_caller_without_a_grant_is_refused_every_admin_route_and_learns_of_none() {
    let world = World::new(2, 2);
    let api = start(&world).await;
    let may = json!([statement("Allow", json!(["s3:*", "iam:*", "sts:*", "kms:*"]))]);
    let alice = Keys::user(&api, "alice", may).await;
    let other = Keys { access_key: OTHER.0.to_owned(), secret_key: OTHER.1.to_owned(), token: None };
    for keys in [&alice, &other] {
        assert_eq!(allowed(&api, keys).await, BTreeSet::new(), "{}", keys.access_key);
        for unknown in [("GET", "/nothing"), ("PUT", "/layout")] {
            assert_eq!(administer(&api, keys, unknown, "").await.0, 403, "{unknown:?}");
        }
    }
    let power = json!([{"Effect": "Allow", "NotAction": ["iam:*", "admin:*"], "Resource": "*"}]);
    let bob = Keys::user(&api, "bob", power).await;
    assert_eq!(allowed(&api, &bob).await, BTreeSet::new());
    let wrong = Keys { secret_key: "wrong".to_owned(), ..alice };
    let (status, text) = administer(&api, &wrong, ("GET", "/layout"), "").await;
    assert!(status == 403 && text.contains("SignatureDoesNotMatch"), "{text}");
    api.stop().await;
}

#[actix::test]
async fn admin_grants_allow_exactly_their_actions_and_denials_win() {
    let world = World::new(2, 2);
    let api = start(&world).await;
    let reads = statement("Allow", json!(["admin:Get*", "admin:List*"]));
    let watcher = Keys::user(&api, "watcher", json!([reads])).await;
    assert_eq!(allowed(&api, &watcher).await, named(&["Get", "List"]));
    let one = Keys::user(&api, "one", json!([statement("Allow", json!("admin:startheal"))])).await;
    assert_eq!(allowed(&api, &one).await, named(&["StartHeal"]));
    assert_eq!(administer(&api, &one, ("POST", "/heal"), "").await.0, 200);
    let all = statement("Allow", json!("*"));
    let denied = Keys::user(&api, "denied", json!([all, statement("Deny", json!("admin:Update*"))])).await;
    let mut expected = named(&[""]);
    expected.remove("UpdateLayout");
    assert_eq!(allowed(&api, &denied).await, expected);
    let nowhere = json!({"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}});
    let elsewhere = json!([{"Effect": "Allow", "Action": "admin:*", "Resource": "*", "Condition": nowhere}]);
    let far = Keys::user(&api, "far", elsewhere).await;
    assert_eq!(allowed(&api, &far).await, BTreeSet::new(), "from another address");
    api.stop().await;
}

fn element<'a>(text: &'a str, name: &str) -> &'a str {
    let (_, rest) = text.split_once(&format!("<{name}>")).expect("the element");
    rest.split_once("</").expect("its end").0
}

/// Returns the keys in a response of STS.
fn session(answer: &Answer) -> Keys {
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert_eq!(answer.status, 200, "{text}");
    let [access_key, secret_key, token] =
        ["AccessKeyId", "SecretAccessKey", "SessionToken"].map(|name| element(&text, name).to_owned());
    Keys { access_key, secret_key, token: Some(token) }
}

#[actix::test]
async fn a_session_has_the_admin_rights_of_its_user_or_role() {
    let world = World::new(2, 2);
    let api = start(&world).await;
    let may = json!([statement("Allow", json!(["admin:Get*", "sts:*"]))]);
    let alice = Keys::user(&api, "alice", may).await;
    let whole = session(&s3(&api, &alice, "sts", "Action=GetSessionToken").await);
    assert_eq!(allowed(&api, &whole).await, named(&["Get"]));
    let stolen = Keys { token: None, ..whole.clone() };
    assert_eq!(administer(&api, &stolen, ("GET", "/layout"), "").await.0, 403, "a session without its token");
    let policy = "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%7B%22Effect%22%3A%22Allow%22%2C%22Action\
                  %22%3A%22admin%3A%2A%22%2C%22Resource%22%3A%22%2A%22%7D%5D%7D";
    let body = format!("Action=GetFederationToken&Name=guest&Policy={policy}");
    let guest = session(&s3(&api, &alice, "sts", &body).await);
    assert_eq!(allowed(&api, &guest).await, named(&["Get"]), "not more than the user that asked for the token");
    let trust = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "arn:aws:iam::000000000000:root"}}]});
    call(&api, "CreateRole", json!({"RoleName": "healer", "AssumeRolePolicyDocument": trust.to_string()})).await;
    let document =
        json!({"Version": "2012-10-17", "Statement": [statement("Allow", json!("admin:Start*"))]}).to_string();
    call(&api, "PutRolePolicy", json!({"RoleName": "healer", "PolicyName": "p", "PolicyDocument": document})).await;
    let role = "Action=AssumeRole&RoleArn=arn%3Aaws%3Aiam%3A%3A000000000000%3Arole%2Fhealer&RoleSessionName=night";
    let healer = session(&s3(&api, &alice, "sts", role).await);
    assert_eq!(allowed(&api, &healer).await, named(&["Start"]));
    api.stop().await;
}

/// A caller that may create users could make itself an administrator, so `CallIam` needs the same rights as IAM itself.
#[actix::test]
async fn calling_iam_through_the_admin_api_gains_no_rights() {
    let world = World::new(2, 2);
    let api = start(&world).await;
    let alice = Keys::user(&api, "alice", json!([statement("Allow", json!("admin:*"))])).await;
    let iam = async |keys: &Keys, body: &str| administer(&api, keys, ("POST", "/iam"), body).await;
    let grant = r#"{"action":"AttachUserPolicy","parameters":{"UserName":"alice","PolicyArn":"arn:aws:iam::aws:policy/AdministratorAccess"}}"#;
    let create = r#"{"action":"CreateUser","parameters":{"UserName":"mallory"}}"#;
    let elsewhere = r#"{"action":"ListUsers","account":"444455556666"}"#;
    for body in [grant, create, elsewhere] {
        let (status, text) = iam(&alice, body).await;
        assert!(status == 403 && text.contains("AccessDenied"), "{body}: {text}");
    }
    let bob = Keys::user(&api, "bob", json!([statement("Allow", json!(["admin:CallIam", "iam:CreateUser"]))])).await;
    assert_eq!(iam(&bob, create).await.0, 200);
    assert_eq!(iam(&bob, grant).await.0, 403);
    let (status, text) = iam(&bob, r#"{"action":"GetUser","parameters":{}}"#).await;
    assert!(status == 403 && text.contains("user/bob"), "he calls as himself: {text}");
    api.stop().await;
}

#[actix::test]
async fn conditions_on_the_request_hold_for_iam_through_the_admin_api() {
    let world = World::new(2, 2);
    let api = start(&world).await;
    for (name, address, status) in [("alice", "127.0.0.1", 200), ("bob", "192.0.2.1", 403)] {
        let condition = json!({"IpAddress": {"aws:SourceIp": address}});
        let iam = json!({"Effect": "Allow", "Action": "iam:*", "Resource": "*", "Condition": condition});
        let keys = Keys::user(&api, name, json!([statement("Allow", json!("admin:CallIam")), iam])).await;
        let (found, text) = administer(&api, &keys, ("POST", "/iam"), r#"{"action":"ListUsers"}"#).await;
        assert_eq!(found, status, "{name}: {text}");
    }
    api.stop().await;
}

#[actix::test]
async fn an_unknown_admin_action_is_refused_in_policies_and_in_explain_requests() {
    let world = World::new(2, 2);
    let api = start(&world).await;
    let root = Keys { access_key: "key".to_owned(), secret_key: "secret".to_owned(), token: None };
    Keys::user(&api, "alice", json!([statement("Allow", json!("admin:Get*"))])).await;
    let document =
        json!({"Version": "2012-10-17", "Statement": [statement("Allow", json!("admin:Gotten*"))]}).to_string();
    let body = json!({"action": "PutUserPolicy",
        "parameters": {"UserName": "alice", "PolicyName": "q", "PolicyDocument": document}});
    let (status, text) = administer(&api, &root, ("POST", "/iam"), &body.to_string()).await;
    assert!(status == 400 && text.contains("MalformedPolicyDocument"), "{text}");
    let explain = async |action: &str, resource: &str| {
        let question = json!({"who": {"user": {"name": "alice"}}, "action": action, "resource": resource});
        administer(&api, &root, ("POST", "/access/explain"), &question.to_string()).await
    };
    let (status, text) = explain("admin:getinfo", "*").await;
    assert!(status == 200 && text.contains(r#""allowed":true"#) && text.contains(r#""admin:GetInfo""#), "{text}");
    let (status, text) = explain("admin:StartHeal", "*").await;
    assert!(status == 200 && text.contains(r#""allowed":false"#), "{text}");
    for (action, resource) in [("admin:Fly", "*"), ("admin:GetInfo", "arn:aws:s3:::b")] {
        let (status, text) = explain(action, resource).await;
        assert!(status == 400 && text.contains("InvalidRequest"), "{action}: {text}");
    }
    api.stop().await;
}
