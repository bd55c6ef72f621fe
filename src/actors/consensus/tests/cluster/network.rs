//! A simulated network between the hosts of a test, driven by its seed: messages are delayed, lost, reordered,
//! repeated, or cut off.

use crate::actors::consensus::MetaHandle;
use crate::actors::consensus::network::Kind;
use crate::ambient::Ambient;
use crate::net::{GroupCall, GroupError, GroupTransport};
use crate::types::HostId;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::time::sleep;

/// The greatest delay, and the rates of faults as calls in a thousand.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    pub delay_ms_max: u64,
    pub lost: u64,
    pub answers_lost: u64,
    /// Calls that arrive twice, the second time later.
    pub repeated: u64,
    /// Answers to forwarded changes that are lost, in addition to `answers_lost`.
    pub forwards_unanswered: u64,
}

impl Weather {
    pub const FAIR: Self = Self { delay_ms_max: 2, lost: 0, answers_lost: 0, repeated: 0, forwards_unanswered: 0 };
    pub const FOUL: Self =
        Self { delay_ms_max: 30, lost: 30, answers_lost: 30, repeated: 100, forwards_unanswered: 100 };
}

/// A record of one call that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    pub at: Duration,
    pub from: HostId,
    pub to: HostId,
    pub kind: u8,
    pub hash: u32,
}

#[derive(Debug)]
struct State {
    weather: Weather,
    /// The running hosts, each with the number of its start. Calls of an earlier start are dropped.
    present: BTreeMap<HostId, (u64, MetaHandle)>,
    next_start: u64,
    cut: BTreeSet<(HostId, HostId)>,
    sent: Vec<Sent>,
    /// Hosts that panicked while they served a call.
    panicked: BTreeSet<HostId>,
    /// The kinds of calls that all hosts refuse.
    refused: BTreeSet<u8>,
}

#[derive(Debug)]
pub struct Network {
    ambient: Ambient,
    state: Mutex<State>,
}

impl Network {
    pub fn new(ambient: Ambient) -> Arc<Self> {
        let state = State {
            weather: Weather::FAIR,
            present: BTreeMap::new(),
            next_start: 0,
            cut: BTreeSet::new(),
            sent: Vec::new(),
            panicked: BTreeSet::new(),
            refused: BTreeSet::new(),
        };
        Arc::new(Self { ambient, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic under the lock")
    }

    pub fn draw(&self, below: u64) -> u64 {
        (self.ambient.random_u128() as u64) % below.max(1)
    }

    pub fn set_weather(&self, weather: Weather) {
        self.state().weather = weather;
    }

    /// Returns the transport of a host that starts now.
    pub fn join(self: &Arc<Self>, from: HostId) -> Arc<Way> {
        let mut state = self.state();
        state.next_start += 1;
        Arc::new(Way { network: Arc::clone(self), from, start: state.next_start })
    }

    /// Makes a host answer calls from now on.
    pub fn present(&self, way: &Way, handle: MetaHandle) {
        self.state().present.insert(way.from, (way.start, handle));
    }

    pub fn leave(&self, host: HostId) {
        self.state().present.remove(&host);
    }

    /// Cuts these hosts off from all others, both ways.
    pub fn cut_off(&self, hosts: &[HostId], all: &[HostId]) {
        let mut state = self.state();
        for inside in hosts {
            for outside in all.iter().filter(|host| !hosts.contains(host)) {
                state.cut.extend([(*inside, *outside), (*outside, *inside)]);
            }
        }
    }

    /// Drops all messages from the first host to the second from now on.
    pub fn cut_one_way(&self, from: HostId, to: HostId) {
        self.state().cut.insert((from, to));
    }

    pub fn heal(&self) {
        self.state().cut.clear();
    }

    /// Makes all hosts refuse calls of this kind, as hosts of another version would.
    pub fn refuse(&self, kind: Kind) {
        self.state().refused.insert(kind as u8);
    }

    /// Makes all hosts serve calls of this kind again.
    pub fn accept(&self, kind: Kind) {
        self.state().refused.remove(&(kind as u8));
    }

    /// Returns the number of calls of a kind so far.
    pub fn calls(&self, kind: Kind) -> u64 {
        self.state().sent.iter().filter(|sent| sent.kind == kind as u8).count() as u64
    }

    /// Returns every call so far, in order.
    pub fn sent(&self) -> Vec<Sent> {
        self.state().sent.clone()
    }

    /// Returns the hosts that panicked while they served a call.
    pub fn panicked(&self) -> BTreeSet<HostId> {
        self.state().panicked.clone()
    }

    fn happens(&self, of_thousand: u64) -> bool {
        self.draw(1000) < of_thousand
    }

    async fn delay(&self, weather: Weather) {
        sleep(Duration::from_micros(self.draw(weather.delay_ms_max * 1000 + 1))).await;
    }

    fn target(&self, way: &Way, to: HostId) -> Option<MetaHandle> {
        let state = self.state();
        let is_there = state.present.get(&way.from).is_none_or(|(start, _)| *start == way.start);
        if !is_there || state.cut.contains(&(way.from, to)) {
            return None;
        }
        state.present.get(&to).map(|(_, handle)| handle.clone())
    }

    fn is_cut(&self, from: HostId, to: HostId) -> bool {
        self.state().cut.contains(&(from, to))
    }
}

/// The transport from one host to the others, for one start of the host.
#[derive(Debug)]
pub struct Way {
    network: Arc<Network>,
    from: HostId,
    start: u64,
}

#[async_trait::async_trait]
impl GroupTransport for Way {
    async fn call(&self, host: HostId, call: GroupCall) -> Result<Bytes, GroupError> {
        let network = &self.network;
        let weather = network.state().weather;
        let (at, hash) = (network.ambient.clock.monotonic(), crc32c::crc32c(&call.body));
        network.state().sent.push(Sent { at, from: self.from, to: host, kind: call.kind, hash });
        assert!(call.body.len() <= crate::limits::GROUP_CALL_BYTES_MAX, "a call of {} bytes", call.body.len());
        let silence = |why: &str| GroupError::NoAnswer { host, why: why.to_owned() };
        network.delay(weather).await;
        let Some(target) = self.network.target(self, host) else {
            if network.happens(500) {
                return Err(GroupError::Unreachable { host, why: "it is not there".to_owned() });
            }
            sleep(Duration::from_secs(60)).await;
            return Err(silence("it is not there"));
        };
        if network.happens(weather.lost) {
            sleep(Duration::from_secs(60)).await;
            return Err(silence("lost on the way"));
        }
        if network.happens(weather.repeated) {
            let (network, target, call) = (Arc::clone(network), target.clone(), call.clone());
            tokio::spawn(async move {
                sleep(Duration::from_millis(network.draw(3000))).await;
                let _ = target.serve(call).await;
            });
        }
        let kind = call.kind;
        if self.network.state().refused.contains(&kind) {
            return Err(GroupError::Refused { why: format!("call kind {kind} is not known") });
        }
        // The call is served to its end even if the caller gives up.
        let served = tokio::spawn(async move { target.serve(call).await });
        let answer = served.await.map_err(|_| {
            network.state().panicked.insert(host);
            silence("it died")
        })?;
        network.delay(weather).await;
        let unheard = kind == Kind::Forward as u8 && network.happens(weather.forwards_unanswered);
        if unheard || network.happens(weather.answers_lost) || network.is_cut(host, self.from) {
            return Err(silence("its answer was lost"));
        }
        if let Ok(bytes) = &answer {
            assert!(bytes.len() <= crate::limits::GROUP_CALL_BYTES_MAX, "an answer of {} bytes", bytes.len());
        }
        answer
    }
}
