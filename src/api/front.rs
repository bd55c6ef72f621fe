//! One request of an S3 client, from actix-web through s3s to its answer.

use super::access_log::AccessEntry;
use super::bridge::{Answer, ResponseBody, convert, gather, header_bytes};
use super::iam::{self, IamService};
use super::post::{self, Forms, Posted};
use super::request_log::RequestRecord;
use super::room::BodyRoom;
use super::s3::{self, Domains, Fault, Named, Origin, SiteRequest, WebsiteHosts, WireFault, identify};
use super::wire::{self, Handback, Head, Level, Query, Remedies, Resigning, Scheme, Target};
use crate::actors::events::access_log::AccessLogger;
use crate::ambient::Ambient;
use crate::limits::REQUEST_HEADERS_BYTES_MAX;
use crate::types::LegacySignatures;
use actix::Addr;
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

/// Where the page of a website's error has its code.
const PAGE_CODE: &str = "x-amz-error-code";

/// What every worker shares.
pub struct Front {
    pub service: s3::Service,
    pub domains: Domains,
    pub websites: WebsiteHosts,
    pub forms: Forms,
    pub bodies: Arc<BodyRoom>,
    pub iam: Arc<IamService>,
    /// Whether it is reached over TLS.
    pub secure: bool,
    pub legacy: LegacySignatures,
    pub ambient: Ambient,
    /// Takes the lines of buckets' access logs.
    pub access_log: Option<Addr<AccessLogger>>,
    /// Which host answered: `x-amz-id-2` and `HostId`.
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
    record.access = AccessEntry::begin(request, front);
    record.query = request.query_string().to_owned();
    record
}

async fn call(request: &HttpRequest, payload: Payload, front: &Front, record: &RequestRecord) -> S3Response {
    if header_bytes(request) > REQUEST_HEADERS_BYTES_MAX {
        return s3::response(Fault::RequestHeadersTooLarge);
    }
    let source_ip = request.peer_addr().map(|peer| peer.ip().to_string());
    // What it holds is given back when it is answered.
    let seat = front.bodies.seat(request.peer_addr().map(|peer| peer.ip()));
    match convert(request, payload, &seat, &record.trace) {
        Ok(converted) => handle(converted, source_ip, front, record).await,
        Err(fault) => s3::response(fault),
    }
}

/// A request that is not of a connection any more.
pub async fn handle(
    mut converted: S3Request,
    source_ip: Option<String>,
    front: &Front,
    record: &RequestRecord,
) -> S3Response {
    if let Some(bucket) = host(&converted).and_then(|host| front.websites.bucket(host)) {
        return visit(&bucket, &converted, source_ip.unwrap_or_default(), front, record).await;
    }
    if iam::is_call(&converted) {
        let from = iam::From { source_ip, secure: front.secure };
        return iam::serve(&front.iam, converted, from, &record.id, &record.trace).await;
    }
    let (request_id, host_id) = (record.id.clone(), front.host_id.clone());
    converted.extensions_mut().insert(Origin { request_id, host_id, source_ip: source_ip.unwrap_or_default() });
    let target = match target(&converted, front) {
        Ok(target) => target,
        Err(fault) => return s3::response(fault),
    };
    let bucket = target.bucket.clone().unwrap_or_default();
    record.trace.aimed_at(&bucket);
    if *converted.method() == Method::OPTIONS {
        return preflight(&bucket, converted.headers(), front, record).await;
    }
    let other = Asked::of(&converted);
    let mut response = serve(converted, target, front, record).await.unwrap_or_else(s3::response);
    if let Some(Asked { method, headers }) = other {
        response.headers_mut().extend(front.service.cross_origin(&bucket, &method, &headers).await);
    }
    response
}

/// What of a request from another origin its answer depends on.
struct Asked {
    method: Method,
    headers: HeaderMap,
}

impl Asked {
    fn of(request: &S3Request) -> Option<Self> {
        let is_from_another = request.headers().contains_key(header::ORIGIN);
        is_from_another.then(|| Self { method: request.method().clone(), headers: request.headers().clone() })
    }
}

/// A website is asked for pages by whoever comes, whatever else the request says.
async fn visit(
    bucket: &str,
    request: &S3Request,
    source_ip: String,
    front: &Front,
    record: &RequestRecord,
) -> S3Response {
    let (method, uri, headers) = (request.method(), request.uri(), request.headers());
    if *method == Method::OPTIONS {
        return preflight(bucket, headers, front, record).await;
    }
    let scheme = if front.secure { "https" } else { "http" };
    let host = host(request).unwrap_or_default();
    let origin = Origin { request_id: record.id.clone(), host_id: front.host_id.clone(), source_ip };
    let asked = SiteRequest { bucket, scheme, host, method, uri, headers, origin, trace: &record.trace };
    let mut response = front.service.visit(&asked).await;
    if headers.contains_key(header::ORIGIN) {
        response.headers_mut().extend(front.service.cross_origin(bucket, method, headers).await);
    }
    response
}

/// As the request names it: HTTP/2 has it beside the headers.
fn host(request: &S3Request) -> Option<&str> {
    let header = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    header.or_else(|| request.uri().authority().map(|authority| authority.as_str()))
}

/// What a browser asks before it asks for something.
async fn preflight(bucket: &str, headers: &HeaderMap, front: &Front, record: &RequestRecord) -> S3Response {
    record.trace.resolved("Preflight", Some(bucket.to_owned()), None, None);
    match front.service.preflight(bucket, headers).await {
        Ok(headers) => {
            let mut response = S3Response::new(s3s::Body::empty());
            *response.headers_mut() = headers;
            response
        }
        Err(error) => s3::response(error),
    }
}

fn target(request: &S3Request, front: &Front) -> Result<Target, Fault> {
    Target::of(request.uri().path(), host(request).and_then(|host| front.domains.bucket(host)))
}

/// Past what is refused before s3s, through it, and where that is needed around it.
async fn serve(
    mut request: S3Request,
    target: Target,
    front: &Front,
    record: &RequestRecord,
) -> Result<S3Response, S3Error> {
    let scheme = examine(&request, &target, front)?;
    request = gather(request, &target, &record.trace)?;
    wire::restate(scheme, &target, &mut request);
    if let Some(resigning) = Resigning::of(scheme, &request)
        && let Ok(secret) = front.service.auth().get_secret_key(resigning.access_key()).await
    {
        resigning.apply(&mut request, secret.expose());
    }
    if post::is_form(request.method(), request.headers()) {
        let now = OffsetDateTime::UNIX_EPOCH + front.now();
        let Posted { request, answer } = front.forms.receive(request, &target, now).await?;
        return Ok(answer.finish(ask(request, front, record).await));
    }
    let remedies = Remedies::find(request.method(), request.headers(), front.now());
    let renames = wire::is_rename(request.method(), request.uri(), &target);
    if remedies.is_empty() && !renames {
        return Ok(ask(request, front, record).await);
    }
    let handback = Handback::new(remedies);
    request.extensions_mut().insert(handback.clone());
    let refused = ask(request, front, record).await;
    Ok(match handback.take() {
        Some(again) if renames => ask(wire::as_copy(again, &target)?, front, record).await,
        Some(again) => ask(again, front, record).await,
        None => refused,
    })
}

/// Whether it is put as requests are, and how it is signed.
fn examine(request: &S3Request, target: &Target, front: &Front) -> Result<Scheme, Fault> {
    let (method, uri, headers) = (request.method(), request.uri(), request.headers());
    let query = Query::read(uri.query())?;
    let head = Head { method, headers, query: &query, target };
    let scheme = wire::check(head, front.legacy, front.now())?;
    if *method != Method::POST || target.level == Level::Service {
        return Ok(scheme);
    }
    match (post::is_form(method, headers), POSTS.iter().any(|name| query.has(name))) {
        (true, false) if scheme != Scheme::Unsigned => {
            Err(Fault::InvalidArgument("A form is signed by its policy, and in no other way.".to_owned()))
        }
        (true, true) => Err(Fault::NotImplemented(
            "Bodies of the type multipart/form-data are not implemented for this operation.".to_owned(),
        )),
        (false, false) if target.level == Level::Bucket && query.names().next().is_none() => {
            Err(WireFault::NotAForm.into())
        }
        _ => Ok(scheme),
    }
}

impl Front {
    /// Since the Unix epoch.
    fn now(&self) -> Duration {
        Duration::from_millis(self.ambient.clock.unix_ms().0)
    }
}

/// One question to s3s.
async fn ask(request: S3Request, front: &Front, record: &RequestRecord) -> S3Response {
    let hashed = request.headers().get(s3s::header::X_AMZ_CONTENT_SHA256).is_some_and(|hash| hash.len() == 64);
    match front.service.call(request).await {
        // s3s could not read the body before the operation began, and calls that an internal error.
        Ok(response) if response.status().is_server_error() && !record.trace.has_entered() => {
            match record.trace.fault() {
                Some(fault) => s3::response(fault.clone()),
                None if is_internal(&response) && hashed => s3::response(Fault::InvalidContentSha256),
                None => response,
            }
        }
        Ok(response) => response,
        Err(_) => s3::response(Fault::Internal("The answer could not be written.".to_owned())),
    }
}

/// A 500 and not a 501 or 503, which say what they mean.
fn is_internal(response: &S3Response) -> bool {
    response.status() == StatusCode::INTERNAL_SERVER_ERROR
}

/// The names of those that a signature must cover, in their order.
fn amazon_headers(request: &HttpRequest) -> String {
    let names = request.headers().keys().map(|name| name.as_str());
    let mut names: Vec<&str> = names.filter(|name| name.starts_with("x-amz-")).collect();
    names.sort_unstable();
    names.join(";")
}

/// What every answer has besides what the operation gave it.
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
