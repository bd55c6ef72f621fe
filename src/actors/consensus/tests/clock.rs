//! A replica whose wall clock jumps, while it runs and while it is stopped.

use super::{Host, create_bucket, until};
use crate::actors::consensus::MetaHandle;
use crate::ambient::{Ambient, Clock};
use crate::storage::meta::command::{
    Change, DeleteConditions, DeleteVersion, PutObject, Refusal, Reply, WriteConditions,
};
use crate::storage::meta::record::{
    AdvanceClock, ClockSource, ObjectLock, Pick, QuotaChange, Retention, RetentionMode, Traits, Versioning,
};
use crate::storage::meta::samples::put_empty;
use crate::types::{BucketId, UnixMs};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// The machine's clocks, with a wall clock that is ahead by a settable amount.
#[derive(Debug)]
struct Wrong {
    right: Arc<dyn Clock>,
    ahead_ms: AtomicI64,
}

impl Wrong {
    fn set(&self, ahead_ms: i64) {
        self.ahead_ms.store(ahead_ms, Ordering::SeqCst);
    }
}

impl Clock for Wrong {
    fn unix_ms(&self) -> UnixMs {
        UnixMs(self.right.unix_ms().0.saturating_add_signed(self.ahead_ms.load(Ordering::SeqCst)))
    }

    fn monotonic(&self) -> Duration {
        self.right.monotonic()
    }
}

/// A host with a version that is locked for 30 days.
struct World {
    host: Host,
    clock: Arc<Wrong>,
    bucket: BucketId,
    version: Pick,
}

impl World {
    async fn new() -> (Self, MetaHandle) {
        let ambient = Ambient::system();
        let clock = Arc::new(Wrong { right: Arc::clone(&ambient.clock), ahead_ms: AtomicI64::new(0) });
        let mut host = Host::with_drives(1);
        host.ambient = Ambient { clock: Arc::clone(&clock) as _, ..ambient };
        let meta = host.start().await;
        let bucket = create_bucket(&meta, "b").await;
        confirmed(&meta).await;
        let versioning = Some(Versioning::Enabled);
        let locks =
            Change::SetBucket { bucket, versioning, lock: Some(ObjectLock::default()), quota: QuotaChange::default() };
        meta.propose(locks).await.expect("decided");
        let until = UnixMs(clock.right.unix_ms().0 + 30 * DAY_MS as u64);
        let retention = Some(Retention { mode: RetentionMode::Compliance, until });
        let traits = Traits { retention, ..Traits::default() };
        let put = PutObject { traits, ..put_empty("key", 1) };
        let version = match meta.propose(Change::PutObject(Box::new(put))).await {
            Ok(Reply::ObjectPut { object }) => object.version.pick(),
            other => panic!("not put: {other:?}"),
        };
        (Self { host, clock, bucket, version }, meta)
    }

    async fn is_locked(&self, meta: &MetaHandle) -> bool {
        let delete = DeleteVersion {
            key: "key".to_owned(),
            pick: self.version,
            conditions: DeleteConditions { write: WriteConditions::default(), ..DeleteConditions::default() },
            owner: String::new(),
            salt: 0,
            bypass_governance: true,
            event: None,
        };
        match meta.propose(Change::DeleteVersions { bucket: self.bucket, deletes: vec![delete] }).await {
            Ok(Reply::VersionsDeleted(outcomes)) => outcomes[..] == [Err(Refusal::Locked)],
            other => panic!("not decided: {other:?}"),
        }
    }
}

/// Waits until the log has a confirmed time.
async fn confirmed(meta: &MetaHandle) {
    let clock = || meta.local_view().and_then(|view| view.clock().expect("readable"));
    until("the time is confirmed", || clock().is_some()).await;
}

#[actix::test]
async fn a_lock_of_30_days_survives_a_wall_clock_that_is_60_days_ahead() {
    let (mut world, meta) = World::new().await;
    world.clock.set(60 * DAY_MS);
    assert!(world.is_locked(&meta).await, "a request with the wrong clock");
    until("the wrong clock is reported", || meta.clock().status().troubles().len() == 1).await;
    world.clock.set(0);
    assert!(world.is_locked(&meta).await, "a request with the right clock");
    meta.shutdown().await;
    world.clock.set(60 * DAY_MS);
    for _ in 0..2 {
        let meta = world.host.start().await;
        assert!(world.is_locked(&meta).await, "a request after a restart with the wrong clock");
        assert!(meta.clock().time().now > meta.clock().time().confirmed, "dates follow the clock");
        meta.shutdown().await;
    }
    let meta = world.host.start().await;
    let advance = AdvanceClock { to: world.clock.unix_ms(), era: 0, by: ClockSource::Operator };
    meta.propose(Change::AdvanceClock(advance)).await.expect("decided");
    assert!(!world.is_locked(&meta).await, "an operator has confirmed the clock");
    until("the clock is right", || meta.clock().status().troubles().is_empty()).await;
    meta.shutdown().await;
}

#[actix::test]
async fn a_restarted_replica_continues_from_the_confirmed_time_in_its_log() {
    let (mut world, meta) = World::new().await;
    let before = meta.clock().time().confirmed;
    meta.shutdown().await;
    world.clock.set(-300 * DAY_MS);
    let meta = world.host.start().await;
    until("the log is read", || meta.clock().time().confirmed.0 + 1000 >= before.0).await;
    assert!(meta.clock().time().now >= meta.clock().time().confirmed, "no date is before the confirmed time");
    meta.shutdown().await;
}
