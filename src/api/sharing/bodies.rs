//! Accounting for the memory of request bodies that are read whole before they are processed: XML and JSON of S3, calls
//! of IAM and of the admin API, the fields before the file of a form upload. Memory is taken for bytes as they arrive,
//! never for a declared length, and held until the request is over. Answers that are made whole, such as listings, have
//! as much memory again, which they hold until the client has read them.

use super::shares::{NoMore, Shares, locked};
use crate::actors::frontend::Holder;
use crate::limits::{BODY_WAIT_MAX, TURN_FREE_PER_MIB, TURN_POLL_LONG, TURN_REQUEST_FREE};
use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::yield_now;
use tokio::time::timeout;

/// The memory for the bodies of all requests of a host, and for their answers.
#[derive(Debug)]
pub struct BodyRoom {
    requests: Shares,
    answers: Shares,
}

impl BodyRoom {
    pub fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { requests: Shares::new(bytes_max), answers: Shares::new(bytes_max) })
    }

    /// Creates the accounting of a request from this address.
    pub fn seat(self: &Arc<Self>, address: Option<IpAddr>) -> Arc<Seat> {
        let holders = address.map(Holder::at).into_iter().collect();
        Arc::new(Seat { room: Arc::clone(self), held: Mutex::new(Held { holders, ..Held::default() }) })
    }
}

/// The memory and processor time that one request has used, and the holders (address, account) for which they are
/// counted. The memory is given back when the last clone is dropped.
#[derive(Debug)]
pub struct Seat {
    room: Arc<BodyRoom>,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    holders: Vec<Holder>,
    /// The access key that signed the request, once the signature was verified.
    access_key: Option<Arc<str>>,
    /// The holder in whose turn the request is polled now.
    polled_as: Option<Holder>,
    bytes: usize,
    /// The memory of the answer, and the holders that it was taken for.
    answer: (Vec<Holder>, usize),
    work: Work,
}

/// The processor time and the bytes of a request, on all threads.
#[derive(Debug, Default)]
struct Work {
    processor: Duration,
    /// The bytes of the bodies of the request and of its response.
    passed_bytes: u64,
    /// The part of `processor` beyond what the bytes explain that was already reported as slow.
    beyond: Duration,
}

impl Seat {
    /// Takes memory for this many more bytes of a body.
    pub fn take(&self, bytes: usize) -> Result<(), NoMore> {
        let mut held = locked(&self.held);
        self.room.requests.take(&held.holders, bytes)?;
        held.bytes += bytes;
        Ok(())
    }

    /// Takes memory for the whole answer, once.
    pub fn take_answer(&self, bytes: usize) -> Result<(), NoMore> {
        let mut held = locked(&self.held);
        self.room.answers.take(&held.holders, bytes)?;
        held.answer = (held.holders.clone(), bytes);
        Ok(())
    }

    /// Counts the request's memory for the account too, whose access key signed the request. If the request was polled
    /// in the turn of another holder so far, it yields once and waits for a turn of the account, because the work that
    /// follows may take long.
    pub async fn of_account(&self, access_key: &str, canonical_id: &str) {
        if !self.is_expected(access_key, Holder::Account(canonical_id.into())) {
            yield_now().await;
        }
    }

    fn is_expected(&self, access_key: &str, account: Holder) -> bool {
        let mut held = locked(&self.held);
        held.access_key = Some(access_key.into());
        let is_expected = held.polled_as.as_ref() == Some(&account);
        if !held.holders.contains(&account) {
            self.room.requests.count_for(&account, held.bytes);
            held.holders.push(account);
        }
        is_expected
    }

    /// Sets the holder in whose turn the request is polled from now on.
    pub fn polled_as(&self, holder: Option<Holder>) {
        locked(&self.held).polled_as = holder;
    }
}

impl Seat {
    /// Returns the address that the request comes from.
    pub fn address(&self) -> Option<Holder> {
        locked(&self.held).holders.iter().find(|holder| matches!(holder, Holder::Address(_))).cloned()
    }

    /// Returns the access key and the account that signed the request, once the signature was verified.
    pub fn account(&self) -> Option<(Arc<str>, Holder)> {
        let held = locked(&self.held);
        let account = held.holders.iter().find(|holder| matches!(holder, Holder::Account(_)))?;
        Some((held.access_key.clone()?, account.clone()))
    }
}

impl Seat {
    /// Counts bytes of the request's or the response's body that were passed on.
    pub fn passed(&self, bytes: usize) {
        locked(&self.held).work.passed_bytes += bytes as u64;
    }

    /// Counts the processor time of one poll, and returns the part of it that is charged as slow: all of a poll of at
    /// least `TURN_POLL_LONG`, else the increase of the request's total beyond the time that its bytes explain.
    pub fn worked(&self, poll: Duration) -> Duration {
        let work = &mut locked(&self.held).work;
        work.processor += poll;
        let usual = TURN_REQUEST_FREE + TURN_FREE_PER_MIB.mul_f64(work.passed_bytes as f64 / f64::from(1 << 20));
        let beyond = work.processor.saturating_sub(usual);
        let more = beyond.saturating_sub(work.beyond);
        work.beyond = work.beyond.max(beyond);
        if poll >= TURN_POLL_LONG { poll } else { more }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let held = locked(&self.held);
        self.room.requests.give_back(&held.holders, held.bytes);
        let (holders, bytes) = &held.answer;
        self.room.answers.give_back(holders, *bytes);
    }
}

/// The reason why a body was not read whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ungathered {
    #[error("the body is larger than {bytes_max} bytes")]
    TooLarge { bytes_max: usize },
    #[error("the memory for request bodies is used up; try again later")]
    NoRoom,
    #[error("the body did not arrive in time")]
    TooSlow,
    #[error("the body ended early")]
    Broken,
}

/// Reads a whole body of at most `bytes_max`, and takes memory from the seat for the bytes as they arrive.
pub async fn gather<S, E>(body: S, seat: &Seat, bytes_max: usize) -> Result<Bytes, Ungathered>
where
    S: Stream<Item = Result<Bytes, E>>,
{
    let mut body = std::pin::pin!(body);
    let gathered = async {
        let mut gathered = BytesMut::new();
        while let Some(bytes) = body.next().await {
            let bytes = bytes.map_err(|_| Ungathered::Broken)?;
            if gathered.len() + bytes.len() > bytes_max {
                return Err(Ungathered::TooLarge { bytes_max });
            }
            seat.take(bytes.len()).map_err(|NoMore| Ungathered::NoRoom)?;
            gathered.extend_from_slice(&bytes);
        }
        Ok(gathered.freeze())
    };
    timeout(BODY_WAIT_MAX, gathered).await.unwrap_or(Err(Ungathered::TooSlow))
}

#[cfg(test)]
mod tests {
    use super::{BodyRoom, Ungathered, gather};
    use bytes::Bytes;
    use futures::stream;
    use std::convert::Infallible;
    use std::sync::Arc;

    #[tokio::test]
    async fn memory_of_a_request_is_given_back_with_the_last_clone_of_its_seat() {
        let room = BodyRoom::new(800);
        let one = room.seat(Some([10, 0, 0, 1].into()));
        one.take(200).expect("there is room");
        one.of_account("key", "a").await;
        one.take(100).expect("there is room");
        let copy = Arc::clone(&one);
        drop(one);
        assert_eq!(room.requests.taken(), 300);
        drop(copy);
        assert_eq!(room.requests.taken(), 0);
    }

    #[test]
    fn an_answer_takes_memory_of_its_own_until_the_seat_is_left() {
        let room = BodyRoom::new(800);
        let [one, other] = [1, 1].map(|last| room.seat(Some([10, 0, 0, last].into())));
        one.take_answer(400).expect("there is room");
        assert!(other.take_answer(101).is_err(), "more than the share of one address");
        assert_eq!((room.requests.taken(), room.answers.taken()), (0, 400));
        drop(one);
        assert_eq!(room.answers.taken(), 0);
    }

    fn pieces(count: usize) -> impl futures::Stream<Item = Result<Bytes, Infallible>> {
        stream::iter((0..count).map(|_| Ok(Bytes::from_static(&[7; 10]))))
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_bound_and_takes_memory_as_it_arrives() {
        let room = BodyRoom::new(800);
        let one = room.seat(Some([10, 0, 0, 1].into()));
        assert_eq!(gather(pieces(5), &one, 50).await.map(|body| body.len()), Ok(50));
        assert_eq!(room.requests.taken(), 50);
        assert_eq!(gather(pieces(6), &one, 50).await, Err(Ungathered::TooLarge { bytes_max: 50 }));
        assert_eq!(gather(pieces(100), &one, 5000).await, Err(Ungathered::NoRoom));
    }

    #[tokio::test(start_paused = true)]
    async fn reading_a_body_that_does_not_arrive_times_out() {
        let one = BodyRoom::new(800).seat(None);
        let never = stream::pending::<Result<Bytes, Infallible>>();
        assert_eq!(gather(never, &one, 50).await, Err(Ungathered::TooSlow));
    }
}
