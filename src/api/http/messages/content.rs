//! The body of an authenticated request, prepared for s3s: the `aws-chunked` framing is removed, the content is
//! compared with the SHA-256 that the request states, and bodies of XML or JSON are read whole.

use super::body_bounds::BodyBound;
use super::chunked::{ChunkDecoder, ChunkSigning};
use super::collected::{Collected, Digests};
use super::payload::PayloadHash;
use crate::api::auth::Scheme;
use crate::api::call::Call;
use crate::api::call::is_form;
use crate::api::call::{Level, Target, Trailers, WholeBody};
use crate::api::errors::Fault;
use crate::api::errors::Sha256Mismatch;
use crate::api::text::Query;
use crate::limits::BODY_BYTES_MAX;
use crate::sigv4::ChunkVerifier;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use http_body::{Body, Frame, SizeHint};
use s3s::StdError;
use s3s::header::{X_AMZ_CONTENT_SHA256, X_AMZ_DECODED_CONTENT_LENGTH};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// The kind of a request's signature, and the verifier of its signed chunks, if it has any.
pub struct Signed {
    pub scheme: Scheme,
    pub chunks: Option<ChunkVerifier>,
}

/// Returns the request with its unframed, verifying content as the body, and with headers that describe this content.
pub fn content(
    request: s3s::HttpRequest,
    target: &Target,
    query: &Query,
    signed: Signed,
    call: &mut Call,
) -> Result<s3s::HttpRequest, Fault> {
    if is_form(request.method(), request.headers()) {
        return Ok(request);
    }
    let (mut head, body) = request.into_parts();
    let scheme = signed.scheme;
    let signing = signing(&head, signed)?;
    let framed = signing.is_some();
    let length = length(&head.headers);
    let is_empty = body.is_end_stream();
    if !is_empty && !framed && length.is_none() && needs_length(scheme, &head.headers) {
        return Err(Fault::MissingContentLength);
    }
    let whole = Whole::of(&head, target, query, scheme == Scheme::Unsigned);
    if let Some(whole) = &whole
        && whole.is_read
        && framed
        && !is_empty
        && scheme != Scheme::Unsigned
    {
        let why = "Bodies of XML or JSON in the framing aws-chunked are not implemented.";
        return Err(Fault::NotImplemented(why.to_owned()));
    }
    let digests = whole.as_ref().map(|whole| Digests::of(framed, &head.headers, whole.of_object));
    let hash = if whole.is_none() { PayloadHash::of(&head.method, framed, &head.headers) } else { None };
    let agrees_with_nothing =
        digests.as_ref().is_none_or(Digests::are_of_nothing) && hash.as_ref().is_none_or(PayloadHash::is_of_nothing);
    let trailers = signing.as_ref().map(|_| Trailers::default());
    if let Some(trailers) = &trailers {
        unframe(&mut head, scheme);
        call.trailers = Some(trailers.clone());
    }
    if is_empty && (framed || agrees_with_nothing) {
        return Ok(s3s::HttpRequest::from_parts(head, s3s::Body::empty()));
    }
    let decoder = signing.filter(|_| !is_empty).map(ChunkDecoder::new).zip(trailers);
    let content = Content::new(body, decoder, hash, length);
    let body = match (whole, digests) {
        (Some(whole), Some(digests)) => {
            let (seat, trace) = (Arc::clone(&call.seat), Arc::clone(&call.trace));
            let mut collected = Collected::new(content, whole.bound, digests, seat, trace);
            if whole.reader != Reader::S3s {
                let copy = WholeBody::default();
                call.whole_body = Some(copy.clone());
                collected = collected.copy_to(copy);
            }
            if whole.reader == Reader::Operation {
                collected = collected.replacement(NO_PARTS);
                if let Some(length) = head.headers.get_mut(header::CONTENT_LENGTH) {
                    *length = HeaderValue::from(NO_PARTS.len());
                }
            }
            s3s::Body::http_body_unsync(collected)
        }
        _ => s3s::Body::http_body_unsync(content),
    };
    Ok(s3s::HttpRequest::from_parts(head, body))
}

/// Returns whether the request must state its body's length: one that is signed in a header, or that names the hash of
/// its body in a signed URL.
fn needs_length(scheme: Scheme, headers: &HeaderMap) -> bool {
    match scheme {
        Scheme::Header => true,
        Scheme::Url => text(headers, &X_AMZ_CONTENT_SHA256).len() == 64,
        Scheme::Unsigned | Scheme::LegacyHeader | Scheme::LegacyUrl => false,
    }
}

/// Returns the declared length; `None` for a body with a transfer encoding.
fn length(headers: &HeaderMap) -> Option<u64> {
    let length = headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()?;
    (!headers.contains_key(header::TRANSFER_ENCODING)).then_some(length)
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Returns the signing of an `aws-chunked` body; `None` if the body is not framed. A version 4 signature in a header
/// covers the header that announces the framing; in an unsigned PUT the content encoding may announce it, too. Under
/// other signatures the bytes are content, whatever the headers say.
fn signing(head: &Parts, Signed { scheme, chunks }: Signed) -> Result<Option<ChunkSigning>, Fault> {
    let payload = text(&head.headers, &X_AMZ_CONTENT_SHA256);
    match (scheme, chunks) {
        (Scheme::Header, Some(verifier)) => Ok(match payload {
            "STREAMING-UNSIGNED-PAYLOAD-TRAILER" => Some(ChunkSigning::Unsigned),
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" => Some(ChunkSigning::Signed { verifier, has_trailer: false }),
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" => Some(ChunkSigning::Signed { verifier, has_trailer: true }),
            other if other.starts_with("STREAMING-") => {
                return Err(Fault::NotImplemented(format!("The payload signature {other} is not implemented.")));
            }
            _ => None,
        }),
        (Scheme::Unsigned, _) if head.method == Method::PUT => {
            let codings = text(&head.headers, &header::CONTENT_ENCODING);
            let is_coded = codings.split(',').any(|coding| coding.trim().eq_ignore_ascii_case("aws-chunked"));
            let is_framed = (is_coded || payload.starts_with("STREAMING-"))
                && head.headers.contains_key(&X_AMZ_DECODED_CONTENT_LENGTH);
            Ok(is_framed.then_some(ChunkSigning::Unsigned))
        }
        _ => Ok(None),
    }
}

/// Replaces the headers of the framed body with those of its content.
fn unframe(head: &mut Parts, scheme: Scheme) {
    if let Some(length) = head.headers.get(&X_AMZ_DECODED_CONTENT_LENGTH).cloned() {
        head.headers.insert(header::CONTENT_LENGTH, length);
    }
    head.headers.remove(header::TRANSFER_ENCODING);
    if scheme == Scheme::Unsigned {
        head.headers.remove(&X_AMZ_CONTENT_SHA256);
    }
}

/// The treatment of a body that is read whole before it is processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Whole {
    /// True if the request's checksum header is that of the object that the request creates, not of this body.
    of_object: bool,
    /// True if the operation reads the body.
    is_read: bool,
    reader: Reader,
    bound: BodyBound,
}

/// The component that parses a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    S3s,
    /// s3s, and the operation again: CreateBucket, whose tags s3s does not return.
    Both,
    /// The operation alone: CompleteMultipartUpload, as s3s refuses checksums for which it has no fields.
    Operation,
}

/// The empty list of parts that s3s parses in place of the client's.
const NO_PARTS: &[u8] = b"<CompleteMultipartUpload/>";

impl Whole {
    /// Returns the treatment of a request's body; `None` for an object's, which is streamed.
    fn of(head: &Parts, target: &Target, query: &Query, is_unsigned: bool) -> Option<Self> {
        let found = Self::as_signed(head, target, query)?;
        if !is_unsigned {
            return Some(found);
        }
        let bound = match found.reader {
            Reader::Both => BodyBound { bytes_max: BODY_BYTES_MAX, ..found.bound },
            _ => found.bound.unsigned(),
        };
        Some(Self { bound, ..found })
    }

    fn as_signed(head: &Parts, target: &Target, query: &Query) -> Option<Self> {
        let document = Self { of_object: false, is_read: true, reader: Reader::S3s, bound: BodyBound::DEFAULT };
        match head.method {
            Method::PUT => match BodyBound::of_document(|name| query.has(name)) {
                Some(bound) => Some(Self { bound, ..document }),
                None if target.level == Level::Bucket => {
                    Some(Self { reader: Reader::Both, bound: BodyBound::CREATES, ..document })
                }
                None => None,
            },
            Method::POST => {
                let deletes = query.has("delete");
                let completes = query.has("uploadId");
                let bound = match (deletes, completes) {
                    (true, _) => BodyBound::DELETES,
                    (false, true) => BodyBound::COMPLETES,
                    (false, false) => BodyBound::DEFAULT,
                };
                let of_object = head.uri.query().is_some() && !deletes;
                let reader = if completes && !deletes { Reader::Operation } else { Reader::S3s };
                Some(Self { of_object, is_read: deletes || completes, reader, bound })
            }
            _ => None,
        }
    }
}

/// A body whose framing is removed and whose hash is compared, as it is read.
struct Content {
    inner: s3s::Body,
    decoder: Option<(ChunkDecoder, Trailers)>,
    /// Decoded content that was not yet passed on.
    queue: VecDeque<Bytes>,
    /// The hash of the body; `None` once it was compared.
    hash: Option<PayloadHash>,
    /// The declared length of the body as it is sent, framing included.
    length: Option<u64>,
    received: u64,
    ended: bool,
}

impl Content {
    fn new(
        inner: s3s::Body,
        decoder: Option<(ChunkDecoder, Trailers)>,
        hash: Option<PayloadHash>,
        length: Option<u64>,
    ) -> Self {
        Self { inner, decoder, queue: VecDeque::new(), hash, length, received: 0, ended: false }
    }

    /// Compares the hash, once. Called when all bytes of the body have arrived.
    fn compare(&mut self) -> Result<(), StdError> {
        let Some(Err(computed)) = self.hash.take().map(PayloadHash::compare) else { return Ok(()) };
        Err(Sha256Mismatch { computed }.into())
    }

    fn push(&mut self, bytes: Bytes) -> Result<(), StdError> {
        self.received += bytes.len() as u64;
        let Some((decoder, _)) = &mut self.decoder else {
            if let Some(hash) = &mut self.hash {
                hash.update(&bytes);
            }
            // A reader that counts the bytes may never poll for the end.
            if self.length == Some(self.received) {
                self.compare()?;
            }
            self.queue.push_back(bytes);
            return Ok(());
        };
        Ok(decoder.push(bytes, &mut self.queue)?)
    }

    /// Handles the end of the connection's body.
    fn end(&mut self) -> Result<(), StdError> {
        self.ended = true;
        // A body that is shorter than declared is refused by its reader, which counts the bytes.
        if self.length.is_none_or(|length| length == self.received) {
            self.compare()?;
        }
        if let Some((decoder, trailers)) = &mut self.decoder {
            trailers.put(decoder.end()?);
        }
        Ok(())
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let this = &mut *self;
        loop {
            if let Some(bytes) = this.queue.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if this.ended {
                return Poll::Ready(None);
            }
            let outcome = match ready!(Pin::new(&mut this.inner).poll_frame(cx)) {
                Some(Ok(frame)) => frame.into_data().map_or(Ok(()), |bytes| this.push(bytes)),
                Some(Err(error)) => Err(error),
                None => this.end(),
            };
            if let Err(error) = outcome {
                this.ended = true;
                return Poll::Ready(Some(Err(error)));
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.decoder, self.length) {
            (None, Some(length)) => SizeHint::with_exact(length.saturating_sub(self.received)),
            _ => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{NO_PARTS, Reader, Signed, Whole, content, signing, unframe};
    use crate::api::auth::Scheme;
    use crate::api::call::Call;
    use crate::api::call::Target;
    use crate::api::errors::Fault;
    use crate::api::errors::FramingFault;
    use crate::api::text::Query;
    use futures::StreamExt;
    use futures::executor::block_on;
    use http::request::Parts;
    use http::{HeaderName, HeaderValue, Method, Request};

    const HELLO: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    const HASH: &str = "x-amz-content-sha256";

    fn head(method: Method, uri: &str, pairs: &[(&'static str, &'static str)]) -> Parts {
        let mut head = Request::builder().method(method).uri(uri).body(()).expect("a request").into_parts().0;
        let pairs = pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        head.headers.extend(pairs);
        head
    }

    fn anonymous() -> Signed {
        Signed { scheme: Scheme::Unsigned, chunks: None }
    }

    #[test]
    fn the_framing_of_an_unsigned_put_is_removed_from_its_headers() {
        for framing in [("content-encoding", "gzip, aws-chunked"), (HASH, "STREAMING-UNSIGNED-PAYLOAD-TRAILER")] {
            let pairs = [framing, ("x-amz-decoded-content-length", "5"), ("transfer-encoding", "chunked")];
            let mut framed = head(Method::PUT, "/b/k", &pairs);
            assert!(signing(&framed, anonymous()).expect("a framing").is_some());
            unframe(&mut framed, Scheme::Unsigned);
            assert_eq!(framed.headers.get("content-length").map(|length| length.as_bytes()), Some(&b"5"[..]));
            assert!(!framed.headers.contains_key("transfer-encoding") && !framed.headers.contains_key(HASH));
            for other in [Scheme::Url, Scheme::LegacyHeader, Scheme::LegacyUrl] {
                let signed = Signed { scheme: other, chunks: None };
                assert!(signing(&framed, signed).expect("none").is_none());
            }
        }
        for plain in [&[("content-encoding", "gzip")][..], &[("content-encoding", "aws-chunked")], &[]] {
            assert!(signing(&head(Method::PUT, "/b/k", plain), anonymous()).expect("none").is_none(), "{plain:?}");
        }
    }

    #[test]
    fn xml_and_json_are_read_whole_and_objects_are_streamed() {
        let whole = |method: Method, uri: &str| {
            let head = head(method, uri, &[]);
            let target = Target::of(head.uri.path(), None).expect("a target");
            let query = Query::read(head.uri.query()).expect("a query");
            Whole::of(&head, &target, &query, false).map(|whole| (whole.of_object, whole.is_read, whole.reader))
        };
        for uri in ["/b?policy", "/b?tagging=", "/b/k?tagging&versionId=v", "/b/k?acl", "/k?retention", "/b?%61cl"] {
            assert_eq!(whole(Method::PUT, uri), Some((false, true, Reader::S3s)), "{uri}");
        }
        for uri in ["/b/k", "/b/k?x-id=PutObject", "/b/k?partNumber=1&uploadId=u", "/b/policy?renameObject"] {
            assert_eq!(whole(Method::PUT, uri), None, "{uri}");
        }
        assert_eq!(whole(Method::PUT, "/b"), Some((false, true, Reader::Both)));
        assert_eq!(whole(Method::POST, "/b?delete"), Some((false, true, Reader::S3s)));
        assert_eq!(whole(Method::POST, "/b/k?uploadId=u"), Some((true, true, Reader::Operation)));
        assert_eq!(whole(Method::POST, "/b/k?uploads"), Some((true, false, Reader::S3s)));
        assert_eq!(whole(Method::POST, "/"), Some((false, false, Reader::S3s)));
        assert_eq!(whole(Method::GET, "/b?policy"), None);
    }

    #[test]
    fn the_operation_gets_the_list_of_parts_and_s3s_an_empty_one() {
        let parts = b"<CompleteMultipartUpload><Part/></CompleteMultipartUpload>";
        let uri = "/b/k?uploadId=u";
        let (target, query) = (Target::of("/b/k", None).expect("a target"), Query::read(Some("uploadId=u")));
        let request = s3s::HttpRequest::from_parts(
            head(Method::POST, uri, &[("content-length", "58")]),
            s3s::Body::from(bytes::Bytes::from_static(parts)),
        );
        let mut call = Call::default();
        let mut request =
            content(request, &target, &query.expect("a query"), anonymous(), &mut call).expect("a request");
        let read = block_on(request.body_mut().next()).expect("a body").expect("whole");
        assert_eq!(read, NO_PARTS);
        assert_eq!(request.headers()["content-length"], NO_PARTS.len().to_string());
        assert_eq!(call.whole_body.expect("the list").bytes(), parts);
    }

    /// Returns the content of a PUT's body, or the error of reading it; an outer `Err` if the head is refused.
    fn read(
        scheme: Scheme,
        pairs: &[(&'static str, &'static str)],
        body: &'static [u8],
    ) -> Result<Result<Vec<u8>, String>, Fault> {
        let head = head(Method::PUT, "/b/k", pairs);
        let body = if body.is_empty() { s3s::Body::empty() } else { s3s::Body::from(bytes::Bytes::from_static(body)) };
        let (target, query) = (Target::of("/b/k", None).expect("a target"), Query::default());
        let request = s3s::HttpRequest::from_parts(head, body);
        let signed = Signed { scheme, chunks: None };
        let mut body = content(request, &target, &query, signed, &mut Call::default())?.into_body();
        let mut read = Vec::new();
        while let Some(piece) = block_on(body.next()) {
            match piece {
                Ok(piece) => read.extend_from_slice(&piece),
                Err(error) => return Ok(Err(error.to_string())),
            }
        }
        Ok(Ok(read))
    }

    #[test]
    fn a_payload_is_compared_with_its_stated_hash_under_every_signature_scheme() {
        let length = ("content-length", "5");
        for scheme in [Scheme::Header, Scheme::Url, Scheme::LegacyHeader, Scheme::LegacyUrl, Scheme::Unsigned] {
            let with = |body| read(scheme, &[(HASH, HELLO), length], body).expect("a body");
            assert_eq!(with(b"hello"), Ok(b"hello".to_vec()), "{scheme:?}");
            assert_eq!(with(b"hellO"), Err("the body has another SHA-256".to_owned()), "{scheme:?}");
            assert_eq!(
                read(scheme, &[(HASH, HELLO)], b""),
                Ok(Err("the body has another SHA-256".to_owned())),
                "{scheme:?}"
            );
            assert_eq!(read(scheme, &[(HASH, "UNSIGNED-PAYLOAD"), length], b"hello"), Ok(Ok(b"hello".to_vec())));
        }
    }

    #[test]
    fn a_signed_payload_without_a_content_length_is_refused() {
        let chunked = ("transfer-encoding", "chunked");
        for payload in [HELLO, "UNSIGNED-PAYLOAD"] {
            let refused = read(Scheme::Header, &[(HASH, payload), chunked], b"hello");
            assert_eq!(refused, Err(Fault::MissingContentLength), "{payload}");
        }
        assert_eq!(read(Scheme::Url, &[(HASH, HELLO), chunked], b"hello"), Err(Fault::MissingContentLength));
    }

    #[test]
    fn reading_a_body_with_a_malformed_framing_fails_with_the_chunk_fault() {
        let pairs = [(HASH, "STREAMING-UNSIGNED-PAYLOAD-TRAILER"), ("x-amz-decoded-content-length", "5")];
        for (framed, fault) in
            [(&b"5\r\nhello\r\n"[..], FramingFault::Unfinished), (b"5\r\nhelloXX", FramingFault::Malformed)]
        {
            let request = s3s::HttpRequest::from_parts(
                head(Method::PUT, "/b/k", &pairs),
                s3s::Body::from(bytes::Bytes::from_static(framed)),
            );
            let (target, query) = (Target::of("/b/k", None).expect("a target"), Query::default());
            let mut body =
                content(request, &target, &query, anonymous(), &mut Call::default()).expect("a body").into_body();
            let error = loop {
                match block_on(body.next()).expect("an error before the end") {
                    Ok(_) => {}
                    Err(error) => break error,
                }
            };
            assert_eq!(error.downcast_ref::<FramingFault>(), Some(&fault));
        }
    }
}
