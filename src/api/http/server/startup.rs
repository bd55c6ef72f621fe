//! The admin listener while the host starts: reports that the host is live but not ready, and what it waits for.

use super::ApiError;
use super::endpoints::Endpoints;
use crate::ambient::Clock;
use crate::api::admin::AdminFault;
use crate::api::health::{self, Health, HealthAnswer, HealthSource, MetricsToken, SharedHealth};
use crate::api::tls::Certificates;
use crate::limits::CONNECTIONS_MIN;
use crate::metrics;
use actix_web::dev::ServerHandle;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::{Data, get, to};
use actix_web::{App, HttpResponse, HttpServer};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// The conditions that the host waits for at start, in words. Clones share one state.
#[derive(Clone, Debug)]
pub struct StartupProgress {
    waits_for: Arc<Mutex<Vec<String>>>,
}

impl StartupProgress {
    pub fn new(waits_for: &str) -> Self {
        Self { waits_for: Arc::new(Mutex::new(vec![waits_for.to_owned()])) }
    }

    pub fn set(&self, waits_for: Vec<String>) {
        *self.waits_for.lock().unwrap_or_else(PoisonError::into_inner) = waits_for;
    }

    fn reasons(&self) -> Vec<String> {
        self.waits_for.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl HealthSource for StartupProgress {
    fn health(&self) -> Health {
        Health {
            reasons: self.reasons(),
            guarantee: "unknown until the start is complete".to_owned(),
            ..Health::default()
        }
    }

    fn observe(&self) {
        let level = i64::from(self.health().verdict().level());
        metrics::HEALTH_LEVEL.with_label_values::<&str>(&[]).set(level);
    }
}

/// The server on the admin socket until the host's own admin API takes it over.
#[derive(Debug)]
pub struct StartupServer {
    server: ServerHandle,
}

impl StartupServer {
    /// Must be called within an actix system.
    pub fn start(
        endpoints: &Endpoints,
        metrics_token: Option<String>,
        clock: Arc<dyn Clock>,
        progress: &StartupProgress,
    ) -> Result<Self, ApiError> {
        let shared: SharedHealth = Arc::new(progress.clone());
        let (health, progress) = (Data::new(shared), Data::new(progress.clone()));
        let (certificates, token) = (Data::new(endpoints.certificates(clock)), Data::new(MetricsToken(metrics_token)));
        let app = move || {
            let app = App::new().app_data(health.clone()).app_data(progress.clone());
            let app = app.app_data(certificates.clone()).app_data(token.clone());
            app.configure(health::admin).route("/admin/v1/health", get().to(answer)).default_service(to(unavailable))
        };
        let server = HttpServer::new(app).workers(1).max_connections(CONNECTIONS_MIN).shutdown_timeout(1);
        let (address, listener) = &endpoints.admin;
        let failed = |cause: io::Error| ApiError::Accept { address: *address, cause };
        let (server, listener) = (server.disable_signals(), listener.try_clone().map_err(failed)?);
        let listening = match &endpoints.admin_certificate {
            Some(certificate) => server.listen_rustls_0_23(listener, certificate.server_config()?),
            None => server.listen(listener),
        };
        let server = listening.map_err(failed)?.run();
        let handle = server.handle();
        actix_web::rt::spawn(async move {
            if let Err(error) = server.await {
                tracing::error!(%error, listener = "admin", "a listener failed");
            }
        });
        Ok(Self { server: handle })
    }

    /// Stops the server. Later connections wait in the kernel until the host's own server accepts them.
    pub async fn stop(self) {
        self.server.stop(false).await;
    }
}

/// Returns the health. It needs no signature, because the probes return the same without one.
async fn answer(progress: Data<StartupProgress>, certificates: Data<Certificates>) -> HttpResponse {
    let answer = HealthAnswer::new(progress.health(), certificates.warnings());
    HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(answer)
}

async fn unavailable(progress: Data<StartupProgress>) -> HttpResponse {
    let message = format!("this host is starting: {}", progress.reasons().join("; "));
    let fault = AdminFault { code: "Starting".to_owned(), message };
    HttpResponse::ServiceUnavailable().insert_header((CACHE_CONTROL, "no-store")).json(fault)
}
