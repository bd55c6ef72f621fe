//! Answers requests to the websites of buckets. All of them are anonymous. `routing` decides where a request leads;
//! this file performs its steps.

use super::pages::{Pages, SiteRequest, redirect};
use super::problem::Problem;
use super::{ErrorResponse, NONE, Step, Website, WebsiteRequest, website_of};
use crate::api::errors::{Fault, RequestFault};
use crate::api::s3::Store;
use crate::api::s3::access::Gate;
use crate::api::text::percent;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use s3s::{HttpResponse, S3Error};

/// The methods of a website. OPTIONS is answered elsewhere, by the bucket's CORS rules.
const METHODS: &str = "GET, HEAD, OPTIONS";

/// Answers a request. A failure is answered with an error page, or with the site's own error document.
pub async fn serve(store: &Store, gate: &Gate, request: &SiteRequest<'_>) -> HttpResponse {
    let key = request.uri.path().strip_prefix('/').and_then(percent::decode_path);
    request.trace.set_operation("Website", Some(request.bucket.to_owned()), key.clone(), None);
    match respond(store, gate, request, key).await {
        Ok(response) => response,
        Err(problem) => {
            request.trace.set_code(problem.code());
            problem.page(None, &request.origin)
        }
    }
}

/// Answers a request. `key` is `None` if the path cannot be decoded.
async fn respond(
    store: &Store,
    gate: &Gate,
    request: &SiteRequest<'_>,
    key: Option<String>,
) -> Result<HttpResponse, Problem> {
    check_method(request.method)?;
    let key = key.ok_or(Fault::Request(RequestFault::InvalidUri))?;
    let (website, pages) = enter(store, gate, request).await?;
    let asked = WebsiteRequest { scheme: request.scheme, host: request.host, key: &key, query: request.uri.query() };
    let served = match website.step(&asked) {
        Step::Redirect(to) => return Ok(redirect(&to)),
        Step::Serve(served) => served,
    };
    match pages.page(&served, request).await {
        Ok(page) => Ok(page),
        Err(problem) => recover(&website, &asked, &pages, request, problem).await,
    }
}

/// Refuses methods that do not read.
fn check_method(method: &Method) -> Result<(), Problem> {
    if matches!(*method, Method::GET | Method::HEAD) {
        return Ok(());
    }
    let mut error = S3Error::from(Fault::MethodNotAllowed);
    error.set_headers(HeaderMap::from_iter([(header::ALLOW, HeaderValue::from_static(METHODS))]));
    Err(Problem::about(error, "Method", method.as_str()).and("ResourceType", "OBJECT"))
}

async fn enter<'a>(
    store: &'a Store,
    gate: &'a Gate,
    request: &SiteRequest<'_>,
) -> Result<(Website, Pages<'a>), Problem> {
    let of_bucket = |fault: Fault| Problem::about(fault, "BucketName", request.bucket);
    let judge = gate.anonymous(request.headers, &request.origin).await?;
    let guarded = judge.guarded(request.bucket)?.ok_or_else(|| of_bucket(Fault::NoSuchBucket))?;
    let website = website_of(&judge.view, guarded.row.bucket.id)?.ok_or_else(|| of_bucket(NONE))?;
    Ok((website, Pages { store, gate, judge, guarded }))
}

/// Answers a request whose page cannot be served: by a redirect, the error document, or the error itself.
async fn recover(
    website: &Website,
    asked: &WebsiteRequest<'_>,
    pages: &Pages<'_>,
    request: &SiteRequest<'_>,
    problem: Problem,
) -> Result<HttpResponse, Problem> {
    let Website::Site(site) = website else { return Err(problem) };
    let status = problem.status();
    let is_hidden = matches!(status, StatusCode::NOT_FOUND | StatusCode::FORBIDDEN);
    if let Some(index) = site.folder_index(asked).filter(|_| is_hidden)
        && pages.has(&index)?
    {
        return Ok(redirect(&asked.folder_redirection()));
    }
    match site.error_response(asked, status) {
        ErrorResponse::Redirect(to) => Ok(redirect(&to)),
        ErrorResponse::Page => Err(problem),
        ErrorResponse::Document(key) => {
            request.trace.set_code(problem.code());
            let document = pages.document(&key, request, &problem).await;
            Ok(document.unwrap_or_else(|second| problem.page(Some(&second), &request.origin)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::check_method;
    use crate::api::call::Origin;
    use http::{Method, StatusCode, header};

    #[test]
    fn a_website_refuses_methods_other_than_get_and_head() {
        for method in [Method::GET, Method::HEAD] {
            assert!(check_method(&method).is_ok(), "{method}");
        }
        for method in [Method::PUT, Method::POST, Method::DELETE, Method::PATCH] {
            let refused = check_method(&method).expect_err("refused").page(None, &Origin::default());
            assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
            assert_eq!(refused.headers()[header::ALLOW], "GET, HEAD, OPTIONS");
            assert_eq!(refused.headers()["x-amz-error-detail-method"], method.as_str());
        }
    }
}
