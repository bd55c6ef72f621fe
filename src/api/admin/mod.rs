//! The admin API, `/admin/v1/` on the admin listener: JSON, signed with the root key (Signature Version 4, the body's hash
//! included). Who is not known learns nothing, not even which routes there are.

mod encryption;
mod identities;
mod shapes;
mod shards;
mod source;

pub use crate::api::s3::{BucketShown, Explained, ObjectShown, StatementShown};
pub use encryption::{
    ChangeKey, EncryptionKeyShown, EncryptionKeysShown, Rewrap, RewrapCursor, Rewrapped, RootKeyShown,
};
pub use identities::{CallIam, ExplainAccess, Who};
pub use shapes::{
    AcceptClock, AdminFault, AskToStop, BucketUsageShown, CapacityShown, ChangeLayout, ClockSettingShown, ClockShown,
    CountsShown, GeometryShown, Guarantee, HealStarted, HealStatus, HostClockShown, HostRolesShown, HostShown,
    HostStateShown, Info, LayoutChanged, LayoutShown, LeaderMoved, MetadataRole, MoveLeader, MovesShown, NodeShown,
    QuotaShown, ReplicaShown, ScrubShown, ScrubStarted, SetQuota, ShardShown, StartScrub,
};
pub use source::{AdminError, AdminSource, ShardsPage};

use super::health::{Health, Told};
use super::iam::{IamFault, IamService};
use super::identity::IdentityError;
use super::room::{BodyRoom, Ungathered, gather};
use super::s3::Unexplained;
use super::tls::Certificates;
use crate::actors::gateway::Gateway;
use crate::actors::sealing::RootKeys;
use crate::ambient::Ambient;
use crate::sigv4::{Received, SignatureFault, Verifier};
use actix_web::http::StatusCode;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::{Bytes, Data, Payload, ServiceConfig, to};
use actix_web::{HttpRequest, HttpResponse, Scope};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

const ROOT: &str = "/admin/v1";
/// A request's body, at most, and how long it may take to come.
const BODY_BYTES_MAX: usize = 64 << 10;
const BODY_WAIT_MAX: Duration = Duration::from_secs(10);
/// The service that a signature must be for. What root signs for S3 can be overheard on the other port, and is nothing here.
pub const SERVICES: &[&str] = &["sherd-admin"];

/// Those without a name in them.
const ROUTES: &[&str] = &[
    "/info",
    "/health",
    "/safe-to-stop",
    "/drives",
    "/buckets",
    "/layout",
    "/heal",
    "/scrub",
    "/leader",
    "/clock",
    "/clock/accept",
    "/shards",
    "/iam",
    "/access/explain",
    "/encryption-keys",
    "/encryption-keys/rewrap",
];

/// What the routes share.
#[derive(Clone)]
pub struct Admin {
    pub source: Arc<dyn AdminSource>,
    /// Who there is.
    pub iam: Arc<IamService>,
    pub gateway: Gateway,
    pub bodies: Arc<BodyRoom>,
    /// What the keys of objects are sealed with.
    pub roots: Arc<RootKeys>,
    /// Whether S3 is served over TLS.
    pub secure: bool,
    pub verifier: Verifier,
    /// Of the listeners; health names those that end soon.
    pub certificates: Certificates,
    pub ambient: Ambient,
}

/// Adds the routes; the `Admin` must be among the app's data.
pub fn routes(config: &mut ServiceConfig) {
    config.service(Scope::new(ROOT).default_service(to(answer)));
}

/// Why a request is not answered.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Signature(#[from] SignatureFault),
    #[error("the body is larger than {BODY_BYTES_MAX} bytes")]
    TooLarge,
    #[error("the body did not come whole")]
    Incomplete,
    #[error("the body is not what this route takes: {0}")]
    Body(serde_json::Error),
    #[error("there is no {0} here")]
    NoRoute(String),
    #[error("{0} is not a method of this route")]
    NoMethod(String),
    #[error(transparent)]
    Source(#[from] AdminError),
    #[error(transparent)]
    Iam(#[from] IamFault),
    #[error("{0}")]
    NoSense(String),
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
            Self::NoRoute(_) => (StatusCode::NOT_FOUND, "NoSuchRoute"),
            Self::NoMethod(_) => (StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
            Self::Source(AdminError::Refused(_)) => (StatusCode::CONFLICT, "Refused"),
            Self::Source(AdminError::Unavailable(_)) => (StatusCode::SERVICE_UNAVAILABLE, "Unavailable"),
        }
    }
}

async fn answer(request: HttpRequest, payload: Payload, admin: Data<Admin>) -> HttpResponse {
    match routed(&request, payload, &admin).await {
        Ok(response) => response,
        Err(refusal) => {
            let (status, code) = refusal.status_and_code();
            json(status, &AdminFault { code: code.to_owned(), message: refusal.to_string() })
        }
    }
}

async fn routed(request: &HttpRequest, payload: Payload, admin: &Admin) -> Result<HttpResponse, Refusal> {
    let seat = admin.bodies.seat(request.peer_addr().map(|peer| peer.ip()));
    let collected = timeout(BODY_WAIT_MAX, gather(payload, &seat, BODY_BYTES_MAX)).await;
    let body = collected.map_err(|_| Refusal::Incomplete)?.map_err(|why| match why {
        Ungathered::TooLarge { .. } => Refusal::TooLarge,
        Ungathered::NoRoom => Refusal::Source(AdminError::Unavailable(why.to_string())),
        Ungathered::TooSlow | Ungathered::Broken => Refusal::Incomplete,
    })?;
    verify(request, &body, admin)?;
    let source = &admin.source;
    let (method, path) = (request.method().as_str(), request.path().strip_prefix(ROOT).unwrap_or_default());
    if let Some(bucket) = bucket_of_quota(path) {
        return Ok(match method {
            "GET" => ok(&source.quota(bucket).await?),
            "POST" => {
                let asked: SetQuota = required(&body)?;
                ok(&source.set_quota(bucket, asked).await?)
            }
            _ => return Err(Refusal::NoMethod(method.to_owned())),
        });
    }
    Ok(match (method, path) {
        ("GET", "/info") => ok(&source.info().await?),
        ("GET", "/health") => {
            let health = Health { drives: source.drives(), ..source.health() };
            ok(&Told::new(health, admin.certificates.warnings()))
        }
        ("POST", "/safe-to-stop") => {
            let AskToStop { host } = required(&body)?;
            ok(&source.safe_to_stop(&host).await?)
        }
        ("GET", "/drives") => ok(&source.drives()),
        ("GET", "/buckets") => ok(&source.buckets().await?),
        ("GET", "/layout") => ok(&source.layout().await?),
        ("POST", "/layout") => {
            let change: ChangeLayout = required(&body)?;
            ok(&source.change_layout(change).await?)
        }
        ("GET", "/heal") => ok(&source.heal_status().await?),
        ("POST", "/heal") => ok(&source.start_heal().await?),
        ("GET", "/scrub") => ok(&source.scrub_status()),
        ("POST", "/scrub") => ok(&source.start_scrub(read_body::<StartScrub>(&body)?.node)?),
        ("POST", "/leader") => ok(&source.move_leader(read_body::<MoveLeader>(&body)?.to).await?),
        ("GET", "/clock") => ok(&source.clock().await?),
        ("POST", "/clock/accept") => {
            let AcceptClock { time_ms } = required(&body)?;
            ok(&source.accept_clock(time_ms).await?)
        }
        ("GET", "/shards") => shards::stream(Arc::clone(source)).await?,
        ("POST", "/iam") => ok(&identities::call(admin, required(&body)?).await?),
        ("POST", "/access/explain") => ok(&identities::explain_access(admin, required(&body)?).await?),
        ("GET", "/encryption-keys") => ok(&encryption::list(admin).await?),
        ("POST", "/encryption-keys") => ok(&encryption::change(admin, required(&body)?).await?),
        ("POST", "/encryption-keys/rewrap") => ok(&encryption::rewrap(admin, read_body(&body)?).await?),
        _ if ROUTES.contains(&path) => return Err(Refusal::NoMethod(method.to_owned())),
        _ => return Err(Refusal::NoRoute(path.to_owned())),
    })
}

/// Of `/buckets/NAME/quota`.
fn bucket_of_quota(path: &str) -> Option<&str> {
    let name = path.strip_prefix("/buckets/")?.strip_suffix("/quota")?;
    (!name.is_empty() && !name.contains('/')).then_some(name)
}

fn verify(request: &HttpRequest, body: &Bytes, admin: &Admin) -> Result<(), SignatureFault> {
    // A value that is no text is not passed over, or it could be added to a signed call: no client signs what stands for it.
    let text = |(name, value): (&'_ _, &'_ actix_web::http::header::HeaderValue)| {
        let name: &actix_web::http::header::HeaderName = name;
        (name.as_str().to_owned(), value.to_str().unwrap_or("\u{fffd}").to_owned())
    };
    let headers: Vec<(String, String)> = request.headers().iter().map(text).collect();
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let received = Received {
        method: request.method().as_str(),
        path: request.uri().path(),
        query: request.query_string(),
        headers: &headers,
        body,
    };
    admin.verifier.verify(&received, admin.ambient.clock.unix_ms().0 / 1000)
}

fn read_body<T: DeserializeOwned + Default>(body: &Bytes) -> Result<T, Refusal> {
    if body.is_empty() { Ok(T::default()) } else { serde_json::from_slice(body).map_err(Refusal::Body) }
}

fn required<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(Refusal::Body)
}

fn ok(told: &impl Serialize) -> HttpResponse {
    json(StatusCode::OK, told)
}

fn json(status: StatusCode, told: &impl Serialize) -> HttpResponse {
    HttpResponse::build(status).insert_header((CACHE_CONTROL, "no-store")).json(told)
}
