//! A client that fetches small documents from servers outside the cluster. Each GET has a connection of its own and
//! uses HTTP/1.0, so that the response has no chunked encoding and ends with the connection. Redirections are not
//! followed.

use super::post::{Endpoint, PostError, PostSetupError, Secured, Stream, connect, parse_head, secured};
use std::fmt;
use std::io;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// The longest time from the start of connecting to the end of the response.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(5);
const HEAD_BYTES_MAX: usize = 16 << 10;

/// A client for one document.
pub struct Fetcher {
    endpoint: Endpoint,
    tls: Option<Secured>,
}

impl fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetcher").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Fetcher {
    /// Makes a client. With `https`, the server's certificate must be signed by an authority in the file `roots`, or
    /// without such a file by one that the system trusts.
    pub fn new(url: &str, roots: Option<&Path>) -> Result<Self, PostSetupError> {
        let endpoint = Endpoint::parse(url).map_err(|why| PostSetupError::Url { url: url.to_owned(), why })?;
        let tls = if endpoint.tls { Some(secured(&endpoint, url, roots)?) } else { None };
        Ok(Self { endpoint, tls })
    }

    /// Fetches the document. Fails if it is longer than `bytes_max` or if the status is not 200.
    pub async fn fetch(&self, bytes_max: usize) -> Result<Vec<u8>, PostError> {
        let fetched = timeout(ANSWER_WAIT_MAX, self.exchange(bytes_max)).await;
        Ok(fetched.map_err(|_| PostError::Late(ANSWER_WAIT_MAX))??)
    }

    async fn exchange(&self, bytes_max: usize) -> io::Result<Vec<u8>> {
        let mut stream = connect(&self.endpoint, self.tls.as_ref()).await?;
        let Endpoint { target, authority, .. } = &self.endpoint;
        let request = format!("GET {target} HTTP/1.0\r\nHost: {authority}\r\nAccept: application/json\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await?;
        read_document(&mut stream, bytes_max).await
    }
}

async fn read_document(stream: &mut Box<dyn Stream>, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut received = Vec::with_capacity(4096);
    let mut limited = stream.take((HEAD_BYTES_MAX + bytes_max + 1) as u64);
    match limited.read_to_end(&mut received).await {
        // Many servers end a TLS connection without a close_notify. The announced length is checked below.
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error),
        _ => {}
    }
    let wrong = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
    let head = parse_head(&received)?.ok_or_else(|| wrong("the head of its answer has no end".to_owned()))?;
    if head.status != 200 {
        return Err(wrong(format!("it answered with status {}", head.status)));
    }
    let mut document = received.split_off(head.bytes);
    if let Some(length) = head.body_bytes {
        if document.len() < length {
            return Err(wrong("its answer ended too early".to_owned()));
        }
        document.truncate(length);
    }
    if document.len() > bytes_max {
        return Err(wrong(format!("its answer has more than {bytes_max} bytes")));
    }
    Ok(document)
}

#[cfg(test)]
mod tests {
    use super::Fetcher;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// Returns the result of a fetch that is answered by `answer`.
    async fn fetched(answer: &'static str) -> Result<String, String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                stream.read_buf(&mut request).await.expect("bytes");
            }
            stream.write_all(answer.as_bytes()).await.expect("written");
            String::from_utf8(request).expect("text")
        });
        let fetcher = Fetcher::new(&format!("http://127.0.0.1:{port}/keys?a=b"), None).expect("a fetcher");
        let document = fetcher.fetch(10).await.map_err(|error| error.to_string());
        assert!(served.await.expect("served").starts_with("GET /keys?a=b HTTP/1.0\r\nHost: 127.0.0.1:"));
        document.map(|document| String::from_utf8(document).expect("text"))
    }

    #[tokio::test]
    async fn a_document_ends_at_its_length_or_with_the_connection() {
        assert_eq!(fetched("HTTP/1.1 200 OK\r\n\r\nkeys").await, Ok("keys".to_owned()));
        assert_eq!(fetched("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nkeys").await, Ok("keys".to_owned()));
    }

    #[tokio::test]
    async fn a_truncated_overlong_or_redirected_response_is_an_error() {
        for (answer, why) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nkeys", "too early"),
            ("HTTP/1.1 200 OK\r\n\r\n01234567890", "more than 10"),
            ("HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", "status 302"),
            ("HTTP/1.1 200 OK\r\n", "has no end"),
            ("nonsense\r\n\r\n", "not HTTP"),
        ] {
            let error = fetched(answer).await.expect_err(answer);
            assert!(error.contains(why), "{error}");
        }
    }
}
