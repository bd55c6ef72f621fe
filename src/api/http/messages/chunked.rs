//! The decoder of the `aws-chunked` framing of request bodies. It verifies the signature of each chunk, passes on the
//! content, and keeps the fields of the trailer. The last bytes of a signed chunk are passed on only after the chunk's
//! signature was verified.

use crate::api::errors::FramingFault;
use crate::sigv4::ChunkVerifier;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest, Sha256};
use std::collections::VecDeque;

/// The least size that S3 requires of every signed chunk but the last.
pub const SIGNED_CHUNK_BYTES_MIN: u64 = 8192;
const SIGNATURE: &str = "chunk-signature";
const SIGNATURE_BYTES: usize = 64;
const TRAILER_SIGNATURE: &str = "x-amz-trailer-signature";
/// The bound of a chunk's head line, which has the size in hexadecimal digits and a signature.
const HEAD_BYTES_MAX: usize = 1024;
/// The bound of the trailer after the last chunk.
const TRAILER_BYTES_MAX: usize = 4096;
const LINE_END: &[u8] = b"\r\n";

/// The signing of a framed body.
#[derive(Debug)]
pub enum ChunkSigning {
    Unsigned,
    Signed {
        verifier: ChunkVerifier,
        /// True if a signed trailer is required.
        has_trailer: bool,
    },
}

/// The incremental decoder: takes framed bytes in any pieces, and returns the content.
#[derive(Debug)]
pub struct ChunkDecoder {
    signing: ChunkSigning,
    state: State,
    /// The number of chunks whose heads were read, and the declared size of the last one.
    chunks: u64,
    last_bytes: u64,
}

#[derive(Debug)]
enum State {
    /// Within the head line of a chunk: its bytes so far.
    Head(Vec<u8>),
    Data {
        left: u64,
        signed: Option<SignedChunk>,
    },
    /// Within the line end after a chunk's data: how many of its bytes were read.
    End {
        seen: usize,
    },
    /// Within the trailer after the empty last chunk: complete lines up to an empty one. Bytes after it are ignored.
    Trailer {
        lines: Vec<u8>,
        ended: bool,
    },
}

/// The stated signature of a chunk, and the hash of its data so far.
#[derive(Debug)]
struct SignedChunk {
    signature: String,
    hasher: Sha256,
}

impl ChunkDecoder {
    pub fn new(signing: ChunkSigning) -> Self {
        Self { signing, state: State::Head(Vec::new()), chunks: 0, last_bytes: 0 }
    }

    /// Decodes a piece of the body, and appends the content in it to `content`.
    pub fn push(&mut self, mut input: Bytes, content: &mut VecDeque<Bytes>) -> Result<(), FramingFault> {
        while !input.is_empty() {
            match &mut self.state {
                State::Head(line) => {
                    let end = input.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
                    let taken = input.split_to(end.unwrap_or(input.len()));
                    if line.len() + taken.len() > HEAD_BYTES_MAX {
                        return Err(FramingFault::Malformed);
                    }
                    line.extend_from_slice(&taken);
                    if end.is_some() {
                        let line = std::mem::take(line);
                        self.begin(&line)?;
                    }
                }
                State::Data { left, signed } => {
                    let length = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                    let data = input.split_to(length);
                    *left -= length as u64;
                    if let Some(signed) = signed {
                        signed.hasher.update(&data);
                    }
                    if *left == 0 {
                        let signed = signed.take();
                        self.state = State::End { seen: 0 };
                        self.verify(signed)?;
                    }
                    content.push_back(data);
                }
                State::End { seen } => {
                    let length = (LINE_END.len() - *seen).min(input.len());
                    let part = input.split_to(length);
                    if part != LINE_END[*seen..*seen + length] {
                        return Err(FramingFault::Malformed);
                    }
                    *seen += length;
                    if *seen == LINE_END.len() {
                        self.state = State::Head(Vec::new());
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
                        return Err(FramingFault::Malformed);
                    }
                }
            }
        }
        Ok(())
    }

    /// Ends the body; verifies the trailer's signature, if the body is signed, and returns the fields of the trailer.
    pub fn end(&mut self) -> Result<HeaderMap, FramingFault> {
        let State::Trailer { lines, ended } = &mut self.state else { return Err(FramingFault::Unfinished) };
        if !*ended && !lines.is_empty() && !lines.ends_with(LINE_END) {
            return Err(FramingFault::Unfinished);
        }
        let mut fields = fields(lines);
        let ChunkSigning::Signed { verifier, has_trailer } = &mut self.signing else { return Ok(fields) };
        let signature = fields.remove(TRAILER_SIGNATURE);
        // A signature over no fields counts only if an empty line follows it; otherwise fields may be missing.
        let Some(signature) = signature.filter(|_| !fields.is_empty() || *ended) else {
            let is_absent = !*has_trailer && fields.is_empty();
            return if is_absent { Ok(fields) } else { Err(FramingFault::Unfinished) };
        };
        let signature = signature.to_str().unwrap_or_default();
        let hash = hexadecimal(Sha256::new().chain_update(canonical(&fields)));
        if !verifier.verify_trailer(&hash, signature) {
            return Err(FramingFault::SignatureDiffers);
        }
        Ok(fields)
    }

    fn begin(&mut self, line: &[u8]) -> Result<(), FramingFault> {
        let size = chunk_size(line).ok_or(FramingFault::Malformed)?;
        let is_signed = matches!(self.signing, ChunkSigning::Signed { .. });
        self.chunks += 1;
        if is_signed && size > 0 && self.chunks > 1 && self.last_bytes < SIGNED_CHUNK_BYTES_MIN {
            return Err(FramingFault::TooSmall { next: self.chunks, size: self.last_bytes });
        }
        self.last_bytes = size;
        let signed = if is_signed {
            Some(SignedChunk { signature: chunk_signature(line)?.to_owned(), hasher: Sha256::new() })
        } else {
            None
        };
        self.state = match size {
            0 => {
                self.verify(signed)?;
                State::Trailer { lines: Vec::new(), ended: false }
            }
            left => State::Data { left, signed },
        };
        Ok(())
    }

    /// Verifies the signature of a chunk whose data is complete.
    fn verify(&mut self, signed: Option<SignedChunk>) -> Result<(), FramingFault> {
        match (&mut self.signing, signed) {
            (ChunkSigning::Signed { verifier, .. }, Some(SignedChunk { signature, hasher })) => {
                let is_right = verifier.verify_chunk(&hexadecimal(hasher), &signature);
                if is_right { Ok(()) } else { Err(FramingFault::SignatureDiffers) }
            }
            (ChunkSigning::Signed { .. }, None) => Err(FramingFault::SignatureDiffers),
            (ChunkSigning::Unsigned, _) => Ok(()),
        }
    }
}

fn hexadecimal(hasher: Sha256) -> String {
    hex_simd::encode_to_string(hasher.finalize(), hex_simd::AsciiCase::Lower)
}

/// Parses lines of `name:value`. A malformed line is skipped: a signature over it does not match then, and an announced
/// field counts as missing.
fn fields(lines: &[u8]) -> HeaderMap {
    let field = |line: &[u8]| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(line[..colon].trim_ascii()).ok()?;
        Some((name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?))
    };
    let mut fields = HeaderMap::new();
    for (name, value) in lines.split(|byte| *byte == b'\n').filter_map(field) {
        fields.append(name, value);
    }
    fields
}

/// Returns the text that the trailer's signature covers: a line for each field, sorted by name.
fn canonical(fields: &HeaderMap) -> Vec<u8> {
    let mut fields: Vec<(&str, &[u8])> = fields.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    fields.sort_by_key(|(name, _)| *name);
    fields.iter().flat_map(|(name, value)| [name.as_bytes(), b":", value, b"\n"].concat()).collect()
}

/// Returns the length of the trailer's lines before the empty line; `None` if there is no empty line yet.
fn trailer_end(lines: &[u8]) -> Option<usize> {
    if lines.starts_with(LINE_END) {
        return Some(0);
    }
    lines.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + LINE_END.len())
}

/// Returns the signature in a signed chunk's head. It must be the only extension; spaces around its name and value are
/// ignored.
fn chunk_signature(line: &[u8]) -> Result<&str, FramingFault> {
    let line = std::str::from_utf8(line).map_err(|_| FramingFault::Malformed)?;
    let (_, extensions) = line.split_once(';').ok_or(FramingFault::Malformed)?;
    let (first, more) = extensions.split_once(';').map_or((extensions, false), |(first, _)| (first, true));
    let (name, value) = first.split_once('=').ok_or(FramingFault::Malformed)?;
    let (is_signature, value) = (name.trim() == SIGNATURE, value.trim());
    if is_signature && (more || value.is_empty()) {
        return Err(FramingFault::Malformed);
    }
    let well_formed = value.len() == SIGNATURE_BYTES && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_signature && well_formed { Ok(value) } else { Err(FramingFault::SignatureDiffers) }
}

/// Returns the size in a head line `size[;extension]CRLF`, of at most 16 hexadecimal digits.
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
    use super::{ChunkDecoder, ChunkSigning, SIGNED_CHUNK_BYTES_MIN};
    use crate::api::errors::FramingFault;
    use crate::api::http::messages::fuzzing::{signed_body, verifier};
    use bytes::Bytes;
    use proptest::prelude::{ProptestConfig, any, proptest};
    use std::collections::VecDeque;

    fn signed(has_trailer: bool) -> ChunkSigning {
        ChunkSigning::Signed { verifier: verifier(), has_trailer }
    }

    /// Decodes these pieces; returns the content and the lines of the trailer.
    fn decode<'a>(
        signing: ChunkSigning,
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<(Vec<u8>, Vec<String>), FramingFault> {
        let mut decoder = ChunkDecoder::new(signing);
        let mut content = VecDeque::new();
        for piece in pieces {
            decoder.push(Bytes::copy_from_slice(piece), &mut content)?;
        }
        let fields = decoder.end()?;
        let line = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            format!("{name}:{}", String::from_utf8_lossy(value.as_bytes()))
        };
        Ok((content.into_iter().flatten().collect(), fields.iter().map(line).collect()))
    }

    fn unsigned(framed: &[u8]) -> Result<(Vec<u8>, Vec<String>), FramingFault> {
        decode(ChunkSigning::Unsigned, [framed])
    }

    #[test]
    fn the_content_of_an_unsigned_framing_is_passed_on_as_it_arrives() {
        let mut decoder = ChunkDecoder::new(ChunkSigning::Unsigned);
        let mut content = VecDeque::new();
        for piece in [&b"a\r\n01"[..], b"234", b"56789\r", b"\n"] {
            decoder.push(Bytes::copy_from_slice(piece), &mut content).expect("a framing");
        }
        assert_eq!(content, ["01", "234", "56789"]);
        let framed = b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32: NhCmhg==\r\nno line\r\n\r\n";
        assert_eq!(unsigned(framed), Ok((b"hello".to_vec(), vec!["x-amz-checksum-crc32:NhCmhg==".to_owned()])));
    }

    #[test]
    fn a_signed_chunk_is_verified_before_its_last_bytes_are_passed_on() {
        let framed = signed_body(b"hello", SIGNED_CHUNK_BYTES_MIN, false);
        assert_eq!(decode(signed(false), [&framed[..]]), Ok((b"hello".to_vec(), vec![])));
        let at = framed.windows(5).position(|window| window == b"hello").expect("the content");
        for changed in at..at + 5 {
            let mut other = framed.clone();
            other[changed] ^= 1;
            let mut decoder = ChunkDecoder::new(signed(false));
            let mut content = VecDeque::new();
            let pushed = other.chunks(1).try_for_each(|byte| decoder.push(Bytes::copy_from_slice(byte), &mut content));
            assert_eq!(pushed, Err(FramingFault::SignatureDiffers));
            assert_eq!(content.iter().map(Bytes::len).sum::<usize>(), 4);
        }
    }

    #[test]
    fn swapped_missing_and_forged_chunks_are_refused() {
        let chunk = usize::try_from(SIGNED_CHUNK_BYTES_MIN).expect("a size");
        let content: Vec<u8> = (0..3 * chunk).map(|at| (at / chunk) as u8).collect();
        let framed = signed_body(&content, SIGNED_CHUNK_BYTES_MIN, false);
        assert_eq!(decode(signed(false), [&framed[..]]).map(|decoded| decoded.0), Ok(content));
        // The size of a whole chunk: its head line, its data and the line end.
        let whole = (framed.len() - 86) / 3;
        let swapped = [&framed[whole..2 * whole], &framed[..whole], &framed[2 * whole..]].concat();
        assert_eq!(decode(signed(false), [&swapped[..]]), Err(FramingFault::SignatureDiffers));
        let left_out = [&framed[..whole], &framed[2 * whole..]].concat();
        assert_eq!(decode(signed(false), [&left_out[..]]), Err(FramingFault::SignatureDiffers));
        assert_eq!(decode(signed(false), [&framed[..3 * whole]]), Err(FramingFault::Unfinished));
        let last = framed.len() - 10;
        let mut forged = framed.clone();
        forged[last] = if forged[last] == b'0' { b'1' } else { b'0' };
        assert_eq!(decode(signed(false), [&forged[..]]), Err(FramingFault::SignatureDiffers));
    }

    #[test]
    fn a_malformed_chunk_signature_is_refused() {
        let framed = |extension: &str| format!("5{extension}\r\nhello\r\n0{extension}\r\n\r\n");
        let plain = format!(";chunk-signature={}", "0a".repeat(32));
        for (extension, fault) in [
            (String::new(), FramingFault::Malformed),
            (";chunk-signature=".to_owned(), FramingFault::Malformed),
            (format!("{plain};a=b"), FramingFault::Malformed),
            (format!(";a=b{plain}"), FramingFault::SignatureDiffers),
            (";chunk-signature=invalid".to_owned(), FramingFault::SignatureDiffers),
            (plain, FramingFault::SignatureDiffers),
        ] {
            assert_eq!(decode(signed(false), [framed(&extension).as_bytes()]), Err(fault), "{extension}");
        }
        let framed = String::from_utf8(signed_body(b"hello", SIGNED_CHUNK_BYTES_MIN, false)).expect("text");
        for spaced in [" ; chunk-signature=", ";chunk-signature = "] {
            let framed = framed.replace(";chunk-signature=", spaced);
            assert!(decode(signed(false), [framed.as_bytes()]).is_ok(), "{spaced}");
        }
    }

    #[test]
    fn only_the_last_signed_chunk_may_be_below_the_minimum_size() {
        let framed = signed_body(b"twice", 3, false);
        assert_eq!(decode(signed(false), [&framed[..]]), Err(FramingFault::TooSmall { next: 2, size: 3 }));
        assert!(unsigned(b"1\r\na\r\n1\r\nb\r\n0\r\n").is_ok());
    }

    #[test]
    fn a_trailer_has_complete_lines_and_ends_at_an_empty_one() {
        for (trailer, kept) in [
            ("", &[][..]),
            ("\r\n", &[]),
            ("a:b\r\n", &["a:b"]),
            ("a:b\r\n\r\n", &["a:b"]),
            ("a:b\r\n\r\nc:d", &["a:b"]),
            ("\r\na:b\r\n", &[]),
            ("a:b\n\r\nc:d\r\n\r\n", &["a:b", "c:d"]),
        ] {
            let (content, lines) = unsigned(format!("0\r\n{trailer}").as_bytes()).expect("a framing");
            assert_eq!((content, lines), (vec![], kept.iter().map(|line| (*line).to_owned()).collect()), "{trailer:?}");
        }
        for trailer in ["\r", "a:b", "a:b\r", "a:b\n"] {
            let framed = format!("0\r\n{trailer}");
            assert_eq!(unsigned(framed.as_bytes()), Err(FramingFault::Unfinished), "{trailer:?}");
        }
        assert_eq!(unsigned(b"5\r\nhello\r\n"), Err(FramingFault::Unfinished));
        let endless = [b"0\r\n".as_slice(), &[b't'; 5000]].concat();
        assert_eq!(unsigned(&endless), Err(FramingFault::Malformed));
    }

    #[test]
    fn a_signed_trailer_is_verified() {
        let framed = signed_body(b"hello", SIGNED_CHUNK_BYTES_MIN, true);
        let lines = vec!["x-amz-checksum-crc32:AAAAAA==".to_owned()];
        for has_trailer in [true, false] {
            assert_eq!(decode(signed(has_trailer), [&framed[..]]), Ok((b"hello".to_vec(), lines.clone())));
        }
        let text = String::from_utf8(framed).expect("text");
        for (from, to, fault) in [
            ("AAAAAA==", "AAAAAB==", FramingFault::SignatureDiffers),
            ("x-amz-trailer-signature", "a:b\r\nx-amz-trailer-signature", FramingFault::SignatureDiffers),
            ("x-amz-checksum-crc32:AAAAAA==\r\n", "", FramingFault::SignatureDiffers),
            ("x-amz-trailer-signature", "x-amz-other", FramingFault::Unfinished),
        ] {
            let other = text.replace(from, to);
            for has_trailer in [true, false] {
                assert_eq!(decode(signed(has_trailer), [other.as_bytes()]), Err(fault), "{from}");
            }
        }
        let bare = signed_body(b"hello", SIGNED_CHUNK_BYTES_MIN, false);
        assert_eq!(decode(signed(true), [&bare[..]]), Err(FramingFault::Unfinished));
    }

    #[test]
    fn f4_a_signed_chunk_of_any_size_is_not_buffered() {
        let head = format!("ffffffffff;chunk-signature={}\r\n", "0".repeat(64));
        let mut decoder = ChunkDecoder::new(signed(false));
        let mut content = VecDeque::new();
        decoder.push(Bytes::from(head), &mut content).expect("a head");
        decoder.push(Bytes::from_static(b"data"), &mut content).expect("data");
        assert_eq!(content, ["data"]);
    }

    #[test]
    fn a_malformed_chunk_is_refused() {
        for framed in
            [&b"xyz\r\n"[..], b"\r\n", b"5\n", b"5\r\nhelloXX", b"-5\r\n", b"11111111111111111\r\n", &[b'1'; 2000]]
        {
            assert_eq!(unsigned(framed), Err(FramingFault::Malformed), "{framed:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn the_content_does_not_depend_on_how_the_bytes_are_split(
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
            let decoded = decode(ChunkSigning::Unsigned, framed.chunks(cut));
            assert_eq!(decoded, Ok((chunks.concat(), vec!["x-amz-checksum-sha1:abc".to_owned()])));
        }

        #[test]
        fn signed_chunks_are_verified_however_the_bytes_are_split(
            data in proptest::collection::vec(any::<u8>(), 0..20_000),
            more in 0u64..64,
            cut in 1usize..200,
        ) {
            for has_trailer in [true, false] {
                let framed = signed_body(&data, SIGNED_CHUNK_BYTES_MIN + more, has_trailer);
                let decoded = decode(signed(has_trailer), framed.chunks(cut));
                assert_eq!(decoded.map(|decoded| decoded.0).as_ref(), Ok(&data));
            }
        }
    }
}
