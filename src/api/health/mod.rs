//! The health endpoints of this host: liveness, readiness, the health of the cluster, and metrics.

mod problems;
mod renderings;
mod safety;

pub use problems::{Problems, Subject};
pub use safety::{BlobsJson, Bounds, LossesJson, RepairsJson, Safety, StopSafety, Verdict};

use super::tls::Certificates;
use crate::metrics;
use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use actix_web::web::{Data, ServiceConfig, get, head};
use actix_web::{HttpRequest, HttpResponse, Resource, Route};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use renderings::Renderings;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The health of the host and the cluster: whether reads and writes are served now, and the problems.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    pub reads: bool,
    pub writes: bool,
    /// The problems, in words; empty if there are none.
    pub reasons: Vec<String>,
    /// The losses that the cluster survives without losing an object while all its shards are present.
    pub guarantee: String,
    /// The safety of the cluster's data now.
    #[serde(default)]
    pub safety: Safety,
    /// The drives of this host.
    pub drives: Vec<DriveHealth>,
    /// Unused directories with metadata of this host's earlier memberships in its cluster.
    #[serde(default)]
    pub set_aside: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriveHealth {
    pub node: u32,
    /// The name of the host that the drive is in.
    #[serde(default)]
    pub host: String,
    /// The drive's directory; empty until its host has reported it.
    pub path: String,
    pub in_service: bool,
    pub free_bytes: u64,
    pub total_bytes: u64,
    /// The id of the drive's file system: equal for drives of a host on the same file system; 0 if unknown.
    #[serde(default)]
    pub file_system: u64,
    /// The reason why the drive is out of service, or another problem of it.
    pub why: Option<String>,
}

impl Health {
    pub fn verdict(&self) -> Verdict {
        if !self.reads || !self.writes {
            return Verdict::Unavailable;
        }
        let worded = if self.reasons.is_empty() { Verdict::Ok } else { Verdict::Degraded };
        worded.max(self.safety.verdict())
    }
}

/// The source of the host's health. Called on each request, so it must be cheap and must not wait.
pub trait HealthSource: Send + Sync + 'static {
    fn health(&self) -> Health;

    /// Sets the gauges that are only worth setting when someone looks.
    fn observe(&self) {}
}

pub type SharedHealth = Arc<dyn HealthSource>;

/// Registers the probe paths of MinIO, for clients that are configured for it. The S3 port serves them too, without a
/// signature as MinIO does; the response is only a status, because anybody can reach that port.
pub fn aliases(config: &mut ServiceConfig) {
    config
        .service(probe("/minio/health/live", live, status_only))
        .service(probe("/minio/health/ready", ready, status_only))
        .service(probe("/minio/health/cluster", cluster, status_only))
        .service(probe("/minio/health/cluster/read", ready, status_only));
}

/// Registers the probes and the metrics of the admin port.
pub fn admin(config: &mut ServiceConfig) {
    config
        .service(probe("/health/live", live, with_body))
        .service(probe("/health/ready", ready, with_body))
        .app_data(Data::new(Renderings::default()))
        .service(Resource::new("/metrics").route(get().to(scrape)));
    aliases(config);
}

/// Maps the health to a probe's status code.
type Judge = fn(&Health) -> StatusCode;
type Respond = fn(HealthAnswer, StatusCode) -> HttpResponse;

fn probe(path: &str, judge: Judge, answer: Respond) -> Resource {
    let route = |route: Route| {
        route.to(move |source: Data<SharedHealth>, certificates: Data<Certificates>| async move {
            let body = HealthAnswer::new(source.health(), certificates.warnings());
            let status = judge(&body.health);
            answer(body, status)
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

/// The body of a health response: the health, its verdict and the warnings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthAnswer {
    pub status: Verdict,
    #[serde(flatten)]
    pub health: Health,
    /// Conditions that need attention soon and do not count in the verdict: certificates that expire.
    #[serde(default)]
    pub warnings: Vec<String>,
}

impl HealthAnswer {
    pub fn new(health: Health, warnings: Vec<String>) -> Self {
        Self { status: health.verdict(), health, warnings }
    }
}

fn with_body(body: HealthAnswer, status: StatusCode) -> HttpResponse {
    HttpResponse::build(status).insert_header((CACHE_CONTROL, "no-store")).json(body)
}

fn status_only(_: HealthAnswer, status: StatusCode) -> HttpResponse {
    HttpResponse::build(status).insert_header((CACHE_CONTROL, "no-store")).finish()
}

/// The bearer token that `/metrics` requires (RFC 6750); with `None`, anybody may read the metrics.
pub struct MetricsToken(pub Option<String>);

impl MetricsToken {
    fn admits(&self, request: &HttpRequest) -> bool {
        let Some(token) = &self.0 else { return true };
        let given = request.headers().get(AUTHORIZATION).and_then(|value| value.as_bytes().split_at_checked(7));
        given.is_some_and(|(scheme, given)| {
            scheme.eq_ignore_ascii_case(b"bearer ") && verify_slices_are_equal(given, token.as_bytes()).is_ok()
        })
    }
}

async fn scrape(
    request: HttpRequest,
    source: Data<SharedHealth>,
    token: Data<MetricsToken>,
    renderings: Data<Renderings>,
) -> HttpResponse {
    if !token.admits(&request) {
        return HttpResponse::Unauthorized().insert_header((WWW_AUTHENTICATE, "Bearer")).finish();
    }
    let body = renderings.body(|| {
        source.observe();
        metrics::render().into()
    });
    HttpResponse::Ok().insert_header((CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")).body(body)
}

#[cfg(test)]
mod tests {
    use super::{Health, Safety, Verdict, cluster, live, ready};
    use crate::api::{BlobsJson, Bounds};
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
    fn a_host_that_serves_only_reads_is_ready_but_its_verdict_is_unavailable() {
        let reading = health(true, false, &["two of four drives are out of service"]);
        assert_eq!((reading.verdict(), ready(&reading)), (Verdict::Unavailable, StatusCode::OK));
        assert_eq!(cluster(&reading), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(live(&reading), StatusCode::OK);
    }

    #[test]
    fn a_host_that_cannot_read_is_not_ready() {
        let lost = health(false, false, &["no metadata"]);
        assert_eq!((lost.verdict(), ready(&lost)), (Verdict::Unavailable, StatusCode::SERVICE_UNAVAILABLE));
        assert_eq!(health(true, true, &[]).verdict(), Verdict::Ok);
        assert_eq!(health(true, true, &["a drive is nearly full"]).verdict(), Verdict::Degraded);
    }

    #[test]
    fn the_verdict_is_that_of_the_worst_problem() {
        let one = Bounds { at_least: 1, at_most: 1 };
        let of = |safety: Safety| Health { safety, ..health(true, true, &["something"]) }.verdict();
        assert_eq!(of(Safety { missing_shards: one, ..Safety::default() }), Verdict::Degraded);
        assert_eq!(of(Safety { at_risk: true, missing_shards: one, ..Safety::default() }), Verdict::AtRisk);
        let unreadable = BlobsJson { blobs: one, bytes_counted: 1 };
        let lost = Safety { at_risk: true, unreadable, ..Safety::default() };
        assert_eq!(of(lost.clone()), Verdict::Unavailable);
        let probed = Health { safety: lost, ..health(true, true, &[]) };
        assert_eq!(ready(&probed), StatusCode::OK, "a probe tells what is served, not what is lost");
    }
}
