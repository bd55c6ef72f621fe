//! The listeners over real sockets, in front of a store in memory.

use super::admin::{
    AdminError, AdminFault, AdminSource, ChangeLayout, HealStarted, HealStatus, Info, LayoutChanged, LayoutShown,
    LeaderMoved, MovesShown, ScrubShown, ScrubStarted, ShardShown, ShardsPage,
};
use super::{ApiHandle, ApiOptions, Credentials, Health, HealthSource, serve};
use crate::actors::frontend::{AdmissionLimits, S3Frontend};
use crate::actors::gateway::Gateway;
use crate::actors::request::test_world::World;
use crate::ambient::Ambient;
use crate::sigv4::Signer;
use actix::Actor;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Iso8601;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const LOCALHOST: &str = "127.0.0.1:0";

struct Fine;

impl HealthSource for Fine {
    fn health(&self) -> Health {
        Health { reads: true, writes: true, ..Health::default() }
    }
}

/// Knows nothing and can do nothing, but says so.
#[async_trait::async_trait]
impl AdminSource for Fine {
    async fn info(&self) -> Result<Info, AdminError> {
        Err(AdminError::Unavailable("no cluster".to_owned()))
    }

    async fn layout(&self) -> Result<LayoutShown, AdminError> {
        Ok(LayoutShown { epoch: 7, nodes: Vec::new(), moving: MovesShown::default() })
    }

    async fn heal_status(&self) -> Result<HealStatus, AdminError> {
        Ok(HealStatus { missing_shards: 1, garbage_blobs: 2, comparisons_due: vec![3], ..HealStatus::default() })
    }

    async fn start_heal(&self) -> Result<HealStarted, AdminError> {
        Ok(HealStarted { nodes: vec![0] })
    }

    async fn change_layout(&self, change: ChangeLayout) -> Result<LayoutChanged, AdminError> {
        match change {
            ChangeLayout::Weight { node, weight: 9 } => Ok(LayoutChanged { epoch: 8, nodes: vec![node] }),
            other => Err(AdminError::Refused(format!("{other:?} makes no sense"))),
        }
    }

    fn scrub_status(&self) -> Vec<ScrubShown> {
        Vec::new()
    }

    fn start_scrub(&self, node: Option<u32>) -> Result<ScrubStarted, AdminError> {
        Ok(ScrubStarted { nodes: node.into_iter().collect() })
    }

    async fn move_leader(&self, to: Option<String>) -> Result<LeaderMoved, AdminError> {
        Err(AdminError::Refused(format!("there is no host {to:?}")))
    }

    /// Three pages of one shard each.
    async fn shards(&self, cursor: Option<Vec<u8>>) -> Result<ShardsPage, AdminError> {
        let page = cursor.map_or(0, |cursor| cursor[0]);
        let shard = ShardShown { blob: "b".to_owned(), shard: page, node: 1, chunks: 2 };
        Ok(ShardsPage { shards: vec![shard], next: (page < 2).then(|| vec![page + 1]) })
    }
}

fn start(world: &World) -> ApiHandle {
    let limits = AdmissionLimits { bytes: 64 << 20, requests: 100, waiting: 100 };
    let frontend = S3Frontend::new(limits, Duration::from_secs(60)).start();
    let options = ApiOptions {
        s3_listen: LOCALHOST.parse().expect("an address"),
        admin_listen: LOCALHOST.parse().expect("an address"),
        tls: None,
        region: "us-east-1".to_owned(),
        domains: vec!["s3.test".to_owned()],
        credentials: Credentials { access_key: "key".to_owned(), secret_key: "secret".to_owned() },
        workers: 1,
        host_id: "this-host".to_owned(),
    };
    serve(options, Gateway::new(frontend, Arc::clone(&world.context)), Ambient::system(), Fine).expect("listening")
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any key");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    hex_simd::encode_to_string(bytes, hex_simd::AsciiCase::Lower)
}

/// A request signed by header, its payload unsigned, as bytes of HTTP/1.1.
fn signed(method: &str, host: &str, path: &str, body: &[u8]) -> Vec<u8> {
    let now = OffsetDateTime::now_utc().format(&Iso8601::DEFAULT).expect("a date");
    let seconds: String = now.chars().take(19).filter(|c| !matches!(c, '-' | ':')).collect();
    let (date, stamp) = (&seconds[..8], format!("{seconds}Z"));
    let headers = format!("host:{host}\nx-amz-content-sha256:UNSIGNED-PAYLOAD\nx-amz-date:{stamp}\n");
    let names = "host;x-amz-content-sha256;x-amz-date";
    let canonical = format!("{method}\n{path}\n\n{headers}\n{names}\nUNSIGNED-PAYLOAD");
    let scope = format!("{date}/us-east-1/s3/aws4_request");
    let text = format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{}", hex(Sha256::digest(canonical)));
    let key =
        [date, "us-east-1", "s3", "aws4_request"].iter().fold(b"AWS4secret".to_vec(), |key, word| hmac(&key, word));
    let signature = hex(hmac(&key, &text));
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nx-amz-content-sha256: UNSIGNED-PAYLOAD\r\nx-amz-date: {stamp}\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential=key/{scope}, SignedHeaders={names}, Signature={signature}\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

/// One answer from a connection that goes on; `bodiless` where none follows whatever the length says.
async fn read(stream: &mut TcpStream, bodiless: bool) -> Answer {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("an answer's head"));
    }
    let head = String::from_utf8(head).expect("text");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let mut answer = Answer { status, head, body: Vec::new() };
    let length = answer.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    if !bodiless {
        answer.body = vec![0; length];
        stream.read_exact(&mut answer.body).await.expect("an answer's body");
    }
    answer
}

async fn ask(stream: &mut TcpStream, request: &[u8]) -> Answer {
    stream.write_all(request).await.expect("sent");
    read(stream, request.starts_with(b"HEAD")).await
}

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.expect("connected")
}

fn plain(method: &str, path: &str) -> Vec<u8> {
    format!("{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes()
}

#[actix::test]
async fn one_connection_carries_answers_with_and_without_bodies() {
    let world = World::new(2, 2);
    let api = start(&world);
    let mut stream = connect(api.s3_address).await;
    let host = api.s3_address.to_string();
    let body = vec![7u8; 300_000];
    let put = ask(&mut stream, &signed("PUT", &host, "/bucket/k", &body)).await;
    assert_eq!((put.status, put.body.len()), (200, 0));
    let head = ask(&mut stream, &signed("HEAD", &host, "/bucket/k", b"")).await;
    assert_eq!((head.status, head.header("content-length")), (200, Some("300000")));
    let get = ask(&mut stream, &signed("GET", &host, "/bucket/k", b"")).await;
    assert!(get.status == 200 && get.body == body);
    let absent = ask(&mut stream, &signed("HEAD", &host, "/bucket/absent", b"")).await;
    assert_eq!(absent.status, 404);
    let gone = ask(&mut stream, &signed("DELETE", &host, "/bucket/k", b"")).await;
    assert_eq!((gone.status, gone.header("content-length")), (204, None));
    let error = ask(&mut stream, &signed("GET", &host, "/bucket/k", b"")).await;
    let text = String::from_utf8(error.body.clone()).expect("text");
    assert_eq!(error.status, 404);
    assert!(text.contains("<Code>NoSuchKey</Code>") && text.contains("<Resource>/bucket/k</Resource>"), "{text}");
    for answer in [put, head, get, absent, gone, error] {
        assert_eq!(answer.header("server"), Some("Sherd"));
        assert_eq!(answer.header("x-amz-id-2"), Some("this-host"));
        assert_eq!(answer.header("x-amz-request-id").map(str::len), Some(16));
    }
    api.stop().await;
}

#[actix::test]
async fn a_bucket_is_named_by_the_host_or_by_the_path() {
    let world = World::new(2, 2);
    let api = start(&world);
    let mut stream = connect(api.s3_address).await;
    let put = ask(&mut stream, &signed("PUT", "bucket.s3.test", "/k", b"by host")).await;
    assert_eq!(put.status, 200);
    for (host, path) in [("s3.test", "/bucket/k"), ("bucket.s3.test:9000", "/k"), ("elsewhere", "/bucket/k")] {
        let get = ask(&mut stream, &signed("GET", host, path, b"")).await;
        assert_eq!((get.status, get.body.as_slice()), (200, &b"by host"[..]), "{host}");
    }
    api.stop().await;
}

#[actix::test]
async fn health_is_told_on_both_ports_and_metrics_on_one() {
    let world = World::new(2, 2);
    let api = start(&world);
    let mut s3 = connect(api.s3_address).await;
    let mut admin = connect(api.admin_address).await;
    for path in ["/minio/health/live", "/minio/health/ready", "/minio/health/cluster"] {
        assert_eq!(ask(&mut s3, &plain("GET", path)).await.status, 200, "{path}");
        assert_eq!(ask(&mut admin, &plain("GET", path)).await.status, 200, "{path}");
        assert_eq!(ask(&mut s3, &plain("HEAD", path)).await.status, 200, "{path}");
    }
    let ready = ask(&mut admin, &plain("GET", "/health/ready")).await;
    assert!(ready.status == 200 && ready.body.starts_with(br#"{"status":"ok""#));
    let anonymous = ask(&mut s3, &plain("GET", "/metrics")).await;
    assert_eq!(anonymous.status, 403);
    let metrics = ask(&mut admin, &plain("GET", "/metrics")).await;
    let text = String::from_utf8(metrics.body).expect("text");
    assert!(text.contains("sherd_s3_requests_total"), "{text}");
    api.stop().await;
}

#[actix::test]
async fn a_stop_lets_a_request_under_way_end() {
    let world = World::new(2, 2);
    let api = start(&world);
    let address = api.s3_address;
    let mut stream = connect(address).await;
    let request = signed("PUT", &address.to_string(), "/bucket/k", b"the end of it comes late");
    let (begun, rest) = request.split_at(request.len() - 4);
    stream.write_all(begun).await.expect("sent");
    // A second request on its own connection is answered, so the first has been taken up as well.
    let other = ask(&mut connect(address).await, &plain("GET", "/minio/health/live")).await;
    assert_eq!(other.status, 200);
    let stopping = tokio::task::spawn_local(api.stop());
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    stream.write_all(rest).await.expect("sent");
    assert_eq!(read(&mut stream, false).await.status, 200);
    stopping.await.expect("stopped");
}

/// A request to the admin API, signed with the root key for `service`.
fn administer(method: &str, address: SocketAddr, path: &str, body: &[u8], service: &'static str) -> Vec<u8> {
    let signer = Signer { access_key: "key", secret_key: "secret", region: "us-east-1", service };
    let host = address.to_string();
    let seconds = Ambient::system().clock.unix_ms().0 / 1000;
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in signer.headers(seconds, method, path, &host, body) {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    [head.as_bytes(), b"\r\n", body].concat()
}

async fn admin_fault(stream: &mut TcpStream, request: &[u8]) -> (u16, String) {
    let answer = ask(stream, request).await;
    let fault: AdminFault = serde_json::from_slice(&answer.body).expect("a fault in JSON");
    assert!(!fault.message.is_empty());
    (answer.status, fault.code)
}

#[actix::test]
async fn the_admin_api_answers_who_holds_the_root_key_and_nobody_else() {
    let world = World::new(2, 2);
    let api = start(&world);
    let address = api.admin_address;
    let mut stream = connect(address).await;
    for service in ["sherd-admin", "s3"] {
        let layout = ask(&mut stream, &administer("GET", address, "/admin/v1/layout", b"", service)).await;
        assert!(layout.status == 200 && layout.body.starts_with(br#"{"epoch":7,"nodes":[],"#), "{service}");
    }
    for path in ["/admin/v1/layout", "/admin/v1/nothing", "/admin/v1/shards"] {
        let refused = admin_fault(&mut stream, &plain("GET", path)).await;
        assert_eq!(refused, (403, "AccessDenied".to_owned()), "{path}: not even which routes there are");
    }
    let signed = administer("GET", address, "/admin/v1/layout", b"", "sherd-admin");
    let moved = String::from_utf8(signed).expect("text").replace("/layout", "/shards");
    assert_eq!(admin_fault(&mut stream, moved.as_bytes()).await, (403, "SignatureDoesNotMatch".to_owned()));
    let other = administer("GET", address, "/admin/v1/layout", b"", "sts");
    assert_eq!(admin_fault(&mut stream, &other).await, (400, "AuthorizationHeaderMalformed".to_owned()));
    let mut changed = administer("POST", address, "/admin/v1/leader", br#"{"to":"a"}"#, "sherd-admin");
    let at = changed.len() - 3;
    changed[at] = b'b';
    assert_eq!(admin_fault(&mut stream, &changed).await, (400, "ContentSHA256Mismatch".to_owned()));
    api.stop().await;
}

#[actix::test]
async fn the_admin_api_says_what_is_wrong_with_a_request() {
    let world = World::new(2, 2);
    let api = start(&world);
    let address = api.admin_address;
    let mut stream = connect(address).await;
    let faults = [
        ("GET", "/admin/v1/info", &b""[..], 503, "Unavailable"),
        ("GET", "/admin/v1/nothing", b"", 404, "NoSuchRoute"),
        ("GET", "/admin/v1/leader", b"", 405, "MethodNotAllowed"),
        ("POST", "/admin/v1/leader", br#"{"to":"x"}"#, 409, "Refused"),
        ("POST", "/admin/v1/leader", br#"{"of":"x"}"#, 400, "InvalidRequest"),
        ("POST", "/admin/v1/layout", br#"{"change":"drain","of":"x"}"#, 409, "Refused"),
        ("POST", "/admin/v1/layout", br#"{"change":"sell","of":"x"}"#, 400, "InvalidRequest"),
        ("POST", "/admin/v1/layout", br#"{"change":"drain"}"#, 400, "InvalidRequest"),
        ("POST", "/admin/v1/layout", br#"{"change":"drain","of":"x","node":1}"#, 400, "InvalidRequest"),
        ("POST", "/admin/v1/layout", br#"{"change":"weight","node":1,"weight":-1}"#, 400, "InvalidRequest"),
        ("POST", "/admin/v1/layout", b"", 400, "InvalidRequest"),
        ("POST", "/admin/v1/scrub", br#"{"node":"x"}"#, 400, "InvalidRequest"),
        ("DELETE", "/admin/v1/scrub", b"", 405, "MethodNotAllowed"),
    ];
    for (method, path, body, status, code) in faults {
        let fault = admin_fault(&mut stream, &administer(method, address, path, body, "sherd-admin")).await;
        assert_eq!(fault, (status, code.to_owned()), "{method} {path}");
    }
    let heal = ask(&mut stream, &administer("POST", address, "/admin/v1/heal", b"null", "sherd-admin")).await;
    assert_eq!((heal.status, heal.body.as_slice()), (200, &br#"{"nodes":[0]}"#[..]));
    let mut stream = connect(address).await;
    let large = administer("POST", address, "/admin/v1/leader", &[b' '; 70_000], "sherd-admin");
    assert_eq!(admin_fault(&mut stream, &large).await, (413, "EntityTooLarge".to_owned()));
    api.stop().await;
}

#[actix::test]
async fn shards_are_told_page_by_page_one_a_line() {
    let world = World::new(2, 2);
    let api = start(&world);
    let address = api.admin_address;
    let mut stream = connect(address).await;
    let mut request = administer("GET", address, "/admin/v1/shards", b"", "sherd-admin");
    request.splice(request.len() - 2.., *b"connection: close\r\n\r\n");
    stream.write_all(&request).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("to the end");
    let shards: Vec<ShardShown> =
        answer.lines().filter(|line| line.starts_with('{')).map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(shards.iter().map(|shard| shard.shard).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(answer.ends_with("0\r\n\r\n"), "{answer}");
    api.stop().await;
}
