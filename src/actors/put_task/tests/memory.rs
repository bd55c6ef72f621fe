//! Tests of the memory that a PUT holds, and of the overlap of its stages.

use super::{BodyChecks, CHUNK, PUT_BYTES_MAX, StoreError, Upload, World, content, md5};
use crate::actors::frontend::{AdmissionLimits, Admit, Holder, S3Frontend};
use crate::actors::put_task::{object_held_bytes_max, part_held_bytes_max, put_object};
use crate::actors::request::test_nodes::{Behaviour, MemoryNodes};
use crate::actors::request::{ComputeThreads, Executor, InPlace, Job};
use crate::limits::{BLOCK_BYTES, CHUNK_BYTES_MAX};
use crate::net::{AppendChunks, ChunksRead, InventoryPage, NodeService, PeerError, ReadChunks};
use crate::storage::buffer::BufferPool;
use crate::types::{Geometry, NodeId, ShardId};
use actix::Actor;
use bytes::Bytes;
use futures::StreamExt;
use futures::future::{BoxFuture, join_all};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

fn repeated(piece: Bytes, times: usize) -> Upload {
    let body = futures::stream::iter((0..times).map(move |_| Ok(piece.clone())));
    Upload { body: Box::pin(body), checks: BodyChecks::default(), trailer: None }
}

/// P8: the buffers of sixteen concurrent uploads of 64 MiB are within the bounds of their permits.
#[actix::test]
async fn p8_concurrent_large_uploads_hold_only_a_few_stripes_each() {
    let geometry = Geometry { data: 2, parity: 2, chunk_size_bytes: CHUNK_BYTES_MAX as u32 };
    let executor = ComputeThreads::start(2, tokio::runtime::Handle::current()).expect("threads");
    let pool = BufferPool::new(256 << 20);
    let nodes = Arc::new(MemoryNodes::discarding());
    let world = World::build(geometry, 4, nodes, Arc::new(executor), pool.clone());
    let bound = object_held_bytes_max(geometry, None);
    assert_eq!(bound, 6 << 20);
    // Room for ten of the sixteen: the others wait.
    let limits = AdmissionLimits { bytes: 10 * bound, requests: 100, waiting: 100 };
    let frontend = S3Frontend::new(limits, Duration::from_secs(600)).start();
    let piece = content(128 << 10);
    let uploads = (0..16).map(|_| async {
        let permit = frontend
            .send(Admit { bytes: bound, holder: Holder::Store })
            .await
            .expect("running")
            .expect("waits its turn");
        put_object(&world.context, permit, world.put_request(repeated(piece.clone(), 512))).await
    });
    for result in join_all(uploads).await {
        assert_eq!(result.expect("stored").manifest.size_bytes, 64 << 20);
    }
    // The pool makes a buffer only when none is idle, and keeps all. So its idle bytes are now the peak of held bytes.
    let peak = pool.idle_bytes();
    assert!(peak as u64 <= 10 * (bound + 6 * BLOCK_BYTES as u64), "{peak} bytes were held in buffers");
    assert!(peak as u64 >= bound, "the peak is measured");
}

/// P8, P9: a third group is received while two are being appended, and no more if the drives do not answer.
#[actix::test]
async fn p8_p9_a_body_is_received_during_appends_but_no_faster_than_they_proceed() {
    let world = World::new(2, 2);
    (0..4).for_each(|node| world.nodes.behave(NodeId(node), Behaviour::Silent));
    let received = Arc::new(AtomicUsize::new(0));
    let (count, piece) = (Arc::clone(&received), content(8 << 10));
    let body = futures::stream::repeat_with(move || {
        count.fetch_add(8 << 10, Ordering::Relaxed);
        Ok(piece.clone())
    });
    let upload = Upload { body: Box::pin(body), checks: BodyChecks::default(), trailer: None };
    let mut put = Box::pin(world.put(upload));
    for _ in 0..1000 {
        assert!(futures::poll!(&mut put).is_pending());
        tokio::task::yield_now().await;
    }
    // Three groups of two stripes of two chunks of data each.
    let held = 12 * CHUNK as usize;
    let received = received.load(Ordering::Relaxed);
    assert!((held..=held + (16 << 10)).contains(&received), "{received} bytes were received, {held} may be held");
}

/// F4, P8: a declared length can make a permit smaller, but never larger.
#[test]
fn f4_a_permit_is_bounded_for_any_declared_length() {
    let geometry = Geometry { data: 2, parity: 2, chunk_size_bytes: CHUNK_BYTES_MAX as u32 };
    let stripe = 4 * CHUNK_BYTES_MAX as u64;
    assert_eq!(object_held_bytes_max(geometry, Some(u64::MAX)), 6 * stripe);
    assert_eq!(object_held_bytes_max(geometry, Some(100_000)), stripe);
    assert_eq!(object_held_bytes_max(geometry, Some((CHUNK_BYTES_MAX as u64) * 2 + 1)), 2 * stripe);
    assert!(object_held_bytes_max(geometry, Some(10)) < stripe, "it travels in the proposal");
    assert_eq!(part_held_bytes_max(geometry, Some(10)), stripe);
    let narrowed = Geometry { parity: 1, ..geometry };
    let four_stripes_of_1_1 = 8 * CHUNK_BYTES_MAX as u64;
    assert_eq!(
        object_held_bytes_max(narrowed, Some(4 * CHUNK_BYTES_MAX as u64)),
        four_stripes_of_1_1,
        "it may be placed at 1+1"
    );
}

/// The MD5s of concurrent bodies are computed in parallel lanes and must not mix.
#[actix::test]
async fn concurrent_uploads_do_not_mix_their_digests() {
    let executor = Arc::new(ComputeThreads::start(1, tokio::runtime::Handle::current()).expect("threads"));
    let world = World::with(2, 2, 4, Arc::default(), executor);
    let bodies: Vec<Bytes> = (0..20).map(|number| content(60_000 + 77_777 * number).slice(number..)).collect();
    let stored = join_all(bodies.iter().map(|body| world.put_bytes(body))).await;
    for (manifest, body) in stored.into_iter().zip(&bodies) {
        let manifest = manifest.expect("stored");
        assert_eq!((manifest.size_bytes, manifest.etag.md5), (body.len() as u64, md5(body)));
    }
}

/// F4: no memory is allocated for a declared length that never arrives.
#[actix::test]
async fn f4_nothing_is_allocated_from_a_declared_length() {
    let world = World::new(2, 2);
    let mut upload = repeated(content(20_000), 1);
    upload.checks.length_bytes = Some(PUT_BYTES_MAX);
    let result = world.put(upload).await;
    assert!(matches!(result, Err(StoreError::BodyIncomplete { .. })), "{result:?}");
    let stripe = 4 * CHUNK as usize;
    assert!(world.context.buffers.idle_bytes() <= stripe + BLOCK_BYTES, "one stripe of small chunks");
}

/// An executor that counts the jobs handed to it.
#[derive(Debug, Default)]
struct Counting {
    jobs: AtomicUsize,
}

impl Executor for Counting {
    fn compute(&self, job: Box<dyn Job>) {
        self.jobs.fetch_add(1, Ordering::SeqCst);
        InPlace.compute(job);
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        InPlace.spawn(task);
    }
}

/// P9: stripes are encoded while the body is still being received.
#[actix::test]
async fn p9_encoding_begins_before_the_body_has_ended() {
    let executor = Arc::new(Counting::default());
    let world = World::with(2, 2, 4, Arc::default(), Arc::<Counting>::clone(&executor));
    let seen = Arc::clone(&executor);
    let piece = content(64 << 10);
    let body = futures::stream::iter(0..20).then(move |number| {
        let (seen, piece) = (Arc::clone(&seen), piece.clone());
        async move {
            // A piece is sent only once all earlier ones but four were handed over for encoding.
            while seen.jobs.load(Ordering::SeqCst) + 4 < number {
                tokio::task::yield_now().await;
            }
            Ok(piece)
        }
    });
    let upload = Upload { body: Box::pin(body), checks: BodyChecks::default(), trailer: None };
    let manifest = world.put(upload).await.expect("stored: the body would never have ended otherwise");
    assert_eq!(manifest.size_bytes, 20 * (64 << 10));
}

/// A service that answers appends only when four of them are under way.
#[derive(Debug)]
struct Together {
    barrier: tokio::sync::Barrier,
}

#[async_trait::async_trait]
impl NodeService for Together {
    async fn append_chunks(&self, _: AppendChunks) -> Result<(), PeerError> {
        self.barrier.wait().await;
        Ok(())
    }

    async fn read_chunks(&self, request: ReadChunks) -> Result<ChunksRead, PeerError> {
        Err(PeerError::NoSuchNode(request.node))
    }

    async fn drop_shards(&self, _: NodeId, _: Vec<ShardId>) -> Result<(), PeerError> {
        Ok(())
    }

    async fn count_chunks(&self, node: NodeId, _: Vec<ShardId>) -> Result<Vec<u32>, PeerError> {
        Err(PeerError::NoSuchNode(node))
    }

    async fn inventory(&self, node: NodeId, _: Option<ShardId>, _: u32) -> Result<InventoryPage, PeerError> {
        Err(PeerError::NoSuchNode(node))
    }
}

/// P9: the appends of all shards of a group are under way at the same time.
#[actix::test]
async fn p9_data_and_parity_of_a_group_are_sent_together() {
    let geometry = Geometry { data: 2, parity: 2, chunk_size_bytes: 16 << 10 };
    let service = Arc::new(Together { barrier: tokio::sync::Barrier::new(4) });
    let world = World::over(geometry, 4, Arc::default(), service, Arc::new(InPlace), BufferPool::new(0));
    let manifest = world.put_bytes(&content(300_000)).await.expect("stored: all four are under way at once");
    assert_eq!(manifest.size_bytes, 300_000);
}
