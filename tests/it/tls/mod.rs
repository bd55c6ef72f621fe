//! TLS: reloading of certificates while the store runs, TLS on the admin listener, and the effects of SIGHUP.

mod acme;

use crate::harness::server::{Server, Setup};
use crate::harness::sigv4::Keys;
use crate::harness::{admin, eventually, or_skipped};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustix::process::Signal;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::{CertificateDer, ServerName};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;

const SOON: Duration = Duration::from_secs(60);
/// More connections than two workers accept TLS on at the same time by the framework's default.
const SILENT_COUNT: usize = 520;

/// A certificate authority, and a directory with a listener's certificate and key.
struct Pki {
    dir: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    authority: CertificateDer<'static>,
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", base64_simd::STANDARD.encode_to_string(der))
}

impl Pki {
    fn new(dir: &Path) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key).unwrap();
        fs::write(dir.join("authority.pem"), pem("CERTIFICATE", authority.der())).unwrap();
        Self { dir: dir.to_owned(), issuer: Issuer::new(params, key), authority: authority.der().clone() }
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).to_str().unwrap().to_owned()
    }

    /// Writes a new certificate and key into the files; returns the certificate in DER.
    fn renew(&self, days: i64) -> Vec<u8> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        params.not_after = OffsetDateTime::now_utc() + time::Duration::days(days) + time::Duration::HOUR;
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(self.path("cert.pem"), pem("CERTIFICATE", certificate.der())).unwrap();
        fs::write(self.path("key.pem"), pem("PRIVATE KEY", &key.serialize_der())).unwrap();
        certificate.der().to_vec()
    }

    fn connect(&self, address: SocketAddr) -> Connection {
        self.try_connect(address).unwrap()
    }

    /// Like `connect`, for a listener that may refuse.
    fn try_connect(&self, address: SocketAddr) -> std::io::Result<Connection> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut tcp = TcpStream::connect(address)?;
        tcp.set_read_timeout(Some(SOON))?;
        while connection.is_handshaking() {
            connection.complete_io(&mut tcp)?;
        }
        Ok(Connection(StreamOwned::new(connection, tcp)))
    }

    /// Returns a setup with TLS on the S3 listener.
    fn setup(&self, root: &Path) -> Setup {
        let setup = Setup::single(root).with("SHERD_TLS_CERT", &self.path("cert.pem"));
        setup.with("SHERD_TLS_KEY", &self.path("key.pem"))
    }
}

struct Connection(StreamOwned<ClientConnection, TcpStream>);

impl Connection {
    fn certificate(&self) -> Vec<u8> {
        self.0.conn.peer_certificates().unwrap()[0].to_vec()
    }

    /// Sends a request; returns whether the store answers. The connection stays open.
    fn is_answered(&mut self) -> bool {
        write!(self.0, "GET /minio/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        head.starts_with(b"HTTP/1.1 200")
    }
}

#[test]
fn a_certificate_is_renewed_without_a_signal_and_a_bad_one_is_refused_once() {
    let root = tempfile::tempdir().unwrap();
    let pki = Pki::new(root.path());
    pki.renew(90);
    let server = pki.setup(root.path()).start();
    let mut open = pki.connect(server.s3);
    assert!(open.is_answered());
    let second = pki.renew(60);
    eventually(SOON, "the new certificate to be shown", || {
        (pki.connect(server.s3).certificate() == second).then_some(())
    });
    assert!(open.is_answered(), "a connection with the certificate before goes on");
    fs::write(pki.path("key.pem"), "no key").unwrap();
    let refusal = format!("SHERD_TLS_KEY: {:?} holds no private key", pki.path("key.pem"));
    eventually(SOON, "the refusal to be logged", || server.log().contains(&refusal).then_some(()));
    for count in 1..=2 {
        server.process().signal(Signal::HUP);
        eventually(SOON, "a SIGHUP to be answered", || {
            (server.log().matches("SIGHUP: ").count() == count).then_some(())
        });
    }
    assert_eq!(server.log().matches(&refusal).count(), 1, "{}", server.log());
    assert!(server.log().contains("read again: the certificate of s3 (refused)"), "{}", server.log());
    assert_eq!(pki.connect(server.s3).certificate(), second);
    assert!(open.is_answered());
}

#[test]
fn check_warns_of_a_certificate_that_has_ended() {
    let root = tempfile::tempdir().unwrap();
    let pki = Pki::new(root.path());
    let checked = |days| {
        pki.renew(days);
        let output = pki.setup(root.path()).run(&["check"]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(checked(90), "the configuration is valid\n");
    let warned = checked(-2);
    assert!(warned.starts_with("warning: the certificate of the s3 listener"), "{warned}");
    assert!(warned.contains("SHERD_TLS_CERT") && warned.ends_with("the configuration is valid\n"), "{warned}");
}

#[test]
fn clients_that_do_not_finish_their_handshake_keep_nobody_out() {
    let root = tempfile::tempdir().unwrap();
    let pki = Pki::new(root.path());
    pki.renew(90);
    let server = pki.setup(root.path()).start();
    let is_open = |mut silent: &TcpStream| {
        silent.set_nonblocking(true).unwrap();
        silent.read(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    };
    // Counts only if the store has not ended the handshakes of the others by then, as it does after ten seconds.
    eventually(SOON, "an answer while all others are silent", || {
        let silent: Vec<TcpStream> = (0..SILENT_COUNT).map(|_| TcpStream::connect(server.s3).unwrap()).collect();
        assert!(pki.connect(server.s3).is_answered());
        silent.iter().all(is_open).then_some(())
    });
}

#[test]
fn sighup_reloads_certificates_and_accounts_without_dropping_connections() {
    let root = tempfile::tempdir().unwrap();
    let pki = Pki::new(root.path());
    pki.renew(90);
    let accounts = root.path().join("accounts.json");
    let write = |keys: &str| {
        let text = format!(r#"{{"accounts": [{{"id": "111111111111", "name": "one", "keys": [{keys}]}}]}}"#);
        fs::write(&accounts, text).unwrap();
    };
    let key = |access: &str| format!(r#"{{"access_key": "{access}", "secret_key": "{access}-0123456789"}}"#);
    write(&key("first-key"));
    let setup = Setup::single(root.path()).with("SHERD_ACCOUNTS_FILE", accounts.to_str().unwrap());
    let setup = setup.with("SHERD_ADMIN_TLS_CERT", &pki.path("cert.pem"));
    let server = setup.with("SHERD_ADMIN_TLS_KEY", &pki.path("key.pem")).start_unready();
    let works = |access: &str| {
        let keys = Keys::new(access, &format!("{access}-0123456789"));
        server.client().with_keys(keys).call("GET", "/", &[], &[], crate::harness::client::Body::None).unwrap().status
            == 200
    };
    let becomes = |access: &str, wanted: bool| {
        eventually(SOON, &format!("{access} to work: {wanted}"), || (works(access) == wanted).then_some(()));
    };
    becomes("first-key", true);
    let renewed = pki.renew(60);
    write(&key("second-key"));
    server.process().signal(Signal::HUP);
    becomes("second-key", true);
    becomes("first-key", false);
    eventually(SOON, "the new certificate to be shown", || {
        (pki.connect(server.admin).certificate() == renewed).then_some(())
    });
    let log = server.log();
    assert!(
        log.contains("SIGHUP: read again: the certificate of admin") && log.contains("; the accounts file"),
        "{log}"
    );
    fs::write(&accounts, "{").unwrap();
    server.process().signal(Signal::HUP);
    eventually(SOON, "the refusal to be logged", || server.log().contains("SHERD_ACCOUNTS_FILE: ").then_some(()));
    assert!(works("second-key"), "what was applied stays");
    let health = || {
        let url = format!("https://localhost:{}", server.admin.port());
        let output = admin_at(&server, &url, &["health", "--ca-file", &pki.path("authority.pem")]);
        String::from_utf8(output.stdout).unwrap()
    };
    let names = |words: &str| eventually(SOON, words, || health().contains(words).then_some(()));
    names("is refused: ");
    // It can be read, and not applied.
    let user = r#"{"name": "u", "policies": ["arn:aws:iam::111111111111:policy/absent"]}"#;
    let text = format!(r#"{{"accounts": [{{"id": "111111111111", "name": "one", "users": [{user}]}}]}}"#);
    fs::write(&accounts, text).unwrap();
    server.process().signal(Signal::HUP);
    names("nothing of the accounts file is applied: ");
    assert!(works("second-key"), "what was applied stays");
    write(&key("second-key"));
    server.process().signal(Signal::HUP);
    eventually(SOON, "health to name it no more", || (!health().contains("SHERD_ACCOUNTS_FILE")).then_some(()));
}

/// Runs `sherd admin` with this URL and these arguments.
fn admin_at(server: &Server, url: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sherd"));
    command.env_clear().env("SHERD_ACCESS_KEY", &server.keys.access).env("SHERD_SECRET_KEY", &server.keys.secret);
    command.args(["admin", "--url", url]).args(arguments).output().unwrap()
}

#[test]
fn sherd_admin_and_sherd_health_work_with_tls_on_the_admin_listener() {
    let root = tempfile::tempdir().unwrap();
    let pki = Pki::new(root.path());
    pki.renew(9);
    let setup = Setup::single(root.path()).with("SHERD_ADMIN_TLS_CERT", &pki.path("cert.pem"));
    let server = setup.with("SHERD_ADMIN_TLS_KEY", &pki.path("key.pem")).start_unready();
    let probe = server.setup().clone().with("SHERD_ADMIN_LISTEN", &server.admin.to_string());
    eventually(SOON, "sherd health to be 0", || probe.run(&["health"]).status.success().then_some(()));
    let (https, ca) = (format!("https://127.0.0.1:{}", server.admin.port()), pki.path("authority.pem"));
    let said = eventually(SOON, "the store to be ok", || {
        let output = admin_at(&server, &https, &["health", "--ca-file", &ca]);
        output.status.success().then(|| admin::text(&output))
    });
    assert!(said.contains("the certificate of the admin listener (SHERD_ADMIN_TLS_CERT) ends in 9 days"), "{said}");
    admin::text(&admin_at(&server, &format!("https://localhost:{}", server.admin.port()), &["info", "--ca-file", &ca]));
    let stranger = Pki::new(tempfile::tempdir().unwrap().path());
    fs::write(pki.path("other.pem"), pem("CERTIFICATE", &stranger.authority)).unwrap();
    let wary = admin_at(&server, &https, &["info", "--ca-file", &pki.path("other.pem")]);
    let why = String::from_utf8(wary.stderr).unwrap();
    assert!(
        wary.status.code() == Some(1) && why.contains("no TLS with") && why.contains("invalid peer certificate"),
        "{why}"
    );
    let plain = admin_at(&server, &format!("http://{}", server.admin), &["info"]);
    assert_eq!(plain.status.code(), Some(1), "plain HTTP is not answered");
}

/// Starts the binary in a pseudo-terminal, which closes when the returned process is killed.
fn in_terminal(setup: &Setup) -> Result<Child, String> {
    let mut command = Command::new("script");
    command.args(["-qec", concat!("exec ", env!("CARGO_BIN_EXE_sherd")), "/dev/null"]);
    command.env_clear().env("SHERD_DATA", &setup.dirs[0]).env("PATH", std::env::var("PATH").unwrap_or_default());
    command.env("SHERD_S3_LISTEN", "127.0.0.1:0").env("SHERD_ADMIN_LISTEN", "127.0.0.1:0");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.spawn().map_err(|error| format!("script (util-linux) cannot be started: {error}"))
}

#[test]
fn a_store_stops_when_its_terminal_is_closed() {
    let root = tempfile::tempdir().unwrap();
    let setup = Setup::single(root.path());
    let Some(mut terminal) = or_skipped(in_terminal(&setup)) else { return };
    let mut said = Vec::new();
    let mut output = terminal.stdout.take().unwrap();
    while !String::from_utf8_lossy(&said).contains("listening s3=") {
        let mut some = [0; 1024];
        let read = output.read(&mut some).unwrap();
        assert!(read > 0, "it ended: {}", String::from_utf8_lossy(&said));
        said.extend_from_slice(&some[..read]);
    }
    terminal.kill().unwrap();
    terminal.wait().unwrap();
    // While the first process runs, its directory is locked.
    let server = eventually(SOON, "the directory to be free", || setup.try_start().ok());
    assert!(!server.log().is_empty());
}
