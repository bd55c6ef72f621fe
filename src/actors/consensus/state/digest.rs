//! Digests of this replica's tables, computed aside from requests where the log asks for one (`Change::ComputeDigest`).

use crate::actors::consensus::shared::{DigestAt, Digests, Shared, locked};
use crate::storage::kv::{KvRead, KvResult};
use crate::storage::meta::snapshot::{TablesDigest, TablesHasher};
use crate::storage::raft_log::Point;
use std::sync::Arc;
use std::time::Duration;

/// Bytes of rows that are hashed in one piece.
const STEP_BYTES: usize = 1 << 20;
/// The pause between pieces, so that some 30 MiB/s are read at most.
const STEP_PAUSE: Duration = Duration::from_millis(30);

/// Begins to compute the digest of the tables as they are in this view. One that is still being computed is given up.
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
                // Tables that cannot be read are rebuilt by whoever needs them; the next entry asks again.
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
