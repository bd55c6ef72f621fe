//! `Reader`: the body of a GET as a stream. It fetches units ahead of the client and yields their bytes in order.
//! Dropping it cancels the fetches under way, and releases the permit and the registration of the read.

use super::sealed::broken;
use super::source::{Source, Unit};
use crate::actors::drives::UnderWay;
use crate::actors::frontend::Permit;
use crate::actors::request::{ActiveRead, BodyStream, StoreError};
use crate::limits::{GET_READ_STRIPES, GET_STRIPES_AHEAD};
use crate::storage::sealing::Opener;
use crate::traces::Span;
use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use std::collections::VecDeque;
use tokio::task::JoinError;
use tokio_util::task::AbortOnDropHandle;

/// The number of units that are held or under way at once.
pub(super) const UNITS_AHEAD: usize = GET_STRIPES_AHEAD / GET_READ_STRIPES;

type Fetched = Result<Vec<Bytes>, StoreError>;
/// The bytes of a unit, and the opener for this and the following units if a new one begins here.
type FetchedUnit = Result<(Option<Opener>, Vec<Bytes>), StoreError>;

/// Starts a fetch in a task of its own, which is cancelled when the returned future is dropped. The task makes progress
/// while the client takes no bytes. Otherwise a few stalled clients would occupy all streams of a connection, and the
/// measured latency of nodes would include their pauses.
fn begin(
    opener: Option<Opener>,
    fetch: impl Future<Output = Fetched> + Send + 'static,
) -> BoxFuture<'static, FetchedUnit> {
    let task = AbortOnDropHandle::new(tokio::spawn(fetch));
    let not_done = |error: JoinError| Err(StoreError::Internal { why: format!("the task of a read failed: {error}") });
    Box::pin(async move { task.await.unwrap_or_else(not_done).map(|pieces| (opener, pieces)) })
}

pub(super) struct Reader {
    source: Source,
    fetching: FuturesOrdered<BoxFuture<'static, FetchedUnit>>,
    /// The fetched bytes in stored form.
    ready: VecDeque<Bytes>,
    /// The opener for the ready bytes of an encrypted object.
    opener: Option<Opener>,
    /// The number of bytes that the client has still to get.
    owed: u64,
    _held: Held,
}

/// The guards that a read holds until its stream is dropped.
pub(super) struct Held {
    pub(super) _permit: Permit,
    pub(super) _read: Option<ActiveRead>,
    pub(super) _load: UnderWay,
    /// The span of the read.
    pub(super) _span: Span,
}

impl Reader {
    pub(super) fn new(source: Source, owed: u64, held: Held) -> Self {
        Self { source, fetching: FuturesOrdered::new(), ready: VecDeque::new(), opener: None, owed, _held: held }
    }

    /// Returns the next piece, which is not empty; `None` at the end of the range.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        loop {
            if let Some(piece) = self.take_ready()? {
                let length = piece.len() as u64;
                if length > self.owed {
                    return Err(StoreError::Internal {
                        why: "a read returned more bytes than its range has".to_owned(),
                    });
                }
                self.owed -= length;
                return Ok(Some(piece));
            }
            while self.fetching.len() < UNITS_AHEAD {
                let Some(unit) = self.source.next().await? else { break };
                let Unit { blob, stripes, bytes, opener } = unit;
                self.fetching.push_back(begin(opener, blob.fetch(stripes, bytes)));
            }
            match self.fetching.next().await {
                Some(fetched) => {
                    let (opener, pieces) = fetched?;
                    if opener.is_some() {
                        self.end_run()?;
                        self.opener = opener;
                    }
                    self.ready.extend(pieces.into_iter().filter(|piece| !piece.is_empty()));
                }
                None if self.owed == 0 => return self.end_run().map(|()| None),
                None => return Err(StoreError::Internal { why: format!("a read ended {} bytes early", self.owed) }),
            }
        }
    }

    /// Returns the next of the ready bytes, decrypted if the object is encrypted; `None` if more must be fetched first.
    fn take_ready(&mut self) -> Result<Option<Bytes>, StoreError> {
        let Some(opener) = &mut self.opener else { return Ok(self.ready.pop_front()) };
        while let Some(sealed) = self.ready.front_mut() {
            match opener.push(sealed).map_err(|error| broken(&error))? {
                Some(plain) if !plain.is_empty() => return Ok(Some(plain)),
                Some(_) => {}
                None => drop(self.ready.pop_front()),
            }
        }
        Ok(None)
    }

    /// Checks that all bytes of the run arrived and were decrypted.
    fn end_run(&mut self) -> Result<(), StoreError> {
        let ended = self.opener.take().map(Opener::finish).transpose();
        ended.map(|_| ()).map_err(|error| broken(&error))
    }

    /// Returns the stream of `first` and all further pieces. It ends after an error.
    pub(super) fn into_stream(self, first: Option<Bytes>) -> BodyStream {
        let rest = futures::stream::unfold(Some(self), |reader| async move {
            let mut reader = reader?;
            match reader.next().await {
                Ok(Some(piece)) => Some((Ok(piece), Some(reader))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        });
        Box::pin(futures::stream::iter(first.map(Ok)).chain(rest))
    }
}

#[cfg(test)]
mod tests {
    use super::{Fetched, begin};
    use futures::future::pending;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn a_fetch_runs_without_being_polled_and_is_cancelled_by_dropping_it() {
        let (done, is_done) = oneshot::channel();
        let fetching = begin(None, async move {
            let _ = done.send(());
            Ok(Vec::new())
        });
        is_done.await.expect("it runs before it is polled");
        assert!(fetching.await.is_ok());
        let (held, is_given_back) = oneshot::channel::<()>();
        let fetching = begin(None, async move {
            let _held = held;
            pending::<Fetched>().await
        });
        drop(fetching);
        assert!(is_given_back.await.is_err(), "the cancelled task drops its state");
    }
}
