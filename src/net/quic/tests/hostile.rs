//! Peers that have the secret and misbehave: they stall, drip, truncate, change bytes, send garbage, or answer for
//! another shard. Each misdeed is an error in bounded time, never yields wrong bytes, and does not affect others.

use super::hosts::{
    CALLED, CALLER, CLUSTER, Memory, NODE, append, caller, chunk, connect, identity, options, pair, read, serve, shard,
};
use crate::limits::{NET_HEADER_WAIT_MAX, NET_PROGRESS_WAIT_MAX};
use crate::net::frame::{FrameKind, VersionRange, WireVersion, encode};
use crate::net::greeting::Greeting;
use crate::net::protocol::{Answer, Request};
use crate::net::quic::{QuicOptions, endpoint};
use crate::net::tls::MEMBER_NAME;
use crate::net::{ChunksRead, HostService, NodeService, PeerError, ReadChunks};
use crate::types::{HostId, RecoveryEpoch};
use bytes::Bytes;
use s2n_quic::client::Connect;
use s2n_quic::connection::Handle;
use s2n_quic::stream::BidirectionalStream;
use s2n_quic::{Connection, Server};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

const V1: WireVersion = WireVersion(1);

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Misdeed {
    Stall,
    Drip,
    Truncate,
    Garbage,
    OtherShard,
    OtherRange,
    Bent,
    TooMuch,
    Trailing,
    Reset,
    Vanish,
}

fn greeting(host: HostId) -> Greeting {
    Greeting {
        versions: VersionRange::SPOKEN,
        cluster: Some(CLUSTER),
        host,
        sought: None,
        recovery: RecoveryEpoch::default(),
    }
}

/// Starts a host that greets correctly and then misbehaves on each stream. It runs on the current runtime. Returns its
/// address.
pub(super) fn misbehave(misdeed: Misdeed) -> SocketAddr {
    let identity = identity(CALLED, Some(CLUSTER));
    let server = endpoint::server(&identity, &options()).expect("a loopback port is free");
    let address = server.local_addr().expect("bound");
    tokio::spawn(accept(server, misdeed));
    address
}

async fn accept(mut server: Server, misdeed: Misdeed) {
    while let Some(connection) = server.accept().await {
        tokio::spawn(greet_and_misbehave(connection, misdeed));
    }
}

async fn greet_and_misbehave(mut connection: Connection, misdeed: Misdeed) {
    let Ok(Some(mut stream)) = connection.accept_bidirectional_stream().await else { return };
    while let Ok(Some(_)) = stream.receive().await {}
    let _ = stream.send(greeting(CALLED).encode_answer(None).into()).await;
    let _ = stream.close().await;
    while let Ok(Some(stream)) = connection.accept_bidirectional_stream().await {
        if misdeed == Misdeed::Vanish {
            return connection.close(99u32.into());
        }
        tokio::spawn(misbehave_on(stream, misdeed));
    }
}

/// Returns the bytes of an answer to `read` that repeats the request checksum `asked`.
fn answer(read: ReadChunks, asked: u32, chunks: Vec<Bytes>) -> Vec<u8> {
    let answer = Answer::Read(ChunksRead { chunks: chunks.into_iter().map(Ok).collect() });
    let message = answer.encode(V1, &Request::Read(read), asked);
    message.body.iter().fold(message.frame.to_vec(), |bytes, part| [bytes.as_slice(), part].concat())
}

async fn misbehave_on(mut stream: BidirectionalStream, misdeed: Misdeed) {
    let mut request = Vec::new();
    while let Ok(Some(bytes)) = stream.receive().await {
        request.extend_from_slice(&bytes);
    }
    let asked = crc32c::crc32c(&request[24..]);
    let mut honest = answer(read(1, 0, 1), asked, vec![chunk(1)]);
    match misdeed {
        Misdeed::Stall | Misdeed::Vanish => sleep(Duration::from_secs(60)).await,
        Misdeed::Drip => {
            for byte in honest.chunks(1) {
                let _ = stream.send(Bytes::copy_from_slice(byte)).await;
                sleep(Duration::from_millis(20)).await;
            }
        }
        Misdeed::Truncate => {
            let _ = stream.send(honest[..honest.len() - 1].to_vec().into()).await;
        }
        Misdeed::Garbage => {
            let _ = stream.send(vec![0xA5; 4000].into()).await;
        }
        Misdeed::OtherShard => {
            let _ = stream.send(answer(read(2, 0, 1), asked, vec![chunk(1)]).into()).await;
        }
        Misdeed::OtherRange => {
            let _ = stream.send(answer(read(1, 0, 2), asked, vec![chunk(1), chunk(2)]).into()).await;
        }
        Misdeed::Bent => {
            let at = honest.len() - 100;
            honest[at] ^= 1;
            let _ = stream.send(honest.into()).await;
        }
        Misdeed::TooMuch => {
            let mut head = encode(V1, FrameKind::ReadAnswer, &[], 0);
            head[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
            let crc = crc32c::crc32c(&head[..20]);
            head[20..24].copy_from_slice(&crc.to_le_bytes());
            let _ = stream.send(head.into()).await;
        }
        Misdeed::Trailing => {
            honest.push(0);
            let _ = stream.send(honest.into()).await;
        }
        Misdeed::Reset => {
            let _ = stream.reset(7u32.into());
            sleep(Duration::from_secs(60)).await;
        }
    }
    let _ = stream.close().await;
}

/// Reads from a host that misbehaves. Returns the error, the time that it took, and whether the connection was lost.
async fn read_from(misdeed: Misdeed) -> (PeerError, Duration, bool) {
    let address = misbehave(misdeed);
    let client = caller(identity(CALLER, Some(CLUSTER)), options());
    let remote = connect(&client, address).await.expect("it greets well");
    let begun = Instant::now();
    let answer = timeout(Duration::from_secs(40), remote.read_chunks(read(1, 0, 1))).await.expect("bounded");
    (answer.expect_err("never wrong bytes"), begun.elapsed(), remote.is_lost())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_and_answers_to_other_requests_are_never_accepted() {
    use Misdeed::{Bent, Garbage, OtherRange, OtherShard, TooMuch, Trailing, Truncate};
    for misdeed in [Garbage, OtherShard, OtherRange, Bent, TooMuch, Trailing, Truncate] {
        let (error, took, is_lost) = read_from(misdeed).await;
        assert!(matches!(&error, PeerError::Garbled { host: CALLED, .. }), "{misdeed:?}: {error}");
        assert!(took < Duration::from_secs(5), "{misdeed:?} took {took:?}");
        assert!(!is_lost, "{misdeed:?}: one bad answer is not the connection's end");
    }
}

/// N7: a host from which nothing comes is given up in bounded time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n7_a_silent_host_is_given_up_and_its_connection_with_it() {
    let (error, took, is_lost) = read_from(Misdeed::Stall).await;
    assert!(matches!(&error, PeerError::Unreachable { sent: true, .. }), "{error}");
    assert!(took < NET_HEADER_WAIT_MAX + Duration::from_secs(3), "{took:?}");
    assert!(is_lost, "nothing at all came");
}

/// N7: a body must make progress, not only send a byte now and then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n7_a_body_that_drips_is_cut_off() {
    let (error, took, is_lost) = read_from(Misdeed::Drip).await;
    assert!(matches!(&error, PeerError::Unreachable { sent: true, .. }), "{error}");
    assert!(took < NET_PROGRESS_WAIT_MAX * 2, "{took:?}");
    assert!(!is_lost, "something came");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_or_a_connection_that_the_host_ends_is_an_error_at_once() {
    let (error, took, is_lost) = read_from(Misdeed::Reset).await;
    assert!(matches!(&error, PeerError::Unreachable { sent: true, .. }), "{error}");
    assert!(took < Duration::from_secs(5) && !is_lost, "{took:?}");
    let (error, took, is_lost) = read_from(Misdeed::Vanish).await;
    assert!(matches!(&error, PeerError::Unreachable { sent: true, .. }), "{error}");
    assert!(took < Duration::from_secs(5) && is_lost, "{took:?}");
}

/// Connects and greets correctly, without a `QuicClient`, so that a test can send any bytes.
async fn raw_caller(address: SocketAddr) -> (s2n_quic::Client, Handle) {
    let client = endpoint::client(&identity(CALLER, Some(CLUSTER)), &options()).expect("a loopback port is free");
    let connection = client.connect(Connect::new(address).with_server_name(MEMBER_NAME)).await.expect("connected");
    let mut handle = connection.handle();
    tokio::spawn(async move {
        let mut connection = connection;
        while let Ok(Some(_)) = connection.accept().await {}
    });
    let mut stream = handle.open_bidirectional_stream().await.expect("opened");
    stream.send(greeting(CALLER).encode().into()).await.expect("sent");
    stream.finish().expect("finished");
    while stream.receive().await.expect("answered").is_some() {}
    (client, handle)
}

fn append_bytes() -> Vec<u8> {
    let (message, _) = Request::Append(append(1, 0, vec![chunk(1)])).encode(V1).expect("within bounds");
    message.body.iter().fold(message.frame.to_vec(), |bytes, part| [bytes.as_slice(), part].concat())
}

/// N7: callers stall in the head, in the header and in the body. Their streams are ended, and other callers are served
/// throughout.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n7_callers_that_stall_or_send_garbage_are_given_up_and_others_served() {
    let honest = pair(QuicOptions { streams_max: 8, ..options() }).await;
    let (_client, mut handle) = raw_caller(honest.server.local_addr()).await;
    let mut bent = append_bytes();
    let last = bent.len() - 1;
    bent[last] ^= 1;
    let whole = append_bytes();
    let beginnings = [&whole[..10], &whole[..30], &whole[..100_000], &[0x5A; 300][..], &bent, &whole[..]];
    let mut streams = Vec::new();
    for beginning in beginnings {
        let mut stream = handle.open_bidirectional_stream().await.expect("opened");
        stream.send(Bytes::copy_from_slice(beginning)).await.expect("sent");
        streams.push(stream);
    }
    assert!(honest.remote.count_chunks(NODE, vec![shard(1)]).await.is_ok());
    for (at, mut stream) in streams.into_iter().enumerate() {
        // None is ever finished; all are given up by the server.
        let ended = timeout(NET_HEADER_WAIT_MAX + NET_PROGRESS_WAIT_MAX, async {
            while let Ok(Some(_)) = stream.receive().await {}
        });
        assert!(ended.await.is_ok(), "stream {at} is still open");
    }
    assert_eq!(honest.remote.count_chunks(NODE, vec![shard(1)]).await.expect("counted"), vec![0], "nothing was stored");
    let mut stream =
        timeout(Duration::from_secs(5), handle.open_bidirectional_stream()).await.expect("in time").expect("open");
    let _ = stream.reset(1u32.into());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_connection_of_a_caller_that_does_not_greet_is_closed() {
    let server = serve(identity(CALLED, Some(CLUSTER)), options(), &Arc::new(Memory::default()));
    let client = endpoint::client(&identity(CALLER, Some(CLUSTER)), &options()).expect("a loopback port is free");
    let connect = Connect::new(server.local_addr()).with_server_name(MEMBER_NAME);
    let mut connection = client.connect(connect).await.expect("connected");
    let closed = timeout(Duration::from_secs(10), connection.accept()).await.expect("closed in time");
    assert!(closed.is_err(), "{closed:?}");
}

/// A host is identified by its certificate, not by its greeting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_greets_as_another_is_refused() {
    let server = serve(identity(CALLED, Some(CLUSTER)), options(), &Arc::new(Memory::default()));
    let client = endpoint::client(&identity(CALLER, Some(CLUSTER)), &options()).expect("a loopback port is free");
    let connect = Connect::new(server.local_addr()).with_server_name(MEMBER_NAME);
    let mut connection = client.connect(connect).await.expect("connected");
    let mut stream = connection.open_bidirectional_stream().await.expect("opened");
    stream.send(greeting(HostId(44)).encode().into()).await.expect("sent");
    stream.finish().expect("finished");
    let mut answer = Vec::new();
    while let Ok(Some(bytes)) = stream.receive().await {
        answer.extend_from_slice(&bytes);
    }
    let words = String::from_utf8_lossy(&answer).into_owned();
    assert!(words.contains("calls itself 000000000000002c, its certificate does not"), "{words}");
}
