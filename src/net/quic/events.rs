//! A subscriber to the events of QUIC endpoints: it records the peer's certificate of each connection, and logs the
//! reason if a handshake failed. A server learns of a refused caller only by these events.

use super::counts::{Line, LogLines, network_of};
use super::words::words;
use s2n_quic::provider::event::{ConnectionInfo, ConnectionMeta, Subscriber, events};
use std::net::{IpAddr, SocketAddr};

/// The subscriber of one endpoint.
#[derive(Debug)]
pub(super) struct Listener {
    side: Side,
    lines: LogLines<SocketAddr>,
}

impl Listener {
    pub(super) fn new(side: Side) -> Self {
        Self { side, lines: LogLines::default() }
    }
}

/// The role of an endpoint in its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Caller,
    Called,
}

impl Side {
    fn name(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Called => "called",
        }
    }

    /// Returns what failures of connections with this address are counted for: a host that is called has one port, and
    /// one that calls has many.
    fn counted(self, remote: SocketAddr) -> SocketAddr {
        match self {
            Self::Caller => remote,
            Self::Called => SocketAddr::new(network_of(remote.ip()), 0),
        }
    }
}

/// The recorded facts of a connection.
#[derive(Debug, Default)]
pub(super) struct ConnectionFacts {
    remote: Option<SocketAddr>,
    /// The peer's certificate, once the handshake is complete and the peer has proven that it has the key.
    pub(super) certificate: Option<Vec<u8>>,
}

impl Subscriber for Listener {
    type ConnectionContext = ConnectionFacts;

    fn create_connection_context(&mut self, _: &ConnectionMeta, _: &ConnectionInfo<'_>) -> ConnectionFacts {
        ConnectionFacts::default()
    }

    fn on_connection_started(
        &mut self,
        seen: &mut ConnectionFacts,
        _: &ConnectionMeta,
        event: &events::ConnectionStarted<'_>,
    ) {
        seen.remote = address(&event.path.remote_addr);
    }

    fn on_tls_exporter_ready(
        &mut self,
        seen: &mut ConnectionFacts,
        _: &ConnectionMeta,
        event: &events::TlsExporterReady<'_>,
    ) {
        let chain = event.session.peer_cert_chain_der();
        seen.certificate = chain.ok().and_then(|chain| chain.into_iter().next());
    }

    fn on_connection_closed(
        &mut self,
        seen: &mut ConnectionFacts,
        _: &ConnectionMeta,
        event: &events::ConnectionClosed,
    ) {
        if seen.certificate.is_some() {
            return;
        }
        let Some(remote) = seen.remote else { return };
        if let Some(Line { note }) = self.lines.another(self.side.counted(remote)) {
            let (side, why) = (self.side.name(), words(&event.error));
            tracing::warn!(side, %remote, why, note, "a handshake with another host failed");
        }
    }
}

fn address(address: &events::SocketAddress<'_>) -> Option<SocketAddr> {
    Some(match address {
        events::SocketAddress::IpV4 { ip, port, .. } => SocketAddr::new(IpAddr::from(**ip), *port),
        events::SocketAddress::IpV6 { ip, port, .. } => SocketAddr::new(IpAddr::from(**ip).to_canonical(), *port),
        _ => return None,
    })
}
