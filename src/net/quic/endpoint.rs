//! QUIC endpoints, each on a thread and runtime of its own that does nothing but handle packets. This takes half the
//! CPU time of an endpoint that shares a runtime with its users.

use super::events::{Listener, Side};
use super::handshakes::{self, RetryTokens};
use crate::limits::{
    NET_HANDSHAKE_WAIT_MAX, NET_HANDSHAKES_MAX, NET_IDLE_WAIT_MAX, NET_KEEP_ALIVE, NET_PACKET_BYTES_MAX,
    NET_SEND_BUFFER_BYTES, NET_SERVE_BYTES_MAX, NET_SERVE_PEER_BYTES_MAX, NET_SOCKET_BUFFER_BYTES,
    NET_STREAM_WINDOW_BYTES, NET_STREAMS_MAX,
};
use crate::net::identity::HostIdentity;
use crate::net::tls::TlsError;
use aws_lc_rs::hmac;
use s2n_quic::provider::limits::Limits;
use s2n_quic::provider::{io, stateless_reset_token};
use s2n_quic::{Client, Server};
use s2n_quic_core::stateless_reset;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// The time that a stopping endpoint has to send the close of its connections to its peers.
const FAREWELL: Duration = Duration::from_millis(200);

/// The address and the limits of an endpoint.
#[derive(Clone, Copy, Debug)]
pub struct QuicOptions {
    /// The address on which a server listens. A client binds to any address of the same family, and a free port.
    pub listen: SocketAddr,
    /// The most concurrent requests on one connection.
    pub streams_max: u64,
    /// The most bytes of bodies that a server holds for all connections together.
    pub serve_bytes_max: usize,
    /// The most bytes of bodies that a server holds for one connection.
    pub serve_peer_bytes_max: usize,
    /// The number of handshakes, concurrent or begun in one second, above which a server first validates the addresses
    /// of callers (Retry).
    pub handshakes_max: usize,
}

impl QuicOptions {
    pub fn listening(listen: SocketAddr) -> Self {
        Self {
            listen,
            streams_max: NET_STREAMS_MAX,
            serve_bytes_max: NET_SERVE_BYTES_MAX,
            serve_peer_bytes_max: NET_SERVE_PEER_BYTES_MAX,
            handshakes_max: NET_HANDSHAKES_MAX,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("SHERD_CLUSTER_LISTEN: the endpoint for other hosts cannot listen on {address}: {why}")]
    Endpoint { address: SocketAddr, why: String },
    #[error("the network endpoint's thread cannot be started: {0}")]
    Thread(#[from] std::io::Error),
}

/// The thread of an endpoint. It ends soon after this value is dropped.
#[derive(Debug)]
pub(super) struct EndpointThread {
    pub(super) runtime: Handle,
    stop: Option<oneshot::Sender<()>>,
    ended: oneshot::Receiver<()>,
}

impl EndpointThread {
    /// Starts a thread, and makes the endpoint on it by `make`.
    pub(super) fn start<T: Send + 'static>(
        name: &str,
        make: impl FnOnce() -> Result<T, StartError> + Send + 'static,
    ) -> Result<(T, Self), StartError> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (made, result) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let (ending, ended) = oneshot::channel();
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            runtime.block_on(async move {
                // The receiver waits below, so sending cannot fail.
                let _ = made.send(make());
                let _ = stopped.await;
                tokio::time::sleep(FAREWELL).await;
            });
            runtime.shutdown_timeout(FAREWELL);
            let _ = ending.send(());
        })?;
        let made = result.recv().map_err(|_| std::io::Error::other("the thread ended at once"))??;
        Ok((made, Self { runtime: handle, stop: Some(stop), ended }))
    }

    /// Stops the thread, and with it the endpoint and its socket; waits until it has ended.
    pub(super) async fn stop(mut self) {
        drop(self.stop.take());
        let _ = (&mut self.ended).await;
    }
}

pub(super) fn client(identity: &HostIdentity, options: &QuicOptions) -> Result<Client, StartError> {
    let address = match options.listen {
        SocketAddr::V4(_) => SocketAddr::from(([0, 0, 0, 0], 0)),
        SocketAddr::V6(_) => SocketAddr::from(([0u16; 8], 0)),
    };
    let tls = s2n_quic::provider::tls::rustls::Client::from(identity.client_config()?);
    let broken = |why: &dyn std::fmt::Display| StartError::Endpoint { address, why: why.to_string() };
    Client::builder()
        .with_tls(tls)
        .map_err(|why| broken(&why))?
        .with_io(socket(address).map_err(|why| broken(&why))?)
        .map_err(|why| broken(&why))?
        .with_limits(limits(options, 0).map_err(|why| broken(&why))?)
        .map_err(|why| broken(&why))?
        .with_event(Listener::new(Side::Caller))
        .map_err(|why| broken(&why))?
        .start()
        .map_err(|why| broken(&why))
}

pub(super) fn server(identity: &HostIdentity, options: &QuicOptions) -> Result<Server, StartError> {
    let address = options.listen;
    let tls = s2n_quic::provider::tls::rustls::Server::from(identity.server_config()?);
    let broken = |why: &dyn std::fmt::Display| StartError::Endpoint { address, why: why.to_string() };
    Server::builder()
        .with_tls(tls)
        .map_err(|why| broken(&why))?
        .with_io(socket(address).map_err(|why| broken(&why))?)
        .map_err(|why| broken(&why))?
        .with_limits(limits(options, options.streams_max).map_err(|why| broken(&why))?)
        .map_err(|why| broken(&why))?
        .with_endpoint_limits(handshakes::limits(options.handshakes_max).map_err(|why| broken(&why))?)
        .map_err(|why| broken(&why))?
        .with_address_token(RetryTokens::default())
        .map_err(|why| broken(&why))?
        .with_stateless_reset_token(Resets(identity.reset_key()))
        .map_err(|why| broken(&why))?
        .with_event(Listener::new(Side::Called))
        .map_err(|why| broken(&why))?
        .start()
        .map_err(|why| broken(&why))
}

fn socket(address: SocketAddr) -> std::io::Result<io::tokio::Provider> {
    io::tokio::Provider::builder()
        .with_receive_address(address)?
        .with_max_mtu(NET_PACKET_BYTES_MAX)?
        .with_send_buffer_size(NET_SOCKET_BUFFER_BYTES)?
        .with_recv_buffer_size(NET_SOCKET_BUFFER_BYTES)?
        .build()
}

/// Returns the limits of a connection. `streams_of_peer_max` is the number of streams that the other side may have
/// open.
fn limits(
    options: &QuicOptions,
    streams_of_peer_max: u64,
) -> Result<Limits, s2n_quic_core::connection::limits::ValidationError> {
    Limits::new()
        .with_data_window((options.streams_max * NET_STREAM_WINDOW_BYTES).min(u64::from(u32::MAX)))?
        .with_bidirectional_local_data_window(NET_STREAM_WINDOW_BYTES)?
        .with_bidirectional_remote_data_window(NET_STREAM_WINDOW_BYTES)?
        .with_max_open_local_bidirectional_streams(options.streams_max)?
        .with_max_open_remote_bidirectional_streams(streams_of_peer_max)?
        .with_max_open_remote_unidirectional_streams(0)?
        .with_max_send_buffer_size(NET_SEND_BUFFER_BYTES)?
        .with_max_handshake_duration(NET_HANDSHAKE_WAIT_MAX)?
        .with_max_keep_alive_period(NET_KEEP_ALIVE)?
        .with_max_idle_timeout(NET_IDLE_WAIT_MAX)
}

/// N5: the generator of stateless reset tokens, by which a restarted host tells its peers that it does not know a
/// connection. The tokens are derived from the cluster's secret, so they are the same after a restart, and nobody else
/// can forge them.
struct Resets(hmac::Key);

impl stateless_reset_token::Provider for Resets {
    type Generator = Self;
    type Error = std::convert::Infallible;

    fn start(self) -> Result<Self, Self::Error> {
        Ok(self)
    }
}

impl stateless_reset_token::Generator for Resets {
    fn generate(&mut self, local_connection_id: &[u8]) -> stateless_reset::Token {
        let tag = hmac::sign(&self.0, local_connection_id);
        let mut token = [0; 16];
        token.copy_from_slice(&tag.as_ref()[..16]);
        token.into()
    }
}
