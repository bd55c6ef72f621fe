//! An incremental parser of `multipart/form-data` (RFC 7578 over RFC 2046 section 5.1). It returns the heads of parts,
//! and their content in pieces. It holds at most one part's head, or as much content as may be the beginning of a
//! delimiter, and the bytes of the last push.

use crate::api::errors::FormFault;
use crate::api::text::parameters_of;
use bytes::{Bytes, BytesMut};

const PART_HEAD_BYTES_MAX: usize = 8 << 10;
/// The most bytes of white space after a delimiter, which RFC 2046 allows because mail gateways add it.
const PADDING_BYTES_MAX: usize = 64;
const LINE_END: &[u8] = b"\r\n";
const HEAD_END: &[u8] = b"\r\n\r\n";

/// An event of the parser. Events come in this order: a part, its content, the next part, the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Part(PartHead),
    /// A piece of the part's content; never empty.
    Content(Bytes),
    /// The closing delimiter, once. Later bytes are ignored.
    End,
}

/// The head of a part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartHead {
    pub name: String,
    pub file_name: Option<String>,
}

/// The parser: takes bytes with `push`, returns events with `next`.
pub struct Multipart {
    delimiter: Delimiter,
    buffer: BytesMut,
    state: State,
    consumed_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Preamble,
    /// After a delimiter: either the head of another part or the end of the form follows.
    Delimited,
    Head,
    Content,
    Ended,
}

impl Multipart {
    pub fn new(boundary: &str) -> Self {
        // A delimiter begins with a line end. The first one may be at the begin of the body, so a line end is put
        // before it.
        let buffer = BytesMut::from(LINE_END);
        Self { delimiter: Delimiter::new(boundary), buffer, state: State::Preamble, consumed_bytes: 0 }
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns the next event; `None` if more bytes are needed.
    pub fn next(&mut self) -> Result<Option<Event>, FormFault> {
        loop {
            match self.state {
                State::Preamble => match self.delimiter.find(&self.buffer) {
                    Some(at) => self.pass_delimiter(at),
                    None => {
                        let _ = self.take(self.buffer.len().saturating_sub(self.delimiter.len() - 1));
                        return Ok(None);
                    }
                },
                State::Delimited => match self.after_delimiter()? {
                    None => return Ok(None),
                    Some(State::Ended) => {
                        self.state = State::Ended;
                        return Ok(Some(Event::End));
                    }
                    Some(state) => self.state = state,
                },
                State::Head => {
                    let Some(head) = self.head()? else { return Ok(None) };
                    self.state = State::Content;
                    return Ok(Some(Event::Part(head)));
                }
                State::Content => match self.delimiter.find(&self.buffer) {
                    Some(0) => self.pass_delimiter(0),
                    Some(at) => return Ok(Some(Event::Content(self.take(at)))),
                    None => {
                        let certain = self.buffer.len().saturating_sub(self.delimiter.len() - 1);
                        return Ok((certain > 0).then(|| Event::Content(self.take(certain))));
                    }
                },
                State::Ended => {
                    self.buffer.clear();
                    return Ok(None);
                }
            }
        }
    }

    /// Returns the number of bytes consumed so far.
    pub fn consumed_bytes(&self) -> u64 {
        self.consumed_bytes
    }

    /// Returns the number of bytes that were pushed and not consumed yet.
    pub fn held_bytes(&self) -> u64 {
        self.buffer.len() as u64
    }

    fn take(&mut self, count: usize) -> Bytes {
        self.consumed_bytes += count as u64;
        self.buffer.split_to(count).freeze()
    }

    fn pass_delimiter(&mut self, at: usize) {
        let _ = self.take(at + self.delimiter.len());
        self.state = State::Delimited;
    }

    fn after_delimiter(&mut self) -> Result<Option<State>, FormFault> {
        if self.buffer.starts_with(b"--") {
            let _ = self.take(2);
            return Ok(Some(State::Ended));
        }
        let padding = self.buffer.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        let rest = &self.buffer[padding..];
        if padding <= PADDING_BYTES_MAX && rest.starts_with(LINE_END) {
            let _ = self.take(padding + LINE_END.len());
            return Ok(Some(State::Head));
        }
        let may_go_on = padding <= PADDING_BYTES_MAX && (rest.is_empty() || rest == b"\r" || self.buffer[..] == *b"-");
        if may_go_on { Ok(None) } else { Err(FormFault::Malformed) }
    }

    fn head(&mut self) -> Result<Option<PartHead>, FormFault> {
        if self.buffer.starts_with(LINE_END) {
            // A part without any header has no name.
            return Err(FormFault::Malformed);
        }
        let end = self.buffer.windows(HEAD_END.len()).position(|window| window == HEAD_END);
        match end {
            Some(at) if at <= PART_HEAD_BYTES_MAX => {
                let head = self.take(at + HEAD_END.len());
                let text = std::str::from_utf8(&head[..at]).map_err(|_| FormFault::Malformed)?;
                part_head(text).map(Some).ok_or(FormFault::Malformed)
            }
            None if self.buffer.len() < PART_HEAD_BYTES_MAX + HEAD_END.len() => Ok(None),
            _ => Err(FormFault::Malformed),
        }
    }
}

/// Parses a part's head. Only `Content-Disposition` is used; all other headers are ignored (RFC 7578 section 4.8).
fn part_head(text: &str) -> Option<PartHead> {
    let disposition = text.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-disposition").then_some(value)
    })?;
    let (kind, parameters) = disposition.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("form-data") {
        return None;
    }
    let parameters = parameters_of(parameters);
    let value = |wanted: &str| {
        let mut found = parameters.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.next().map(|(_, value)| value.clone())
    };
    Some(PartHead { name: value("name")?, file_name: value("filename") })
}

/// The delimiter of parts (a line end, two hyphens and the boundary), and its search by Horspool's algorithm.
struct Delimiter {
    bytes: Vec<u8>,
    /// The distance by which the search moves on, indexed by the last byte of the current window.
    steps: Box<[usize; 256]>,
}

impl Delimiter {
    fn new(boundary: &str) -> Self {
        let bytes = [b"\r\n--", boundary.as_bytes()].concat();
        let mut steps = Box::new([bytes.len(); 256]);
        let last = bytes.len() - 1;
        for (at, byte) in bytes[..last].iter().enumerate() {
            steps[usize::from(*byte)] = last - at;
        }
        Self { bytes, steps }
    }

    fn len(&self) -> usize {
        self.bytes.len()
    }

    fn find(&self, within: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(window) = within.get(at..at + self.bytes.len()) {
            if window == self.bytes {
                return Some(at);
            }
            at += self.steps[usize::from(window[window.len() - 1])];
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{Event, Multipart, PartHead};
    use crate::api::call::boundary_of as boundary;
    use crate::api::errors::FormFault;
    use proptest::prelude::{ProptestConfig, any, proptest};

    fn events(pieces: &[&[u8]]) -> Result<Vec<Event>, FormFault> {
        let mut multipart = Multipart::new("xyz");
        let mut found = Vec::new();
        for piece in pieces {
            multipart.push(piece);
            while let Some(event) = multipart.next()? {
                match (found.last_mut(), event) {
                    (Some(Event::Content(whole)), Event::Content(more)) => {
                        *whole = [&whole[..], &more[..]].concat().into();
                    }
                    (_, event) => found.push(event),
                }
            }
        }
        Ok(found)
    }

    fn part(name: &str, file_name: Option<&str>) -> Event {
        Event::Part(PartHead { name: name.to_owned(), file_name: file_name.map(str::to_owned) })
    }

    fn content(text: &'static str) -> Event {
        Event::Content(text.as_bytes().into())
    }

    const FORM: &[u8] = b"--xyz\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nfoo\r\n--xyz\r\n\
        content-type: text/plain\r\nCONTENT-DISPOSITION: Form-Data; filename=\"a.txt\"; name=file\r\n\r\n\
        line\r\n--xy\r\nmore\r\n--xyz--\r\nignored";

    #[test]
    fn multipart_bounds_do_not_depend_on_how_the_bytes_are_split() {
        let named = "content-disposition: form-data; name=a\r\n";
        let padded = |spaces: usize| format!("--xyz{}\r\n{named}\r\n", " ".repeat(spaces));
        let long = |bytes: usize| {
            let value = "v".repeat(bytes - named.len() - 3);
            format!("--xyz\r\n{named}x: {value}\r\n\r\n")
        };
        for (body, fits) in [
            (padded(super::PADDING_BYTES_MAX), true),
            (padded(super::PADDING_BYTES_MAX + 1), false),
            (long(super::PART_HEAD_BYTES_MAX), true),
            (long(super::PART_HEAD_BYTES_MAX + 1), false),
        ] {
            let expected = if fits { Ok(vec![part("a", None)]) } else { Err(FormFault::Malformed) };
            assert_eq!(events(&[body.as_bytes()]), expected);
            assert_eq!(events(&body.as_bytes().chunks(1).collect::<Vec<_>>()), expected);
        }
    }

    #[test]
    fn parts_are_parsed_with_names_and_content_up_to_the_next_delimiter() {
        let expected = vec![
            part("key", None),
            content("foo"),
            part("file", Some("a.txt")),
            content("line\r\n--xy\r\nmore"),
            Event::End,
        ];
        assert_eq!(events(&[FORM]), Ok(expected.clone()));
        let bytes: Vec<&[u8]> = FORM.chunks(1).collect();
        assert_eq!(events(&bytes), Ok(expected));
    }

    #[test]
    fn a_preamble_padding_and_empty_parts_are_accepted() {
        let form = b"to whom it may concern\r\n--xyz \t\r\ncontent-disposition: form-data; name=a\r\n\r\n\r\n--xyz--";
        assert_eq!(events(&[form]), Ok(vec![part("a", None), Event::End]));
        assert_eq!(events(&[b"\r\n--xyz--\r\n"]), Ok(vec![Event::End]));
    }

    #[test]
    fn escaped_quotes_in_names_and_backslashes_in_paths_are_kept() {
        let form = "--xyz\r\nContent-Disposition: form-data; name=\"a\\\"b;c\"; filename=\"C:\\dir\\f.txt\"\r\n\r\n";
        assert_eq!(events(&[form.as_bytes()]), Ok(vec![part("a\"b;c", Some("C:\\dir\\f.txt"))]));
    }

    #[test]
    fn a_malformed_multipart_body_is_refused() {
        for form in [
            &b"--xyz\r\n\r\nno head\r\n--xyz--"[..],
            b"--xyzabc\r\n",
            b"--xyz\nContent-Disposition: form-data; name=a\n\n",
            b"--xyz\r\nContent-Disposition: attachment; name=a\r\n\r\n",
            b"--xyz\r\nContent-Disposition: form-data; filename=a\r\n\r\n",
            b"--xyz\r\nContent-Type: text/plain\r\n\r\n",
            b"--xyz\r\nContent-Disposition: form-data; name=\"\xff\"\r\n\r\n",
            &[b"--xyz\r\n".as_slice(), &[b'h'; 9000]].concat(),
            &[b"--xyz".as_slice(), &[b' '; 100]].concat(),
        ] {
            assert_eq!(events(&[form]), Err(FormFault::Malformed), "{}", String::from_utf8_lossy(form));
        }
    }

    #[test]
    fn the_boundary_is_read_from_the_content_type_quoted_or_not() {
        assert_eq!(boundary("multipart/form-data; boundary=abc"), Some(Ok("abc".to_owned())));
        assert_eq!(boundary("Multipart/Form-Data;charset=utf-8; Boundary=\"a b\""), Some(Ok("a b".to_owned())));
        assert_eq!(boundary("multipart/form-data"), Some(Err(FormFault::Malformed)));
        assert_eq!(
            boundary(&format!("multipart/form-data; boundary={}", "a".repeat(71))),
            Some(Err(FormFault::Malformed))
        );
        assert_eq!(boundary("multipart/mixed; boundary=abc"), None);
        assert_eq!(boundary(""), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

        #[test]
        fn multipart_content_does_not_depend_on_how_the_bytes_are_split(
            pieces in proptest::collection::vec(proptest::sample::select(vec!["\r\n", "--", "xyz", "\r", "-", "x", "data"]), 0..40),
            cut in 1usize..40,
        ) {
            let content = pieces.concat();
            if !format!("\r\n{content}").contains("\r\n--xyz") {
                let form = format!("--xyz\r\nContent-Disposition: form-data; name=f\r\n\r\n{content}\r\n--xyz--");
                let found = events(&form.as_bytes().chunks(cut).collect::<Vec<_>>()).expect("a form");
                let mut expected = vec![part("f", None)];
                if !content.is_empty() {
                    expected.push(Event::Content(content.into_bytes().into()));
                }
                expected.push(Event::End);
                assert_eq!(found, expected);
            }
        }

        #[test]
        fn the_multipart_parser_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = events(&[b"--xyz\r\n", &bytes]);
            let _ = events(&[&bytes]);
        }
    }
}
