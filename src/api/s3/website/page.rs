//! The error page of a website, and its headers, as S3 sends them.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use std::fmt::Write;

const TYPE: &str = "text/html; charset=utf-8";

/// An error on a page: its code, its message, and its subject, such as `("Key", "a.html")` or `("BucketName", "b")`.
#[derive(Clone, Copy, Debug)]
pub struct Failure<'a> {
    pub code: &'a str,
    pub message: &'a str,
    pub details: &'a [(&'a str, &'a str)],
}

/// Returns the HTML of an error page. `document` is the reason why the site's error document could not be served, if it
/// has one.
pub fn error_page(
    status: StatusCode,
    failure: &Failure<'_>,
    document: Option<&Failure<'_>>,
    request_id: &str,
    host_id: &str,
) -> String {
    let title = format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or_default());
    let mut page = format!("<html>\n<head><title>{title}</title></head>\n<body>\n<h1>{title}</h1>\n<ul>\n");
    list(&mut page, failure);
    item(&mut page, "RequestId", request_id);
    item(&mut page, "HostId", host_id);
    page.push_str("</ul>\n");
    if let Some(document) = document {
        page.push_str("<h3>An Error Occurred While Attempting to Retrieve a Custom Error Document</h3>\n<ul>\n");
        list(&mut page, document);
        page.push_str("</ul>\n");
    }
    page.push_str("<hr/>\n</body>\n</html>\n");
    page
}

/// Returns the headers of an error page. The answer to a HEAD has them without the page.
pub fn error_headers(failure: &Failure<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut add = |name: &str, value: &str| {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(value)) {
            headers.insert(name, value);
        }
    };
    add("x-amz-error-code", failure.code);
    add("x-amz-error-message", failure.message);
    for (name, value) in failure.details {
        add(&format!("x-amz-error-detail-{name}"), value);
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(TYPE));
    headers
}

fn list(page: &mut String, failure: &Failure<'_>) {
    item(page, "Code", failure.code);
    item(page, "Message", failure.message);
    for (name, value) in failure.details {
        item(page, name, value);
    }
}

fn item(page: &mut String, name: &str, value: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(page, "<li>{name}: {}</li>", escape(value));
}

/// Escapes a text for HTML. Keys come from visitors, and nothing in them may become markup.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c if c.is_control() => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}
