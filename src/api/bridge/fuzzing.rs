//! Framed bodies, whole and in pieces: what comes out is the same.

use super::frames::{Frames, Signing};
use bytes::Bytes;
use std::collections::VecDeque;

/// The first byte says how large the pieces are.
pub fn chunks(data: &[u8]) {
    let Some((&size, body)) = data.split_first() else { return };
    for signing in [Signing::Signed, Signing::Anonymous] {
        let whole = passed(signing, body, body.len().max(1));
        let pieces = passed(signing, body, usize::from(size).max(1));
        assert_eq!(whole, pieces, "{signing:?}");
    }
    // Of these each piece becomes a chunk of its own.
    let whole = passed(Signing::Unsigned, body, body.len().max(1));
    let pieces = passed(Signing::Unsigned, body, usize::from(size).max(1));
    assert_eq!(whole.is_none(), pieces.is_none());
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
