//! The limit on open connections of a listener, shared by client addresses; it leaves enough file descriptors for the
//! drives. A connection beyond the limit is closed when it is accepted.

use super::shares::Shares;
use crate::actors::frontend::Holder;
use actix_service::{Service, ServiceFactory, fn_factory};
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::net::TcpStream;

/// The count of open connections of a listener, in all and for each address.
#[derive(Debug)]
pub struct Connections(Shares);

impl Connections {
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self(Shares::new(max)))
    }

    /// Counts a new connection; returns `None` if it is beyond the limit.
    fn open(self: &Arc<Self>, address: IpAddr) -> Option<Connection> {
        let holder = [Holder::at(address)];
        self.0.take(&holder, 1).ok()?;
        Some(Connection { of: Arc::clone(self), holder })
    }
}

/// A guard of an open connection.
struct Connection {
    of: Arc<Connections>,
    holder: [Holder; 1],
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.of.0.give_back(&self.holder, 1);
    }
}

/// Returns a service that passes connections on to `factory`'s service, and drops those beyond the limit.
pub fn limited<F>(
    factory: F,
    connections: Arc<Connections>,
) -> impl ServiceFactory<TcpStream, Config = (), Response = (), Error = F::Error, InitError = F::InitError>
where
    F: ServiceFactory<TcpStream, Config = (), Response = ()>,
    F::Future: 'static,
    F::Service: 'static,
    <F::Service as Service<TcpStream>>::Future: 'static,
{
    fn_factory(move || {
        let connections = Arc::clone(&connections);
        factory.new_service(()).map(move |service| service.map(|service| Limited { service, connections }))
    })
}

struct Limited<S> {
    service: S,
    connections: Arc<Connections>,
}

impl<S> Service<TcpStream> for Limited<S>
where
    S: Service<TcpStream, Response = ()>,
    S::Future: 'static,
{
    type Response = ();
    type Error = S::Error;
    type Future = LocalBoxFuture<'static, Result<(), S::Error>>;

    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.service.poll_ready(cx)
    }

    fn call(&self, stream: TcpStream) -> Self::Future {
        let Some(opened) = stream.peer_addr().ok().and_then(|peer| self.connections.open(peer.ip())) else {
            return async { Ok(()) }.boxed_local();
        };
        let served = self.service.call(stream);
        async move {
            let _opened = opened;
            served.await
        }
        .boxed_local()
    }
}
