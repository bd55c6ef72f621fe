//! The framing of `aws-chunked` bodies, before s3s takes it apart. s3s holds a chunk whole before it passes any of it on. A
//! signed chunk cannot be passed on earlier, so its size is bounded here; an unsigned one, which some clients make as large
//! as the whole object, is cut into chunks as its bytes come. Of a request that nobody signed s3s leaves the framing in the
//! content, so it is taken apart here.

use crate::limits::SIGNED_CHUNK_BYTES_MAX;
use bytes::Bytes;
use std::collections::VecDeque;

/// S3: what all signed chunks but the last have at least.
pub const SIGNED_CHUNK_BYTES_MIN: u64 = 8192;
const SIGNATURE: &str = "chunk-signature";
const SIGNATURE_BYTES: usize = 64;
const TRAILER_SIGNATURE: &[u8] = b"x-amz-trailer-signature";
/// A chunk's head: its size in hexadecimal digits, and a signature.
const HEAD_BYTES_MAX: usize = 1024;
/// What follows the last chunk.
const TRAILER_BYTES_MAX: usize = 4096;
const LINE_END: &[u8] = b"\r\n";

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameFault {
    #[error("ChunkMalformed: a chunk of the body does not begin or end as it should")]
    Malformed,
    #[error("ChunkTooLarge: a signed chunk of {0} bytes exceeds the limit")]
    TooLarge(u64),
    /// `next` is the number of the one that shows that it is not the last.
    #[error("ChunkTooSmall: a signed chunk of {size} bytes is not the last")]
    TooSmall { next: u64, size: u64 },
    #[error("SignatureMismatch: what a chunk has for a signature is none")]
    SignatureDiffers,
    #[error("the body ended before its last chunk")]
    Unfinished,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signing {
    Signed,
    /// And what follows the chunks, too.
    SignedTrailer,
    Unsigned,
    /// Neither the chunks nor the request: only the content is passed on.
    Anonymous,
}

/// Bytes of framing in, bytes of equivalent framing out, or none of it.
#[derive(Debug)]
pub struct Frames {
    signing: Signing,
    state: State,
    /// Chunks so far, and the size of the last of them.
    chunks: u64,
    last_bytes: u64,
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
    /// After the empty chunk that is the last: whole lines, up to an empty one. Whatever follows that means nothing.
    Trailer {
        lines: Vec<u8>,
        ended: bool,
    },
}

impl Frames {
    pub fn new(signing: Signing) -> Self {
        Self { signing, state: State::Head(Vec::new()), chunks: 0, last_bytes: 0 }
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
                        Signing::Signed | Signing::SignedTrailer | Signing::Anonymous => out.push_back(data),
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
                    if self.is_signed() {
                        out.push_back(part);
                    }
                }
                State::Trailer { ended: true, .. } => return Ok(()),
                State::Trailer { lines, ended } => {
                    let room = (TRAILER_BYTES_MAX + 1).saturating_sub(lines.len());
                    lines.extend_from_slice(&input.split_to(room.min(input.len())));
                    if let Some(end) = trailer_end(lines) {
                        lines.truncate(end);
                        *ended = true;
                    } else if lines.len() > TRAILER_BYTES_MAX {
                        return Err(FrameFault::Malformed);
                    }
                }
            }
        }
        Ok(())
    }

    /// At the end of the bytes: the lines of the trailer, where they are not passed on.
    pub fn end(&mut self, out: &mut VecDeque<Bytes>) -> Result<Vec<u8>, FrameFault> {
        let State::Trailer { lines, ended } = &mut self.state else { return Err(FrameFault::Unfinished) };
        let signed = lines.split(|byte| *byte == b'\n').position(is_signature);
        let is_whole = *ended || lines.is_empty() || lines.ends_with(LINE_END);
        // A signature of no lines is told from one whose lines are missing by the empty line after it.
        let has_signature = signed.is_some_and(|at| at > 0 || *ended);
        if !is_whole || (self.signing == Signing::SignedTrailer && !has_signature) {
            return Err(FrameFault::Unfinished);
        }
        let mut lines = std::mem::take(lines);
        if self.signing == Signing::Anonymous {
            return Ok(lines);
        }
        lines.extend_from_slice(LINE_END);
        out.push_back(Bytes::from(lines));
        Ok(Vec::new())
    }

    fn is_signed(&self) -> bool {
        matches!(self.signing, Signing::Signed | Signing::SignedTrailer)
    }

    fn begin(&mut self, line: Bytes, out: &mut VecDeque<Bytes>) -> Result<(), FrameFault> {
        let size = chunk_size(&line).ok_or(FrameFault::Malformed)?;
        if self.is_signed() && size > SIGNED_CHUNK_BYTES_MAX as u64 {
            return Err(FrameFault::TooLarge(size));
        }
        self.chunks += 1;
        if self.is_signed() && size > 0 && self.chunks > 1 && self.last_bytes < SIGNED_CHUNK_BYTES_MIN {
            return Err(FrameFault::TooSmall { next: self.chunks, size: self.last_bytes });
        }
        self.last_bytes = size;
        self.state = match size {
            0 => State::Trailer { lines: Vec::new(), ended: false },
            left => State::Data { left },
        };
        match self.signing {
            Signing::Signed | Signing::SignedTrailer => {
                let signature = chunk_signature(&line)?;
                out.push_back(Bytes::from(format!("{size:x};{SIGNATURE}={signature}\r\n")));
            }
            Signing::Unsigned if size == 0 => out.push_back(Bytes::from_static(b"0\r\n")),
            Signing::Unsigned | Signing::Anonymous => {}
        }
        Ok(())
    }
}

/// Where the lines end that come before an empty one.
fn trailer_end(lines: &[u8]) -> Option<usize> {
    if lines.starts_with(LINE_END) {
        return Some(0);
    }
    lines.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + LINE_END.len())
}

fn is_signature(line: &[u8]) -> bool {
    let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
    name.trim_ascii().eq_ignore_ascii_case(TRAILER_SIGNATURE)
}

/// The one extension that a signed chunk's head has: spaces do not count, anything after it does.
fn chunk_signature(line: &[u8]) -> Result<&str, FrameFault> {
    let line = std::str::from_utf8(line).map_err(|_| FrameFault::Malformed)?;
    let (_, extensions) = line.split_once(';').ok_or(FrameFault::Malformed)?;
    let (first, more) = extensions.split_once(';').map_or((extensions, false), |(first, _)| (first, true));
    let (name, value) = first.split_once('=').ok_or(FrameFault::Malformed)?;
    let (is_signature, value) = (name.trim() == SIGNATURE, value.trim());
    if is_signature && (more || value.is_empty()) {
        return Err(FrameFault::Malformed);
    }
    let well_formed = value.len() == SIGNATURE_BYTES && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_signature && well_formed { Ok(value) } else { Err(FrameFault::SignatureDiffers) }
}

/// `size[;extension]CRLF`, the size in at most 16 hexadecimal digits.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let line = line.strip_suffix(LINE_END)?;
    let digits = line.split(|byte| *byte == b';').next()?.trim_ascii();
    if digits.is_empty() || digits.len() > 16 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::{FrameFault, Frames, SIGNED_CHUNK_BYTES_MIN, Signing};
    use crate::api::bridge::fuzzing::signed_body;
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

    /// To the end of the bytes.
    fn whole(signing: Signing, framed: &[u8]) -> Result<Vec<u8>, FrameFault> {
        let mut frames = Frames::new(signing);
        let mut out = VecDeque::new();
        frames.push(Bytes::copy_from_slice(framed), &mut out)?;
        let kept = frames.end(&mut out)?;
        Ok(out.into_iter().flatten().chain(kept).collect())
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
        let out = pass(Signing::Unsigned, &[b"a\r\n01", b"234", b"56789\r", b"\n"]).expect("frames");
        assert_eq!(out, b"2\r\n01\r\n3\r\n234\r\n5\r\n56789\r\n");
        let out = whole(Signing::Unsigned, &[&b"5\r\nhello\r\n"[..], &trailer[..]].concat()).expect("frames");
        assert_eq!(content(&out), (b"hello".to_vec(), trailer[3..].to_vec()));
    }

    /// Two chunks, the last empty, with what stands for their signatures.
    fn signed(extension: &str, trailer: &str) -> Vec<u8> {
        format!("5{extension}\r\nhello\r\n0{extension}\r\n{trailer}").into_bytes()
    }

    #[test]
    fn a_signed_body_is_passed_on_with_its_signatures() {
        let digits = "0a".repeat(32);
        let plain = format!(";chunk-signature={digits}");
        let expected = signed(&plain, "\r\n");
        for extension in [&plain, &format!(" ; chunk-signature={digits}"), &format!(";chunk-signature = {digits} ")] {
            assert_eq!(whole(Signing::Signed, &signed(extension, "\r\n")), Ok(expected.clone()), "{extension}");
        }
        for (extension, fault) in [
            (String::new(), FrameFault::Malformed),
            (";chunk-signature=".to_owned(), FrameFault::Malformed),
            (format!("{plain};a=b"), FrameFault::Malformed),
            (format!(";a=b{plain}"), FrameFault::SignatureDiffers),
            (";chunk-signature=invalid".to_owned(), FrameFault::SignatureDiffers),
        ] {
            assert_eq!(whole(Signing::Signed, &signed(&extension, "\r\n")), Err(fault), "{extension}");
        }
    }

    #[test]
    fn only_the_last_signed_chunk_may_be_small() {
        let extension = format!(";chunk-signature={}", "0".repeat(64));
        let twice = format!("5{extension}\r\nhello\r\n5{extension}\r\n").into_bytes();
        assert_eq!(pass(Signing::Signed, &[&twice]), Err(FrameFault::TooSmall { next: 2, size: 5 }));
        assert!(pass(Signing::Unsigned, &[b"1\r\na\r\n1\r\nb\r\n"]).is_ok());
    }

    #[test]
    fn a_trailer_is_whole_lines_up_to_an_empty_one() {
        for (trailer, kept) in [
            ("", ""),
            ("\r\n", ""),
            ("a:b\r\n", "a:b\r\n"),
            ("a:b\r\n\r\n", "a:b\r\n"),
            ("a:b\r\n\r\nc:d", "a:b\r\n"),
            ("\r\na:b\r\n", ""),
            ("a:b\n\r\nc:d\r\n\r\n", "a:b\n\r\nc:d\r\n"),
        ] {
            let framed = format!("0\r\n{trailer}");
            let passed = format!("0\r\n{kept}\r\n").into_bytes();
            assert_eq!(whole(Signing::Unsigned, framed.as_bytes()), Ok(passed), "{trailer:?}");
            assert_eq!(whole(Signing::Anonymous, framed.as_bytes()), Ok(kept.as_bytes().to_vec()), "{trailer:?}");
        }
        for trailer in ["\r", "a:b", "a:b\r", "a:b\n"] {
            let framed = format!("0\r\n{trailer}");
            assert_eq!(whole(Signing::Unsigned, framed.as_bytes()), Err(FrameFault::Unfinished), "{trailer:?}");
        }
        assert_eq!(whole(Signing::Unsigned, b"5\r\nhello\r\n"), Err(FrameFault::Unfinished));
    }

    #[test]
    fn a_signed_trailer_has_its_signature() {
        let extension = format!(";chunk-signature={}", "0".repeat(64));
        let ends = |trailer: &str| whole(Signing::SignedTrailer, &signed(&extension, trailer)).map(|_| ());
        assert_eq!(ends("a:b\r\nx-amz-trailer-signature:s\r\n"), Ok(()));
        assert_eq!(ends("x-amz-trailer-signature:s\r\n\r\n"), Ok(()));
        for trailer in ["", "\r\n", "a:b\r\n", "a:b\r\n\r\n", "x-amz-trailer-signature:s\r\n"] {
            assert_eq!(ends(trailer), Err(FrameFault::Unfinished), "{trailer:?}");
        }
    }

    #[test]
    fn of_what_nobody_signed_only_the_content_is_passed_on() {
        let mut frames = Frames::new(Signing::Anonymous);
        let mut out = VecDeque::new();
        for piece in [&b"5\r\nhe"[..], b"llo\r\n"] {
            frames.push(Bytes::copy_from_slice(piece), &mut out).expect("frames");
            assert_eq!(frames.end(&mut out), Err(FrameFault::Unfinished));
        }
        for piece in [&b"0\r\n"[..], b"x-amz-checksum-crc32:", b"NhCmhg==\r\n\r\n"] {
            frames.push(Bytes::copy_from_slice(piece), &mut out).expect("frames");
        }
        assert_eq!(frames.end(&mut out), Ok(b"x-amz-checksum-crc32:NhCmhg==\r\n".to_vec()));
        assert_eq!(out.into_iter().flatten().collect::<Vec<u8>>(), b"hello");
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
            let mut frames = Frames::new(Signing::Unsigned);
            let mut out = VecDeque::new();
            for piece in &pieces {
                frames.push(Bytes::copy_from_slice(piece), &mut out).expect("frames");
            }
            frames.end(&mut out).expect("an end");
            let out: Vec<u8> = out.into_iter().flatten().collect();
            let (content, trailer) = content(&out);
            assert_eq!(content, chunks.concat());
            assert_eq!(trailer, b"x-amz-checksum-sha1:abc\r\n\r\n".to_vec());
            assert_eq!(pass(Signing::Anonymous, &pieces).expect("frames"), chunks.concat());
        }

        #[test]
        fn however_the_bytes_come_what_is_signed_is_passed_on_as_it_is(
            data in proptest::collection::vec(any::<u8>(), 0..20_000),
            more in 0u64..64,
            cut in 1usize..200,
        ) {
            for signing in [Signing::Signed, Signing::SignedTrailer] {
                let framed = signed_body(signing, &data, SIGNED_CHUNK_BYTES_MIN + more);
                assert_eq!(whole(signing, &framed).as_ref(), Ok(&framed));
                let mut frames = Frames::new(signing);
                let mut out = VecDeque::new();
                for piece in framed.chunks(cut) {
                    frames.push(Bytes::copy_from_slice(piece), &mut out).expect("frames");
                }
                assert_eq!(frames.end(&mut out), Ok(Vec::new()));
                assert_eq!(out.into_iter().flatten().collect::<Vec<u8>>(), framed);
            }
        }
    }
}
