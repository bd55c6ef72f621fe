//! Tests of the audit log's lines for calls at the listeners.

use super::permissions::{Client, call};
use super::{LOCALHOST, administer, ask, connect, hex, options, plain, s3_of, start_with};
use crate::actors::audit::{AuditSender, AuditSink, Settled};
use crate::actors::request::test_world::World;
use crate::ambient::Ambient;
use crate::api::audit::AuditLog;
use crate::api::http::request_log::RequestRecord;
use crate::api::{ApiHandle, ApiOptions};
use crate::sigv4::{Signer, ToSign, stamp};
use actix_web::http::{Method, Uri};
use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

#[derive(Debug, Default)]
struct Kept(Mutex<Vec<u8>>);

#[async_trait]
impl AuditSink for Kept {
    async fn write(&self, lines: &[Bytes]) -> Settled {
        let mut kept = self.0.lock().expect("no panic while it is held");
        lines.iter().for_each(|line| kept.extend_from_slice(line));
        Settled { written: lines.len(), ..Settled::default() }
    }
}

/// The listeners, with an audit log in memory.
struct Audit {
    api: ApiHandle,
    sender: AuditSender,
    kept: Arc<Kept>,
}

impl Audit {
    fn start(world: &World) -> Self {
        let kept = Arc::<Kept>::default();
        let sender = AuditSender::start("file", Arc::clone(&kept) as _);
        let options = ApiOptions { audit: vec![sender.clone()], ..options() };
        let api = start_with(world, Some(LOCALHOST.parse().expect("an address")), options);
        Self { api, sender, kept }
    }

    async fn lines(self) -> (String, Vec<Value>) {
        self.api.stop().await;
        self.sender.stop().await;
        let text = String::from_utf8(self.kept.0.lock().expect("no panic while it is held").clone()).expect("text");
        let lines = text.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect();
        (text, lines)
    }
}

/// Returns the essence of each line: service, operation, caller, outcome.
fn brief(lines: &[Value]) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let brief = |line: &Value| {
        [&line["service"], &line["operation"], &line["who"]["kind"], &line["outcome"]].map(text).join(" ")
    };
    lines.iter().map(brief).collect()
}

/// Builds a request that is signed for a service with these keys and, if given, a session token.
pub(super) fn sign(
    (access_key, secret_key, token): (&str, &str, Option<&str>),
    service: &'static str,
    address: SocketAddr,
    (method, path): (&str, &str),
    body: &[u8],
) -> Vec<u8> {
    let (host, hash) = (address.to_string(), hex(Sha256::digest(body)));
    let at = stamp(Ambient::system().clock.unix_ms().0 / 1000);
    let mut headers = vec![("host", host.as_str()), ("x-amz-content-sha256", &hash), ("x-amz-date", &at)];
    headers.extend(token.map(|token| ("x-amz-security-token", token)));
    let signer = Signer { access_key, secret_key, region: "us-east-1", service };
    let signature = signer.signature(&at, &ToSign { method, path, query: "", headers: &headers, body_sha256: &hash });
    let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
    let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!(
        "{method} {path} HTTP/1.1\r\ncontent-length: {}\r\n{lines}authorization: AWS4-HMAC-SHA256 \
         Credential={access_key}/{}/us-east-1/{service}/aws4_request, SignedHeaders={}, Signature={signature}\r\n\r\n",
        body.len(),
        &at[..8],
        names.join(";"),
    );
    [head.as_bytes(), body].concat()
}

/// Calls IAM at the S3 listener.
async fn iam_call(api: &ApiHandle, keys: &(String, String), body: &str) -> u16 {
    let request = sign((&keys.0, &keys.1, None), "iam", s3_of(api), ("POST", "/"), body.as_bytes());
    ask(&mut connect(s3_of(api)).await, &request).await.status
}

#[actix::test]
async fn only_changes_of_buckets_are_audited_not_objects_or_reads() {
    let world = World::new(2, 2);
    let audit = Audit::start(&world);
    let (root, nobody) = (Client::root(&audit.api), Client::nobody(&audit.api));
    root.done("PUT", "/box", &[], b"").await;
    for (method, target, body) in [
        ("PUT", "/box/k", &b"x"[..]),
        ("GET", "/box/k", b""),
        ("HEAD", "/box", b""),
        ("GET", "/box?versioning", b""),
        ("GET", "/", b""),
        ("DELETE", "/box/k", b""),
    ] {
        root.done(method, target, &[], body).await;
    }
    assert_eq!(nobody.status("GET", "/box/k", &[], b"").await, 403);
    assert_eq!(nobody.status("GET", "/box?policy", &[], b"").await, 403);
    let tags = b"<Tagging><TagSet><Tag><Key>cost</Key><Value>hidden-value</Value></Tag></TagSet></Tagging>";
    root.done("PUT", "/box?tagging", &[("content-md5", &super::permissions::md5(tags))], tags).await;
    assert_eq!(nobody.status("PUT", "/box?policy", &[], b"{}").await, 403);
    assert_eq!(root.status("DELETE", "/absent?cors", &[], b"").await, 404);
    assert_eq!(root.status("DELETE", "/box?inventory&id=weekly", &[], b"").await, 404);
    let deleted = root.done("DELETE", "/box", &[], b"").await;
    let (text, lines) = audit.lines().await;
    let expected = [
        "s3 CreateBucket root ok",
        "s3 PutBucketTagging root ok",
        "s3 PutBucketPolicy anonymous AccessDenied",
        "s3 DeleteBucketCors root NoSuchBucket",
        "s3 DeleteBucketInventoryConfiguration root NoSuchConfiguration",
        "s3 DeleteBucket root ok",
    ];
    assert_eq!(brief(&lines), expected, "{text}");
    assert!(!text.contains("hidden-value"), "{text}");
    assert_eq!(lines[4]["resource"], json!({"Bucket": "box", "Id": "weekly"}));
    let last = &lines[5];
    assert_eq!(last["id"].as_str(), deleted.header("x-amz-request-id"));
    assert_eq!((&last["host"], &last["listener"], &last["status"]), (&json!("this-host"), &json!("s3"), &json!(204)));
    assert!(last["from"].as_str().is_some_and(|from| from.starts_with("127.0.0.1:")), "{last}");
    let who = json!({"kind": "root", "account": "000000000000", "arn": "arn:aws:iam::000000000000:root", "access_key": "key"});
    assert_eq!(last["who"], who);
}

#[actix::test]
async fn iam_changes_and_denied_iam_reads_are_audited_without_secrets() {
    let world = World::new(2, 2);
    let audit = Audit::start(&world);
    let may = json!([{"Effect": "Allow", "Action": "iam:CreateUser", "Resource": "*"}]);
    let alice = Client::user(&audit.api, "alice", may).await;
    let keys = alice.keys.clone().expect("she has some");
    let root = ("key".to_owned(), "secret".to_owned());
    assert_eq!(iam_call(&audit.api, &root, "Action=ListUsers").await, 200);
    assert_eq!(iam_call(&audit.api, &keys, "Action=ListUsers").await, 403);
    assert_eq!(iam_call(&audit.api, &keys, "Action=CreateUser&UserName=bob").await, 200);
    assert_eq!(iam_call(&audit.api, &keys, "Action=CreateUser&UserName=bob").await, 409);
    let wrong = (keys.0.clone(), "wrong".to_owned());
    assert_eq!(iam_call(&audit.api, &wrong, "Action=DeleteUser&UserName=alice").await, 403);
    assert_eq!(iam_call(&audit.api, &root, "Action=CreateAccessKey&UserName=bob").await, 200);
    call(&audit.api, "ListUsers", json!({})).await;
    let (text, lines) = audit.lines().await;
    let expected = [
        "iam CreateUser root ok",
        "iam PutUserPolicy root ok",
        "iam CreateAccessKey root ok",
        "iam ListUsers user AccessDenied",
        "iam CreateUser user ok",
        "iam CreateUser user EntityAlreadyExists",
        "iam DeleteUser unverified SignatureDoesNotMatch",
        "iam CreateAccessKey root ok",
    ];
    assert_eq!(brief(&lines), expected, "{text}");
    assert!(!text.contains(&keys.1) && !text.contains("Statement") && !text.contains("SecretAccessKey"), "{text}");
    assert_eq!(lines[1]["resource"], json!({"Account": "000000000000", "PolicyName": "p", "UserName": "alice"}));
    assert_eq!((&lines[1]["listener"], &lines[3]["listener"]), (&json!("admin"), &json!("s3")));
    assert_eq!(lines[2]["result"], json!({"AccessKeyId": keys.0}));
    assert_eq!(lines[4]["who"]["arn"], "arn:aws:iam::000000000000:user/alice");
    assert_eq!((&lines[4]["who"]["access_key"], &lines[4]["resource"]), (&json!(keys.0), &json!({"UserName": "bob"})));
    assert_eq!(lines[6]["who"], json!({"kind": "unverified", "access_key": keys.0}));
    assert!(lines[7]["result"]["AccessKeyId"].as_str().is_some_and(|key| key.starts_with("AKIA")), "{text}");
}

#[actix::test]
async fn admin_calls_are_audited_if_they_change_something_or_are_denied() {
    let world = World::new(2, 2);
    let audit = Audit::start(&world);
    let address = audit.api.admin_address;
    let mut stream = connect(address).await;
    let mut send = async |request: Vec<u8>| ask(&mut stream, &request).await;
    let signed = |method: &str, path: &str, body: &str, service| {
        administer(method, address, &format!("/admin/v1{path}"), body.as_bytes(), service)
    };
    assert_eq!(send(signed("GET", "/layout", "", "sherd-admin")).await.status, 200);
    assert_eq!(send(signed("GET", "/nothing", "", "sherd-admin")).await.status, 404);
    assert_eq!(send(plain("GET", "/admin/v1/layout")).await.status, 403);
    assert_eq!(send(plain("GET", "/admin/v1/nothing")).await.status, 403);
    assert_eq!(send(signed("GET", "/info", "", "s3")).await.status, 400, "signed for another service");
    let healed = send(signed("POST", "/heal", "", "sherd-admin")).await;
    assert_eq!(send(signed("POST", "/layout", r#"{"change":"drain","of":"3"}"#, "sherd-admin")).await.status, 409);
    assert_eq!(send(signed("POST", "/clock/accept", r#"{"time_ms":5}"#, "sherd-admin")).await.status, 409);
    assert_eq!(send(signed("POST", "/buckets/box/quota", r#"{"bytes_max":7}"#, "sherd-admin")).await.status, 200);
    let limits = r#"{"bucket":"bucket","requests_per_second":9,"sent_bytes_per_second":null}"#;
    assert_eq!(send(signed("POST", "/rate-limits", limits, "sherd-admin")).await.status, 200);
    let key = r#"{"change":"create","id":"payroll"}"#;
    assert_eq!(send(signed("POST", "/encryption-keys", key, "sherd-admin")).await.status, 200);
    assert_eq!(send(signed("POST", "/iam", r#"{"action":"Fly"}"#, "sherd-admin")).await.status, 400);
    let (text, lines) = audit.lines().await;
    let expected = [
        "admin GetLayout anonymous AccessDenied",
        "admin Unknown anonymous AccessDenied",
        "admin GetInfo unverified AuthorizationHeaderMalformed",
        "admin StartHeal root ok",
        "admin UpdateLayout root Refused",
        "admin AcceptClock root Refused",
        "admin PutBucketQuota root ok",
        "admin PutRateLimits root ok",
        "admin ChangeEncryptionKey root ok",
    ];
    assert_eq!(brief(&lines), expected, "{text}");
    assert_eq!(lines[3]["id"].as_str(), healed.header("x-amz-request-id"));
    assert_eq!(lines[4]["resource"], json!({"change": "drain", "of": "3"}));
    assert_eq!(lines[5]["resource"], json!({"time_ms": "5"}));
    assert_eq!(lines[6]["resource"], json!({"bucket": "box", "bytes_max": "7"}));
    let limits = json!({"bucket": "bucket", "requests_per_second": "9", "sent_bytes_per_second": "null"});
    assert_eq!(lines[7]["resource"], limits);
    assert_eq!(lines[8]["resource"], json!({"change": "create", "id": "payroll"}));
}

/// When its client disconnects, a request is dropped, although its change may have been made.
#[actix::test]
async fn a_change_whose_client_disconnects_is_audited() {
    let kept = Arc::<Kept>::default();
    let sender = AuditSender::start("file", Arc::clone(&kept) as _);
    let log = AuditLog::new(vec![sender.clone()], Ambient::system(), "this-host".to_owned()).map(Arc::new);
    let begin = |operation| {
        let mut record = RequestRecord::begin("1".into(), Method::PUT, Uri::from_static("/box"), None);
        record.audit = log.clone();
        record.trace.set_operation(operation, Some("box".to_owned()), None, None);
        record
    };
    drop(begin("PutObject"));
    drop(begin("DeleteBucket"));
    sender.stop().await;
    let text = String::from_utf8(kept.0.lock().expect("no panic while it is held").clone()).expect("text");
    let line: Value = serde_json::from_str(&text).expect("there is one line");
    assert_eq!((&line["operation"], &line["outcome"]), (&json!("DeleteBucket"), &json!("unanswered")));
    assert_eq!(line.get("status"), None);
}

#[actix::test]
async fn the_removal_of_a_lost_drive_is_audited_as_one() {
    let world = World::new(2, 2);
    let audit = Audit::start(&world);
    let address = audit.api.admin_address;
    for body in [&br#"{"change":"remove","of":"3","lost":true}"#[..], br#"{"change":"remove","of":"4"}"#] {
        let request = administer("POST", address, "/admin/v1/layout", body, "sherd-admin");
        assert_eq!(ask(&mut connect(address).await, &request).await.status, 409, "this host's stub refuses it");
    }
    let (text, lines) = audit.lines().await;
    let resources: Vec<&Value> = lines.iter().map(|line| &line["resource"]).collect();
    let expected = [json!({"change": "remove", "of": "3", "lost": "true"}), json!({"change": "remove", "of": "4"})];
    assert_eq!(resources, [&expected[0], &expected[1]], "{text}");
}
