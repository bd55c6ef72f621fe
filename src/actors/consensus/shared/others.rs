//! The reports of the other hosts about their replicas, kept in memory while the process runs.

use super::{DigestAt, locked};
use crate::defects::{Defect, has};
use crate::storage::meta::snapshot::TablesDigest;
use crate::storage::raft_log::{Ballot, Point, Position};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

/// The entry and vote that a replica once had on stable storage, and so must have for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DurableState {
    pub ballot: Option<Ballot>,
    /// The last entry that was both on stable storage and applied.
    pub entry: Option<Position>,
}

/// The comparison of another host's replica with this one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Agreement {
    /// The highest index up to which both replicas are known to have applied the same entries.
    pub same_through: Option<u64>,
    /// An index at which the chains of the two replicas differ.
    pub differs_at: Option<u64>,
    /// The index after which the tables of the two replicas differed when they were last compared, though both had
    /// applied the same entries.
    pub tables_differ_at: Option<u64>,
}

impl Agreement {
    fn note(&mut self, own: Point, other: Point) {
        if own != other {
            self.differs_at = Some(own.at.index);
        } else {
            // A chain covers all entries up to its index, so equal chains disprove an earlier difference.
            self.same_through = self.same_through.max(Some(own.at.index));
            self.differs_at = None;
        }
    }

    /// Returns whether the entries or the rows of the two differ.
    pub fn differs(&self) -> bool {
        self.differs_at.or(self.tables_differ_at).is_some()
    }
}

/// The records of the other hosts, by id.
#[derive(Debug, Default)]
pub struct Others {
    had: Mutex<BTreeMap<u64, DurableState>>,
    agreements: Mutex<BTreeMap<u64, Agreement>>,
    digests: Mutex<BTreeMap<u64, DigestAt>>,
}

impl DurableState {
    /// Returns whether a replica that had this may vote with this ballot for a log that ends at `last`, even if it has
    /// lost it: the log holds the entry, and the ballot ranks after the vote.
    pub fn allows(&self, ballot: Ballot, last: Option<Position>) -> bool {
        last >= self.entry && self.ballot.is_none_or(|given| rank(given) < rank(ballot))
    }
}

fn rank(ballot: Ballot) -> (u64, u64) {
    (ballot.term, ballot.node)
}

impl Others {
    /// Notes what a host has on stable storage.
    pub fn note_had(&self, host: u64, had: DurableState) {
        let mut known = locked(&self.had);
        let known = known.entry(host).or_default();
        known.entry = known.entry.max(had.entry);
        known.ballot = known.ballot.into_iter().chain(had.ballot).max_by_key(|ballot| rank(*ballot));
    }

    pub fn had(&self, host: u64) -> Option<DurableState> {
        locked(&self.had).get(&host).copied()
    }

    /// Returns whether a host whose log ends at `last` has lost entries that it is known to have had.
    pub fn has_lost_entries(&self, host: u64, last: Option<Position>) -> bool {
        self.had(host).is_some_and(|had| last < had.entry) && !has(Defect::VoteForLostEntries)
    }

    /// Returns whether a host may vote with this ballot for a log that ends at `last`, whatever it has lost of what it
    /// is known to have had.
    pub fn may_vote_for(&self, host: u64, ballot: Ballot, last: Option<Position>) -> bool {
        self.had(host).is_none_or(|had| had.allows(ballot, last))
    }

    /// Notes the points of this replica and of another one at the same index.
    pub fn note_points(&self, host: u64, own: Point, other: Point) {
        locked(&self.agreements).entry(host).or_default().note(own, other);
    }

    /// Notes the last digests of the tables of this replica and of another one.
    pub fn note_digests(&self, host: u64, own: Option<DigestAt>, other: Option<DigestAt>) {
        let Some(other) = other else { return };
        locked(&self.digests).insert(host, other);
        if let Some(own) = own.filter(|own| own.point == other.point) {
            let differ_at = (own.digest != other.digest).then_some(own.point.at.index);
            locked(&self.agreements).entry(host).or_default().tables_differ_at = differ_at;
        }
    }

    /// Forgets the comparisons with hosts that are no longer members.
    pub fn retain(&self, members: &BTreeSet<u64>) {
        locked(&self.agreements).retain(|host, _| members.contains(host));
        locked(&self.digests).retain(|host, _| members.contains(host));
    }

    pub fn agreements(&self) -> BTreeMap<u64, Agreement> {
        locked(&self.agreements).clone()
    }

    /// Returns the voters whose replicas have applied other entries than this one, if they are a majority.
    pub fn majority_that_differs(&self, voters: &BTreeSet<u64>) -> Option<Vec<u64>> {
        let agreements = self.agreements();
        let differs = |host: &&u64| agreements.get(host).is_some_and(|agreement| agreement.differs_at.is_some());
        let differing: Vec<u64> = voters.iter().filter(differs).copied().collect();
        (differing.len() > voters.len() / 2).then_some(differing)
    }

    /// Returns the voters that share one digest of their tables which differs from this replica's at the same point, if
    /// they are a majority. Without such a majority nothing shows which tables are right.
    pub fn majority_with_other_tables(&self, voters: &BTreeSet<u64>, own: DigestAt) -> Option<Vec<u64>> {
        let mut by_digest = BTreeMap::<TablesDigest, Vec<u64>>::new();
        for (host, other) in locked(&self.digests).iter().filter(|(host, _)| voters.contains(host)) {
            if other.point == own.point && other.digest != own.digest {
                by_digest.entry(other.digest).or_default().push(*host);
            }
        }
        by_digest.into_values().find(|hosts| hosts.len() > voters.len() / 2)
    }
}

/// Describes the entry or the vote of `known` that a replica has lost, if any. `ballot`: the vote that the replica has
/// now; `holds`: whether its log or its tables hold an entry.
pub fn lost(known: DurableState, ballot: Option<Ballot>, holds: impl FnOnce(Position) -> bool) -> Option<String> {
    if let Some(entry) = known.entry
        && !holds(entry)
    {
        return Some(format!("had entry {} of term {}", entry.index, entry.term));
    }
    let given = known.ballot.filter(|given| ballot.is_none_or(|own| rank(own) < rank(*given)))?;
    Some(format!("gave a vote in term {}", given.term))
}

#[cfg(test)]
mod tests {
    use super::{Agreement, DurableState, Others, lost};
    use crate::actors::consensus::shared::DigestAt;
    use crate::storage::meta::snapshot::TablesDigest;
    use crate::storage::raft_log::{Ballot, Chain, Point, Position};
    use std::collections::BTreeSet;

    fn at(term: u64, index: u64) -> Position {
        Position { term, node: 1, index }
    }

    fn point(index: u64, chain: u128) -> Point {
        Point { at: at(1, index), chain: Chain(chain) }
    }

    fn ballot(term: u64) -> Ballot {
        Ballot { term, node: 1, committed: false }
    }

    #[test]
    fn the_latest_entry_and_vote_that_a_host_had_are_remembered() {
        let others = Others::default();
        assert!(!others.has_lost_entries(2, None), "the host has not reported yet");
        others.note_had(2, DurableState { ballot: Some(ballot(3)), entry: Some(at(2, 10)) });
        others.note_had(2, DurableState { ballot: Some(ballot(2)), entry: Some(at(2, 7)) });
        assert_eq!(others.had(2), Some(DurableState { ballot: Some(ballot(3)), entry: Some(at(2, 10)) }));
        for (last, expected) in
            [(None, true), (Some(at(2, 9)), true), (Some(at(2, 10)), false), (Some(at(3, 4)), false)]
        {
            assert_eq!(others.has_lost_entries(2, last), expected, "{last:?}");
        }
        assert!(!others.has_lost_entries(3, None));
        for (term, index, expected) in [(4, 10, true), (4, 9, false), (3, 10, false)] {
            assert_eq!(others.may_vote_for(2, ballot(term), Some(at(2, index))), expected, "{term} {index}");
        }
        assert!(others.may_vote_for(3, ballot(1), None));
    }

    #[test]
    fn a_host_that_lacks_an_entry_or_vote_it_had_is_reported() {
        let known = DurableState { ballot: Some(ballot(3)), entry: Some(at(2, 10)) };
        let holds_through = |last: u64| move |entry: Position| entry.index <= last;
        assert_eq!(lost(known, Some(ballot(3)), holds_through(10)), None);
        assert_eq!(lost(known, Some(ballot(4)), holds_through(12)), None);
        assert!(lost(known, Some(ballot(3)), holds_through(9)).is_some_and(|why| why.contains("entry 10")));
        assert!(lost(known, Some(ballot(2)), holds_through(10)).is_some_and(|why| why.contains("term 3")));
        assert!(lost(known, None, holds_through(10)).is_some());
        assert_eq!(lost(DurableState::default(), None, holds_through(0)), None);
    }

    #[test]
    fn replicas_agree_up_to_the_index_at_which_their_chains_are_equal() {
        let others = Others::default();
        others.note_points(2, point(5, 7), point(5, 7));
        others.note_points(3, point(5, 7), point(5, 8));
        others.note_points(4, point(5, 7), Point { at: at(2, 5), ..point(5, 7) });
        let known = others.agreements();
        assert_eq!(known[&2], Agreement { same_through: Some(5), ..Agreement::default() });
        assert_eq!(known[&3], Agreement { differs_at: Some(5), ..Agreement::default() });
        assert_eq!(known[&4].differs_at, Some(5), "the entry is another leader's");
        assert_eq!(others.majority_that_differs(&BTreeSet::from([1, 2, 3])), None);
        assert_eq!(others.majority_that_differs(&BTreeSet::from([1, 3, 4])), Some(vec![3, 4]));
        others.retain(&BTreeSet::from([2]));
        assert_eq!(others.agreements().len(), 1);
    }

    #[test]
    fn tables_are_wrong_if_a_majority_shares_another_digest() {
        let digest = |index, digest| DigestAt { point: point(index, 7), digest: TablesDigest(digest) };
        let others = Others::default();
        let own = digest(5, 1);
        let note = |host, other| others.note_digests(host, Some(own), Some(other));
        note(2, digest(5, 2));
        note(3, digest(5, 3));
        let voters = BTreeSet::from([1, 2, 3]);
        assert_eq!(others.majority_with_other_tables(&voters, own), None, "all three differ");
        assert_eq!(others.agreements()[&2].tables_differ_at, Some(5));
        note(3, digest(6, 2));
        assert_eq!(others.majority_with_other_tables(&voters, own), None, "host 3's digest is of another entry");
        assert_eq!(others.agreements()[&3].tables_differ_at, Some(5), "the last comparison at the same entry counts");
        note(3, digest(5, 2));
        assert_eq!(others.majority_with_other_tables(&voters, own), Some(vec![2, 3]));
        let voters_of_four = BTreeSet::from([1, 2, 3, 4]);
        assert_eq!(others.majority_with_other_tables(&voters_of_four, own), None, "two of four");
        note(2, own);
        assert!(!others.agreements()[&2].differs());
        assert_eq!(others.majority_with_other_tables(&voters, own), None);
    }
}
