//! An OpenTelemetry collector of the tests: takes OTLP over HTTP in JSON on loopback, and keeps the spans.

mod span;

pub use span::Span;

use super::eventually;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The longest wait for spans: they are sent within a second.
const SOON: Duration = Duration::from_secs(60);

/// How it treats what it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    Takes,
    /// Reads requests and never answers.
    Hangs,
    Answers(u16),
}

#[derive(Debug, Default)]
struct Got {
    spans: Mutex<Vec<Span>>,
    is_over: AtomicBool,
}

pub struct Collector {
    pub address: SocketAddr,
    got: Arc<Got>,
}

impl Collector {
    pub fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let got = Arc::<Got>::default();
        let shared = Arc::clone(&got);
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                if shared.is_over.load(Ordering::Relaxed) {
                    return;
                }
                let (got, connection) = (Arc::clone(&shared), connection.expect("a connection"));
                std::thread::spawn(move || serve(&connection, manner, &got));
            }
        });
        Self { address, got }
    }

    /// The value of `SHERD_OTLP_ENDPOINT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn spans(&self) -> Vec<Span> {
        self.got.spans.lock().expect("no one panics with it").clone()
    }

    /// Waits for the trace whose root on some host is about this S3 operation and key, once the root is there with the
    /// children that it needs. Returns all of its spans.
    pub fn trace(&self, operation: &str, key: &str, is_whole: impl Fn(&[Span]) -> bool) -> Vec<Span> {
        eventually(SOON, &format!("the trace of {operation} {key:?}"), || {
            let spans = self.spans();
            let name = format!("S3/{operation}");
            let root = spans.iter().find(|span| span.name == name && span.text("aws.s3.key") == key)?;
            let trace: Vec<Span> = spans.iter().filter(|span| span.trace == root.trace).cloned().collect();
            is_whole(&trace).then_some(trace)
        })
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.got.is_over.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts, which ends.
        let _ = TcpStream::connect(self.address);
    }
}

/// Serves the requests of one connection until it is closed.
fn serve(connection: &TcpStream, manner: Manner, got: &Got) {
    let mut reader = BufReader::new(connection);
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            match reader.read_line(&mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) if line == "\r\n" => break,
                Ok(_) => head.push(line.trim_end().to_owned()),
            }
        }
        assert_eq!(head[0], "POST /v1/traces HTTP/1.1");
        let value = |name: &str| {
            let found =
                head.iter().filter_map(|line| line.split_once(": ")).find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.to_owned()).unwrap_or_default()
        };
        assert_eq!(value("content-type"), "application/json");
        let mut body = vec![0; value("content-length").parse().expect("a length")];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let status = match manner {
            Manner::Hangs => continue,
            Manner::Answers(status) => status,
            Manner::Takes => {
                got.spans.lock().expect("no one panics with it").extend(span::decode(&body));
                200
            }
        };
        let answer = format!("HTTP/1.1 {status} Answer\r\nContent-Length: 2\r\n\r\n{{}}");
        let mut writer = connection;
        if writer.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}
