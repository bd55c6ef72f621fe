//! Tests of requests to several hosts of which some are dead, frozen or slow: how long the first request waits, and the
//! later ones.

use super::test_hosts::{HostState, Hosts};
use super::test_nodes::Behaviour;
use super::test_world::{CHUNK, World, content};
use crate::actors::frontend::Permit;
use crate::actors::get_task;
use crate::actors::peers::{LayoutChanged, Trust};
use crate::actors::request::{ByteRange, StoreError};
use crate::actors::upkeep::{Chore, Probing};
use crate::limits::{PROBE_WAIT_MAX, READ_HEDGE_MAX, REFUSED_WITHIN};
use crate::net::NoGroups;
use crate::storage::meta::command::Change;
use crate::storage::meta::record::{BlobRef, Body, Manifest};
use crate::storage::ring::{Layout, LayoutNode};
use crate::types::{Epoch, HostId, NodeId};
use bytes::Bytes;
use futures::TryStreamExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const OTHER: HostId = HostId(2);
const THIRD: HostId = HostId(3);
/// The duration, by the paused clock, of a request that waits for no host.
const NO_TIME: Duration = Duration::ZERO;

/// Makes three hosts of two drives at 3+3: without any one of them k+1 shards are left.
fn three_hosts() -> (World, Arc<Hosts>) {
    tokio::time::pause();
    World::of_hosts(3, 3, 3, 2)
}

async fn put(world: &World, length: usize) -> (Result<Manifest, StoreError>, Duration) {
    let start = Instant::now();
    (world.put_bytes(&content(length)).await, start.elapsed())
}

async fn get(world: &World, manifest: &Manifest) -> (Result<Bytes, StoreError>, Duration) {
    let start = Instant::now();
    let read = async {
        let object = get_task::reopen(&world.context, &manifest.clone().into()).await?;
        let range = ByteRange { start: 0, end: manifest.size_bytes };
        let body = get_task::read_object(&world.context, Permit::unmetered(), object, range).await?;
        let pieces: Vec<Bytes> = body.try_collect().await?;
        Ok(pieces.concat().into())
    };
    (read.await, start.elapsed())
}

fn blob(manifest: &Manifest) -> &BlobRef {
    match &manifest.body {
        Body::Blob(blob) => blob,
        other => panic!("a blob, not {other:?}"),
    }
}

/// Returns the number of shards that the last write lists as missing.
fn missing(world: &World) -> usize {
    match world.take_changes().pop() {
        Some(Change::PutObject(put)) => put.missing.len(),
        other => panic!("a PUT, not {other:?}"),
    }
}

fn is_all(world: &World, host: HostId, trust: Trust) -> bool {
    let ring = world.context.ring();
    ring.nodes().iter().filter(|node| node.host == host).all(|node| world.context.trust(node.id) == trust)
}

/// P7: the first write waits for the frozen host, and later ones do not. Probes restore trust when the host is back.
#[actix::test]
async fn p7_a_frozen_host_delays_one_write_and_no_later_one() {
    let (world, hosts) = three_hosts();
    let mut probing = Probing::new(world.cluster());
    put(&world, 500_000).await.0.expect("all are up");
    assert_eq!(missing(&world), 0);
    hosts.set(OTHER, HostState::Frozen);
    let (stored, took) = put(&world, 500_000).await;
    stored.expect("four of six are more than k");
    assert!(took <= Duration::from_secs(2), "{took:?}");
    assert_eq!(missing(&world), 2);
    assert!(is_all(&world, OTHER, Trust::Suspect));
    for _ in 0..3 {
        let (stored, took) = put(&world, 500_000).await;
        stored.expect("four of six are more than k");
        assert_eq!((took, missing(&world)), (NO_TIME, 2));
    }
    probing.advance().await;
    assert!(is_all(&world, OTHER, Trust::Gone) && is_all(&world, THIRD, Trust::Trusted));
    hosts.set(OTHER, HostState::Up);
    tokio::time::sleep(Duration::from_secs(6)).await;
    probing.advance().await;
    assert!(is_all(&world, OTHER, Trust::Trusted));
    let (stored, took) = put(&world, 500_000).await;
    stored.expect("all are up");
    assert_eq!((took, missing(&world)), (NO_TIME, 0));
}

/// P7, N5: writes do not wait for a host whose connections are refused.
#[actix::test]
async fn p7_a_dead_host_delays_no_write() {
    let (world, hosts) = three_hosts();
    put(&world, 100_000).await.0.expect("all are up");
    world.take_changes();
    hosts.set(OTHER, HostState::Dead);
    for _ in 0..3 {
        let (stored, took) = put(&world, 500_000).await;
        stored.expect("four of six are more than k");
        assert_eq!((took, missing(&world)), (NO_TIME, 2));
        assert!(is_all(&world, OTHER, Trust::Gone));
    }
}

/// The handshake with a frozen host takes longer than a write waits.
#[actix::test]
async fn a_host_that_does_not_answer_the_handshake_counts_as_late() {
    let (world, hosts) = three_hosts();
    hosts.set(OTHER, HostState::Frozen);
    let (stored, took) = put(&world, 500_000).await;
    stored.expect("four of six are more than k");
    assert!(took <= Duration::from_secs(2), "{took:?}");
    assert_eq!((put(&world, 500_000).await.1, missing(&world)), (NO_TIME, 2));
}

/// P6, P7: the first read of a frozen host is hedged, later reads avoid the host, and all return the right bytes.
#[actix::test]
async fn p6_a_frozen_host_delays_the_first_read_by_hedges_and_later_reads_not() {
    let (world, hosts) = three_hosts();
    let bytes = content(40 * 3 * CHUNK as usize);
    let manifest = world.put_bytes(&bytes).await.expect("all are up");
    hosts.set(OTHER, HostState::Frozen);
    let (got, took) = get(&world, &manifest).await;
    assert_eq!(got.expect("four of six are left"), bytes);
    assert!(took < 2 * READ_HEDGE_MAX, "twenty units, and {took:?} of waiting");
    assert!(!is_all(&world, OTHER, Trust::Trusted) && is_all(&world, THIRD, Trust::Trusted));
    let (got, took) = get(&world, &manifest).await;
    assert_eq!((got.expect("four of six are left"), took), (bytes, NO_TIME));
}

/// Requests that cannot be served are refused within `REFUSED_WITHIN`, and sooner once probes have failed.
#[actix::test]
async fn requests_fail_within_eight_seconds_if_too_many_hosts_are_frozen() {
    let (world, hosts) = three_hosts();
    let mut probing = Probing::new(world.cluster());
    let manifest = world.put_bytes(&content(500_000)).await.expect("all are up");
    hosts.set(OTHER, HostState::Frozen);
    hosts.set(THIRD, HostState::Frozen);
    let (read, took) = get(&world, &manifest).await;
    assert!(matches!(read, Err(StoreError::DataUnavailable { .. })), "{read:?}");
    assert!(took < REFUSED_WITHIN, "{took:?}");
    let (stored, took) = put(&world, 500_000).await;
    assert!(matches!(stored, Err(StoreError::Unavailable { .. })), "{stored:?}");
    assert!(took < REFUSED_WITHIN, "{took:?}");
    probing.advance().await;
    let (stored, took) = put(&world, 500_000).await;
    assert!(matches!(stored, Err(StoreError::Unavailable { .. })), "{stored:?}");
    assert_eq!(took, NO_TIME);
    let (read, took) = get(&world, &manifest).await;
    assert!(read.is_err() && took < world.context.times.read_gone_wait * 2, "{took:?}");
    hosts.set(OTHER, HostState::Up);
    let (read, _) = get(&world, &manifest).await;
    assert!(read.is_ok(), "a host that is marked gone is read if too few others are left");
}

#[actix::test]
async fn reads_learn_the_latency_of_a_steadily_slow_host_and_wait_for_it() {
    let (world, hosts) = three_hosts();
    let bytes = content(60 * 3 * CHUNK as usize);
    let manifest = world.put_bytes(&bytes).await.expect("all are up");
    let delay = Duration::from_millis(60);
    hosts.set(OTHER, HostState::Slow(delay));
    for _ in 0..4 {
        assert_eq!(get(&world, &manifest).await.0.expect("all are up"), bytes);
    }
    let nodes = blob(&manifest).placement.iter().take(3);
    for &node in nodes {
        let learnt = world.context.latencies.delay(node);
        let is_slow = world.context.ring().host_of(node) == Some(OTHER);
        assert!(if is_slow { learnt > delay } else { learnt < delay }, "{node}: {learnt:?}");
        assert_eq!(world.context.trust(node), Trust::Trusted);
    }
    assert!(is_all(&world, OTHER, Trust::Trusted));
}

#[actix::test]
async fn a_suspect_node_that_left_the_ring_is_forgotten() {
    let (world, hosts) = three_hosts();
    hosts.set(OTHER, HostState::Dead);
    let (known, removed) = (NodeId(64), NodeId(999));
    world.context.suspects.gone(&[known, removed], "no route", world.context.ambient.clock.monotonic());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(Probing::new(world.cluster()).advance().await, 1);
    let doubts = world.context.suspects.current();
    assert_eq!([known, removed].map(|node| doubts.trust(node)), [Trust::Gone, Trust::Trusted]);
}

/// P7: a node that answers its probe is trusted again while the probe of another node is still waiting.
#[actix::test]
async fn a_silent_node_delays_no_probe_of_another() {
    let (world, hosts) = three_hosts();
    let mut probing = Probing::new(world.cluster());
    let (silent, others) = (NodeId(64), [NodeId(128), NodeId(129)]);
    hosts.set(OTHER, HostState::Frozen);
    let start = Instant::now();
    let doubt = |node| world.context.suspects.doubt(node, "it failed", world.context.ambient.clock.monotonic());
    doubt(silent);
    for other in others {
        doubt(other);
        probing.step().await;
        assert_eq!(world.context.trust(other), Trust::Trusted);
    }
    assert_eq!(world.context.trust(silent), Trust::Suspect, "its probe is under way");
    assert!(start.elapsed() < PROBE_WAIT_MAX, "{:?}", start.elapsed());
    while world.context.trust(silent) == Trust::Suspect {
        probing.step().await;
    }
    assert_eq!(world.context.trust(silent), Trust::Gone);
    assert!(start.elapsed() < 2 * PROBE_WAIT_MAX, "{:?}", start.elapsed());
}

#[actix::test]
async fn one_slow_node_of_a_host_makes_the_nodes_beside_it_suspect_until_they_answer() {
    let (world, _hosts) = three_hosts();
    world.nodes.behave(NodeId(64), Behaviour::Slow(Duration::from_secs(4)));
    put(&world, 500_000).await.0.expect("five of six");
    assert!(is_all(&world, OTHER, Trust::Suspect));
    // The probe of the slow node times out.
    Probing::new(world.cluster()).advance().await;
    assert_eq!([64, 65].map(|node| world.context.trust(NodeId(node))), [Trust::Gone, Trust::Trusted]);
    world.take_changes();
    let (stored, took) = put(&world, 500_000).await;
    stored.expect("five of six");
    assert_eq!((took, missing(&world)), (NO_TIME, 1));
}

/// P3: requests for a node go to the host that has the node in the current layout.
#[actix::test]
async fn p3_nodes_of_a_host_that_returns_under_another_id_are_found() {
    let (world, hosts) = three_hosts();
    let bytes = content(300_000);
    let manifest = world.put_bytes(&bytes).await.expect("all are up");
    hosts.set(OTHER, HostState::Dead);
    put(&world, 100_000).await.0.expect("four of six");
    assert!(is_all(&world, OTHER, Trust::Gone));
    let returned = HostId(20);
    hosts.add(returned, world.nodes.clone(), Arc::new(NoGroups));
    let moved = |node: &LayoutNode| LayoutNode { host: if node.host == OTHER { returned } else { node.host }, ..*node };
    let layout = Layout::new(Epoch(2), world.context.ring().nodes().iter().map(moved));
    world.ring.send(LayoutChanged(layout)).await.expect("running").expect("newer");
    tokio::time::sleep(Duration::from_secs(2)).await;
    Probing::new(world.cluster()).advance().await;
    assert!(is_all(&world, returned, Trust::Trusted));
    hosts.set(THIRD, HostState::Dead);
    assert_eq!(get(&world, &manifest).await.0.expect("four of six"), bytes);
    world.take_changes();
    put(&world, 100_000).await.0.expect("four of six");
    assert_eq!(missing(&world), 2);
}

/// A node that is slow to read under load is still written to, so that slow reads cause no repairs.
#[actix::test]
async fn a_node_that_is_slow_to_read_is_still_written_to() {
    let (world, _hosts) = three_hosts();
    let bytes = content(CHUNK as usize * 3);
    let manifest = world.put_bytes(&bytes).await.expect("all are up");
    let slow = blob(&manifest).placement[1];
    world.nodes.behave(slow, Behaviour::Slow(Duration::from_millis(700)));
    assert_eq!(get(&world, &manifest).await.0.expect("all are up"), bytes);
    Probing::new(world.cluster()).advance().await;
    assert_eq!(world.context.trust(slow), Trust::Trusted, "it answers");
    assert_eq!(get(&world, &manifest).await.1, NO_TIME, "reads go to others first");
    world.take_changes();
    put(&world, 100_000).await.0.expect("all are up");
    assert_eq!(missing(&world), 0);
}

/// A single failing drive of another host does not make the nodes beside it suspect.
#[actix::test]
async fn one_failing_node_of_a_host_leaves_the_others_trusted() {
    let (world, _hosts) = three_hosts();
    world.nodes.behave(NodeId(64), Behaviour::Down);
    let (stored, took) = put(&world, 500_000).await;
    stored.expect("five of six");
    assert_eq!((took, missing(&world)), (NO_TIME, 1));
    Probing::new(world.cluster()).advance().await;
    assert_eq!(world.context.trust(NodeId(64)), Trust::Gone);
    assert_eq!(world.context.trust(NodeId(65)), Trust::Trusted);
    world.nodes.behave(NodeId(64), Behaviour::Full);
    tokio::time::sleep(Duration::from_secs(2)).await;
    Probing::new(world.cluster()).advance().await;
    assert_eq!(world.context.trust(NodeId(64)), Trust::Trusted, "it answers");
    put(&world, 500_000).await.0.expect("five of six");
    assert_eq!((missing(&world), world.context.trust(NodeId(64))), (1, Trust::Trusted), "a full node stays trusted");
    put(&world, 500_000).await.0.expect("five of six");
    assert_eq!(missing(&world), 1, "its shard is listed as missing without a request");
}
