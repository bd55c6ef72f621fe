//! The fuzz target of the `aws-chunked` decoder: a body decoded whole and in pieces must give the same content.

use super::chunked::{ChunkDecoder, ChunkSigning, SIGNED_CHUNK_BYTES_MIN};
use crate::sigv4::{ChunkVerifier, EMPTY_SHA256, Scope, SigningKey, sha256_hex};
use bytes::Bytes;
use http::HeaderMap;
use std::collections::VecDeque;
use std::sync::Arc;

const STAMP: &str = "20260101T000000Z";
const SCOPE: Scope<'static> = Scope { date: "20260101", region: "us-east-1", service: "s3" };
/// The signature of the request, to which the signature of the first chunk is chained.
const SEED: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Decodes the input as a framed body, whole and in pieces, and again after framing it as content. The first byte is
/// the size of the pieces.
pub fn chunks(data: &[u8]) {
    let Some((&size, body)) = data.split_first() else { return };
    let piece_bytes = usize::from(size).max(1);
    let signings: [fn() -> ChunkSigning; 3] = [|| ChunkSigning::Unsigned, || signed(false), || signed(true)];
    for signing in signings {
        assert_eq!(decoded(signing(), body, body.len().max(1)), decoded(signing(), body, piece_bytes));
    }
    // The input as content, framed and signed.
    for has_trailer in [false, true] {
        let framed = signed_body(body, SIGNED_CHUNK_BYTES_MIN + u64::from(size), has_trailer);
        let content = decoded(signed(has_trailer), &framed, piece_bytes).map(|(content, _)| content);
        assert_eq!(content.as_deref(), Some(body));
    }
}

fn key() -> Arc<SigningKey> {
    Arc::new(SigningKey::derive("secret", SCOPE))
}

/// Returns a verifier of the chunks of `signed_body`.
pub fn verifier() -> ChunkVerifier {
    ChunkVerifier::new(key(), STAMP, SCOPE, SEED)
}

fn signed(has_trailer: bool) -> ChunkSigning {
    ChunkSigning::Signed { verifier: verifier(), has_trailer }
}

/// Frames content in signed chunks of this size, as clients do.
pub fn signed_body(content: &[u8], chunk_bytes: u64, has_trailer: bool) -> Vec<u8> {
    let key = key();
    let mut previous = SEED.to_owned();
    let mut sign = |kind: &str, hashes: &str| {
        previous = key.sign(&format!("AWS4-HMAC-SHA256-{kind}\n{STAMP}\n{SCOPE}\n{previous}\n{hashes}"));
        previous.clone()
    };
    let mut framed = Vec::new();
    let chunk_bytes = usize::try_from(chunk_bytes).expect("a chunk fits in memory");
    for chunk in content.chunks(chunk_bytes).chain([&[][..]]) {
        let signature = sign("PAYLOAD", &format!("{EMPTY_SHA256}\n{}", sha256_hex(chunk)));
        framed.extend_from_slice(format!("{:x};chunk-signature={signature}\r\n", chunk.len()).as_bytes());
        framed.extend_from_slice(chunk);
        if !chunk.is_empty() {
            framed.extend_from_slice(b"\r\n");
        }
    }
    if has_trailer {
        let line = "x-amz-checksum-crc32:AAAAAA==";
        let signature = sign("TRAILER", &sha256_hex(format!("{line}\n").as_bytes()));
        framed.extend_from_slice(format!("{line}\r\nx-amz-trailer-signature:{signature}\r\n").as_bytes());
    }
    framed.extend_from_slice(b"\r\n");
    framed
}

/// Returns the content and the trailer; `None` if the decoder refuses the framing.
fn decoded(signing: ChunkSigning, body: &[u8], piece_bytes: usize) -> Option<(Vec<u8>, HeaderMap)> {
    let mut decoder = ChunkDecoder::new(signing);
    let mut content = VecDeque::new();
    for piece in body.chunks(piece_bytes) {
        decoder.push(Bytes::copy_from_slice(piece), &mut content).ok()?;
    }
    let trailer = decoder.end().ok()?;
    Some((content.iter().flatten().copied().collect(), trailer))
}
