//! Remembers the voters that lost their copies of the metadata log and ask to rejoin as other members. A rejoin is
//! decided by a majority of the voters, without the hosts that ask. If too few voters are left for that (of two voters,
//! one that asks is enough), this module reports which hosts ask and what an operator can do. The requests are kept in
//! memory while the process runs.

use crate::actors::consensus::Membership;
use crate::ambient::Clock;
use crate::types::HostId;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The age after which a request no longer counts. A waiting host asks again a second after each answer, and an answer
/// may take as long as a read of the metadata.
const ASKED_WITHIN: Duration = Duration::from_secs(60);

/// The voters that asked to rejoin lately. All clones share one list.
#[derive(Clone, Debug)]
pub struct RejoinAsks {
    clock: Arc<dyn Clock>,
    asks: Arc<Mutex<BTreeMap<HostId, Ask>>>,
}

#[derive(Debug)]
struct Ask {
    name: String,
    /// The time of the last request, by the monotonic clock.
    at: Duration,
}

impl RejoinAsks {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, asks: Arc::default() }
    }

    /// Notes that the host of this name asks to rejoin. `was`: its former ids; the request counts only if one is a
    /// voter's.
    pub(super) fn note(&self, name: &str, was: &[HostId], membership: &Membership) {
        let Some(voter) = was.iter().find(|id| membership.voters.contains(id)) else { return };
        let ask = Ask { name: name.to_owned(), at: self.clock.monotonic() };
        let is_new = {
            let mut asks = self.asks();
            asks.retain(|host, _| membership.voters.contains(host));
            asks.insert(*voter, ask).is_none()
        };
        if is_new && let Some(why) = self.without_majority(membership) {
            tracing::error!("{why}");
        }
    }

    pub(super) fn forget(&self, was: &[HostId]) {
        self.asks().retain(|host, _| !was.contains(host));
    }

    /// Returns why no rejoin can be decided and what to do, if the voters that do not ask are too few for a majority.
    pub fn without_majority(&self, membership: &Membership) -> Option<String> {
        let oldest = self.clock.monotonic().saturating_sub(ASKED_WITHIN);
        let asks = self.asks();
        let asking = |id: &&HostId| asks.get(id).is_some_and(|ask| ask.at >= oldest);
        let (gone, left): (Vec<&HostId>, Vec<&HostId>) = membership.voters.iter().partition(asking);
        let (all, needed) = (membership.voters.len(), membership.voters.len() / 2 + 1);
        if gone.is_empty() || left.len() >= needed {
            return None;
        }
        let names: Vec<String> = gone.iter().filter_map(|id| Some(format!("{:?}", asks.get(id)?.name))).collect();
        let (names, one) = (names.join(" and "), gone.len() == 1);
        Some(format!(
            "{} {names} lost {} copies of the metadata log, or {} put back to an older state, and {} to come back as {}, and the {} of {all} voters left cannot decide it without {}, since {needed} are needed: put back a drive with the whole and latest copy of the log and start that host; or, if there is none, form the metadata group anew on a host that is left (stop it, run sherd recover and then sherd recover --yes with its settings, and start it): {names} then {} back with the shards of {} drives: docs/how-to/recovery.md",
            if one { "host" } else { "hosts" },
            if one { "its" } else { "their" },
            if one { "was" } else { "were" },
            if one { "asks" } else { "ask" },
            if one { "another member" } else { "other members" },
            left.len(),
            if one { "it" } else { "them" },
            if one { "comes" } else { "come" },
            if one { "its" } else { "their" },
        ))
    }

    fn asks(&self) -> MutexGuard<'_, BTreeMap<HostId, Ask>> {
        self.asks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{ASKED_WITHIN, RejoinAsks};
    use crate::actors::consensus::Membership;
    use crate::ambient::Clock;
    use crate::types::{HostId, UnixMs};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    #[derive(Debug, Default)]
    struct Seconds(AtomicU64);

    impl Clock for Seconds {
        fn unix_ms(&self) -> UnixMs {
            UnixMs(0)
        }

        fn monotonic(&self) -> Duration {
            Duration::from_secs(self.0.load(Ordering::SeqCst))
        }
    }

    fn of(voters: &[u64]) -> Membership {
        Membership { voters: voters.iter().copied().map(HostId).collect(), ..Membership::default() }
    }

    #[test]
    fn a_rejoining_voter_of_two_leaves_no_majority_and_one_of_three_does() {
        let clock = Arc::new(Seconds::default());
        let asks = RejoinAsks::new(Arc::clone(&clock) as _);
        assert_eq!(asks.without_majority(&of(&[1, 2])), None);
        asks.note("b", &[HostId(9), HostId(2)], &of(&[1, 2]));
        let why = asks.without_majority(&of(&[1, 2])).expect("one is no majority of two");
        assert!(why.contains("host \"b\" lost its copies") && why.contains("the 1 of 2 voters left"), "{why}");
        assert!(why.contains("sherd recover --yes"), "{why}");
        assert_eq!(asks.without_majority(&of(&[1, 2, 3])), None, "two of three decide it");
        asks.note("c", &[HostId(3)], &of(&[1, 2, 3]));
        let why = asks.without_majority(&of(&[1, 2, 3])).expect("one is no majority of three");
        assert!(why.contains("hosts \"b\" and \"c\" lost their copies"), "{why}");
        assert_eq!(asks.without_majority(&of(&[1, 4])), None, "neither b nor c is a voter any more");
    }

    #[test]
    fn a_rejoin_request_is_forgotten_once_it_is_granted_or_a_minute_old() {
        let clock = Arc::new(Seconds::default());
        let asks = RejoinAsks::new(Arc::clone(&clock) as _);
        let both = of(&[1, 2]);
        asks.note("b", &[HostId(2)], &both);
        asks.forget(&[HostId(2)]);
        assert_eq!(asks.without_majority(&both), None);
        asks.note("stranger", &[HostId(7)], &both);
        assert_eq!(asks.without_majority(&both), None, "the stranger is not a voter");
        asks.note("b", &[HostId(2)], &both);
        clock.0.store(ASKED_WITHIN.as_secs() + 1, Ordering::SeqCst);
        assert_eq!(asks.without_majority(&both), None);
    }
}
