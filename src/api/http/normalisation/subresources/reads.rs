//! Refusals of query parameters and headers that belong to another operation than the request's, and the overrides of
//! response headers. S3 refuses such parameters; s3s would ignore them.

use crate::api::call::{Head, Level, Target};
use crate::api::errors::{ArgumentFault, Fault, Text};
use crate::api::text::Query;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use s3s::header::X_AMZ_COPY_SOURCE;
use std::borrow::Cow;

/// The query parameters that override headers of the response.
const OVERRIDES: [&str; 6] = [
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
];
const OVERRIDE: &str = "response-";
/// Parameters that apply only to a bucket, with S3's message if they are used on a key.
const OF_BUCKETS: [(&str, &str); 2] = [
    ("uploads", "Key is not expected for the GET method ?uploads subresource"),
    ("versions", "There is no such thing as the ?versions sub-resource for a key"),
];
/// Parameters that only version 2 of ListObjects has (`OF_VERSION_2`), and only version 1 (`OF_VERSION_1`), with S3's
/// messages.
const OF_VERSION_2: [(&str, &str); 2] = [
    ("continuation-token", "continuation-token only supported in REST.GET.BUCKET with list-type=2"),
    ("start-after", "startAfter only supported in REST.GET.BUCKET with list-type=2"),
];
const OF_VERSION_1: [(&str, &str); 1] = [("marker", "Marker unsupported with REST.GET.BUCKET in list-type=2")];

/// Refuses `x-amz-copy-source` on requests that are not copies, and one with an empty version id.
pub fn check_source(head: Head<'_>) -> Result<(), Fault> {
    let Some(source) = head.headers.get(X_AMZ_COPY_SOURCE) else { return Ok(()) };
    let is_copy = match *head.method {
        Method::PUT => true,
        Method::POST => !head.query.has("uploadId"),
        _ => false,
    };
    if !is_copy {
        let why = "You can only specify a copy source header for copy requests.";
        return Err(ArgumentFault::parameter("x-amz-copy-source", why).into());
    }
    if source.as_bytes().ends_with(b"?versionId=") {
        return Err(ArgumentFault::parameter("versionId", "Version id cannot be the empty string").into());
    }
    Ok(())
}

/// Checks the parameters of a request that reads an object.
pub fn check_key(head: Head<'_>) -> Result<(), Fault> {
    if let Some((_, why)) = OF_BUCKETS.iter().find(|(name, _)| *head.method == Method::GET && head.query.has(name)) {
        return Err(Fault::InvalidRequest((*why).to_owned()));
    }
    let asked = || head.query.pairs().filter(|(name, _)| name.starts_with(OVERRIDE));
    if let Some((name, _)) = asked().find(|(_, value)| HeaderValue::from_bytes(value.as_bytes()).is_err()) {
        return Err(Fault::InvalidArgument(format!("The value of {name} is not a valid header value.")));
    }
    match asked().find(|(name, _)| !OVERRIDES.contains(name)) {
        None => Ok(()),
        Some((name, _)) => {
            let why = format!(
                "{name} is not in the set of overridable response headers. Please refer to the S3 API documentation for \
                 a complete list of overridable response headers."
            );
            let name: Cow<'static, str> = Cow::Owned(name.to_owned());
            Err(ArgumentFault { name: name.clone(), value: Some(Text::Parameter(name)), why: why.into() }.into())
        }
    }
}

/// Removes the overrides of response headers from a read's query, and returns them as headers. s3s does not see them,
/// so they are sent exactly as the client wrote them.
pub fn take_overrides<B>(request: &mut Request<B>, target: &Target, query: &Query) -> HeaderMap {
    if target.level != Level::Object || !matches!(*request.method(), Method::GET | Method::HEAD) {
        return HeaderMap::new();
    }
    let header = |name: &&'static str| {
        let value = HeaderValue::from_bytes(query.get(name)?.as_bytes()).ok()?;
        Some((HeaderName::from_static(&name[OVERRIDE.len()..]), value))
    };
    let overrides: HeaderMap = OVERRIDES.iter().filter_map(header).collect();
    if !overrides.is_empty() {
        *request.uri_mut() = without_overrides(request.uri());
    }
    overrides
}

fn without_overrides(uri: &Uri) -> Uri {
    let is_other =
        |pair: &&str| Query::read(Some(*pair)).is_ok_and(|one| !one.names().any(|name| OVERRIDES.contains(&name)));
    let kept = uri.query().unwrap_or_default().split('&').filter(is_other).collect::<Vec<_>>().join("&");
    let target = if kept.is_empty() { uri.path().to_owned() } else { format!("{}?{kept}", uri.path()) };
    Uri::try_from(target).unwrap_or_else(|_| uri.clone())
}

/// Checks the parameters of a list of a bucket's objects, in either version.
pub fn check_list(head: Head<'_>) -> Result<(), Fault> {
    let others: &[(&'static str, &'static str)] = match head.query.get("list-type") {
        None => &OF_VERSION_2,
        Some("2") => &OF_VERSION_1,
        Some(_) => {
            return Err(ArgumentFault::parameter("list-type", "Invalid List Type specified in Request").into());
        }
    };
    match others.iter().find(|(name, _)| head.query.has(name)) {
        Some(&(name, why)) => Err(ArgumentFault::bare(name, why).into()),
        None => Ok(()),
    }
}

/// Returns whether a request without a known subresource lists a bucket's objects.
pub fn is_list(head: Head<'_>) -> bool {
    *head.method == Method::GET && head.target.level == Level::Bucket
}
