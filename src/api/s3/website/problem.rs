//! Failures of website requests, with their subjects, and the error pages that show them.

use super::{Failure, error_headers, error_page};
use crate::actors::gateway::StoreError;
use crate::api::call::Origin;
use crate::api::errors::Fault;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderValue, StatusCode};
use s3s::{Body, HttpResponse, S3Error};

/// An S3 error, with the names and values that its error page shows in addition.
#[derive(Debug)]
pub struct Problem {
    error: S3Error,
    about: Vec<(&'static str, String)>,
}

impl From<S3Error> for Problem {
    fn from(error: S3Error) -> Self {
        Self { error, about: Vec::new() }
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        S3Error::from(fault).into()
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        S3Error::from(error).into()
    }
}

impl Problem {
    pub fn about(error: impl Into<S3Error>, name: &'static str, value: &str) -> Self {
        let error: S3Error = error.into();
        Self::from(error).and(name, value)
    }

    pub fn and(mut self, name: &'static str, value: &str) -> Self {
        self.about.push((name, value.to_owned()));
        self
    }

    pub fn status(&self) -> StatusCode {
        self.error.status_code().unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    pub fn code(&self) -> &str {
        self.error.code().as_str()
    }

    /// Returns the whole answer with an error page of the store. `document` is the problem that prevented the site's
    /// own error document.
    pub fn page(&self, document: Option<&Self>, origin: &Origin) -> HttpResponse {
        if self.status() == StatusCode::NOT_MODIFIED {
            return answer(self.status(), self.own_headers(), Body::empty());
        }
        let about = self.list();
        let about_document = document.map(Self::list);
        let second = document.zip(about_document.as_deref()).map(|(document, about)| document.failure(about));
        let first = self.failure(&about);
        let page = error_page(self.status(), &first, second.as_ref(), &origin.request_id, &origin.host_id);
        let mut headers = self.headers();
        headers.insert(CONTENT_LENGTH, HeaderValue::from(page.len()));
        answer(self.status(), headers, Body::from(page))
    }

    /// Returns the headers of every answer to this problem: those that name the error, and the error's own, such as
    /// `Retry-After` and `Content-Range`.
    pub fn headers(&self) -> HeaderMap {
        let mut headers = self.own_headers();
        headers.extend(error_headers(&self.failure(&self.list())));
        headers
    }

    fn own_headers(&self) -> HeaderMap {
        self.error.headers().cloned().unwrap_or_default()
    }

    fn list(&self) -> Vec<(&str, &str)> {
        self.about.iter().map(|(name, value)| (*name, value.as_str())).collect()
    }

    fn failure<'a>(&'a self, details: &'a [(&'a str, &'a str)]) -> Failure<'a> {
        let message = self.error.message().unwrap_or_default();
        Failure { code: self.error.code().as_str(), message, details }
    }
}

pub fn answer(status: StatusCode, headers: HeaderMap, body: Body) -> HttpResponse {
    let mut answer = HttpResponse::new(body);
    *answer.status_mut() = status;
    *answer.headers_mut() = headers;
    answer
}

#[cfg(test)]
mod tests {
    use super::Problem;
    use crate::api::call::Origin;
    use crate::api::errors::Fault;
    use http::{HeaderMap, HeaderValue, StatusCode, header};
    use s3s::HttpResponse;

    fn page(problem: &Problem, document: Option<&Problem>) -> HttpResponse {
        let origin = Origin { request_id: "0001".into(), host_id: "host".into(), ..Origin::default() };
        problem.page(document, &origin)
    }

    fn text(page: &HttpResponse) -> String {
        let bytes = page.body().bytes().expect("a page is whole");
        String::from_utf8(bytes.to_vec()).expect("a page is text")
    }

    #[test]
    fn an_error_page_shows_the_code_and_the_subject_of_its_errors() {
        let absent = Problem::about(Fault::NoSuchKey, "Key", "a.html");
        let hidden = Problem::from(Fault::AccessDenied("Access Denied"));
        let plain = page(&absent, None);
        let shown = text(&plain);
        assert_eq!(plain.status(), StatusCode::NOT_FOUND);
        assert_eq!(plain.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
        assert_eq!(plain.headers()[header::CONTENT_LENGTH], shown.len().to_string().as_str());
        assert_eq!(plain.headers()["x-amz-error-code"], "NoSuchKey");
        assert_eq!(plain.headers()["x-amz-error-detail-key"], "a.html");
        for item in ["<li>Code: NoSuchKey</li>", "<li>Key: a.html</li>", "<li>RequestId: 0001</li>"] {
            assert!(shown.contains(item), "{shown}");
        }
        let both = text(&page(&absent, Some(&hidden)));
        assert!(both.contains("<li>Code: NoSuchKey</li>") && both.contains("<li>Code: AccessDenied</li>"), "{both}");
    }

    #[test]
    fn an_error_page_has_the_errors_headers_except_its_content_type() {
        let short = page(&Problem::from(Fault::InvalidRange { size_bytes: 7 }), None);
        assert_eq!(short.status(), StatusCode::RANGE_NOT_SATISFIABLE);
        assert_eq!(short.headers()[header::CONTENT_RANGE], "bytes */7");
        assert_eq!(short.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
    }

    #[test]
    fn a_not_modified_response_has_no_page() {
        let validators = HeaderMap::from_iter([(header::ETAG, HeaderValue::from_static("\"1\""))]);
        let same = page(&Problem::from(Fault::NotModified(Box::new(validators))), None);
        assert_eq!((same.status(), text(&same).as_str()), (StatusCode::NOT_MODIFIED, ""));
        assert_eq!(same.headers()[header::ETAG], "\"1\"");
        assert!(!same.headers().contains_key("x-amz-error-code"));
    }
}
