//! The processor time of a small request to the store, compared with one to a bare actix-web in this process. Both are
//! sent in the same way.

use super::connections::Requests;
use crate::harness::process::Process;
use crate::harness::server::Server;
use actix_web::web::{self, Bytes};
use actix_web::{App, HttpResponse, HttpServer};
use http::Method;
use std::net::SocketAddr;
use std::sync::mpsc::channel;
use std::time::Duration;

const BUCKET: &str = "requests";
const KEY: &str = "key";
const BODY_BYTES: usize = 4 << 10;
/// The path under which the bare server has its large body.
pub const LARGE: &str = "/large";
const ROUNDS: usize = 3;
/// The names that actix gives to its serving threads.
const WORKERS: &str = "actix-rt|system";

/// The processor time of one request.
#[derive(Clone, Debug)]
pub struct Cost {
    pub name: &'static str,
    pub bare: Duration,
    pub store: Duration,
}

/// Measures bare server and store in turns, `each` long in every round; returns the medians.
pub fn measure(server: &Server, at_once: usize, each: Duration) -> Vec<Cost> {
    let s3 = server.client();
    s3.create_bucket(BUCKET).expect("the store answers").expect(200);
    s3.put(BUCKET, KEY, &vec![7; BODY_BYTES]).expect("the store answers").expect(200);
    let bare = Bare::start(0);
    let cost = |(name, method, is_in_url): (&'static str, Method, bool)| {
        let path = format!("/{BUCKET}/{KEY}");
        let request = match is_in_url {
            true => unsigned(&method, &s3.presigned(method.as_str(), &path, &[], 3600), server.s3),
            false => s3.request(&s3.scope(), method.as_str(), &path, &[]),
        };
        let (mut of_bare, mut of_store) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            of_bare.push(spent(|| bare.cpu(), || send(bare.address, &method, &request, at_once, each)));
            of_store.push(spent(|| server.process().cpu(), || send(server.s3, &method, &request, at_once, each)));
        }
        Cost { name, bare: median(of_bare), store: median(of_store) }
    };
    let costs = [
        ("HEAD", Method::HEAD, false),
        ("HEAD, signed in the URL", Method::HEAD, true),
        ("GET 4 KiB", Method::GET, false),
        ("GET 4 KiB, signed in the URL", Method::GET, true),
    ];
    costs.map(cost).to_vec()
}

pub fn table(costs: &[Cost]) -> String {
    let mut text = String::from("| request | bare actix-web | the store | ratio |\n|---|---|---|---|\n");
    for Cost { name, bare, store } in costs {
        let micros = |time: &Duration| time.as_secs_f64() * 1e6;
        let ratio = store.as_secs_f64() / bare.as_secs_f64();
        text.push_str(&format!("| {name} | {:.1} µs | {:.1} µs | {ratio:.1} |\n", micros(bare), micros(store)));
    }
    text
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Returns the mean processor time of the requests that `send` sends; `send` returns their number.
pub fn spent(cpu: impl Fn() -> Duration, send: impl Fn() -> u64) -> Duration {
    let before = cpu();
    let requests = send();
    cpu().saturating_sub(before).div_f64(requests.max(1) as f64)
}

/// A bare actix-web server, which answers every path with the same small body, and `LARGE` with a large one. It runs
/// until the process ends.
pub struct Bare {
    pub address: SocketAddr,
}

impl Bare {
    pub fn start(large_bytes: usize) -> Self {
        let (listening, address) = channel();
        let large = Bytes::from(vec![7; large_bytes]);
        std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async {
                let answer = || async { HttpResponse::Ok().body(vec![7; BODY_BYTES]) };
                let server = HttpServer::new(move || {
                    let large = large.clone();
                    let answer_large = move || std::future::ready(HttpResponse::Ok().body(large.clone()));
                    App::new().route(LARGE, web::get().to(answer_large)).default_service(web::to(answer))
                });
                let workers = std::thread::available_parallelism().map_or(1, usize::from);
                let server = server.workers(workers).bind(("127.0.0.1", 0)).expect("a free port");
                listening.send(server.addrs()[0]).expect("somebody waits");
                server.run().await.expect("it goes on");
            });
        });
        Self { address: address.recv().expect("it listens") }
    }

    pub fn cpu(&self) -> Duration {
        let threads = Process(std::process::id()).cpu_by_thread();
        threads.into_iter().filter(|(name, _)| WORKERS.starts_with(name.as_str())).map(|(_, cpu)| cpu).sum()
    }
}

pub fn unsigned(method: &Method, target: &str, host: SocketAddr) -> Vec<u8> {
    format!("{method} {target} HTTP/1.1\r\nhost: {host}\r\n\r\n").into_bytes()
}

/// Sends the same request again and again on `at_once` connections, one at a time on each; returns the number of
/// answers.
pub fn send(address: SocketAddr, method: &Method, request: &[u8], at_once: usize, each: Duration) -> u64 {
    let (address, request) = (move |_| address, |_, _| request.to_vec());
    let requests = Requests { method: method.clone(), at_once, status: 200, address: &address, request: &request };
    requests.send(each).len() as u64
}
