//! Digests of this replica's tables, computed in the background when an entry asks for one (`Change::ComputeDigest`).

use crate::actors::consensus::shared::{DigestAt, Digests, Shared, locked};
use crate::storage::kv::{KvRead, KvResult};
use crate::storage::meta::snapshot::{TablesDigest, TablesHasher};
use crate::storage::raft_log::Point;
use std::sync::Arc;
use std::time::Duration;

/// The bytes of rows that are hashed in one step.
const STEP_BYTES: usize = 1 << 20;
/// The pause between steps, which bounds reading to some 30 MiB/s.
const STEP_PAUSE: Duration = Duration::from_millis(30);

/// Begins to compute the digest of the tables in this view, as they are after the entry at `point`. A digest that is
/// still being computed is given up.
pub(super) fn start_digest(shared: &Arc<Shared>, point: Point, view: Arc<dyn KvRead>) {
    locked(&shared.digests).wanted = Some(point);
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        let mut hasher = TablesHasher::new(view);
        while locked(&shared.digests).wanted == Some(point) {
            match shared.offload.run(move || step(hasher)).await {
                Ok(Ok(Step::More(rest))) => hasher = rest,
                Ok(Ok(Step::Done(digest))) => {
                    *locked(&shared.digests) = Digests { wanted: None, last: Some(DigestAt { point, digest }) };
                    return;
                }
                // The next read of damaged tables has them rebuilt, and the next `ComputeDigest` asks for a digest
                // again.
                Ok(Err(error)) => return tracing::warn!(%error, "no digest of the metadata tables was computed"),
                Err(error) => return tracing::warn!(%error, "no digest of the metadata tables was computed"),
            }
            tokio::time::sleep(STEP_PAUSE).await;
        }
    });
}

enum Step {
    More(TablesHasher),
    Done(TablesDigest),
}

/// Blocking.
fn step(mut hasher: TablesHasher) -> KvResult<Step> {
    Ok(match hasher.advance(STEP_BYTES)? {
        Some(digest) => Step::Done(digest),
        None => Step::More(hasher),
    })
}
