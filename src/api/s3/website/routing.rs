//! The routing of requests to a website. It is pure: nothing is looked up here. The caller takes these steps:
//!
//! 1. `Website::step` returns a redirect, or a key to open. An object with a redirect of its own is answered with that
//!    (`Redirection::of_object`).
//! 2. If the object is absent or may not be read, the caller looks up the key from `Site::folder_index`. If that object
//!    exists, the answer is `WebsiteRequest::folder_redirection`.
//! 3. Otherwise `Site::error_response` returns a redirect, the error document (to be served with the status of the
//!    error), or the error page of `page`.
//!
//! Sources: S3's user guide, "Configuring an index document", "Configuring a custom error document" and "Configuring a
//! webpage redirect".

use super::site::{Condition, NewKey, Redirect, Scheme, Site, Website};
use crate::api::text::percent::encode;
use http::StatusCode;
use std::fmt::Write;

/// A request to a website endpoint.
#[derive(Clone, Copy, Debug)]
pub struct WebsiteRequest<'a> {
    /// `http` or `https`.
    pub scheme: &'a str,
    /// The `Host` header, with its port.
    pub host: &'a str,
    /// The path without its first slash, decoded.
    pub key: &'a str,
    pub query: Option<&'a str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirection {
    pub status: StatusCode,
    pub location: String,
}

/// The first step of answering a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Redirect(Redirection),
    /// Open the object of this key.
    Serve(String),
}

/// The response to a request whose page cannot be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorResponse {
    Redirect(Redirection),
    /// Serve the object of this key with the error's status. If it cannot be opened, serve the error page with both
    /// errors.
    Document(String),
    Page,
}

impl Website {
    pub fn step(&self, request: &WebsiteRequest<'_>) -> Step {
        match self {
            Self::RedirectAll { host, scheme } => Step::Redirect(Redirection {
                status: StatusCode::MOVED_PERMANENTLY,
                location: request.location(*scheme, Some(host), &encode(request.key)),
            }),
            Self::Site(site) => site.step(request),
        }
    }
}

impl Site {
    pub fn step(&self, request: &WebsiteRequest<'_>) -> Step {
        if let Some(redirection) = self.redirection(request, None) {
            return Step::Redirect(redirection);
        }
        let is_folder = request.key.is_empty() || request.key.ends_with('/');
        let suffix = if is_folder { self.index_suffix.as_str() } else { "" };
        Step::Serve(format!("{}{suffix}", request.key))
    }

    /// Returns the key of the index document whose existence makes the requested path a folder; `None` if the path ends
    /// in a slash.
    pub fn folder_index(&self, request: &WebsiteRequest<'_>) -> Option<String> {
        let is_folder = request.key.is_empty() || request.key.ends_with('/');
        (!is_folder).then(|| format!("{}/{}", request.key, self.index_suffix))
    }

    /// Returns the response to an error. Error documents are for errors of the request (4XX) only.
    pub fn error_response(&self, request: &WebsiteRequest<'_>, status: StatusCode) -> ErrorResponse {
        if let Some(redirection) = self.redirection(request, Some(status)) {
            return ErrorResponse::Redirect(redirection);
        }
        match &self.error_key {
            Some(key) if status.is_client_error() => ErrorResponse::Document(key.clone()),
            _ => ErrorResponse::Page,
        }
    }

    /// Returns the redirect of the first rule that applies: without an error one for requests, else one for that error.
    fn redirection(&self, request: &WebsiteRequest<'_>, error: Option<StatusCode>) -> Option<Redirection> {
        let unconditional = Condition::default();
        self.routing.iter().find_map(|rule| {
            let condition = rule.condition.as_ref().unwrap_or(&unconditional);
            let prefix = condition.key_prefix.as_deref().unwrap_or_default();
            let applies = condition.error_status == error.map(|error| error.as_u16());
            let rest = request.key.strip_prefix(prefix).filter(|_| applies)?;
            Some(rule.redirect.apply(request, rest))
        })
    }
}

impl Redirect {
    /// Returns the redirect of a request. `rest` is its key without the prefix of the rule's condition.
    fn apply(&self, request: &WebsiteRequest<'_>, rest: &str) -> Redirection {
        let path = match &self.key {
            None => encode(request.key),
            Some(NewKey::Whole(key)) => verbatim(key),
            Some(NewKey::Prefix(prefix)) => verbatim(prefix) + &encode(rest),
        };
        let status = self.status.and_then(|status| StatusCode::from_u16(status).ok());
        Redirection {
            status: status.unwrap_or(StatusCode::MOVED_PERMANENTLY),
            location: request.location(self.scheme, self.host.as_deref(), &path),
        }
    }
}

impl Redirection {
    /// Returns the redirect to an object's `x-amz-website-redirect-location`, which is a path or a URL.
    pub fn of_object(location: &str) -> Self {
        Self { status: StatusCode::MOVED_PERMANENTLY, location: printable(location) }
    }
}

impl WebsiteRequest<'_> {
    /// Returns the redirect to the requested path with a slash at its end.
    pub fn folder_redirection(&self) -> Redirection {
        // A second slash at the start would name another host.
        let key = match encode(self.key) {
            key if key.starts_with('/') => key.replacen('/', "%2F", 1),
            key => key,
        };
        let query = self.query.filter(|query| !query.is_empty()).map(|query| format!("?{query}")).unwrap_or_default();
        Redirection { status: StatusCode::FOUND, location: printable(&format!("/{key}/{query}")) }
    }

    /// Returns the URL to redirect to. It has the query of the request, in front of a fragment.
    fn location(&self, scheme: Option<Scheme>, host: Option<&str>, path: &str) -> String {
        let scheme = match scheme {
            Some(scheme) => scheme.text(),
            None => self.scheme,
        };
        let host = host.unwrap_or(self.host);
        let query = match self.query {
            Some(query) if !query.is_empty() => {
                format!("{}{query}", if path.contains('?') { '&' } else { '?' })
            }
            _ => String::new(),
        };
        let (path, fragment) = path.split_at(path.find('#').unwrap_or(path.len()));
        printable(&format!("{scheme}://{host}/{path}{query}{fragment}"))
    }
}

/// Returns a configured key or prefix, not encoded, without a slash at its beginning, which the location has already.
fn verbatim(text: &str) -> String {
    text.strip_prefix('/').unwrap_or(text).to_owned()
}

/// Returns the text with everything percent-encoded that a header cannot have.
fn printable(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() {
            safe.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(safe, "%{byte:02X}");
        }
    }
    safe
}
