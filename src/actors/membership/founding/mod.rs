//! Founds a cluster from its first hosts, exactly once, in whatever order and with whatever delays they start.
//!
//! Each host draws an id, keeps it on its drives, and asks all others, until every one has answered that it hears the
//! same hosts under the same ids. Only then has the host agreed: it keeps the list of founders, and answers with it
//! from then on. A host that hears of an agreement which includes it adopts that agreement. A host that hears of an
//! agreement without it, or of a cluster that exists, has to join. Every host derives the same from the list: the
//! cluster's id, the node ids, the geometry, the first voters.
//!
//! Hosts whose settings differ where they must be equal (the list of hosts, the geometry, the root key) do not agree.
//! Each reports which host's setting differs and how, and waits until an operator has changed it.

use super::messages::{FoundingAnswer, FoundingAsk, Kind, MEMBERSHIP_GROUP};
use crate::limits::{MEMBERSHIP_PATIENCE, NODES_OF_HOST_MAX};
use crate::net::{GroupCall, GroupService, PeerError, QuicClient, decode_body, encode_body};
use crate::storage::identity::Founder;
use crate::storage::meta::record::HostRecord;
use crate::storage::ring::{auto_geometry_of_hosts, pointless_parity};
use crate::types::{ClusterId, HostId, NodeId, UnixMs};
use futures::future::join_all;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::timeout;

const ROUND_PAUSE: Duration = Duration::from_millis(250);
/// The number of rounds between two lines of the log about missing hosts.
const ROUNDS_TO_A_WORD: u32 = 20;

/// The address of each founding host, by its name.
pub type Hosts = BTreeMap<String, String>;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FoundingError {
    #[error("SHERD_EC: {0}")]
    Geometry(String),
    #[error("the other founding hosts have agreed with this host as {was}, but now it is {now}; undo the change")]
    NotTheSame { was: String, now: String },
    #[error("this host is not among the founders in the agreement that it has kept")]
    Absent,
    #[error("the founding hosts' agreement cannot be written to the drives: {0}")]
    NotKept(String),
}

/// The hosts that found a cluster together, in order of their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreement(pub Vec<Founder>);

impl Agreement {
    pub fn cluster(&self) -> ClusterId {
        let mut digest = Sha256::new();
        digest.update(b"sherd cluster of founders, version 1");
        digest.update(encode_body(&self.0));
        let digest = digest.finalize();
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        ClusterId::from_be_bytes(id)
    }

    /// Returns the first of a founder's node ids.
    pub fn first_node(&self, host: HostId) -> Option<NodeId> {
        let place = self.0.iter().position(|founder| founder.host == host)?;
        u32::try_from(place).ok().map(|place| NodeId(place * NODES_OF_HOST_MAX))
    }

    /// Returns the numbers of data and parity shards: as configured, the same on all founders, or chosen by their
    /// drives.
    pub fn geometry(&self) -> Result<(u8, u8), FoundingError> {
        let drives: Vec<usize> = self.0.iter().map(|founder| usize::from(founder.drives)).collect();
        let Some(asked) = self.0.first().and_then(|founder| founder.geometry) else {
            return Ok(auto_geometry_of_hosts(&drives));
        };
        match pointless_parity(asked, drives.iter().sum()) {
            None => Ok(asked),
            Some(why) => Err(FoundingError::Geometry(why)),
        }
    }

    /// Returns the founders' records for the metadata. Each founder adds its failure domain when it registers itself.
    pub fn records(&self) -> Vec<HostRecord> {
        let record = |founder: &Founder| HostRecord {
            id: founder.host,
            name: founder.name.clone(),
            address: founder.address.clone(),
            domain: None,
            joined: UnixMs(0),
            first_node: self.first_node(founder.host),
        };
        self.0.iter().map(record).collect()
    }

    pub fn addresses(&self) -> BTreeMap<HostId, String> {
        self.0.iter().map(|founder| (founder.host, founder.address.clone())).collect()
    }
}

/// This host's answer to hosts that ask about the founding. Cheap to clone; all clones share one answer.
#[derive(Clone, Debug)]
pub struct FoundingBoard {
    standing: Arc<Mutex<FoundingAnswer>>,
}

impl FoundingBoard {
    /// Creates the board of a host that belongs to no cluster and has heard no other host.
    pub fn gathering(own: Founder, hosts: Hosts) -> Self {
        Self::standing(FoundingAnswer::Gathering { sees: vec![own.clone()], own, hosts })
    }

    pub fn agreed(agreement: &Agreement) -> Self {
        Self::standing(FoundingAnswer::Agreed(agreement.0.clone()))
    }

    pub fn formed(cluster: ClusterId) -> Self {
        Self::standing(FoundingAnswer::Formed(cluster))
    }

    fn standing(standing: FoundingAnswer) -> Self {
        Self { standing: Arc::new(Mutex::new(standing)) }
    }

    fn set(&self, standing: FoundingAnswer) {
        *self.standing.lock().unwrap_or_else(PoisonError::into_inner) = standing;
    }

    pub(super) fn answer(&self) -> FoundingAnswer {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes that the cluster exists: hosts that were not part of its founding have to join.
    pub fn stands(&self, cluster: ClusterId) {
        self.set(FoundingAnswer::Formed(cluster));
    }
}

/// The outcome of the founding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoundingOutcome {
    Agreed(Agreement),
    /// A cluster without this host exists.
    Exists,
}

/// The result of one round of asking all others.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Round {
    Agreed(Vec<Founder>),
    Exists,
    /// No cluster yet: the hosts heard, what is missing, and the settings that must be changed first.
    Wait {
        sees: Vec<Founder>,
        missing: Vec<String>,
        differing: Vec<String>,
    },
}

/// Decides what a round of answers means. `hosts`: the founding hosts, this one among them. `answers`: the answer of
/// each other one, by its name.
fn judge(
    own: &Founder,
    hosts: &Hosts,
    answers: &BTreeMap<String, Result<FoundingAnswer, String>>,
) -> Result<Round, FoundingError> {
    let mut sees = BTreeMap::from([(own.name.clone(), own.clone())]);
    let (mut missing, mut differing) = (Vec::new(), Vec::new());
    let mut views = Vec::new();
    for (name, answer) in answers {
        match answer {
            Ok(FoundingAnswer::Agreed(list)) if list.contains(own) => return Ok(Round::Agreed(list.clone())),
            Ok(FoundingAnswer::Agreed(list)) => match list.iter().find(|founder| founder.host == own.host) {
                Some(was) => return Err(FoundingError::NotTheSame { was: words(was), now: words(own) }),
                None => return Ok(Round::Exists),
            },
            Ok(FoundingAnswer::Formed(_)) => return Ok(Round::Exists),
            Ok(FoundingAnswer::Gathering { own: other, hosts: theirs, sees: view }) if other.name == *name => {
                match differences((own, hosts), (other, theirs)) {
                    None => {
                        sees.insert(name.clone(), other.clone());
                        views.push((name, view));
                    }
                    Some(how) => differing.push(format!("{name} was given another {how}")),
                }
            }
            Ok(FoundingAnswer::Gathering { own: other, .. }) => {
                differing.push(format!("{name}: the host there calls itself {:?} (SHERD_HOST)", other.name));
            }
            Err(why) => missing.push(format!("{name} ({why})")),
        }
    }
    let sees: Vec<Founder> = sees.into_values().collect();
    if missing.is_empty() && differing.is_empty() {
        let others = views.iter().filter(|(_, view)| **view != sees);
        missing.extend(others.map(|(name, _)| format!("{name} (it does not hear the same hosts yet)")));
        match Agreement(sees.clone()).geometry() {
            Ok(_) if missing.is_empty() => return Ok(Round::Agreed(sees)),
            Ok(_) => {}
            Err(why) => differing.push(why.to_string()),
        }
    }
    Ok(Round::Wait { sees, missing, differing })
}

/// Returns how the settings of another host differ from this one's, where both must have the same.
fn differences((own, hosts): (&Founder, &Hosts), (other, theirs): (&Founder, &Hosts)) -> Option<String> {
    let names: BTreeSet<&String> = hosts.keys().chain(theirs.keys()).collect();
    let of_host = |name: &String| match (theirs.get(name), hosts.get(name)) {
        (Some(there), None) => Some(format!("{name}={there} is only there")),
        (None, Some(here)) => Some(format!("{name}={here} is only here")),
        (Some(there), Some(here)) if there != here => Some(format!("{name} is at {there} there, at {here} here")),
        _ => None,
    };
    let lists: Vec<String> = names.into_iter().filter_map(of_host).collect();
    let of = |setting: &str, there: String, here: String| {
        (there != here).then(|| format!("{setting} ({there} there, {here} here)"))
    };
    let key_words = |founder: &Founder| root_key_words(founder.root_key.as_deref());
    let all = [
        (!lists.is_empty()).then(|| format!("SHERD_HOSTS ({})", lists.join(", "))),
        of("SHERD_EC", geometry_words(other), geometry_words(own)),
        of("SHERD_ROOT_KEY_FILE", key_words(other), key_words(own)),
    ];
    let all: Vec<String> = all.into_iter().flatten().collect();
    (!all.is_empty()).then(|| all.join(" and another "))
}

fn geometry_words(founder: &Founder) -> String {
    founder.geometry.map_or_else(|| "auto".to_owned(), |(data, parity)| format!("{data}+{parity}"))
}

/// Describes the root key of a host by its id.
pub(super) fn root_key_words(id: Option<&str>) -> String {
    id.map_or_else(|| "no key".to_owned(), |id| format!("the key of id {id}"))
}

/// Describes a founder, for messages.
pub fn words(founder: &Founder) -> String {
    let Founder { name, address, drives, .. } = founder;
    let (geometry, key) = (geometry_words(founder), root_key_words(founder.root_key.as_deref()));
    format!("{name:?} at {address} with {drives} drives, geometry {geometry} and {key} in SHERD_ROOT_KEY_FILE")
}

/// Takes part in the founding until the hosts have agreed or a cluster exists. `hosts`: the address of each founding
/// host, this one among them. `keep`: makes the agreement durable, before another host hears of it. `tell`: is given,
/// after every round, the reasons for which there is no agreement yet.
pub async fn found(
    client: &QuicClient,
    (own, hosts): (&Founder, &Hosts),
    board: &FoundingBoard,
    keep: impl Fn(&Agreement) -> Result<(), FoundingError>,
    tell: impl Fn(Vec<String>),
) -> Result<FoundingOutcome, FoundingError> {
    let mut rounds: u32 = 0;
    let mut last_differing: Option<Vec<String>> = None;
    loop {
        let others = hosts.iter().filter(|(name, _)| **name != own.name);
        let asked = others.map(|(name, address)| async move { (name.clone(), ask(client, own, address).await) });
        match judge(own, hosts, &join_all(asked).await.into_iter().collect())? {
            Round::Agreed(list) => {
                let agreement = Agreement(list);
                keep(&agreement)?;
                board.set(FoundingAnswer::Agreed(agreement.0.clone()));
                return Ok(FoundingOutcome::Agreed(agreement));
            }
            Round::Exists => return Ok(FoundingOutcome::Exists),
            Round::Wait { sees, missing, differing } => {
                if rounds.is_multiple_of(ROUNDS_TO_A_WORD) || last_differing.as_ref() != Some(&differing) {
                    log(&missing, &differing);
                }
                tell(reasons(&missing, &differing));
                last_differing = Some(differing);
                board.set(FoundingAnswer::Gathering { own: own.clone(), hosts: hosts.clone(), sees });
            }
        }
        rounds = rounds.wrapping_add(1);
        tokio::time::sleep(ROUND_PAUSE).await;
    }
}

fn log(missing: &[String], differing: &[String]) {
    if !missing.is_empty() {
        tracing::info!(missing = missing.join(", "), "waiting for the other founding hosts");
    }
    for differs in differing {
        tracing::error!(differs, "no cluster is founded until the founding hosts have the same settings");
    }
}

/// Returns the reasons for which there is no cluster yet, for the host's health.
fn reasons(missing: &[String], differing: &[String]) -> Vec<String> {
    let differing = differing.iter().map(|differs| format!("no cluster is founded with these settings: {differs}"));
    let missing = missing.iter().map(|missing| format!("waiting for the founding host {missing}"));
    differing.chain(missing).collect()
}

async fn ask(client: &QuicClient, own: &Founder, address: &str) -> Result<FoundingAnswer, String> {
    let asked = async {
        let remote = client.connect(address, None).await.map_err(|error| error.to_string())?;
        let body = encode_body(&FoundingAsk { own: own.clone() });
        let call = GroupCall { group: MEMBERSHIP_GROUP, kind: Kind::Founding as u8, body };
        let answer = remote.group_call(call).await.and_then(|answer| decode_body(&answer));
        let answer: FoundingAnswer = answer.map_err(|error: PeerError| error.to_string())?;
        match &answer {
            FoundingAnswer::Gathering { own, .. } if own.host != remote.greeting().host => {
                Err("it gives another id than its certificate".to_owned())
            }
            _ => Ok(answer),
        }
    };
    timeout(MEMBERSHIP_PATIENCE, asked).await.unwrap_or_else(|_| Err("it does not answer".to_owned()))
}

#[cfg(test)]
mod tests;
