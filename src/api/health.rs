//! Whether this host lives, and what it can do: for supervisors, load balancers and people.

use crate::metrics;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::{Data, ServiceConfig, get, head};
use actix_web::{HttpResponse, Resource, Route};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What can be done now, and why not all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    pub reads: bool,
    pub writes: bool,
    /// What is wrong, in words; empty where nothing is.
    pub reasons: Vec<String>,
    /// What may be lost, of what is whole, without losing an object.
    pub guarantee: String,
    /// Of this host.
    pub drives: Vec<DriveHealth>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriveHealth {
    pub node: u32,
    pub path: String,
    pub in_service: bool,
    pub free_bytes: u64,
    pub total_bytes: u64,
    /// Why it is out of service, or what is wrong with it.
    pub why: Option<String>,
}

impl Health {
    /// `ok` where all is well, `degraded` where something is wrong and yet all can be done or at least read, else
    /// `unavailable`.
    fn status(&self) -> &'static str {
        match (self.reads, self.writes, self.reasons.is_empty()) {
            (false, _, _) => "unavailable",
            (true, true, true) => "ok",
            (true, _, _) => "degraded",
        }
    }
}

/// Who knows how the host is. Asked at each request, so it must be cheap and must not wait.
pub trait HealthSource: Send + Sync + 'static {
    fn health(&self) -> Health;

    /// Sets the gauges that are only worth setting when someone looks.
    fn observe(&self) {}
}

pub type SharedHealth = Arc<dyn HealthSource>;

/// The aliases that MinIO's users have in their probes; also on the S3 port, unsigned, as theirs are. Strangers ask there, so
/// the status is all that they say.
pub fn aliases(config: &mut ServiceConfig) {
    config
        .service(probe("/minio/health/live", live, status_only))
        .service(probe("/minio/health/ready", ready, status_only))
        .service(probe("/minio/health/cluster", cluster, status_only))
        .service(probe("/minio/health/cluster/read", ready, status_only));
}

/// The admin port's part.
pub fn admin(config: &mut ServiceConfig) {
    config
        .service(probe("/health/live", live, told))
        .service(probe("/health/ready", ready, told))
        .service(Resource::new("/metrics").route(get().to(scrape)));
    aliases(config);
}

/// What the host's health is to be, and how it is said.
type Judged = fn(&Health) -> StatusCode;
type Answered = fn(Health, StatusCode) -> HttpResponse;

fn probe(path: &str, judge: Judged, answer: Answered) -> Resource {
    let route = |route: Route| {
        route.to(move |source: Data<SharedHealth>| async move {
            let health = source.health();
            let status = judge(&health);
            answer(health, status)
        })
    };
    Resource::new(path).route(route(get())).route(route(head()))
}

fn live(_: &Health) -> StatusCode {
    StatusCode::OK
}

fn ready(health: &Health) -> StatusCode {
    if health.reads { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

fn cluster(health: &Health) -> StatusCode {
    if health.reads && health.writes { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

/// How the host is, with the word for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// `ok`, `degraded` or `unavailable`.
    pub status: String,
    #[serde(flatten)]
    pub health: Health,
}

impl From<Health> for Told {
    fn from(health: Health) -> Self {
        Self { status: health.status().to_owned(), health }
    }
}

fn told(health: Health, status: StatusCode) -> HttpResponse {
    HttpResponse::build(status).insert_header((CACHE_CONTROL, "no-store")).json(Told::from(health))
}

fn status_only(_: Health, status: StatusCode) -> HttpResponse {
    HttpResponse::build(status).insert_header((CACHE_CONTROL, "no-store")).finish()
}

async fn scrape(source: Data<SharedHealth>) -> HttpResponse {
    source.observe();
    HttpResponse::Ok().insert_header((CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")).body(metrics::render())
}

#[cfg(test)]
mod tests {
    use super::{Health, cluster, live, ready};
    use actix_web::http::StatusCode;

    fn health(reads: bool, writes: bool, reasons: &[&str]) -> Health {
        Health {
            reads,
            writes,
            reasons: reasons.iter().map(|&reason| reason.to_owned()).collect(),
            ..Health::default()
        }
    }

    #[test]
    fn a_host_that_only_reads_is_ready_and_degraded() {
        let reading = health(true, false, &["two of four drives are out of service"]);
        assert_eq!((reading.status(), ready(&reading)), ("degraded", StatusCode::OK));
        assert_eq!(cluster(&reading), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(live(&reading), StatusCode::OK);
    }

    #[test]
    fn a_host_that_cannot_read_is_not_ready() {
        let lost = health(false, false, &["no metadata"]);
        assert_eq!((lost.status(), ready(&lost)), ("unavailable", StatusCode::SERVICE_UNAVAILABLE));
        assert_eq!(health(true, true, &[]).status(), "ok");
        assert_eq!(health(true, true, &["a drive is nearly full"]).status(), "degraded");
    }
}
