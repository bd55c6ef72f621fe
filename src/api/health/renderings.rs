//! The metrics as texts that are being sent. A text is large beside the request for it, which anybody may send, and a
//! client may leave it unread: so only a few texts are kept, and further scrapes get the last of them.

use crate::api::sharing::locked;
use actix_web::body::{BodySize, MessageBody};
use bytes::Bytes;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// The number of unread texts from which a new one is made only when the last one is old, and the number of all.
const FRESH_MAX: usize = 8;
const KEPT_MAX: usize = 64;
const OLD_AFTER: Duration = Duration::from_secs(10);
/// The largest piece that is handed to the connection, which copies it.
const SLICE_BYTES: usize = 16 << 10;

/// The texts that are not sent to their ends yet, the last one at the end.
#[derive(Debug, Default)]
pub struct Renderings(Mutex<Vec<(Instant, Weak<Bytes>)>>);

impl Renderings {
    /// Returns the metrics as a response body: rendered now, or the last rendering if many are still being sent.
    pub fn body(&self, render: impl FnOnce() -> Bytes) -> Rendering {
        let mut kept = locked(&self.0);
        kept.retain(|(_, text)| text.strong_count() > 0);
        let is_full = |made: &Instant| kept.len() >= KEPT_MAX || made.elapsed() < OLD_AFTER;
        let last = kept.last().filter(|(made, _)| kept.len() >= FRESH_MAX && is_full(made));
        let text = last.and_then(|(_, text)| text.upgrade()).unwrap_or_else(|| {
            let text = Arc::new(render());
            kept.push((Instant::now(), Arc::downgrade(&text)));
            text
        });
        Rendering { text, sent: 0 }
    }
}

/// A text that is being sent.
#[derive(Debug)]
pub struct Rendering {
    text: Arc<Bytes>,
    sent: usize,
}

impl MessageBody for Rendering {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.text.len() as u64)
    }

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let slice = self.text.slice(self.sent..self.text.len().min(self.sent + SLICE_BYTES));
        self.sent += slice.len();
        Poll::Ready((!slice.is_empty()).then_some(Ok(slice)))
    }
}

#[cfg(test)]
mod tests {
    use super::{FRESH_MAX, Renderings, SLICE_BYTES};
    use actix_web::body::to_bytes;
    use bytes::Bytes;

    #[actix::test]
    async fn a_text_is_sent_whole_and_in_pieces() {
        let text = Bytes::from(vec![7; 3 * SLICE_BYTES + 1]);
        let body = Renderings::default().body(|| text.clone());
        assert_eq!(to_bytes(body).await.expect("a body"), text);
    }

    #[test]
    fn scrapes_share_the_last_text_while_many_are_unread() {
        let renderings = Renderings::default();
        let mut made = 0;
        let mut scrape = || {
            renderings.body(|| {
                made += 1;
                Bytes::from(made.to_string())
            })
        };
        let mut unread: Vec<_> = (0..FRESH_MAX + 3).map(|_| scrape()).collect();
        let texts: Vec<_> = unread.iter().map(|body| body.text.to_vec()).collect();
        assert_eq!(texts[0], b"1");
        assert!(texts[FRESH_MAX..].iter().all(|text| *text == texts[FRESH_MAX - 1]), "{texts:?}");
        unread.remove(0);
        assert_eq!(scrape().text.as_ref(), (FRESH_MAX + 1).to_string().as_str(), "one was read: a new one is made");
    }
}
