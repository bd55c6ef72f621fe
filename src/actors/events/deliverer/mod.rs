//! `Deliverer`: sends the events in the queue of one webhook to it. There is one deliverer for each webhook, so that a
//! webhook that does not answer holds up no other. It owns the window of events that it is sending.
//!
//! It is a chore (`upkeep::Background`): it receives `Wake` and `Stop`, and sends no messages to actors. It works on
//! the host that leads and rests on the others. A new leader starts at the beginning of the queue, so events that were
//! sent and not yet removed are sent again: delivery is at least once, and in the order of changes for each key.
//!
//! A message that cannot be delivered is sent again after 1 s, 2 s, 4 s… and 60 s at most. If more events wait for the
//! webhook than its queue limit, it misses the oldest. A message that the webhook refuses is dropped after
//! `REFUSALS_MAX` attempts.

use super::queue::{EventQueue, EventSink, Message, SinkFault, Target, Targets};
use super::record::EventSource;
use super::window::{Taken, Window};
use crate::actors::upkeep::{Background, Chore, UpkeepError};
use crate::ambient::Ambient;
use crate::metrics;
use bytes::Bytes;
use futures::future::join_all;
use std::sync::Arc;
use std::time::Duration;

pub type Deliverer = Background<Delivery>;

#[derive(Clone, Copy, Debug)]
pub struct DeliveryOptions {
    /// The number of rows of the queue that are read at a time.
    pub page: usize,
    /// The number of messages that are sent to one webhook concurrently.
    pub sent_at_once: usize,
    /// The pause before an empty queue is read again.
    pub idle: Duration,
    pub retry_min: Duration,
    pub retry_max: Duration,
    /// Delivered events are removed from the queue after this interval, or earlier if there are `finish_events` of
    /// them.
    pub finish_every: Duration,
    pub finish_events: u64,
}

impl Default for DeliveryOptions {
    fn default() -> Self {
        Self {
            page: 128,
            sent_at_once: 16,
            idle: Duration::from_millis(250),
            retry_min: Duration::from_secs(1),
            retry_max: Duration::from_secs(60),
            finish_every: Duration::from_secs(1),
            finish_events: 512,
        }
    }
}

impl DeliveryOptions {
    /// Returns the pause after this number of failures in a row.
    fn retry_after(&self, failures: u32) -> Duration {
        let doubled = self.retry_min.saturating_mul(1 << failures.saturating_sub(1).min(16));
        doubled.min(self.retry_max)
    }
}

/// The parts that all deliverers share.
#[derive(Clone, Debug)]
pub struct DeliveryContext {
    pub queue: Arc<dyn EventQueue>,
    pub ambient: Ambient,
    /// The identity of the store in messages.
    pub speaker: EventSource,
    pub options: DeliveryOptions,
}

/// The outcome of a step (`Delivery::advance`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// This host does not lead, so another one delivers.
    Elsewhere,
    /// No event was due.
    Nothing,
    /// Progress was made: the greater of the number of messages that were accepted or refused, and of rows that were
    /// read.
    Told(usize),
    /// The webhook could not be reached, this number of times in a row.
    Nobody { failures: u32 },
}

#[derive(Debug)]
pub struct Delivery {
    context: DeliveryContext,
    name: String,
    target: Target,
    /// The term in which this host last delivered.
    term: Option<u64>,
    /// The window, while this host delivers.
    window: Option<Window>,
    /// The number of steps in a row in which the webhook could not be reached.
    failures: u32,
    /// The position up to and including which events were removed from the queue.
    finished: u64,
    /// The time of the last attempt to remove events, by the monotonic clock.
    tried: Duration,
    /// The number of events that left the window and were not yet removed from the queue.
    settled: u64,
}

/// Returns the delivery chores of all webhooks.
pub fn deliveries(targets: &Targets, context: &DeliveryContext) -> Vec<Delivery> {
    targets.iter().for_each(|(name, _)| make_known(name));
    let delivery = |(name, target): (&str, &Target)| Delivery {
        context: context.clone(),
        name: name.to_owned(),
        target: target.clone(),
        term: None,
        window: None,
        failures: 0,
        finished: 0,
        tried: Duration::ZERO,
        settled: 0,
    };
    targets.iter().map(delivery).collect()
}

impl Delivery {
    /// Fills the window from the queue, sends the events that may be sent, and removes delivered events from the queue.
    pub async fn advance(&mut self) -> Result<Delivered, UpkeepError> {
        let Some(term) = self.context.queue.term() else {
            self.rest();
            return Ok(Delivered::Elsewhere);
        };
        if self.term.replace(term).is_some_and(|former| former != term) {
            self.rest();
        }
        self.window.get_or_insert_with(|| Window::new(self.name.clone()));
        let read = self.read().await?;
        let settled = self.send().await;
        self.settled += settled as u64;
        self.show();
        self.remove_settled().await?;
        Ok(match settled {
            _ if self.failures > 0 => Delivered::Nobody { failures: self.failures },
            0 if read == 0 => Delivered::Nothing,
            settled => Delivered::Told(settled.max(read)),
        })
    }

    /// Forgets the window: another host delivers now or did since, and this one starts from the queue when it leads
    /// again.
    fn rest(&mut self) {
        self.window = None;
        (self.failures, self.finished, self.settled) = (0, 0, 0);
        self.show();
    }

    /// Fills the window from the queue and counts the queue, dropping events beyond the queue limit. Returns the number
    /// of rows that were read.
    async fn read(&mut self) -> Result<usize, UpkeepError> {
        let mut rows = 0;
        loop {
            let taken = self.read_page().await?;
            rows += taken.rows;
            if taken.missed == 0 && !taken.is_partial {
                return Ok(rows);
            }
            self.remove_settled().await?;
        }
    }

    /// Reads a page of the queue. Called even if the window is full, so that the window learns how far behind it is.
    async fn read_page(&mut self) -> Result<Taken, UpkeepError> {
        let Some(window) = &mut self.window else { return Ok(Taken::default()) };
        let page = self.context.queue.next(&self.name, window.next(self.context.options.page)).await?;
        let taken = window.take(page, self.target.queue_limit);
        for (count, why) in [(taken.missed, "behind"), (taken.unreadable, "unreadable")] {
            if count > 0 {
                tracing::warn!(webhook = %self.name, count, why, "events of a webhook are dropped");
                metrics::EVENTS_DROPPED.with_label_values(&[self.name.as_str(), why]).inc_by(count as u64);
            }
        }
        self.settled += (taken.missed + taken.unreadable) as u64;
        Ok(taken)
    }

    /// Removes the events that were delivered or given up from the queue in the metadata, if due; in batches, since
    /// each removal is an entry of the Raft log.
    async fn remove_settled(&mut self) -> Result<(), UpkeepError> {
        let now = self.context.ambient.clock.monotonic();
        let through = self.window.as_ref().map_or(0, Window::through);
        let options = self.context.options;
        let is_due = self.settled >= options.finish_events || now.saturating_sub(self.tried) >= options.finish_every;
        if through > self.finished && is_due {
            self.tried = now;
            self.context.queue.finish(&self.name, through).await?;
            (self.finished, self.settled) = (through, 0);
        }
        Ok(())
    }

    /// Sends the first event of each chain. Returns the number of messages that were accepted or refused.
    async fn send(&mut self) -> usize {
        let Some(window) = &mut self.window else { return 0 };
        let now = self.context.ambient.clock.monotonic();
        let ready = window.ready(self.context.options.sent_at_once, now);
        let (speaker, name) = (&self.context.speaker, &self.name);
        let messages: Vec<(u64, Message)> = ready
            .into_iter()
            .filter_map(|at| {
                let body = Bytes::from(window.get(at)?.message(speaker));
                Some((at, Message { id: format!("{name}-{at:016X}"), body }))
            })
            .collect();
        let results = join_all(messages.iter().map(|(_, message)| timed(name, &self.target.sink, message))).await;
        // Events are put off from the end of the round, as it takes as long as its slowest message.
        let now = self.context.ambient.clock.monotonic();
        let (mut settled, mut unreached) = (0, None);
        for ((at, _), result) in messages.iter().zip(results) {
            match result {
                Ok(()) => {
                    window.done(*at);
                    settled += 1;
                    metrics::EVENTS_DELIVERED.with_label_values(&[name.as_str()]).inc();
                }
                Err(fault) => {
                    metrics::EVENTS_FAILED.with_label_values(&[name.as_str()]).inc();
                    match fault {
                        SinkFault::Unreachable { why } => {
                            window.unreached(*at);
                            unreached = Some(why);
                        }
                        SinkFault::Refused { why } => {
                            settled += 1;
                            let options = self.context.options;
                            let refusals = window.refused(*at, |refusals| now + options.retry_after(refusals));
                            note_refusal(name, *at, &why, refusals);
                        }
                    }
                }
            }
        }
        if settled > 0 {
            window.reached(|times| now + self.context.options.retry_after(times));
        }
        match unreached {
            Some(why) if settled == 0 => {
                self.failures = self.failures.saturating_add(1);
                tracing::warn!(
                    webhook = %name, %why, failures = self.failures,
                    "cannot deliver events to a webhook; they are kept and tried again"
                );
            }
            _ => self.failures = 0,
        }
        settled
    }

    fn show(&self) {
        let behind = self.window.as_ref().map_or(0, Window::behind);
        let shown = i64::try_from(behind).unwrap_or(i64::MAX);
        metrics::EVENTS_BEHIND.with_label_values(&[self.name.as_str()]).set(shown);
    }
}

async fn timed(name: &str, sink: &Arc<dyn EventSink>, message: &Message) -> Result<(), SinkFault> {
    let _timer = metrics::EVENT_SECONDS.with_label_values(&[name]).start_timer();
    sink.send(message).await
}

/// Makes the metrics of a webhook begin at 0: Prometheus shows an increase only of a series that existed before.
fn make_known(name: &str) {
    for counter in [&metrics::EVENTS_DELIVERED, &metrics::EVENTS_FAILED] {
        counter.with_label_values(&[name]).inc_by(0);
    }
    for why in ["behind", "unreadable", "refused"] {
        metrics::EVENTS_DROPPED.with_label_values(&[name, why]).inc_by(0);
    }
}

fn note_refusal(name: &str, position: u64, why: &str, refusals: Option<u32>) {
    if refusals.is_none() {
        tracing::warn!(webhook = name, position, why, "an event is dropped: its webhook refused it too often");
        metrics::EVENTS_DROPPED.with_label_values(&[name, "refused"]).inc();
    } else {
        tracing::debug!(webhook = name, position, why, ?refusals, "a webhook refuses an event");
    }
}

impl Chore for Delivery {
    async fn step(&mut self) -> Duration {
        let options = self.context.options;
        match self.advance().await {
            Ok(Delivered::Told(_)) => Duration::ZERO,
            Ok(Delivered::Nothing | Delivered::Elsewhere) => options.idle,
            Ok(Delivered::Nobody { failures }) => options.retry_after(failures),
            Err(error) => {
                tracing::debug!(webhook = %self.name, %error, "cannot deliver events now; trying again");
                options.retry_min
            }
        }
    }
}

#[cfg(test)]
mod tests;
