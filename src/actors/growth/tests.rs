//! Tests of `Sampling` over a test host whose clock is set forward.

use super::buckets::BucketSample;
use super::{BucketGrowth, BucketHistory, Sampled, Sampling, SamplingOptions};
use crate::actors::drives::test_host::open_host;
use bytes::Bytes;
use std::time::Duration;

#[actix::test]
async fn stored_bytes_are_measured_every_hour_and_the_history_outlives_the_process() {
    let root = tempfile::tempdir().expect("a directory");
    let host = open_host(root.path(), 1, 0).await;
    let new = || Sampling::new(host.upkeep.clone(), SamplingOptions::default());
    let (mut sampling, handle) = new();
    assert_eq!(sampling.advance().await.expect("a step"), Sampled::Measured(0));
    assert_eq!(sampling.advance().await.expect("a step"), Sampled::Nothing, "no measurement is due yet");
    host.put("key", &Bytes::from(vec![7; 24_000])).await.expect("stored");
    for _ in 0..24 {
        assert_eq!(handle.growth().bytes_per_day, None, "too little was measured");
        host.clock.forward(Duration::from_secs(3600));
        assert_eq!(sampling.advance().await.expect("a step"), Sampled::Measured(24_000));
    }
    assert_eq!(handle.growth().bytes_per_day, Some(24_000));
    // After a restart only the metadata is left.
    let (mut sampling, handle) = new();
    assert_eq!(handle.growth().stored_bytes, None);
    assert_eq!(sampling.advance().await.expect("a step"), Sampled::Nothing);
    assert_eq!((handle.growth().stored_bytes, handle.growth().bytes_per_day), (Some(24_000), Some(24_000)));
    assert_eq!(handle.growth().measured, Duration::from_secs(24 * 3600));
    host.close().await;
}

#[actix::test]
async fn the_growth_of_a_bucket_is_measured_once_a_day_and_outlives_the_process() {
    let root = tempfile::tempdir().expect("a directory");
    let host = open_host(root.path(), 1, 0).await;
    // Returns the growth now, and the sample of this day.
    let growth = async || {
        let now = host.upkeep.ambient.clock.unix_ms();
        let look_up = host.upkeep.look_up(move |view| {
            let (rows, _) = view.buckets("", None, 9)?;
            let (id, created) = (rows[0].bucket.id, rows[0].bucket.created);
            let (usage, history) = (view.usage(id)?, BucketHistory::read(view, now)?);
            Ok((history.growth(id, created, usage, now), view.document(&BucketSample::key(now))?))
        });
        look_up.await.expect("readable")
    };
    let day = Duration::from_secs(24 * 3600);
    host.put("key", &Bytes::from(vec![7; 24_000])).await.expect("stored");
    assert_eq!(growth().await.0, None, "it was made less than a day ago");
    // Each step is of a new process, which knows only the metadata.
    let measure = async || {
        let (mut sampling, _) = Sampling::new(host.upkeep.clone(), SamplingOptions::default());
        sampling.advance().await.expect("a step")
    };
    host.clock.forward(20 * day);
    assert_eq!(growth().await.0, None, "nothing was measured");
    measure().await;
    let first = growth().await.1.expect("the first sample of this day");
    host.clock.forward(Duration::from_secs(1));
    assert_eq!(measure().await, Sampled::Nothing);
    assert_eq!(growth().await.1, Some(first), "one sample a day");
    host.clock.forward(2 * day);
    host.put("more", &Bytes::from(vec![7; 8_000])).await.expect("stored");
    assert_eq!(growth().await.0, Some(BucketGrowth { bytes_per_day: 3_999, objects_per_day: 0 }));
    host.close().await;
}
