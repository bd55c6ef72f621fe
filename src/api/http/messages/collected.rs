//! A request body of XML or JSON, read whole. s3s reads it after the signature was verified and the request was
//! allowed. The body is bounded in its bytes and in the elements that it lists, compared with every digest that the
//! request states for it, and passed on as one piece.

use super::body_bounds::{BodyBound, exceeds};
use super::payload::named_hash;
use crate::actors::meta::{ChecksumAlgorithm, checksum_of};
use crate::api::call::RequestTrace;
use crate::api::call::WholeBody;
use crate::api::errors::{Fault, body_fault};
use crate::api::s3::{checksum_of_headers, parse_digest, parse_md5};
use crate::api::sharing::{Seat, Ungathered};
use crate::api::text::documents::as_read;
use crate::limits::BODY_WAIT_MAX;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use md5::{Digest as _, Md5};
use s3s::StdError;
use sha2::{Digest, Sha256};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::time::{Sleep, sleep};

/// The digests that a request states for its body.
#[derive(Debug)]
pub struct Digests {
    md5: Option<String>,
    /// The payload's SHA-256 in hexadecimal; `None` if the payload is unsigned or framed.
    sha256: Option<String>,
    /// The expected checksum, or the reason why it is malformed.
    checksum: Result<Option<(ChecksumAlgorithm, Bytes)>, Fault>,
}

impl Digests {
    /// Reads the digests of a head. `framed`: the body has an `aws-chunked` framing. `of_object`: the checksum header
    /// is that of the object that the request creates, so that it is not compared with the body.
    pub fn of(framed: bool, headers: &HeaderMap, of_object: bool) -> Self {
        let md5 = headers.get("content-md5").map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let sha256 = named_hash(framed, headers).map(str::to_owned);
        Self { md5, sha256, checksum: if of_object { Ok(None) } else { checksum(headers) } }
    }

    /// Returns whether an empty body matches all digests.
    pub fn are_of_nothing(&self) -> bool {
        self.verify(&[]).is_ok()
    }

    /// Verifies the body in S3's order: signed values come before unsigned ones.
    fn verify(&self, body: &[u8]) -> Result<(), Fault> {
        let md5 = self.md5.as_ref().map(|text| parse_md5(text.as_bytes())).transpose()?;
        let checksum = self.checksum.clone()?;
        if let Some(sha256) = &self.sha256 {
            let made = hex_simd::encode_to_string(Sha256::digest(body), hex_simd::AsciiCase::Lower);
            if !made.eq_ignore_ascii_case(sha256) {
                return Err(Fault::InvalidContentSha256 { computed: Some(made) });
            }
        }
        if let Some(md5) = md5 {
            let made = Md5::digest(body);
            if made[..] != md5 {
                let calculated = Some(base64_simd::STANDARD.encode_to_string(made));
                return Err(Fault::Md5Differs { calculated });
            }
        }
        if let Some((algorithm, given)) = checksum
            && checksum_of(algorithm, body) != given
        {
            let name = algorithm.name();
            let why = format!("The {name} you specified did not match the calculated checksum.");
            return Err(Fault::BadDigest(why));
        }
        Ok(())
    }
}

fn checksum(headers: &HeaderMap) -> Result<Option<(ChecksumAlgorithm, Bytes)>, Fault> {
    let Some((algorithm, text)) = checksum_of_headers(headers)? else { return Ok(None) };
    Ok(Some((algorithm, parse_digest(algorithm, &text)?)))
}

pub struct Collected<B> {
    inner: Option<B>,
    digests: Digests,
    gathered: BytesMut,
    bound: BodyBound,
    seat: Arc<Seat>,
    /// The deadline of the whole body; it runs from the first time that the reader has to wait.
    deadline: Option<Pin<Box<Sleep>>>,
    /// Gets a copy of the body, for an operation that parses it by itself.
    copy_to: Option<WholeBody>,
    /// The body that s3s reads in place of the client's, if any.
    replacement: Option<Bytes>,
    trace: Arc<RequestTrace>,
}

impl<B> Collected<B> {
    pub fn new(inner: B, bound: BodyBound, digests: Digests, seat: Arc<Seat>, trace: Arc<RequestTrace>) -> Self {
        let (gathered, inner) = (BytesMut::new(), Some(inner));
        Self { inner, digests, gathered, bound, seat, deadline: None, copy_to: None, replacement: None, trace }
    }

    /// Puts a copy of the whole body into `to`.
    pub fn copy_to(self, to: WholeBody) -> Self {
        Self { copy_to: Some(to), ..self }
    }

    /// Makes s3s read another body in place of the client's, unless that is empty.
    pub fn replacement(self, body: &'static [u8]) -> Self {
        Self { replacement: Some(Bytes::from_static(body)), ..self }
    }

    /// Ends the body with an error. s3s does not pass on errors of bodies, so the fault is also noted in the trace,
    /// from which the request is refused.
    fn fail(&mut self, fault: Fault) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        self.inner = None;
        self.trace.set_error(fault.clone().into());
        Poll::Ready(Some(Err(Box::new(fault))))
    }

    /// Appends a piece of the body, within its bound and the memory for bodies.
    fn gather(&mut self, data: &Bytes) -> Result<(), Fault> {
        if self.gathered.len() + data.len() > self.bound.bytes_max {
            return Err(Fault::MessageTooLong);
        }
        self.seat.take(data.len()).map_err(|_| Fault::SlowDown(Ungathered::NoRoom.to_string()))?;
        self.gathered.extend_from_slice(data);
        Ok(())
    }
}

impl<B: Body<Data = Bytes, Error = StdError> + Unpin> Body for Collected<B> {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let this = &mut *self;
        while let Some(inner) = &mut this.inner {
            let polled = Pin::new(inner).poll_frame(cx);
            if polled.is_pending() {
                let deadline = this.deadline.get_or_insert_with(|| Box::pin(sleep(BODY_WAIT_MAX)));
                if deadline.as_mut().poll(cx).is_ready() {
                    return this.fail(Fault::RequestTimeout);
                }
            }
            match ready!(polled) {
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    if let Err(fault) = this.gather(&data) {
                        return this.fail(fault);
                    }
                }
                Some(Err(error)) => return this.fail(body_fault(&error)),
                None => {
                    if let Some((name, count_max)) = this.bound.lists
                        && exceeds(&this.gathered, name, count_max)
                    {
                        return this.fail(Fault::MalformedXml);
                    }
                    if let Err(fault) = this.digests.verify(&this.gathered) {
                        return this.fail(fault);
                    }
                    this.inner = None;
                    let mut whole = std::mem::take(&mut this.gathered).freeze();
                    if let Some(schema) = this.bound.schema {
                        match as_read(whole, schema) {
                            Ok(read) => whole = read,
                            Err(_) => return this.fail(Fault::MalformedXml),
                        }
                    }
                    if let Some(copy_to) = &this.copy_to {
                        copy_to.put(whole.clone());
                    }
                    if !whole.is_empty() {
                        let read = this.replacement.take().unwrap_or(whole);
                        return Poll::Ready(Some(Ok(Frame::data(read))));
                    }
                }
            }
        }
        Poll::Ready(None)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::{Digests, checksum_of};
    use crate::actors::meta::ChecksumAlgorithm;
    use crate::api::errors::Fault;
    use http::{HeaderMap, HeaderName, HeaderValue};

    fn digests(pairs: &[(&'static str, &'static str)], of_object: bool) -> Digests {
        let header = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        Digests::of(false, &HeaderMap::from_iter(pairs.iter().map(header)), of_object)
    }

    fn verify(name: &'static str, value: &'static str, of_object: bool) -> Result<(), Fault> {
        digests(&[(name, value)], of_object).verify(b"hello")
    }

    #[test]
    fn a_body_is_compared_with_every_digest_that_the_request_states() {
        assert_eq!(verify("content-md5", "XUFAKrxLKna5cZ2REBfFkg==", false), Ok(()));
        assert!(matches!(verify("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==", false), Err(Fault::Md5Differs { .. })));
        assert_eq!(verify("content-md5", "nonsense", false), Err(Fault::InvalidDigest));
        assert_eq!(verify("x-amz-checksum-crc32", "NhCmhg==", false), Ok(()));
        assert!(matches!(verify("x-amz-checksum-crc32", "AAAAAA==", false), Err(Fault::BadDigest(_))));
        let sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        let other_sha256 = |verified| assert!(matches!(verified, Err(Fault::InvalidContentSha256 { .. })));
        assert_eq!(verify("x-amz-content-sha256", sha256, false), Ok(()));
        let other = "0000000000000000000000000000000000000000000000000000000000000000";
        other_sha256(verify("x-amz-content-sha256", other, false));
        assert_eq!(verify("x-amz-content-sha256", "UNSIGNED-PAYLOAD", false), Ok(()));
        other_sha256(verify("x-amz-content-sha256", "unsigned", false));
    }

    #[test]
    fn checksums_of_every_algorithm_are_compared() {
        for (name, right, wrong) in [
            ("x-amz-checksum-crc32c", "mnG7TA==", "AAAAAA=="),
            ("x-amz-checksum-crc64nvme", "M3eFcAZSQlc=", "AAAAAAAAAAA="),
            ("x-amz-checksum-sha1", "qvTGHdzF6KLavt4PO0gs2a6pQ00=", "AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
            (
                "x-amz-checksum-sha256",
                "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=",
                "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            ),
            ("x-amz-checksum-md5", "XUFAKrxLKna5cZ2REBfFkg==", "AAAAAAAAAAAAAAAAAAAAAA=="),
        ] {
            assert_eq!(verify(name, right, false), Ok(()), "{name}");
            assert!(matches!(verify(name, wrong, false), Err(Fault::BadDigest(_))), "{name}");
        }
        for algorithm in ChecksumAlgorithm::ALL {
            let given = |body: &[u8]| {
                let text = base64_simd::STANDARD.encode_to_string(checksum_of(algorithm, body));
                let value = HeaderValue::try_from(text).expect("a value");
                let headers = HeaderMap::from_iter([(HeaderName::from_static(algorithm.header()), value)]);
                Digests::of(false, &headers, false).verify(b"hello")
            };
            assert_eq!(given(b"hello"), Ok(()), "{algorithm:?}");
            assert!(matches!(given(b"hellO"), Err(Fault::BadDigest(_))), "{algorithm:?}");
        }
    }

    #[test]
    fn two_checksums_or_a_malformed_or_unknown_one_are_refused() {
        let crc = ("x-amz-checksum-crc32", "NhCmhg==");
        for pairs in [
            &[crc, ("x-amz-checksum-sha1", "qvTGHdzF6KLavt4PO0gs2a6pQ00=")][..],
            &[("x-amz-checksum-crc32", "NhCm")],
            &[("x-amz-checksum-crc32", "no base64")],
            &[("x-amz-checksum-sha512", "AAAA")],
        ] {
            let refused = digests(pairs, false).verify(b"hello").expect_err("none");
            assert!(matches!(refused, Fault::InvalidRequest(_)), "{pairs:?}");
        }
        assert!(!digests(&[crc], false).are_of_nothing() && digests(&[crc], true).are_of_nothing());
        assert!(digests(&[("x-amz-trailer", "x-amz-checksum-crc32")], false).are_of_nothing());
        let nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert!(digests(&[("x-amz-content-sha256", nothing)], false).are_of_nothing());
    }

    #[test]
    fn the_signed_hash_is_compared_before_the_unsigned_digests() {
        let fault =
            |pairs: &[(&'static str, &'static str)]| digests(pairs, false).verify(b"hello").expect_err("another body");
        let zeros = ("x-amz-content-sha256", "0000000000000000000000000000000000000000000000000000000000000000");
        let md5 = ("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==");
        let crc = ("x-amz-checksum-crc32", "AAAAAA==");
        let sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824".to_owned();
        assert_eq!(fault(&[crc, md5, zeros]), Fault::InvalidContentSha256 { computed: Some(sha256) });
        let calculated = Some("XUFAKrxLKna5cZ2REBfFkg==".to_owned());
        assert_eq!(fault(&[crc, md5]), Fault::Md5Differs { calculated });
        let why = "The CRC32 you specified did not match the calculated checksum.".to_owned();
        assert_eq!(fault(&[crc]), Fault::BadDigest(why));
        assert_eq!(fault(&[zeros, ("content-md5", "nonsense")]), Fault::InvalidDigest);
    }

    #[test]
    fn the_checksum_of_a_completion_is_not_compared_with_its_body() {
        assert_eq!(verify("x-amz-checksum-crc32", "AAAAAA==", true), Ok(()));
    }
}
