//! The hot paths, each repeated in a function of its own, whose instructions `tests/instructions/run.py` counts: whole
//! requests to a store in memory, and parts of them. Listeners, the request log, drives and Raft are not in it.

use crate::api::fuzzing::{Request, Store};
use crate::api::policy::{
    Account, Budget, Context, Identity, Policy, PolicyKind, PolicyRef, Principal, Question, Target, evaluate,
};
use crate::limits::{CHUNK_BYTES_MAX, LIST_KEYS_MAX};
use crate::sigv4::{Scope, SigningKey};
use crate::storage::erasure::Codec;
use crate::storage::meta::codec::{decode, encode, encode_command};
use crate::storage::meta::command::{Change, Command};
use crate::storage::meta::record::ObjectVersion;
use crate::storage::meta::samples::put_blob;
use crate::types::UnixMs;
use actix::SystemRunner;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use std::hint::black_box;

const ROUNDS: u32 = 10;
const OBJECT_BYTES: usize = 4 << 10;
/// Resources of each of a user's two policies.
const RESOURCES: usize = 11;
const ROOT: (&str, &str) = ("key", "secret");

/// Repeats a path: the instructions that are called from here are counted.
#[inline(never)]
fn counted(path: &mut dyn FnMut()) {
    for _ in 0..ROUNDS {
        path();
    }
}

/// Counts a path after a first time, which fills caches.
#[inline(never)]
fn count(name: &str, mut path: impl FnMut()) {
    path();
    println!("{name} {ROUNDS}");
    counted(&mut path);
}

/// A store in memory and its runtime.
struct Client {
    // Never dropped: actors that are dropped without their runtime panic.
    system: &'static SystemRunner,
    store: &'static Store,
}

impl Client {
    fn new() -> Self {
        let system: &SystemRunner = Box::leak(Box::new(actix::System::new()));
        let store = Box::leak(Box::new(system.block_on(async { Store::in_memory() })));
        Self { system, store }
    }

    /// Sends a request, which must succeed, and returns the body of its response.
    fn send(&self, method: Method, uri: &str, headers: HeaderMap, body: &[u8]) -> String {
        let request = Request { method, uri: Uri::try_from(uri).expect("a URI"), headers, body };
        let (status, body) = self.system.block_on(self.store.answer(request)).expect("it is answered");
        assert!(status.is_success(), "{status} {body:?}");
        String::from_utf8_lossy(&body).into_owned()
    }

    /// Calls IAM as root.
    fn iam(&self, call: &str) -> String {
        let form = header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.send(Method::POST, "/", form, format!("Version=2010-05-08&{call}").as_bytes())
    }

    /// Makes a user who may get the bucket's objects by the last resource of the second of two policies.
    fn user(&self) -> (String, String) {
        self.iam("Action=CreateUser&UserName=alice");
        for name in ["one", "two"] {
            let policy = encoded(&policy_text(name));
            self.iam(&format!("Action=PutUserPolicy&UserName=alice&PolicyName={name}&PolicyDocument={policy}"));
        }
        let made = self.iam("Action=CreateAccessKey&UserName=alice");
        let element = |name: &str| {
            let (_, rest) = made.split_once(&format!("<{name}>")).expect("it is there");
            rest.split_once('<').expect("it ends").0.to_owned()
        };
        (element("AccessKeyId"), element("SecretAccessKey"))
    }

    /// Counts signed requests for one object, or with its body for many.
    fn count(&self, name: &str, (access_key, secret_key): (&str, &str), method: &Method, uri: &str, body: &[u8]) {
        let uri_to_sign = Uri::try_from(uri).expect("a URI");
        let request = Request { method: method.clone(), uri: uri_to_sign, headers: header(HOST, "s3.test"), body };
        let headers = self.store.signed((access_key, secret_key), &request);
        count(name, || drop(black_box(self.send(method.clone(), uri, headers.clone(), body))));
    }
}

fn header(name: HeaderName, value: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn policy_text(name: &str) -> String {
    let others = (1..RESOURCES).map(|number| format!("\"arn:aws:s3:::{name}-{number}/*\","));
    let last = if name == "two" { "bucket" } else { "another" };
    format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":["s3:GetObject","s3:PutObject"],
        "Resource":[{}"arn:aws:s3:::{last}/*"]}}]}}"#,
        others.collect::<String>()
    )
}

fn count_requests() {
    let client = Client::new();
    let object = vec![b'x'; OBJECT_BYTES];
    client.count("PUT-4-KiB", ROOT, &Method::PUT, "/bucket/object", &object);
    client.count("HEAD", ROOT, &Method::HEAD, "/bucket/object", &[]);
    client.count("GET-4-KiB", ROOT, &Method::GET, "/bucket/object", &[]);
    let (access_key, secret_key) = client.user();
    client.count("HEAD-by-a-user", (&access_key, &secret_key), &Method::HEAD, "/bucket/object", &[]);
    for number in 0..LIST_KEYS_MAX {
        client.send(Method::PUT, &format!("/bucket/listed/{number:04}"), HeaderMap::new(), b"x");
    }
    client.count("LIST-1000", ROOT, &Method::GET, "/bucket?list-type=2&prefix=listed%2F", &[]);
}

fn count_decision() {
    let account = Account { id: "111122223333".to_owned(), canonical_id: "owner".to_owned() };
    let [arn, name, id] = ["arn:aws:iam::111122223333:user/alice", "alice", "AIDAALICE"].map(str::to_owned);
    let principal = Principal::User { account, arn, name, id, issuer: None };
    let policies =
        ["one", "two"].map(|name| Policy::parse(PolicyKind::Identity, &policy_text(name)).expect("a policy"));
    let own: Vec<PolicyRef<'_>> = policies.iter().map(|policy| PolicyRef { name: "own", policy }).collect();
    let context = Context::default();
    count("access-decision", || {
        let question = Question {
            principal: &principal,
            identity: Identity { own: own.clone(), ..Identity::default() },
            action: "s3:GetObject",
            resource: "arn:aws:s3:::bucket/object",
            target: Target::Account,
            context: &context,
        };
        assert!(evaluate(question, &Budget::default()).allowed);
    });
}

fn count_parts() {
    let key = SigningKey::derive("secret", Scope { date: "20260101", region: "us-east-1", service: "s3" });
    let text = "x".repeat(200);
    count("signature", || drop(black_box(key.sign(black_box(&text)))));
    let put = put_blob("a/key/of/usual/length.txt", 7);
    let record = ObjectVersion::from(put.manifest.clone());
    let command = Command::new(UnixMs(1000), Change::PutObject(Box::new(put)));
    count("record-encode", || drop(black_box(encode_command(black_box(&command)))));
    let encoded = encode(&record);
    count("manifest-decode", || drop(black_box(decode::<ObjectVersion>(black_box(&encoded)).expect("a record"))));
    let codec = Codec::new(2, 2).expect("a code");
    let mut stripe = vec![7; 4 * CHUNK_BYTES_MAX];
    count("stripe-encode", || codec.encode(black_box(&mut stripe), CHUNK_BYTES_MAX).expect("it fits"));
}

#[test]
#[ignore = "tests/instructions/run.py runs it where instructions are counted"]
fn hot_paths() {
    count_parts();
    count_decision();
    count_requests();
}
