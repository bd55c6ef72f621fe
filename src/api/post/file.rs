//! The content of a form's file, streamed as the body of the PUT. The body fails if the file's size is not one that the
//! policy allows. Fields after the file are ignored, as S3 ignores them.

use super::conditions::Sizes;
use super::form::FILE;
use super::multipart::{Event, Multipart};
use crate::api::errors::FormFault;
use bytes::Bytes;
use futures::Stream;
use http_body::{Body, Frame};
use s3s::StdError;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// The most bytes that may follow a form's end.
const EPILOGUE_BYTES_MAX: usize = 64 << 10;

/// The parser that takes bytes of the form and returns bytes of the file.
pub struct FileContent {
    multipart: Multipart,
    sizes: Sizes,
    passed_bytes: u64,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    File,
    /// Within the content of a field after the file.
    After,
    /// After the form's end; counts the bytes since.
    Ended {
        epilogue_bytes: usize,
    },
}

impl FileContent {
    pub fn new(multipart: Multipart, sizes: Sizes) -> Self {
        Self { multipart, sizes, passed_bytes: 0, state: State::File }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), FormFault> {
        if let State::Ended { epilogue_bytes } = &mut self.state {
            *epilogue_bytes += bytes.len();
            return if *epilogue_bytes <= EPILOGUE_BYTES_MAX { Ok(()) } else { Err(FormFault::Malformed) };
        }
        self.multipart.push(bytes);
        Ok(())
    }

    /// Returns the next piece of the file; `None` if more bytes of the form are needed.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, FormFault> {
        while let Some(event) = self.multipart.next()? {
            match event {
                Event::Part(head) if head.name.eq_ignore_ascii_case(FILE) => return Err(FormFault::NotOneFile),
                Event::Part(_) => self.state = State::After,
                Event::Content(bytes) if self.state == State::File => {
                    self.passed_bytes += bytes.len() as u64;
                    if self.passed_bytes > self.sizes.max {
                        return Err(FormFault::TooLarge);
                    }
                    return Ok(Some(bytes));
                }
                Event::Content(_) => {}
                Event::End => self.state = State::Ended { epilogue_bytes: 0 },
            }
        }
        Ok(None)
    }

    /// Checks, at the end of the request's body, that the form is complete and the file large enough.
    pub(super) fn end(&self) -> Result<(), FormFault> {
        match self.state {
            State::Ended { .. } if self.passed_bytes >= self.sizes.min => Ok(()),
            State::Ended { .. } => Err(FormFault::TooSmall),
            State::File | State::After => Err(FormFault::Malformed),
        }
    }
}

/// The file's content as a body, read from the body of the POST.
pub struct FileBody<B> {
    content: FileContent,
    /// The body of the POST; `None` after its end.
    form: Option<B>,
}

impl<B> FileBody<B> {
    pub fn new(content: FileContent, form: B) -> Self {
        Self { content, form: Some(form) }
    }

    fn fail(&mut self, error: impl Into<StdError>) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        self.form = None;
        Poll::Ready(Some(Err(error.into())))
    }
}

impl<B> Body for FileBody<B>
where
    B: Stream<Item = Result<Bytes, StdError>> + Unpin,
{
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let this = &mut *self;
        while let Some(form) = &mut this.form {
            match this.content.next() {
                Ok(Some(bytes)) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Ok(None) => {}
                Err(fault) => return this.fail(fault),
            }
            match ready!(Pin::new(form).poll_next(cx)) {
                Some(Ok(bytes)) => {
                    if let Err(fault) = this.content.push(&bytes) {
                        return this.fail(fault);
                    }
                }
                Some(Err(error)) => return this.fail(error),
                None => {
                    if let Err(fault) = this.content.end() {
                        return this.fail(fault);
                    }
                    this.form = None;
                }
            }
        }
        Poll::Ready(None)
    }
}

#[cfg(test)]
mod tests {
    use super::{FileBody, FileContent};
    use crate::api::errors::FormFault;
    use crate::api::post::conditions::Sizes;
    use crate::api::post::form::Gathering;
    use bytes::Bytes;
    use futures::executor::block_on;
    use futures::stream;
    use http_body::Body;
    use s3s::StdError;
    use std::pin::Pin;

    const HEAD: &str = "--b\r\nContent-Disposition: form-data; name=file\r\n\r\n";

    /// Parses these bytes, in pieces of `step`, after the head of the file; returns the file.
    fn file(rest: &str, sizes: Sizes, step: usize) -> Result<Vec<u8>, FormFault> {
        let mut gathering = Gathering::new("b");
        assert_eq!(gathering.push(HEAD.as_bytes()), Ok(true));
        let pieces: Vec<Result<Bytes, StdError>> =
            rest.as_bytes().chunks(step).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let mut body = FileBody::new(FileContent::new(gathering.finish().1, sizes), stream::iter(pieces));
        let mut content = Vec::new();
        loop {
            let frame = block_on(futures::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)));
            match frame {
                Some(Ok(frame)) => content.extend_from_slice(&frame.into_data().expect("data")),
                Some(Err(error)) => return Err(error.downcast_ref::<FormFault>().expect("a fault").clone()),
                None => return Ok(content),
            }
        }
    }

    #[test]
    fn the_file_ends_at_the_delimiter_and_later_fields_are_ignored() {
        let rest = "con\r\ntent\r\n--b\r\nContent-Disposition: form-data; name=submit\r\n\r\nUpload\r\n--b--\r\nbye";
        for step in [1, 7, 1000] {
            assert_eq!(file(rest, Sizes::ANY, step).as_deref(), Ok(&b"con\r\ntent"[..]));
        }
        assert_eq!(file("\r\n--b--", Sizes::ANY, 3).as_deref(), Ok(&b""[..]));
    }

    #[test]
    fn a_file_outside_the_allowed_sizes_is_refused() {
        let sized = |bytes: usize| {
            file(&("x".repeat(bytes) + "\r\n--b--\r\n"), Sizes { min: 5, max: 10 }, 4).map(|content| content.len())
        };
        assert_eq!((sized(5), sized(10)), (Ok(5), Ok(10)));
        assert_eq!((sized(4), sized(11)), (Err(FormFault::TooSmall), Err(FormFault::TooLarge)));
    }

    #[test]
    fn a_form_with_two_files_or_no_closing_boundary_is_refused() {
        let second = "one\r\n--b\r\nContent-Disposition: form-data; name=File\r\n\r\ntwo\r\n--b--";
        assert_eq!(file(second, Sizes::ANY, 100), Err(FormFault::NotOneFile));
        for cut in ["content", "content\r\n--b", "content\r\n--b-", ""] {
            assert_eq!(file(cut, Sizes::ANY, 100), Err(FormFault::Malformed), "{cut}");
        }
        let endless = "x\r\n--b--".to_owned() + &"e".repeat(100_000);
        assert_eq!(file(&endless, Sizes::ANY, 1000), Err(FormFault::Malformed));
    }
}
