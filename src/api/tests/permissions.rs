//! Tests of permissions at the listener: locks, operations that need an account, and the tags of copied objects.

use super::{Answer, administer, ask, connect, form, s3_of, start};
use crate::actors::request::test_world::World;
use crate::ambient::Ambient;
use crate::api::ApiHandle;
use crate::sigv4::{Signer, ToSign, stamp};
use serde_json::{Value, json};

const ROOT: (&str, &str) = ("key", "secret");
const PAYLOAD: &str = "UNSIGNED-PAYLOAD";
const UNTIL: &str = "2999-01-01T00:00:00Z";
const COMPLIANCE: [(&str, &str); 2] =
    [("x-amz-object-lock-mode", "COMPLIANCE"), ("x-amz-object-lock-retain-until-date", UNTIL)];
const HOLD: [(&str, &str); 1] = [("x-amz-object-lock-legal-hold", "ON")];

pub(super) struct Client<'a> {
    api: &'a ApiHandle,
    /// The keys; `None` for an anonymous caller.
    pub(super) keys: Option<(String, String)>,
}

impl<'a> Client<'a> {
    pub(super) fn root(api: &'a ApiHandle) -> Self {
        Self { api, keys: Some((ROOT.0.to_owned(), ROOT.1.to_owned())) }
    }

    pub(super) fn nobody(api: &'a ApiHandle) -> Self {
        Self { api, keys: None }
    }

    /// Creates a user of this name, with an inline policy of these statements.
    pub(super) async fn user(api: &'a ApiHandle, name: &str, statements: Value) -> Self {
        call(api, "CreateUser", json!({"UserName": name})).await;
        let user = Self { api, keys: None };
        user.allow(name, statements).await;
        let made = call(api, "CreateAccessKey", json!({"UserName": name})).await;
        let text = |field: &str| made["AccessKey"][field].as_str().expect("a text").to_owned();
        Self { api, keys: Some((text("AccessKeyId"), text("SecretAccessKey"))) }
    }

    pub(super) async fn allow(&self, name: &str, statements: Value) {
        let document = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
        let policy = json!({"UserName": name, "PolicyName": "p", "PolicyDocument": document});
        call(self.api, "PutUserPolicy", policy).await;
    }

    /// Returns the head of a request whose body has this length.
    pub(super) fn head(&self, method: &str, target: &str, headers: &[(&str, &str)], length: usize) -> Vec<u8> {
        let host = s3_of(self.api).to_string();
        let at = stamp(Ambient::system().clock.unix_ms().0 / 1000);
        let mut all = headers.to_vec();
        if self.keys.is_some() {
            all.extend([("host", host.as_str()), ("x-amz-content-sha256", PAYLOAD), ("x-amz-date", at.as_str())]);
        } else {
            all.push(("host", &host));
        }
        all.sort_unstable();
        let mut request = format!("{method} {target} HTTP/1.1\r\ncontent-length: {length}\r\n");
        for (name, value) in &all {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some((access_key, secret_key)) = &self.keys {
            let signer = Signer { access_key, secret_key, region: "us-east-1", service: "s3" };
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            let query = if query.is_empty() || query.contains('=') { query.to_owned() } else { format!("{query}=") };
            let to_sign = ToSign { method, path, query: &query, headers: &all, body_sha256: PAYLOAD };
            let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
            request.push_str(&format!(
                "authorization: AWS4-HMAC-SHA256 Credential={access_key}/{}/us-east-1/s3/aws4_request, \
                 SignedHeaders={}, Signature={}\r\n",
                &at[..8],
                names.join(";"),
                signer.signature(&at, &to_sign)
            ));
        }
        request.push_str("\r\n");
        request.into_bytes()
    }

    pub(super) async fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let head = self.head(method, target, headers, body.len());
        ask(&mut connect(s3_of(self.api)).await, &[&head, body].concat()).await
    }

    pub(super) async fn status(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> u16 {
        self.ask(method, target, headers, body).await.status
    }

    pub(super) async fn done(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let answer = self.ask(method, target, headers, body).await;
        assert!(answer.status < 300, "{method} {target}: {}", String::from_utf8_lossy(&answer.body));
        answer
    }
}

/// Calls an action of IAM as root, through the admin API.
pub(super) async fn call(api: &ApiHandle, action: &str, parameters: Value) -> Value {
    let body = json!({"action": action, "parameters": parameters}).to_string();
    let address = api.admin_address;
    let request = administer("POST", address, "/admin/v1/iam", body.as_bytes(), "sherd-admin");
    let answer = ask(&mut connect(address).await, &request).await;
    assert_eq!(answer.status, 200, "{action}: {}", String::from_utf8_lossy(&answer.body));
    serde_json::from_slice(&answer.body).expect("JSON")
}

pub(super) fn everybody_may_do_all(bucket: &str) -> Vec<u8> {
    let resources = [format!("arn:aws:s3:::{bucket}"), format!("arn:aws:s3:::{bucket}/*")];
    let statement = json!({"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": resources});
    json!({"Version": "2012-10-17", "Statement": [statement]}).to_string().into_bytes()
}

async fn make_locked(root: &Client<'_>, name: &str) {
    root.done("PUT", &format!("/{name}"), &[("x-amz-bucket-object-lock-enabled", "true")], b"").await;
}

#[actix::test]
async fn an_anonymous_caller_sets_no_locks_in_a_public_bucket() {
    let world = World::new(2, 2);
    let api = start(&world);
    let (root, nobody) = (Client::root(&api), Client::nobody(&api));
    make_locked(&root, "open").await;
    root.done("PUT", "/open?policy", &[], &everybody_may_do_all("open")).await;
    make_locked(&root, "listed").await;
    root.done("PUT", "/listed?acl", &[("x-amz-acl", "public-read-write")], b"").await;
    for bucket in ["open", "listed"] {
        for lock in [&COMPLIANCE[..], &HOLD[..]] {
            assert_eq!(nobody.status("PUT", &format!("/{bucket}/k"), lock, b"x").await, 403, "{bucket} {lock:?}");
            assert_eq!(nobody.status("POST", &format!("/{bucket}/k?uploads"), lock, b"").await, 403, "{bucket}");
        }
        nobody.done("PUT", &format!("/{bucket}/k"), &[], b"x").await;
        let copy = [&[("x-amz-copy-source", "/open/k")], &HOLD[..]].concat();
        assert_eq!(nobody.status("PUT", &format!("/{bucket}/copy"), &copy, b"").await, 403, "{bucket}");
    }
    let hold = b"<LegalHold><Status>ON</Status></LegalHold>";
    assert_eq!(nobody.status("PUT", "/open/k?legal-hold", &[], hold).await, 403);
    let until = format!("<Retention><Mode>COMPLIANCE</Mode><RetainUntilDate>{UNTIL}</RetainUntilDate></Retention>");
    assert_eq!(nobody.status("PUT", "/open/k?retention", &[], until.as_bytes()).await, 403);
    let host = s3_of(&api).to_string();
    let fields = [("key", "form"), ("x-amz-object-lock-legal-hold", "ON")];
    let posted = form(&host, &fields, b"x");
    let posted = [b"POST /open".as_slice(), &posted[b"POST /bucket".len()..]].concat();
    assert_eq!(ask(&mut connect(s3_of(&api)).await, &posted).await.status, 403);
    // The owner can still set locks.
    root.done("PUT", "/open/own", &COMPLIANCE, b"x").await;
    api.stop().await;
}

#[actix::test]
async fn setting_a_lock_needs_its_own_grant_besides_put_object() {
    let world = World::new(2, 2);
    let api = start(&world);
    let root = Client::root(&api);
    make_locked(&root, "vault").await;
    let statement =
        |actions: &[&str]| json!([{"Effect": "Allow", "Action": actions, "Resource": "arn:aws:s3:::vault/*"}]);
    let alice = Client::user(&api, "alice", statement(&["s3:PutObject", "s3:GetObject"])).await;
    alice.done("PUT", "/vault/plain", &[], b"x").await;
    let asked = [
        ("PUT", "/vault/k", vec![]),
        ("POST", "/vault/k?uploads", vec![]),
        ("PUT", "/vault/copy", vec![("x-amz-copy-source", "/vault/plain")]),
    ];
    for (lock, grant) in [(&COMPLIANCE[..], "s3:PutObjectRetention"), (&HOLD[..], "s3:PutObjectLegalHold")] {
        alice.allow("alice", statement(&["s3:PutObject", "s3:GetObject"])).await;
        for (method, target, headers) in &asked {
            let headers = [headers.as_slice(), lock].concat();
            assert_eq!(alice.status(method, target, &headers, b"").await, 403, "{method} {target} {grant}");
        }
        alice.allow("alice", statement(&["s3:PutObject", "s3:GetObject", grant])).await;
        for (method, target, headers) in &asked {
            alice.done(method, target, &[headers.as_slice(), lock].concat(), b"").await;
        }
    }
    api.stop().await;
}

#[actix::test]
async fn an_upload_under_a_default_retention_needs_no_permission_for_retention() {
    let world = World::new(2, 2);
    let api = start(&world);
    let root = Client::root(&api);
    make_locked(&root, "kept").await;
    let rule = b"<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>\
                 <Mode>GOVERNANCE</Mode><Days>1</Days></DefaultRetention></Rule></ObjectLockConfiguration>";
    root.done("PUT", "/kept?object-lock", &[("content-md5", &md5(rule))], rule).await;
    let writes = json!([{"Effect": "Allow", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::kept/*"}]);
    let alice = Client::user(&api, "alice", writes).await;
    alice.done("PUT", "/kept/k", &[], b"x").await;
    let head = root.done("HEAD", "/kept/k", &[], b"").await;
    assert_eq!(head.header("x-amz-object-lock-mode"), Some("GOVERNANCE"), "{}", head.head);
    api.stop().await;
}

pub(super) fn md5(body: &[u8]) -> String {
    use md5::{Digest, Md5};
    base64_simd::STANDARD.encode_to_string(Md5::digest(body))
}

#[actix::test]
async fn operations_that_need_an_account_are_refused_to_anonymous_callers() {
    let world = World::new(2, 2);
    let api = start(&world);
    let (root, nobody) = (Client::root(&api), Client::nobody(&api));
    root.done("PUT", "/open", &[], b"").await;
    root.done("PUT", "/open/k", &[], b"x").await;
    root.done("PUT", "/open?policy", &[], &everybody_may_do_all("open")).await;
    nobody.done("GET", "/open/k", &[], b"").await;
    for (method, target, headers) in [
        ("POST", "/open/k?uploads", vec![]),
        ("PUT", "/open?acl", vec![("x-amz-acl", "public-read")]),
        ("PUT", "/open/k?acl", vec![("x-amz-acl", "public-read")]),
        ("PUT", "/open?policy", vec![]),
        ("DELETE", "/open?policy", vec![]),
        ("DELETE", "/open?ownershipControls", vec![]),
        ("DELETE", "/open?publicAccessBlock", vec![]),
        ("PUT", "/another", vec![]),
    ] {
        assert_eq!(nobody.status(method, target, &headers, b"").await, 403, "{method} {target}");
        assert_ne!(root.status(method, target, &headers, b"").await, 403, "{method} {target}");
        root.status("PUT", "/open?policy", &[], &everybody_may_do_all("open")).await;
    }
    api.stop().await;
}

#[actix::test]
async fn an_object_denied_by_its_tags_cannot_be_read_by_copying() {
    let world = World::new(2, 2);
    let api = start(&world);
    let root = Client::root(&api);
    root.done("PUT", "/tagged", &[], b"").await;
    root.done("PUT", "/tagged/secret", &[("x-amz-tagging", "class=secret")], b"x").await;
    root.done("PUT", "/tagged/plain", &[("x-amz-tagging", "class=plain")], b"x").await;
    let secret = json!({"StringEquals": {"s3:ExistingObjectTag/class": "secret"}});
    let statements = json!([
        {"Effect": "Allow", "Action": "s3:*", "Resource": "*"},
        {"Effect": "Deny", "Action": "s3:GetObject", "Resource": "*", "Condition": secret},
    ]);
    let alice = Client::user(&api, "alice", statements).await;
    let upload = alice.done("POST", "/tagged/parts?uploads", &[], b"").await;
    let text = String::from_utf8(upload.body).expect("text");
    let id = text.split("<UploadId>").nth(1).and_then(|rest| rest.split('<').next()).expect("an upload's id");
    for (name, may) in [("secret", false), ("plain", true)] {
        let source = format!("/tagged/{name}");
        let headers = [("x-amz-copy-source", source.as_str())];
        let part = format!("/tagged/parts?partNumber=1&uploadId={id}");
        for (method, target, headers) in
            [("GET", source.as_str(), &[][..]), ("PUT", "/tagged/copy", &headers), ("PUT", &part, &headers)]
        {
            let status = alice.status(method, target, headers, b"").await;
            assert_eq!(status, if may { 200 } else { 403 }, "{method} {target} {headers:?}");
        }
    }
    api.stop().await;
}
