//! The listeners: S3, and the admin port with health, metrics and the admin API. Every connection is bounded: how long its head may take,
//! how long it may idle, how long it may hold back what was sent to it.

use super::admin::{self, Admin, AdminSource};
use super::front::{Front, answer};
use super::health::{self, SharedHealth, aliases};
use super::s3::{Credentials, S3Settings, service};
use super::tls::{TlsError, server_config};
use crate::actors::gateway::Gateway;
use crate::ambient::Ambient;
use crate::sigv4::Verifier;
use actix_web::dev::{Server, ServerHandle};
use actix_web::web::{Data, to};
use actix_web::{App, HttpServer};
use socket2::SockRef;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// From a connection's opening, or the last answer's end, to the whole of a request's head. What came while this host was
/// frozen counts as late, so this is longer than it takes to move a virtual machine.
const REQUEST_HEAD_MAX: Duration = Duration::from_secs(60);
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// After an answer that leaves a body unread: how long its bytes are discarded, so that the client gets to read the answer.
const LINGER: Duration = Duration::from_secs(5);
const TLS_HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// How long a client may leave sent bytes unacknowledged, or its window shut.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(120);
const CONNECTIONS_PER_WORKER_MAX: usize = 8192;
/// With chunks of 256 KiB, what large reads were fastest with.
const WRITE_BUFFER_BYTES: usize = 128 << 10;
/// How long requests under way may go on when the host stops.
const DRAIN_SECONDS_MAX: u64 = 7;

#[derive(Clone, Debug)]
pub struct TlsFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// What the listeners are told.
#[derive(Clone, Debug)]
pub struct ApiOptions {
    pub s3_listen: SocketAddr,
    pub admin_listen: SocketAddr,
    pub tls: Option<TlsFiles>,
    pub region: String,
    /// For virtual-host addressing; may be empty.
    pub domains: Vec<String>,
    pub credentials: Credentials,
    pub workers: usize,
    /// Names this host in answers, so that a client can say who answered it.
    pub host_id: String,
}

#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("cannot listen on {address}: {cause}")]
    Listen { address: SocketAddr, cause: io::Error },
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// The running listeners.
#[derive(Debug)]
pub struct ApiHandle {
    pub s3_address: SocketAddr,
    pub admin_address: SocketAddr,
    s3: ServerHandle,
    admin: ServerHandle,
}

impl ApiHandle {
    /// Accepts no more, lets requests under way end (at most `DRAIN_SECONDS_MAX`), then closes. The admin port answers until
    /// S3 is done.
    pub async fn stop(self) {
        self.s3.stop(true).await;
        self.admin.stop(false).await;
    }
}

/// Starts both listeners; must be called within an actix system. Returns when both listen.
pub fn serve(
    options: ApiOptions,
    gateway: Gateway,
    ambient: Ambient,
    source: impl AdminSource,
) -> Result<ApiHandle, ApiError> {
    let source: Arc<dyn AdminSource> = Arc::new(source);
    let health: SharedHealth = Arc::clone(&source) as SharedHealth;
    let (s3_address, s3) = s3_server(&options, gateway, ambient.clone(), Arc::clone(&health))?;
    let admin = Admin { source, verifier: verifier(&options), ambient };
    let (admin_address, admin) = admin_server(options.admin_listen, health, admin)?;
    let handle = ApiHandle { s3_address, admin_address, s3: s3.handle(), admin: admin.handle() };
    for (name, server) in [("s3", s3), ("admin", admin)] {
        actix_web::rt::spawn(async move {
            if let Err(error) = server.await {
                tracing::error!(%error, listener = name, "a listener failed");
            }
        });
    }
    Ok(handle)
}

fn s3_server(
    options: &ApiOptions,
    gateway: Gateway,
    ambient: Ambient,
    health: SharedHealth,
) -> Result<(SocketAddr, Server), ApiError> {
    let settings = S3Settings {
        region: options.region.clone(),
        domains: options.domains.clone(),
        credentials: options.credentials.clone(),
        tls: options.tls.is_some(),
    };
    let front = Data::new(Front {
        service: service(&settings, gateway, ambient.clone()),
        ambient,
        host_id: options.host_id.clone(),
    });
    let health = Data::new(health);
    let tls = options.tls.as_ref().map(|files| server_config(&files.cert, &files.key)).transpose()?;
    let server = HttpServer::new(move || {
        App::new().app_data(front.clone()).app_data(health.clone()).configure(aliases).default_service(to(answer))
    })
    .workers(options.workers.max(1))
    .max_connections(CONNECTIONS_PER_WORKER_MAX)
    .keep_alive(KEEP_ALIVE)
    .client_request_timeout(REQUEST_HEAD_MAX)
    .client_disconnect_timeout(LINGER)
    .tls_handshake_timeout(TLS_HANDSHAKE_MAX)
    .tcp_nodelay(true)
    .h1_write_buffer_size(WRITE_BUFFER_BYTES)
    .shutdown_timeout(DRAIN_SECONDS_MAX)
    .disable_signals();
    let (address, listener) = listener(options.s3_listen)?;
    let listening = match tls {
        Some(tls) => server.listen_rustls_0_23(listener, tls),
        None => server.listen(listener),
    };
    let server = listening.map_err(|cause| ApiError::Listen { address, cause })?;
    Ok((address, server.run()))
}

/// Who may use the admin API: who holds the root key.
fn verifier(options: &ApiOptions) -> Verifier {
    Verifier {
        access_key: options.credentials.access_key.clone(),
        secret_key: options.credentials.secret_key.clone(),
        region: options.region.clone(),
        services: admin::SERVICES,
    }
}

fn admin_server(listen: SocketAddr, health: SharedHealth, admin: Admin) -> Result<(SocketAddr, Server), ApiError> {
    let (health, admin) = (Data::new(health), Data::new(admin));
    let (address, listener) = listener(listen)?;
    let app = move || {
        let app = App::new().app_data(health.clone()).app_data(admin.clone());
        app.configure(health::admin).configure(admin::routes)
    };
    let server = HttpServer::new(app)
        .workers(1)
        .max_connections(CONNECTIONS_PER_WORKER_MAX)
        .client_request_timeout(REQUEST_HEAD_MAX)
        .client_disconnect_timeout(LINGER)
        .shutdown_timeout(1)
        .disable_signals()
        .listen(listener)
        .map_err(|cause| ApiError::Listen { address, cause })?;
    Ok((address, server.run()))
}

fn listener(address: SocketAddr) -> Result<(SocketAddr, TcpListener), ApiError> {
    let failed = |cause| ApiError::Listen { address, cause };
    let listener = TcpListener::bind(address).map_err(failed)?;
    // Accepted sockets inherit both (tcp(7)): a client that has gone without a word, or holds its window shut, is noticed by
    // the kernel.
    let socket = SockRef::from(&listener);
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX)).and(socket.set_keepalive(true)).map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((bound, listener))
}
