//! Where a request to a website leads. Nothing here looks anything up; whoever serves it asks in this order:
//!
//! 1. `Website::step`: a redirect, or a key to open. An object that has a redirect of its own leads where that says
//!    (`Redirection::of_object`).
//! 2. Where there is no such object, or it may not be read: `Site::folder_index`, whether there is an object of that key;
//!    if so, `Visit::folder_redirection`.
//! 3. Else `Site::recourse`: a redirect, the error document (with the status of the error), or the page of `page`.
//!
//! Sources: S3's user guide, "Configuring an index document", "Configuring a custom error document" and "Configuring a
//! webpage redirect".

use super::site::{Condition, NewKey, Redirect, Scheme, Site, Website};
use crate::api::text::percent::encode;
use http::StatusCode;
use std::fmt::Write;

/// What was asked.
#[derive(Clone, Copy, Debug)]
pub struct Visit<'a> {
    /// `http` or `https`.
    pub scheme: &'a str,
    /// As the request named it, with its port.
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

/// What to do first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Redirect(Redirection),
    /// Open the object of this key.
    Serve(String),
}

/// What to do about an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recourse {
    Redirect(Redirection),
    /// Serve the object of this key with the error's status. Where it cannot be opened: the page, which names both errors.
    Document(String),
    Page,
}

impl Website {
    pub fn step(&self, visit: &Visit<'_>) -> Step {
        match self {
            Self::RedirectAll { host, scheme } => Step::Redirect(Redirection {
                status: StatusCode::MOVED_PERMANENTLY,
                location: visit.location(*scheme, Some(host), &encode(visit.key)),
            }),
            Self::Site(site) => site.step(visit),
        }
    }
}

impl Site {
    pub fn step(&self, visit: &Visit<'_>) -> Step {
        if let Some(redirection) = self.redirection(visit, None) {
            return Step::Redirect(redirection);
        }
        let is_folder = visit.key.is_empty() || visit.key.ends_with('/');
        let suffix = if is_folder { self.index_suffix.as_str() } else { "" };
        Step::Serve(format!("{}{suffix}", visit.key))
    }

    /// The key of the index document that makes what was asked for a folder; `None` where it was asked for as one.
    pub fn folder_index(&self, visit: &Visit<'_>) -> Option<String> {
        let is_folder = visit.key.is_empty() || visit.key.ends_with('/');
        (!is_folder).then(|| format!("{}/{}", visit.key, self.index_suffix))
    }

    /// Error documents are for errors of the request (4XX) only.
    pub fn recourse(&self, visit: &Visit<'_>, status: StatusCode) -> Recourse {
        if let Some(redirection) = self.redirection(visit, Some(status)) {
            return Recourse::Redirect(redirection);
        }
        match &self.error_key {
            Some(key) if status.is_client_error() => Recourse::Document(key.clone()),
            _ => Recourse::Page,
        }
    }

    /// By the first rule that applies: before anything is looked up, or after that error.
    fn redirection(&self, visit: &Visit<'_>, error: Option<StatusCode>) -> Option<Redirection> {
        let unconditional = Condition::default();
        self.routing.iter().find_map(|rule| {
            let condition = rule.condition.as_ref().unwrap_or(&unconditional);
            let prefix = condition.key_prefix.as_deref().unwrap_or_default();
            let applies = condition.error_status == error.map(|error| error.as_u16());
            let rest = visit.key.strip_prefix(prefix).filter(|_| applies)?;
            Some(rule.redirect.apply(visit, rest))
        })
    }
}

impl Redirect {
    /// `rest` is the key without the prefix of the rule's condition.
    fn apply(&self, visit: &Visit<'_>, rest: &str) -> Redirection {
        let path = match &self.key {
            None => encode(visit.key),
            Some(NewKey::Whole(key)) => verbatim(key),
            Some(NewKey::Prefix(prefix)) => verbatim(prefix) + &encode(rest),
        };
        let status = self.status.and_then(|status| StatusCode::from_u16(status).ok());
        Redirection {
            status: status.unwrap_or(StatusCode::MOVED_PERMANENTLY),
            location: visit.location(self.scheme, self.host.as_deref(), &path),
        }
    }
}

impl Redirection {
    /// An object's `x-amz-website-redirect-location`: a path, or a whole address.
    pub fn of_object(location: &str) -> Self {
        Self { status: StatusCode::MOVED_PERMANENTLY, location: printable(location) }
    }
}

impl Visit<'_> {
    /// To what was asked for, as a folder.
    pub fn folder_redirection(&self) -> Redirection {
        Redirection { status: StatusCode::FOUND, location: format!("/{}/", encode(self.key)) }
    }

    /// The query goes along, before a fragment.
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

/// A configured key or prefix. A slash at its beginning is the path's own.
fn verbatim(text: &str) -> String {
    text.strip_prefix('/').unwrap_or(text).to_owned()
}

/// As a header can carry it.
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
