//! The client's body as it comes: counted against what was declared, and never waited for without end.

use crate::actors::request::{BodyStream, StoreError};
use crate::limits::{INLINE_BYTES_MAX, PUT_BYTES_MAX};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use std::collections::VecDeque;
use std::time::Duration;

pub(super) struct Intake {
    body: BodyStream,
    /// Pieces read but not yet given out.
    ahead: VecDeque<Bytes>,
    declared: Option<u64>,
    received: u64,
    idle_max: Duration,
}

/// The beginning of a body.
pub(super) enum Head {
    /// The whole body, at most `INLINE_BYTES_MAX`.
    Whole(Bytes),
    /// Its first bytes, and more than `INLINE_BYTES_MAX` in all; the rest comes from `next`.
    Start(Bytes),
}

impl Intake {
    pub(super) fn new(body: BodyStream, declared: Option<u64>, idle_max: Duration) -> Self {
        Self { body, ahead: VecDeque::new(), declared, received: 0, idle_max }
    }

    /// Returns the size that the client declared.
    pub(super) fn declared(&self) -> Option<u64> {
        self.declared
    }

    /// Takes back what `head` gave, which was the start of the body.
    pub(super) fn give_back(&mut self, head: Bytes) {
        self.ahead.push_front(head);
    }

    /// The next piece, not empty; `None` at the end, which is where it was declared to be.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        if let Some(piece) = self.ahead.pop_front() {
            return Ok(Some(piece));
        }
        loop {
            let next = tokio::time::timeout(self.idle_max, self.body.next()).await;
            let Ok(next) = next else {
                return Err(StoreError::BodyIncomplete { why: "the client sent nothing for too long".to_owned() });
            };
            match next {
                Some(piece) => {
                    let piece = piece?;
                    self.count(piece.len())?;
                    if !piece.is_empty() {
                        return Ok(Some(piece));
                    }
                }
                None => return self.ended().map(|()| None),
            }
        }
    }

    /// Reads until the body has ended or is too large to be small. Memory grows by what has arrived, whatever was declared.
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
                Err(StoreError::BodyIncomplete { why: format!("more than the {declared} bytes declared came") })
            }
            _ => Ok(()),
        }
    }

    fn ended(&self) -> Result<(), StoreError> {
        match self.declared {
            Some(declared) if self.received != declared => {
                Err(StoreError::BodyIncomplete { why: format!("{} of {declared} bytes came", self.received) })
            }
            _ => Ok(()),
        }
    }
}
