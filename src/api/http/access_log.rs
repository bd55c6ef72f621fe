//! Access logs of buckets: when the response to a request has ended, writes a log line for the bucket if access logging
//! is configured on it. For a bucket without access logging this costs one lookup in the host's own tables.

use crate::actors::events::access_log::{AccessLine, LineSender, operation_word};
use crate::api::call::Target;
use crate::api::s3::{Domains, LoggedBucket, Service};
use crate::api::text::percent::decode_query;
use crate::metrics::ACCESS_LOG_LINES;
use crate::types::UnixMs;
use actix_web::HttpRequest;
use http::{HeaderMap, HeaderName, header};
use s3s::header::X_AMZ_VERSION_ID;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The access logs of one host.
pub struct AccessLog {
    pub logger: LineSender,
    pub service: Arc<Service>,
    pub domains: Arc<Domains>,
    pub host_id: String,
}

/// The state of a request from which its log line is written.
pub struct AccessEntry {
    request: HttpRequest,
    log: Arc<AccessLog>,
    /// The arrival time of the request.
    at: UnixMs,
    version_id: Option<String>,
    /// The size of the whole object, if the response states it.
    object_bytes: Option<u64>,
}

/// The outcome of a request, from its `RequestRecord`.
#[derive(Clone, Copy, Debug)]
pub struct Ended<'a> {
    pub id: &'a str,
    pub operation: &'static str,
    pub bucket: Option<&'a str>,
    pub key: Option<&'a str>,
    pub requester: Option<&'a str>,
    /// `None` if the client went away before the response.
    pub status: Option<u16>,
    pub code: Option<&'a str>,
    pub sent_bytes: u64,
    pub total: Duration,
    /// The time from the request's arrival to the response's head.
    pub head: Option<Duration>,
}

impl fmt::Debug for AccessEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessEntry").field("at", &self.at).finish_non_exhaustive()
    }
}

impl AccessEntry {
    pub fn begin(log: &Arc<AccessLog>, request: &HttpRequest, at: UnixMs) -> Self {
        Self { request: request.clone(), log: Arc::clone(log), at, version_id: None, object_bytes: None }
    }

    /// Records the version id and the object's size from the response's head.
    pub fn answered(&mut self, headers: &HeaderMap) {
        let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        self.version_id = text(&X_AMZ_VERSION_ID).map(str::to_owned);
        let whole = text(&header::CONTENT_RANGE).and_then(|range| range.rsplit_once('/')?.1.parse().ok());
        self.object_bytes = whole.or_else(|| text(&header::CONTENT_LENGTH)?.parse().ok());
    }

    /// Sends the line to the host's `AccessLogger` if the bucket has access logging; drops the line, and counts it, if
    /// there is no room for it on the way.
    pub fn tell(self, ended: &Ended<'_>) {
        let bucket = ended.bucket.map(Cow::Borrowed).or_else(|| self.aimed_at().map(Cow::Owned));
        let Some(bucket) = bucket.filter(|bucket| !bucket.is_empty()) else { return };
        let found = self.log.service.logged(&bucket);
        let Some(logged) = found.as_deref().and_then(Option::as_ref) else { return };
        let line = self.line(ended, &bucket, logged);
        if !self.log.logger.send(&logged.destination, self.at, line) {
            ACCESS_LOG_LINES.with_label_values(&["dropped"]).inc();
        }
    }

    fn line(&self, ended: &Ended<'_>, bucket: &str, logged: &LoggedBucket) -> String {
        let (request_line, address) = (self.request_line(), self.request.peer_addr().map(|peer| peer.ip().to_string()));
        let (agent, host) = (self.header("user-agent"), self.header("host"));
        // A page that was opened by a presigned URL has that URL sent with what it loads.
        let referer = self.header("referer").map(|referer| match referer.split_once('?') {
            Some((page, query)) => format!("{page}?{}", redacted(query)).into(),
            None => referer,
        });
        let (signature_version, authentication) = self.signature().unzip();
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let line = AccessLine {
            bucket_owner: &logged.owner,
            bucket,
            at: self.at,
            remote_ip: address.as_deref(),
            requester: ended.requester,
            request_id: ended.id,
            operation: &self.operation(ended.operation),
            key: ended.key,
            request_line: Some(&request_line),
            status: ended.status,
            error_code: ended.code,
            bytes_sent: ended.sent_bytes,
            object_bytes: self.object_bytes(ended),
            total_ms: Some(milliseconds(ended.total)),
            turn_around_ms: ended.head.map(milliseconds),
            referer: referer.as_deref(),
            user_agent: agent.as_deref(),
            version_id: self.version_id.as_deref(),
            host_id: Some(&self.log.host_id),
            signature_version,
            authentication,
            host_header: host.as_deref(),
            ..AccessLine::default()
        };
        line.render()
    }

    /// Returns the bucket of a request that was refused before its target was read.
    fn aimed_at(&self) -> Option<String> {
        let host = self.header("host").or_else(|| Some(self.request.uri().authority()?.as_str().into()));
        let by_host = host.and_then(|host| self.log.domains.bucket(&host));
        Target::of(self.request.uri().path(), by_host).ok()?.bucket
    }

    fn request_line(&self) -> String {
        let (method, version) = (self.request.method(), self.request.version());
        let path = self.request.uri().path();
        match self.request.uri().query() {
            None => format!("{method} {path} {version:?}"),
            Some(query) => format!("{method} {path}?{} {version:?}", redacted(query)),
        }
    }

    fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        self.request.headers().get(name).map(|value| String::from_utf8_lossy(value.as_bytes()))
    }

    fn operation(&self, operation: &'static str) -> String {
        let method = self.request.method().as_str();
        match operation {
            "Website" => format!("WEBSITE.{method}.OBJECT"),
            // A POST form is executed as a PutObject.
            "PutObject" if method == "POST" => operation_word("PostObject"),
            operation => operation_word(operation),
        }
    }

    fn object_bytes(&self, ended: &Ended<'_>) -> Option<u64> {
        let sent = |name: &str| self.header(name)?.parse().ok();
        match ended.operation {
            "GetObject" | "HeadObject" if ended.code.is_none() => self.object_bytes,
            "PutObject" if self.request.method().as_str() == "PUT" => {
                sent("x-amz-decoded-content-length").or_else(|| sent("content-length"))
            }
            _ => None,
        }
    }

    /// Returns the signature's version, and whether it is in a header or the query.
    fn signature(&self) -> Option<(&'static str, &'static str)> {
        let names = self.request.query_string().split('&').map(|pair| pair.split('=').next().unwrap_or_default());
        let in_url = |wanted: &str| names.clone().any(|name| name == wanted);
        match self.header("authorization") {
            Some(value) if value.starts_with("AWS4-") => Some(("SigV4", "AuthHeader")),
            Some(value) if value.starts_with("AWS ") => Some(("SigV2", "AuthHeader")),
            _ if in_url("X-Amz-Signature") => Some(("SigV4", "QueryString")),
            _ if in_url("Signature") => Some(("SigV2", "QueryString")),
            _ => None,
        }
    }
}

/// Returns a query without what gives access to those who may read the log: the signature and session token of a
/// presigned URL, which may be valid for days, and customer-provided keys.
fn redacted(query: &str) -> String {
    let shown = |pair: &str| -> String {
        let name = pair.split_once('=').map_or(pair, |(name, _)| name);
        let decoded = decode_query(name).unwrap_or_default().to_ascii_lowercase();
        let is_secret = matches!(&decoded[..], "x-amz-signature" | "signature" | "x-amz-security-token")
            || decoded.ends_with("-customer-key");
        if is_secret { format!("{name}=REDACTED") } else { pair.to_owned() }
    };
    query.split('&').map(shown).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::redacted;

    #[test]
    fn access_logs_have_no_signatures_and_no_customer_provided_keys() {
        let key = "x-amz-server-side-encryption-customer-key";
        let shown = redacted(&format!("versionId=v&{key}=c2VjcmV0&X-Amz-Signature=5ec3e7&{key}-MD5=m&X-Amz-Date=d"));
        assert_eq!(shown, format!("versionId=v&{key}=REDACTED&X-Amz-Signature=REDACTED&{key}-MD5=m&X-Amz-Date=d"));
        assert_eq!(
            redacted("X-Amz-Security%2DToken=t&Signature=s&x-amz-copy-source-server-side-encryption-customer-KEY=k&a"),
            "X-Amz-Security%2DToken=REDACTED&Signature=REDACTED&\
             x-amz-copy-source-server-side-encryption-customer-KEY=REDACTED&a"
        );
    }
}
