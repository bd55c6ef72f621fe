//! The front of S3: a client's request, from actix-web through s3s to its response.

use super::access_log::{AccessEntry, AccessLog};
use super::audit::AuditLog;
use super::auth::{self, Authenticator, Scheme, Unverified};
use super::bridge::{Answer, ResponseBody, Signed, content, convert, header_bytes};
use super::errors;
use super::iam::{self, IamService};
use super::post::{Forms, Posted};
use super::request_log::RequestRecord;
use super::room::{BodyRoom, Turns};
use super::s3::{self, Domains, SiteRequest, WebsiteHosts};
use super::wire;
use crate::ambient::Ambient;
use crate::api::call::Call;
use crate::api::call::Origin;
use crate::api::call::TlsVersion;
use crate::api::call::{Head, Level, Target};
use crate::api::errors::{Fault, Named, RequestFault, identify};
use crate::api::text::Query;
use crate::limits::REQUEST_HEADERS_BYTES_MAX;
use crate::sigv4::{Credential, component};
use crate::types::LegacySignatures;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use s3s::{HttpRequest as S3Request, HttpResponse as S3Response, S3Error};
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;

/// Operations by POST that are no forms, and yet may have a body of a form's type: s3s would take it for one.
const POSTS: [&str; 5] = ["delete", "restore", "select", "uploadId", "uploads"];

/// The header of a website's error page that carries the error code.
const PAGE_CODE: &str = "x-amz-error-code";

/// The state that all workers share.
pub struct Front {
    pub service: Arc<s3::Service>,
    pub domains: Arc<Domains>,
    pub websites: WebsiteHosts,
    pub authenticator: Authenticator,
    pub forms: Forms,
    pub bodies: Arc<BodyRoom>,
    /// The turns of the workers' processor time.
    pub turns: Turns,
    pub iam: Arc<IamService>,
    /// True if it is reached over TLS.
    pub secure: bool,
    pub legacy: LegacySignatures,
    pub ambient: Ambient,
    /// `None` where this host keeps no access logs.
    pub access_log: Option<Arc<AccessLog>>,
    /// `None` where this host keeps no audit log.
    pub audit: Option<Arc<AuditLog>>,
    /// The id of the answering host: `x-amz-id-2` and `HostId`.
    pub host_id: String,
}

pub async fn answer(request: HttpRequest, payload: Payload, front: Data<Front>) -> HttpResponse<ResponseBody> {
    let record = begin(&request, &front);
    let response = call(&request, payload, &front, &record).await;
    finish(&request, response, record, &front.host_id).into_response()
}

fn begin(request: &HttpRequest, front: &Data<Front>) -> RequestRecord {
    let random = front.ambient.random_u128().to_be_bytes();
    let id = hex_simd::encode_to_string(&random[..8], hex_simd::AsciiCase::Upper);
    let remote = request.peer_addr().map(|peer| peer.to_string()).unwrap_or_default();
    let mut record = RequestRecord::begin(id, request.method().to_string(), request.path().to_owned(), remote);
    let entry = |log| AccessEntry::begin(log, request, front.ambient.clock.unix_ms());
    record.access = front.access_log.as_ref().map(entry);
    record.audit = front.audit.clone();
    record.query = request.query_string().to_owned();
    record.meter = request.app_data().cloned();
    record
}

async fn call(request: &HttpRequest, payload: Payload, front: &Front, record: &RequestRecord) -> S3Response {
    if header_bytes(request) > REQUEST_HEADERS_BYTES_MAX {
        return errors::response(Fault::RequestHeadersTooLarge);
    }
    let source_ip = request.peer_addr().map(|peer| peer.ip().to_string());
    // What it holds is given back when it is answered.
    let seat = front.bodies.seat(request.peer_addr().map(|peer| peer.ip()));
    let origin = Origin {
        request_id: record.id.clone(),
        host_id: front.host_id.clone(),
        source_ip: source_ip.unwrap_or_default(),
        tls: request.conn_data::<TlsVersion>().copied(),
    };
    let call = Call::new(origin, Arc::clone(&record.trace), Arc::clone(&seat));
    let named = named_key(request);
    match convert(request, payload, &record.trace) {
        Ok(converted) => front.turns.share(&seat, named.as_deref(), handle(converted, call, front, record)).await,
        Err(fault) => errors::response(fault),
    }
}

/// The access key that a signature names, in the header or the query, before anything of it is verified.
fn named_key(request: &HttpRequest) -> Option<String> {
    let of_scope = |scope: &str| Some(Credential::read(scope)?.access_key.to_owned());
    if let Some(header) = request.headers().get("authorization") {
        let header = header.to_str().ok()?;
        return match component(header, "Credential") {
            Some(scope) => of_scope(scope),
            None => header.strip_prefix("AWS ")?.rsplit_once(':').map(|(key, _)| key.to_owned()),
        };
    }
    let query = Query::read(Some(request.query_string()).filter(|query| query.contains("X-Amz-Credential="))).ok()?;
    query.only("X-Amz-Credential").and_then(of_scope)
}

/// A request that is not of a connection any more.
pub async fn handle(converted: S3Request, call: Call, front: &Front, record: &RequestRecord) -> S3Response {
    if let Some(bucket) = host(&converted).and_then(|host| front.websites.bucket(host)) {
        return visit(&bucket, &converted, call.origin, front, record).await;
    }
    if iam::is_call(&converted) {
        return iam::serve(&front.iam, converted, &call, front.secure).await;
    }
    let target = match target(&converted, front) {
        Ok(target) => target,
        Err(fault) => return errors::response(fault),
    };
    let bucket = target.bucket.clone().unwrap_or_default();
    record.trace.aimed_at(&bucket);
    if *converted.method() == Method::OPTIONS {
        return preflight(&bucket, converted.headers(), front, record).await;
    }
    let other = CorsRequest::of(&converted);
    let mut response = serve(converted, target, call, front, record).await.unwrap_or_else(|error| {
        if !errors::details_of(&error).is_empty() {
            record.trace.detailed(errors::details_of(&error).to_vec());
        }
        errors::response(error)
    });
    if let Some(CorsRequest { method, headers }) = other {
        response.headers_mut().extend(front.service.cross_origin(&bucket, &method, &headers).await);
    }
    response
}

/// The facts of a cross-origin request that its response depends on.
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

/// Answers a request for a page of a website, which anybody may make, whatever else the request says.
async fn visit(
    bucket: &str,
    request: &S3Request,
    origin: Arc<Origin>,
    front: &Front,
    record: &RequestRecord,
) -> S3Response {
    let (method, uri, headers) = (request.method(), request.uri(), request.headers());
    if *method == Method::OPTIONS {
        return preflight(bucket, headers, front, record).await;
    }
    let scheme = if front.secure { "https" } else { "http" };
    let host = host(request).unwrap_or_default();
    let asked = SiteRequest { bucket, scheme, host, method, uri, headers, origin, trace: &record.trace };
    let mut response = front.service.visit(&asked).await;
    if headers.contains_key(header::ORIGIN) {
        response.headers_mut().extend(front.service.cross_origin(bucket, method, headers).await);
    }
    response
}

/// Returns the host that the request names; HTTP/2 has it beside the headers.
fn host(request: &S3Request) -> Option<&str> {
    let header = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    header.or_else(|| request.uri().authority().map(|authority| authority.as_str()))
}

/// Answers a preflight request of a browser.
async fn preflight(bucket: &str, headers: &HeaderMap, front: &Front, record: &RequestRecord) -> S3Response {
    record.trace.resolved("Preflight", Some(bucket.to_owned()), None, None);
    match front.service.preflight(bucket, headers).await {
        Ok(headers) => {
            let mut response = S3Response::new(s3s::Body::empty());
            *response.headers_mut() = headers;
            response
        }
        Err(error) => errors::response(error),
    }
}

fn target(request: &S3Request, front: &Front) -> Result<Target, Fault> {
    Target::of(request.uri().path(), host(request).and_then(|host| front.domains.bucket(host)))
}

/// Authenticates a request, makes it one that s3s reads, and answers it.
async fn serve(
    mut request: S3Request,
    target: Target,
    mut call: Call,
    front: &Front,
    record: &RequestRecord,
) -> Result<S3Response, S3Error> {
    let query = Query::read(request.uri().query())?;
    let head = Head { method: request.method(), headers: request.headers(), query: &query, target: &target };
    let claim = auth::read(head, front.legacy, front.now())?;
    wire::check_subresources(head)?;
    let is_form = check_form(head, claim.scheme())?;
    let unverified = Unverified { head, uri: request.uri(), view: &call.view, now: front.now() };
    let authenticated = front.authenticator.verify(&claim, unverified).await?;
    if is_form {
        let now = OffsetDateTime::UNIX_EPOCH + front.now();
        let Posted { request, answer } = front.forms.receive(request, &target, &mut call, now).await?;
        return Ok(answer.finish(ask(request, call, front, record).await));
    }
    let renames = wire::is_rename(request.method(), request.uri(), &target);
    let scheme = authenticated.scheme;
    call.overrides = wire::take_overrides(&mut request, &target, &query);
    call.headers_aside = wire::normalise(&mut request, scheme, &query, front.now());
    if scheme != Scheme::Unsigned {
        call.authentication = authenticated.authentication;
    }
    let signed = Signed { scheme, chunks: authenticated.chunks };
    request = content(request, &target, &query, signed, &mut call)?;
    if renames {
        let source;
        (request, source) = wire::as_copy(request, &target)?;
        call.rename_source = Some(source);
    }
    Ok(ask(request, call, front, record).await)
}

/// Returns whether a POST is a form; refuses one that is half a form.
fn check_form(head: Head<'_>, scheme: Scheme) -> Result<bool, Fault> {
    if *head.method != Method::POST || head.target.level == Level::Service {
        return Ok(false);
    }
    match (wire::is_form(head.method, head.headers), POSTS.iter().any(|name| head.query.has(name))) {
        (true, false) if scheme != Scheme::Unsigned => {
            Err(Fault::InvalidArgument("A form is signed by its policy, and in no other way.".to_owned()))
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

/// Asks s3s for an answer, once.
async fn ask(mut request: S3Request, call: Call, front: &Front, record: &RequestRecord) -> S3Response {
    request.extensions_mut().insert(call);
    match front.service.call(request).await {
        // s3s could not read the body before the operation began, and calls that an internal error.
        Ok(response) if response.status().is_server_error() && !record.trace.has_entered() => {
            record.trace.fault().map_or(response, |fault| errors::response(fault.clone()))
        }
        Ok(response) => response,
        Err(_) => errors::response(Fault::Internal("The answer could not be written.".to_owned())),
    }
}

/// The names of those that a signature must cover, in their order.
fn amazon_headers(request: &HttpRequest) -> String {
    let names = request.headers().keys().map(|name| name.as_str());
    let mut names: Vec<&str> = names.filter(|name| name.starts_with("x-amz-")).collect();
    names.sort_unstable();
    names.join(";")
}

/// Adds the headers that every response has besides those of its operation.
fn finish(request: &HttpRequest, mut response: S3Response, mut record: RequestRecord, host_id: &str) -> Answer {
    let is_head = request.method() == actix_web::http::Method::HEAD;
    let said = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut body = None;
    let failed = response.status().is_client_error() || response.status().is_server_error();
    if failed
        && let Some(bytes) = response.body().bytes()
        && let Some((code, full)) = identify(
            &bytes,
            record.path(),
            Named {
                authorization: said("authorization"),
                date: said("x-amz-date"),
                md5: said("content-md5"),
                sha256: said("x-amz-content-sha256"),
                range: said("range"),
                storage_class: said("x-amz-storage-class"),
                amazon_headers: &amazon_headers(request),
                ..record.named()
            },
            &record.id,
            host_id,
        )
    {
        record.refused(code);
        body = Some(Bytes::from(full));
    } else if let Some(code) = response.headers().get(PAGE_CODE).filter(|_| failed) {
        record.refused(String::from_utf8_lossy(code.as_bytes()).into_owned());
    } else if let Some(code) = record.trace.refusal().filter(|_| failed) {
        record.refused(code.to_owned());
    }
    // s3s gives every HEAD of an object that it does not refuse the status 200.
    if is_head && response.status() == StatusCode::OK && response.headers().contains_key(header::CONTENT_RANGE) {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    if let Some(access) = &mut record.access {
        access.answered(response.headers());
    }
    let headers = response.headers_mut();
    for (name, value) in [("x-amz-request-id", record.id.as_str()), ("x-amz-id-2", host_id)] {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
    headers.insert(http::header::SERVER, HeaderValue::from_static("Sherd"));
    Answer { response, body, is_head, record }
}
