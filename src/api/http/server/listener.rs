//! A listener's connections: bounded in number and shared between addresses, with TLS or without, and unpipelined. Their
//! requests go to an actix-web application.

use super::super::expectation::{Continuing, Expecting, wrapped};
use super::super::pipelining::{HeadRoom, Unpipelined};
use crate::api::sharing::{Connections, limited};
use crate::api::tls::note_version;
use crate::limits::{CONNECTION_HEAD_BYTES, REQUEST_HEAD_WAIT_MAX};
use actix_http::body::BoxBody;
use actix_http::{HttpServiceBuilder, Protocol, Request, Response};
use actix_service::{Service, ServiceFactory, ServiceFactoryExt, fn_service};
use actix_tls::accept::rustls_0_23::{Acceptor, TlsStream};
use actix_tls::accept::{TlsError, max_concurrent_tls_connect};
use actix_web::dev::{AppConfig, Server, ServiceResponse};
use rustls::ServerConfig;
use std::fmt::Debug;
use std::future::ready;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;

const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// The time for which the bytes of an unread body are discarded after the response, so that the client gets to read it.
const LINGER: Duration = Duration::from_secs(5);
const TLS_HANDSHAKE_MAX: Duration = Duration::from_secs(10);
const HTTP_1_1: &[u8] = b"http/1.1";

/// A bound socket, and how its connections are served.
pub struct Listener {
    pub name: &'static str,
    pub socket: TcpListener,
    /// `None` for connections without TLS.
    pub tls: Option<ServerConfig>,
    pub workers: usize,
    pub connections_max: usize,
    /// The size from which what is to be sent on a connection is sent.
    pub write_buffer_bytes: usize,
    /// The time for which requests under way may continue when the listener stops.
    pub drain_seconds_max: u64,
}

/// A connection as the HTTP service takes it.
type Accepted<C> = (Unpipelined<C>, Protocol, Option<SocketAddr>);

impl Listener {
    /// Serves the application that `app` builds, which is done once for each worker.
    pub fn serve<A>(self, app: impl Fn() -> A + Clone + Send + 'static) -> io::Result<Server>
    where
        A: ServiceFactory<
                Request,
                Config = AppConfig,
                Response = ServiceResponse,
                Error = actix_web::Error,
                InitError = (),
                Service: Service<Request, Future: 'static> + 'static,
                Future: 'static,
            > + 'static,
    {
        let server = Server::build()
            .workers(self.workers.max(1))
            .max_concurrent_connections(self.connections_max)
            .shutdown_timeout(self.drain_seconds_max)
            .disable_signals();
        let stops = server.graceful_shutdown_signal();
        let stop = move || {
            let stops = stops.clone();
            async move { stops.notified().await }
        };
        let services = move || (wrapped(app(), Expecting::new), wrapped(app(), Continuing::new));
        let (connections, write_buffer_bytes) = (Connections::new(self.connections_max), self.write_buffer_bytes);
        let room = HeadRoom::new(self.connections_max.saturating_mul(CONNECTION_HEAD_BYTES));
        // Handshakes are bounded by the connections, which are shared between addresses. A bound of their own would let
        // one address hold all of them.
        max_concurrent_tls_connect(self.connections_max);
        let server = match self.tls {
            Some(tls) => server.listen(self.name, self.socket, move || {
                let (expecting, continuing) = services();
                let room = room.clone();
                let unpipelined =
                    fn_service(move |stream: TlsStream<TcpStream>| ready(Ok(secure(stream, room.clone()))));
                let http =
                    unpipelined.and_then(http(write_buffer_bytes, stop.clone()).expect(expecting).finish(continuing));
                let accepted = acceptor(tls.clone()).map_err(TlsError::into_service_error);
                let served = accepted.and_then(http.map_init_err(drop).map_err(TlsError::Service));
                limited(served, Arc::clone(&connections))
            }),
            None => server.listen(self.name, self.socket, move || {
                let (expecting, continuing) = services();
                let room = room.clone();
                let unpipelined = fn_service(move |stream: TcpStream| ready(Ok(plain(stream, room.clone()))));
                let served =
                    unpipelined.and_then(http(write_buffer_bytes, stop.clone()).expect(expecting).finish(continuing));
                limited(served, Arc::clone(&connections))
            }),
        };
        Ok(server?.run())
    }
}

fn plain(stream: TcpStream, room: HeadRoom) -> Accepted<TcpStream> {
    let address = prepared(&stream);
    (Unpipelined::new(stream, room), Protocol::Http1, address)
}

fn secure(stream: TlsStream<TcpStream>, room: HeadRoom) -> Accepted<TlsStream<TcpStream>> {
    let address = prepared(stream.get_ref().0);
    (Unpipelined::new(stream, room), Protocol::Http1, address)
}

/// Sets the options of a new connection; returns the client's address.
fn prepared(stream: &TcpStream) -> Option<SocketAddr> {
    // It is slower without.
    let _ = stream.set_nodelay(true);
    stream.peer_addr().ok()
}

fn acceptor(mut tls: ServerConfig) -> Acceptor {
    tls.alpn_protocols.insert(0, HTTP_1_1.to_vec());
    let mut acceptor = Acceptor::new(tls);
    acceptor.set_handshake_timeout(TLS_HANDSHAKE_MAX);
    acceptor
}

/// Builds the HTTP service like actix-web's `HttpServer`, but allows a service for `Expect: 100-continue`.
fn http<C, S, F>(write_buffer_bytes: usize, stop: impl Fn() -> F + 'static) -> HttpServiceBuilder<Unpipelined<C>, S>
where
    C: 'static,
    S: ServiceFactory<
            Request,
            Config = (),
            Error: Into<Response<BoxBody>> + 'static,
            InitError: Debug,
            Service: Service<Request, Future: 'static>,
        >,
    F: Future<Output = ()> + 'static,
{
    HttpServiceBuilder::default()
        .graceful_shutdown_signal(stop)
        .keep_alive(KEEP_ALIVE)
        .client_request_timeout(REQUEST_HEAD_WAIT_MAX)
        .client_disconnect_timeout(LINGER)
        .h1_write_buffer_size(write_buffer_bytes)
        .on_connect_ext(|unpipelined: &Unpipelined<C>, data| {
            note_version(unpipelined.connection(), data);
            data.insert(unpipelined.framing());
        })
}
