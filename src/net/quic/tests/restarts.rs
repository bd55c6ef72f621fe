//! Hosts that stop, are killed, and come back at the same address.

use super::hostile::{Misdeed, misbehave};
use super::hosts::{CALLED, CALLER, CLUSTER, Memory, NODE, caller, connect, identity, options, pair, serve, shard};
use crate::net::{HostService, NodeService, PeerError, QuicOptions};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

async fn lost(remote: &impl HostService) {
    let lost = async {
        while !remote.is_lost() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(5), lost).await.expect("it is noticed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_host_is_noticed_at_once_and_reconnected_after_a_restart() {
    let pair = pair(options()).await;
    let address = pair.server.local_addr();
    pair.server.stop().await;
    lost(&pair.remote).await;
    let failed = pair.remote.count_chunks(NODE, vec![shard(1)]).await;
    assert!(matches!(&failed, Err(PeerError::Unreachable { sent: false, .. })), "{failed:?}");
    let again = QuicOptions { listen: address, ..options() };
    let _server = serve(identity(CALLED, Some(CLUSTER)), again, &pair.memory);
    let remote = connect(&pair.client, address).await.expect("it is back");
    assert!(remote.count_chunks(NODE, vec![shard(1)]).await.is_ok());
}

/// N5: a killed host cannot close its connections. After its restart it answers them with a stateless reset.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n5_a_connection_to_a_killed_host_ends_with_the_first_request_after_its_restart() {
    let killed = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("started");
    let address = killed.spawn(async { misbehave(Misdeed::Stall) }).await.expect("started");
    let client = caller(identity(CALLER, Some(CLUSTER)), options());
    let remote = connect(&client, address).await.expect("connected");
    killed.shutdown_background();
    let again = QuicOptions { listen: address, ..options() };
    let memory = Arc::new(Memory::default());
    let _server = bind_again(again, &memory).await;
    let begun = Instant::now();
    let failed = remote.count_chunks(NODE, vec![shard(1)]).await;
    assert!(matches!(&failed, Err(PeerError::Unreachable { why, .. }) if why.contains("restarted")), "{failed:?}");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    lost(&remote).await;
    let remote = connect(&client, address).await.expect("it is back");
    assert!(remote.count_chunks(NODE, vec![shard(1)]).await.is_ok());
}

/// Starts a server at an address whose former socket may take a moment to be closed.
async fn bind_again(options: QuicOptions, memory: &Arc<Memory>) -> crate::net::QuicServer {
    for _ in 0..200 {
        let identity = identity(CALLED, Some(CLUSTER));
        let service = Arc::clone(memory) as Arc<dyn HostService>;
        match crate::net::QuicServer::start(identity, options, service, tokio::runtime::Handle::current()) {
            Ok(server) => return server,
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    }
    panic!("the port stays taken");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unused_connection_is_closed() {
    let pair = pair(options()).await;
    let remote = connect(&pair.client, pair.server.local_addr()).await.expect("connected");
    drop(remote);
    assert!(pair.remote.count_chunks(NODE, vec![shard(1)]).await.is_ok(), "the other one stays");
    pair.client.stop();
    lost(&pair.remote).await;
    assert!(connect(&pair.client, pair.server.local_addr()).await.is_err(), "no more are made");
}
