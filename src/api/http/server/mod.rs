//! The listeners: S3, and the admin port with health, metrics and the admin API. Each connection has timeouts: for the
//! head of a request, for idling, and for a client that does not read its response.

mod endpoints;
mod listener;
mod startup;

use listener::Listener;

pub use endpoints::{CertificateSource, EndpointError, Endpoints, ListenerTls};
pub use startup::{StartupProgress, StartupServer};

use super::access_log::AccessLog;
use super::front::{Front, answer};
use super::messages::SLICE_BYTES;
use crate::actors::audit::AuditSender;
use crate::actors::events::Targets;
use crate::actors::events::access_log::{AccessLogger, LineSender};
use crate::actors::gateway::Gateway;
use crate::actors::sealing::RootKeys;
use crate::actors::traffic::Traffic;
use crate::ambient::Ambient;
use crate::api::accounts::Accounts;
use crate::api::admin::{self, Admin, AdminSource, EXPORTS_MAX, watch_root_keys};
use crate::api::audit::AuditLog;
use crate::api::auth::Authenticator;
use crate::api::health::{self, MetricsToken, Problems, SharedHealth, aliases};
use crate::api::iam::{IamService, KeySets, LastUsed};
use crate::api::identity::changes::accounts_file::AccountsFile;
use crate::api::identity::{RootIdentity, RootSeal, SessionKeys, session_material};
use crate::api::policy::{Ownership, ParsedPolicies};
use crate::api::post::Forms;
use crate::api::s3::{ACCOUNT, Credentials, Domains, S3Settings, WebsiteHosts, canonical_id, service};
use crate::api::sharing::{BodyRoom, SlowLanes, Turns};
use crate::api::tls::{Certificate, Certificates, TlsError};
use crate::sigv4::Verifier;
use crate::traces::Tracer;
use crate::types::LegacySignatures;
use actix::Addr;
use actix_service::IntoServiceFactory;
use actix_web::App;
use actix_web::dev::{Server, ServerHandle};
use actix_web::web::{Data, to};
use http::HeaderValue;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use tokio::sync::Semaphore;

const S3_WRITE_BUFFER_BYTES: usize = SLICE_BYTES;
const ADMIN_WRITE_BUFFER_BYTES: usize = 8 << 10;
/// The time for which requests under way may continue when the host stops.
const DRAIN_SECONDS_MAX: u64 = 7;

/// The options of the listeners.
#[derive(Clone)]
pub struct ApiOptions {
    /// The bearer token that `/metrics` requires; with `None`, anybody may read the metrics.
    pub metrics_token: Option<String>,
    pub region: String,
    /// The domains of virtual-host addressing; may be empty.
    pub domains: Vec<String>,
    /// The domains below which buckets are websites; may be empty.
    pub website_domains: Vec<String>,
    pub credentials: Credentials,
    /// The targets to which bucket notifications can be sent.
    pub targets: Targets,
    /// The store's root keys, which encrypt data keys, named keys and stored secrets.
    pub roots: Arc<RootKeys>,
    /// The accounts file to apply at start, if there is one.
    pub accounts: Option<Arc<AccountsFile>>,
    /// The key sets of identity providers.
    pub key_sets: Arc<dyn KeySets>,
    pub sigv2: LegacySignatures,
    /// The object ownership of new buckets whose request states none.
    pub new_bucket_ownership: Ownership,
    pub workers: usize,
    /// The bound on the memory for bodies that are read whole.
    pub bodies_bytes_max: usize,
    /// The most open connections of each listener.
    pub connections_max: usize,
    /// Takes the lines of buckets' access logs; with `None`, there are no access logs.
    pub access_log: Option<Addr<AccessLogger>>,
    /// Counts the traffic of accounts and buckets.
    pub traffic: Traffic,
    /// Takes the problems that health names.
    pub problems: Problems,
    /// The destinations of the audit log; if empty, there is no audit log.
    pub audit: Vec<AuditSender>,
    /// Begins the traces of S3 requests; with `None`, there are none.
    pub tracer: Option<Tracer>,
    /// The id of this host in responses.
    pub host_id: String,
}

#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("cannot accept connections on {address}: {cause}")]
    Accept { address: SocketAddr, cause: io::Error },
    #[error("cannot start the threads for slow requests: {0}")]
    SlowLanes(io::Error),
}

/// The running listeners.
#[derive(Debug)]
pub struct ApiHandle {
    /// `None` if S3 is not served.
    pub s3_address: Option<SocketAddr>,
    pub admin_address: SocketAddr,
    pub certificates: Certificates,
    /// `None` if S3 is not served; then other hosts apply the accounts file.
    pub accounts: Option<Accounts>,
    pub problems: Problems,
    s3: Option<ServerHandle>,
    admin: ServerHandle,
}

impl ApiHandle {
    /// Stops the listeners. S3 accepts no more connections, and its requests under way may continue for at most
    /// `DRAIN_SECONDS_MAX`; then the admin port stops.
    pub async fn stop(self) {
        if let Some(s3) = self.s3 {
            s3.stop(true).await;
        }
        self.admin.stop(false).await;
    }
}

/// Starts the listeners; must be called within an actix system. When it returns, all of them listen.
pub fn serve(
    options: ApiOptions,
    endpoints: Endpoints,
    gateway: Gateway,
    ambient: Ambient,
    source: impl AdminSource,
) -> Result<ApiHandle, ApiError> {
    let certificates = endpoints.certificates(Arc::clone(&ambient.clock));
    let Endpoints { s3: s3_socket, s3_certificate, admin: admin_listener, admin_certificate } = endpoints;
    let secure = s3_certificate.is_some();
    let source: Arc<dyn AdminSource> = Arc::new(source);
    let health: SharedHealth = Arc::clone(&source) as SharedHealth;
    let iam = Arc::new(iam_service(&options, gateway.clone(), ambient.clone()));
    let bodies = BodyRoom::new(options.bodies_bytes_max);
    let audit = AuditLog::new(options.audit.clone(), ambient.clone(), options.host_id.clone()).map(Arc::new);
    let admin = Admin {
        bodies: Arc::clone(&bodies),
        exports: Arc::new(Semaphore::new(EXPORTS_MAX)),
        source,
        iam: Arc::clone(&iam),
        gateway: gateway.clone(),
        roots: Arc::clone(&options.roots),
        secure,
        verifier: verifier(&options),
        certificates: certificates.clone(),
        ambient: ambient.clone(),
        audit: audit.clone(),
    };
    let (mut s3, mut accounts) = (None, None);
    if let Some(socket) = s3_socket {
        let applying = (Arc::clone(&iam), audit.clone(), options.problems.clone());
        accounts = Some(Accounts::keep(applying, options.accounts.clone()));
        let lanes = SlowLanes::start(options.workers).map_err(ApiError::SlowLanes)?;
        let turns = Turns::new(Arc::clone(&ambient.clock), lanes);
        let front = Front { audit, ..front(&options, secure, gateway, iam, (bodies, turns), ambient) };
        let parts = (front, Arc::clone(&health), certificates.clone());
        s3 = Some(s3_server(&options, (socket.listen()?, s3_certificate.as_ref()), parts)?);
    }
    let admin = Arc::new(admin);
    actix_web::rt::spawn(watch_root_keys(Arc::clone(&admin), options.problems.clone()));
    let admin = (health, certificates.clone(), admin);
    let (admin_address, admin) = admin_server(&options, (admin_listener, admin_certificate.as_ref()), admin)?;
    let (s3_address, s3) = s3.unzip();
    let (s3_handle, admin_handle) = (s3.as_ref().map(Server::handle), admin.handle());
    let problems = options.problems.clone();
    let handle =
        ApiHandle { s3_address, admin_address, certificates, accounts, problems, s3: s3_handle, admin: admin_handle };
    for (name, server) in s3.map(|s3| ("s3", s3)).into_iter().chain([("admin", admin)]) {
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
    ((address, socket), certificate): ((SocketAddr, TcpListener), Option<&Arc<Certificate>>),
    (front, health, certificates): (Front, SharedHealth, Certificates),
) -> Result<(SocketAddr, Server), ApiError> {
    let (front, health, certificates) = (Data::new(front), Data::new(health), Data::new(certificates));
    let traffic = options.traffic.clone();
    let app = move || {
        let app = App::new().app_data(front.clone()).app_data(health.clone()).app_data(certificates.clone());
        app.app_data(Data::new(traffic.meter())).configure(aliases).default_service(to(answer))
    };
    let listener = Listener {
        name: "s3",
        socket,
        tls: certificate.map(Certificate::server_config).transpose()?,
        workers: options.workers,
        connections_max: options.connections_max,
        write_buffer_bytes: S3_WRITE_BUFFER_BYTES,
        drain_seconds_max: DRAIN_SECONDS_MAX,
    };
    let server = listener.serve(move || app().into_factory());
    Ok((address, server.map_err(|cause| ApiError::Accept { address, cause })?))
}

fn front(
    options: &ApiOptions,
    secure: bool,
    gateway: Gateway,
    iam: Arc<IamService>,
    (bodies, turns): (Arc<BodyRoom>, Arc<Turns>),
    ambient: Ambient,
) -> Front {
    let settings = S3Settings {
        region: options.region.clone(),
        domains: options.domains.clone(),
        targets: options.targets.clone(),
        roots: Arc::clone(&options.roots),
        iam: Arc::clone(&iam),
        new_bucket_ownership: options.new_bucket_ownership,
        tls: secure,
    };
    let service = Arc::new(service(&settings, gateway, ambient.clone()));
    let domains = Arc::new(Domains::new(&options.domains));
    let access_log = |logger: &Addr<AccessLogger>| {
        let logger = LineSender::new(logger.clone());
        let (service, host_id) = (Arc::clone(&service), options.host_id.clone());
        Arc::new(AccessLog { logger, service, domains: Arc::clone(&domains), host_id })
    };
    let access_log = options.access_log.as_ref().map(access_log);
    let scheme = if secure { "https" } else { "http" };
    Front {
        domains,
        websites: WebsiteHosts::new(&options.website_domains, &options.domains),
        iam,
        secure,
        forms: Forms { secrets: service.secrets(), scheme, legacy: options.sigv2 },
        bodies,
        turns,
        authenticator: Authenticator::new(service.secrets()),
        service,
        legacy: options.sigv2,
        ambient,
        access_log,
        audit: None,
        tracer: options.tracer.clone(),
        host_id: options.host_id.as_str().into(),
        host_id_value: HeaderValue::try_from(options.host_id.as_str()).ok(),
    }
}

/// Builds the IAM service: identities, and the seal of their secrets.
fn iam_service(options: &ApiOptions, gateway: Gateway, ambient: Ambient) -> IamService {
    let Credentials { access_key, secret_key } = options.credentials.clone();
    IamService {
        store: Arc::new(gateway),
        root: RootIdentity { access_key, secret_key, canonical_id: canonical_id(ACCOUNT) },
        seal: Arc::new(RootSeal::new(Arc::clone(&options.roots), ambient.clone())),
        sessions: SessionKeys::derive(&session_material(&options.roots)),
        parsed: ParsedPolicies::default(),
        key_sets: Arc::clone(&options.key_sets),
        region: options.region.clone(),
        last_used: LastUsed::default(),
        ambient,
    }
}

/// Returns the verifier of the root key for the admin API.
fn verifier(options: &ApiOptions) -> Verifier {
    Verifier {
        access_key: options.credentials.access_key.clone(),
        secret_key: options.credentials.secret_key.clone(),
        region: options.region.clone(),
        services: admin::SERVICES,
    }
}

fn admin_server(
    options: &ApiOptions,
    ((address, socket), certificate): ((SocketAddr, TcpListener), Option<&Arc<Certificate>>),
    (health, certificates, admin): (SharedHealth, Certificates, Arc<Admin>),
) -> Result<(SocketAddr, Server), ApiError> {
    let (health, certificates, admin) = (Data::new(health), Data::new(certificates), Data::from(admin));
    let token = Data::new(MetricsToken(options.metrics_token.clone()));
    let app = move || {
        let app = App::new().app_data(health.clone()).app_data(certificates.clone()).app_data(token.clone());
        app.app_data(admin.clone()).configure(health::admin).configure(admin::routes)
    };
    let listener = Listener {
        name: "admin",
        socket,
        tls: certificate.map(Certificate::server_config).transpose()?,
        workers: 1,
        connections_max: options.connections_max,
        write_buffer_bytes: ADMIN_WRITE_BUFFER_BYTES,
        drain_seconds_max: 1,
    };
    let server = listener.serve(move || app().into_factory());
    Ok((address, server.map_err(|cause| ApiError::Accept { address, cause })?))
}
