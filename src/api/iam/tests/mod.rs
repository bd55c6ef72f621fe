//! Tests of IAM and STS calls on a store in memory: signed as clients sign them, and answered in XML.

mod calls;
mod conditions;
mod roles;
mod web_identity;

use super::answer::{Answer, answer};
use super::store::{IdentityStore, Written};
use super::{IamService, KeySets, LastUsed, RequestFacts};
use crate::actors::meta::DocumentWrite;
use crate::api::identity::changes::accounts_file::AccountsFile;
use crate::api::identity::tests::memory::{ACCOUNT, Rows, Turned, World};
use crate::api::identity::{Documents, IdentityError, SessionKeys};
use crate::api::policy::ParsedPolicies;
use crate::sigv4::{Received, Signer, ToSign};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

const HOST: &str = "127.0.0.1:9000";
/// Access keys: of the account's root, of a user without permissions, and of the root of another account.
const ROOT: (&str, &str) = ("mainkey", "mainsecret");
const ALICE: (&str, &str) = ("alicekey", "alicesecret");
const OTHER_ROOT: (&str, &str) = ("altkey", "altsecret");
const FILE: &str = r#"{"accounts": [
    {"id": "111122223333", "name": "main", "keys": [{"access_key": "mainkey", "secret_key": "mainsecret"}],
     "users": [{"name": "alice", "keys": [{"access_key": "alicekey", "secret_key": "alicesecret"}]}]},
    {"id": "444455556666", "name": "alt", "keys": [{"access_key": "altkey", "secret_key": "altsecret"}]}
]}"#;

/// A store in memory that can answer writes with a conflict.
#[derive(Default)]
struct MemoryStore {
    rows: Mutex<Rows>,
    /// The number of next writes that are answered with a conflict.
    interrupted: AtomicUsize,
}

#[async_trait::async_trait]
impl IdentityStore for MemoryStore {
    async fn view(&self) -> Result<Box<dyn Documents>, IdentityError> {
        Ok(Box::new(self.rows.lock().expect("no test panics with it").clone()))
    }

    async fn write(&self, writes: Vec<DocumentWrite>) -> Result<Written, IdentityError> {
        let interrupt = |left: usize| left.checked_sub(1);
        if self.interrupted.fetch_update(Ordering::Relaxed, Ordering::Relaxed, interrupt).is_ok() {
            return Ok(Written::Changed);
        }
        let done = self.rows.lock().expect("no test panics with it").apply(writes);
        Ok(if done { Written::Done } else { Written::Changed })
    }
}

/// A source with one key set for every provider.
#[derive(Debug)]
struct OneKeySet(Mutex<Result<String, String>>);

#[async_trait::async_trait]
impl KeySets for OneKeySet {
    async fn key_set(&self, _url: &str) -> Result<String, String> {
        self.0.lock().expect("no test panics with it").clone()
    }
}

struct Host {
    service: IamService,
    store: Arc<MemoryStore>,
    key_set: Arc<OneKeySet>,
    world: World,
}

/// The status and text of an answer.
#[derive(Debug)]
struct Response {
    status: u16,
    text: String,
}

impl Response {
    /// Returns the text of the first element of this name; empty if there is none.
    fn element(&self, name: &str) -> &str {
        let found = self.text.split_once(&format!("<{name}>")).and_then(|(_, rest)| rest.split_once("</"));
        found.map_or("", |(text, _)| text)
    }

    fn code(&self) -> (u16, &str) {
        (self.status, self.element("Code"))
    }
}

impl Host {
    async fn new() -> Self {
        let world = World::new();
        let store = Arc::new(MemoryStore::default());
        let key_set = Arc::new(OneKeySet(Mutex::new(Err("there is none".to_owned()))));
        let service = IamService {
            store: Arc::clone(&store) as Arc<dyn IdentityStore>,
            ambient: world.ambient.clone(),
            root: world.root.clone(),
            seal: Arc::new(Turned),
            sessions: SessionKeys::derive(b"key material"),
            parsed: ParsedPolicies::default(),
            key_sets: Arc::clone(&key_set) as Arc<dyn KeySets>,
            region: "eu-west-1".to_owned(),
            last_used: LastUsed::default(),
        };
        service
            .apply_accounts(&AccountsFile::parse(FILE).expect("a good file"), &mut 0)
            .await
            .expect("it can be applied");
        Self { service, store, key_set, world }
    }

    async fn answer(&self, headers: &[(&str, &str)], query: &str, body: &str) -> Response {
        let request = Received { method: "POST", path: "/", query, headers, body: body.as_bytes() };
        let facts = RequestFacts { region: self.service.region.clone(), ..RequestFacts::default() };
        let Answer { response, .. } = answer(&self.service, &request, &facts, "0001").await;
        let text = response.body().bytes().map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        Response { status: response.status().as_u16(), text: text.unwrap_or_default() }
    }

    /// Calls an action of STS with the temporary credentials of an answer.
    async fn sts_with(&self, credentials: &Response, form: &str) -> Response {
        let key = (credentials.element("AccessKeyId"), credentials.element("SecretAccessKey"));
        let token = Some(credentials.element("SessionToken"));
        self.signed_with(key, token, ("eu-west-1", "sts"), &format!("{form}&Version=2011-06-15")).await
    }

    async fn signed(&self, key: (&str, &str), region: &str, service: &str, body: &str) -> Response {
        self.signed_with(key, None, (region, service), body).await
    }

    async fn signed_with(
        &self,
        key: (&str, &str),
        token: Option<&str>,
        (region, service): (&str, &str),
        body: &str,
    ) -> Response {
        let signer = Signer { access_key: key.0, secret_key: key.1, region, service };
        let now = self.world.ambient.clock.unix_ms().0 / 1000;
        let mut headers = signer.headers(now, "POST", "/", HOST, body.as_bytes());
        headers.push(("host", HOST.to_owned()));
        if let Some(token) = token {
            let value = |name: &str| headers.iter().find(|(known, _)| *known == name).expect("it is sent").1.clone();
            let (hash, stamp) = (value("x-amz-content-sha256"), value("x-amz-date"));
            let signed = [
                ("host", HOST),
                ("x-amz-content-sha256", &hash),
                ("x-amz-date", &stamp),
                ("x-amz-security-token", token),
            ];
            let request = ToSign { method: "POST", path: "/", query: "", headers: &signed, body_sha256: &hash };
            let names = signed.map(|(name, _)| name).join(";");
            let scope = format!("{}/{}/{region}/{service}/aws4_request", key.0, &stamp[..8]);
            let signature = signer.signature(&stamp, &request);
            headers.retain(|(name, _)| *name != "authorization");
            let signed = format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={names}, Signature={signature}");
            headers.extend([("authorization", signed), ("x-amz-security-token", token.to_owned())]);
        }
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.answer(&headers, "", body).await
    }

    async fn iam(&self, key: (&str, &str), form: &str) -> Response {
        self.signed(key, "eu-west-1", "iam", &format!("{form}&Version=2010-05-08")).await
    }

    async fn sts(&self, key: (&str, &str), form: &str) -> Response {
        self.signed(key, "eu-west-1", "sts", &format!("{form}&Version=2011-06-15")).await
    }
}

/// Percent-encodes a text for a form.
fn escaped(text: &str) -> String {
    super::xml::percent_encoded(text)
}
