//! `Dial`: opens the pool's connections, to this host by an in-process pipe and to other hosts over QUIC.

use crate::net::{NodeService, Peer, QuicClient, pipe};
use crate::types::HostId;
use std::fmt::Debug;
use std::sync::Arc;

/// Opens connections to hosts.
#[async_trait::async_trait]
pub trait Dial: Send + Sync + Debug + 'static {
    /// Opens a connection. The implementation bounds the time that it takes.
    async fn dial(&self, host: HostId) -> Result<Peer, DialError>;
}

#[derive(Clone, Debug, thiserror::Error)]
#[error("host {} cannot be reached: {why}", host.0)]
pub struct DialError {
    pub host: HostId,
    pub why: String,
}

/// Connects to this process's own drives, and to no other host: the dialer of a host that is the whole store.
#[derive(Debug)]
pub struct PipeDialer {
    pub host: HostId,
    pub service: Arc<dyn NodeService>,
}

#[async_trait::async_trait]
impl Dial for PipeDialer {
    async fn dial(&self, host: HostId) -> Result<Peer, DialError> {
        match host == self.host {
            true => Ok(pipe(Arc::clone(&self.service))),
            false => Err(DialError { host, why: "this dialer connects to its own host only".to_owned() }),
        }
    }
}

/// The source of hosts' addresses.
pub trait HostAddresses: Send + Sync + Debug + 'static {
    /// Returns the current address of a host, as `name:port` or `address:port`; `None` if it is unknown.
    fn address_of(&self, host: HostId) -> Option<String>;
}

/// Connects to this process by the pipe and to other hosts over QUIC.
#[derive(Debug)]
pub struct QuicDialer {
    pub host: HostId,
    /// The services of this host.
    pub own: Peer,
    pub client: Arc<QuicClient>,
    pub addresses: Arc<dyn HostAddresses>,
}

#[async_trait::async_trait]
impl Dial for QuicDialer {
    async fn dial(&self, host: HostId) -> Result<Peer, DialError> {
        if host == self.host {
            return Ok(Arc::clone(&self.own));
        }
        let unknown = || DialError { host, why: "its address is not known".to_owned() };
        let address = self.addresses.address_of(host).ok_or_else(unknown)?;
        match self.client.connect(&address, Some(host)).await {
            Ok(remote) => Ok(Arc::new(remote)),
            Err(error) => Err(DialError { host, why: error.to_string() }),
        }
    }
}
