//! Tests of drives that never answer: a chore gives its call up after a while, and what answers late harms nothing.

use super::{append, chunk_of, read, shard};
use crate::actors::drives::test_host::open_host;
use crate::actors::drives::{Blocking, Job, LocalNode, NodeContext};
use crate::actors::upkeep::{ClusterContext, UpkeepError};
use crate::limits::{DROP_LOOK_WAIT_MAX, UPKEEP_WAIT_MAX};
use crate::net::{NodeService, PeerError};
use crate::types::NodeId;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Threads that hold each job, as if its call did not return, until a test lets them go.
#[derive(Default)]
struct Hanging {
    held: Mutex<Vec<Job>>,
}

impl fmt::Debug for Hanging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hanging").finish_non_exhaustive()
    }
}

impl Hanging {
    /// Runs the jobs that are held, and returns their number.
    fn answer(&self) -> usize {
        let held = std::mem::take(&mut *self.held.lock().unwrap_or_else(PoisonError::into_inner));
        let count = held.len();
        held.into_iter().for_each(|job| job());
        count
    }
}

impl Blocking for Hanging {
    fn run(&self, job: Job) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).push(job);
    }
}

#[actix::test]
async fn a_look_at_tables_that_never_answer_is_given_up() {
    let root = tempfile::tempdir().expect("a directory");
    let host = open_host(root.path(), 1, 0).await;
    let hanging = Arc::new(Hanging::default());
    let context = ClusterContext { threads: hanging.clone(), ..host.upkeep.clone() };
    tokio::time::pause();
    let start = Instant::now();
    let looked = context.look_up(|view| view.counts()).await;
    assert!(matches!(looked, Err(UpkeepError::TimedOut)), "{looked:?}");
    let took = start.elapsed();
    assert!(took >= UPKEEP_WAIT_MAX && took < UPKEEP_WAIT_MAX + Duration::from_secs(1), "{took:?}");
    tokio::time::resume();
    assert_eq!(hanging.answer(), 1, "it answers late, to nobody");
    assert!(host.upkeep.look_up(|view| view.counts()).await.is_ok());
    host.close().await;
}

#[actix::test]
async fn a_drop_whose_look_at_the_index_hangs_drops_nothing_later() {
    let root = tempfile::tempdir().expect("a directory");
    let host = open_host(root.path(), 1, 0).await;
    let node = NodeId(0);
    append(&host, node, 1).await;
    let hanging = Arc::new(Hanging::default());
    let context = NodeContext { threads: hanging.clone(), ..host.node_context.clone() };
    let service = LocalNode::new(host.drives.iter().cloned().collect(), context);
    tokio::time::pause();
    let start = Instant::now();
    let dropped = service.drop_shards(node, vec![shard(1)]).await;
    assert!(matches!(dropped, Err(PeerError::TimedOut(_))), "{dropped:?}");
    let took = start.elapsed();
    assert!(took >= DROP_LOOK_WAIT_MAX && took < UPKEEP_WAIT_MAX, "{took:?}");
    tokio::time::resume();
    assert_eq!(hanging.answer(), 1);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(hanging.answer(), 0, "nothing follows the look");
    assert_eq!(read(&host, node, 1).await, Some(chunk_of(1)));
    host.close().await;
}
