//! One HTTP request to an ACME server and its answer: HTTP/1.1 over TLS, a connection for each. What the server sends is
//! bounded in size and in time. Redirections are not followed.

use super::AcmeError;
use crate::net::post::{Endpoint, connect};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// The longest time from the connection's making to the answer's end.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(30);
/// The greatest answer, its head included.
const ANSWER_BYTES_MAX: usize = 128 << 10;
const HEADERS_MAX: usize = 64;
/// Servers of Let's Encrypt require that a client names itself.
const USER_AGENT: &str = concat!("sherd/", env!("CARGO_PKG_VERSION"));

pub(super) struct Answer {
    pub status: u16,
    /// The nonce for the next request.
    pub nonce: Option<String>,
    /// The URL of what was made.
    pub location: Option<String>,
    pub retry_after: Option<Duration>,
    pub body: Vec<u8>,
}

/// Sends one request; `body`: that of a POST.
pub(super) async fn exchange(
    tls: &Arc<ClientConfig>,
    method: &str,
    url: &str,
    body: Option<&[u8]>,
) -> Result<Answer, AcmeError> {
    let failed = |why: String| AcmeError::Unreachable { url: url.to_owned(), why };
    let endpoint = Endpoint::parse(url).map_err(|why| failed(why.to_owned()))?;
    if !endpoint.tls {
        return Err(failed("it must begin with https://".to_owned()));
    }
    let name = ServerName::try_from(endpoint.host.clone())
        .map_err(|_| failed("its host is neither a name nor an address".to_owned()))?;
    let secured = (TlsConnector::from(Arc::clone(tls)), name);
    let request = request(&endpoint, method, body);
    let received = timeout(ANSWER_WAIT_MAX, async {
        let mut stream = connect(&endpoint, Some(&secured)).await?;
        stream.write_all(&request).await?;
        stream.flush().await?;
        let mut received = Vec::with_capacity(4096);
        let mut limited = stream.take(ANSWER_BYTES_MAX as u64 + 1);
        match limited.read_to_end(&mut received).await {
            // Many servers close TLS without saying so; the framing shows whether the answer is whole, if it has one.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok((received, false)),
            Err(error) => Err(error),
            Ok(_) => Ok((received, true)),
        }
    });
    let received = received.await.map_err(|_| failed(format!("no answer within {} s", ANSWER_WAIT_MAX.as_secs())))?;
    let (received, ended) = received.map_err(|error| failed(error.to_string()))?;
    if received.len() > ANSWER_BYTES_MAX {
        return Err(failed(format!("its answer has more than {ANSWER_BYTES_MAX} bytes")));
    }
    parse(&received, method == "HEAD", ended).map_err(|why| failed(why.to_owned()))
}

fn request(endpoint: &Endpoint, method: &str, body: Option<&[u8]>) -> Vec<u8> {
    let Endpoint { target, authority, .. } = endpoint;
    let mut head = format!(
        "{method} {target} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: {USER_AGENT}\r\nConnection: close\r\nAccept: */*\r\n"
    );
    if let Some(body) = body {
        head.push_str(&format!("Content-Type: application/jose+json\r\nContent-Length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    [head.as_bytes(), body.unwrap_or_default()].concat()
}

/// Parses a whole answer, as it was received until the connection's end. Unless TLS `ended` properly, which an attacker
/// cannot forge, the end proves nothing.
fn parse(received: &[u8], bodiless: bool, ended: bool) -> Result<Answer, &'static str> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let Ok(httparse::Status::Complete(head_bytes)) = response.parse(received) else {
        return Err("its answer is not HTTP");
    };
    let value = |name: &str| {
        let found = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.and_then(|header| std::str::from_utf8(header.value).ok()).map(str::trim)
    };
    let body = received.get(head_bytes..).unwrap_or_default();
    let body = match (bodiless, value("transfer-encoding"), value("content-length")) {
        (true, ..) => Vec::new(),
        (false, Some(coding), _) if coding.eq_ignore_ascii_case("chunked") => unchunked(body)?,
        (false, Some(_), _) => return Err("its answer has an unknown transfer coding"),
        (false, None, Some(length)) => {
            let length = length.parse::<usize>().map_err(|_| "its answer has a malformed length")?;
            body.get(..length).ok_or("its answer ended too early")?.to_vec()
        }
        (false, None, None) if !ended => return Err("its answer has no length, and may have been cut"),
        (false, None, None) => body.to_vec(),
    };
    Ok(Answer {
        status: response.code.unwrap_or_default(),
        nonce: value("replay-nonce").map(str::to_owned),
        location: value("location").map(str::to_owned),
        retry_after: value("retry-after").and_then(|text| text.parse().ok()).map(Duration::from_secs),
        body,
    })
}

/// Removes the chunked framing (RFC 9112, section 7.1).
fn unchunked(mut framed: &[u8]) -> Result<Vec<u8>, &'static str> {
    const CUT: &str = "its answer ended too early";
    let mut body = Vec::with_capacity(framed.len());
    loop {
        let size = httparse::parse_chunk_size(framed).map_err(|_| "its answer has a malformed chunk")?;
        let httparse::Status::Complete((begins, size)) = size else { return Err(CUT) };
        if size == 0 {
            return Ok(body);
        }
        let size = usize::try_from(size).map_err(|_| CUT)?;
        let rest = framed.get(begins..).unwrap_or_default();
        let (chunk, rest) = rest.split_at_checked(size).ok_or(CUT)?;
        body.extend_from_slice(chunk);
        framed = rest.strip_prefix(b"\r\n").ok_or(CUT)?;
    }
}

#[cfg(test)]
mod tests {
    use super::parse;
    use std::time::Duration;

    #[test]
    fn an_answer_is_parsed_in_each_framing() {
        for answer in [
            "HTTP/1.1 201 Created\r\nReplay-Nonce: n1\r\nLocation: https://a/b\r\nRetry-After: 3\r\nContent-Length: 4\r\n\r\nbody",
            "HTTP/1.1 201 Created\r\nreplay-nonce: n1\r\nlocation: https://a/b\r\nretry-after: 3\r\n\r\nbody",
            "HTTP/1.1 201 Created\r\nReplay-Nonce: n1\r\nLocation: https://a/b\r\nRetry-After: 3\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n2;x=y\r\ndy\r\n0\r\n\r\n",
        ] {
            let parsed = parse(answer.as_bytes(), false, true).expect(answer);
            assert_eq!((parsed.status, parsed.body.as_slice()), (201, b"body".as_slice()), "{answer}");
            assert_eq!((parsed.nonce.as_deref(), parsed.location.as_deref()), (Some("n1"), Some("https://a/b")));
            assert_eq!(parsed.retry_after, Some(Duration::from_secs(3)));
        }
        let head = parse(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", true, true).expect("an answer to HEAD");
        assert!(head.body.is_empty());
    }

    #[test]
    fn a_cut_or_malformed_answer_is_refused() {
        for answer in [
            "nonsense\r\n\r\n",
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nbody",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nbody",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nbody",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbody",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nbody\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nbody\r\n",
        ] {
            assert!(parse(answer.as_bytes(), false, true).is_err(), "{answer}");
        }
        let unframed = b"HTTP/1.1 200 OK\r\n\r\nbody";
        assert!(parse(unframed, false, true).is_ok());
        assert!(parse(unframed, false, false).is_err(), "nothing shows whether it was cut");
        assert!(parse(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody", false, false).is_ok());
    }
}
