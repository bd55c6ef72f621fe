//! Many connections of one thread, each of which sends its next request when the last is answered. A thread for each
//! connection would take more of the machine than the store that is measured.

use http::Method;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Builder;

/// The largest number of headers of an answer.
const HEADERS_MAX: usize = 32;
const READ_BYTES: usize = 16 << 10;

/// What the connections send.
pub struct Requests<'a> {
    pub method: Method,
    pub at_once: usize,
    /// The status that every answer must have.
    pub status: u16,
    /// Returns the address that a connection speaks to.
    pub address: &'a dyn Fn(usize) -> SocketAddr,
    /// Returns the whole request of a connection (its number) in this turn.
    pub request: &'a dyn Fn(usize, u64) -> Vec<u8>,
}

impl Requests<'_> {
    /// Sends for this long, at least one request on each connection; returns the time that each answer took.
    pub fn send(&self, each: Duration) -> Vec<Duration> {
        let end = Instant::now() + each;
        self.send_while(&|turn| turn == 0 || Instant::now() < end)
    }

    /// Sends this many requests on each connection; returns the time that each answer took.
    pub fn send_turns(&self, turns: u64) -> Vec<Duration> {
        self.send_while(&|turn| turn < turns)
    }

    fn send_while(&self, goes_on: &dyn Fn(u64) -> bool) -> Vec<Duration> {
        let runtime = Builder::new_current_thread().enable_io().build().expect("a runtime");
        let connections = (0..self.at_once).map(|number| self.connection(number, goes_on));
        let latencies = runtime.block_on(futures::future::join_all(connections));
        latencies.into_iter().flatten().collect()
    }

    async fn connection(&self, number: usize, goes_on: &dyn Fn(u64) -> bool) -> Vec<Duration> {
        let mut stream = TcpStream::connect((self.address)(number)).await.expect("it listens");
        stream.set_nodelay(true).expect("a socket");
        let (mut latencies, mut answer) = (Vec::new(), Vec::with_capacity(READ_BYTES));
        for turn in (0..).take_while(|turn| goes_on(*turn)) {
            let request = (self.request)(number, turn);
            let from = Instant::now();
            stream.write_all(&request).await.expect("it reads");
            self.read_answer(&mut stream, &mut answer).await;
            latencies.push(from.elapsed());
        }
        latencies
    }

    /// Reads a whole answer into the empty buffer, checks its status, and empties the buffer.
    async fn read_answer(&self, stream: &mut TcpStream, answer: &mut Vec<u8>) {
        let mut length = None;
        while length.is_none_or(|length| answer.len() < length) {
            assert!(stream.read_buf(answer).await.expect("it answers") > 0, "the connection ended");
            length = length.or_else(|| self.length(answer));
        }
        assert_eq!(length, Some(answer.len()), "an answer ends where it says");
        answer.clear();
    }

    /// Returns the length of the answer with its body, once its head is whole.
    fn length(&self, answer: &[u8]) -> Option<usize> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut head = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(length) = head.parse(answer).expect("a head") else { return None };
        assert_eq!(head.code, Some(self.status), "{}", String::from_utf8_lossy(answer));
        let body = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
        let body = body.and_then(|header| std::str::from_utf8(header.value).ok()?.parse().ok()).unwrap_or(0);
        Some(length + if self.method == Method::HEAD { 0 } else { body })
    }
}
