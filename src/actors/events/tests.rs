//! Test doubles for event delivery: a queue in memory, a webhook that fails on demand, and a clock that tests set.

use super::names::EventName;
use super::queue::{COUNTED_MAX, EventQueue, EventSink, Message, QueuePage, QueueRange, SinkFault};
use super::record::{EventContext, draft};
use super::rules::Match;
use crate::actors::upkeep::UpkeepError;
use crate::ambient::{Ambient, Clock};
use crate::storage::meta::record::EventRow;
use crate::types::{BucketId, UnixMs};
use async_trait::async_trait;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Returns the queue row of a PUT of a key, for webhooks of these names.
pub(super) fn row(position: u64, key: &str, targets: &[&str]) -> EventRow {
    let context = EventContext {
        bucket: "b".to_owned(),
        bucket_owner: "owner".to_owned(),
        requester: "somebody".to_owned(),
        source_ip: "192.0.2.3".to_owned(),
        request_id: "r".to_owned(),
        host_id: "h".to_owned(),
    };
    let to_match = |name: &&str| Match { target: (*name).to_owned(), configuration: Some("c".to_owned()) };
    let matches = targets.iter().map(to_match).collect();
    EventRow {
        seq: position,
        at: UnixMs(0),
        draft: draft(EventName::ObjectCreatedPut, matches, context).expect("there is a target"),
        bucket: BucketId(1),
        key: key.to_owned(),
        version: None,
        size_bytes: 1,
        etag: None,
    }
}

#[derive(Debug, Default)]
pub(super) struct MemoryQueue {
    pub rows: Mutex<Vec<(String, EventRow)>>,
    pub finishes: AtomicU64,
    pub elsewhere: AtomicBool,
    pub term: AtomicU64,
}

impl MemoryQueue {
    pub fn left(&self, target: &str) -> usize {
        let rows = self.rows.lock().expect("no panic while it is held");
        rows.iter().filter(|(name, _)| name == target).count()
    }
}

#[async_trait]
impl EventQueue for MemoryQueue {
    fn term(&self) -> Option<u64> {
        (!self.elsewhere.load(Ordering::SeqCst)).then(|| self.term.load(Ordering::SeqCst))
    }

    async fn next(&self, target: &str, range: QueueRange) -> Result<QueuePage, UpkeepError> {
        let rows = self.rows.lock().expect("no panic while it is held");
        let mine = rows.iter().filter(|(name, _)| name == target).map(|(_, row)| row);
        let after = |position| mine.clone().filter(move |row| row.seq > position);
        let counted: Vec<&EventRow> = after(range.count_after).take(COUNTED_MAX).collect();
        let page: Vec<EventRow> = after(range.after).take(range.limit).cloned().collect();
        Ok(QueuePage {
            is_last: page.len() < range.limit,
            rows: page,
            counted: counted.len(),
            counted_through: counted.last().map_or(range.count_after, |row| row.seq),
        })
    }

    async fn finish(&self, target: &str, through: u64) -> Result<(), UpkeepError> {
        self.finishes.fetch_add(1, Ordering::SeqCst);
        let mut rows = self.rows.lock().expect("no panic while it is held");
        rows.retain(|(name, row)| name != target || row.seq > through);
        Ok(())
    }
}

/// A webhook that records messages in order, refuses those of some keys, and can be made unreachable.
#[derive(Debug, Default)]
pub(super) struct Listener {
    pub heard: Mutex<Vec<(String, String)>>,
    pub refused: Mutex<BTreeSet<String>>,
    pub unreachable_for: Mutex<BTreeSet<String>>,
    pub away: AtomicBool,
}

impl Listener {
    pub fn keys(&self) -> Vec<String> {
        self.heard.lock().expect("no panic while it is held").iter().map(|(_, key)| key.clone()).collect()
    }
}

#[async_trait]
impl EventSink for Listener {
    async fn send(&self, message: &Message) -> Result<(), SinkFault> {
        let record: serde_json::Value = serde_json::from_slice(&message.body).expect("JSON");
        let key = record["Records"][0]["s3"]["object"]["key"].as_str().expect("a key").to_owned();
        let fails = self.unreachable_for.lock().expect("no panic while it is held").contains(&key);
        if fails || self.away.load(Ordering::SeqCst) {
            return Err(SinkFault::Unreachable { why: "away".to_owned() });
        }
        if self.refused.lock().expect("no panic while it is held").contains(&key) {
            return Err(SinkFault::Refused { why: "400".to_owned() });
        }
        self.heard.lock().expect("no panic while it is held").push((message.id.clone(), key));
        Ok(())
    }
}

#[derive(Debug, Default)]
pub(super) struct SetClock(AtomicU64);

impl SetClock {
    pub fn pass(&self, time: Duration) {
        self.0.fetch_add(u64::try_from(time.as_millis()).expect("short"), Ordering::SeqCst);
    }
}

impl Clock for SetClock {
    fn unix_ms(&self) -> UnixMs {
        UnixMs(self.0.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// Returns a clock that tests set, and an `Ambient` with that clock.
pub(super) fn ambient() -> (Arc<SetClock>, Ambient) {
    let clock = Arc::new(SetClock::default());
    (Arc::clone(&clock), Ambient { clock, entropy: Ambient::system().entropy })
}
