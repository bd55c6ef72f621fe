//! The framing of `aws-chunked` bodies, before s3s takes it apart. s3s holds a chunk whole before it passes any of it on. A
//! signed chunk cannot be passed on earlier, so its size is bounded here; an unsigned one, which some clients make as large
//! as the whole object, is cut into chunks as its bytes come. Of a request that nobody signed s3s leaves the framing in the
//! content, so it is taken apart here.

use crate::limits::SIGNED_CHUNK_BYTES_MAX;
use bytes::Bytes;
use std::collections::VecDeque;

/// A chunk's head: its size in hexadecimal digits, and a signature.
const HEAD_BYTES_MAX: usize = 1024;
/// What follows the last chunk, where it is kept.
const TRAILER_BYTES_MAX: usize = 4096;
const LINE_END: &[u8] = b"\r\n";

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameFault {
    #[error("ChunkMalformed: a chunk of the body does not begin or end as it should")]
    Malformed,
    #[error("ChunkTooLarge: a signed chunk of {0} bytes exceeds the limit")]
    TooLarge(u64),
    #[error("the body ended before its last chunk")]
    Unfinished,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signing {
    Signed,
    Unsigned,
    /// Neither the chunks nor the request: only the content is passed on.
    Anonymous,
}

/// Bytes of framing in, bytes of equivalent framing out, or none of it.
#[derive(Debug)]
pub struct Frames {
    signing: Signing,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The bytes so far of the line that a chunk begins with.
    Head(Vec<u8>),
    Data {
        left: u64,
    },
    /// How much of the line's end after a chunk has come.
    End {
        seen: usize,
    },
    /// After the empty chunk that is the last: passed on as it is, or kept.
    Trailer(Vec<u8>),
}

impl Frames {
    pub fn new(signing: Signing) -> Self {
        Self { signing, state: State::Head(Vec::new()) }
    }

    pub fn push(&mut self, mut input: Bytes, out: &mut VecDeque<Bytes>) -> Result<(), FrameFault> {
        while !input.is_empty() {
            match &mut self.state {
                State::Head(line) => {
                    let end = input.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
                    let taken = input.split_to(end.unwrap_or(input.len()));
                    if line.len() + taken.len() > HEAD_BYTES_MAX {
                        return Err(FrameFault::Malformed);
                    }
                    line.extend_from_slice(&taken);
                    if end.is_some() {
                        let line = Bytes::from(std::mem::take(line));
                        self.begin(line, out)?;
                    }
                }
                State::Data { left } => {
                    let length = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                    let data = input.split_to(length);
                    *left -= length as u64;
                    if *left == 0 {
                        self.state = State::End { seen: 0 };
                    }
                    match self.signing {
                        Signing::Signed | Signing::Anonymous => out.push_back(data),
                        Signing::Unsigned => {
                            out.push_back(Bytes::from(format!("{length:x}\r\n")));
                            out.push_back(data);
                            out.push_back(Bytes::from_static(LINE_END));
                        }
                    }
                }
                State::End { seen } => {
                    let length = (LINE_END.len() - *seen).min(input.len());
                    let part = input.split_to(length);
                    if part != LINE_END[*seen..*seen + length] {
                        return Err(FrameFault::Malformed);
                    }
                    *seen += length;
                    if *seen == LINE_END.len() {
                        self.state = State::Head(Vec::new());
                    }
                    if self.signing == Signing::Signed {
                        out.push_back(part);
                    }
                }
                State::Trailer(kept) if self.signing == Signing::Anonymous => {
                    if kept.len() + input.len() > TRAILER_BYTES_MAX {
                        return Err(FrameFault::Malformed);
                    }
                    kept.extend_from_slice(&std::mem::take(&mut input));
                }
                State::Trailer(_) => out.push_back(std::mem::take(&mut input)),
            }
        }
        Ok(())
    }

    /// At the end of the bytes: what was kept of the trailer. What was passed on is judged by s3s.
    pub fn end(&mut self) -> Result<Vec<u8>, FrameFault> {
        match &mut self.state {
            State::Trailer(kept) => Ok(std::mem::take(kept)),
            _ if self.signing == Signing::Anonymous => Err(FrameFault::Unfinished),
            _ => Ok(Vec::new()),
        }
    }

    fn begin(&mut self, line: Bytes, out: &mut VecDeque<Bytes>) -> Result<(), FrameFault> {
        let size = chunk_size(&line).ok_or(FrameFault::Malformed)?;
        if self.signing == Signing::Signed && size > SIGNED_CHUNK_BYTES_MAX as u64 {
            return Err(FrameFault::TooLarge(size));
        }
        self.state = if size == 0 { State::Trailer(Vec::new()) } else { State::Data { left: size } };
        match self.signing {
            Signing::Signed => out.push_back(line),
            Signing::Unsigned if size == 0 => out.push_back(line),
            Signing::Unsigned | Signing::Anonymous => {}
        }
        Ok(())
    }
}

/// `size[;extension]CRLF`, the size in at most 16 hexadecimal digits.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let line = line.strip_suffix(LINE_END)?;
    let digits = line.split(|byte| *byte == b';').next()?;
    if digits.is_empty() || digits.len() > 16 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::{FrameFault, Frames, Signing};
    use bytes::Bytes;
    use proptest::prelude::{ProptestConfig, any, proptest};
    use std::collections::VecDeque;

    fn pass(signing: Signing, pieces: &[&[u8]]) -> Result<Vec<u8>, FrameFault> {
        let mut frames = Frames::new(signing);
        let mut out = VecDeque::new();
        for piece in pieces {
            frames.push(Bytes::copy_from_slice(piece), &mut out)?;
        }
        Ok(out.into_iter().flatten().collect())
    }

    /// The content of a framing, by a decoder that knows nothing of the one under test.
    fn content(mut framed: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let mut content = Vec::new();
        loop {
            let line = framed.iter().position(|byte| *byte == b'\n').expect("a line") + 1;
            let digits = std::str::from_utf8(&framed[..line - 2]).expect("text");
            let size = usize::from_str_radix(digits, 16).expect("a size");
            framed = &framed[line..];
            if size == 0 {
                return (content, framed.to_vec());
            }
            content.extend_from_slice(&framed[..size]);
            assert_eq!(&framed[size..size + 2], b"\r\n");
            framed = &framed[size + 2..];
        }
    }

    #[test]
    fn an_unsigned_chunk_is_passed_on_as_it_comes() {
        let trailer = b"0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n";
        let out = pass(Signing::Unsigned, &[b"a\r\n01", b"234", b"56789\r", b"\n", trailer]).expect("frames");
        assert!(out.starts_with(b"2\r\n01\r\n3\r\n234\r\n5\r\n56789\r\n0\r\n"));
        assert_eq!(content(&out), (b"0123456789".to_vec(), trailer[3..].to_vec()));
    }

    #[test]
    fn a_signed_body_is_passed_on_unchanged() {
        let framed = b"5;chunk-signature=ab\r\nhello\r\n0;chunk-signature=cd\r\n\r\n";
        assert_eq!(pass(Signing::Signed, &[&framed[..9], &framed[9..]]).expect("frames"), framed.to_vec());
    }

    #[test]
    fn of_what_nobody_signed_only_the_content_is_passed_on() {
        let mut frames = Frames::new(Signing::Anonymous);
        let mut out = VecDeque::new();
        for piece in [&b"5\r\nhe"[..], b"llo\r\n"] {
            frames.push(Bytes::copy_from_slice(piece), &mut out).expect("frames");
            assert_eq!(frames.end(), Err(FrameFault::Unfinished));
        }
        for piece in [&b"0\r\n"[..], b"x-amz-checksum-crc32:", b"NhCmhg==\r\n\r\n"] {
            frames.push(Bytes::copy_from_slice(piece), &mut out).expect("frames");
        }
        assert_eq!(out.into_iter().flatten().collect::<Vec<u8>>(), b"hello");
        assert_eq!(frames.end(), Ok(b"x-amz-checksum-crc32:NhCmhg==\r\n\r\n".to_vec()));
        let endless = [b"0\r\n".as_slice(), &[b't'; 5000]].concat();
        assert_eq!(pass(Signing::Anonymous, &[&endless]), Err(FrameFault::Malformed));
    }

    #[test]
    fn f4_a_signed_chunk_that_would_fill_the_memory_is_refused_by_its_head() {
        assert_eq!(
            pass(Signing::Signed, &[b"ffffffff;chunk-signature=ab\r\n"]),
            Err(FrameFault::TooLarge(0xffff_ffff))
        );
        assert!(pass(Signing::Unsigned, &[b"ffffffff\r\nx"]).is_ok());
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        for framed in
            [&b"xyz\r\n"[..], b"\r\n", b"5\n", b"5\r\nhelloXX", b"-5\r\n", b"11111111111111111\r\n", &[b'1'; 2000]]
        {
            assert_eq!(pass(Signing::Unsigned, &[framed]), Err(FrameFault::Malformed), "{framed:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn however_the_bytes_come_the_content_is_the_same(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..200), 0..8),
            cut in 1usize..64,
        ) {
            let mut framed = Vec::new();
            for chunk in &chunks {
                framed.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                framed.extend_from_slice(chunk);
                framed.extend_from_slice(b"\r\n");
            }
            framed.extend_from_slice(b"0\r\nx-amz-checksum-sha1:abc\r\n\r\n");
            let pieces: Vec<&[u8]> = framed.chunks(cut).collect();
            let out = pass(Signing::Unsigned, &pieces).expect("frames");
            let (content, trailer) = content(&out);
            assert_eq!(content, chunks.concat());
            assert_eq!(trailer, b"x-amz-checksum-sha1:abc\r\n\r\n".to_vec());
            assert_eq!(pass(Signing::Signed, &pieces).expect("frames"), framed);
        }
    }
}
