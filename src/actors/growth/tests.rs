//! Measuring what a store holds, over hours of a clock that is set.

use super::{Sampled, Sampling, SamplingOptions};
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
    assert_eq!(sampling.advance().await.expect("a step"), Sampled::Nothing, "it is not time yet");
    host.put("key", &Bytes::from(vec![7; 24_000])).await.expect("stored");
    for _ in 0..24 {
        assert_eq!(handle.growth().bytes_per_day, None, "too little was measured");
        host.clock.forward(Duration::from_secs(3600));
        assert_eq!(sampling.advance().await.expect("a step"), Sampled::Measured(24_000));
    }
    assert_eq!(handle.growth().bytes_per_day, Some(24_000));
    // All that a restart leaves of it is in the metadata.
    let (mut sampling, handle) = new();
    assert_eq!(handle.growth().stored_bytes, None);
    assert_eq!(sampling.advance().await.expect("a step"), Sampled::Nothing);
    assert_eq!((handle.growth().stored_bytes, handle.growth().bytes_per_day), (Some(24_000), Some(24_000)));
    assert_eq!(handle.growth().measured, Duration::from_secs(24 * 3600));
    host.close().await;
}
