//! Fuzz targets of the API. The target `requests` sends whole requests, with the root key, to a store in memory: one
//! after the other, each until its response has ended.

use super::admin::{
    CallIam, ChangeKey, ChangeLayout, ChooseScrub, ExplainAccess, MoveLeader, Rewrap, SetQuota, StartHeal,
};
use super::auth::Authenticator;
use super::http::front::{Front, handle};
use super::http::request_log::RequestRecord;
use super::iam::{IamService, KeySetFiles, LastUsed};
use super::identity::{RootIdentity, RootSeal, SessionKeys};
use super::policy::{Ownership, ParsedPolicies};
use super::post::Forms;
use super::s3::{Domains, S3Settings, WebsiteHosts, canonical_id, service};
use super::sharing::{BodyRoom, SlowLanes, Turns};
use crate::actors::events::Targets;
use crate::actors::frontend::{AdmissionLimits, Admissions};
use crate::actors::gateway::Gateway;
use crate::actors::request::test_world::World;
use crate::actors::sealing::RootKeys;
use crate::api::call::Call;
use crate::api::call::Origin;
use crate::sigv4::Signer;
use crate::types::LegacySignatures;
use actix::SystemRunner;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use s3s::HttpRequest;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::OnceCell;
use std::error::Error;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

pub use super::http::messages::fuzzing::chunks;
pub use super::http::normalisation::fuzzing::heads;
pub use super::iam::fuzzing::{calls, tokens};
pub use super::policy::fuzzing::{decisions, policies};
pub use super::post::fuzzing::{form_policies, forms};
pub use super::s3::fuzzing::{headers, settings};
pub use super::text::documents::fuzzing::documents;

const ACCESS_KEY: &str = "key";
const SECRET_KEY: &str = "secret";
const REGION: &str = "us-east-1";
/// The separator of two requests, alone on a line.
const BETWEEN: &str = "\n%%\n";
const REQUESTS_MAX: usize = 8;
const HEADERS_MAX: usize = 64;
/// The longest time for all requests of one input. The store is in memory, so nothing waits for a disk or a peer.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(8);

/// A request in HTTP/1.1 text form, whose lines may also end in a bare line feed.
pub struct Request<'a> {
    pub method: Method,
    pub uri: Uri,
    pub headers: HeaderMap,
    pub body: &'a [u8],
}

impl<'a> Request<'a> {
    pub fn read(data: &'a [u8]) -> Option<Self> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut parsed = httparse::Request::new(&mut headers);
        let httparse::Status::Complete(head) = parsed.parse(data).ok()? else { return None };
        let mut headers = HeaderMap::new();
        for header in parsed.headers.iter() {
            let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
            headers.append(name, HeaderValue::from_bytes(header.value).ok()?);
        }
        let method = Method::from_bytes(parsed.method?.as_bytes()).ok()?;
        Some(Self { method, uri: Uri::try_from(parsed.path?).ok()?, headers, body: &data[head..] })
    }

    pub fn host(&self) -> &str {
        self.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default()
    }

    fn is_call(&self) -> bool {
        self.method == Method::POST && self.uri.path() == "/" && !self.is_signed()
    }

    fn is_signed(&self) -> bool {
        let query = self.uri.query().unwrap_or_default();
        self.headers.contains_key(header::AUTHORIZATION) || query.contains("Signature=")
    }
}

/// Sends the requests of one input, at most eight, to one store.
pub fn requests(data: &[u8]) {
    thread_local! {
        // Never dropped: dropping it uses other thread-locals, which may already be destroyed.
        static SYSTEM: OnceCell<&'static SystemRunner> = const { OnceCell::new() };
    }
    SYSTEM.with(|system| {
        let system = system.get_or_init(|| Box::leak(Box::new(actix::System::new())));
        system.block_on(async {
            let answered = tokio::time::timeout(ANSWER_WAIT_MAX, serve(data)).await;
            assert!(answered.is_ok(), "a request has no response after {ANSWER_WAIT_MAX:?}");
        });
    });
}

async fn serve(data: &[u8]) {
    let store = Store::in_memory();
    for text in split(data, BETWEEN.as_bytes()).take(REQUESTS_MAX) {
        if let Some(request) = Request::read(text) {
            // A refusal, or a response body that ends with an error, is not a defect of the server.
            let _ = store.answer(request).await;
        }
    }
}

/// A store in memory with one bucket, `bucket`.
pub struct Store {
    _world: World,
    front: Front,
}

impl Store {
    pub fn in_memory() -> Self {
        let world = World::new(1, 0);
        Self { front: front(&world), _world: world }
    }

    /// Returns the status and the body of the response to a request. One without a signature gets the root key's: an
    /// IAM or STS call is signed, any other request counts as verified.
    pub async fn answer(&self, request: Request<'_>) -> Result<(StatusCode, Bytes), Box<dyn Error + Send + Sync>> {
        answer(&self.front, request).await
    }

    /// Returns the headers of a request signed by a key for S3, without a body.
    pub fn signed(&self, (access_key, secret_key): (&str, &str), request: &Request<'_>) -> HeaderMap {
        let signer = Signer { access_key, secret_key, region: REGION, service: "s3" };
        let mut headers = request.headers.clone();
        sign(&self.front, signer, request, &mut headers);
        headers
    }
}

fn split<'a>(data: &'a [u8], between: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = Some(data);
    std::iter::from_fn(move || {
        let text = rest?;
        let found = text.windows(between.len()).position(|window| window == between);
        rest = found.map(|at| &text[at + between.len()..]);
        Some(found.map_or(text, |at| &text[..at]))
    })
}

/// Builds the front, as the server does from its options.
fn front(world: &World) -> Front {
    let limits = AdmissionLimits { bytes: 64 << 20, requests: 100, waiting: 100 };
    let gateway = Gateway::new(Admissions::start(limits, Duration::from_secs(60)), Arc::clone(&world.context));
    let ambient = world.context.ambient.clone();
    let roots = Arc::new(RootKeys::parse(&[7; 32]).expect("a key"));
    let root = RootIdentity {
        access_key: ACCESS_KEY.to_owned(),
        secret_key: SECRET_KEY.to_owned(),
        canonical_id: canonical_id("root"),
    };
    let iam = Arc::new(IamService {
        store: Arc::new(gateway.clone()),
        root,
        seal: Arc::new(RootSeal::new(Arc::clone(&roots), ambient.clone())),
        sessions: SessionKeys::derive(b"key material"),
        parsed: ParsedPolicies::default(),
        key_sets: Arc::new(KeySetFiles::default()),
        region: REGION.to_owned(),
        last_used: LastUsed::default(),
        ambient: ambient.clone(),
    });
    let domains = vec!["s3.test".to_owned()];
    let settings = S3Settings {
        region: REGION.to_owned(),
        domains: domains.clone(),
        targets: Targets::new([]),
        roots,
        iam: Arc::clone(&iam),
        new_bucket_ownership: Ownership::ObjectWriter,
        tls: false,
    };
    let service = Arc::new(service(&settings, gateway, ambient.clone()));
    Front {
        domains: Arc::new(Domains::new(&domains)),
        websites: WebsiteHosts::new(&["site.test".to_owned()], &domains),
        iam,
        secure: false,
        forms: Forms { secrets: service.secrets(), scheme: "http", legacy: LegacySignatures::On },
        bodies: BodyRoom::new(1 << 30),
        turns: Turns::new(Arc::clone(&ambient.clock), SlowLanes::start(1).expect("a thread")),
        authenticator: Authenticator::new(service.secrets()),
        service,
        legacy: LegacySignatures::On,
        ambient,
        access_log: None,
        audit: None,
        tracer: None,
        host_id: "this-host".into(),
        host_id_value: None,
    }
}

async fn answer(front: &Front, request: Request<'_>) -> Result<(StatusCode, Bytes), Box<dyn Error + Send + Sync>> {
    let (method, uri) = (request.method.as_str().parse()?, request.uri.to_string().parse()?);
    let record = RequestRecord::begin("0001".into(), method, uri, None);
    let mut asked = HttpRequest::new(s3s::Body::from(Bytes::copy_from_slice(request.body)));
    let origin = Origin { source_ip: Some([127, 0, 0, 1].into()), ..Origin::default() };
    let mut call = Call { origin: Arc::new(origin), trace: Arc::clone(&record.trace), ..Call::default() };
    let (is_call, is_signed) = (request.is_call(), request.is_signed());
    *asked.headers_mut() = request.headers.clone();
    if is_call {
        let is_of_sts = request.body.windows(4).any(|window| window == b"2011");
        let service = if is_of_sts { "sts" } else { "iam" };
        let signer = Signer { access_key: ACCESS_KEY, secret_key: SECRET_KEY, region: REGION, service };
        sign(front, signer, &request, asked.headers_mut());
    } else if !is_signed {
        call.authentication.access_key = Some(ACCESS_KEY.to_owned());
    }
    if !asked.headers().contains_key(header::CONTENT_LENGTH) && !request.body.is_empty() {
        asked.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(request.body.len()));
    }
    *asked.method_mut() = request.method;
    *asked.uri_mut() = request.uri;
    let response = handle(asked, call, front, &record.trace).await?;
    let status = response.status();
    let body = response.into_body().store_all_limited(1 << 20).await?;
    Ok((status, body))
}

fn sign(front: &Front, signer: Signer<'_>, request: &Request<'_>, headers: &mut HeaderMap) {
    let now = front.ambient.clock.unix_ms().0 / 1000;
    let target = request.uri.path_and_query().map_or("/", |target| target.as_str());
    for (name, value) in signer.headers(now, request.method.as_str(), target, request.host(), request.body) {
        headers.insert(name, HeaderValue::try_from(value).expect("hexadecimal digits and the like"));
    }
    headers.entry(header::HOST).or_insert(HeaderValue::from_static(""));
}

/// Checks that each body of the admin API which parses is equal after it was serialised and parsed again.
pub fn admin_bodies(data: &[u8]) {
    fn same_again<T: DeserializeOwned + Serialize + PartialEq + Debug>(data: &[u8]) {
        if let Ok(read) = serde_json::from_slice::<T>(data) {
            let written = serde_json::to_vec(&read).expect("it has string keys only");
            assert_eq!(serde_json::from_slice::<T>(&written).ok(), Some(read));
        }
    }
    same_again::<ChangeLayout>(data);
    same_again::<ChooseScrub>(data);
    same_again::<StartHeal>(data);
    same_again::<MoveLeader>(data);
    same_again::<SetQuota>(data);
    same_again::<CallIam>(data);
    same_again::<ExplainAccess>(data);
    same_again::<ChangeKey>(data);
    same_again::<Rewrap>(data);
}
