//! Watches the state of the other hosts' drives, replicas and clocks: asks every other host once a second, and
//! publishes the answers on the `HealthBoard`. The drives of a host that does not answer count as out of service until
//! it does, so that requests avoid them without trying.

use super::messages::{Kind, MEMBERSHIP_GROUP, NodeStatus, StatusAnswer, StatusAsk};
use crate::actors::consensus::ClusterClock;
use crate::actors::drives::DriveList;
use crate::actors::drives::health::{Contents, HealthBoard, HostState, ReplicaState};
use crate::actors::peers::Peers;
use crate::limits::{HOST_PROBE_EVERY, PROBE_PATIENCE};
use crate::net::{GroupCall, decode_body, encode_body};
use crate::storage::disk::Space;
use crate::storage::identity::Drive;
use crate::types::{HostId, NodeId, UnixMs};
use futures::future::join_all;
use futures::stream::{FuturesUnordered, StreamExt};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::{sleep, timeout};

/// Answers other hosts that ask for the state of this host's drives, replica and clock.
#[derive(Clone, Debug)]
pub struct StatusSource {
    pub health: HealthBoard,
    /// This host's drives and their directories.
    pub own: DriveList,
    pub clock: ClusterClock,
    /// The start of the process.
    pub started: UnixMs,
    /// Set when the process is about to end.
    pub stopping: Arc<AtomicBool>,
}

impl StatusSource {
    pub(super) fn answer(&self, replica: ReplicaState) -> StatusAnswer {
        let health = self.health.current();
        let status = |drive: &Drive| {
            let state = health.state(drive.node).cloned().unwrap_or_default();
            let space = state.space;
            NodeStatus {
                node: drive.node,
                out_of_service: state.out_of_service,
                unwritable: state.unwritable,
                free_bytes: space.map_or(0, |space| space.free_bytes),
                total_bytes: space.map_or(0, |space| space.total_bytes),
                file_system: space.map_or(0, |space| space.file_system),
                level: state.level,
                contents: state.contents,
                compared_at: state.compared_at,
                dir: drive.dir.display().to_string(),
            }
        };
        StatusAnswer {
            nodes: self.own.all().iter().map(status).collect(),
            clock: self.clock.report(),
            replica: replica.on(self.own.kept(&health).len()),
            stopping: self.stopping.load(Ordering::Acquire),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: self.started,
            hears: health.hosts_up(),
        }
    }
}

/// Asks the other hosts for their state. Cheap to clone.
#[derive(Clone, Debug)]
pub struct HostWatch {
    peers: Peers,
    health: HealthBoard,
    clock: ClusterClock,
    own: HostId,
    /// The drives of this host. Tables that lag may assign them to its predecessor, a host of the same name and another
    /// id.
    own_drives: DriveList,
    /// The nodes of each other host that is asked; it may have none.
    hosts: Arc<Mutex<BTreeMap<HostId, Vec<NodeId>>>>,
}

impl HostWatch {
    pub fn new(peers: Peers, health: HealthBoard, clock: ClusterClock, own: HostId, own_drives: DriveList) -> Self {
        Self { peers, health, clock, own, own_drives, hosts: Arc::default() }
    }

    /// Sets the hosts and their nodes. A new node counts as in service until its host fails to answer.
    pub fn watch(&self, mut hosts: BTreeMap<HostId, Vec<NodeId>>) {
        hosts.remove(&self.own);
        hosts.values_mut().for_each(|nodes| nodes.retain(|node| !self.own_drives.has(*node)));
        let health = self.health.current();
        for node in hosts.values().flatten().filter(|node| health.state(**node).is_none()) {
            // Holds until the host of the node has answered.
            self.health.update(*node, |state| state.contents = Contents::Uncompared);
        }
        self.clock.watch(hosts.keys().copied());
        self.health.retain_hosts(|host| hosts.contains_key(&host));
        *self.hosts.lock().unwrap_or_else(PoisonError::into_inner) = hosts;
    }

    /// Returns whether another host answered when it was asked last.
    pub fn answers(&self, host: HostId) -> bool {
        self.health.current().host(host).is_some_and(|state| state.answers)
    }

    /// Asks all other hosts, again and again, until it is dropped. Each host is asked independently, so that a silent
    /// host does not delay the questions to others.
    pub async fn run(self) {
        let watch = &self;
        let (mut questions, mut asked) = (FuturesUnordered::new(), BTreeSet::new());
        loop {
            for host in watch.others() {
                if asked.insert(host) {
                    questions.push(async move {
                        tokio::join!(watch.probe(host), sleep(HOST_PROBE_EVERY));
                        host
                    });
                }
            }
            tokio::select! {
                Some(host) = questions.next() => {
                    asked.remove(&host);
                }
                // Looks again for hosts that are new.
                () = sleep(HOST_PROBE_EVERY) => {}
            }
        }
    }

    /// Asks all other hosts once, now.
    pub async fn ask_all(&self) {
        join_all(self.others().into_iter().map(|host| self.probe(host))).await;
    }

    fn others(&self) -> Vec<HostId> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    fn nodes_of(&self, host: HostId) -> Option<Vec<NodeId>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner).get(&host).cloned()
    }

    async fn probe(&self, host: HostId) {
        let call = GroupCall { group: MEMBERSHIP_GROUP, kind: Kind::Status as u8, body: encode_body(&StatusAsk {}) };
        let asked = async {
            let peer = self.peers.peer_for(host).await.map_err(|error| error.why)?;
            let answer = peer.group_call(call).await.map_err(|error| error.to_string())?;
            decode_body::<StatusAnswer>(&answer).map_err(|error| error.to_string())
        };
        let answer = timeout(PROBE_PATIENCE, asked).await;
        let is_silent = answer.is_err();
        let answer = answer.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        // The host may have been removed meanwhile, and its nodes may belong to another host.
        let Some(nodes) = self.nodes_of(host) else { return };
        let before = self.health.current().host(host).cloned().unwrap_or_default();
        if is_silent && !before.answers {
            // For the second time at least. It may have come back under another address, which only a dial finds out.
            self.peers.renew(host);
        }
        let state = match &answer {
            Ok(answer) => {
                self.clock.hear(host, answer.clock);
                HostState {
                    answers: true,
                    stopping: answer.stopping,
                    version: answer.version.clone(),
                    started: answer.started,
                    replica: answer.replica.clone(),
                    hears: answer.hears.clone(),
                }
            }
            Err(_) => HostState { answers: false, stopping: false, ..before },
        };
        self.health.note_host(host, state);
        for node in nodes {
            let report = match &answer {
                Ok(answer) => answer.nodes.iter().find(|status| status.node == node).ok_or("its host does not know it"),
                Err(why) => Err(why.as_str()),
            };
            self.note(host, node, report);
        }
    }

    fn note(&self, host: HostId, node: NodeId, report: Result<&NodeStatus, &str>) {
        let was = self.health.current().in_service(node);
        self.health.update(node, |state| match report {
            Ok(status) => {
                state.out_of_service = status.out_of_service.clone();
                state.unwritable.clone_from(&status.unwritable);
                state.level = status.level;
                state.contents = status.contents;
                state.compared_at = status.compared_at;
                state.dir.clone_from(&status.dir);
                state.space = (status.total_bytes > 0).then_some(Space {
                    free_bytes: status.free_bytes,
                    total_bytes: status.total_bytes,
                    file_system: status.file_system,
                });
            }
            Err(_) => state.out_of_service = Some("its host does not answer".to_owned()),
        });
        let host = format!("{:016x}", host.0);
        match (was, self.health.current().in_service(node), report) {
            (true, false, Err(why)) => tracing::warn!(%node, host, why, "a drive of another host is out of service"),
            (true, false, Ok(status)) => {
                let why = status.out_of_service.as_deref().unwrap_or_default();
                tracing::warn!(%node, host, why, "a drive of another host is out of service");
            }
            (false, true, _) => tracing::info!(%node, host, "a drive of another host is in service again"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{HostWatch, StatusSource};
    use crate::actors::consensus::ClusterClock;
    use crate::actors::drives::DriveList;
    use crate::actors::drives::health::{self, HealthBoard};
    use crate::actors::membership::founding::FoundingBoard;
    use crate::actors::membership::service::{HostGroups, LateNodeService};
    use crate::actors::peers::{ConnectionPool, PipeDialer};
    use crate::actors::request::test_hosts::{HostState, Hosts};
    use crate::ambient::Ambient;
    use crate::limits::HOST_PROBE_EVERY;
    use crate::types::{ClusterId, HostId, NodeId, UnixMs};
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;
    use tokio::time::{Instant, sleep};

    /// Tests a host that came back empty under its name, while the metadata still assigns its nodes to its predecessor,
    /// which does not answer.
    #[actix::test]
    async fn an_unreachable_former_member_of_the_same_name_does_not_take_a_hosts_own_drives_out_of_service() {
        let dialer = PipeDialer { host: HostId(2), service: Arc::new(LateNodeService::default()) };
        let peers = ConnectionPool::start_with(Arc::new(dialer), &Ambient::system());
        let health = HealthBoard::new([NodeId(64), NodeId(65)]);
        let own = DriveList::of_nodes([NodeId(64), NodeId(65)]);
        let watch = HostWatch::new(peers, health.clone(), clock(), HostId(2), own);
        watch.watch(BTreeMap::from([(HostId(1), vec![NodeId(64), NodeId(65)]), (HostId(3), vec![NodeId(128)])]));
        let until_told = async {
            while health.current().in_service(NodeId(128)) {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = watch.run() => {}
            report = tokio::time::timeout(Duration::from_secs(30), until_told) => report.expect("its host is not there"),
        }
        assert!(health.current().in_service(NodeId(64)) && health.current().in_service(NodeId(65)));
    }

    fn clock() -> ClusterClock {
        ClusterClock::new(&Ambient::system())
    }

    async fn until_it_answers(watch: &HostWatch, host: HostId, wanted: bool) {
        let until = async {
            while watch.answers(host) != wanted {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = watch.clone().run() => {}
            seen = tokio::time::timeout(Duration::from_secs(30), until) => seen.expect("it is asked every second"),
        }
    }

    fn status(stopping: &Arc<AtomicBool>) -> StatusSource {
        let stopping = Arc::clone(stopping);
        let (health, own, started) = (HealthBoard::new([]), DriveList::new(Vec::new()), UnixMs(1));
        StatusSource { health, own, clock: clock(), started, stopping }
    }

    #[actix::test]
    async fn a_host_without_drives_is_probed_like_any_other() {
        let (asked, absent) = (HostId(3), HostId(4));
        let groups = HostGroups::new(FoundingBoard::formed(ClusterId(1)));
        let stopping = Arc::default();
        let source = status(&stopping);
        let heard = source.health.clone();
        groups.status_by(source);
        let hosts = Arc::new(Hosts::default());
        hosts.add(asked, Arc::new(LateNodeService::default()), Arc::new(groups));
        let peers = ConnectionPool::start_with(hosts.clone(), &Ambient::system());
        let watch = HostWatch::new(peers, HealthBoard::new([]), clock(), HostId(2), DriveList::new(Vec::new()));
        watch.watch(BTreeMap::from([(asked, Vec::new()), (absent, Vec::new())]));
        assert!(!watch.answers(asked), "nobody was asked yet");
        until_it_answers(&watch, asked, true).await;
        let is_up = || watch.health.current().host(asked).is_some_and(health::HostState::is_up);
        assert!(is_up());
        let hears = || watch.health.current().host(asked).map(|state| state.hears.clone()).unwrap_or_default();
        assert!(hears().is_empty());
        let up = health::HostState { answers: true, ..health::HostState::default() };
        heard.note_host(HostId(9), up.clone());
        heard.note_host(HostId(10), health::HostState { stopping: true, ..up });
        heard.note_host(HostId(11), health::HostState::default());
        watch.ask_all().await;
        assert_eq!(hears(), [HostId(9)].into(), "the host reports which others are up for it");
        stopping.store(true, Ordering::Release);
        watch.ask_all().await;
        assert!(watch.answers(asked) && !is_up(), "the host reports that its process is about to end");
        hosts.set(asked, HostState::Dead);
        until_it_answers(&watch, asked, false).await;
        let stops = watch.health.current().host(asked).is_some_and(|state| state.stopping);
        assert!(!stops, "a host that does not answer is not reported as stopping");
        assert!(!watch.answers(absent));
    }

    #[actix::test]
    async fn a_silent_host_does_not_delay_the_probes_of_others() {
        tokio::time::pause();
        let (asked, silent) = (HostId(3), HostId(4));
        let groups = HostGroups::new(FoundingBoard::formed(ClusterId(1)));
        groups.status_by(status(&Arc::default()));
        let (groups, hosts) = (Arc::new(groups), Arc::new(Hosts::default()));
        for host in [asked, silent] {
            hosts.add(host, Arc::new(LateNodeService::default()), groups.clone());
        }
        hosts.set(silent, HostState::Frozen);
        let peers = ConnectionPool::start_with(hosts.clone(), &Ambient::system());
        let watch = HostWatch::new(peers, HealthBoard::new([]), clock(), HostId(2), DriveList::new(Vec::new()));
        watch.watch(BTreeMap::from([(asked, Vec::new()), (silent, Vec::new())]));
        let moment = Duration::from_millis(10);
        let noticed = async {
            while !watch.answers(asked) {
                sleep(moment).await;
            }
            hosts.set(asked, HostState::Dead);
            let start = Instant::now();
            while watch.answers(asked) {
                sleep(moment).await;
            }
            start.elapsed()
        };
        let took = tokio::select! {
            () = watch.clone().run() => panic!("it has no end"),
            took = noticed => took,
        };
        assert!(took <= HOST_PROBE_EVERY + 2 * moment, "{took:?}");
    }
}
