//! The connections of the pool: to this host's own drives by the pipe, to others over QUIC.

use crate::net::{NodeService, Peer, QuicClient, pipe};
use crate::types::HostId;
use std::fmt::Debug;
use std::sync::Arc;

/// Makes connections.
#[async_trait::async_trait]
pub trait Dial: Send + Sync + Debug + 'static {
    /// Bounded in time by whoever implements it.
    async fn dial(&self, host: HostId) -> Result<Peer, DialError>;
}

#[derive(Clone, Debug, thiserror::Error)]
#[error("host {} cannot be reached: {why}", host.0)]
pub struct DialError {
    pub host: HostId,
    pub why: String,
}

/// Reaches this process's own drives, and no other host.
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
            false => Err(DialError { host, why: "no transport leads there".to_owned() }),
        }
    }
}

/// The source of hosts' addresses.
pub trait HostAddresses: Send + Sync + Debug + 'static {
    /// `name:port` or `address:port`, as it is now.
    fn address_of(&self, host: HostId) -> Option<String>;
}

/// Reaches this process by the pipe and other hosts over the network.
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
