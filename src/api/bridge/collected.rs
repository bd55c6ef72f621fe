//! The body of a request that carries XML: read whole when s3s asks for it (after the signature and the operation were
//! checked), compared with every digest that the request gives of it, and passed on as one piece.

use super::request_body::RequestBody;
use crate::api::request_log::RequestTrace;
use crate::api::s3::{Fault, body_fault, parse_md5};
use crate::limits::XML_BODY_BYTES_MAX;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use md5::Md5;
use s3s::StdError;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Sha1};
use sha2::{Digest, Sha256};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// What the request says of its body.
#[derive(Debug, Default)]
pub struct Digests {
    md5: Option<String>,
    /// Hexadecimal, of the payload; absent where it is unsigned or framed.
    sha256: Option<String>,
    /// Header and value.
    checksum: Option<(&'static str, String)>,
}

const CHECKSUMS: [&str; 5] = [
    "x-amz-checksum-crc32",
    "x-amz-checksum-crc32c",
    "x-amz-checksum-crc64nvme",
    "x-amz-checksum-sha1",
    "x-amz-checksum-sha256",
];

impl Digests {
    /// `of_object`: the request's checksum is of the object that it makes, and not of its body.
    pub fn of(headers: &HeaderMap, of_object: bool) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let checksum = CHECKSUMS.iter().filter(|_| !of_object).find_map(|name| Some((*name, text(name)?)));
        let sha256 = text("x-amz-content-sha256").filter(|digest| digest.len() == 64);
        Self { md5: text("content-md5"), sha256, checksum }
    }

    /// In S3's order: what was signed comes before what is only said.
    fn verify(&self, body: &[u8]) -> Result<(), Differs> {
        let md5 = self.md5.as_ref().map(|text| parse_md5(text.as_bytes())).transpose();
        let md5 = md5.map_err(|fault| Differs { fault, made: None })?;
        if let Some(sha256) = &self.sha256 {
            let made = hex_simd::encode_to_string(Sha256::digest(body), hex_simd::AsciiCase::Lower);
            if !made.eq_ignore_ascii_case(sha256) {
                let made = Some(("S3ComputedContentSHA256", made));
                return Err(Differs { fault: Fault::InvalidContentSha256, made });
            }
        }
        if let Some(md5) = md5 {
            let made = Md5::digest(body);
            if made[..] != md5 {
                let why = "The Content-MD5 you specified did not match what we received.";
                let made = Some(("CalculatedDigest", base64_simd::STANDARD.encode_to_string(made)));
                return Err(Differs { fault: Fault::BadDigest(why.to_owned()), made });
            }
        }
        if let Some((name, value)) = &self.checksum
            && checksum(name, body).as_ref() != Some(value)
        {
            let algorithm = name.trim_start_matches("x-amz-checksum-").to_ascii_uppercase();
            let why = format!("The {algorithm} you specified did not match the calculated checksum.");
            return Err(Differs { fault: Fault::BadDigest(why), made: None });
        }
        Ok(())
    }
}

/// A body that is not what the request says of it.
#[derive(Debug)]
struct Differs {
    fault: Fault,
    /// The digest that it has, and what an answer calls that.
    made: Option<(&'static str, String)>,
}

fn checksum(name: &str, body: &[u8]) -> Option<String> {
    let mut hasher = ChecksumHasher::default();
    match name {
        "x-amz-checksum-crc32" => hasher.crc32 = Some(Crc32::new()),
        "x-amz-checksum-crc32c" => hasher.crc32c = Some(Crc32c::new()),
        "x-amz-checksum-crc64nvme" => hasher.crc64nvme = Some(Crc64Nvme::new()),
        "x-amz-checksum-sha1" => hasher.sha1 = Some(Sha1::new()),
        _ => return Some(base64_simd::STANDARD.encode_to_string(Sha256::digest(body))),
    }
    hasher.update(body);
    let made = hasher.finalize();
    made.checksum_crc32.or(made.checksum_crc32c).or(made.checksum_crc64nvme).or(made.checksum_sha1)
}

pub struct Collected {
    inner: Option<RequestBody>,
    digests: Digests,
    gathered: BytesMut,
    trace: Arc<RequestTrace>,
}

impl Collected {
    pub fn new(inner: RequestBody, digests: Digests, trace: Arc<RequestTrace>) -> Self {
        Self { inner: Some(inner), digests, gathered: BytesMut::new(), trace }
    }

    /// s3s answers whatever fails here with an internal error; the trace tells the bridge what it was.
    fn fail(&mut self, fault: Fault) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        self.inner = None;
        let error = format!("the body was refused: {fault:?}");
        self.trace.failed(fault);
        Poll::Ready(Some(Err(error.into())))
    }
}

impl Body for Collected {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let this = &mut *self;
        while let Some(inner) = &mut this.inner {
            match ready!(Pin::new(inner).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    if this.gathered.len() + data.len() > XML_BODY_BYTES_MAX {
                        return this.fail(Fault::EntityTooLarge);
                    }
                    this.gathered.extend_from_slice(&data);
                }
                Some(Err(error)) => return this.fail(body_fault(&error)),
                None => {
                    if let Err(Differs { fault, made }) = this.digests.verify(&this.gathered) {
                        this.trace.detailed(made.into_iter().collect());
                        return this.fail(fault);
                    }
                    this.inner = None;
                    if !this.gathered.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut this.gathered).freeze()))));
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
    use super::Digests;
    use crate::api::s3::Fault;
    use http::{HeaderMap, HeaderName, HeaderValue};

    fn verify(name: &'static str, value: &'static str, of_object: bool) -> Result<(), Fault> {
        let headers = HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))]);
        Digests::of(&headers, of_object).verify(b"hello").map_err(|differs| differs.fault)
    }

    #[test]
    fn a_body_is_compared_with_every_digest_given_of_it() {
        assert_eq!(verify("content-md5", "XUFAKrxLKna5cZ2REBfFkg==", false), Ok(()));
        assert!(matches!(verify("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==", false), Err(Fault::BadDigest(_))));
        assert_eq!(verify("content-md5", "nonsense", false), Err(Fault::InvalidDigest));
        assert_eq!(verify("x-amz-checksum-crc32", "NhCmhg==", false), Ok(()));
        assert!(matches!(verify("x-amz-checksum-crc32", "AAAAAA==", false), Err(Fault::BadDigest(_))));
        let sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        assert_eq!(verify("x-amz-content-sha256", sha256, false), Ok(()));
        let other = "0000000000000000000000000000000000000000000000000000000000000000";
        assert_eq!(verify("x-amz-content-sha256", other, false), Err(Fault::InvalidContentSha256));
        assert_eq!(verify("x-amz-content-sha256", "UNSIGNED-PAYLOAD", false), Ok(()));
    }

    #[test]
    fn what_was_signed_is_compared_before_what_is_only_said() {
        let fault = |pairs: &[(&'static str, &'static str)]| {
            let header = |(name, value): &(&'static str, &'static str)| {
                (HeaderName::from_static(name), HeaderValue::from_static(value))
            };
            let headers = HeaderMap::from_iter(pairs.iter().map(header));
            let differs = Digests::of(&headers, false).verify(b"hello").expect_err("another body");
            (differs.fault, differs.made)
        };
        let zeros = ("x-amz-content-sha256", "0000000000000000000000000000000000000000000000000000000000000000");
        let md5 = ("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==");
        let crc = ("x-amz-checksum-crc32", "AAAAAA==");
        let sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824".to_owned();
        let told = (Fault::InvalidContentSha256, Some(("S3ComputedContentSHA256", sha256)));
        assert_eq!(fault(&[crc, md5, zeros]), told);
        assert_eq!(fault(&[crc, md5]).1, Some(("CalculatedDigest", "XUFAKrxLKna5cZ2REBfFkg==".to_owned())));
        let why = "The CRC32 you specified did not match the calculated checksum.".to_owned();
        assert_eq!(fault(&[crc]), (Fault::BadDigest(why), None));
        assert_eq!(fault(&[zeros, ("content-md5", "nonsense")]).0, Fault::InvalidDigest);
    }

    #[test]
    fn the_checksum_of_a_completion_is_not_of_its_body() {
        assert_eq!(verify("x-amz-checksum-crc32", "AAAAAA==", true), Ok(()));
    }
}
