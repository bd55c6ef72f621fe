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
//! A head is held as well until it is complete: actix-http parses what it has of a head from the beginning at every
//! read. One that never can be complete is handed on as it is, with the connection's end after it, and actix-http
//! answers: it is cut off, has bytes that none has, is too large, comes too slowly, or is long while the long heads of
//! all connections have taken their room.
//!
//! actix-http keeps each chunk of a body in an entry of its own, and counts their bytes alone. So a connection ends as
//! well after very many small chunks.
//!
//! A connection also hands on a bounded number of bytes at a time. actix-http reads as long as bytes come, up to 128
//! KiB, and tokio looks for new events only after some sixty tasks: beside uploads, a small request would wait for
//! megabytes of theirs.

use crate::api::sharing::wake_after_others;
use crate::limits::{
    HTTP_CHUNK_BYTES_MEAN, HTTP_CHUNKS_SMALL_MAX, READ_BYTES_AT_ONCE, REQUEST_HEAD_BYTES_MAX, REQUEST_HEAD_LONG_BYTES,
    REQUEST_HEAD_WAIT_MAX,
};
use actix_http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use actix_http::{Payload, Request};
use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// A connection whose requests are handed on one at a time.
#[derive(Debug)]
pub struct Unpipelined<T> {
    connection: T,
    framing: Framing,
    /// Bytes that came and were not handed on.
    held: Vec<u8>,
    /// How many of these, from the first, may be handed on now.
    ready: usize,
    /// How many of these, from the first, the place in the stream is after.
    passed: usize,
    /// The time at which the first bytes of the present head came, if it is not complete.
    head_since: Option<Instant>,
    room: HeadPlace,
    /// The bytes that were handed on since the connection's task last made way for others.
    at_once: usize,
}

/// The memory that long heads which are not complete may take on all connections of a listener. Cheap to clone.
#[derive(Clone, Debug)]
pub struct HeadRoom(Arc<AtomicUsize>);

impl HeadRoom {
    pub fn new(bytes_max: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(bytes_max)))
    }
}

/// The part of the room that the head of one connection takes.
#[derive(Debug)]
struct HeadPlace {
    room: HeadRoom,
    bytes: usize,
}

impl HeadPlace {
    /// Takes as much more as a head of this size needs; returns whether there is that much.
    fn grow(&mut self, head_bytes: usize) -> bool {
        let more = head_bytes.saturating_sub(REQUEST_HEAD_LONG_BYTES).saturating_sub(self.bytes);
        let less = |left: usize| left.checked_sub(more);
        let is_there = more == 0 || self.room.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok();
        self.bytes += if is_there { more } else { 0 };
        is_there
    }

    fn give_back(&mut self) {
        if self.bytes > 0 {
            self.room.0.fetch_add(std::mem::take(&mut self.bytes), Ordering::Relaxed);
        }
    }
}

impl Drop for HeadPlace {
    fn drop(&mut self) {
        self.give_back();
    }
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
    Head { has_text: bool, is_line_empty: bool },
    /// After a head, until the service is called with the request.
    Decoded,
    /// In a body of which this many bytes are left.
    Sized(u64),
    /// In a chunked body; the second number is for how many bytes chunks may still be smaller than they should.
    Chunked(Chunked, u64),
    /// After a request whose body has no end but that of the connection.
    Endless,
    /// After the last byte that is handed on: the connection, as far as it is read, ends here.
    Over,
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
    const CHUNKED: Self = Self::Chunked(Chunked::SIZE, SPARE_BYTES_MAX);

    fn is_head(self) -> bool {
        matches!(self, Self::Head { .. })
    }

    /// Returns how many of the bytes belong to the head or body that they begin in, and the place after them.
    fn after(self, bytes: &[u8]) -> (usize, Self) {
        let mut place = self;
        let mut at = 0;
        while at < bytes.len() && place.is_head() == self.is_head() {
            match place {
                Self::Decoded | Self::Over => break,
                Self::Endless => at = bytes.len(),
                Self::Sized(left) => {
                    let left = pass(&mut at, bytes, left);
                    place = if left == 0 { Self::HEAD } else { Self::Sized(left) };
                }
                Self::Chunked(Chunked::Data(left), spare) => {
                    let left = pass(&mut at, bytes, left);
                    place = Self::Chunked(if left == 0 { Chunked::SIZE } else { Chunked::Data(left) }, spare);
                }
                Self::Head { .. } | Self::Chunked(..) => {
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
            // actix-http refuses a head with any of these. A client that speaks TLS begins with one.
            (Self::Head { .. }, 0..=8 | 11 | 12 | 14..=31 | 127) => Self::Over,
            (Self::Head { .. }, _) => Self::Head { has_text: true, is_line_empty: false },
            (Self::Chunked(chunked, spare), _) => chunked.after_byte(byte, spare),
            (Self::Decoded | Self::Sized(_) | Self::Endless | Self::Over, _) => self,
        }
    }
}

/// The bytes of the line end after the data of a chunk.
const LINE_END_BYTES: u64 = 2;
/// The most bytes for which the chunks of a body may be smaller than `HTTP_CHUNK_BYTES_MEAN`, all together.
const SPARE_BYTES_MAX: u64 = HTTP_CHUNKS_SMALL_MAX * HTTP_CHUNK_BYTES_MEAN;

/// Passes up to `left` bytes; returns how many are left.
fn pass(at: &mut usize, bytes: &[u8], left: u64) -> u64 {
    let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - *at);
    *at += taken;
    left - taken as u64
}

impl Chunked {
    const SIZE: Self = Self::Size { size: 0, has_ended: false };

    /// Returns the place after a byte of a line.
    fn after_byte(self, byte: u8, spare: u64) -> Place {
        let next = match (self, byte) {
            (Self::Size { size: 0, .. }, b'\n') => Self::Trailer { is_line_empty: true },
            (Self::Size { size, .. }, b'\n') => {
                let spare = spare.saturating_add(size).min(SPARE_BYTES_MAX).checked_sub(HTTP_CHUNK_BYTES_MEAN);
                let data = Self::Data(size.saturating_add(LINE_END_BYTES));
                return spare.map_or(Place::Over, |spare| Place::Chunked(data, spare));
            }
            (Self::Size { size, has_ended }, byte) => {
                let digit = char::from(byte).to_digit(16).filter(|_| !has_ended);
                let size = digit.map_or(size, |digit| size.saturating_mul(16).saturating_add(u64::from(digit)));
                Self::Size { size, has_ended: digit.is_none() }
            }
            (Self::Trailer { is_line_empty: true }, b'\n') => return Place::HEAD,
            (Self::Trailer { .. }, b'\n') => Self::Trailer { is_line_empty: true },
            (Self::Data(_), _) | (Self::Trailer { .. }, b'\r') => self,
            (Self::Trailer { .. }, _) => Self::Trailer { is_line_empty: false },
        };
        Place::Chunked(next, spare)
    }
}

/// Returns the size of the whole blank lines at the beginning of the bytes.
fn blank_lines(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while let [b'\n', after @ ..] | [b'\r', b'\n', after @ ..] = rest {
        rest = after;
    }
    bytes.len() - rest.len()
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
        return Place::CHUNKED;
    }
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.trim().parse().ok());
    length.map_or(Place::Endless, |length| if length == 0 { Place::HEAD } else { Place::Sized(length) })
}

impl<T> Unpipelined<T> {
    pub fn new(connection: T, room: HeadRoom) -> Self {
        let (framing, room) = (Framing::default(), HeadPlace { room, bytes: 0 });
        Self { connection, framing, held: Vec::new(), ready: 0, passed: 0, head_since: None, room, at_once: 0 }
    }

    pub fn connection(&self) -> &T {
        &self.connection
    }

    pub fn framing(&self) -> Framing {
        self.framing.clone()
    }

    fn place(&self) -> Place {
        self.framing.0.place.get()
    }

    /// Hands on bytes that are held.
    fn hand_on(&mut self, into: &mut ReadBuf<'_>) {
        let count = self.ready.min(into.remaining());
        into.put_slice(&self.held[..count]);
        self.held.drain(..count);
        (self.ready, self.passed) = (self.ready - count, self.passed - count);
        if self.held.is_empty() {
            self.held = Vec::new();
        }
    }

    /// Goes on in the bytes that are held, to the end of the head or body that the place is in.
    fn look_on(&mut self) {
        let from = self.place();
        let (count, place) = from.after(&self.held[self.passed..]);
        self.framing.0.place.set(place);
        self.passed += count;
        if !(from.is_head() && place.is_head()) {
            (self.ready, self.head_since) = (self.passed, None);
            self.room.give_back();
            return;
        }
        if place == Place::HEAD {
            let blank = blank_lines(&self.held);
            self.held.drain(..blank);
            self.passed -= blank;
            if self.held.is_empty() {
                (self.held, self.head_since) = (Vec::new(), None);
                self.room.give_back();
                return;
            }
        }
        let since = *self.head_since.get_or_insert_with(Instant::now);
        let is_refused = self.held.len() >= REQUEST_HEAD_BYTES_MAX || since.elapsed() >= REQUEST_HEAD_WAIT_MAX;
        if is_refused || !self.room.grow(self.held.capacity()) {
            self.end();
        }
    }

    /// Makes the connection end after the bytes that are held.
    fn end(&mut self) {
        self.framing.0.place.set(Place::Over);
        (self.ready, self.passed, self.head_since) = (self.held.len(), self.held.len(), None);
        self.room.give_back();
    }
}

impl<T: AsyncRead + Unpin> Unpipelined<T> {
    /// Reads once. Of the bytes that came, `into` gets those that may be handed on at once; the others are held.
    fn poll_connection(&mut self, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.at_once >= READ_BYTES_AT_ONCE {
            self.at_once = 0;
            wake_after_others(cx.waker());
            return Poll::Pending;
        }
        let before = into.filled().len();
        let read = Pin::new(&mut self.connection).poll_read(cx, into);
        self.at_once = if read.is_ready() { self.at_once + into.filled().len() - before } else { 0 };
        ready!(read)?;
        let bytes = &into.filled()[before..];
        if bytes.is_empty() {
            self.end();
            return Poll::Ready(Ok(()));
        }
        let from = self.place();
        let (count, place) = from.after(bytes);
        if self.held.is_empty() && !(from.is_head() && place.is_head()) {
            self.held.extend_from_slice(&bytes[count..]);
            into.set_filled(before + count);
            self.framing.0.place.set(place);
            self.head_since = None;
        } else {
            self.held.extend_from_slice(bytes);
            into.set_filled(before);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Unpipelined<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = into.filled().len();
        while into.filled().len() == before && into.remaining() > 0 {
            let place = this.place();
            if this.ready > 0 {
                this.hand_on(into);
            } else if place == Place::Decoded {
                this.framing.0.waiting.replace(Some(cx.waker().clone()));
                return Poll::Pending;
            } else if place == Place::Over {
                break;
            } else if this.passed < this.held.len() {
                this.look_on();
            } else {
                ready!(this.poll_connection(cx, into))?;
            }
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
    use super::{Chunked, Framing, HeadRoom, Place, SPARE_BYTES_MAX, Unpipelined};
    use crate::limits::{
        HTTP_CHUNK_BYTES_MEAN, HTTP_CHUNKS_SMALL_MAX, READ_BYTES_AT_ONCE, REQUEST_HEAD_BYTES_MAX,
        REQUEST_HEAD_LONG_BYTES, REQUEST_HEAD_WAIT_MAX,
    };
    use actix_http::Request;
    use std::cell::Cell;
    use std::rc::Rc;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    const ONE: &[u8] = b"GET /a HTTP/1.1\r\nhost: h\r\n\r\n";

    fn unpipelined(connection: DuplexStream) -> Unpipelined<DuplexStream> {
        Unpipelined::new(connection, HeadRoom::new(1 << 20))
    }

    /// Passes the bytes in pieces of every length; returns how many were passed, and the place after them.
    fn after(from: Place, bytes: &[u8]) -> (usize, Place) {
        let whole = from.after(bytes);
        for size in 1..bytes.len() {
            let (mut place, mut taken) = (from, 0);
            for piece in bytes.chunks(size) {
                let (of_piece, next) = place.after(piece);
                (place, taken) = (next, taken + of_piece);
                if of_piece < piece.len() || place.is_head() != from.is_head() {
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
        assert_eq!(after(Place::Sized(4), b"\n\n\n\nGET"), (4, Place::HEAD));
        assert_eq!(after(Place::Sized(5), b"\n\n\n\n"), (4, Place::Sized(1)));
        let chunked = b"5;a=\"3\"\r\n\r\n\r\n\n\r\nA \r\n0123456789\r\n0\r\nx-a: b\r\n\r\n";
        let followed = [chunked.as_slice(), ONE, ONE].concat();
        let chunks = Place::CHUNKED;
        assert_eq!(after(chunks, &followed), (chunked.len(), Place::HEAD));
        assert_eq!(after(chunks, chunked), (chunked.len(), Place::HEAD));
        assert_eq!(after(chunks, b"0\r\n\r\n"), (5, Place::HEAD));
        assert_eq!(after(Place::Endless, &followed), (followed.len(), Place::Endless));
    }

    fn note(framing: &Framing, place: Place) {
        framing.0.place.set(place);
        framing.0.waiting.take().into_iter().for_each(std::task::Waker::wake);
    }

    #[test]
    fn a_body_of_very_many_small_chunks_ends_the_connection() {
        let small = |count: u64| b"1\r\nx\r\n".repeat(usize::try_from(count).expect("few"));
        // Each of these takes from what chunks may be smaller by, and gives back its own byte.
        let allowed = (SPARE_BYTES_MAX - HTTP_CHUNK_BYTES_MEAN) / (HTTP_CHUNK_BYTES_MEAN - 1) + 1;
        assert!(allowed >= HTTP_CHUNKS_SMALL_MAX);
        let passed = small(allowed).len();
        assert_eq!(Place::CHUNKED.after(&small(allowed)), (passed, Place::Chunked(Chunked::SIZE, 0)));
        assert_eq!(Place::CHUNKED.after(&small(allowed + 2)), (passed + b"1\r\n".len(), Place::Over));
        let larger = [b"fff\r\n".as_slice(), &[b'x'; 0xfff], b"\r\n"].concat().repeat(100);
        let (_, place) = Place::CHUNKED.after(&[larger, small(allowed + 2)].concat());
        assert_eq!(place, Place::Over, "no number of larger ones makes up for more");
        let data = "x".repeat(usize::try_from(HTTP_CHUNK_BYTES_MEAN).expect("few"));
        let many = format!("{HTTP_CHUNK_BYTES_MEAN:x}\r\n{data}\r\n").repeat(10_000);
        let spare = SPARE_BYTES_MAX - HTTP_CHUNK_BYTES_MEAN;
        assert_eq!(Place::CHUNKED.after(many.as_bytes()), (many.len(), Place::Chunked(Chunked::SIZE, spare)));
    }

    /// Sends the pieces one after the other, and waits for `over` before it closes the connection.
    fn sent_in_pieces(mut client: DuplexStream, pieces: Vec<Vec<u8>>, over: tokio::sync::oneshot::Receiver<()>) {
        actix::spawn(async move {
            for piece in pieces {
                if client.write_all(&piece).await.is_err() {
                    return;
                }
                tokio::task::yield_now().await;
            }
            let _ = over.await;
        });
    }

    #[actix::test]
    async fn a_head_is_handed_on_when_it_is_complete() {
        let blank = b"\r\n\n".repeat(100_000);
        for (before, size) in [(b"".as_slice(), 1), (b"\r\n\n\r\n".as_slice(), 1), (blank.as_slice(), 1000)] {
            let (client, server) = tokio::io::duplex(1 << 10);
            let (open, over) = tokio::sync::oneshot::channel();
            let pieces = [before, ONE].concat().chunks(size).map(<[u8]>::to_vec).collect();
            sent_in_pieces(client, pieces, over);
            let (mut unpipelined, mut buffer) = (unpipelined(server), [0; 2000]);
            let count = unpipelined.read(&mut buffer).await.expect("it is open");
            assert!(buffer[..count].ends_with(ONE), "the head is handed on at once");
            assert!(buffer[..count - ONE.len()].iter().all(|byte| b"\r\n".contains(byte)));
            assert_eq!(unpipelined.place(), Place::Decoded);
            drop(open);
        }
    }

    #[actix::test]
    async fn a_head_that_cannot_be_complete_is_handed_on_and_ends_the_connection() {
        let cut_off = &ONE[..ONE.len() - 2];
        let too_large = [b"GET /a HTTP/1.1\r\na: ".as_slice(), &vec![b'v'; REQUEST_HEAD_BYTES_MAX]].concat();
        let (with_nul, of_tls) = (b"GET /a\0".as_slice(), b"\x16".as_slice());
        for (sent, is_closed) in [(cut_off, true), (too_large.as_slice(), false), (with_nul, false), (of_tls, false)] {
            let (client, server) = tokio::io::duplex(1 << 10);
            let (open, over) = tokio::sync::oneshot::channel();
            let open = (!is_closed).then_some(open);
            sent_in_pieces(client, sent.chunks(999).map(<[u8]>::to_vec).collect(), over);
            let (mut unpipelined, mut read) = (unpipelined(server), Vec::new());
            unpipelined.read_to_end(&mut read).await.expect("it ends");
            assert!(
                sent.starts_with(&read) && read.len() >= sent.len().min(REQUEST_HEAD_BYTES_MAX),
                "{} bytes",
                read.len()
            );
            drop(open);
        }
    }

    /// Each client sends as much of a head as has no room for three, and goes on sending after others are gone.
    #[actix::test]
    async fn long_heads_that_are_not_complete_share_room() {
        let room = HeadRoom::new(6 * REQUEST_HEAD_LONG_BYTES);
        let part = [b"GET /a HTTP/1.1\r\na: ".as_slice(), &vec![b'v'; 3 * REQUEST_HEAD_LONG_BYTES]].concat();
        let reading_of = |room: &HeadRoom| {
            let (client, server) = tokio::io::duplex(1 << 10);
            let (open, over) = tokio::sync::oneshot::channel();
            sent_in_pieces(client, part.chunks(999).map(<[u8]>::to_vec).collect(), over);
            let mut unpipelined = Unpipelined::new(server, room.clone());
            let reading = actix::spawn(async move {
                let mut read = Vec::new();
                unpipelined.read_to_end(&mut read).await.expect("it ends");
                read.len()
            });
            (open, reading)
        };
        let mut clients: Vec<_> = (0..3).map(|_| reading_of(&room)).collect();
        while clients.iter().all(|(_, reading)| !reading.is_finished()) {
            tokio::task::yield_now().await;
        }
        let ended = clients.iter().position(|(_, reading)| reading.is_finished()).expect("one has ended");
        let (_, refused) = clients.swap_remove(ended);
        assert!((REQUEST_HEAD_LONG_BYTES..part.len()).contains(&refused.await.expect("no panic")));
        for (open, reading) in clients {
            drop(open);
            reading.await.expect("no panic");
        }
        let left = room.0.load(std::sync::atomic::Ordering::Relaxed);
        assert_eq!(left, 6 * REQUEST_HEAD_LONG_BYTES, "all is given back");
    }

    #[actix::test]
    async fn a_head_that_comes_too_slowly_ends_the_connection() {
        tokio::time::pause();
        let (mut client, server) = tokio::io::duplex(1 << 10);
        let mut unpipelined = unpipelined(server);
        let reading = actix::spawn(async move {
            let mut read = Vec::new();
            unpipelined.read_to_end(&mut read).await.expect("it ends");
            read
        });
        for byte in ONE.chunks(1).take(5) {
            client.write_all(byte).await.expect("it is open");
            tokio::time::sleep(REQUEST_HEAD_WAIT_MAX / 4).await;
        }
        assert_eq!(reading.await.expect("no panic"), &ONE[..5]);
    }

    #[actix::test]
    async fn a_connection_hands_on_the_next_request_after_the_service_was_called() {
        let (mut client, server) = tokio::io::duplex(1 << 10);
        let mut unpipelined = unpipelined(server);
        let framing = unpipelined.framing();
        client.write_all(&[ONE, ONE, b"body", ONE].concat()).await.expect("there is room");
        drop(client);
        let (mut read, mut buffer) = (Vec::new(), [0; 16]);
        for place in [Place::HEAD, Place::Sized(4), Place::HEAD] {
            while framing.0.place.get() != Place::Decoded || unpipelined.ready > 0 {
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
        let mut unpipelined = unpipelined(server);
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
