//! The body of a GET: units fetched ahead of the client, given out in order. Dropping it drops what is under way, and gives
//! the permit and the registration of the read back.

use super::source::Source;
use crate::actors::drives::UnderWay;
use crate::actors::frontend::Permit;
use crate::actors::gateway::{BodyStream, StoreError};
use crate::actors::request::ActiveRead;
use crate::limits::{GET_READ_STRIPES, GET_STRIPES_AHEAD};
use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use std::collections::VecDeque;

/// Units held or under way at once.
pub(super) const UNITS_AHEAD: usize = GET_STRIPES_AHEAD / GET_READ_STRIPES;

type Fetched = Result<Vec<Bytes>, StoreError>;

pub(super) struct Reader {
    source: Source,
    fetching: FuturesOrdered<BoxFuture<'static, Fetched>>,
    ready: VecDeque<Bytes>,
    /// Bytes still owed to the client.
    owed: u64,
    _held: Held,
}

/// What a read holds until its stream is dropped.
pub(super) type Held = (Permit, Option<ActiveRead>, UnderWay);

impl Reader {
    pub(super) fn new(source: Source, owed: u64, held: Held) -> Self {
        Self { source, fetching: FuturesOrdered::new(), ready: VecDeque::new(), owed, _held: held }
    }

    /// The next piece, not empty; `None` when all that was owed has been given.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                let length = piece.len() as u64;
                if length > self.owed {
                    return Err(StoreError::Internal { why: "a read gave more than was asked for".to_owned() });
                }
                self.owed -= length;
                return Ok(Some(piece));
            }
            while self.fetching.len() < UNITS_AHEAD {
                let Some(unit) = self.source.next()? else { break };
                self.fetching.push_back(Box::pin(unit.blob.fetch(unit.stripes, unit.bytes)));
            }
            match self.fetching.next().await {
                Some(fetched) => self.ready.extend(fetched?.into_iter().filter(|piece| !piece.is_empty())),
                None if self.owed == 0 => return Ok(None),
                None => return Err(StoreError::Internal { why: format!("a read ended {} bytes early", self.owed) }),
            }
        }
    }

    /// The rest, after `first`. An error ends it.
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
