//! The body of a PUT or of a part, converted for the store: its errors are the store's, and a length that differs from
//! the declared one is an error. No memory is allocated by the declared length.

use super::super::Store;
use super::super::checksums::{UploadChecksum, content_length, content_md5, of_upload};
use crate::actors::gateway::{BodyChecks, Kept, StoreError, Upload};
use crate::actors::meta::ChecksumAlgorithm;
use crate::api::errors::{Fault, body_error, length_differs};
use crate::limits::PUT_BYTES_MAX;
use bytes::Bytes;
use futures::Stream;
use http::HeaderMap;
use s3s::dto::StreamingBlob;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Returns the body of a request and its checks. `otherwise` is the checksum to compute if the client gives none. The
/// length of a form's file is known only at its end, so it is not checked.
pub fn upload(
    store: &Store,
    headers: &HeaderMap,
    body: Option<StreamingBlob>,
    otherwise: Option<ChecksumAlgorithm>,
) -> Result<Upload, Fault> {
    let (length_bytes, trailing) = match store.call.is_form {
        true => (None, None),
        false => (Some(content_length(headers)?), store.call.trailers.clone()),
    };
    if length_bytes.is_some_and(|length| length > PUT_BYTES_MAX) {
        return Err(Fault::EntityTooLarge);
    }
    let md5 = content_md5(headers)?;
    let UploadChecksum { checksum, trailer } = of_upload(headers, trailing, otherwise)?;
    let checks = BodyChecks { length_bytes, md5, checksum, kept: Kept::default() };
    let body = Declared { inner: body, declared: length_bytes, received: 0 };
    Ok(Upload { body: store.access.renewed_at_the_end(Box::pin(body), &store.call), checks, trailer })
}

/// A body that ends with an error if its length differs from the declared one.
struct Declared<S> {
    inner: Option<S>,
    /// The declared length in bytes, if there is one.
    declared: Option<u64>,
    received: u64,
}

impl<S> Stream for Declared<S>
where
    S: Stream<Item = Result<Bytes, s3s::StdError>> + Unpin,
{
    type Item = Result<Bytes, StoreError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = match &mut self.inner {
            Some(inner) => std::task::ready!(Pin::new(inner).poll_next(cx)),
            None => None,
        };
        let outcome = match next {
            Some(Ok(chunk)) => {
                self.received += chunk.len() as u64;
                match self.declared.filter(|declared| self.received > *declared) {
                    None => return Poll::Ready(Some(Ok(chunk))),
                    Some(declared) => Some(Err(length_differs(self.received, declared))),
                }
            }
            Some(Err(error)) => Some(Err(body_error(&error))),
            None => {
                let short = self.declared.filter(|declared| self.received < *declared);
                short.map(|declared| Err(length_differs(self.received, declared)))
            }
        };
        self.inner = None;
        self.declared = None;
        Poll::Ready(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::Declared;
    use crate::actors::gateway::StoreError;
    use bytes::Bytes;
    use futures::executor::block_on;
    use futures::{StreamExt, stream};

    fn read(declared: impl Into<Option<u64>>, chunks: &[&'static [u8]]) -> Result<usize, StoreError> {
        let chunks: Vec<Result<Bytes, s3s::StdError>> =
            chunks.iter().map(|chunk| Ok(Bytes::from_static(chunk))).collect();
        let body = Declared { inner: Some(stream::iter(chunks)), declared: declared.into(), received: 0 };
        let read = block_on(body.collect::<Vec<_>>());
        read.into_iter().try_fold(0, |bytes, chunk| Ok(bytes + chunk?.len()))
    }

    #[test]
    fn f4_a_body_of_another_length_than_declared_is_an_error() {
        assert_eq!(read(5, &[b"ab", b"cde"]).expect("whole"), 5);
        assert_eq!(read(0, &[]).expect("empty"), 0);
        assert!(matches!(read(6, &[b"abcde"]), Err(StoreError::BodyRefused(_))));
        assert!(matches!(read(4, &[b"abcde"]), Err(StoreError::BodyRefused(_))));
        assert_eq!(read(None, &[b"abcde"]).expect("whatever comes"), 5);
    }
}
