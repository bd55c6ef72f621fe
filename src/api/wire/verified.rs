//! What is found out of a request outside of s3s and handed on in the request's extensions: who signed it, and what s3s
//! does not take of it.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use s3s::{S3Request, TrailingHeaders};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Of a request that s3s sees without a signature, because the signature was verified before.
#[derive(Clone, Debug)]
pub struct Verified {
    /// `None`: nobody signed it.
    pub access_key: Option<String>,
    /// The head that was signed, for the rules about what a signature must cover; `None` where a form's policy was
    /// signed.
    pub signed: Option<Arc<SignedHead>>,
}

#[derive(Clone, Debug)]
pub struct SignedHead {
    pub uri: Uri,
    pub headers: HeaderMap,
}

/// What the operation gets back as if it had come through s3s.
#[derive(Clone, Debug, Default)]
pub struct Aside {
    pub headers: HeaderMap,
    pub trailing: Option<TrailingHeaders>,
}

/// What came after the content of a body that nobody signed, once that has been read to its end.
#[derive(Clone, Debug, Default)]
pub struct Trailers(Arc<Mutex<Option<HeaderMap>>>);

impl Trailers {
    /// Lines of `name:value`; what is no such line is passed over, and then missed.
    pub fn put(&self, text: &[u8]) {
        let lines = text.split(|byte| *byte == b'\n').filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let name = HeaderName::from_bytes(line[..colon].trim_ascii()).ok()?;
            Some((name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?))
        });
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(lines.collect());
    }

    /// Once; `None` before the end.
    pub fn take(&self) -> Option<HeaderMap> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The body of a request of which s3s does not tell all, once that has been read to its end.
#[derive(Clone, Debug, Default)]
pub struct WholeBody(Arc<OnceLock<Bytes>>);

impl WholeBody {
    /// Once.
    pub fn put(&self, body: Bytes) {
        self.0.get_or_init(|| body);
    }

    /// Nothing before the end.
    pub fn bytes(&self) -> &[u8] {
        self.0.get().map(|body| &body[..]).unwrap_or_default()
    }
}

/// The body is a form's file: how long it is is not known before its end.
#[derive(Clone, Copy, Debug)]
pub struct FormFile;

/// A request with what went around s3s put back.
pub fn whole<T>(mut request: S3Request<T>) -> S3Request<T> {
    if let Some(aside) = request.extensions.remove::<Aside>() {
        request.headers.extend(aside.headers);
        request.trailing_headers = request.trailing_headers.or(aside.trailing);
    }
    request
}

#[cfg(test)]
mod tests {
    use super::Trailers;

    #[test]
    fn trailers_are_there_once_they_have_come() {
        let trailers = Trailers::default();
        assert!(trailers.take().is_none());
        trailers.put(b"x-amz-checksum-crc32:NhCmhg==\r\nno line\r\n\r\n");
        let found = trailers.take().expect("trailers");
        assert_eq!(
            (found.len(), found.get("x-amz-checksum-crc32").map(|sum| sum.as_bytes())),
            (1, Some(&b"NhCmhg=="[..]))
        );
        assert!(trailers.take().is_none());
    }
}
