//! Facts about a body that only its end shows.

use bytes::Bytes;
use http::HeaderMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// The fields that came after the content of a framed body, once that has been read to its end.
#[derive(Clone, Debug, Default)]
pub struct Trailers(Arc<Mutex<Option<HeaderMap>>>);

impl Trailers {
    pub fn put(&self, fields: HeaderMap) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(fields);
    }

    /// Takes the trailer, once; `None` before the end.
    pub fn take(&self) -> Option<HeaderMap> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The body of a request of which s3s does not tell all, once that has been read to its end.
#[derive(Clone, Debug, Default)]
pub struct WholeBody(Arc<OnceLock<Bytes>>);

impl WholeBody {
    /// Stores the body, once.
    pub fn put(&self, body: Bytes) {
        self.0.get_or_init(|| body);
    }

    /// Returns the bytes; empty before the body's end.
    pub fn bytes(&self) -> &[u8] {
        self.0.get().map(|body| &body[..]).unwrap_or_default()
    }
}
