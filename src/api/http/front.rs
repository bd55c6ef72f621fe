//! The front of the S3 API: takes a request from actix-web through authentication and s3s to its response.

use super::access_log::{AccessEntry, AccessLog};
use super::messages::{Answer, ResponseBody, SLICE_BYTES, Shared, Signed, check_size, content, convert, referenced};
use super::normalisation;
use super::request_log::RequestRecord;
use super::request_spans;
use crate::ambient::Ambient;
use crate::api::audit::AuditLog;
use crate::api::auth::{self, Authenticator, Scheme, Unverified};
use crate::api::call::Call;
use crate::api::call::TlsVersion;
use crate::api::call::{Head, Level, Target, is_form};
use crate::api::call::{Origin, RequestTrace};
use crate::api::errors::{ErrorContext, Fault, Names, RequestFault, written};
use crate::api::iam::{self, IamService};
use crate::api::post::{Forms, Posted};
use crate::api::s3::{self, Domains, SiteRequest, WebsiteHosts};
use crate::api::sharing::{BodyRoom, Seat, Turns};
use crate::api::text::Query;
use crate::panics::caught;
use crate::sigv4::{Credential, component};
use crate::traces::Tracer;
use crate::types::LegacySignatures;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use s3s::{HttpRequest as S3Request, HttpResponse as S3Response, S3Error, S3Result};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;

/// Query parameters of POST operations that are not form uploads. s3s would parse a `multipart/form-data` body of such
/// a request as a form.
const POSTS: [&str; 5] = ["delete", "restore", "select", "uploadId", "uploads"];

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");
const HOST_ID: HeaderName = HeaderName::from_static("x-amz-id-2");

/// The state that all workers share.
pub struct Front {
    pub service: Arc<s3::Service>,
    pub domains: Arc<Domains>,
    pub websites: WebsiteHosts,
    pub authenticator: Authenticator,
    pub forms: Forms,
    pub bodies: Arc<BodyRoom>,
    /// The scheduler of the workers' processor time.
    pub turns: Arc<Turns>,
    pub iam: Arc<IamService>,
    /// True if clients connect over TLS.
    pub secure: bool,
    pub legacy: LegacySignatures,
    pub ambient: Ambient,
    /// `None` if this host writes no access logs.
    pub access_log: Option<Arc<AccessLog>>,
    /// `None` if this host writes no audit log.
    pub audit: Option<Arc<AuditLog>>,
    /// `None` if no requests are traced.
    pub tracer: Option<Tracer>,
    /// The id of this host: the element `HostId` of an error.
    pub host_id: Arc<str>,
    /// `host_id` as the value of the header `x-amz-id-2`.
    pub host_id_value: Option<HeaderValue>,
}

pub async fn answer(request: HttpRequest, payload: Payload, front: Data<Front>) -> HttpResponse<ResponseBody> {
    let record = begin(&request, &front);
    // The seat accounts for the memory that the request holds, until its last clone is dropped.
    let seat = front.bodies.seat(request.peer_addr().map(|peer| peer.ip()));
    let answered = caught(call(&request, payload, &front, &seat, &record)).await.unwrap_or_else(failed);
    let shared = Shared { turns: Arc::clone(&front.turns), seat };
    finish(&request, answered, (record, shared), &front).into_response()
}

fn begin(request: &HttpRequest, front: &Data<Front>) -> RequestRecord {
    let random = front.ambient.random_u128().to_be_bytes();
    let id = hex_simd::encode_to_string(&random[..8], hex_simd::AsciiCase::Upper);
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let mut record = RequestRecord::begin(id.into(), method, uri, request.peer_addr());
    let entry = |log| AccessEntry::begin(log, request, front.ambient.clock.unix_ms());
    if let Some(tracer) = &front.tracer {
        record.trace = Arc::new(RequestTrace::recorded(request_spans::begin(tracer, request, front.secure)));
    }
    record.access = front.access_log.as_ref().map(entry);
    record.audit = front.audit.clone();
    record.meter = request.app_data().cloned();
    record
}

async fn call(
    request: &HttpRequest,
    payload: Payload,
    front: &Data<Front>,
    seat: &Arc<Seat>,
    record: &RequestRecord,
) -> S3Result<S3Response> {
    check_size(request)?;
    let source_ip = request.peer_addr().map(|peer| peer.ip());
    let origin = Origin {
        request_id: Arc::clone(&record.id),
        host_id: Arc::clone(&front.host_id),
        source_ip,
        tls: request.conn_data::<TlsVersion>().copied(),
    };
    let trace = Arc::clone(&record.trace);
    let call = Call::new(origin, Arc::clone(&trace), Arc::clone(seat));
    let named = named_key(request);
    let (converted, source) = convert(request, payload, seat, &trace)?;
    let state = front.clone();
    // Boxed: the future is large, and is moved several times before it is polled.
    // It may go on in another thread, so its panics are caught here, too.
    let handled = Box::pin(async move {
        let answered = caught(handle(converted, call, &state, &trace)).await.unwrap_or_else(failed);
        answered.map(referenced)
    });
    let answered = front.turns.share(seat, named.as_deref(), source, handled).await;
    answered.unwrap_or_else(|| Err(Fault::Internal("The request was not carried out.".to_owned()).into()))
}

/// Returns the answer to a request whose code panicked.
fn failed() -> S3Result<S3Response> {
    Err(Fault::Internal("The request failed by a defect.".to_owned()).into())
}

/// Returns the access key that the signature in the header or the query names. Nothing of it is verified yet.
fn named_key(request: &HttpRequest) -> Option<Cow<'_, str>> {
    if let Some(header) = request.headers().get("authorization") {
        let header = header.to_str().ok()?;
        return match component(header, "Credential") {
            Some(scope) => Some(Credential::read(scope)?.access_key.into()),
            None => header.strip_prefix("AWS ")?.rsplit_once(':').map(|(key, _)| key.into()),
        };
    }
    let name = "X-Amz-Credential=";
    let mut found = request.query_string().split('&').filter(|pair| pair.starts_with(name));
    let (Some(pair), None) = (found.next(), found.next()) else { return None };
    let query = Query::read(Some(pair)).ok()?;
    Some(Credential::read(query.only("X-Amz-Credential")?)?.access_key.to_owned().into())
}

/// Routes a request to the website of a bucket, to IAM, or to S3. A refusal by S3 is an `Err`; websites and IAM return
/// their refusals as responses in their own form.
pub async fn handle(
    converted: S3Request,
    call: Call,
    front: &Front,
    trace: &Arc<RequestTrace>,
) -> S3Result<S3Response> {
    if let Some(bucket) = host(&converted).and_then(|host| front.websites.bucket(host)) {
        return Box::pin(visit(&bucket, &converted, call.origin, front, trace)).await;
    }
    if iam::is_call(&converted) {
        return Ok(Box::pin(iam::serve(&front.iam, converted, &call, front.secure)).await);
    }
    let target = target(&converted, front)?;
    let bucket = target.bucket.as_deref().unwrap_or_default();
    if *converted.method() == Method::OPTIONS {
        trace.set_named_bucket(bucket);
        return Box::pin(preflight(bucket, converted.headers(), front, trace)).await;
    }
    let other = CorsRequest::of(&converted);
    let answered = serve(converted, &target, call, front).await;
    if answered.is_err() {
        trace.set_named_bucket(bucket);
    }
    let Some(CorsRequest { method, headers }) = other else { return answered };
    let more = Box::pin(front.service.cross_origin(bucket, &method, &headers)).await;
    with_headers(answered, more)
}

fn with_headers(mut answered: S3Result<S3Response>, more: HeaderMap) -> S3Result<S3Response> {
    match &mut answered {
        Ok(response) => response.headers_mut().extend(more),
        Err(error) => {
            let mut headers = error.headers().cloned().unwrap_or_default();
            headers.extend(more);
            error.set_headers(headers);
        }
    }
    answered
}

/// The method and headers of a cross-origin request, from which its CORS response headers follow.
struct CorsRequest {
    method: Method,
    headers: HeaderMap,
}

impl CorsRequest {
    fn of(request: &S3Request) -> Option<Self> {
        let is_from_another = request.headers().contains_key(header::ORIGIN);
        is_from_another.then(|| Self { method: request.method().clone(), headers: request.headers().clone() })
    }
}

/// Responds to a request for a page of a bucket's website. Such a request is anonymous; a signature is ignored.
async fn visit(
    bucket: &str,
    request: &S3Request,
    origin: Arc<Origin>,
    front: &Front,
    trace: &Arc<RequestTrace>,
) -> S3Result<S3Response> {
    let (method, uri, headers) = (request.method(), request.uri(), request.headers());
    if *method == Method::OPTIONS {
        return preflight(bucket, headers, front, trace).await;
    }
    let scheme = if front.secure { "https" } else { "http" };
    let host = host(request).unwrap_or_default();
    let asked = SiteRequest { bucket, scheme, host, method, uri, headers, origin, trace };
    let mut response = front.service.visit(&asked).await;
    if headers.contains_key(header::ORIGIN) {
        response.headers_mut().extend(front.service.cross_origin(bucket, method, headers).await);
    }
    Ok(response)
}

fn host(request: &S3Request) -> Option<&str> {
    request.headers().get(header::HOST).and_then(|host| host.to_str().ok())
}

/// Responds to a browser's CORS preflight request.
async fn preflight(
    bucket: &str,
    headers: &HeaderMap,
    front: &Front,
    trace: &Arc<RequestTrace>,
) -> S3Result<S3Response> {
    trace.set_operation("Preflight", Some(bucket.to_owned()), None, None);
    let mut response = S3Response::new(s3s::Body::empty());
    *response.headers_mut() = front.service.preflight(bucket, headers).await?;
    Ok(response)
}

fn target(request: &S3Request, front: &Front) -> Result<Target, Fault> {
    Target::of(request.uri().path(), host(request).and_then(|host| front.domains.bucket(host)))
}

/// Authenticates a request, normalises it for s3s, and runs its operation.
async fn serve(mut request: S3Request, target: &Target, mut call: Call, front: &Front) -> S3Result<S3Response> {
    let query = Query::read(request.uri().query())?;
    let head = Head { method: request.method(), headers: request.headers(), query: &query, target };
    let claim = auth::read(head, front.legacy, front.now())?;
    if matches!(claim.scheme(), Scheme::Url | Scheme::LegacyUrl) {
        auth::check_hoisted(&query)?;
    }
    normalisation::check_subresources(head)?;
    let is_form = check_form(head, claim.scheme())?;
    if is_form {
        normalisation::check_conditions(head)?;
    }
    let unverified = Unverified { head, uri: request.uri(), view: &call.view, now: front.now() };
    let span = call.trace.spans().begin("authenticate");
    let authenticated = front.authenticator.verify(&claim, unverified).await?;
    drop(span);
    if is_form {
        let now = OffsetDateTime::UNIX_EPOCH + front.now();
        let received = Box::pin(front.forms.receive(request, target, &mut call, now)).await;
        let Posted { request, answer } = received?;
        return Ok(answer.finish(front.service.call(request, call).await?));
    }
    let renames = normalisation::is_rename(head);
    let scheme = authenticated.scheme;
    call.overrides = normalisation::take_overrides(&mut request, target, &query);
    call.headers_aside = normalisation::normalise(&mut request, scheme, &query, front.now());
    let head = Head { method: request.method(), headers: request.headers(), query: &query, target };
    normalisation::check_conditions(head)?;
    if scheme != Scheme::Unsigned {
        call.authentication = authenticated.authentication;
    }
    let signed = Signed { scheme, chunks: authenticated.chunks };
    request = content(request, target, &query, signed, &mut call)?;
    if renames {
        let source = normalisation::rename_source(request.headers(), target.bucket.as_deref().unwrap_or_default())?;
        return Box::pin(front.service.rename(target, source, request, call)).await;
    }
    front.service.call(request, call).await
}

/// Returns whether a request is a form upload. Refuses a form that is signed like another request, a form for a POST
/// operation that takes none, and a plain POST to a bucket that is not a form.
fn check_form(head: Head<'_>, scheme: Scheme) -> Result<bool, Fault> {
    if *head.method != Method::POST || head.target.level == Level::Service {
        return Ok(false);
    }
    match (is_form(head.method, head.headers), POSTS.iter().any(|name| head.query.has(name))) {
        (true, false) if scheme != Scheme::Unsigned => {
            Err(Fault::InvalidArgument("A form must be signed by its policy, not in a header or the URL.".to_owned()))
        }
        (true, true) => Err(Fault::NotImplemented(
            "Bodies of the type multipart/form-data are not implemented for this operation.".to_owned(),
        )),
        (false, false) if head.target.level == Level::Bucket && head.query.names().next().is_none() => {
            Err(RequestFault::NotAForm.into())
        }
        (is_form, _) => Ok(is_form),
    }
}

impl Front {
    /// Returns the time since the Unix epoch.
    fn now(&self) -> Duration {
        Duration::from_millis(self.ambient.clock.unix_ms().0)
    }
}

/// Adds the headers that every response has (request id, host id, server), and records an error's code.
fn finish(
    request: &HttpRequest,
    answered: S3Result<S3Response>,
    (mut record, shared): (RequestRecord, Shared),
    front: &Front,
) -> Answer {
    let is_head = request.method() == actix_web::http::Method::HEAD;
    let (response, code) = match answered {
        Ok(response) => (response, record.trace.code().map(str::to_owned)),
        Err(error) => (refused(request, &error, &record, &front.host_id), Some(error.code().as_str().to_owned())),
    };
    let whole = response.body().bytes().map_or(0, |bytes| bytes.len());
    let (mut response, code) = if is_head || whole <= SLICE_BYTES || shared.seat.take_answer(whole).is_ok() {
        (response, code)
    } else {
        let error = S3Error::from(Fault::SlowDown("the memory for answers is used up; try again later".to_owned()));
        (refused(request, &error, &record, &front.host_id), Some(error.code().as_str().to_owned()))
    };
    let failed = response.status().is_client_error() || response.status().is_server_error();
    code.filter(|_| failed).into_iter().for_each(|code| record.refused(code));
    if let Some(access) = &mut record.access {
        access.answered(response.headers());
    }
    let headers = response.headers_mut();
    for (name, value) in [(REQUEST_ID, HeaderValue::try_from(&*record.id).ok()), (HOST_ID, front.host_id_value.clone())]
    {
        value.into_iter().for_each(|value| drop(headers.insert(name.clone(), value)));
    }
    headers.insert(header::SERVER, HeaderValue::from_static("Sherd"));
    Answer { response, is_head, record, shared }
}

/// Builds the error response to a refused request, with the request's values that S3 repeats in its errors.
fn refused(request: &HttpRequest, error: &S3Error, record: &RequestRecord, host_id: &str) -> S3Response {
    let text = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let named = ErrorContext {
        authorization: text("authorization"),
        date: text("x-amz-date"),
        md5: text("content-md5"),
        sha256: text("x-amz-content-sha256"),
        range: text("range"),
        storage_class: text("x-amz-storage-class"),
        ..record.error_context()
    };
    written(error, &Names { named, resource: record.path(), request_id: &record.id, host_id })
}
