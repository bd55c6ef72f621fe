//! `Intake`: the pieces of a client's body as they arrive. It compares the size with the declared one, and ends with an
//! error if the client sends nothing for too long.

use crate::actors::request::{BodyStream, RequestContext, StoreError};
use crate::limits::{INLINE_BYTES_MAX, PUT_BYTES_MAX};
use crate::traces::Span;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use std::collections::VecDeque;
use std::time::Duration;

pub(super) struct Intake {
    body: BodyStream,
    /// Pieces that were read and not returned yet.
    ahead: VecDeque<Bytes>,
    declared: Option<u64>,
    received: u64,
    idle_max: Duration,
    /// The span of receiving the body.
    span: Span,
}

/// The beginning of a body.
pub(super) enum Head {
    /// The whole body, at most `INLINE_BYTES_MAX`.
    Whole(Bytes),
    /// The first bytes of a body of more than `INLINE_BYTES_MAX`; `next` returns the rest.
    Start(Bytes),
}

impl Intake {
    pub(super) fn new(body: BodyStream, declared: Option<u64>, context: &RequestContext) -> Self {
        let (idle_max, span) = (context.times.body_idle_max, context.spans.begin("put.receive"));
        Self { body, ahead: VecDeque::new(), declared, received: 0, idle_max, span }
    }

    /// Returns the size that the client declared.
    pub(super) fn declared(&self) -> Option<u64> {
        self.declared
    }

    /// Takes back the bytes that `head` returned; `next` returns them first.
    pub(super) fn give_back(&mut self, head: Bytes) {
        self.ahead.push_front(head);
    }

    /// Returns the next piece, which is not empty; `None` at the end. A body that ends before its declared size is an
    /// error.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        if let Some(piece) = self.ahead.pop_front() {
            return Ok(Some(piece));
        }
        loop {
            let next = tokio::time::timeout(self.idle_max, self.body.next()).await;
            let Ok(next) = next else {
                let why = format!("the client sent nothing for {:?}", self.idle_max);
                return Err(StoreError::BodyIncomplete { why });
            };
            match next {
                Some(piece) => {
                    let piece = piece?;
                    self.count(piece.len())?;
                    if !piece.is_empty() {
                        return Ok(Some(piece));
                    }
                }
                None => {
                    self.span.ended();
                    return self.ended().map(|()| None);
                }
            }
        }
    }

    /// Reads until the body has ended or has more than `INLINE_BYTES_MAX`. Memory grows with the bytes that arrived,
    /// and does not depend on the declared size.
    pub(super) async fn head(&mut self) -> Result<Head, StoreError> {
        let mut gathered = BytesMut::new();
        while let Some(piece) = self.next().await? {
            if gathered.len() + piece.len() > INLINE_BYTES_MAX {
                if gathered.is_empty() {
                    return Ok(Head::Start(piece));
                }
                self.ahead.push_back(piece);
                return Ok(Head::Start(gathered.freeze()));
            }
            gathered.extend_from_slice(&piece);
        }
        Ok(Head::Whole(gathered.freeze()))
    }

    fn count(&mut self, bytes: usize) -> Result<(), StoreError> {
        self.received += bytes as u64;
        if self.received > PUT_BYTES_MAX {
            return Err(StoreError::BodyTooLarge);
        }
        match self.declared {
            Some(declared) if self.received > declared => {
                Err(StoreError::BodyIncomplete { why: format!("more than the declared {declared} bytes arrived") })
            }
            _ => Ok(()),
        }
    }

    fn ended(&self) -> Result<(), StoreError> {
        match self.declared {
            Some(declared) if self.received != declared => Err(StoreError::BodyIncomplete {
                why: format!("{} of the declared {declared} bytes arrived", self.received),
            }),
            _ => Ok(()),
        }
    }
}
