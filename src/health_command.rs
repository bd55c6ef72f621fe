//! The command `sherd health`: asks a running store's admin listener whether it is ready. It is for health checks in
//! containers, which may have no other HTTP client.
//!
//! Over TLS it accepts any certificate: it connects to an address, which a certificate for a name does not cover. It
//! sends no secret, and the answer only decides whether this host is restarted.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(3);
/// The most bytes of an answer that are read and shown.
const ANSWER_BYTES_MAX: u64 = 16 << 10;

#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    #[error("{addr} does not answer: {cause}")]
    Unreachable { addr: SocketAddr, cause: io::Error },
    #[error("{addr} answers something that is not HTTP")]
    NotHttp { addr: SocketAddr },
    #[error("not ready ({status}): {why}")]
    NotReady { status: u16, why: String },
}

/// The protocol of the admin listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}

/// Returns `Ok` if the store whose admin listener is configured as `listen` is ready.
pub fn ready(listen: SocketAddr, scheme: Scheme) -> Result<(), ProbeError> {
    let addr = reachable(listen);
    let answer = get(addr, scheme, "/health/ready").map_err(|cause| ProbeError::Unreachable { addr, cause })?;
    let text = String::from_utf8_lossy(&answer);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&*text, ""));
    match status(head) {
        Some(200) => Ok(()),
        Some(status) => Err(ProbeError::NotReady { status, why: body.trim().to_owned() }),
        None => Err(ProbeError::NotHttp { addr }),
    }
}

/// Returns the address to probe: the loopback one for a listener on all addresses.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

fn get(addr: SocketAddr, scheme: Scheme, path: &str) -> io::Result<Vec<u8>> {
    let stream = TcpStream::connect_timeout(&addr, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    match scheme {
        Scheme::Http => exchange(stream, addr, path),
        Scheme::Https => exchange(secured(stream, addr).map_err(io::Error::other)?, addr, path),
    }
}

fn exchange(mut stream: impl Read + Write, addr: SocketAddr, path: &str) -> io::Result<Vec<u8>> {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n")?;
    stream.flush()?;
    let mut answer = Vec::new();
    match stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer) {
        // A server that closes the connection without a TLS close_notify has answered all the same.
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof || answer.is_empty() => Err(error),
        _ => Ok(answer),
    }
}

fn secured(tcp: TcpStream, addr: SocketAddr) -> Result<StreamOwned<ClientConnection, TcpStream>, Error> {
    let provider = Arc::new(default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    let connection = ClientConnection::new(Arc::new(config), ServerName::IpAddress(addr.ip().into()))?;
    Ok(StreamOwned::new(connection, tcp))
}

/// A verifier that accepts any certificate, but checks that the server has its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn status(head: &str) -> Option<u16> {
    let (version, rest) = head.split_once(' ')?;
    if !version.starts_with("HTTP/1.") {
        return None;
    }
    rest.get(..3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{ProbeError, Scheme, ready};
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener};
    use std::thread::JoinHandle;

    /// Starts a listener that answers one request with these bytes and closes.
    fn answering(answer: &'static [u8]) -> (SocketAddr, JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
                request.push(byte[0]);
            }
            stream.write_all(answer).unwrap();
            String::from_utf8(request).unwrap()
        });
        (addr, thread)
    }

    #[test]
    fn the_probe_succeeds_if_the_store_is_ready() {
        let (addr, asked) = answering(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        ready(SocketAddr::new("0.0.0.0".parse().unwrap(), addr.port()), Scheme::Http).unwrap();
        assert!(asked.join().unwrap().starts_with("GET /health/ready HTTP/1.1\r\n"));
    }

    #[test]
    fn the_probe_fails_with_the_reason_if_the_store_is_not_ready() {
        let (addr, _) = answering(b"HTTP/1.1 503 Service Unavailable\r\n\r\nno leader\n");
        match ready(addr, Scheme::Http) {
            Err(ProbeError::NotReady { status: 503, why }) => assert_eq!(why, "no leader"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_probe_fails_if_the_answer_is_not_http() {
        let (addr, _) = answering(b"220 mail.example.org ESMTP\r\n");
        assert!(matches!(ready(addr, Scheme::Http), Err(ProbeError::NotHttp { .. })));
    }

    #[test]
    fn the_probe_fails_if_nothing_listens() {
        let addr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(matches!(ready(addr, Scheme::Http), Err(ProbeError::Unreachable { .. })));
    }
}
