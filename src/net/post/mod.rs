//! A client that POSTs messages to a server outside the cluster, over HTTP/1.1 with TCP or TLS. It owns the idle
//! connections to the server, which are kept for later messages.
//!
//! A message has a known length. Only the status of the response is used: a short body is skipped, and after a long one
//! the connection is closed. The size and the time of a response are bounded. The server may have closed a kept
//! connection, so a message that fails on one is sent again on a new one. Therefore a message may arrive twice.

use futures::future::FutureExt;
use http::Uri;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// The longest time from the start of sending, or of connecting, to the end of the response.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(10);
/// The longest head of a response, and the longest body that is skipped so that the connection can be kept.
const HEAD_BYTES_MAX: usize = 16 << 10;
const BODY_BYTES_MAX: usize = 64 << 10;
const HEADERS_MAX: usize = 64;
/// The most idle connections that are kept to one server.
const KEPT_MAX: usize = 16;
/// The files in which Linux distributions keep the certificates of trusted authorities.
const SYSTEM_ROOTS: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The reason for which a message was not delivered, or a document not fetched.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    #[error("it did not answer within {}", Seconds(*.0))]
    Late(Duration),
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// The reason why requests cannot be sent to a URL: the URL itself, or the certificates of authorities to trust.
#[derive(Debug, thiserror::Error)]
pub enum PostSetupError {
    #[error("{url:?} is not a usable URL: {why}")]
    Url { url: String, why: &'static str },
    #[error("{path} is not a readable PEM file of certificates: {cause}")]
    Pem { path: PathBuf, cause: rustls_pki_types::pem::Error },
    #[error("{path} holds no certificate of an authority; expected certificates in PEM")]
    NoCertificate { path: PathBuf },
    #[error("no certificates of trusted authorities were found: configure a PEM file with them")]
    NoRoots,
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

impl PostSetupError {
    /// Returns whether the certificates of authorities are at fault, and not the URL.
    pub fn is_of_authorities(&self) -> bool {
        matches!(self, Self::Pem { .. } | Self::NoCertificate { .. } | Self::NoRoots)
    }
}

struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s", self.0.as_secs_f32())
    }
}

/// The parts of a URL that a request needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) tls: bool,
    pub(super) host: String,
    port: u16,
    /// The authority of the URL, for the `Host` header.
    pub(super) authority: String,
    /// The path and the query.
    pub(super) target: String,
}

impl Endpoint {
    pub(super) fn parse(url: &str) -> Result<Self, &'static str> {
        let uri: Uri = url.parse().map_err(|_| "it is malformed")?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err("it must begin with http:// or https://"),
        };
        let authority = uri.authority().ok_or("it names no host")?;
        if authority.as_str().contains('@') {
            return Err("it must not hold a name or password");
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err("it names no host");
        }
        Ok(Self {
            tls,
            host: host.to_owned(),
            port: authority.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            authority: authority.as_str().to_owned(),
            target: uri.path_and_query().map_or("/", |target| target.as_str()).to_owned(),
        })
    }
}

/// A connection, with or without TLS.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// The TLS connector for a server, and the server's name.
pub(super) type Secured = (TlsConnector, ServerName<'static>);

/// A client for one server.
pub struct Poster {
    endpoint: Endpoint,
    tls: Option<Secured>,
    kept: Mutex<Vec<Box<dyn Stream>>>,
    wait_max: Duration,
}

impl fmt::Debug for Poster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poster").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Poster {
    /// Makes a client. With `https`, the server's certificate must be signed by an authority in the file `roots`, or
    /// without such a file by one that the system trusts.
    pub fn new(url: &str, roots: Option<&Path>) -> Result<Self, PostSetupError> {
        let endpoint = Endpoint::parse(url).map_err(|why| PostSetupError::Url { url: url.to_owned(), why })?;
        let tls = if endpoint.tls { Some(secured(&endpoint, url, roots)?) } else { None };
        Ok(Self { endpoint, tls, kept: Mutex::default(), wait_max: ANSWER_WAIT_MAX })
    }

    /// Sends a message and returns the status of the response. Names and values of headers must be valid in HTTP.
    pub async fn post(&self, headers: &[(&str, &str)], body: &[u8]) -> Result<u16, PostError> {
        let request = self.request(headers, body);
        let answered = timeout(self.wait_max, self.send(&request)).await;
        if answered.is_err() {
            // A gateway may have forgotten all idle connections at once, and drop what is sent over them.
            self.kept().clear();
        }
        Ok(answered.map_err(|_| PostError::Late(self.wait_max))??)
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Box<dyn Stream>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a kept connection on which the server has neither ended nor sent anything, such as a 408.
    fn take_kept(&self) -> Option<Box<dyn Stream>> {
        loop {
            let mut stream = self.kept().pop()?;
            if stream.read(&mut [0]).now_or_never().is_none() {
                return Some(stream);
            }
        }
    }

    /// Returns the request in one piece, so that it leaves in as few packets as possible.
    fn request(&self, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
        let Endpoint { target, authority, .. } = &self.endpoint;
        let mut head = format!("POST {target} HTTP/1.1\r\nHost: {authority}\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            head.extend([*name, ": ", *value, "\r\n"]);
        }
        head.push_str("\r\n");
        [head.as_bytes(), body].concat()
    }

    async fn send(&self, request: &[u8]) -> io::Result<u16> {
        if let Some(stream) = self.take_kept()
            && let Ok(status) = self.exchange(stream, request).await
        {
            return Ok(status);
        }
        self.exchange(connect(&self.endpoint, self.tls.as_ref()).await?, request).await
    }

    async fn exchange(&self, mut stream: Box<dyn Stream>, request: &[u8]) -> io::Result<u16> {
        stream.write_all(request).await?;
        stream.flush().await?;
        let answer = read_answer(&mut stream).await?;
        let mut kept = self.kept();
        if answer.may_be_kept && kept.len() < KEPT_MAX {
            kept.push(stream);
        }
        Ok(answer.status)
    }
}

pub(super) async fn connect(endpoint: &Endpoint, tls: Option<&Secured>) -> io::Result<Box<dyn Stream>> {
    let tcp = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await?;
    tcp.set_nodelay(true)?;
    Ok(match tls {
        None => Box::new(tcp),
        Some((connector, name)) => Box::new(connector.connect(name.clone(), tcp).await?),
    })
}

pub(super) fn secured(endpoint: &Endpoint, url: &str, roots: Option<&Path>) -> Result<Secured, PostSetupError> {
    let name = ServerName::try_from(endpoint.host.clone())
        .map_err(|_| PostSetupError::Url { url: url.to_owned(), why: "its host is neither a name nor an address" })?;
    Ok((TlsConnector::from(Arc::new(client_config(roots)?)), name))
}

/// Returns the TLS configuration of a client that trusts the authorities in the file `roots`, or without such a file
/// those that the system trusts.
pub fn client_config(roots: Option<&Path>) -> Result<ClientConfig, PostSetupError> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(read_roots(roots)?)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn read_roots(named: Option<&Path>) -> Result<RootCertStore, PostSetupError> {
    let system = || SYSTEM_ROOTS.iter().map(Path::new).find(|path| path.exists());
    let path = named.or_else(system).ok_or(PostSetupError::NoRoots)?;
    let pem = |cause| PostSetupError::Pem { path: path.to_owned(), cause };
    let certificates = CertificateDer::pem_file_iter(path).map_err(pem)?.collect::<Result<Vec<_>, _>>().map_err(pem)?;
    let mut store = RootCertStore::empty();
    // Certificates of an unsupported kind are skipped, as a system's file may contain some.
    let (added, _) = store.add_parsable_certificates(certificates);
    if added == 0 { Err(PostSetupError::NoCertificate { path: path.to_owned() }) } else { Ok(store) }
}

struct Answer {
    status: u16,
    /// True if the response ended at its announced length, and the server keeps the connection open.
    may_be_kept: bool,
}

/// The head of a response.
pub(super) struct Head {
    /// The length of the head.
    pub(super) bytes: usize,
    pub(super) status: u16,
    /// The length of the body; `None` if the head does not announce it.
    pub(super) body_bytes: Option<usize>,
    closes: bool,
}

async fn read_answer(stream: &mut Box<dyn Stream>) -> io::Result<Answer> {
    let mut received = Vec::with_capacity(1024);
    loop {
        let Some(head) = parse_head(&received)? else {
            if received.len() >= HEAD_BYTES_MAX {
                return Err(malformed("the head of its answer is too long"));
            }
            read_some(stream, &mut received).await?;
            continue;
        };
        // An interim response (1xx); the final one follows.
        if (100..200).contains(&head.status) {
            received.drain(..head.bytes);
            continue;
        }
        let whole = head.body_bytes.filter(|bytes| *bytes <= BODY_BYTES_MAX).map(|bytes| head.bytes + bytes);
        let (Some(whole), false) = (whole, head.closes) else {
            return Ok(Answer { status: head.status, may_be_kept: false });
        };
        while received.len() < whole {
            if read_some(stream, &mut received).await.is_err() {
                return Ok(Answer { status: head.status, may_be_kept: false });
            }
        }
        return Ok(Answer { status: head.status, may_be_kept: received.len() == whole });
    }
}

async fn read_some(stream: &mut Box<dyn Stream>, received: &mut Vec<u8>) -> io::Result<()> {
    if stream.read_buf(received).await? == 0 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection without an answer"));
    }
    Ok(())
}

/// Parses the head of a response; `None` if it is not complete yet.
pub(super) fn parse_head(received: &[u8]) -> io::Result<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(received).map_err(|_| malformed("its answer is not HTTP"))?;
    let httparse::Status::Complete(bytes) = parsed else { return Ok(None) };
    let status = response.code.unwrap_or_default();
    let value = |name: &str| {
        let found = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.and_then(|header| std::str::from_utf8(header.value).ok()).map(str::trim)
    };
    let chunked = value("transfer-encoding").is_some();
    let length = value("content-length").and_then(|length| length.parse::<usize>().ok());
    let closes = value("connection").is_some_and(|word| word.eq_ignore_ascii_case("close"));
    Ok(Some(Head {
        bytes,
        status,
        body_bytes: if matches!(status, 204 | 304) { Some(0) } else { length.filter(|_| !chunked) },
        closes: closes || response.version != Some(1),
    }))
}

fn malformed(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
#[cfg(test)]
mod tests;
