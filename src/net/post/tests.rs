//! Messages to servers that behave, and to servers that do not.

use super::{Endpoint, HEAD_BYTES_MAX, PostError, PostSetupError, Poster};
use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls_pki_types::PrivateKeyDer;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// Answers each request on a connection with the next of `answers`. Returns the requests.
async fn serve(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), answers: &[&str]) -> Vec<String> {
    let mut heard = Vec::new();
    for answer in answers {
        let mut request = Vec::new();
        while !is_whole(&request) {
            if stream.read_buf(&mut request).await.expect("bytes") == 0 {
                return heard;
            }
        }
        heard.push(String::from_utf8(request).expect("text"));
        stream.write_all(answer.as_bytes()).await.expect("written");
    }
    heard
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).expect("a length");
    body.len() == length.parse::<usize>().expect("a number")
}

/// Starts a server that accepts one connection after the other and sends each its answers. Returns a client of it, and
/// the task that returns the requests of each connection.
async fn server(connections: Vec<Vec<&'static str>>) -> (Poster, JoinHandle<Vec<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let served = tokio::spawn(async move {
        let mut heard = Vec::new();
        for answers in connections {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            heard.push(serve(&mut stream, &answers).await);
        }
        heard
    });
    (Poster::new(&format!("http://127.0.0.1:{port}/hook?a=b"), None).expect("a poster"), served)
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

#[tokio::test]
async fn messages_share_a_connection_while_the_server_keeps_it_open() {
    let (poster, served) = server(vec![vec![OK, "HTTP/1.1 204 No Content\r\n\r\n", OK]]).await;
    for status in [200, 204, 200] {
        assert_eq!(poster.post(&[("X-Word", "x")], b"{}").await.expect("an answer"), status);
    }
    let heard = served.await.expect("served");
    assert_eq!(heard[0].len(), 3);
    let expected = "POST /hook?a=b HTTP/1.1\r\nHost: 127.0.0.1:";
    assert!(heard[0][0].starts_with(expected), "{}", heard[0][0]);
    assert!(heard[0][0].ends_with("Content-Length: 2\r\nX-Word: x\r\n\r\n{}"), "{}", heard[0][0]);
}

#[tokio::test]
async fn a_connection_is_not_kept_if_the_response_does_not_allow_it() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let closing = "HTTP/1.1 503 Away\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let old = "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n";
    let (poster, served) = server(vec![vec![chunked], vec![closing], vec![old], vec![OK]]).await;
    for status in [200, 503, 200, 200] {
        assert_eq!(poster.post(&[], b"{}").await.expect("an answer"), status);
    }
    assert_eq!(served.await.expect("served").len(), 4);
}

#[tokio::test]
async fn a_message_is_sent_again_if_a_kept_connection_was_closed() {
    let (poster, served) = server(vec![vec![OK], vec![OK]]).await;
    assert_eq!(poster.post(&[], b"1").await.expect("an answer"), 200);
    assert_eq!(poster.post(&[], b"2").await.expect("an answer"), 200);
    let heard = served.await.expect("served");
    assert!(heard[1][0].ends_with("\r\n\r\n2"));
}

/// A gateway that forgets idle connections drops what is sent over them.
#[tokio::test]
async fn kept_connections_are_given_up_once_an_answer_is_late() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let mut poster = Poster::new(&format!("http://127.0.0.1:{port}/"), None).expect("a poster");
    let answer = |mut stream: TcpStream| async move {
        serve(&mut stream, &[OK]).await;
        stream
    };
    let mut silent = Vec::new();
    for _ in 0..3 {
        let kept = std::mem::take(&mut *poster.kept());
        let posted = poster.post(&[], b"1");
        let (posted, stream) = tokio::join!(posted, async { answer(listener.accept().await.expect("one").0).await });
        assert_eq!(posted.expect("an answer"), 200);
        poster.kept().extend(kept);
        silent.push(stream);
    }
    assert_eq!(poster.kept().len(), 3);
    poster.wait_max = Duration::from_millis(50);
    assert!(matches!(poster.post(&[], b"2").await, Err(PostError::Late(_))));
    assert!(poster.kept().is_empty(), "the others may be as dead");
}

#[tokio::test]
async fn a_kept_connection_on_which_the_server_spoke_unasked_is_not_used() {
    let late = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let poster = Poster::new(&format!("http://127.0.0.1:{port}/"), None).expect("a poster");
    let first = async {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        serve(&mut stream, &[late]).await;
        stream
    };
    let (posted, mut stream) = tokio::join!(poster.post(&[], b"1"), first);
    assert_eq!(posted.expect("an answer"), 200);
    stream.write_all(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n").await.expect("written");
    // Until it has arrived.
    let mut kept = poster.kept().pop().expect("kept");
    kept.read_exact(&mut [0]).await.expect("a byte");
    poster.kept().push(kept);
    let second = async {
        let (mut stream, _) = listener.accept().await.expect("a new connection");
        serve(&mut stream, &[OK]).await
    };
    let (posted, heard) = tokio::join!(poster.post(&[], b"2"), second);
    assert_eq!((posted.expect("an answer"), heard.len()), (200, 1));
}

#[tokio::test]
async fn an_interim_response_is_skipped() {
    let (poster, _served) =
        server(vec![vec!["HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n"]]).await;
    assert_eq!(poster.post(&[], b"1").await.expect("an answer"), 400);
}

#[tokio::test]
async fn a_malformed_or_missing_response_is_an_error() {
    let endless: &'static str =
        Box::leak(format!("HTTP/1.1 200 OK\r\nA: {}", "a".repeat(HEAD_BYTES_MAX)).into_boxed_str());
    for answer in ["nonsense\r\n\r\n", "", endless, "HTTP/1.1 200"] {
        let (poster, _served) = server(vec![vec![answer]]).await;
        assert!(matches!(poster.post(&[], b"1").await, Err(PostError::Io(_))), "{answer:.20}");
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let mut poster = Poster::new(&format!("http://127.0.0.1:{port}/"), None).expect("a poster");
    poster.wait_max = Duration::from_millis(50);
    assert!(matches!(poster.post(&[], b"1").await, Err(PostError::Late(_))));
}

fn pem(certificate: &Certificate) -> String {
    let text = base64_simd::STANDARD.encode_to_string(certificate.der());
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

#[tokio::test]
async fn a_tls_server_is_trusted_only_by_the_configured_authority() {
    let authority_key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&authority_key).expect("a certificate");
    let key = KeyPair::generate().expect("a key");
    let leaf = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    let leaf = leaf.signed_by(&key, &Issuer::new(params, authority_key)).expect("a certificate");
    let private = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], private)
        .expect("a pair");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                serve(&mut stream, &[OK]).await;
            }
        }
    });
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("roots.pem");
    std::fs::write(&file, pem(&authority)).expect("written");
    let url = format!("https://localhost:{port}/");
    let trusting = Poster::new(&url, Some(&file)).expect("a poster");
    assert_eq!(trusting.post(&[], b"{}").await.expect("an answer"), 200);
    let other = CertificateParams::default().self_signed(&KeyPair::generate().expect("a key")).expect("a certificate");
    std::fs::write(&file, pem(&other)).expect("written");
    let wary = Poster::new(&url, Some(&file)).expect("a poster");
    assert!(matches!(wary.post(&[], b"{}").await, Err(PostError::Io(_))));
}

#[test]
fn a_file_of_authorities_without_a_certificate_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("roots.pem");
    std::fs::write(&file, "# no certificate is here\n").expect("written");
    let refused = Poster::new("https://localhost/", Some(&file)).expect_err("nobody is trusted");
    assert!(refused.is_of_authorities());
    assert!(refused.to_string().starts_with(&format!("{} holds no certificate", file.display())), "{refused}");
}

#[test]
fn a_url_without_scheme_or_host_or_with_a_password_is_refused() {
    let endpoint = Endpoint::parse("https://[::1]:8443/a/b?c=d").expect("an endpoint");
    assert_eq!((endpoint.host.as_str(), endpoint.port, endpoint.tls), ("::1", 8443, true));
    assert_eq!((endpoint.authority.as_str(), endpoint.target.as_str()), ("[::1]:8443", "/a/b?c=d"));
    let endpoint = Endpoint::parse("http://example.org").expect("an endpoint");
    assert_eq!((endpoint.port, endpoint.target.as_str()), (80, "/"));
    for url in ["", "example.org", "ftp://example.org/", "http://user:password@example.org/", "http:///a", "/a"] {
        assert!(matches!(Poster::new(url, None), Err(PostSetupError::Url { .. })), "{url}");
    }
}
