//! One request at a time for each connection. actix-http decodes all the requests that a client sends ahead (HTTP
//! pipelining) and keeps them until they are answered, hundreds in a single read, which takes some twenty times the
//! memory of their bytes. So a connection hands it the head of one request, and goes on when the service has been
//! called with it, and says how its body ends:
//!
//! ```text
//!  Head ──► blank line ──► Decoded ──► the service is called ──► Body, until it ends ──► Head
//! ```
//!
//! What the client sent beyond that is held, at most what one read of the connection returned.
//!
//! A connection also hands on a bounded number of bytes at a time. actix-http reads as long as bytes come, up to 128
//! KiB, and tokio looks for new events only after some sixty tasks: beside uploads, a small request would wait for
//! megabytes of theirs.

use crate::api::sharing::wake_after_others;
use crate::limits::READ_BYTES_AT_ONCE;
use actix_http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use actix_http::{Payload, Request};
use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection whose requests are handed on one at a time.
#[derive(Debug)]
pub struct Unpipelined<T> {
    connection: T,
    framing: Framing,
    /// Bytes that came after those that may be handed on.
    held: Vec<u8>,
    /// The bytes that were handed on since the connection's task last made way for others.
    at_once: usize,
}

/// The place in the stream of requests that a connection is at. The service tells it of each request.
#[derive(Clone, Debug, Default)]
pub struct Framing(Rc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    place: Cell<Place>,
    /// The task of the connection, if it waits for the service to be called.
    waiting: RefCell<Option<Waker>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In a head, or between requests.
    Head {
        has_text: bool,
        is_line_empty: bool,
    },
    /// After a head, until the service is called with the request.
    Decoded,
    /// In a body of which this many bytes are left.
    Sized(u64),
    Chunked(Chunked),
    /// After a request whose body has no end but that of the connection.
    Endless,
}

/// The place in a chunked body (RFC 9112 section 7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chunked {
    /// In the size of a chunk, or in what follows the size on its line.
    Size { size: u64, has_ended: bool },
    /// In the data of a chunk and the line end after it.
    Data(u64),
    /// In the lines after the last chunk.
    Trailer { is_line_empty: bool },
}

impl Default for Place {
    fn default() -> Self {
        Self::HEAD
    }
}

impl Place {
    const HEAD: Self = Self::Head { has_text: false, is_line_empty: true };

    /// Returns how many of the bytes may be handed on, and the place after them.
    fn after(self, bytes: &[u8]) -> (usize, Self) {
        let mut place = self;
        let mut at = 0;
        while at < bytes.len() {
            match place {
                Self::Decoded => break,
                Self::Endless => at = bytes.len(),
                Self::Sized(left) => {
                    let left = pass(&mut at, bytes, left);
                    place = if left == 0 { Self::HEAD } else { Self::Sized(left) };
                }
                Self::Chunked(Chunked::Data(left)) => {
                    let left = pass(&mut at, bytes, left);
                    place = Self::Chunked(if left == 0 { Chunked::SIZE } else { Chunked::Data(left) });
                }
                Self::Head { .. } | Self::Chunked(_) => {
                    place = place.after_byte(bytes[at]);
                    at += 1;
                }
            }
        }
        (at, place)
    }

    /// Returns the place after a byte of a line.
    fn after_byte(self, byte: u8) -> Self {
        match (self, byte) {
            // Lines may end in a bare line feed, and blank lines before a head count for nothing, as actix-http has it.
            (Self::Head { has_text: true, is_line_empty: true }, b'\n') => Self::Decoded,
            (Self::Head { has_text, .. }, b'\n') => Self::Head { has_text, is_line_empty: true },
            (Self::Head { .. }, b'\r') => self,
            (Self::Head { .. }, _) => Self::Head { has_text: true, is_line_empty: false },
            (Self::Chunked(Chunked::Size { size: 0, .. }), b'\n') => {
                Self::Chunked(Chunked::Trailer { is_line_empty: true })
            }
            (Self::Chunked(Chunked::Size { size, .. }), b'\n') => {
                Self::Chunked(Chunked::Data(size.saturating_add(LINE_END_BYTES)))
            }
            (Self::Chunked(Chunked::Size { size, has_ended }), byte) => {
                let digit = char::from(byte).to_digit(16).filter(|_| !has_ended);
                let size = digit.map_or(size, |digit| size.saturating_mul(16).saturating_add(u64::from(digit)));
                Self::Chunked(Chunked::Size { size, has_ended: digit.is_none() })
            }
            (Self::Chunked(Chunked::Trailer { is_line_empty: true }), b'\n') => Self::HEAD,
            (Self::Chunked(Chunked::Trailer { .. }), b'\n') => Self::Chunked(Chunked::Trailer { is_line_empty: true }),
            (Self::Chunked(Chunked::Trailer { .. }), b'\r') => self,
            (Self::Chunked(Chunked::Trailer { .. }), _) => Self::Chunked(Chunked::Trailer { is_line_empty: false }),
            (Self::Decoded | Self::Sized(_) | Self::Endless | Self::Chunked(Chunked::Data(_)), _) => self,
        }
    }
}

/// The bytes of the line end after the data of a chunk.
const LINE_END_BYTES: u64 = 2;

/// Passes up to `left` bytes; returns how many are left.
fn pass(at: &mut usize, bytes: &[u8], left: u64) -> u64 {
    let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - *at);
    *at += taken;
    left - taken as u64
}

impl Chunked {
    const SIZE: Self = Self::Size { size: 0, has_ended: false };
}

impl Framing {
    /// Notes that the service of the request's connection is called with it.
    pub fn note(request: &mut Request) {
        let Some(Self(shared)) = request.conn_data::<Self>().cloned() else { return };
        shared.place.set(place_of_body(request));
        if let Some(waiting) = shared.waiting.take() {
            waiting.wake();
        }
    }
}

fn place_of_body(request: &mut Request) -> Place {
    if matches!(request.payload(), Payload::None) {
        return Place::HEAD;
    }
    let headers = request.head().headers();
    if headers.contains_key(TRANSFER_ENCODING) {
        return Place::Chunked(Chunked::SIZE);
    }
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.trim().parse().ok());
    length.map_or(Place::Endless, |length| if length == 0 { Place::HEAD } else { Place::Sized(length) })
}

impl<T> Unpipelined<T> {
    pub fn new(connection: T) -> Self {
        Self { connection, framing: Framing::default(), held: Vec::new(), at_once: 0 }
    }

    pub fn connection(&self) -> &T {
        &self.connection
    }

    pub fn framing(&self) -> Framing {
        self.framing.clone()
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Unpipelined<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let shared = &this.framing.0;
        if shared.place.get() == Place::Decoded {
            shared.waiting.replace(Some(cx.waker().clone()));
            return Poll::Pending;
        }
        if this.at_once >= READ_BYTES_AT_ONCE {
            this.at_once = 0;
            wake_after_others(cx.waker());
            return Poll::Pending;
        }
        let before = into.filled().len();
        if this.held.is_empty() {
            let read = Pin::new(&mut this.connection).poll_read(cx, into);
            this.at_once = if read.is_ready() { this.at_once + into.filled().len() - before } else { 0 };
            ready!(read)?;
            let (taken, place) = shared.place.get().after(&into.filled()[before..]);
            this.held.extend_from_slice(&into.filled()[before + taken..]);
            into.set_filled(before + taken);
            shared.place.set(place);
        } else {
            let room = this.held.len().min(into.remaining());
            let (taken, place) = shared.place.get().after(&this.held[..room]);
            into.put_slice(&this.held[..taken]);
            this.held.drain(..taken);
            if this.held.is_empty() {
                this.held = Vec::new();
            }
            shared.place.set(place);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Unpipelined<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().connection).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().connection).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().connection).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().connection).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::{Chunked, Framing, Place, Unpipelined};
    use crate::limits::READ_BYTES_AT_ONCE;
    use actix_http::Request;
    use std::cell::Cell;
    use std::rc::Rc;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const ONE: &[u8] = b"GET /a HTTP/1.1\r\nhost: h\r\n\r\n";

    /// Hands on the bytes in pieces of every length; returns how many were handed on, and the place after them.
    fn after(from: Place, bytes: &[u8]) -> (usize, Place) {
        let whole = from.after(bytes);
        for size in 1..bytes.len() {
            let (mut place, mut taken) = (from, 0);
            for piece in bytes.chunks(size) {
                let (of_piece, next) = place.after(piece);
                (place, taken) = (next, taken + of_piece);
                if of_piece < piece.len() {
                    break;
                }
            }
            assert_eq!((taken, place), whole, "in pieces of {size}");
        }
        whole
    }

    #[test]
    fn a_head_ends_with_the_first_blank_line_after_text() {
        for head in [ONE, b"GET /a HTTP/1.1\nhost: h\n\n", b"\r\n\nGET /a HTTP/1.1\r\nhost: h\n\r\n"] {
            let followed = [head, ONE].concat();
            assert_eq!(after(Place::HEAD, &followed), (head.len(), Place::Decoded), "{head:?}");
        }
        let unfinished = &ONE[..ONE.len() - 2];
        assert_eq!(
            after(Place::HEAD, unfinished),
            (unfinished.len(), Place::Head { has_text: true, is_line_empty: true })
        );
    }

    #[test]
    fn a_body_ends_where_its_framing_says() {
        assert_eq!(after(Place::Sized(4), b"\n\n\n\nGET"), (7, Place::Head { has_text: true, is_line_empty: false }));
        assert_eq!(after(Place::Sized(5), b"\n\n\n\n"), (4, Place::Sized(1)));
        let chunked = b"5;a=\"3\"\r\n\r\n\r\n\n\r\nA \r\n0123456789\r\n0\r\nx-a: b\r\n\r\n";
        let followed = [chunked.as_slice(), ONE, ONE].concat();
        let chunks = Place::Chunked(Chunked::SIZE);
        assert_eq!(after(chunks, &followed), (chunked.len() + ONE.len(), Place::Decoded));
        assert_eq!(after(chunks, chunked), (chunked.len(), Place::HEAD));
        assert_eq!(after(chunks, b"0\r\n\r\n"), (5, Place::HEAD));
        assert_eq!(after(Place::Endless, &followed), (followed.len(), Place::Endless));
    }

    fn note(framing: &Framing, place: Place) {
        framing.0.place.set(place);
        framing.0.waiting.take().into_iter().for_each(std::task::Waker::wake);
    }

    #[actix::test]
    async fn a_connection_hands_on_the_next_request_after_the_service_was_called() {
        let (mut client, server) = tokio::io::duplex(1 << 10);
        let mut unpipelined = Unpipelined::new(server);
        let framing = unpipelined.framing();
        client.write_all(&[ONE, ONE, b"body", ONE].concat()).await.expect("there is room");
        drop(client);
        let (mut read, mut buffer) = (Vec::new(), [0; 16]);
        for place in [Place::HEAD, Place::Sized(4), Place::HEAD] {
            while framing.0.place.get() != Place::Decoded {
                let count = unpipelined.read(&mut buffer).await.expect("it is open");
                read.extend_from_slice(&buffer[..count]);
            }
            let waits = tokio::time::timeout(std::time::Duration::from_millis(1), unpipelined.read(&mut buffer)).await;
            assert!(waits.is_err(), "nothing is handed on before the call");
            note(&framing, place);
        }
        assert_eq!(read, [ONE, ONE, b"body", ONE].concat());
        assert_eq!(unpipelined.read(&mut buffer).await.expect("it is open"), 0);
        assert!(unpipelined.held.capacity() == 0, "what was held is given back");
    }

    #[actix::test]
    async fn a_connection_with_a_long_body_makes_way_for_others() {
        let (mut client, server) = tokio::io::duplex(8 * READ_BYTES_AT_ONCE);
        let mut unpipelined = Unpipelined::new(server);
        note(&unpipelined.framing(), Place::Endless);
        client.write_all(&vec![7; 4 * READ_BYTES_AT_ONCE]).await.expect("there is room");
        drop(client);
        let turns = Rc::new(Cell::new(0));
        let counted = Rc::clone(&turns);
        let others = actix::spawn(async move {
            loop {
                counted.set(counted.get() + 1);
                tokio::task::yield_now().await;
            }
        });
        let (mut read, mut longest, mut at_once, mut turn) = (0, 0, 0, 0);
        let mut buffer = [0; 1 << 10];
        loop {
            let count = unpipelined.read(&mut buffer).await.expect("it is open");
            if count == 0 {
                break;
            }
            at_once = if turns.get() == turn { at_once + count } else { count };
            (read, turn, longest) = (read + count, turns.get(), longest.max(at_once));
        }
        others.abort();
        assert_eq!((read, longest), (4 * READ_BYTES_AT_ONCE, READ_BYTES_AT_ONCE));
    }

    #[test]
    fn a_request_without_a_connection_is_not_noted() {
        Framing::note(&mut Request::new());
    }
}
