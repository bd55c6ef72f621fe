//! The admin API, `/admin/v1/` on the admin listener: JSON requests signed with Signature Version 4, body included, by
//! the root key or by a key whose policies allow the call (`caller`). A caller that is not authenticated learns
//! nothing, not even which routes exist.

mod caller;
mod documents;
mod encryption;
mod identities;
mod jobs;
mod rate_limits;
mod record;
mod shapes;
mod source;
mod streamed;
mod top;

pub use crate::api::s3::{BucketJson, Explained, ObjectJson, StatementJson};
pub(super) use encryption::watch_root_keys;
pub use encryption::{ChangeKey, EncryptionKeyJson, EncryptionKeysJson, Rewrap, RewrapCursor, Rewrapped, RootKeyJson};
pub use identities::{CallIam, ExplainAccess, ExplainedCaller};
pub use jobs::{
    ChooseScrub, HealCounts, HealOfHost, HealStatus, HostAnswer, MovesJson, MovesOfHost, Ordered, OrderedOfHost,
    ScrubCounts, ScrubJson, ScrubOfHost, ScrubStatus, StartHeal,
};
pub use rate_limits::{RateLimitsJson, SetRateLimits};
pub use shapes::{
    AcceptClock, AddDrive, AdminFault, BucketUsageJson, CapacityJson, ChangeLayout, ClockJson, ClockSettingJson,
    CountsJson, DriveAdded, DriveReplaced, ForecastJson, GeometryJson, GetStopSafety, Guarantee, HostClockJson,
    HostJson, HostRolesJson, HostStateJson, Info, LayoutChanged, LayoutJson, LeaderMoved, MetadataRole, MoveLeader,
    NodeJson, QuotaJson, ReplaceDrive, ReplicaJson, SetQuota, ShardJson, UnknownDropped,
};
pub use source::{AdminError, AdminSource, MetadataCopy, ShardsPage};
pub(super) use streamed::EXPORTS_MAX;
pub use top::{HeavyJson, RankedJson, TopJson, TopOfKindJson};

use super::admin_routes::{self, Route, Routed, Unrouted};
use super::audit::AuditLog;
use super::health::{Health, HealthAnswer};
use super::iam::{IamFault, IamService, RequestFacts};
use super::identity::IdentityError;
use super::s3::Unexplained;
use super::sharing::{BodyRoom, Ungathered, gather};
use super::text::Query;
use super::tls::Certificates;
use crate::actors::gateway::Gateway;
use crate::actors::sealing::RootKeys;
use crate::ambient::Ambient;
use crate::panics::caught;
use crate::sigv4::{Received, SignatureFault, Verifier};
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, HeaderName, HeaderValue};
use actix_web::web::{Bytes, Data, Payload, ServiceConfig, to};
use actix_web::{HttpRequest, HttpResponse, Scope};
use caller::Caller;
use record::AdminRecord;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::timeout;

const ROOT: &str = "/admin/v1";
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");
/// The largest body of a request, and the longest time for it to arrive.
const BODY_BYTES_MAX: usize = 64 << 10;
const CALL_WAIT_MAX: Duration = Duration::from_secs(10);
/// The service that a signature must be for. A signature for S3, which could be overheard on the S3 port, is not valid
/// here.
pub const SERVICES: &[&str] = &["sherd-admin"];

/// The state that the routes share.
#[derive(Clone)]
pub struct Admin {
    pub source: Arc<dyn AdminSource>,
    /// The IAM service.
    pub iam: Arc<IamService>,
    pub gateway: Gateway,
    pub bodies: Arc<BodyRoom>,
    /// A permit for each export of the metadata.
    pub exports: Arc<Semaphore>,
    /// The root keys, which wrap the keys of objects.
    pub roots: Arc<RootKeys>,
    /// True if S3 is served over TLS.
    pub secure: bool,
    pub verifier: Verifier,
    /// The certificates of the listeners; health names those that expire soon.
    pub certificates: Certificates,
    pub ambient: Ambient,
    /// `None` if this host writes no audit log.
    pub audit: Option<Arc<AuditLog>>,
}

/// Adds the routes; the `Admin` must be among the app's data.
pub fn routes(config: &mut ServiceConfig) {
    config.service(Scope::new(ROOT).default_service(to(answer)));
}

/// The reason why a request is refused.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Signature(#[from] SignatureFault),
    #[error("the body is larger than {BODY_BYTES_MAX} bytes")]
    TooLarge,
    #[error("the body did not arrive whole, or not in time")]
    Incomplete,
    #[error("the body is not valid for this route: {0}")]
    Body(serde_json::Error),
    #[error("the admin API has no route {0}")]
    NoRoute(String),
    #[error("this route does not support the method {0}")]
    NoMethod(String),
    #[error(transparent)]
    Source(#[from] AdminError),
    #[error(transparent)]
    Iam(#[from] IamFault),
    #[error("{0}")]
    NoSense(String),
    #[error("{0}")]
    Denied(String),
    #[error("the request failed by a defect")]
    Defect,
}

impl From<IdentityError> for Refusal {
    fn from(error: IdentityError) -> Self {
        Self::Iam(error.into())
    }
}

impl From<Unexplained> for Refusal {
    fn from(error: Unexplained) -> Self {
        match error {
            Unexplained::NoSense(why) => Self::NoSense(why),
            Unexplained::Failed(why) => Self::Source(AdminError::Unavailable(why)),
        }
    }
}

impl Refusal {
    fn unavailable(cause: impl ToString) -> Self {
        Self::Source(AdminError::Unavailable(cause.to_string()))
    }

    /// Returns whether the refusal is due to the caller's identity or rights, and not to the request's content.
    fn is_denial(&self) -> bool {
        matches!(self, Self::Signature(_)) || self.status_and_code().0 == StatusCode::FORBIDDEN
    }

    fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Signature(SignatureFault::Missing | SignatureFault::Unsigned(_)) => {
                (StatusCode::FORBIDDEN, "AccessDenied")
            }
            Self::Signature(SignatureFault::UnknownKey) => (StatusCode::FORBIDDEN, "InvalidAccessKeyId"),
            Self::Signature(SignatureFault::Skewed { .. }) => (StatusCode::FORBIDDEN, "RequestTimeTooSkewed"),
            Self::Signature(SignatureFault::Mismatch) => (StatusCode::FORBIDDEN, "SignatureDoesNotMatch"),
            Self::Signature(SignatureFault::Malformed(_) | SignatureFault::OtherScope { .. }) => {
                (StatusCode::BAD_REQUEST, "AuthorizationHeaderMalformed")
            }
            Self::Signature(SignatureFault::OtherBody) => (StatusCode::BAD_REQUEST, "ContentSHA256Mismatch"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "EntityTooLarge"),
            Self::Incomplete => (StatusCode::BAD_REQUEST, "IncompleteBody"),
            Self::Body(_) | Self::NoSense(_) => (StatusCode::BAD_REQUEST, "InvalidRequest"),
            Self::Iam(fault) => {
                let (status, code) = fault.status_and_code();
                (StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), code)
            }
            Self::Denied(_) => (StatusCode::FORBIDDEN, "AccessDenied"),
            Self::Defect => (StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
            Self::NoRoute(_) => (StatusCode::NOT_FOUND, "NoSuchRoute"),
            Self::NoMethod(_) => (StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
            Self::Source(AdminError::Refused(_)) => (StatusCode::CONFLICT, "Refused"),
            Self::Source(AdminError::Unavailable(_)) => (StatusCode::SERVICE_UNAVAILABLE, "Unavailable"),
        }
    }
}

async fn answer(request: HttpRequest, payload: Payload, admin: Data<Admin>) -> HttpResponse {
    let path = request.path().strip_prefix(ROOT).unwrap_or_default();
    let routed = admin_routes::find(request.method().as_str(), path);
    let id = format!("{:016X}", admin.ambient.random_u128() as u64);
    let from = request.peer_addr().map(|peer| peer.to_string()).unwrap_or_default();
    let mut record = AdminRecord::begin(admin.audit.clone(), id, from, routed.ok());
    let route = routed.ok().map(|routed| routed.route);
    let answered = caught(allowed(&request, payload, (&admin, route), &mut record)).await;
    let answered = answered.unwrap_or(Err(Refusal::Defect));
    let answered = match (answered, routed) {
        (Ok(allowed), Ok(routed)) => dispatched((routed, request.query_string()), allowed, &admin, &record).await,
        (Ok(_), Err(Unrouted::NoPath)) => Err(Refusal::NoRoute(path.to_owned())),
        (Ok(_), Err(Unrouted::NoMethod)) => Err(Refusal::NoMethod(request.method().to_string())),
        (Err(refusal), _) => Err(refusal),
    };
    let mut response = answered.unwrap_or_else(|refusal| {
        let (status, code) = refusal.status_and_code();
        record.refused(code, refusal.is_denial());
        json(status, &AdminFault { code: code.to_owned(), message: refusal.to_string() })
    });
    record.answered(response.status().as_u16());
    if let Ok(id) = HeaderValue::try_from(record.id.as_str()) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// Reads and authorizes a request; returns its body, its caller, and the properties that conditions may use.
async fn allowed(
    request: &HttpRequest,
    payload: Payload,
    (admin, route): (&Admin, Option<Route>),
    record: &mut AdminRecord,
) -> Result<(Bytes, Caller, RequestFacts), Refusal> {
    let seat = admin.bodies.seat(request.peer_addr().map(|peer| peer.ip()));
    let collected = timeout(CALL_WAIT_MAX, gather(payload, &seat, BODY_BYTES_MAX)).await;
    let body = collected.map_err(|_| Refusal::Incomplete)?.map_err(|why| match why {
        Ungathered::TooLarge { .. } => Refusal::TooLarge,
        Ungathered::NoRoom => Refusal::Source(AdminError::Unavailable(why.to_string())),
        Ungathered::TooSlow | Ungathered::Broken => Refusal::Incomplete,
    })?;
    record.is_about(&body);
    let headers = texts(request);
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let received = Received {
        method: request.method().as_str(),
        path: request.uri().path(),
        query: request.query_string(),
        headers: &headers,
        body: &body,
    };
    let caller = Caller::of(&received, admin, record).await?;
    let agent = headers.iter().find(|(name, _)| *name == "user-agent").map(|(_, value)| (*value).to_owned());
    let facts = RequestFacts {
        source_ip: request.peer_addr().map(|peer| peer.ip().to_string()),
        user_agent: agent,
        secure: request.app_config().secure(),
        region: admin.iam.region.clone(),
        trace: Some(Arc::clone(&record.trace)),
        ..RequestFacts::default()
    };
    caller.check(route, &facts, admin)?;
    Ok((body, caller, facts))
}

async fn dispatched(
    (routed, query): (Routed<'_>, &str),
    (body, caller, facts): (Bytes, Caller, RequestFacts),
    admin: &Admin,
    record: &AdminRecord,
) -> Result<HttpResponse, Refusal> {
    let (source, bucket) = (&admin.source, routed.bucket.unwrap_or_default());
    Ok(match routed.route {
        Route::GetInfo => ok(&source.info().await?),
        Route::GetHealth => {
            let health = Health { drives: source.drives(), ..source.health() };
            ok(&HealthAnswer::new(health, admin.certificates.warnings()))
        }
        Route::GetStopSafety => {
            let GetStopSafety { host } = required(&body)?;
            ok(&source.safe_to_stop(&host).await?)
        }
        Route::ListDrives => ok(&source.drives()),
        Route::AddDrive => {
            let AddDrive { directory } = required(&body)?;
            ok(&source.add_drive(&directory).await?)
        }
        Route::ReplaceDrive => {
            let ReplaceDrive { node } = required(&body)?;
            ok(&source.replace_drive(node).await?)
        }
        Route::ListBucketUsage => ok(&identities::with_account_ids(admin, source.buckets().await?).await?),
        Route::GetBucketQuota => ok(&source.quota(bucket).await?),
        Route::PutBucketQuota => ok(&source.set_quota(bucket, required::<SetQuota>(&body)?).await?),
        Route::ListRateLimits => ok(&rate_limits::list(admin).await?),
        Route::PutRateLimits => ok(&rate_limits::set(admin, required(&body)?).await?),
        Route::GetLayout => ok(&source.layout().await?),
        Route::UpdateLayout => ok(&source.change_layout(required::<ChangeLayout>(&body)?).await?),
        Route::GetHealStatus => ok(&source.heal_status(host_of(query)?.as_deref()).await?),
        Route::StartHeal => {
            let StartHeal { host } = read_body::<Option<StartHeal>>(&body)?.unwrap_or_default();
            ok(&source.start_heal(host.as_deref()).await?)
        }
        Route::GetScrubStatus => ok(&source.scrub_status(host_of(query)?.as_deref()).await?),
        Route::StartScrub => ok(&source.start_scrub(read_body(&body)?).await?),
        Route::StopScrub => ok(&source.stop_scrub(read_body(&body)?).await?),
        Route::GetTop => ok(&source.top(host_of(query)?.as_deref()).await?),
        Route::MoveLeader => ok(&source.move_leader(read_body::<MoveLeader>(&body)?.to).await?),
        Route::GetClock => ok(&source.clock().await?),
        Route::AcceptClock => {
            let AcceptClock { time_ms } = required(&body)?;
            ok(&source.accept_clock(time_ms).await?)
        }
        Route::ListShards => streamed::shards(Arc::clone(source)).await?,
        Route::ExportMetadata => streamed::metadata(&**source, &admin.exports).await?,
        Route::DropUnknownShards => ok(&source.drop_unknown_shards().await?),
        Route::CallIam => ok(&identities::call(admin, required(&body)?, (&caller, &facts), record).await?),
        Route::ExplainAccess => ok(&identities::explain_access(admin, required(&body)?).await?),
        Route::ListEncryptionKeys => ok(&encryption::list(admin).await?),
        Route::ChangeEncryptionKey => ok(&encryption::change(admin, required(&body)?).await?),
        Route::RewrapKeys => ok(&encryption::rewrap(admin, read_body(&body)?).await?),
    })
}

/// Returns the request's headers. A value that is not ASCII is replaced by U+FFFD, not skipped: otherwise such a header
/// could be added to a signed call unnoticed. No client signs the replacement.
fn texts(request: &HttpRequest) -> Vec<(String, String)> {
    let text = |(name, value): (&HeaderName, &HeaderValue)| {
        (name.as_str().to_owned(), value.to_str().unwrap_or("\u{fffd}").to_owned())
    };
    request.headers().iter().map(text).collect()
}

fn read_body<T: DeserializeOwned + Default>(body: &Bytes) -> Result<T, Refusal> {
    if body.is_empty() { Ok(T::default()) } else { serde_json::from_slice(body).map_err(Refusal::Body) }
}

fn required<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(Refusal::Body)
}

fn ok(body: &impl Serialize) -> HttpResponse {
    json(StatusCode::OK, body)
}

fn json(status: StatusCode, body: &impl Serialize) -> HttpResponse {
    HttpResponse::build(status).insert_header((CACHE_CONTROL, "no-store")).json(body)
}

/// Returns the host that a query `host=NAME` selects; `None` selects all. Other parameters are refused.
fn host_of(query: &str) -> Result<Option<String>, AdminError> {
    let query = Query::read(Some(query)).map_err(|error| AdminError::Refused(error.to_string()))?;
    if let Some(other) = query.names().find(|name| *name != "host") {
        return Err(AdminError::Refused(format!("unknown parameter {other}; this route takes only host")));
    }
    Ok(query.get("host").map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::host_of;

    #[test]
    fn the_query_selects_one_host_or_all() {
        assert_eq!(host_of("").expect("no host"), None);
        assert_eq!(host_of("host=a%20b").expect("a host").as_deref(), Some("a b"));
        assert!(host_of("hots=a").is_err());
    }
}
