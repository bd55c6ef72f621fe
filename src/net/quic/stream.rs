//! A stream of frames in both directions. Every wait is bounded, and both halves are closed on every path. If the
//! stream is dropped before its end, it is reset, so that the other side knows.

use super::traffic::{Activity, Traffic};
use super::words::{GIVEN_UP, MALFORMED, TOO_SLOW, words};
use crate::limits::{
    CHUNK_BYTES_MAX, NET_GIVEN_UP_CHECK, NET_HEADER_WAIT_MAX, NET_PROGRESS_BYTES, NET_PROGRESS_WAIT_MAX,
    NET_QUIET_LOG_AFTER, NET_SERVE_WAIT_MAX,
};
use crate::net::frame::{FrameError, HEAD_BYTES, Head, WireVersion};
use crate::net::pace::Pace;
use crate::net::protocol::{Outgoing, Piece, Request};
use crate::types::{HostId, NodeId, ShardId};
use bytes::{Buf, Bytes};
use futures::FutureExt;
use s2n_quic::stream::{BidirectionalStream, Error, ReceiveStream, SendStream};
use std::future::{Future, poll_fn};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

/// The stage of a stream, for the log and for errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Opening,
    Sending,
    AwaitingAnswer,
    ReceivingHeader,
    AwaitingRoom,
    ReceivingBody,
    Serving,
    Ending,
}

impl Stage {
    /// Returns what this side does in the stage, for messages.
    fn words(self) -> &'static str {
        match self {
            Self::Opening => "opening it",
            Self::Sending => "sending",
            Self::AwaitingAnswer => "waiting for the answer",
            Self::ReceivingHeader => "receiving a header",
            Self::AwaitingRoom => "waiting for room",
            Self::ReceivingBody => "receiving a body",
            Self::Serving => "serving the request",
            Self::Ending => "ending it",
        }
    }
}

/// The reason for which a stream failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum StreamError {
    #[error("{0}")]
    Connection(String),
    #[error("the other side gave the stream up (code {0})")]
    GivenUp(u64),
    #[error("the stream ended in the middle of a frame")]
    Truncated,
    #[error("the stream made no progress for {} ms while {}", waited.as_millis(), stage.words())]
    Stalled { stage: Stage, waited: Duration },
    #[error(transparent)]
    Frame(#[from] FrameError),
}

impl From<Error> for StreamError {
    fn from(error: Error) -> Self {
        match error {
            Error::ConnectionError { error, .. } => Self::Connection(words(&error)),
            Error::StreamReset { error, .. } => Self::GivenUp(*error),
            other => Self::Connection(other.to_string()),
        }
    }
}

/// The peer and the request of a stream, for the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct About {
    pub(super) peer: HostId,
    pub(super) request: &'static str,
    node: Option<NodeId>,
    shard: Option<ShardId>,
    began: Instant,
}

impl About {
    pub(super) fn new(peer: HostId, request: &'static str) -> Self {
        Self { peer, request, node: None, shard: None, began: Instant::now() }
    }

    pub(super) fn is(&mut self, request: &Request) {
        (self.request, self.node, self.shard) = (request.name(), request.node(), request.shard());
    }

    pub(super) fn age(&self) -> Duration {
        self.began.elapsed()
    }

    /// N9: logs that the stream makes no progress.
    pub(super) fn log_quiet(&self, stage: Stage) {
        tracing::warn!(
            peer = format!("{:016x}", self.peer.0),
            request = self.request,
            node = self.node.map(tracing::field::display),
            blob = self.shard.map(|shard| tracing::field::display(shard.blob)),
            shard = self.shard.map(|shard| shard.shard.0),
            ?stage,
            age_ms = self.age().as_millis() as u64,
            "a stream makes no progress"
        );
    }

    /// Waits for `future` until `until` at the latest. Logs a warning if the wait exceeds `NET_QUIET_LOG_AFTER`.
    pub(super) async fn bounded<T>(
        &self,
        stage: Stage,
        until: Instant,
        future: impl Future<Output = T>,
    ) -> Result<T, StreamError> {
        let from = Instant::now();
        tokio::pin!(future);
        if from + NET_QUIET_LOG_AFTER < until {
            if let Ok(done) = timeout_at(from + NET_QUIET_LOG_AFTER, &mut future).await {
                return Ok(done);
            }
            self.log_quiet(stage);
        }
        timeout_at(until, future).await.map_err(|_| StreamError::Stalled { stage, waited: from.elapsed() })
    }
}

/// The two halves of a stream.
#[derive(Debug)]
pub(super) struct Duplex {
    receive: ReceiveStream,
    send: SendStream,
    /// The bytes that were received and not consumed yet.
    left: Bytes,
    has_received_all: bool,
    has_sent_all: bool,
    /// The error code of the reset if the stream is dropped before its end.
    given_up_with: u32,
    pub(super) about: About,
    traffic: Arc<Traffic>,
    _active: Activity,
}

impl Duplex {
    pub(super) fn new(stream: BidirectionalStream, about: About, traffic: &Arc<Traffic>) -> Self {
        let (receive, send) = stream.split();
        Self {
            receive,
            send,
            left: Bytes::new(),
            has_received_all: false,
            has_sent_all: false,
            given_up_with: GIVEN_UP,
            about,
            traffic: Arc::clone(traffic),
            _active: Activity::begin(traffic),
        }
    }

    /// Sends a message. Each `NET_PROGRESS_BYTES` of it must be accepted within `NET_PROGRESS_WAIT_MAX`.
    pub(super) async fn send(&mut self, message: Outgoing) -> Result<(), StreamError> {
        for mut part in std::iter::once(message.frame).chain(message.body) {
            while !part.is_empty() {
                let stretch = part.split_to(part.len().min(NET_PROGRESS_BYTES));
                let bytes = stretch.len();
                let until = Instant::now() + NET_PROGRESS_WAIT_MAX;
                let sent = self.about.bounded(Stage::Sending, until, self.send.send(stretch)).await;
                self.judge(sent)??;
                self.traffic.sent(bytes);
            }
        }
        Ok(())
    }

    /// Waits until the other side has given up what this one sends, or the connection is lost. Returns the reason.
    pub(super) async fn given_up(&mut self) -> StreamError {
        loop {
            sleep(NET_GIVEN_UP_CHECK).await;
            // Nothing wakes a task when the other side stops a half that has room for more.
            let room = poll_fn(|context| self.send.poll_send_ready(context)).now_or_never();
            if let Some(Err(error)) = room {
                return error.into();
            }
        }
    }

    /// Ends the sending half. Does not wait for the acknowledgement of the data.
    pub(super) fn finish(&mut self) -> Result<(), StreamError> {
        self.send.finish()?;
        self.has_sent_all = true;
        Ok(())
    }

    /// Ends the sending half, and waits until the other side has acknowledged everything.
    pub(super) async fn settle(&mut self) -> Result<(), StreamError> {
        let until = Instant::now() + NET_SERVE_WAIT_MAX;
        // If this fails, the drop resets the half: unacknowledged data would otherwise be held as long as the
        // connection.
        self.has_sent_all = false;
        self.about.bounded(Stage::Ending, until, self.send.close()).await??;
        self.has_sent_all = true;
        Ok(())
    }

    /// Receives the head and header of the next frame: the head by `until`, and the header by then or within half of
    /// `NET_HEADER_WAIT_MAX` after the head.
    pub(super) async fn frame(
        &mut self,
        stage: Stage,
        until: Instant,
        spoken: RangeInclusive<WireVersion>,
    ) -> Result<(Head, Vec<u8>), StreamError> {
        let head: [u8; HEAD_BYTES] =
            self.take(HEAD_BYTES, stage, |_, _| until).await?.try_into().map_err(|_| StreamError::Truncated)?;
        let head = self.check(Head::decode(&head, spoken))?;
        let until = until.max(Instant::now() + NET_HEADER_WAIT_MAX / 2);
        let header = self.take(head.header_bytes, Stage::ReceivingHeader, |_, _| until).await?;
        self.check(head.check_header(&header))?;
        Ok((head, header))
    }

    /// Receives a body, in one buffer for each piece. Verifies the checksums.
    pub(super) async fn body(&mut self, pieces: &[Piece]) -> Result<Vec<Bytes>, StreamError> {
        let from = Instant::now();
        let mut pace = Pace::from(Duration::ZERO);
        let mut bodies = Vec::with_capacity(pieces.len());
        for piece in pieces {
            let until = |now: Instant, came: usize| {
                pace.came(now - from, came);
                from + pace.until()
            };
            let body = self.take(piece.bytes as usize, Stage::ReceivingBody, until).await?;
            self.check(piece.check(&body))?;
            bodies.push(Bytes::from(body));
        }
        Ok(bodies)
    }

    /// Waits for the end of the receiving half. Fails if more bytes come.
    pub(super) async fn end(&mut self) -> Result<(), StreamError> {
        let until = Instant::now() + NET_HEADER_WAIT_MAX;
        if !self.left.is_empty() || self.more(Stage::Ending, until).await? {
            self.given_up_with = MALFORMED;
            return Err(FrameError::OtherAnswer("more bytes follow the message").into());
        }
        Ok(())
    }

    /// Passes a result through. After an error the stream will be reset as malformed.
    pub(super) fn check<T>(&mut self, checked: Result<T, FrameError>) -> Result<T, StreamError> {
        if checked.is_err() {
            self.given_up_with = MALFORMED;
        }
        Ok(checked?)
    }

    fn judge<T>(&mut self, waited: Result<T, StreamError>) -> Result<T, StreamError> {
        if waited.is_err() {
            self.given_up_with = TOO_SLOW;
        }
        waited
    }

    /// Receives exactly `bytes` bytes. `until(now, count)` is called when `count` bytes came, and returns the deadline
    /// of the next.
    async fn take(
        &mut self,
        bytes: usize,
        stage: Stage,
        mut until: impl FnMut(Instant, usize) -> Instant,
    ) -> Result<Vec<u8>, StreamError> {
        let mut taken = Vec::with_capacity(bytes.min(CHUNK_BYTES_MAX));
        let mut by = until(Instant::now(), 0);
        while taken.len() < bytes {
            if self.left.is_empty() && !self.more(stage, by).await? {
                return Err(StreamError::Truncated);
            }
            let some = self.left.len().min(bytes - taken.len());
            taken.extend_from_slice(&self.left[..some]);
            self.left.advance(some);
            by = until(Instant::now(), some);
        }
        Ok(taken)
    }

    /// Receives further bytes into `left`; returns false at the end of the stream.
    async fn more(&mut self, stage: Stage, until: Instant) -> Result<bool, StreamError> {
        let received = self.about.bounded(stage, until, self.receive.receive()).await;
        match self.judge(received)? {
            Ok(Some(bytes)) => {
                self.traffic.received(bytes.len());
                self.left = bytes;
                Ok(true)
            }
            Ok(None) => {
                self.has_received_all = true;
                Ok(false)
            }
            Err(error) => {
                self.has_received_all = true;
                Err(error.into())
            }
        }
    }
}

/// N3, N4: a stream that is dropped before its end is reset in both directions. Otherwise a message that was sent in
/// part would look complete.
impl Drop for Duplex {
    fn drop(&mut self) {
        // An error means that the half was closed already.
        if !self.has_sent_all {
            let _ = self.send.reset(self.given_up_with.into());
        }
        if !self.has_received_all {
            let _ = self.receive.stop_sending(self.given_up_with.into());
        }
    }
}
