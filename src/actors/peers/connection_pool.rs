//! `ConnectionPool`: the actor that owns the connections to hosts, one for each host. Concurrent requests for a host
//! share one dial.
//!
//! Receives `PeerFor` (only if the published table has no live connection), `ReplacePeer` from a connection on which a
//! request failed, `RenewPeer`, and `EvictIdle` from its own timer. Sends nothing; publishes the table that `Peers`
//! reads.
//!
//! Invariants: a host is connected, being dialed for requests that wait, or absent, and never two of these; every waiter
//! is answered. A host that is connected may be dialed besides; a sound connection is given up for a new one only.
//!
//! Refuses with the dialer's error: all requests that waited for a failed dial, and all later ones until a dial in the
//! background succeeds. So no request waits for a host that is known to be dead.

use super::dial::{Dial, DialError};
use super::pooled::{Pooled, ReplacePeer};
use crate::ambient::{Ambient, Clock};
use crate::limits::{NET_EVICT_AFTER, NET_EVICT_CHECK, NET_REDIAL_AFTER};
use crate::metrics::POOL_EVENTS;
use crate::net::{HostService, Peer, PeerError};
use crate::storage::ring::Ring;
use crate::types::{HostId, NodeId};
use actix::{
    Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, MessageResult, ResponseFuture, WrapFuture,
};
use arc_swap::ArcSwap;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Return a connection to the host; dial it if there is none.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<Peer, DialError>")]
pub struct PeerFor(pub HostId);

/// Dial this host again and replace its connection by the new one, as nothing is heard over it. The host may have come
/// back under another address; if it may not be reached either way, the connection stays.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(super) struct RenewPeer(pub(super) HostId);

/// Close idle and dead connections. Answered with the number of closed ones.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "usize")]
pub(super) struct EvictIdle;

type Dialed = Result<Arc<Pooled>, DialError>;
/// The use of a dial's result.
type Dialing = fn(&mut ConnectionPool, HostId, Result<Peer, DialError>, &mut Context<ConnectionPool>);
type Table = BTreeMap<HostId, Arc<Pooled>>;

/// A host that did not answer; it is dialed in the background.
struct Absent {
    error: DialError,
    /// The time at which a request last needed the host.
    last_request: Duration,
}

pub struct ConnectionPool {
    dialer: Arc<dyn Dial>,
    clock: Arc<dyn Clock>,
    table: Arc<ArcSwap<Table>>,
    dialing: BTreeMap<HostId, Vec<oneshot::Sender<Dialed>>>,
    absent: BTreeMap<HostId, Absent>,
    /// The hosts that are dialed although they are connected.
    renewing: BTreeSet<HostId>,
}

/// The pool's interface for requests. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Peers {
    table: Arc<ArcSwap<Table>>,
    pub(super) pool: Addr<ConnectionPool>,
}

impl Peers {
    /// Returns the connection to a host. Waits only if the host must be dialed.
    pub async fn peer_for(&self, host: HostId) -> Result<Peer, DialError> {
        if let Some(peer) = self.table.load().get(&host).filter(|peer| !peer.is_lost()) {
            if peer.is_remote() {
                count("hit");
            }
            let peer: Arc<Pooled> = Arc::clone(peer);
            return Ok(peer);
        }
        count("miss");
        self.pool.send(PeerFor(host)).await.map_err(|_| stopped(host))?
    }

    /// Returns the connection to the host that has the node in this ring.
    pub async fn of_node(&self, ring: &Ring, node: NodeId) -> Result<Peer, PeerError> {
        let host = ring.host_of(node).ok_or(PeerError::NoSuchNode(node))?;
        let unreachable = |error: DialError| PeerError::Unreachable { host, why: error.why, sent: false };
        self.peer_for(host).await.map_err(unreachable)
    }

    /// Reports that a host does not answer over its connection, so that it is dialed again.
    pub fn renew(&self, host: HostId) {
        self.pool.do_send(RenewPeer(host));
    }
}

impl ConnectionPool {
    /// Starts the pool in the current arbiter.
    pub fn start_with(dialer: Arc<dyn Dial>, ambient: &Ambient) -> Peers {
        let table = Arc::new(ArcSwap::default());
        let pool = Self {
            dialer,
            clock: Arc::clone(&ambient.clock),
            table: Arc::clone(&table),
            dialing: BTreeMap::new(),
            absent: BTreeMap::new(),
            renewing: BTreeSet::new(),
        };
        Peers { table, pool: pool.start() }
    }

    /// Returns the connection to a host or the error of the last dial. If a dial is under way, returns the channel on
    /// which its result will arrive.
    fn reach(&mut self, host: HostId, ctx: &mut Context<Self>) -> Result<Dialed, oneshot::Receiver<Dialed>> {
        if let Some(peer) = self.table.load().get(&host).cloned() {
            if !peer.is_lost() {
                return Ok(Ok(peer));
            }
            self.evict(host);
        }
        if let Some(absent) = self.absent.get_mut(&host) {
            absent.last_request = self.clock.monotonic();
            return Ok(Err(absent.error.clone()));
        }
        let (waiter, answer) = oneshot::channel();
        let waiters = self.dialing.entry(host).or_default();
        waiters.push(waiter);
        if waiters.len() == 1 {
            self.dial(host, Self::dialed, ctx);
        }
        Err(answer)
    }

    fn dial(&self, host: HostId, dialed: Dialing, ctx: &mut Context<Self>) {
        count("dial");
        let dialer = Arc::clone(&self.dialer);
        let dial = async move { dialer.dial(host).await }.into_actor(self);
        ctx.spawn(dial.map(move |result, pool, ctx| dialed(pool, host, result, ctx)));
    }

    fn dialed(&mut self, host: HostId, result: Result<Peer, DialError>, ctx: &mut Context<Self>) {
        let result = self.pooled(host, result, ctx);
        let was_absent = self.absent.remove(&host);
        match &result {
            Ok(peer) => self.change_table(|table| {
                table.insert(host, Arc::clone(peer));
            }),
            Err(error) => self.missed(host, error, was_absent, ctx),
        }
        for waiter in self.dialing.remove(&host).unwrap_or_default() {
            // A waiter may have given up.
            let _ = waiter.send(result.clone());
        }
        self.check_invariants();
    }

    fn pooled(&self, host: HostId, result: Result<Peer, DialError>, ctx: &Context<Self>) -> Dialed {
        let (clock, pool) = (Arc::clone(&self.clock), ctx.address().recipient());
        result.map(|peer| Arc::new(Pooled::new(host, peer, clock, pool)))
    }

    /// Replaces the connection to a host that was dialed besides. Requests under way keep the former one.
    fn renewed(&mut self, host: HostId, result: Result<Peer, DialError>, ctx: &mut Context<Self>) {
        self.renewing.remove(&host);
        let is_connected = self.table.load().contains_key(&host);
        // Otherwise the former connection was given up meanwhile, and requests dial.
        if is_connected && let Ok(peer) = self.pooled(host, result, ctx) {
            self.change_table(|table| {
                table.insert(host, peer);
            });
        }
        self.check_invariants();
    }

    /// Marks the host as absent after a failed dial: requests fail at once. It is dialed again in the background as
    /// long as requests need it.
    fn missed(&mut self, host: HostId, error: &DialError, before: Option<Absent>, ctx: &mut Context<Self>) {
        let now = self.clock.monotonic();
        let last_request = before.map_or(now, |before| before.last_request);
        if now.saturating_sub(last_request) >= NET_EVICT_AFTER {
            return;
        }
        self.absent.insert(host, Absent { error: error.clone(), last_request });
        ctx.run_later(NET_REDIAL_AFTER, move |pool, ctx| {
            if pool.absent.contains_key(&host) {
                pool.dial(host, Self::dialed, ctx);
            }
        });
    }

    fn evict(&self, host: HostId) {
        count("eviction");
        self.change_table(|table| {
            table.remove(&host);
        });
    }

    fn change_table(&self, change: impl FnOnce(&mut Table)) {
        let mut table = Table::clone(&self.table.load());
        change(&mut table);
        self.table.store(Arc::new(table));
    }

    fn check_invariants(&self) {
        let table = self.table.load();
        debug_assert!(self.dialing.keys().all(|host| !table.contains_key(host) && !self.absent.contains_key(host)));
        debug_assert!(self.absent.keys().all(|host| !table.contains_key(host)));
    }
}

fn count(event: &str) {
    POOL_EVENTS.with_label_values(&[event]).inc();
}

fn stopped(host: HostId) -> DialError {
    DialError { host, why: "the connection pool has stopped".to_owned() }
}

impl Actor for ConnectionPool {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(NET_EVICT_CHECK, |_, ctx| ctx.notify(EvictIdle));
    }
}

impl Handler<PeerFor> for ConnectionPool {
    type Result = ResponseFuture<Result<Peer, DialError>>;

    fn handle(&mut self, message: PeerFor, ctx: &mut Self::Context) -> Self::Result {
        let host = message.0;
        let reached = self.reach(host, ctx);
        self.check_invariants();
        Box::pin(async move {
            let dialed = match reached {
                Ok(dialed) => dialed,
                Err(answer) => answer.await.unwrap_or_else(|_| Err(stopped(host))),
            };
            dialed.map(|peer| -> Peer { peer })
        })
    }
}

impl Handler<ReplacePeer> for ConnectionPool {
    type Result = ResponseFuture<Dialed>;

    fn handle(&mut self, message: ReplacePeer, ctx: &mut Self::Context) -> Self::Result {
        let host = message.0;
        let reached = self.reach(host, ctx);
        self.check_invariants();
        Box::pin(async move {
            match reached {
                Ok(dialed) => dialed,
                Err(answer) => answer.await.unwrap_or_else(|_| Err(stopped(host))),
            }
        })
    }
}

impl Handler<RenewPeer> for ConnectionPool {
    type Result = ();

    fn handle(&mut self, message: RenewPeer, ctx: &mut Self::Context) {
        let host = message.0;
        if self.table.load().contains_key(&host) && self.renewing.insert(host) {
            self.dial(host, Self::renewed, ctx);
        }
    }
}

/// N6: idle connections are closed.
impl Handler<EvictIdle> for ConnectionPool {
    type Result = MessageResult<EvictIdle>;

    fn handle(&mut self, _: EvictIdle, _: &mut Self::Context) -> Self::Result {
        let table = self.table.load_full();
        let idle = table.values().filter(|peer| peer.is_lost() || peer.idle_for() >= NET_EVICT_AFTER);
        let evicted = idle.map(|peer| self.evict(peer.host)).count();
        self.check_invariants();
        MessageResult(evicted)
    }
}
