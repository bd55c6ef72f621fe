//! One request of an S3 client, from actix-web through s3s to its answer.

use super::bridge::{Answer, ResponseBody, convert, header_bytes};
use super::request_log::RequestRecord;
use super::s3::{self, Fault, identify, refuse_early};
use crate::ambient::Ambient;
use crate::limits::REQUEST_HEADERS_BYTES_MAX;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use http::HeaderValue;
use s3s::HttpResponse as S3Response;
use s3s::service::S3Service;

/// What every worker shares.
pub struct Front {
    pub service: S3Service,
    pub ambient: Ambient,
    /// Which host answered: `x-amz-id-2` and `HostId`.
    pub host_id: String,
}

pub async fn answer(request: HttpRequest, payload: Payload, front: Data<Front>) -> HttpResponse<ResponseBody> {
    let record = begin(&request, &front.ambient);
    let is_head = request.method() == actix_web::http::Method::HEAD;
    let response = call(&request, payload, &front, &record).await;
    finish(response, record, is_head, &front.host_id).into_response()
}

fn begin(request: &HttpRequest, ambient: &Ambient) -> RequestRecord {
    let random = ambient.random_u128().to_be_bytes();
    let id = hex_simd::encode_to_string(&random[..8], hex_simd::AsciiCase::Upper);
    let remote = request.peer_addr().map(|peer| peer.to_string()).unwrap_or_default();
    RequestRecord::begin(id, request.method().to_string(), request.path().to_owned(), remote)
}

async fn call(request: &HttpRequest, payload: Payload, front: &Front, record: &RequestRecord) -> S3Response {
    if header_bytes(request) > REQUEST_HEADERS_BYTES_MAX {
        return s3::response(Fault::RequestHeadersTooLarge);
    }
    let converted = match convert(request, payload, &record.trace) {
        Ok(converted) => converted,
        Err(fault) => return s3::response(fault),
    };
    if let Err(fault) = refuse_early(converted.method(), converted.uri(), converted.headers()) {
        return s3::response(fault);
    }
    let hashed = converted.headers().get(s3s::header::X_AMZ_CONTENT_SHA256).is_some_and(|hash| hash.len() == 64);
    match front.service.call(converted).await {
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
    response.status() == http::StatusCode::INTERNAL_SERVER_ERROR
}

/// What every answer has besides what the operation gave it.
fn finish(mut response: S3Response, mut record: RequestRecord, is_head: bool, host_id: &str) -> Answer {
    let mut body = None;
    let failed = response.status().is_client_error() || response.status().is_server_error();
    if failed
        && let Some(bytes) = response.body().bytes()
        && let Some((code, full)) = identify(&bytes, record.path(), &record.id, host_id)
    {
        record.refused(code);
        body = Some(Bytes::from(full));
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
