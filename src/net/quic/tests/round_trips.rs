//! Every request and its answer over the network, requests that are given up, and the limits of requests.

use super::hosts::{CALLED, CHUNK, NODE, Pair, append, chunk, options, pair, read, shard};
use crate::limits::{NET_ROOM_WAIT_MAX, NET_STREAMS_OF_GROUPS, NET_WORKING_EVERY};
use crate::net::{ChunkFault, GroupCall, GroupService, HostService, NodeService, PeerError, QuicOptions};
use crate::types::NodeId;
use bytes::Bytes;
use futures::future::join_all;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::{Instant, timeout};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_over_the_network_is_answered_as_by_a_local_call() {
    let Pair { remote, server, client: _client, .. } = pair(options()).await;
    assert_eq!(remote.greeting().host, CALLED);
    remote.append_chunks(append(1, 0, vec![chunk(1), chunk(2)])).await.expect("appended");
    remote.append_chunks(append(2, 5, vec![Bytes::from_static(b"x")])).await.expect("appended");
    let found = remote.read_chunks(read(1, 0, 3)).await.expect("read").chunks;
    assert_eq!(found, vec![Ok(chunk(1)), Ok(chunk(2)), Err(ChunkFault::Missing)]);
    let counts = remote.count_chunks(NODE, vec![shard(2), shard(9), shard(1)]).await.expect("counted");
    assert_eq!(counts, vec![1, 0, 2]);
    let page = remote.inventory(NODE, None, 1).await.expect("listed");
    assert!(page.more && page.shards == vec![(shard(1), 2)]);
    let page = remote.inventory(NODE, Some(shard(1)), u32::MAX).await.expect("listed");
    assert!(!page.more && page.shards == vec![(shard(2), 1)]);
    remote.drop_shards(NODE, vec![shard(1)]).await.expect("dropped");
    assert_eq!(remote.count_chunks(NODE, vec![shard(1)]).await.expect("counted"), vec![0]);
    assert!(matches!(remote.read_chunks(read(1, 0, 0)).await.expect("read").chunks.as_slice(), []));
    assert!(remote.count_chunks(NODE, vec![]).await.expect("counted").is_empty());
    // Probes count no shards.
    for shards in [vec![], vec![shard(1)]] {
        let elsewhere = remote.count_chunks(NodeId(77), shards).await;
        assert!(matches!(elsewhere, Err(PeerError::NoSuchNode(NodeId(77)))), "{elsewhere:?}");
    }
    assert!(!remote.is_lost());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_too_long_for_one_request_is_split_into_several() {
    let Pair { remote, server: _server, client: _client, .. } = pair(options()).await;
    remote.append_chunks(append(5000, 0, vec![chunk(1)])).await.expect("appended");
    let shards: Vec<_> = (0..9000).map(shard).collect();
    let counts = remote.count_chunks(NODE, shards.clone()).await.expect("counted");
    assert_eq!(counts.len(), 9000);
    assert_eq!(counts[5000], 1);
    remote.drop_shards(NODE, shards).await.expect("dropped");
    assert_eq!(remote.count_chunks(NODE, vec![shard(5000)]).await.expect("counted"), vec![0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_message_of_nine_mebibytes_is_delivered_and_answered() {
    let Pair { remote, server: _server, client: _client, .. } = pair(options()).await;
    let body: Bytes = (0..9 << 20).map(|at: u32| (at >> 7) as u8).collect();
    let answer = remote.group_call(GroupCall { group: 1, kind: 2, body: body.clone() }).await.expect("answered");
    assert!(answer == body);
    let empty = remote.group_call(GroupCall { group: 1, kind: 2, body: Bytes::new() }).await.expect("answered");
    assert!(empty.is_empty());
    // The reason of a refusal is cut to the length that a header may have.
    match remote.group_call(GroupCall { group: 1, kind: 0, body }).await {
        Err(PeerError::Refused { why }) => assert!(why.starts_with("not a member") && why.len() <= 1024),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_beyond_the_bounds_of_the_wire_is_refused_before_it_is_sent() {
    let Pair { remote, server: _server, client: _client, .. } = pair(options()).await;
    let large = append(1, 0, vec![Bytes::from(vec![0; (256 << 10) + 1])]);
    assert!(matches!(remote.append_chunks(large).await, Err(PeerError::Refused { .. })));
    assert!(matches!(remote.read_chunks(read(1, 0, 65)).await, Err(PeerError::Refused { .. })));
    let body = Bytes::from(vec![0; (16 << 20) + 1]);
    let call = GroupCall { group: 0, kind: 1, body };
    assert!(matches!(remote.group_call(call).await, Err(PeerError::Refused { .. })));
    assert!(!remote.is_lost());
}

/// N7: a slow drive on a live host is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_serves_a_slow_request_does_not_count_as_silent() {
    let Pair { remote, memory, server: _server, client: _client } = pair(options()).await;
    *memory.delay.lock().expect("unpoisoned") = Duration::from_secs(11);
    assert_eq!(remote.count_chunks(NODE, vec![shard(1)]).await.expect("counted"), vec![0]);
}

/// N3, N4: reads are given up at every stage, on a connection that allows 100 streams. The number of reads is
/// `SHERD_ABANDONED_READS`, by default 2,000.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n3_abandoned_reads_leave_no_stream_behind() {
    let Pair { remote, server: _server, client: _client, .. } =
        pair(QuicOptions { streams_max: 100, ..options() }).await;
    let reads = std::env::var("SHERD_ABANDONED_READS").map_or(2000, |reads| reads.parse::<u64>().expect("a number"));
    remote.append_chunks(append(1, 0, (0..16).map(chunk).collect())).await.expect("appended");
    let remote = Arc::new(remote);
    let whole = remote.read_chunks(read(1, 0, 16)).await.expect("read");
    assert!(whole.chunks.iter().all(|chunk| chunk.as_ref().is_ok_and(|chunk| chunk.len() == CHUNK)));
    for round in 0..reads / 200 {
        let abandoned = (0..200u64).map(|at| {
            let remote = Arc::clone(&remote);
            let patience = Duration::from_micros((round * 200 + at) * 7 % 9000);
            async move { timeout(patience, remote.read_chunks(read(1, 0, 16))).await.is_err() }
        });
        join_all(abandoned).await;
    }
    let after = timeout(Duration::from_secs(20), join_all((0..100).map(|_| remote.read_chunks(read(1, 0, 16)))));
    for read in after.await.expect("no stream is left open") {
        assert_eq!(read.expect("read").chunks, whole.chunks);
    }
    assert!(!remote.is_lost());
}

/// The caller has a permit for the next request at once, so its stream must be free soon, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_streams_of_requests_given_up_while_they_are_served_are_free_at_once() {
    let Pair { remote, memory, server: _server, client: _client } =
        pair(QuicOptions { streams_max: 8, ..options() }).await;
    *memory.delay.lock().expect("unpoisoned") = Duration::from_secs(600);
    let begun = Instant::now();
    for at in 0..80 {
        let is_served = async {
            while memory.calls.load(Ordering::Relaxed) == at {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            answered = remote.count_chunks(NODE, vec![shard(1)]) => panic!("{answered:?} in spite of the delay"),
            () = is_served => {}
        }
    }
    assert!(begun.elapsed() < NET_WORKING_EVERY * 4, "80 requests on 8 streams took {:?}", begun.elapsed());
    assert!(!remote.is_lost());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_streams_of_requests_given_up_while_they_wait_for_room_are_free_at_once() {
    let room = 5 << 20;
    let streams_max = NET_STREAMS_OF_GROUPS + 2;
    let Pair { remote, memory, server: _server, client: _client } =
        pair(QuicOptions { streams_max, serve_bytes_max: room, serve_peer_bytes_max: room, ..options() }).await;
    *memory.delay.lock().expect("unpoisoned") = Duration::from_secs(600);
    let first = remote.read_chunks(read(1, 0, 16));
    tokio::pin!(first);
    let others_are_given_up = async {
        while memory.calls.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        for _ in 0..2 * streams_max {
            let given_up = timeout(Duration::from_millis(10), remote.read_chunks(read(1, 0, 16))).await;
            assert!(given_up.is_err(), "{given_up:?} without room");
        }
    };
    tokio::select! {
        biased;
        answered = &mut first => panic!("{answered:?} in spite of the delay"),
        () = others_are_given_up => {}
    }
    assert_eq!(memory.calls.load(Ordering::Relaxed), 1, "the first one has all room");
    *memory.delay.lock().expect("unpoisoned") = Duration::ZERO;
    let call = GroupCall { group: 0, kind: 1, body: Bytes::from_static(b"vote") };
    let answer = tokio::select! {
        biased;
        answered = &mut first => panic!("{answered:?} in spite of the delay"),
        answer = timeout(NET_ROOM_WAIT_MAX / 2, remote.group_call(call)) => answer,
    };
    assert_eq!(answer.expect("a stream is free").expect("answered"), Bytes::from_static(b"vote"));
}

/// The messages of an election have a short time limit, so they must not queue behind requests about data.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_call_does_not_wait_for_requests_about_data() {
    let Pair { remote, memory, server: _server, client: _client } =
        pair(QuicOptions { streams_max: NET_STREAMS_OF_GROUPS + 2, ..options() }).await;
    *memory.delay.lock().expect("unpoisoned") = Duration::from_secs(600);
    let asking = join_all((0..2 * NET_STREAMS_OF_GROUPS).map(|_| remote.count_chunks(NODE, vec![shard(1)])));
    tokio::pin!(asking);
    let some_are_asked = async {
        while memory.calls.load(Ordering::Relaxed) < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        answered = &mut asking => panic!("{answered:?} in spite of the delay"),
        () = some_are_asked => {}
    }
    *memory.delay.lock().expect("unpoisoned") = Duration::ZERO;
    let call = GroupCall { group: 0, kind: 1, body: Bytes::from_static(b"vote") };
    let answer = tokio::select! {
        biased;
        answered = &mut asking => panic!("{answered:?} in spite of the delay"),
        answer = timeout(Duration::from_secs(5), remote.group_call(call)) => answer,
    };
    assert_eq!(answer.expect("it has a stream at once").expect("answered"), Bytes::from_static(b"vote"));
    assert_eq!(memory.calls.load(Ordering::Relaxed), 3, "the other requests wait their turn");
}

/// If requests need more memory than the server may hold, they wait, and all are served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bytes_of_bodies_that_a_server_holds_are_bounded() {
    let room = 3 << 20;
    let Pair { remote, server: _server, client: _client, .. } =
        pair(QuicOptions { serve_bytes_max: room, serve_peer_bytes_max: room, ..options() }).await;
    let appends = (0..32).map(|at| remote.append_chunks(append(at, 0, (0..8).map(chunk).collect())));
    for appended in join_all(appends).await {
        appended.expect("it waits for room");
    }
    // Group calls have a budget of their own.
    let call = GroupCall { group: 0, kind: 1, body: Bytes::from(vec![7; room + 1]) };
    assert_eq!(remote.group_call(call.clone()).await.expect("answered"), call.body);
    // A request that exceeds the whole budget is refused.
    match remote.append_chunks(append(99, 0, (0..20).map(chunk).collect())).await {
        Err(PeerError::Refused { why }) => assert!(why.contains("no room"), "{why}"),
        other => panic!("{other:?}"),
    }
    assert!(remote.count_chunks(NODE, vec![shard(1)]).await.is_ok());
}
