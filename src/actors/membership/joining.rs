//! Joining an existing cluster: both the host that asks and the member that takes it in. The member registers the host
//! in the metadata and adds it to the metadata group. Both steps are idempotent, so the host may ask again.

use super::founding::root_key_words;
use super::messages::{
    JoinAnswer, JoinAsk, JoinAskWithRoles, Kind, MEMBERSHIP_GROUP, RejoinAsk, RemovalAnswer, RemovalAsk, StatusAsk,
};
use super::rejoin_asks::RejoinAsks;
use crate::actors::consensus::{MetaError, MetaHandle};
use crate::actors::peers::Peers;
use crate::limits::{MEMBERSHIP_PATIENCE, NODES_OF_HOST_MAX, PROBE_PATIENCE};
use crate::net::{GroupCall, GroupService, PeerError, QuicClient, decode_body, encode_body};
use crate::storage::identity::Founder;
use crate::storage::meta::command::{Change, Refusal, Reply};
use crate::storage::meta::record::HostRecord;
use crate::types::{ClusterId, HostId, NodeId, RecoveryEpoch, Roles, UnixMs};
use bytes::Bytes;
use futures::stream::{FuturesUnordered, StreamExt};
use std::time::Duration;
use tokio::time::timeout;

const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// The number of tries between two lines of the log.
const TRIES_TO_A_WORD: u32 = 10;
/// The longest wait for a member's answer: the member first changes the metadata and the membership of its group.
const WELCOME_PATIENCE: Duration = Duration::from_secs(40);

/// The facts about the cluster that a newly admitted host needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcomed {
    pub cluster: ClusterId,
    pub recovery: RecoveryEpoch,
    pub first_node: NodeId,
    pub data: u8,
    pub parity: u8,
    /// The ids and addresses of the other hosts.
    pub hosts: Vec<(HostId, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    #[error("the cluster refuses this host: {0}")]
    Refused(String),
}

/// Asks the members at these addresses in turn, again and again, until one takes this host in or refuses it.
/// `tell` is given, after each round, the reasons for which none has.
pub async fn join(
    client: &QuicClient,
    ask: &JoinAskOf<'_>,
    addresses: &[String],
    tell: impl Fn(Vec<String>),
) -> Result<Welcomed, JoinError> {
    let call = ask.call();
    let mut tries: u32 = 0;
    loop {
        let mut reasons = Vec::new();
        for address in addresses {
            match ask_member(client, call.clone(), address).await {
                Ok(JoinAnswer::Welcome { cluster, first_node, data, parity, hosts, recovery }) => {
                    return Ok(Welcomed { cluster, recovery, first_node, data, parity, hosts });
                }
                Ok(JoinAnswer::Refused(why)) => return Err(JoinError::Refused(why)),
                Ok(JoinAnswer::NotNow(why)) | Err(why) => reasons.push(format!("{address}: {why}")),
            }
        }
        if tries.is_multiple_of(TRIES_TO_A_WORD) {
            tracing::info!(why = reasons.join("; "), "this host has not been taken into the cluster yet");
        }
        let not_yet = "not taken into the cluster yet, which a majority of its hosts has to decide";
        tell(std::iter::once(not_yet.to_owned()).chain(reasons).collect());
        tries += 1;
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

/// The request of a host that wants to join.
#[derive(Clone, Copy, Debug)]
pub struct JoinAskOf<'a> {
    pub own: &'a Founder,
    pub domain: Option<&'a str>,
    pub roles: Roles,
    /// The host's former ids, the latest first, if it comes back as another member with its drives as they are.
    pub was: Option<&'a [HostId]>,
}

impl JoinAskOf<'_> {
    /// Returns the call. A host with all roles does not send them: the kind `Join` implies all.
    fn call(&self) -> GroupCall {
        let ask = JoinAsk { own: self.own.clone(), domain: self.domain.map(str::to_owned) };
        let (kind, body) = match (self.was, self.roles) {
            (Some(was), roles) => (Kind::Rejoin, encode_body(&RejoinAsk { ask, roles, was: was.to_vec() })),
            (None, Roles::ALL) => (Kind::Join, encode_body(&ask)),
            (None, roles) => (Kind::JoinWithRoles, encode_body(&JoinAskWithRoles { ask, roles })),
        };
        GroupCall { group: MEMBERSHIP_GROUP, kind: kind as u8, body }
    }
}

async fn ask_member(client: &QuicClient, call: GroupCall, address: &str) -> Result<JoinAnswer, String> {
    let remote = timeout(MEMBERSHIP_PATIENCE, client.connect(address, None)).await;
    let remote = remote.map_err(|_| "it does not answer".to_owned())?.map_err(|error| error.to_string())?;
    let answer =
        timeout(WELCOME_PATIENCE, remote.group_call(call)).await.map_err(|_| "it does not answer".to_owned())?;
    answer.and_then(|answer| decode_body(&answer)).map_err(|error| error.to_string())
}

/// Takes hosts into the cluster, on the member that they ask.
#[derive(Clone, Debug)]
pub struct WelcomeDesk {
    pub cluster: ClusterId,
    pub recovery: RecoveryEpoch,
    pub own: HostId,
    pub data: u8,
    pub parity: u8,
    /// The ids of the root keys that this host was given, the current one first.
    pub root_keys: Vec<String>,
    pub metadata: MetaHandle,
    pub peers: Peers,
    pub asks: RejoinAsks,
}

enum Rejection {
    Refused(String),
    NotNow(String),
}

impl From<MetaError> for Rejection {
    fn from(error: MetaError) -> Self {
        Self::NotNow(error.to_string())
    }
}

impl WelcomeDesk {
    pub(super) async fn receive(&self, ask: JoinAsk, roles: Roles, was: Option<Vec<HostId>>) -> JoinAnswer {
        let name = ask.own.name.clone();
        let ids = was.clone().unwrap_or_default();
        self.asks.note(&name, &ids, &self.metadata.membership());
        match self.take_in(ask, roles, was).await {
            Ok(welcome) => {
                self.asks.forget(&ids);
                tracing::info!(name, %roles, "a host is taken into the cluster");
                welcome
            }
            Err(Rejection::Refused(why)) => {
                self.asks.forget(&ids);
                tracing::warn!(name, why, "a host is not taken into the cluster");
                JoinAnswer::Refused(why)
            }
            Err(Rejection::NotNow(why)) => {
                JoinAnswer::NotNow(self.asks.without_majority(&self.metadata.membership()).unwrap_or(why))
            }
        }
    }

    /// Returns whether a host was removed, and which host has this name now, by the tables of this host.
    pub(super) fn removal(&self, host: HostId, name: &str) -> Result<RemovalAnswer, String> {
        let view = self.metadata.local_view().ok_or("this host has no metadata now")?;
        let (removed, hosts) = (view.removed(), view.hosts());
        let (removed, hosts) = (removed.map_err(|why| why.to_string())?, hosts.map_err(|why| why.to_string())?);
        let namesake = hosts.into_iter().find(|other| other.name == name).map(|other| (other.id, other.address));
        Ok(RemovalAnswer { removed: removed.hosts.contains(&host), namesake })
    }

    async fn take_in(
        &self,
        JoinAsk { own, domain }: JoinAsk,
        roles: Roles,
        was: Option<Vec<HostId>>,
    ) -> Result<JoinAnswer, Rejection> {
        if roles == Roles::NONE {
            return Err(Rejection::Refused("it has no role; give it at least one (SHERD_ROLES)".to_owned()));
        }
        if u32::from(own.drives) > NODES_OF_HOST_MAX {
            let why = format!("it has {} drives, more than the {NODES_OF_HOST_MAX} that a host may have", own.drives);
            return Err(Rejection::Refused(why));
        }
        if let Some((data, parity)) = own.geometry.filter(|geometry| *geometry != (self.data, self.parity)) {
            let cluster = format!("{}+{}", self.data, self.parity);
            let why = format!("its geometry is {data}+{parity} (SHERD_EC), but the cluster's geometry is {cluster}");
            return Err(Rejection::Refused(why));
        }
        // A host that comes back with its drives had its keys before, and may do so while the key is being replaced.
        if was.is_none()
            && let Some(why) = other_root_key(own.root_key.as_deref(), &self.root_keys)
        {
            return Err(Rejection::Refused(why));
        }
        let hosts = self.hosts().await?;
        // The founders are registered only while no host is: a host that came before them would keep them out for good.
        if hosts.is_empty() {
            return Err(Rejection::NotNow("the hosts that found the cluster are not registered yet".to_owned()));
        }
        // Its host ends soon, for it was started with the settings of a cluster.
        if hosts.iter().any(HostRecord::is_whole_store) {
            return Err(Rejection::NotNow("the host that answers is a store of its own".to_owned()));
        }
        let namesake = hosts.iter().find(|host| host.name == own.name && host.id != own.host);
        if let Some(namesake) = namesake
            && self.answers(namesake.id).await
        {
            let why = format!(
                "a host of the name {:?} is part of it and runs at {}; give this host another name (SHERD_HOST)",
                own.name, namesake.address
            );
            return Err(Rejection::Refused(why));
        }
        let was = was.map(|was| former_id(&hosts, &own, &was).map_err(Rejection::Refused)).transpose()?;
        let record = HostRecord {
            id: own.host,
            name: own.name,
            address: own.address.clone(),
            domain,
            joined: UnixMs(0),
            first_node: None,
        };
        self.register(record, roles, was).await?;
        self.metadata.add_learner(own.host, &own.address).await?;
        let hosts = self.hosts().await?;
        let registered = hosts.iter().find(|host| host.id == own.host).and_then(|host| host.first_node);
        let taken = || Rejection::NotNow("another host has just been registered under its name".to_owned());
        let first_node = registered.ok_or_else(taken)?;
        Ok(JoinAnswer::Welcome {
            cluster: self.cluster,
            first_node,
            data: self.data,
            parity: self.parity,
            hosts: hosts.into_iter().map(|host| (host.id, host.address)).collect(),
            recovery: self.recovery,
        })
    }

    /// Registers a host, and its roles before it: so a host that must not vote is never taken for one that may.
    ///
    /// A host that rejoins no longer runs under its former id, so it does not vote on the change that replaces that id.
    /// If the change is decided all the same, a majority of the voters holds everything acknowledged without this host.
    async fn register(&self, record: HostRecord, roles: Roles, was: Option<HostId>) -> Result<(), Rejection> {
        let known = self.metadata.read().await?.roles().map_err(|error| Rejection::NotNow(error.to_string()))?;
        if known.of(record.id) != roles {
            let host = record.id;
            self.metadata.propose(Change::SetHostRoles { host, roles }).await?;
        }
        let change = match was {
            Some(was) => Change::RejoinHost { was, host: record },
            None => Change::RegisterHost(record),
        };
        match self.metadata.propose(change).await? {
            Reply::Done => Ok(()),
            Reply::Refused(Refusal::InvalidRequest) if was.is_none() => {
                Err(Rejection::Refused("its name is empty; set one (SHERD_HOST)".to_owned()))
            }
            // Such as a founder that was down before it knew its cluster, and was removed meanwhile.
            Reply::Refused(Refusal::Removed) => Err(Rejection::Refused(
                "it was removed from its cluster; empty its directories to let it join anew".to_owned(),
            )),
            other => Err(Rejection::NotNow(format!("it could not be registered: {other:?}"))),
        }
    }

    async fn hosts(&self) -> Result<Vec<HostRecord>, Rejection> {
        self.metadata.read().await?.hosts().map_err(|error| Rejection::NotNow(error.to_string()))
    }

    /// Returns whether the host answers under this id.
    async fn answers(&self, host: HostId) -> bool {
        if host == self.own {
            return true;
        }
        let call = GroupCall { group: MEMBERSHIP_GROUP, kind: Kind::Status as u8, body: encode_body(&StatusAsk {}) };
        let asked = async { Some(self.peers.peer_for(host).await.ok()?.group_call(call).await) };
        timeout(PROBE_PATIENCE, asked).await.is_ok_and(|answer| answer.is_some_and(|answer| is_answer(&answer)))
    }
}

/// Returns the reason if the root key of a host that joins, by its id, is none that this host has. A former one is
/// accepted: while the key is being replaced, the files of hosts begin with different keys.
fn other_root_key(joins: Option<&str>, known: &[String]) -> Option<String> {
    let is_known = match joins {
        Some(id) => known.iter().any(|known| known == id),
        None => known.is_empty(),
    };
    let (its, ours) = (root_key_words(joins), root_key_words(known.first().map(String::as_str)));
    (!is_known).then(|| {
        format!("it has {its} in SHERD_ROOT_KEY_FILE, and the host that it asked has {ours}; all need the same file")
    })
}

/// Returns whether a host has answered. A host that is starting does, too: it refuses the question.
fn is_answer(answer: &Result<Bytes, PeerError>) -> bool {
    matches!(answer, Ok(_) | Err(PeerError::Refused { .. }))
}

/// Returns the former id under which the metadata knows a host that rejoins. `was`: its former ids, the latest first.
/// Fails with the reason if the host may not take the place of the one that has its name.
fn former_id(hosts: &[HostRecord], own: &Founder, was: &[HostId]) -> Result<HostId, String> {
    let last = was.first().copied().ok_or("it does not say which host it was")?;
    match hosts.iter().find(|host| host.name == own.name) {
        // The host is registered under its new id, and asks again.
        Some(known) if known.id == own.host => Ok(last),
        Some(known) if was.contains(&known.id) => Ok(known.id),
        Some(other) => Err(format!(
            "the host of the name {:?} is host {:016x} by now, at {}, and these directories are of host {:016x}; start it with \
             its own, or empty these to let it join anew",
            own.name, other.id.0, other.address, last.0
        )),
        None => Err(format!(
            "no host of the name {:?} is part of it; give this host the name that it had, or empty its directories to let it \
             join anew",
            own.name
        )),
    }
}

/// Asks the hosts at these addresses whether this host was removed, and which host has its name. Returns the first
/// answer which says that it was; `None` if none does.
pub async fn lookup_removal(client: &QuicClient, host: HostId, name: &str, at: &[String]) -> Option<RemovalAnswer> {
    let body = encode_body(&RemovalAsk { host, name: name.to_owned() });
    let mut asked: FuturesUnordered<_> = at
        .iter()
        .map(|address| {
            let call = GroupCall { group: MEMBERSHIP_GROUP, kind: Kind::Removal as u8, body: body.clone() };
            async move {
                let remote = client.connect(address, None).await.ok()?;
                decode_body::<RemovalAnswer>(&remote.group_call(call).await.ok()?).ok()
            }
        })
        .map(|asked| timeout(PROBE_PATIENCE, asked))
        .collect();
    while let Some(answer) = asked.next().await {
        if let Ok(Some(answer)) = answer
            && answer.removed
        {
            return Some(answer);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{former_id, is_answer, other_root_key};
    use crate::net::PeerError;
    use crate::storage::identity::Founder;
    use crate::storage::meta::record::HostRecord;
    use crate::types::{HostId, UnixMs};
    use bytes::Bytes;

    fn registered(host: u64, name: &str) -> HostRecord {
        let (id, name, address) = (HostId(host), name.to_owned(), format!("{name}:9100"));
        HostRecord { id, name, address, domain: None, joined: UnixMs(0), first_node: None }
    }

    #[test]
    fn a_host_joins_only_with_a_root_key_that_the_others_have() {
        let both = ["11".to_owned(), "22".to_owned()];
        assert_eq!(other_root_key(None, &[]), None, "all derive it from their secret");
        assert_eq!(other_root_key(Some("11"), &both), None);
        assert_eq!(other_root_key(Some("22"), &both), None, "it is being replaced");
        let another = other_root_key(Some("33"), &both).expect("it is another");
        assert!(another.contains("it has the key of id 33 in SHERD_ROOT_KEY_FILE"), "{another}");
        let missing = other_root_key(None, &both).expect("it is missing");
        assert!(missing.contains("it has no key in SHERD_ROOT_KEY_FILE"), "{missing}");
        assert!(missing.contains("the host that it asked has the key of id 11"), "{missing}");
        let derived = other_root_key(Some("11"), &[]).expect("the others have none");
        assert!(derived.contains("has no key; all need the same file"), "{derived}");
    }

    #[test]
    fn a_member_that_is_starting_keeps_its_name() {
        let refused = PeerError::Refused { why: "this host is starting".to_owned() };
        assert!(is_answer(&Err(refused)) && is_answer(&Ok(Bytes::new())));
        let unreachable = PeerError::Unreachable { host: HostId(1), why: "no route".to_owned(), sent: false };
        assert!(!is_answer(&Err(unreachable)));
    }

    #[test]
    fn a_host_rejoins_only_under_the_name_of_its_former_id() {
        let (name, address) = ("a".to_owned(), "a:9100".to_owned());
        let own = Founder { name, host: HostId(9), address, drives: 2, geometry: None, root_key: None };
        let again = |hosts: &[HostRecord]| former_id(hosts, &own, &[HostId(1), HostId(0)]);
        assert_eq!(again(&[registered(2, "b"), registered(1, "a")]), Ok(HostId(1)));
        assert_eq!(
            again(&[registered(2, "b"), registered(0, "a")]),
            Ok(HostId(0)),
            "restored metadata knows the host by an earlier id"
        );
        assert_eq!(again(&[registered(2, "b"), registered(9, "a")]), Ok(HostId(1)), "it asks again");
        let taken = again(&[registered(2, "b"), registered(7, "a")]).expect_err("another host has its name");
        assert!(taken.contains("is host 0000000000000007 by now"), "{taken}");
        assert!(again(&[registered(1, "b")]).is_err(), "it has another name");
    }
}
