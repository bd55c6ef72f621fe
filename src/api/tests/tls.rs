//! Tests of the listeners' certificates (their replacement, refusal and expiry warning), and of the token for metrics.

use super::{LOCALHOST, options, start_secured, start_with};
use crate::actors::request::test_world::World;
use crate::api::{ApiHandle, ApiOptions, CertificateSource, ListenerTls, NamedFile, TlsFiles};
use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A certificate authority (CA), a directory with a listener's two files, and a client that trusts the CA and resumes
/// sessions.
struct Pki {
    dir: TempDir,
    issuer: Issuer<'static, KeyPair>,
    connector: TlsConnector,
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", base64_simd::STANDARD.encode_to_string(der))
}

impl Pki {
    fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key).expect("a certificate");
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).expect("an authority");
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let dir = tempfile::tempdir().expect("a directory");
        Self { dir, issuer: Issuer::new(params, key), connector: TlsConnector::from(Arc::new(config)) }
    }

    fn files(&self) -> TlsFiles {
        let named = |setting, name| NamedFile { setting, path: self.dir.path().join(name) };
        TlsFiles { cert: named("SHERD_TLS_CERT", "cert.pem"), key: named("SHERD_TLS_KEY", "key.pem") }
    }

    fn issue(&self, days: i64) -> (Certificate, KeyPair) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        params.not_after = OffsetDateTime::now_utc() + Duration::days(days) + Duration::HOUR;
        (params.signed_by(&key, &self.issuer).expect("a certificate"), key)
    }

    /// Writes a new certificate and key into the files; returns the certificate in DER.
    fn renew(&self, days: i64) -> Vec<u8> {
        let (certificate, key) = self.issue(days);
        write(&self.files().cert.path, &pem("CERTIFICATE", certificate.der()));
        write(&self.files().key.path, &pem("PRIVATE KEY", &key.serialize_der()));
        certificate.der().to_vec()
    }

    async fn connect(&self, address: SocketAddr) -> TlsStream<TcpStream> {
        let tcp = TcpStream::connect(address).await.expect("connected");
        let name = ServerName::try_from("localhost").expect("a name");
        self.connector.connect(name, tcp).await.expect("a handshake")
    }

    /// Returns the certificate that a new connection gets.
    async fn shown(&self, address: SocketAddr) -> Vec<u8> {
        certificate_of(&self.connect(address).await)
    }
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("written");
}

fn certificate_of(stream: &TlsStream<TcpStream>) -> Vec<u8> {
    stream.get_ref().1.peer_certificates().expect("a certificate")[0].to_vec()
}

/// Sends a GET; returns the head and body of the response and leaves the connection open.
async fn get(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin), path: &str, more: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.expect("an answer's head"));
    }
    let head = String::from_utf8(answer).expect("text");
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await.expect("an answer's body");
    head + &String::from_utf8(body).expect("text")
}

fn start_with_tls(world: &World, pki: &Pki) -> ApiHandle {
    let tls = ListenerTls { s3: Some(CertificateSource::Files(pki.files())), admin: None };
    start_secured(world, Some(LOCALHOST.parse().expect("an address")), tls, options())
}

fn reload(api: &ApiHandle) -> Result<bool, String> {
    let one = api.certificates.iter().next().expect("a certificate");
    one.reload().map_err(|why| why.to_string())
}

#[actix::test]
async fn after_a_reload_open_connections_continue_and_new_ones_get_the_new_certificate() {
    let (world, pki) = (World::new(2, 2), Pki::new());
    let first = pki.renew(90);
    let api = start_with_tls(&world, &pki);
    let s3 = api.s3_address.expect("S3 is served");
    let mut open = pki.connect(s3).await;
    assert_eq!(certificate_of(&open), first);
    assert!(get(&mut open, "/minio/health/live", "").await.starts_with("HTTP/1.1 200"));
    assert_eq!(reload(&api), Ok(false), "nothing has changed");
    let second = pki.renew(60);
    assert_eq!(reload(&api), Ok(true));
    assert!(get(&mut open, "/minio/health/live", "").await.starts_with("HTTP/1.1 200"));
    // The client offers to resume its session, which was made with the first certificate.
    assert_eq!(pki.shown(s3).await, second);
    api.stop().await;
}

#[actix::test]
async fn invalid_certificate_files_are_refused_and_the_certificate_in_use_stays() {
    let (world, pki) = (World::new(2, 2), Pki::new());
    let files = pki.files();
    let first = pki.renew(90);
    let api = start_with_tls(&world, &pki);
    let s3 = api.s3_address.expect("S3 is served");
    let (_, other_key) = pki.issue(90);
    let other_key = pem("PRIVATE KEY", &other_key.serialize_der());
    let [certificate, own_key] =
        [&files.cert.path, &files.key.path].map(|path| std::fs::read_to_string(path).expect("text"));
    for (cert, key, setting, path, why) in [
        ("", own_key.as_str(), "SHERD_TLS_CERT", &files.cert.path, "holds no certificate"),
        ("-----BEGIN CERTIFICATE-----\n", &own_key, "SHERD_TLS_CERT", &files.cert.path, "is not PEM"),
        (&pem("CERTIFICATE", b"no certificate"), &own_key, "SHERD_TLS_CERT", &files.cert.path, "cannot be used"),
        (&certificate, "", "SHERD_TLS_KEY", &files.key.path, "holds no private key"),
        (&certificate, &pem("PRIVATE KEY", b"no key"), "SHERD_TLS_KEY", &files.key.path, "cannot be used"),
        (&certificate, &other_key, "SHERD_TLS_KEY", &files.key.path, "is not the private key"),
    ] {
        write(&files.cert.path, cert);
        write(&files.key.path, key);
        let refused = reload(&api).expect_err("it is refused");
        assert!(refused.starts_with(&format!("{setting}: {path:?} ")) && refused.contains(why), "{refused}");
        assert_eq!(pki.shown(s3).await, first);
    }
    std::fs::remove_file(&files.key.path).expect("removed");
    let refused = reload(&api).expect_err("it is refused");
    assert!(refused.starts_with("SHERD_TLS_KEY: ") && refused.contains("cannot be read"), "{refused}");
    let second = pki.renew(60);
    assert_eq!(reload(&api), Ok(true));
    assert_eq!(pki.shown(s3).await, second);
    api.stop().await;
}

#[actix::test]
async fn the_admin_listener_serves_tls_and_health_warns_of_an_expiring_certificate() {
    let (world, pki) = (World::new(2, 2), Pki::new());
    pki.renew(9);
    let api = start_secured(&world, None, ListenerTls { s3: None, admin: Some(pki.files()) }, options());
    let mut stream = pki.connect(api.admin_address).await;
    assert!(get(&mut stream, "/health/live", "").await.starts_with("HTTP/1.1 200"));
    let health = get(&mut stream, "/health/ready", "").await;
    assert!(health.contains("the certificate of the admin listener (SHERD_TLS_CERT) ends in 9 days"), "{health}");
    let metrics = get(&mut stream, "/metrics", "").await;
    let ends =
        metrics.lines().find_map(|line| line.strip_prefix("sherd_tls_certificate_end_seconds{listener=\"admin\"} "));
    let left = ends.expect("a value").parse::<i64>().expect("a number") - OffsetDateTime::now_utc().unix_timestamp();
    assert!((9 * 86_400..10 * 86_400).contains(&left), "{left}");
    pki.renew(90);
    assert_eq!(reload(&api), Ok(true));
    assert!(!get(&mut stream, "/health/ready", "").await.contains("ends in"));
    let mut plain = TcpStream::connect(api.admin_address).await.expect("connected");
    plain.write_all(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("sent");
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "plain HTTP is not answered");
    api.stop().await;
}

#[actix::test]
async fn metrics_require_the_bearer_token_if_one_is_set() {
    let world = World::new(2, 2);
    let token = Some("a-token-of-monitoring".to_owned());
    let api = start_with(&world, None, ApiOptions { metrics_token: token, ..options() });
    let mut stream = TcpStream::connect(api.admin_address).await.expect("connected");
    for (authorization, status) in [
        ("", 401),
        ("Authorization: Bearer\r\n", 401),
        ("Authorization: Bearer a-token-of-monitorinG\r\n", 401),
        ("Authorization: Bearer a-token-of-monitoring-2\r\n", 401),
        ("Authorization: Basic a-token-of-monitoring\r\n", 401),
        ("Authorization: Bearer a-token-of-monitoring\r\n", 200),
        ("Authorization: bearer a-token-of-monitoring\r\n", 200),
    ] {
        let answer = get(&mut stream, "/metrics", authorization).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{authorization:?}: {answer}");
        assert_eq!(answer.contains("sherd_"), status == 200, "{authorization:?}");
    }
    assert!(get(&mut stream, "/health/ready", "").await.starts_with("HTTP/1.1 200"), "health stays open");
    api.stop().await;
}
