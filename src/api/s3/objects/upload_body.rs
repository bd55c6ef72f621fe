//! The body of a PUT or a part, as the store takes it: errors in the store's form, and exactly as many bytes as were
//! declared, where any were. Nothing is allocated from that declaration.

use super::super::checksums::{Trailing, UploadChecksum, content_length, content_md5, of_upload};
use super::super::errors::{Fault, body_error, length_exceeded};
use crate::actors::gateway::{BodyChecks, StoreError, Upload};
use crate::actors::meta::ChecksumAlgorithm;
use crate::limits::PUT_BYTES_MAX;
use bytes::Bytes;
use futures::Stream;
use http::HeaderMap;
use s3s::dto::StreamingBlob;
use std::pin::Pin;
use std::task::{Context, Poll};

/// What a request sends and how it is checked. `otherwise` is the checksum to make where the client gives none.
pub fn upload(
    headers: &HeaderMap,
    body: Option<StreamingBlob>,
    trailing: Option<Trailing>,
    otherwise: Option<ChecksumAlgorithm>,
) -> Result<Upload, Fault> {
    let length_bytes = content_length(headers)?;
    if length_bytes > PUT_BYTES_MAX {
        return Err(Fault::EntityTooLarge);
    }
    of_length(Some(length_bytes), headers, body, trailing, otherwise)
}

/// As `upload`, of the file of a form: how long that is shows at its end.
pub fn upload_of_form(
    headers: &HeaderMap,
    body: Option<StreamingBlob>,
    otherwise: Option<ChecksumAlgorithm>,
) -> Result<Upload, Fault> {
    of_length(None, headers, body, None, otherwise)
}

fn of_length(
    length_bytes: Option<u64>,
    headers: &HeaderMap,
    body: Option<StreamingBlob>,
    trailing: Option<Trailing>,
    otherwise: Option<ChecksumAlgorithm>,
) -> Result<Upload, Fault> {
    let md5 = content_md5(headers)?;
    let UploadChecksum { checksum, trailer } = of_upload(headers, trailing, otherwise)?;
    let checks = BodyChecks { length_bytes, md5, checksum };
    let body = Declared { inner: body, left: length_bytes };
    Ok(Upload { body: Box::pin(body), checks, trailer })
}

/// A body that is as long as was declared, or an error.
struct Declared<S> {
    inner: Option<S>,
    /// `None` where nothing was declared.
    left: Option<u64>,
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
            Some(Ok(chunk)) => match self.left.map(|left| left.checked_sub(chunk.len() as u64)) {
                Some(None) => Some(Err(length_exceeded())),
                left => {
                    self.left = left.flatten();
                    return Poll::Ready(Some(Ok(chunk)));
                }
            },
            Some(Err(error)) => Some(Err(body_error(&error))),
            None if self.left.is_some_and(|left| left > 0) => {
                let why = format!("{} of the declared bytes did not come", self.left.unwrap_or_default());
                Some(Err(StoreError::BodyIncomplete { why }))
            }
            None => None,
        };
        self.inner = None;
        self.left = None;
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
        let body = Declared { inner: Some(stream::iter(chunks)), left: declared.into() };
        let read = block_on(body.collect::<Vec<_>>());
        read.into_iter().try_fold(0, |bytes, chunk| Ok(bytes + chunk?.len()))
    }

    #[test]
    fn f4_a_body_is_as_long_as_was_declared_or_an_error() {
        assert_eq!(read(5, &[b"ab", b"cde"]).expect("whole"), 5);
        assert_eq!(read(0, &[]).expect("empty"), 0);
        assert!(matches!(read(6, &[b"abcde"]), Err(StoreError::BodyIncomplete { .. })));
        assert!(matches!(read(4, &[b"abcde"]), Err(StoreError::BodyMalformed { .. })));
        assert_eq!(read(None, &[b"abcde"]).expect("whatever comes"), 5);
    }
}
