//! How the founding hosts become a cluster, exactly once, in whatever order and with whatever delays they start.
//!
//! Each draws an id, keeps it on its drives, and asks all others until every one has answered that it hears the same
//! hosts under the same ids. Only then has it agreed: it keeps the list, and answers with it from then on. Who hears of an
//! agreement that has this host in it takes it over; who hears of one without it, or of a cluster that stands, has to join.
//! What follows (the cluster's id, node ids, geometry, the first voters) is derived from the list, the same everywhere.

use super::messages::{FoundingAnswer, FoundingAsk, Kind, MEMBERSHIP_GROUP, decode, encode};
use crate::limits::{MEMBERSHIP_PATIENCE, NODES_OF_HOST_MAX};
use crate::net::{GroupCall, GroupService, PeerError, QuicClient};
use crate::storage::identity::Founder;
use crate::storage::meta::record::HostRecord;
use crate::storage::ring::auto_geometry_of_hosts;
use crate::types::{ClusterId, HostId, NodeId, UnixMs};
use futures::future::join_all;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::timeout;

const ROUND_PAUSE: Duration = Duration::from_millis(250);
/// Rounds between two lines of the log about who is missing.
const ROUNDS_TO_A_WORD: u32 = 20;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FoundingError {
    #[error("the founding hosts ask for different geometries: {0}")]
    Geometries(String),
    #[error("host {name:?} is one of the founding hosts under another id or with another number of drives")]
    NotTheSame { name: String },
    #[error("what was agreed on cannot be kept: {0}")]
    NotKept(String),
}

/// The hosts that found a cluster together, in order of their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreement(pub Vec<Founder>);

impl Agreement {
    pub fn cluster(&self) -> ClusterId {
        let mut digest = Sha256::new();
        digest.update(b"sherd cluster of founders, version 1");
        digest.update(encode(&self.0));
        let digest = digest.finalize();
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        ClusterId::from_be_bytes(id)
    }

    /// The first of a founder's node ids.
    pub fn first_node(&self, host: HostId) -> Option<NodeId> {
        let place = self.0.iter().position(|founder| founder.host == host)?;
        u32::try_from(place).ok().map(|place| NodeId(place * NODES_OF_HOST_MAX))
    }

    /// Data and parity shards: what was asked for, the same everywhere, or what fits these hosts and drives.
    pub fn geometry(&self) -> Result<(u8, u8), FoundingError> {
        let asked: Vec<_> = self.0.iter().filter_map(|founder| founder.geometry).collect();
        match asked.first() {
            None => {
                let drives: Vec<usize> = self.0.iter().map(|founder| usize::from(founder.drives)).collect();
                Ok(auto_geometry_of_hosts(&drives))
            }
            Some(first) if asked.len() == self.0.len() && asked.iter().all(|other| other == first) => Ok(*first),
            Some(_) => {
                let words = |founder: &Founder| match founder.geometry {
                    Some((data, parity)) => format!("{} {data}+{parity}", founder.name),
                    None => format!("{} auto", founder.name),
                };
                Err(FoundingError::Geometries(self.0.iter().map(words).collect::<Vec<_>>().join(", ")))
            }
        }
    }

    /// The founders as the metadata knows them first; what is missing each one adds when it registers.
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

/// How far this host is, for those who ask. Cheap to clone; all clones are one board.
#[derive(Clone, Debug)]
pub struct FoundingBoard {
    standing: Arc<Mutex<FoundingAnswer>>,
}

impl FoundingBoard {
    /// Of no cluster yet, and alone as far as it knows.
    pub fn gathering(own: Founder) -> Self {
        Self::standing(FoundingAnswer::Gathering { sees: vec![own.clone()], own })
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

    /// The cluster stands: those who were not part of its founding have to join.
    pub fn stands(&self, cluster: ClusterId) {
        self.set(FoundingAnswer::Formed(cluster));
    }
}

/// How the founding ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Agreed(Agreement),
    /// There is a cluster without this host.
    Exists,
}

/// What one round of asking all others comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Round {
    Agreed(Vec<Founder>),
    Exists,
    /// Not yet: what is heard, and in words what is missing.
    Wait {
        sees: Vec<Founder>,
        missing: Vec<String>,
    },
}

/// `answers`: of each other host, by its name.
fn judge(own: &Founder, answers: &BTreeMap<String, Result<FoundingAnswer, String>>) -> Result<Round, FoundingError> {
    let mut sees = BTreeMap::from([(own.name.clone(), own.clone())]);
    let mut missing = Vec::new();
    let mut views = Vec::new();
    for (name, answer) in answers {
        match answer {
            Ok(FoundingAnswer::Agreed(list)) if list.contains(own) => return Ok(Round::Agreed(list.clone())),
            Ok(FoundingAnswer::Agreed(list)) if list.iter().any(|founder| founder.host == own.host) => {
                return Err(FoundingError::NotTheSame { name: own.name.clone() });
            }
            Ok(FoundingAnswer::Agreed(_) | FoundingAnswer::Formed(_)) => return Ok(Round::Exists),
            Ok(FoundingAnswer::Gathering { own: other, sees: view }) if other.name == *name => {
                sees.insert(name.clone(), other.clone());
                views.push((name, view));
            }
            Ok(FoundingAnswer::Gathering { own: other, .. }) => {
                missing.push(format!("{name} (the host there calls itself {:?})", other.name));
            }
            Err(why) => missing.push(format!("{name} ({why})")),
        }
    }
    let sees: Vec<Founder> = sees.into_values().collect();
    if missing.is_empty() {
        let others = views.iter().filter(|(_, view)| **view != sees);
        missing.extend(others.map(|(name, _)| format!("{name} (it does not hear the same hosts yet)")));
        if missing.is_empty() {
            return Ok(Round::Agreed(sees));
        }
    }
    Ok(Round::Wait { sees, missing })
}

/// Takes part in the founding until it has ended. `others`: where each other founding host is. `keep`: makes the agreement
/// durable, before anyone hears of it.
pub async fn found(
    client: &QuicClient,
    own: &Founder,
    others: &BTreeMap<String, String>,
    board: &FoundingBoard,
    keep: impl Fn(&Agreement) -> Result<(), FoundingError>,
) -> Result<Found, FoundingError> {
    let mut rounds: u32 = 0;
    loop {
        let asked = others.iter().map(|(name, address)| async move { (name.clone(), ask(client, own, address).await) });
        match judge(own, &join_all(asked).await.into_iter().collect())? {
            Round::Agreed(list) => {
                let agreement = Agreement(list);
                agreement.geometry()?;
                keep(&agreement)?;
                board.set(FoundingAnswer::Agreed(agreement.0.clone()));
                return Ok(Found::Agreed(agreement));
            }
            Round::Exists => return Ok(Found::Exists),
            Round::Wait { sees, missing } => {
                if rounds.is_multiple_of(ROUNDS_TO_A_WORD) {
                    tracing::info!(missing = missing.join(", "), "waiting for the other founding hosts");
                }
                board.set(FoundingAnswer::Gathering { own: own.clone(), sees });
            }
        }
        rounds += 1;
        tokio::time::sleep(ROUND_PAUSE).await;
    }
}

async fn ask(client: &QuicClient, own: &Founder, address: &str) -> Result<FoundingAnswer, String> {
    let asked = async {
        let remote = client.connect(address, None).await.map_err(|error| error.to_string())?;
        let body = encode(&FoundingAsk { own: own.clone() });
        let call = GroupCall { group: MEMBERSHIP_GROUP, kind: Kind::Founding as u8, body };
        let answer = remote.group_call(call).await.and_then(|answer| decode(&answer));
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
mod tests {
    use super::{Agreement, FoundingAnswer, FoundingError, Round, judge};
    use crate::storage::identity::Founder;
    use crate::types::{ClusterId, HostId, NodeId};
    use std::collections::BTreeMap;

    fn founder(name: &str, host: u64) -> Founder {
        Founder {
            name: name.to_owned(),
            host: HostId(host),
            address: format!("{name}:9100"),
            drives: 2,
            geometry: None,
        }
    }

    fn gathering(own: &Founder, sees: &[&Founder]) -> Result<FoundingAnswer, String> {
        Ok(FoundingAnswer::Gathering { own: own.clone(), sees: sees.iter().map(|&founder| founder.clone()).collect() })
    }

    fn judged(own: &Founder, answers: &[(&str, Result<FoundingAnswer, String>)]) -> Round {
        let answers = answers.iter().map(|(name, answer)| ((*name).to_owned(), answer.clone()));
        judge(own, &answers.collect()).expect("judged")
    }

    #[test]
    fn nothing_is_agreed_before_every_host_hears_the_same_hosts() {
        let (a, b, c) = (founder("a", 1), founder("b", 2), founder("c", 3));
        let all = [&a, &b, &c];
        let alone = judged(&a, &[("b", Err("nobody there".into())), ("c", gathering(&c, &[&c]))]);
        assert_eq!(alone, Round::Wait { sees: vec![a.clone(), c.clone()], missing: vec!["b (nobody there)".into()] });
        let half = judged(&a, &[("b", gathering(&b, &all)), ("c", gathering(&c, &[&b, &c]))]);
        assert!(matches!(half, Round::Wait { sees, .. } if sees.len() == 3));
        let whole = judged(&a, &[("b", gathering(&b, &all)), ("c", gathering(&c, &all))]);
        assert_eq!(whole, Round::Agreed(all.map(Clone::clone).to_vec()));
        let reborn = founder("b", 22);
        let stale = judged(&a, &[("b", gathering(&reborn, &[&a, &reborn, &c])), ("c", gathering(&c, &all))]);
        assert!(matches!(stale, Round::Wait { .. }), "c has heard another b");
    }

    #[test]
    fn an_agreement_is_taken_over_by_those_in_it_and_joined_by_others() {
        let (a, b, c) = (founder("a", 1), founder("b", 2), founder("c", 3));
        let list = vec![a.clone(), b.clone(), c.clone()];
        let answers = [("b", Ok(FoundingAnswer::Agreed(list.clone()))), ("c", Err("not yet".into()))];
        assert_eq!(judged(&a, &answers), Round::Agreed(list.clone()));
        assert_eq!(judged(&founder("a", 11), &answers), Round::Exists);
        assert_eq!(judged(&a, &[("b", Ok(FoundingAnswer::Formed(ClusterId(5))))]), Round::Exists);
        let grown = Founder { drives: 3, ..a.clone() };
        let answers = BTreeMap::from([("b".to_owned(), Ok(FoundingAnswer::Agreed(list)))]);
        assert_eq!(judge(&grown, &answers), Err(FoundingError::NotTheSame { name: "a".into() }));
    }

    #[test]
    fn a_host_under_another_name_is_not_the_one_that_is_waited_for() {
        let (a, b) = (founder("a", 1), founder("b", 2));
        let round = judged(&a, &[("c", gathering(&b, &[&a, &b]))]);
        assert!(matches!(round, Round::Wait { missing, .. } if missing[0].contains("calls itself \"b\"")));
    }

    #[test]
    fn what_follows_from_an_agreement_is_the_same_everywhere() {
        let agreement = Agreement(vec![founder("a", 1), founder("b", 2), founder("c", 3)]);
        assert_eq!(agreement.cluster(), agreement.clone().cluster());
        assert_ne!(agreement.cluster(), Agreement(vec![founder("a", 1), founder("b", 2)]).cluster());
        assert_eq!(agreement.first_node(HostId(3)), Some(NodeId(128)));
        assert_eq!(agreement.first_node(HostId(9)), None);
        let records = agreement.records();
        let known: Vec<_> = records.iter().map(|host| (host.name.as_str(), host.id.0, host.first_node)).collect();
        assert_eq!(known, [("a", 1, Some(NodeId(0))), ("b", 2, Some(NodeId(64))), ("c", 3, Some(NodeId(128)))]);
        let mut mixed = agreement;
        mixed.0[1].geometry = Some((2, 1));
        assert!(matches!(mixed.geometry(), Err(FoundingError::Geometries(words)) if words.contains("b 2+1")));
    }
}
