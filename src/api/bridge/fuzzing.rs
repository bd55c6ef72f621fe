//! Framed bodies, whole and in pieces: what comes out is the same.

use super::frames::{Frames, SIGNED_CHUNK_BYTES_MIN, Signing};
use bytes::Bytes;
use std::collections::VecDeque;

/// The first byte says how large the pieces are.
pub fn chunks(data: &[u8]) {
    let Some((&size, body)) = data.split_first() else { return };
    let piece_bytes = usize::from(size).max(1);
    for signing in [Signing::Signed, Signing::SignedTrailer, Signing::Anonymous] {
        let whole = passed(signing, body, body.len().max(1));
        let pieces = passed(signing, body, piece_bytes);
        assert_eq!(whole, pieces, "{signing:?}");
    }
    // Of these each piece becomes a chunk of its own.
    let whole = passed(Signing::Unsigned, body, body.len().max(1));
    let pieces = passed(Signing::Unsigned, body, piece_bytes);
    assert_eq!(whole.is_none(), pieces.is_none());
    // The body as content.
    for signing in [Signing::Signed, Signing::SignedTrailer] {
        let framed = signed_body(signing, body, SIGNED_CHUNK_BYTES_MIN + u64::from(size));
        assert_eq!(passed(signing, &framed, piece_bytes), Some((framed, Vec::new())), "{signing:?}");
    }
}

/// Content as clients frame it, in chunks of this size, with what stands for their signatures.
pub fn signed_body(signing: Signing, content: &[u8], chunk_bytes: u64) -> Vec<u8> {
    let mut framed = Vec::new();
    let chunk_bytes = usize::try_from(chunk_bytes).expect("a chunk fits in memory");
    for (at, chunk) in content.chunks(chunk_bytes).enumerate() {
        framed.extend_from_slice(format!("{:x};chunk-signature={at:064x}\r\n", chunk.len()).as_bytes());
        framed.extend_from_slice(chunk);
        framed.extend_from_slice(b"\r\n");
    }
    let signature = "f".repeat(64);
    framed.extend_from_slice(format!("0;chunk-signature={signature}\r\n").as_bytes());
    if signing == Signing::SignedTrailer {
        let lines = format!("x-amz-checksum-crc32:AAAAAA==\r\nx-amz-trailer-signature:{signature}\r\n");
        framed.extend_from_slice(lines.as_bytes());
    }
    framed.extend_from_slice(b"\r\n");
    framed
}

/// What comes out and what is kept of the trailer; nothing where the framing is refused.
fn passed(signing: Signing, body: &[u8], piece_bytes: usize) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut frames = Frames::new(signing);
    let mut out = VecDeque::new();
    for piece in body.chunks(piece_bytes) {
        frames.push(Bytes::copy_from_slice(piece), &mut out).ok()?;
    }
    let trailer = frames.end(&mut out).ok()?;
    Some((out.iter().flatten().copied().collect(), trailer))
}
