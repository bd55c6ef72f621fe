//! `ConnectionPool` owns the connections to hosts: one each, dialed once however many ask at the same time.
//!
//! Receives `PeerFor` (asked only where the published table has no connection that is alive), `ReplacePeer` from a connection
//! that failed, `PeerLost`, `EvictIdle` from its own timer. Sends nothing; publishes the table that `Peers` reads.
//! Invariants: a host is open, being dialed, or known not to answer, never two of these; every waiter is answered. Refuses
//! with the dialer's error, to all who waited for that dial and, until a dial in the background succeeds, to all who ask:
//! nobody waits for a dead host more than once.

use super::dial::{Dial, DialError};
use super::pooled::Pooled;
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
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// A way to the host, dialing it where there is none.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<Peer, DialError>")]
pub struct PeerFor(pub HostId);

/// A way to the host other than the connection of this generation, which failed.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<Arc<Pooled>, DialError>")]
pub(super) struct ReplacePeer {
    pub(super) host: HostId,
    pub(super) generation: u64,
}

/// The connection to this host failed; the next who asks dials.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct PeerLost(pub HostId);

/// Time to close what nobody uses. Answered with how many were closed.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "usize")]
pub(super) struct EvictIdle;

type Dialed = Result<Arc<Pooled>, DialError>;
type Table = BTreeMap<HostId, Arc<Pooled>>;

/// A host that did not answer; it is dialed in the background.
struct Absent {
    error: DialError,
    /// The time at which it was last used.
    asked: Duration,
}

pub struct ConnectionPool {
    dialer: Arc<dyn Dial>,
    clock: Arc<dyn Clock>,
    table: Arc<ArcSwap<Table>>,
    dialing: BTreeMap<HostId, Vec<oneshot::Sender<Dialed>>>,
    absent: BTreeMap<HostId, Absent>,
    generations: u64,
}

/// The pool as requests see it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Peers {
    table: Arc<ArcSwap<Table>>,
    pub(super) pool: Addr<ConnectionPool>,
}

impl Peers {
    /// The connection to a host; waits only where it has to be dialed.
    pub async fn peer_for(&self, host: HostId) -> Result<Peer, DialError> {
        if let Some(peer) = self.table.load().get(&host).filter(|peer| !peer.is_lost()) {
            count("hit");
            let peer: Arc<Pooled> = Arc::clone(peer);
            return Ok(peer);
        }
        count("miss");
        self.pool.send(PeerFor(host)).await.map_err(|_| stopped(host))?
    }

    /// The way to the host of a node, as the ring has it.
    pub async fn of_node(&self, ring: &Ring, node: NodeId) -> Result<Peer, PeerError> {
        let host = ring.host_of(node).ok_or(PeerError::NoSuchNode(node))?;
        let unreachable = |error: DialError| PeerError::Unreachable { host, why: error.why, sent: false };
        self.peer_for(host).await.map_err(unreachable)
    }

    /// Reports that a connection failed.
    pub fn lost(&self, host: HostId) {
        self.pool.do_send(PeerLost(host));
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
            generations: 0,
        };
        Peers { table, pool: pool.start() }
    }

    /// The connection to a host, or what will tell of it.
    fn reach(&mut self, host: HostId, ctx: &mut Context<Self>) -> Result<Dialed, oneshot::Receiver<Dialed>> {
        if let Some(peer) = self.table.load().get(&host).cloned() {
            if !peer.is_lost() {
                return Ok(Ok(peer));
            }
            self.evict(host);
        }
        if let Some(absent) = self.absent.get_mut(&host) {
            absent.asked = self.clock.monotonic();
            return Ok(Err(absent.error.clone()));
        }
        let (waiter, answer) = oneshot::channel();
        let waiters = self.dialing.entry(host).or_default();
        waiters.push(waiter);
        if waiters.len() == 1 {
            self.dial(host, ctx);
        }
        Err(answer)
    }

    fn dial(&self, host: HostId, ctx: &mut Context<Self>) {
        count("dial");
        let dialer = Arc::clone(&self.dialer);
        let dial = async move { dialer.dial(host).await }.into_actor(self);
        ctx.spawn(dial.map(move |result, pool, ctx| pool.dialed(host, result, ctx)));
    }

    fn dialed(&mut self, host: HostId, result: Result<Peer, DialError>, ctx: &mut Context<Self>) {
        self.generations += 1;
        let (generation, clock, pool) = (self.generations, Arc::clone(&self.clock), ctx.address());
        let result = result.map(|peer| Arc::new(Pooled::new(host, generation, peer, clock, pool)));
        let was_absent = self.absent.remove(&host);
        match &result {
            Ok(peer) => self.change_table(|table| {
                table.insert(host, Arc::clone(peer));
            }),
            Err(error) => self.missed(host, error, was_absent, ctx),
        }
        for waiter in self.dialing.remove(&host).unwrap_or_default() {
            // One who gave up does not need the answer.
            let _ = waiter.send(result.clone());
        }
        self.check_invariants();
    }

    /// A dial failed: those who ask are told so at once, while it is tried again, as long as anyone asks.
    fn missed(&mut self, host: HostId, error: &DialError, before: Option<Absent>, ctx: &mut Context<Self>) {
        let now = self.clock.monotonic();
        let asked = before.map_or(now, |before| before.asked);
        if now.saturating_sub(asked) >= NET_EVICT_AFTER {
            return;
        }
        self.absent.insert(host, Absent { error: error.clone(), asked });
        ctx.run_later(NET_REDIAL_AFTER, move |pool, ctx| {
            if pool.absent.contains_key(&host) {
                pool.dial(host, ctx);
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
        let ReplacePeer { host, generation } = message;
        if self.table.load().get(&host).is_some_and(|peer| peer.generation == generation) {
            self.evict(host);
        }
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

impl Handler<PeerLost> for ConnectionPool {
    type Result = ();

    fn handle(&mut self, message: PeerLost, _: &mut Self::Context) {
        if self.table.load().contains_key(&message.0) {
            self.evict(message.0);
        }
        self.check_invariants();
    }
}

/// N6
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
