//! The objects of a website as its visitors get them: the decision whether everybody may read them, their headers, and
//! their bytes.

use super::Redirection;
use super::problem::{Problem, answer};
use crate::actors::gateway::{OpenObject, Opened};
use crate::actors::meta::{Manifest, Pick};
use crate::actors::sealing::SealedObject;
use crate::api::call::{Origin, RequestTrace};
use crate::api::errors::Fault;
use crate::api::s3::Store;
use crate::api::s3::access::{Gate, Judge, JudgedBucket, Subject};
use crate::api::s3::encryption::key_of_read;
use crate::api::s3::object_headers::{describe, etag_text, http_date};
use crate::api::s3::objects::sealed::{sealing_of, unsealed};
use crate::api::s3::objects::{Slice, blob, select};
use crate::api::s3::preconditions::{ReadConditions, allows_range};
use crate::api::s3::version;
use crate::limits::KEY_BYTES_MAX;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use s3s::dto::Range;
use s3s::{Body, HttpResponse, S3Result};
use std::sync::Arc;

/// A request to the website endpoint of a bucket.
pub struct SiteRequest<'a> {
    pub bucket: &'a str,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// The `Host` header, with its port.
    pub host: &'a str,
    pub method: &'a Method,
    pub uri: &'a Uri,
    pub headers: &'a HeaderMap,
    pub origin: Arc<Origin>,
    pub trace: &'a RequestTrace,
}

/// The pages of a website: its bucket, and the judge of the anonymous visitor.
pub struct Pages<'a> {
    pub store: &'a Store,
    pub gate: &'a Gate,
    pub judge: Arc<Judge>,
    pub guarded: Arc<JudgedBucket>,
}

impl Pages<'_> {
    /// Returns whether an object exists and the visitor may know it: because it may be read, or the bucket listed.
    pub fn has(&self, key: &str) -> S3Result<bool> {
        if key.len() > KEY_BYTES_MAX {
            return Ok(false);
        }
        let Some(subject) = self.judge.subject(&self.guarded, key, Pick::Current)? else { return Ok(false) };
        let may_read = || self.judge.of_object("s3:GetObject", &self.guarded, key, Some(&subject)).is_ok();
        Ok(may_read() || self.judge.of_absent(&self.guarded, key).is_ok())
    }

    /// Returns the requested page, or the redirect that its object has.
    pub async fn page(&self, key: &str, request: &SiteRequest<'_>) -> Result<HttpResponse, Problem> {
        let object = self.open(key, request).await?;
        let manifest = &object.version.manifest;
        if let Some(elsewhere) = object_redirect(manifest) {
            return Ok(elsewhere);
        }
        ReadConditions::of_read(request.headers).check_read(manifest)?;
        let slice = select(object.view(), manifest, range(request.headers, manifest), None)?;
        let mut page = self.show(key, object, &slice, request.method).await?;
        if slice.partial {
            *page.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
        Ok(page)
    }

    /// Returns the whole error document with the status of the problem, or the redirect that the document has.
    pub async fn document(
        &self,
        key: &str,
        request: &SiteRequest<'_>,
        problem: &Problem,
    ) -> Result<HttpResponse, Problem> {
        let object = self.open(key, request).await?;
        if let Some(elsewhere) = object_redirect(&object.version.manifest) {
            return Ok(elsewhere);
        }
        let slice = select(object.view(), &object.version.manifest, None, None)?;
        let (shown, body) = self.show(key, object, &slice, request.method).await?.into_parts();
        let mut headers = problem.headers();
        headers.extend(shown.headers);
        Ok(answer(problem.status(), headers, body))
    }

    /// Opens an object. The decision is on the version that is opened. The absence of an object is revealed only if
    /// everybody may list the bucket. Only a visitor who may see the object or its absence counts for the bucket's rate
    /// limits, or anybody could exhaust them.
    async fn open(&self, key: &str, request: &SiteRequest<'_>) -> Result<OpenObject, Problem> {
        let (gateway, view) = (self.store.gateway(), self.judge.view.clone());
        let opened = match key.len() {
            0..=KEY_BYTES_MAX => gateway.open_object(view, self.guarded.row.bucket.id, key, Pick::Current).await?,
            _ => Opened::Absent,
        };
        match opened {
            Opened::Object(object) => {
                let subject = Subject::of(object.version.traits.clone());
                self.judge.of_object("s3:GetObject", &self.guarded, key, Some(&subject))?;
                self.gate.admit_anonymous(&self.judge.view, &self.guarded, request.trace)?;
                Ok(*object)
            }
            Opened::DeleteMarker(_) | Opened::Absent => {
                self.judge.of_absent(&self.guarded, key)?;
                self.gate.admit_anonymous(&self.judge.view, &self.guarded, request.trace)?;
                Err(Problem::about(Fault::NoSuchKey, "Key", key))
            }
        }
    }

    /// Returns the answer with an object's headers and bytes. For a HEAD no bytes are read.
    async fn show(&self, key: &str, object: OpenObject, slice: &Slice, method: &Method) -> S3Result<HttpResponse> {
        let sealing = sealing_of(&object.version.traits)?;
        // Visitors have no customer-provided keys, so SSE-C objects are refused here.
        key_of_read(&HeaderMap::new(), sealing.as_ref())?;
        let version = version::shown(&self.guarded.row, object.version.version);
        let headers = page_headers(&object.version.manifest, slice, version);
        let body = match slice.length() {
            length if length > 0 && *method != Method::HEAD => {
                let sealed_object = SealedObject { bucket: self.guarded.row.bucket.id, key };
                let object = unsealed(self.store, sealed_object, object, sealing.as_ref(), None)?;
                Body::from(blob(
                    self.store.gateway().held_by(self.store.call.holder()).read_object(object, slice.range).await?,
                    length,
                ))
            }
            _ => Body::empty(),
        };
        Ok(answer(StatusCode::OK, headers, body))
    }
}

/// Returns the redirect of an object that has one.
fn object_redirect(manifest: &Manifest) -> Option<HttpResponse> {
    let location = manifest.headers.website_redirect.as_deref();
    location.map(|location| redirect(&Redirection::of_object(location)))
}

/// Returns the headers of GetObject that browsers use.
fn page_headers(manifest: &Manifest, slice: &Slice, version: Option<String>) -> HeaderMap {
    let shown = describe(manifest);
    let mut headers = HeaderMap::new();
    let mut add = |name: HeaderName, text: Option<String>| {
        // A value that cannot be in a header is left out.
        if let Some(value) = text.and_then(|text| HeaderValue::try_from(text).ok()) {
            headers.insert(name, value);
        }
    };
    add(header::ACCEPT_RANGES, Some("bytes".to_owned()));
    add(header::CACHE_CONTROL, shown.cache_control);
    add(header::CONTENT_DISPOSITION, shown.content_disposition);
    add(header::CONTENT_ENCODING, shown.content_encoding);
    add(header::CONTENT_LANGUAGE, shown.content_language);
    add(header::CONTENT_LENGTH, Some(slice.length().to_string()));
    add(header::CONTENT_RANGE, slice.content_range(manifest.size_bytes));
    add(header::CONTENT_TYPE, shown.content_type);
    add(header::ETAG, Some(format!("\"{}\"", etag_text(&manifest.etag))));
    add(header::EXPIRES, manifest.headers.expires.clone());
    add(header::LAST_MODIFIED, http_date(manifest.modified));
    add(s3s::header::X_AMZ_VERSION_ID, version);
    for (name, value) in &manifest.headers.user {
        if let Ok(name) = HeaderName::try_from(format!("x-amz-meta-{name}")) {
            add(name, Some(user_value(value)));
        }
    }
    headers
}

/// Returns a value of user metadata for a header. One that is not ASCII becomes an encoded word (RFC 2047), as in
/// GetObject.
fn user_value(value: &str) -> String {
    let is_plain = value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if is_plain {
        return value.to_owned();
    }
    format!("=?UTF-8?B?{}?=", base64_simd::STANDARD.encode_to_string(value))
}

/// Returns the requested range. Returns `None`, which means the whole object, if there is no range, if it is malformed
/// or repeated, or if `If-Range` names another version than the present one.
fn range(headers: &HeaderMap, manifest: &Manifest) -> Option<Range> {
    let mut given = headers.get_all(header::RANGE).iter();
    let (Some(range), None) = (given.next(), given.next()) else { return None };
    // A suffix without a length is malformed.
    let text = range.to_str().ok().filter(|text| *text != "bytes=-")?;
    let range = Range::parse(text).ok()?;
    allows_range(headers, manifest).then_some(range)
}

pub fn redirect(to: &Redirection) -> HttpResponse {
    let mut headers = HeaderMap::new();
    // A location has only characters that a header can have.
    if let Ok(location) = HeaderValue::try_from(&to.location) {
        headers.insert(header::LOCATION, location);
    }
    answer(to.status, headers, Body::empty())
}

#[cfg(test)]
mod tests {
    use super::{page_headers, range, redirect};
    use crate::actors::gateway::ByteRange;
    use crate::actors::meta::{Body, ETag, Manifest, ObjectHeaders};
    use crate::api::s3::objects::Slice;
    use crate::api::s3::website::Redirection;
    use crate::types::{ManifestId, UnixMs};
    use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
    use s3s::dto::Range;

    fn manifest(headers: ObjectHeaders) -> Manifest {
        Manifest {
            id: ManifestId(1),
            size_bytes: 10,
            etag: ETag { md5: [0xab; 16], parts: None },
            modified: UnixMs(784_111_777_900),
            headers,
            checksum: None,
            body: Body::Inline,
        }
    }

    fn asked(pairs: &[(&'static str, &'static str)]) -> Option<Range> {
        let header = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let mut headers = HeaderMap::new();
        for (name, value) in pairs.iter().map(header) {
            headers.append(name, value);
        }
        range(&headers, &manifest(ObjectHeaders::default()))
    }

    #[test]
    fn a_malformed_or_repeated_range_of_a_page_is_ignored() {
        assert_eq!(asked(&[("range", "bytes=2-4")]), Some(Range::Int { first: 2, last: Some(4) }));
        assert_eq!(asked(&[("range", "bytes=-4")]), Some(Range::Suffix { length: 4 }));
        for text in ["bytes=4-2", "bytes=1-2,4-5", "items=1-2", "bytes=-", "2-4"] {
            assert_eq!(asked(&[("range", text)]), None, "{text}");
        }
        assert_eq!(asked(&[("range", "bytes=0-1"), ("range", "bytes=2-3")]), None);
        assert_eq!(asked(&[]), None);
    }

    #[test]
    fn a_range_is_ignored_if_another_version_is_named_by_if_range() {
        let range = ("range", "bytes=2-");
        let matching = ["\"abababababababababababababababab\"", "Sun, 06 Nov 1994 08:49:37 GMT"];
        for validator in matching {
            assert!(asked(&[range, ("if-range", validator)]).is_some(), "{validator}");
        }
        let weak = "W/\"abababababababababababababababab\"";
        for validator in ["\"other\"", weak, "Sun, 06 Nov 1994 08:49:38 GMT", ""] {
            assert_eq!(asked(&[range, ("if-range", validator)]), None, "{validator}");
        }
    }

    #[test]
    fn a_website_page_has_the_stored_headers_of_its_object() {
        let stored = ObjectHeaders {
            content_type: Some("text/html".to_owned()),
            cache_control: Some("max-age=60".to_owned()),
            content_disposition: Some("a\r\nb".to_owned()),
            website_redirect: Some("/elsewhere".to_owned()),
            user: vec![("plain".to_owned(), "a b".to_owned()), ("other".to_owned(), "é".to_owned())],
            ..ObjectHeaders::default()
        };
        let range = ByteRange { start: 2, end: 5 };
        let slice = Slice { range, partial: true, part_checksum: None, parts_count: None };
        let headers = page_headers(&manifest(stored), &slice, Some("null".to_owned()));
        for (name, value) in [
            ("accept-ranges", "bytes"),
            ("cache-control", "max-age=60"),
            ("content-length", "3"),
            ("content-range", "bytes 2-4/10"),
            ("content-type", "text/html"),
            ("etag", "\"abababababababababababababababab\""),
            ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("x-amz-meta-other", "=?UTF-8?B?w6k=?="),
            ("x-amz-meta-plain", "a b"),
            ("x-amz-version-id", "null"),
        ] {
            assert_eq!(headers.get(name).and_then(|value| value.to_str().ok()), Some(value), "{name}");
        }
        for name in ["content-disposition", "x-amz-website-redirect-location"] {
            assert!(!headers.contains_key(name), "{name}");
        }
    }

    #[test]
    fn a_redirect_is_a_status_and_a_location_without_a_body() {
        let to = Redirection { status: StatusCode::FOUND, location: "/folder/".to_owned() };
        let answer = redirect(&to);
        assert_eq!(answer.status(), StatusCode::FOUND);
        assert_eq!(answer.headers()[header::LOCATION], "/folder/");
        assert_eq!(answer.body().bytes().map(|body| body.len()), Some(0));
    }
}
