//! The limits of this machine (MD5, bare actix-web, TCP, QUIC), each measured alone, to which the store's figures are
//! compared.

use super::files::{self, Plain};
use super::requests::{Bare, LARGE, send, spent, unsigned};
use crate::harness::data;
use crate::harness::process::Process;
use http::Method;
use md5::{Digest, Md5};
use s2n_quic::client::Connect;
use s2n_quic::provider::tls::rustls as quic_tls;
use s2n_quic::{Client, Server};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

const GIB: f64 = (1 << 30) as f64;
const PIECE_BYTES: usize = 1 << 20;
const MD5_BYTES: usize = 16 << 20;

#[derive(Clone, Debug)]
pub struct Limits {
    pub plain: Plain,
    /// CPU seconds of the MD5 of 1 GiB, one body at a time.
    pub md5_seconds_per_gibibyte: f64,
    /// CPU time of a bare actix-web for a HEAD, and for a GET of 4 KiB.
    pub bare_head: Duration,
    pub bare_get: Duration,
    /// CPU seconds of a bare actix-web that sends 1 GiB from memory, in large answers.
    pub bare_seconds_per_gibibyte: f64,
    /// One connection on loopback with both ends in this process: the rate, and the CPU seconds of both ends.
    pub tcp: Transfer,
    pub quic: Transfer,
}

#[derive(Clone, Copy, Debug)]
pub struct Transfer {
    pub mebibytes_per_second: f64,
    pub cpu_seconds_per_gibibyte: f64,
}

/// Measures each limit for the time `each`; small requests use `at_once` connections.
pub fn measure(parent: &Path, each: Duration, at_once: usize, large_bytes: usize) -> Limits {
    let bare = Bare::start(large_bytes);
    let cost = |method| {
        let request = unsigned(&method, "/", bare.address);
        spent(|| bare.cpu(), || send(bare.address, &method, &request, at_once, each))
    };
    let large = spent(|| bare.cpu(), || get_large(bare.address, each));
    Limits {
        plain: files::measure(parent, each),
        md5_seconds_per_gibibyte: md5(each),
        bare_head: cost(Method::HEAD),
        bare_get: cost(Method::GET),
        bare_seconds_per_gibibyte: large.as_secs_f64() * GIB / large_bytes as f64,
        tcp: transfer(|| tcp(each)),
        quic: transfer(|| quic(each)),
    }
}

fn md5(each: Duration) -> f64 {
    let bytes = data::bytes(4, MD5_BYTES);
    let (before, end, mut hashed) = (Process(std::process::id()).cpu(), Instant::now() + each, 0);
    while hashed == 0 || Instant::now() < end {
        std::hint::black_box(Md5::digest(&bytes));
        hashed += bytes.len();
    }
    let spent = Process(std::process::id()).cpu().saturating_sub(before);
    spent.as_secs_f64() * GIB / hashed as f64
}

/// Reads the large body again and again; returns how often.
fn get_large(address: SocketAddr, each: Duration) -> u64 {
    let (end, mut answered) = (Instant::now() + each, 0);
    let mut buffer = vec![0; PIECE_BYTES];
    while answered == 0 || Instant::now() < end {
        let mut stream = TcpStream::connect(address).expect("it listens");
        write!(stream, "GET {LARGE} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").expect("it reads");
        while stream.read(&mut buffer).expect("it answers") > 0 {}
        answered += 1;
    }
    answered
}

/// Measures the rate and the CPU time of `send`, which returns the bytes that it moved.
fn transfer(send: impl Fn() -> u64) -> Transfer {
    let (before, begun) = (Process(std::process::id()).cpu(), Instant::now());
    let bytes = send() as f64;
    let (cpu, wall) = (Process(std::process::id()).cpu().saturating_sub(before), begun.elapsed());
    Transfer {
        mebibytes_per_second: bytes / f64::from(1 << 20) / wall.as_secs_f64(),
        cpu_seconds_per_gibibyte: cpu.as_secs_f64() * GIB / bytes,
    }
}

fn tcp(each: Duration) -> u64 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let (mut stream, mut buffer) = (listener.accept().expect("a connection").0, vec![0; PIECE_BYTES]);
            while stream.read(&mut buffer).expect("it is sent") > 0 {}
        });
        let mut stream = TcpStream::connect(address).expect("it listens");
        let (piece, end, mut sent) = (vec![7; PIECE_BYTES], Instant::now() + each, 0);
        while sent == 0 || Instant::now() < end {
            stream.write_all(&piece).expect("it is read");
            sent += piece.len() as u64;
        }
        sent
    })
}

fn quic(each: Duration) -> u64 {
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let (serving, sending) = (runtime().expect("a runtime"), runtime().expect("a runtime"));
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let (certificate, key) = (key.cert.der().to_vec(), key.signing_key.serialize_der());
    let tls = quic_tls::Server::builder().with_certificate(certificate.clone(), key).and_then(|tls| tls.build());
    let mut server = serving.block_on(async {
        let server = Server::builder().with_tls(tls.expect("a key pair")).expect("tls").with_io("127.0.0.1:0");
        server.expect("a free port").start().expect("it starts")
    });
    let address = server.local_addr().expect("it is bound");
    serving.spawn(async move {
        let mut connection = server.accept().await.expect("a connection");
        let mut stream = connection.accept_bidirectional_stream().await.expect("it is open").expect("a stream");
        while stream.receive().await.expect("it is sent").is_some() {}
        stream.send(vec![1].into()).await.expect("it is awaited");
        let _ = stream.finish();
        let _ = connection.accept_bidirectional_stream().await;
    });
    sending.block_on(async {
        let tls = quic_tls::Client::builder().with_certificate(certificate).and_then(|tls| tls.build());
        let client = Client::builder().with_tls(tls.expect("a certificate")).expect("tls").with_io("127.0.0.1:0");
        let client = client.expect("a free port").start().expect("it starts");
        let connect = Connect::new(address).with_server_name("localhost");
        let mut connection = client.connect(connect).await.expect("it listens");
        let mut stream = connection.open_bidirectional_stream().await.expect("a stream");
        let (piece, end, mut sent) = (bytes::Bytes::from(vec![7; PIECE_BYTES]), Instant::now() + each, 0);
        while sent == 0 || Instant::now() < end {
            stream.send(piece.clone()).await.expect("it is read");
            sent += piece.len() as u64;
        }
        stream.finish().expect("it is open");
        while stream.receive().await.expect("it is answered").is_some() {}
        sent
    })
}

pub fn table(limits: &Limits) -> String {
    let Limits { md5_seconds_per_gibibyte, bare_head, bare_get, bare_seconds_per_gibibyte, tcp, quic, .. } = limits;
    let micros = |time: &Duration| time.as_secs_f64() * 1e6;
    let transfer = |Transfer { mebibytes_per_second, cpu_seconds_per_gibibyte }: &Transfer| {
        format!("{mebibytes_per_second:.0} MiB/s, {cpu_seconds_per_gibibyte:.2} s/GiB")
    };
    format!(
        "{}| MD5 alone, CPU | {md5_seconds_per_gibibyte:.2} s/GiB |\n| bare actix-web, HEAD, CPU | {:.1} µs |\n\
         | the same, GET 4 KiB | {:.1} µs |\n| the same, sending from memory | {bare_seconds_per_gibibyte:.2} s/GiB |\n\
         | TCP on loopback, both ends | {} |\n| QUIC on loopback, both ends | {} |\n",
        files::table(&limits.plain),
        micros(bare_head),
        micros(bare_get),
        transfer(tcp),
        transfer(quic),
    )
}
