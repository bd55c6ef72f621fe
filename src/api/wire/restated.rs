//! A signed request said again as s3s reads it, where S3 takes another form too. What was signed stays what it was.

mod hoisted;
mod resigned;

pub use hoisted::{as_metadata, stands_in};
pub use resigned::Resigning;

use super::authorization::Scheme;
use super::query::Query;
use super::target::{Level, Target};
use super::version_2::moment;
use crate::sigv4::{DATE_HEADER, HASH_HEADER, read_stamp, stamp};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, header};

/// Where a request names the trailers of its body.
pub const TRAILER_HEADER: &str = "x-amz-trailer";

/// When a signature of version 4 in a header was made, in seconds since the Unix epoch: S3 takes `Date` where there is
/// no `x-amz-date` (S3 API Reference, "Common request headers").
pub fn signed_at(headers: &HeaderMap) -> Option<u64> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    match text(DATE_HEADER) {
        Some(text) => u64::try_from(read_stamp(text)?).ok(),
        None => text(header::DATE.as_str()).and_then(moment),
    }
}

/// Of a request whose form was checked.
pub fn restate<B>(scheme: Scheme, target: &Target, request: &mut Request<B>) {
    if scheme == Scheme::Header {
        date(request.headers_mut());
        trailer(request.headers_mut());
    }
    if matches!(scheme, Scheme::Url | Scheme::LegacyUrl) {
        // It has been read before.
        let query = Query::read(request.uri().query()).unwrap_or_default();
        hoisted::unhoist(request.headers_mut(), &query, scheme == Scheme::LegacyUrl);
    }
    if matches!(scheme, Scheme::LegacyHeader | Scheme::LegacyUrl) && is_bare_bucket(target, request.uri()) {
        let slashed = with_slash(request.uri());
        *request.uri_mut() = slashed;
    }
}

/// s3s looks for the time in one header only; that it is not among those that are signed changes no signature.
fn date(headers: &mut HeaderMap) {
    if headers.contains_key(DATE_HEADER) {
        return;
    }
    let value = signed_at(headers).and_then(|seconds| HeaderValue::try_from(stamp(seconds)).ok());
    if let Some(value) = value {
        headers.insert(HeaderName::from_static(DATE_HEADER), value);
    }
}

/// S3 takes a body that may have trailers without any named, s3s only with some. None of them changes no signature.
fn trailer(headers: &mut HeaderMap) {
    let may_have_some = headers.get(HASH_HEADER).is_some_and(|payload| payload.as_bytes().ends_with(b"-TRAILER"));
    if may_have_some && !headers.contains_key(TRAILER_HEADER) {
        headers.insert(TRAILER_HEADER, HeaderValue::from_static(""));
    }
}

/// A bucket at the end of a path. Version 2 signs it with a slash, whether the path has one or not.
fn is_bare_bucket(target: &Target, uri: &Uri) -> bool {
    target.level == Level::Bucket && !target.by_host && !uri.path().ends_with('/')
}

fn with_slash(uri: &Uri) -> Uri {
    let (path, query) = (uri.path(), uri.query().map(|query| format!("?{query}")).unwrap_or_default());
    Uri::try_from(format!("{path}/{query}")).unwrap_or_else(|_| uri.clone())
}

#[cfg(test)]
mod tests {
    use super::{restate, signed_at};
    use crate::api::wire::authorization::Scheme;
    use crate::api::wire::target::Target;
    use http::{HeaderMap, HeaderName, HeaderValue, Request};

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        HeaderMap::from_iter(
            pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))),
        )
    }

    /// The path of a request after it was said again.
    fn path(scheme: Scheme, uri: &'static str, host_bucket: Option<&str>) -> String {
        let mut request = Request::builder().uri(uri).body(()).expect("a request");
        let target = Target::of(request.uri().path(), host_bucket.map(str::to_owned)).expect("a target");
        restate(scheme, &target, &mut request);
        request.uri().to_string()
    }

    #[test]
    fn a_date_is_taken_where_there_is_no_date_of_amazons() {
        let mail = ("date", "Tue, 27 Mar 2007 19:36:42 GMT");
        assert_eq!(signed_at(&headers(&[mail])), Some(1_175_024_202));
        assert_eq!(signed_at(&headers(&[mail, ("x-amz-date", "20070327T193643Z")])), Some(1_175_024_203));
        assert_eq!(signed_at(&headers(&[mail, ("x-amz-date", "soon")])), None);
        assert_eq!(signed_at(&headers(&[("date", "soon")])), None);
        assert_eq!(signed_at(&headers(&[])), None);
    }

    #[test]
    fn s3s_is_told_the_date_as_it_reads_dates() {
        let target = Target::of("/b/k", None).expect("a target");
        let mut request = Request::builder().uri("/b/k").body(()).expect("a request");
        *request.headers_mut() = headers(&[("date", "Tue, 27 Mar 2007 12:36:42 -0700")]);
        restate(Scheme::Header, &target, &mut request);
        assert_eq!(request.headers().get("x-amz-date"), Some(&HeaderValue::from_static("20070327T193642Z")));
        *request.headers_mut() = headers(&[("x-amz-date", "20260101T000000Z")]);
        restate(Scheme::Header, &target, &mut request);
        assert_eq!(request.headers(), &headers(&[("x-amz-date", "20260101T000000Z")]));
    }

    #[test]
    fn s3s_is_told_of_no_trailers_where_none_are_named() {
        let target = Target::of("/b/k", None).expect("a target");
        let restated = |pairs: &[(&'static str, &'static str)]| {
            let mut request = Request::builder().uri("/b/k").body(()).expect("a request");
            *request.headers_mut() = headers(pairs);
            restate(Scheme::Header, &target, &mut request);
            request.headers().get("x-amz-trailer").map(|names| names.to_str().expect("text").to_owned())
        };
        let date = ("x-amz-date", "20260101T000000Z");
        let framed = ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER");
        assert_eq!(restated(&[date, framed]).as_deref(), Some(""));
        let named = ("x-amz-trailer", "x-amz-checksum-crc32");
        assert_eq!(restated(&[date, framed, named]).as_deref(), Some("x-amz-checksum-crc32"));
        assert_eq!(restated(&[date, ("x-amz-content-sha256", "UNSIGNED-PAYLOAD")]), None);
    }

    #[test]
    fn version_2_sees_a_bucket_with_its_slash() {
        assert_eq!(path(Scheme::LegacyHeader, "/b?acl", None), "/b/?acl");
        assert_eq!(path(Scheme::LegacyUrl, "/b", None), "/b/");
        for (scheme, uri, host_bucket) in [
            (Scheme::LegacyHeader, "/b/", None),
            (Scheme::LegacyHeader, "/b/k", None),
            (Scheme::LegacyHeader, "/", None),
            (Scheme::LegacyHeader, "/", Some("b")),
            (Scheme::LegacyHeader, "/k", Some("b")),
            (Scheme::Header, "/b", None),
            (Scheme::Url, "/b", None),
        ] {
            assert_eq!(path(scheme, uri, host_bucket), uri);
        }
    }
}
