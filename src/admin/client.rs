//! A small blocking HTTP/1.1 client for the admin listener, over TCP or TLS: one signed request for each connection,
//! every wait bounded, long answers streamed.

use super::AdminFailure;
use crate::ambient::Ambient;
use crate::api::admin::AdminFault;
use crate::config::{Credentials, Trust};
use crate::net::client_config;
use crate::sigv4::Signer;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use rustls_pki_types::ServerName;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

const CONNECT_WAIT_MAX: Duration = Duration::from_secs(5);
/// The longest wait for the next bytes of an answer: a host may take this long to hand over the Raft leadership.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(60);
const LINE_BYTES_MAX: u64 = 16 << 10;
const HEADERS_MAX: usize = 100;
/// The largest answer that is read whole.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
const SERVICE: &str = "sherd-admin";

/// A client of one host's admin listener, with the credentials that sign its requests.
pub struct Client {
    pub authority: String,
    /// TLS; `None` for plain HTTP.
    pub tls: Option<Tls>,
    pub credentials: Credentials,
    pub region: String,
    pub ambient: Ambient,
}

/// The TLS configuration, and the name that the listener's certificate must have.
pub struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Tls {
    pub fn new(authority: &str, trust: &Trust) -> Result<Self, AdminFailure> {
        let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let untrusted = |cause: String| AdminFailure::Untrusted { authority: authority.to_owned(), cause };
        let name =
            ServerName::try_from(host).map_err(|_| untrusted("its host is not a DNS name or an address".to_owned()))?;
        let config = client_config(trust.ca_file.as_deref()).map_err(|error| untrusted(error.to_string()))?;
        Ok(Self { config: Arc::new(config), name })
    }

    /// Completes the handshake, so that an untrusted certificate is refused before anything is sent.
    fn secure(&self, mut tcp: TcpStream) -> io::Result<Box<dyn Stream>> {
        let mut connection =
            ClientConnection::new(Arc::clone(&self.config), self.name.clone()).map_err(io::Error::other)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut tcp)?;
        }
        Ok(Box::new(StreamOwned::new(connection, tcp)))
    }
}

/// A connection, over TCP or TLS.
trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// A body that is read while it arrives. If it is cut off, the last read fails.
pub type Body = Box<dyn BufRead>;

impl Client {
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, AdminFailure> {
        self.read_whole(self.send("GET", path, b"")?)
    }

    pub fn post<T: DeserializeOwned>(&self, path: &str, change: &impl Serialize) -> Result<T, AdminFailure> {
        let body = serde_json::to_vec(change).map_err(|error| self.broken(&error.into()))?;
        self.read_whole(self.send("POST", path, &body)?)
    }

    /// Returns the body of a long answer, to be read while it arrives.
    pub fn stream(&self, path: &str) -> Result<Body, AdminFailure> {
        self.send("GET", path, b"")
    }

    fn read_whole<T: DeserializeOwned>(&self, body: Body) -> Result<T, AdminFailure> {
        let mut bytes = Vec::new();
        body.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes).map_err(|error| self.broken(&error))?;
        serde_json::from_slice(&bytes).map_err(|error| match error.classify() {
            // The answer is complete and not JSON.
            Category::Syntax | Category::Eof => self.not_admin(words_of_no_json(&bytes)),
            Category::Io | Category::Data => self.broken(&error.into()),
        })
    }

    fn not_admin(&self, why: &str) -> AdminFailure {
        AdminFailure::NotAdmin { authority: self.authority.clone(), why: why.to_owned() }
    }

    pub fn broken(&self, cause: &io::Error) -> AdminFailure {
        AdminFailure::Broken { authority: self.authority.clone(), cause: cause.to_string() }
    }

    /// Returns the failure of a TLS handshake. Only an error of TLS itself has to do with trust: the connection may also
    /// end because the host is stopping, or because a balancer in front of it finds no host.
    fn failed_handshake(&self, cause: &io::Error) -> AdminFailure {
        let is_of_tls = cause.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
        let authority = self.authority.clone();
        match is_of_tls {
            true => AdminFailure::Untrusted { authority, cause: cause.to_string() },
            false => AdminFailure::Broken { authority, cause: format!("the TLS handshake did not end: {cause}") },
        }
    }

    /// Sends a request; returns the body of a successful answer.
    fn send(&self, method: &str, path: &str, body: &[u8]) -> Result<Body, AdminFailure> {
        let unreachable = |cause: io::Error| AdminFailure::Unreachable {
            authority: self.authority.clone(),
            cause: cause.to_string(),
        };
        let tcp = self.connect().map_err(unreachable)?;
        let mut stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(tcp),
            Some(tls) => tls.secure(tcp).map_err(|cause| self.failed_handshake(&cause))?,
        };
        let request = self.request(method, path, body);
        let sent = stream.write_all(&request).and_then(|()| stream.flush()).and_then(|()| read_head(stream));
        let (status, answer) = sent.map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => self.not_admin(&format!("it does not answer in HTTP ({error})")),
            _ => self.broken(&error),
        })?;
        if status == 200 {
            return Ok(answer);
        }
        let fault: AdminFault = self.read_whole(answer)?;
        Err(AdminFailure::Refused { status, code: fault.code, message: fault.message })
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let mut last = io::Error::other("the name has no address");
        for address in self.authority.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, CONNECT_WAIT_MAX) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    stream.set_read_timeout(Some(ANSWER_WAIT_MAX))?;
                    stream.set_write_timeout(Some(ANSWER_WAIT_MAX))?;
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn request(&self, method: &str, path: &str, body: &[u8]) -> Vec<u8> {
        let signer = Signer {
            access_key: &self.credentials.access_key,
            secret_key: &self.credentials.secret_key,
            region: &self.region,
            service: SERVICE,
        };
        let target = format!("/admin/v1{path}");
        let seconds = self.ambient.clock.unix_ms().0 / 1000;
        let signed = signer.headers(seconds, method, &target, &self.authority, body);
        let mut request = format!("{method} {target} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", self.authority);
        for (name, value) in signed {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            request.push_str("content-type: application/json\r\n");
        }
        request.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
        let mut request = request.into_bytes();
        request.extend_from_slice(body);
        request
    }
}

/// Adds the parameter `host` to a path, if one host is selected.
pub fn with_host(path: &str, host: Option<&str>) -> String {
    let Some(host) = host else { return path.to_owned() };
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    let escaped = host.bytes().map(|byte| match is_plain(&byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    });
    format!("{path}?host={}", escaped.collect::<String>())
}

/// Describes an answer that is not JSON.
fn words_of_no_json(answer: &[u8]) -> &'static str {
    match answer.trim_ascii_start().starts_with(b"<?xml") {
        true => "it answers in XML, as the S3 listener does",
        false => "its answer is not JSON",
    }
}

/// Reads the head of an answer; returns its status, and its body.
fn read_head(stream: impl Read + 'static) -> io::Result<(u16, Body)> {
    let mut from = BufReader::new(stream);
    let first = read_line(&mut from)?;
    let status = first.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok());
    let status =
        status.ok_or_else(|| malformed("it does not speak plain HTTP: a listener with TLS has a URL with https://"))?;
    let (mut length, mut chunked) = (None, false);
    for _ in 0..HEADERS_MAX {
        let line = read_line(&mut from)?;
        let Some((name, value)) = line.split_once(':') else {
            let body: Box<dyn BufRead> = match length {
                _ if chunked => Box::new(BufReader::new(Chunked { from, left: 0, begun: false, done: false })),
                Some(length) => Box::new(BufReader::new(OfLength { from, left: length })),
                None => return Err(malformed("an answer without Content-Length and chunks")),
            };
            return if line.is_empty() { Ok((status, body)) } else { Err(malformed("a header without a colon")) };
        };
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.parse().map_err(|_| malformed("a Content-Length that is not a number"))?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            chunked = value.eq_ignore_ascii_case("chunked");
        }
    }
    Err(malformed("far too many headers"))
}

/// Reads a line; returns it without its end.
fn read_line(from: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    from.take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
    let line = line.strip_suffix(b"\n").ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    String::from_utf8(line.to_vec()).map_err(|_| malformed("a line that is not text"))
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// A body with a `Content-Length`.
struct OfLength<R> {
    from: R,
    left: u64,
}

impl<R: Read> Read for OfLength<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let wanted = into.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if wanted == 0 {
            return Ok(0);
        }
        let read = self.from.read(&mut into[..wanted])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= read as u64;
        Ok(read)
    }
}

/// A body in chunks (RFC 9112, section 7.1).
struct Chunked<R> {
    from: R,
    /// The bytes left of the current chunk.
    left: u64,
    begun: bool,
    done: bool,
}

impl<R: BufRead> Chunked<R> {
    fn next_chunk(&mut self) -> io::Result<()> {
        if self.begun && !read_line(&mut self.from)?.is_empty() {
            return Err(malformed("a chunk that is longer than its size"));
        }
        self.begun = true;
        let line = read_line(&mut self.from)?;
        let size = line.split(';').next().unwrap_or_default().trim();
        self.left = u64::from_str_radix(size, 16).map_err(|_| malformed("a chunk size that is not a number"))?;
        if self.left == 0 {
            // Skips trailers (there should be none) and the empty line.
            while !read_line(&mut self.from)?.is_empty() {}
            self.done = true;
        }
        Ok(())
    }
}

impl<R: BufRead> Read for Chunked<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 && !self.done && !into.is_empty() {
            self.next_chunk()?;
        }
        if self.done || into.is_empty() {
            return Ok(0);
        }
        let read = OfLength { from: &mut self.from, left: self.left }.read(into)?;
        self.left -= read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::{AdminFailure, Client, Tls, read_head};
    use crate::ambient::Ambient;
    use crate::config::Credentials;
    use rustls::crypto::aws_lc_rs::default_provider;
    use rustls::{ClientConfig, RootCertStore};
    use rustls_pki_types::ServerName;
    use std::io::{Cursor, Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;
    use std::thread;

    /// Returns the failure of a request over TLS, of which the peer does this with the connection.
    fn failure(peer: impl FnOnce(TcpStream) + Send + 'static) -> AdminFailure {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let authority = listener.local_addr().expect("it is bound").to_string();
        let peer = thread::spawn(move || peer(listener.accept().expect("a connection").0));
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").expect("a name");
        let credentials = Credentials { access_key: "k".to_owned(), secret_key: "s".to_owned() };
        let tls = Some(Tls { config: Arc::new(config), name });
        let client = Client { authority, tls, credentials, region: "r".to_owned(), ambient: Ambient::system() };
        let failed = client.stream("/info").err().expect("the peer is no host");
        peer.join().expect("the peer has no trouble");
        failed
    }

    #[test]
    fn a_handshake_that_is_cut_off_may_pass_and_one_that_fails_may_not() {
        let after_hello = |mut stream: TcpStream| stream.read_exact(&mut [0; 5]).expect("a record begins");
        for cut_off in [failure(drop), failure(after_hello)] {
            assert!(cut_off.may_pass(), "{cut_off}");
        }
        let plain = failure(|mut stream| {
            stream.read_exact(&mut [0; 5]).expect("a record begins");
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").expect("it is sent");
            // A connection that is closed with bytes unread is reset, and its answer lost.
            let _ = stream.read_to_end(&mut Vec::new());
        });
        assert!(!plain.may_pass() && matches!(plain, AdminFailure::Untrusted { .. }), "{plain}");
    }

    fn read(answer: &'static str) -> std::io::Result<(u16, String)> {
        let (status, mut body) = read_head(Cursor::new(answer))?;
        let mut text = String::new();
        body.read_to_string(&mut text)?;
        Ok((status, text))
    }

    #[test]
    fn a_body_is_read_by_its_content_length_or_its_chunks() {
        let sized = read("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nx: y\r\n\r\nhello, and more").expect("whole");
        assert_eq!(sized, (200, "hello".to_owned()));
        let chunked = "HTTP/1.1 503 no\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n1;x=y\r\n!\r\n0\r\n\r\n";
        assert_eq!(read(chunked).expect("whole"), (503, "hello!".to_owned()));
    }

    #[test]
    fn a_truncated_or_malformed_answer_is_an_error() {
        for answer in [
            "",
            "220 mail.example.org ESMTP\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
            "HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello, and more\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        ] {
            assert!(read(answer).is_err(), "{answer:?}");
        }
    }
}
