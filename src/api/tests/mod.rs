//! Tests of the listeners over real sockets, in front of a store in memory.

mod administrators;
mod audit;
mod changes;
mod permissions;
mod rates;
mod refusals;
mod settings;
mod tls;

use super::DriveHealth;
use super::admin::{
    AdminError, AdminFault, AdminSource, BucketUsageJson, ChangeLayout, ChooseScrub, ClockJson, DriveAdded,
    DriveReplaced, HealStatus, Info, LayoutChanged, LayoutJson, LeaderMoved, MetadataCopy, MovesJson, Ordered,
    QuotaJson, ScrubStatus, SetQuota, ShardJson, ShardsPage, TopJson, UnknownDropped,
};
use super::policy::Ownership;
use super::{
    ApiHandle, ApiOptions, Credentials, Endpoints, Health, HealthSource, KeySetFiles, ListenerTls, Problems,
    StopSafety, serve,
};
use crate::actors::documents;
use crate::actors::events::access_log::{AccessLogger, Flush, LogLimits, LoggingRules};
use crate::actors::events::{Report, ReportError, ReportStore, Targets};
use crate::actors::frontend::{AdmissionLimits, Admissions};
use crate::actors::gateway::Gateway;
use crate::actors::meta::{BucketDocument, Change, CreateBucket, DocumentKey, DocumentWrite, Expect};
use crate::actors::request::test_world::World;
use crate::actors::sealing::RootKeys;
use crate::actors::traffic::Traffic;
use crate::ambient::Ambient;
use crate::sigv4::{Scope, Signer, SigningKey};
use crate::types::LegacySignatures;
use bytes::Bytes;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
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

struct Pieces(std::vec::IntoIter<Bytes>);

#[async_trait::async_trait]
impl MetadataCopy for Pieces {
    async fn next(&mut self) -> Option<Result<Bytes, AdminError>> {
        self.0.next().map(Ok)
    }
}

/// A stub of a host: some calls return fixed values, the others are refused.
#[async_trait::async_trait]
impl AdminSource for Fine {
    async fn info(&self) -> Result<Info, AdminError> {
        Err(AdminError::Unavailable("no cluster".to_owned()))
    }

    async fn layout(&self) -> Result<LayoutJson, AdminError> {
        let moving = MovesJson::default();
        Ok(LayoutJson { epoch: 7, nodes: Vec::new(), hosts: Vec::new(), moving, moves: Vec::new() })
    }

    async fn export_metadata(&self) -> Result<Box<dyn MetadataCopy>, AdminError> {
        Ok(Box::new(Pieces(vec![Bytes::from_static(b"all "), Bytes::from_static(b"metadata")].into_iter())))
    }

    async fn drop_unknown_shards(&self) -> Result<UnknownDropped, AdminError> {
        Ok(UnknownDropped { recovered_ms: 7 })
    }

    async fn heal_status(&self, host: Option<&str>) -> Result<HealStatus, AdminError> {
        match host {
            None => Ok(HealStatus { missing_shards: 1, garbage_blobs: 2, ..HealStatus::default() }),
            Some(host) => Err(AdminError::Refused(format!("there is no host {host:?}"))),
        }
    }

    async fn safe_to_stop(&self, host: &str) -> Result<StopSafety, AdminError> {
        Ok(StopSafety { host: host.to_owned(), safe: false, why: "no other host is there".to_owned() })
    }

    async fn start_heal(&self, host: Option<&str>) -> Result<Ordered, AdminError> {
        Ok(Ordered { nodes: vec![u32::from(host.is_some())], hosts: Vec::new() })
    }

    async fn change_layout(&self, change: ChangeLayout) -> Result<LayoutChanged, AdminError> {
        match change {
            ChangeLayout::Weight { node, weight: 9 } => Ok(LayoutChanged { epoch: 8, nodes: vec![node] }),
            other => Err(AdminError::Refused(format!("{other:?} makes no sense"))),
        }
    }

    async fn add_drive(&self, directory: &str) -> Result<DriveAdded, AdminError> {
        Err(AdminError::Refused(format!("{directory} is no empty directory")))
    }

    async fn replace_drive(&self, node: u32) -> Result<DriveReplaced, AdminError> {
        Err(AdminError::Refused(format!("drive {node} is not on this host")))
    }

    fn drives(&self) -> Vec<DriveHealth> {
        Vec::new()
    }

    async fn buckets(&self) -> Result<Vec<BucketUsageJson>, AdminError> {
        Ok(Vec::new())
    }

    async fn scrub_status(&self, _host: Option<&str>) -> Result<ScrubStatus, AdminError> {
        Ok(ScrubStatus::default())
    }

    async fn start_scrub(&self, chosen: ChooseScrub) -> Result<Ordered, AdminError> {
        Ok(Ordered { nodes: chosen.node.into_iter().collect(), hosts: Vec::new() })
    }

    async fn stop_scrub(&self, chosen: ChooseScrub) -> Result<Ordered, AdminError> {
        Err(AdminError::Refused(format!("nothing to stop of {chosen:?}")))
    }

    async fn top(&self, _host: Option<&str>) -> Result<TopJson, AdminError> {
        Ok(TopJson::default())
    }

    async fn move_leader(&self, to: Option<String>) -> Result<LeaderMoved, AdminError> {
        Err(AdminError::Refused(format!("there is no host {to:?}")))
    }

    async fn clock(&self) -> Result<ClockJson, AdminError> {
        Err(AdminError::Unavailable("no clock".to_owned()))
    }

    async fn accept_clock(&self, time_ms: u64) -> Result<ClockJson, AdminError> {
        Err(AdminError::Refused(format!("it is not {time_ms}")))
    }

    async fn quota(&self, bucket: &str) -> Result<QuotaJson, AdminError> {
        Ok(QuotaJson { bucket: bucket.to_owned(), objects: 3, ..QuotaJson::default() })
    }

    async fn set_quota(&self, bucket: &str, asked: SetQuota) -> Result<QuotaJson, AdminError> {
        let (bucket, bytes_max) = (bucket.to_owned(), asked.bytes_max.flatten());
        Ok(QuotaJson { bucket, bytes_max, ..QuotaJson::default() })
    }

    /// Returns three pages of one shard each.
    async fn shards(&self, cursor: Option<Vec<u8>>) -> Result<ShardsPage, AdminError> {
        let page = cursor.map_or(0, |cursor| cursor[0]);
        let shard = ShardJson { blob: "b".to_owned(), shard: page, node: 1, chunks: 2 };
        Ok(ShardsPage { shards: vec![shard], next: (page < 2).then(|| vec![page + 1]) })
    }
}

fn start(world: &World) -> ApiHandle {
    start_at(world, Some(LOCALHOST.parse().expect("an address")))
}

fn start_at(world: &World, s3_listen: Option<SocketAddr>) -> ApiHandle {
    start_with(world, s3_listen, options())
}

fn start_with(world: &World, s3_listen: Option<SocketAddr>, options: ApiOptions) -> ApiHandle {
    start_secured(world, s3_listen, ListenerTls::default(), options)
}

fn start_secured(world: &World, s3_listen: Option<SocketAddr>, tls: ListenerTls, options: ApiOptions) -> ApiHandle {
    let endpoints = Endpoints::claim(s3_listen, LOCALHOST.parse().expect("an address"), tls).expect("free ports");
    let limits = AdmissionLimits { bytes: 64 << 20, requests: 100, waiting: 100 };
    let admissions = Admissions::start(limits, Duration::from_secs(60));
    let gateway = Gateway::new(admissions, Arc::clone(&world.context));
    serve(options, endpoints, gateway, Ambient::system(), Fine).expect("listening")
}

fn options() -> ApiOptions {
    ApiOptions {
        metrics_token: None,
        region: "us-east-1".to_owned(),
        domains: vec!["s3.test".to_owned()],
        website_domains: vec!["site.test".to_owned()],
        credentials: Credentials { access_key: "key".to_owned(), secret_key: "secret".to_owned() },
        targets: Targets::new([]),
        roots: Arc::new(RootKeys::parse(&[7; 32]).expect("a key")),
        accounts: None,
        key_sets: Arc::new(KeySetFiles::default()),
        sigv2: LegacySignatures::Urls,
        new_bucket_ownership: Ownership::ObjectWriter,
        workers: 1,
        bodies_bytes_max: 64 << 20,
        connections_max: 64,
        access_log: None,
        traffic: Traffic::new(2, Ambient::system().clock),
        problems: Problems::default(),
        audit: Vec::new(),
        tracer: None,
        host_id: "this-host".to_owned(),
    }
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any key");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    hex_simd::encode_to_string(bytes, hex_simd::AsciiCase::Lower)
}

/// Builds a request of HTTP/1.1 that is signed in a header, with an unsigned payload.
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

/// Reads one response and leaves the connection open. `bodiless`: no body follows, whatever the content length is.
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

fn s3_of(api: &ApiHandle) -> SocketAddr {
    api.s3_address.expect("S3 is served")
}

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.expect("connected")
}

fn plain(method: &str, path: &str) -> Vec<u8> {
    format!("{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes()
}

#[actix::test]
async fn one_connection_serves_responses_with_and_without_bodies() {
    let world = World::new(2, 2);
    let api = start(&world);
    let mut stream = connect(s3_of(&api)).await;
    let host = s3_of(&api).to_string();
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

/// Builds a form upload as a request of HTTP/1.1.
fn form(host: &str, fields: &[(&str, &str)], file: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in fields {
        let part = format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        body.extend_from_slice(part.as_bytes());
    }
    body.extend_from_slice(b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n");
    body.extend_from_slice(file);
    body.extend_from_slice(b"\r\n--b--\r\n");
    let head = format!(
        "POST /bucket HTTP/1.1\r\nHost: {host}\r\nContent-Type: multipart/form-data; boundary=b\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), &body].concat()
}

#[actix::test]
async fn a_browsers_form_upload_is_stored_like_a_put() {
    let world = World::new(2, 2);
    let api = start(&world);
    let mut stream = connect(s3_of(&api)).await;
    let host = s3_of(&api).to_string();
    let credential = "key/20300101/us-east-1/s3/aws4_request";
    let document = format!(
        r#"{{"expiration": "2999-01-01T00:00:00Z", "conditions": [{{"bucket": "bucket"}}, ["starts-with", "$key", "up/"],
            ["content-length-range", 5, 300000], {{"success_action_status": "201"}}, {{"x-amz-date": "20300101T000000Z"}},
            {{"x-amz-algorithm": "AWS4-HMAC-SHA256"}}, {{"x-amz-credential": "{credential}"}}]}}"#
    );
    let policy = base64_simd::STANDARD.encode_to_string(document);
    let scope = Scope { date: "20300101", region: "us-east-1", service: "s3" };
    let signature = SigningKey::derive("secret", scope).sign(&policy);
    let fields = [
        ("key", "up/${filename}"),
        ("success_action_status", "201"),
        ("x-amz-algorithm", "AWS4-HMAC-SHA256"),
        ("x-amz-credential", credential),
        ("x-amz-date", "20300101T000000Z"),
        ("policy", &policy),
        ("x-amz-signature", &signature),
    ];
    let file = vec![7u8; 300_000];
    let posted = ask(&mut stream, &form(&host, &fields, &file)).await;
    let text = String::from_utf8(posted.body.clone()).expect("text");
    assert_eq!(posted.status, 201, "{text}");
    assert_eq!(posted.header("location"), Some(format!("http://{host}/bucket/up%2Ff").as_str()));
    assert!(text.contains("<Key>up/f</Key>") && posted.header("etag").is_some(), "{text}");
    let get = ask(&mut stream, &signed("GET", &host, "/bucket/up/f", b"")).await;
    assert!(get.status == 200 && get.body == file);
    let small = ask(&mut stream, &form(&host, &fields, b"four")).await;
    assert_eq!(small.status, 400);
    assert!(String::from_utf8(small.body).expect("text").contains("<Code>EntityTooSmall</Code>"));
    let nobodys = ask(&mut stream, &form(&host, &fields[..1], b"file")).await;
    assert_eq!(nobodys.status, 403);
    api.stop().await;
}

/// A store of reports in memory.
#[derive(Debug, Default)]
struct Kept(Mutex<Vec<Report>>);

#[async_trait::async_trait]
impl ReportStore for Kept {
    async fn put(&self, report: &Report) -> Result<(), ReportError> {
        self.0.lock().expect("no panic while it is held").push(report.clone());
        Ok(())
    }
}

#[actix::test]
async fn every_request_to_a_bucket_with_access_logging_is_logged() {
    let world = World::new(2, 2);
    let owner = world.meta.view().bucket("bucket").expect("looked up").expect("a bucket").bucket.owner;
    let create = CreateBucket { name: "logs".to_owned(), owner, ..CreateBucket::default() };
    world.meta.apply(Change::CreateBucket(Box::new(create)));
    let (target_bucket, target_prefix) = ("logs".to_owned(), "p/".to_owned());
    let rules = LoggingRules { target_bucket, target_prefix, key_format: None, grants: Vec::new() };
    let key = DocumentKey::Bucket(world.bucket, BucketDocument::Logging, String::new());
    let value = Some(documents::encode(&rules).expect("rules"));
    world.meta.apply(Change::WriteDocuments(vec![DocumentWrite { key, expect: Expect::Any, value }]));
    let kept = Arc::new(Kept::default());
    let logger = AccessLogger::new(Arc::clone(&kept) as _, Ambient::system(), LogLimits::default()).start();
    let listen = Some(LOCALHOST.parse().expect("an address"));
    let api = start_with(&world, listen, ApiOptions { access_log: Some(logger.clone()), ..options() });
    let mut stream = connect(s3_of(&api)).await;
    let host = s3_of(&api).to_string();
    ask(&mut stream, &signed("PUT", &host, "/bucket/a%20b", b"12345")).await;
    let get = ask(&mut stream, &signed("GET", &host, "/bucket/a%20b", b"")).await;
    ask(&mut stream, &plain("GET", "/bucket/a%20b")).await;
    ask(&mut stream, &signed("GET", &host, "/elsewhere/k", b"")).await;
    // One more response on this connection, after which all earlier ones have ended.
    ask(&mut stream, &plain("GET", "/minio/health/live")).await;
    logger.send(Flush).await.expect("it runs");
    let reports = kept.0.lock().expect("no panic while it is held").clone();
    let text: Vec<&str> = reports.iter().map(|report| std::str::from_utf8(&report.body).expect("text")).collect();
    let lines: Vec<&str> = text.iter().flat_map(|text| text.lines()).collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(reports[0].bucket == "logs" && reports[0].key.starts_with("p/"));
    let words = ["REST.PUT.OBJECT", "REST.GET.OBJECT", "REST.GET.OBJECT"];
    for (line, word) in lines.iter().zip(words) {
        assert!(line.contains(&format!(" {word} a%20b ")) && line.contains(" bucket ["), "{line}");
        assert!(line.contains(" 127.0.0.1 ") && line.contains(" this-host "), "{line}");
    }
    assert!(lines[0].contains("\"PUT /bucket/a%20b HTTP/1.1\" 200 - - 5 "), "{}", lines[0]);
    assert!(lines[1].contains(&format!(" {} ", get.header("x-amz-request-id").expect("an id"))), "{}", lines[1]);
    assert!(lines[1].contains(" SigV4 - AuthHeader "), "{}", lines[1]);
    assert!(lines[2].contains("\" 403 AccessDenied "), "{}", lines[2]);
    api.stop().await;
}

/// Connects from the loopback address `127.0.0.{last}`.
async fn connect_from(last: u8, to: SocketAddr) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from(([127, 0, 0, last], 0))).expect("a loopback address");
    socket.connect(to).await.expect("connected")
}

async fn is_answered(stream: &mut TcpStream) -> bool {
    // Writing to a closed connection may fail.
    if stream.write_all(&plain("GET", "/bucket/absent")).await.is_err() {
        return false;
    }
    let mut first = [0; 1];
    let read = tokio::time::timeout(Duration::from_secs(30), stream.read(&mut first)).await.expect("in time");
    read.is_ok_and(|count| count == 1)
}

#[actix::test]
async fn one_address_cannot_take_all_connections_of_a_listener() {
    let world = World::new(2, 1);
    let api = start_with(
        &world,
        Some(LOCALHOST.parse().expect("an address")),
        ApiOptions { connections_max: 16, ..options() },
    );
    let address = s3_of(&api);
    let mut open = Vec::new();
    for _ in 0..8 {
        let mut stream = connect_from(1, address).await;
        assert!(is_answered(&mut stream).await);
        open.push(stream);
    }
    assert!(!is_answered(&mut connect_from(1, address).await).await, "one address gets half of them");
    for last in 2..6 {
        let mut stream = connect_from(last, address).await;
        assert!(is_answered(&mut stream).await, "from 127.0.0.{last}");
    }
    drop(open);
    let again = async {
        while !is_answered(&mut connect_from(1, address).await).await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), again).await.expect("closed connections are free again");
    api.stop().await;
}

#[actix::test]
async fn a_bucket_is_addressed_by_virtual_host_or_by_path() {
    let world = World::new(2, 2);
    let api = start(&world);
    let mut stream = connect(s3_of(&api)).await;
    let put = ask(&mut stream, &signed("PUT", "bucket.s3.test", "/k", b"by host")).await;
    assert_eq!(put.status, 200);
    for (host, path) in [("s3.test", "/bucket/k"), ("bucket.s3.test:9000", "/k"), ("elsewhere", "/bucket/k")] {
        let get = ask(&mut stream, &signed("GET", host, path, b"")).await;
        assert_eq!((get.status, get.body.as_slice()), (200, &b"by host"[..]), "{host}");
    }
    api.stop().await;
}

#[actix::test]
async fn a_host_in_the_uri_alone_names_the_bucket() {
    let world = World::new(2, 2);
    let api = start(&world);
    let put = ask(&mut connect(s3_of(&api)).await, &signed("PUT", "s3.test", "/bucket/k", b"of bucket")).await;
    assert_eq!(put.status, 200);
    for (bucket, path, status, shown) in
        [("bucket", "/k", 200, "of bucket"), ("absent", "/bucket/k", 404, "<BucketName>absent</BucketName>")]
    {
        let host = format!("{bucket}.s3.test");
        let request = String::from_utf8(signed("GET", &host, path, b"")).expect("text");
        let in_header = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n");
        let in_uri = format!("GET http://{host}{path} HTTP/1.0\r\n");
        assert!(request.starts_with(&in_header), "{request}");
        let answer = ask(&mut connect(s3_of(&api)).await, request.replacen(&in_header, &in_uri, 1).as_bytes()).await;
        let text = String::from_utf8_lossy(&answer.body);
        assert!(answer.status == status && text.contains(shown), "{} {text}", answer.status);
    }
    api.stop().await;
}

#[actix::test]
async fn a_retention_date_in_the_year_10000_is_answered() {
    let world = World::new(2, 2);
    let api = start(&world);
    let far = "x-amz-object-lock-retain-until-date: 9999-12-31T23:59:59-00:01\r\n";
    for (method, head) in [("GET", far), ("PUT", far)] {
        let request = format!("{method} /bucket/k HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n{head}\r\n");
        assert_eq!(ask(&mut connect(s3_of(&api)).await, request.as_bytes()).await.status, 403, "{head}");
    }
    api.stop().await;
}

#[actix::test]
async fn a_host_name_below_a_website_domain_gets_html_responses() {
    let world = World::new(2, 2);
    let api = start(&world);
    let mut stream = connect(s3_of(&api)).await;
    for (host, code) in [("bucket", "NoSuchWebsiteConfiguration"), ("absent", "NoSuchBucket")] {
        let asked = |method: &str| format!("{method} /k HTTP/1.1\r\nHost: {host}.site.test:80\r\n\r\n").into_bytes();
        let get = ask(&mut stream, &asked("GET")).await;
        let text = String::from_utf8(get.body.clone()).expect("text");
        assert_eq!((get.status, get.header("content-type")), (404, Some("text/html; charset=utf-8")));
        assert_eq!(get.header("x-amz-error-code"), Some(code));
        for item in [format!("Code: {code}"), format!("BucketName: {host}"), "HostId: this-host".to_owned()] {
            assert!(text.contains(&format!("<li>{item}</li>")), "{text}");
        }
        let head = ask(&mut stream, &asked("HEAD")).await;
        assert_eq!((head.status, head.header("content-length")), (404, Some(get.body.len().to_string().as_str())));
    }
    let put = ask(&mut stream, &signed("PUT", "bucket.site.test", "/k", b"")).await;
    assert_eq!((put.status, put.header("allow")), (405, Some("GET, HEAD, OPTIONS")));
    let by_path = ask(&mut stream, &signed("PUT", "site.test", "/bucket/k", b"")).await;
    assert_eq!(by_path.status, 200, "the website domain itself is not a website");
    api.stop().await;
}

#[actix::test]
async fn health_is_served_on_both_ports_and_metrics_on_the_admin_port() {
    let world = World::new(2, 2);
    let api = start(&world);
    let mut s3 = connect(s3_of(&api)).await;
    let mut admin = connect(api.admin_address).await;
    for path in ["/minio/health/live", "/minio/health/ready", "/minio/health/cluster"] {
        for port in [&mut s3, &mut admin] {
            let answer = ask(port, &plain("GET", path)).await;
            assert_eq!((answer.status, answer.body.len()), (200, 0), "{path}: the body is empty");
        }
        assert_eq!(ask(&mut s3, &plain("HEAD", path)).await.status, 200, "{path}");
    }
    let ready = ask(&mut admin, &plain("GET", "/health/ready")).await;
    assert!(ready.status == 200 && ready.body.starts_with(br#"{"status":"ok""#));
    let anonymous = ask(&mut s3, &plain("GET", "/metrics")).await;
    assert_eq!(anonymous.status, 404, "on the S3 port it is the name of a missing bucket");
    let metrics = ask(&mut admin, &plain("GET", "/metrics")).await;
    let text = String::from_utf8(metrics.body).expect("text");
    assert!(text.contains("sherd_s3_requests_total"), "{text}");
    api.stop().await;
}

#[actix::test]
async fn a_host_that_does_not_serve_s3_has_only_the_admin_listener() {
    let world = World::new(2, 2);
    let api = start_at(&world, None);
    assert_eq!(api.s3_address, None);
    let mut admin = connect(api.admin_address).await;
    assert_eq!(ask(&mut admin, &plain("GET", "/health/ready")).await.status, 200);
    api.stop().await;
}

#[actix::test]
async fn stopping_the_listeners_lets_a_request_under_way_finish() {
    let world = World::new(2, 2);
    let api = start(&world);
    let address = s3_of(&api);
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

/// Builds a request to the admin API that is signed with the root key for `service`.
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
async fn the_admin_api_refuses_unsigned_altered_and_foreign_service_calls() {
    let world = World::new(2, 2);
    let api = start(&world);
    let address = api.admin_address;
    let mut stream = connect(address).await;
    let layout = ask(&mut stream, &administer("GET", address, "/admin/v1/layout", b"", "sherd-admin")).await;
    assert!(layout.status == 200 && layout.body.starts_with(br#"{"epoch":7,"nodes":[],"#));
    for path in ["/admin/v1/layout", "/admin/v1/nothing", "/admin/v1/shards"] {
        let refused = admin_fault(&mut stream, &plain("GET", path)).await;
        assert_eq!(refused, (403, "AccessDenied".to_owned()), "{path}: unsigned");
    }
    let signed = administer("GET", address, "/admin/v1/layout", b"", "sherd-admin");
    let moved = String::from_utf8(signed).expect("text").replace("/layout", "/shards");
    assert_eq!(admin_fault(&mut stream, moved.as_bytes()).await, (403, "SignatureDoesNotMatch".to_owned()));
    // A signature of root for another service is not valid for the admin API, and the other way round.
    for service in ["s3", "iam", "sts"] {
        let other = administer("GET", address, "/admin/v1/layout", b"", service);
        assert_eq!(
            admin_fault(&mut stream, &other).await,
            (400, "AuthorizationHeaderMalformed".to_owned()),
            "{service}"
        );
    }
    let mut s3 = connect(s3_of(&api)).await;
    let elsewhere = ask(&mut s3, &administer("GET", s3_of(&api), "/", b"", "sherd-admin")).await;
    assert_eq!(elsewhere.status, 400, "{}", String::from_utf8_lossy(&elsewhere.body));
    let mut changed = administer("POST", address, "/admin/v1/leader", br#"{"to":"a"}"#, "sherd-admin");
    let at = changed.len() - 3;
    changed[at] = b'b';
    assert_eq!(admin_fault(&mut stream, &changed).await, (400, "ContentSHA256Mismatch".to_owned()));
    api.stop().await;
}

#[actix::test]
async fn the_quota_route_names_the_bucket_in_its_path() {
    let world = World::new(2, 2);
    let api = start(&world);
    let address = api.admin_address;
    let mut stream = connect(address).await;
    let asked = [("GET", "", r#""bytes_max":null"#), ("POST", r#"{"bytes_max":5}"#, r#""bytes_max":5"#)];
    for (method, body, expected) in asked {
        let request = administer(method, address, "/admin/v1/buckets/a.b/quota", body.as_bytes(), "sherd-admin");
        let answer = ask(&mut stream, &request).await;
        let text = String::from_utf8(answer.body).expect("text");
        assert!(answer.status == 200 && text.contains(r#""bucket":"a.b""#) && text.contains(expected), "{text}");
    }
    for path in ["/admin/v1/buckets//quota", "/admin/v1/buckets/a/b/quota", "/admin/v1/buckets/a"] {
        let absent = admin_fault(&mut stream, &administer("GET", address, path, b"", "sherd-admin")).await;
        assert_eq!(absent, (404, "NoSuchRoute".to_owned()), "{path}");
    }
    let put = administer("PUT", address, "/admin/v1/buckets/a/quota", b"", "sherd-admin");
    let put = admin_fault(&mut stream, &put).await;
    assert_eq!(put, (405, "MethodNotAllowed".to_owned()));
    api.stop().await;
}

#[actix::test]
async fn the_admin_api_changes_identities_and_explains_their_access() {
    let world = World::new(2, 2);
    let api = start(&world);
    let address = api.admin_address;
    let mut stream = connect(address).await;
    let mut post = async |path: &str, body: &str| {
        let answer = ask(&mut stream, &administer("POST", address, path, body.as_bytes(), "sherd-admin")).await;
        let told: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
        (answer.status, told)
    };
    let call = r#"{"action":"CreateUser","parameters":{"UserName":"alice"}}"#;
    let (status, made) = post("/admin/v1/iam", call).await;
    assert_eq!((status, made["User"]["UserName"].as_str()), (200, Some("alice")), "{made}");
    let (status, fault) = post("/admin/v1/iam", call).await;
    assert_eq!((status, fault["code"].as_str()), (409, Some("EntityAlreadyExists")), "{fault}");
    let may = |who: &str| {
        let about = r#""action":"s3:GetObject","resource":"arn:aws:s3:::bucket/k""#;
        format!(r#"{{"who":{who},{about}}}"#)
    };
    let (status, told) = post("/admin/v1/access/explain", &may(r#"{"user":{"name":"alice"}}"#)).await;
    assert_eq!((status, told["allowed"].as_bool()), (200, Some(false)), "{told}");
    assert_eq!((told["action"].as_str(), &told["object"]), (Some("s3:ListBucket"), &serde_json::Value::Null), "{told}");
    let (status, told) = post("/admin/v1/access/explain", &may(r#"{"key":{"access_key":"key"}}"#)).await;
    assert_eq!((status, told["allowed"].as_bool()), (200, Some(true)), "{told}");
    let (status, fault) = post("/admin/v1/access/explain", &may(r#"{"key":{"access_key":"absent"}}"#)).await;
    assert_eq!((status, fault["code"].as_str()), (400, Some("InvalidRequest")), "{fault}");
    api.stop().await;
}

#[actix::test]
async fn the_admin_api_rotates_encryption_keys_and_rewraps_data_keys() {
    let world = World::new(2, 2);
    let api = start(&world);
    let address = api.admin_address;
    let mut stream = connect(address).await;
    let mut post = async |path: &str, body: &str| {
        let answer = ask(&mut stream, &administer("POST", address, path, body.as_bytes(), "sherd-admin")).await;
        let told: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
        (answer.status, told)
    };
    let (status, made) = post("/admin/v1/encryption-keys", r#"{"change":"create","id":"payroll"}"#).await;
    assert_eq!((status, made["version"].as_u64()), (200, Some(1)), "{made}");
    let (status, made) = post("/admin/v1/encryption-keys", r#"{"change":"rotate","id":"payroll"}"#).await;
    assert_eq!((status, made["version"].as_u64()), (200, Some(2)), "{made}");
    let (status, fault) = post("/admin/v1/encryption-keys", r#"{"change":"disable","id":"sse-s3"}"#).await;
    assert_eq!((status, fault["code"].as_str()), (409, Some("Refused")), "{fault}");
    let mut from = serde_json::Value::Null;
    let mut stages = Vec::new();
    loop {
        let (status, done) = post("/admin/v1/encryption-keys/rewrap", &format!(r#"{{"from":{from}}}"#)).await;
        assert_eq!((status, done["failed"].as_u64(), done["objects"].as_u64()), (200, Some(0), Some(0)), "{done}");
        from = done["next"].clone();
        stages.push(from["stage"].as_str().unwrap_or("done").to_owned());
        if from.is_null() {
            break;
        }
    }
    assert_eq!(stages, ["access_keys", "objects", "done"]);
    api.stop().await;
}

#[actix::test]
async fn the_admin_api_refuses_invalid_requests_with_a_code_and_message() {
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
        ("GET", "/admin/v1/scrub/stop", b"", 405, "MethodNotAllowed"),
        ("POST", "/admin/v1/scrub/stop", br#"{"host":"b"}"#, 409, "Refused"),
        ("POST", "/admin/v1/drives/add", br#"{"directory":"/d5"}"#, 409, "Refused"),
        ("POST", "/admin/v1/drives/add", br#"{"node":3}"#, 400, "InvalidRequest"),
        ("POST", "/admin/v1/drives/replace", br#"{"node":3}"#, 409, "Refused"),
        ("POST", "/admin/v1/drives/replace", b"", 400, "InvalidRequest"),
        ("GET", "/admin/v1/heal?host=x", b"", 409, "Refused"),
        ("GET", "/admin/v1/heal?hots=x", b"", 409, "Refused"),
        ("POST", "/admin/v1/heal", br#"{"node":1}"#, 400, "InvalidRequest"),
    ];
    for (method, path, body, status, code) in faults {
        let fault = admin_fault(&mut stream, &administer(method, address, path, body, "sherd-admin")).await;
        assert_eq!(fault, (status, code.to_owned()), "{method} {path}");
    }
    let heal = ask(&mut stream, &administer("POST", address, "/admin/v1/heal", b"null", "sherd-admin")).await;
    assert_eq!((heal.status, heal.body.as_slice()), (200, &br#"{"nodes":[0],"hosts":[]}"#[..]));
    let heal = administer("POST", address, "/admin/v1/heal", br#"{"host":"b"}"#, "sherd-admin");
    assert_eq!(ask(&mut stream, &heal).await.body, br#"{"nodes":[1],"hosts":[]}"#);
    let mut stream = connect(address).await;
    let large = administer("POST", address, "/admin/v1/leader", &[b' '; 70_000], "sherd-admin");
    assert_eq!(admin_fault(&mut stream, &large).await, (413, "EntityTooLarge".to_owned()));
    api.stop().await;
}

#[actix::test]
async fn shards_are_streamed_page_by_page_as_json_lines() {
    let world = World::new(2, 2);
    let api = start(&world);
    let address = api.admin_address;
    let mut stream = connect(address).await;
    let mut request = administer("GET", address, "/admin/v1/shards", b"", "sherd-admin");
    request.splice(request.len() - 2.., *b"connection: close\r\n\r\n");
    stream.write_all(&request).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("to the end");
    let shards: Vec<ShardJson> =
        answer.lines().filter(|line| line.starts_with('{')).map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(shards.iter().map(|shard| shard.shard).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(answer.ends_with("0\r\n\r\n"), "{answer}");
    api.stop().await;
}
