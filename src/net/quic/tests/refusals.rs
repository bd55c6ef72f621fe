//! Hosts that may not communicate: each gets the reason.

use super::hosts::{
    CALLED, CALLER, CLUSTER, Memory, NODE, SECRET, caller, connect, identity, options, serve, shard, speaking,
};
use crate::net::quic::QuicOptions;
use crate::net::quic::words::words;
use crate::net::tls::MEMBER_NAME;
use crate::net::{ConnectError, GroupCall, GroupService, HostIdentity, HostService, NodeService, PeerError};
use crate::types::{ClusterId, HostId, RecoveryEpoch};
use bytes::Bytes;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use s2n_quic::client::Connect;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::UdpSocket;

async fn refused(called: Arc<HostIdentity>, calling: Arc<HostIdentity>, sought: Option<HostId>) -> String {
    let server = serve(called, options(), &Arc::new(Memory::default()));
    let client = caller(calling, options());
    let answer = client.connect(&server.local_addr().to_string(), sought).await;
    answer.map(|remote| format!("{:?}", remote.greeting())).expect_err("they do not go on").to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_with_another_secret_is_refused_with_that_reason() {
    let other = HostIdentity::new(CALLER, Some(CLUSTER), b"some other secret, long enough").expect("made");
    let why = refused(identity(CALLED, Some(CLUSTER)), other, Some(CALLED)).await;
    assert!(why.contains("the cluster secret differs"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_of_another_cluster_is_refused_with_both_clusters_named() {
    let why = refused(identity(CALLED, Some(CLUSTER)), identity(CALLER, Some(ClusterId(0xC2))), Some(CALLED)).await;
    assert!(why.contains("cluster 000000000000000000000000000000c1"), "{why}");
    assert!(why.contains("cluster 000000000000000000000000000000c2"), "{why}");
}

/// The identity of a host whose metadata group was recovered once for each of these epoch ids.
fn recovered(host: HostId, ids: &[u64]) -> Arc<HostIdentity> {
    let epoch = ids.iter().fold(RecoveryEpoch::default(), |epoch, id| epoch.next(*id));
    HostIdentity::of(host, CLUSTER, epoch, SECRET).expect("made")
}

async fn is_given_up(host: &HostIdentity) -> bool {
    tokio::time::timeout(std::time::Duration::from_millis(50), host.given_up()).await.is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_of_the_group_before_a_recovery_is_refused_and_learns_why() {
    let cases: [(&[u64], &[u64], HostId); 3] = [(&[7], &[], CALLER), (&[], &[7], CALLED), (&[7, 9], &[7], CALLER)];
    for (called, caller, before) in cases {
        let [called, caller] = [(CALLED, called), (CALLER, caller)].map(|(host, ids)| recovered(host, ids));
        let why = refused(Arc::clone(&called), Arc::clone(&caller), Some(CALLED)).await;
        assert!(why.contains(&format!("host {:016x} is of the cluster's metadata group before", before.0)), "{why}");
        assert!(why.contains("sherd rejoin") && why.ends_with("to join anew"), "{why}");
        assert_eq!((is_given_up(&called).await, is_given_up(&caller).await), (before == CALLED, before == CALLER));
    }
    // Two groups that were recovered independently: once each, or one of them twice.
    let cases: [(&[u64], &[u64]); 2] = [(&[7], &[8]), (&[7, 9], &[8])];
    for (called, caller) in cases {
        let [called, caller] = [(CALLED, called), (CALLER, caller)].map(|(host, ids)| recovered(host, ids));
        let why = refused(Arc::clone(&called), Arc::clone(&caller), Some(CALLED)).await;
        assert!(why.contains("one of them has to be given up"), "{why}");
        assert!(!is_given_up(&called).await && !is_given_up(&caller).await, "nobody but an operator knows which");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_other_than_the_sought_one_is_refused() {
    let why = refused(identity(CALLED, Some(CLUSTER)), identity(CALLER, Some(CLUSTER)), Some(HostId(9))).await;
    assert!(why.contains("0000000000000009 was sought at this address, host 0000000000000002 is there"), "{why}");
    let why = refused(identity(CALLER, Some(CLUSTER)), identity(CALLER, Some(CLUSTER)), None).await;
    assert!(why.contains("both hosts call themselves 0000000000000001"), "{why}");
}

/// N8: the refusal names the version ranges of both hosts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_without_a_common_version_are_refused_with_both_ranges() {
    let why = refused(speaking(CALLED, 4, 5), speaking(CALLER, 2, 3), Some(CALLED)).await;
    assert!(why.contains("host 0000000000000001 speaks 2 to 3, host 0000000000000002 speaks 4 to 5"), "{why}");
}

/// N8: a host of the next version and one of this version speak this version.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hosts_speak_the_newest_version_that_both_know() {
    let server = serve(speaking(CALLED, 1, 2), options(), &Arc::new(Memory::default()));
    let client = caller(speaking(CALLER, 1, 1), options());
    let remote = connect(&client, server.local_addr()).await.expect("they meet at 1");
    assert!(remote.count_chunks(NODE, vec![shard(1)]).await.is_ok());
    let newer = caller(speaking(CALLER, 2, 3), options());
    let remote = connect(&newer, server.local_addr()).await.expect("they meet at 2");
    assert!(remote.count_chunks(NODE, vec![shard(1)]).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_outside_the_cluster_may_make_only_group_calls() {
    let server = serve(identity(CALLED, Some(CLUSTER)), options(), &Arc::new(Memory::default()));
    let joining = HostIdentity::new(CALLER, None, SECRET).expect("made");
    let client = caller(Arc::clone(&joining), options());
    let remote = client.connect(&server.local_addr().to_string(), None).await.expect("it may ask to join");
    assert_eq!(remote.greeting().cluster, Some(CLUSTER));
    let call = GroupCall { group: 0, kind: 1, body: Bytes::from_static(b"may I?") };
    assert_eq!(remote.group_call(call).await.expect("answered"), Bytes::from_static(b"may I?"));
    let refused = remote.count_chunks(NODE, vec![shard(1)]).await;
    // The request is not sent, and the connection counts as lost, so that a pool makes a new one.
    assert!(matches!(refused, Err(PeerError::Unreachable { sent: false, .. })), "{refused:?}");
    assert!(remote.is_lost());
    joining.enter(CLUSTER, RecoveryEpoch::default()).expect("entered");
    let remote = connect(&client, server.local_addr()).await.expect("it is of the cluster");
    assert!(remote.count_chunks(NODE, vec![shard(1)]).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_without_a_host_is_reported_within_the_handshakes_time() {
    let client = caller(identity(CALLER, Some(CLUSTER)), options());
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a loopback port is free");
    let begun = tokio::time::Instant::now();
    let answer = connect(&client, socket.local_addr().expect("bound")).await;
    assert!(matches!(answer, Err(ConnectError::Unreachable { .. })), "{answer:?}");
    assert!(begun.elapsed() < std::time::Duration::from_secs(8));
    let answer = client.connect("no such name:1", None).await;
    assert!(matches!(answer, Err(ConnectError::Unresolved { .. })), "{answer:?}");
}

/// The verifier of a caller that trusts any server, so that the server has to refuse the caller.
#[derive(Debug)]
struct TrustsAnyone;

impl ServerCertVerifier for TrustsAnyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

/// N1: the server also demands a certificate, and refuses a caller without one or with that of another secret.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n1_a_server_refuses_a_caller_without_the_secret() {
    let server = serve(identity(CALLED, Some(CLUSTER)), options(), &Arc::new(Memory::default()));
    let other = HostIdentity::new(CALLER, Some(CLUSTER), b"some other secret, long enough").expect("made");
    let mut with_other = other.client_config().expect("made");
    with_other.dangerous().set_certificate_verifier(Arc::new(TrustsAnyone));
    let mut with_none = ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TrustsAnyone))
        .with_no_client_auth();
    with_none.alpn_protocols = vec![b"sherd".to_vec()];
    for config in [with_other, with_none] {
        let client = s2n_quic::Client::builder()
            .with_tls(s2n_quic::provider::tls::rustls::Client::from(config))
            .expect("set up")
            .with_io("127.0.0.1:0")
            .expect("a loopback port is free")
            .start()
            .expect("started");
        let connect = Connect::new(server.local_addr()).with_server_name(MEMBER_NAME);
        let error = match client.connect(connect).await {
            // The caller's handshake completes before the server has verified its certificate.
            Ok(mut connection) => connection.accept().await.expect_err("refused"),
            Err(error) => error,
        };
        assert_eq!(words(&error), "it refused the handshake, as a host does when the cluster secret differs");
    }
}

/// Starts a proxy between one caller and a server that counts Retry packets (RFC 9000, section 17.2.5).
async fn watched(server: SocketAddr) -> (SocketAddr, Arc<AtomicUsize>) {
    let bind = || UdpSocket::bind("127.0.0.1:0");
    let (front, back) = (bind().await.expect("a free port"), bind().await.expect("a free port"));
    back.connect(server).await.expect("loopback");
    let (address, retries) = (front.local_addr().expect("bound"), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&retries);
    tokio::spawn(async move {
        let (mut out, mut home) = (vec![0; 16 << 10], vec![0; 16 << 10]);
        let mut caller = None;
        loop {
            tokio::select! {
                Ok((count, from)) = front.recv_from(&mut out) => {
                    caller = Some(from);
                    let _ = back.send(&out[..count]).await;
                }
                Ok(count) = back.recv(&mut home) => {
                    seen.fetch_add(usize::from(home[0] & 0xF0 == 0xF0), Ordering::Relaxed);
                    if let Some(caller) = caller {
                        let _ = front.send_to(&home[..count], caller).await;
                    }
                }
                else => return,
            }
        }
    });
    (address, retries)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_many_handshakes_validates_callers_by_retry() {
    for (handshakes_max, retried) in [(0, true), (1000, false)] {
        let called = QuicOptions { handshakes_max, ..options() };
        let server = serve(identity(CALLED, Some(CLUSTER)), called, &Arc::new(Memory::default()));
        let client = caller(identity(CALLER, Some(CLUSTER)), options());
        let (address, retries) = watched(server.local_addr()).await;
        let remote = connect(&client, address).await.expect("it is where it says");
        assert!(remote.count_chunks(NODE, vec![shard(1)]).await.is_ok());
        assert_eq!(retries.load(Ordering::Relaxed) > 0, retried, "of {handshakes_max} handshakes");
    }
}
