//! Data of a request's body that is available once the body was read to its end.

use bytes::Bytes;
use http::HeaderMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// The trailer of a framed body, set once the body was read to its end.
#[derive(Clone, Debug, Default)]
pub struct Trailers(Arc<Mutex<Option<HeaderMap>>>);

impl Trailers {
    pub fn put(&self, fields: HeaderMap) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(fields);
    }

    /// Takes the trailer, which is available once; `None` before the end of the body.
    pub fn take(&self) -> Option<HeaderMap> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The whole body of a request of which s3s parses only a part, set once it was read to its end.
#[derive(Clone, Debug, Default)]
pub struct WholeBody(Arc<OnceLock<Bytes>>);

impl WholeBody {
    /// Stores the body; only the first call counts.
    pub fn put(&self, body: Bytes) {
        self.0.get_or_init(|| body);
    }

    /// Returns the bytes; empty before the end of the body.
    pub fn bytes(&self) -> &[u8] {
        self.0.get().map(|body| &body[..]).unwrap_or_default()
    }
}
