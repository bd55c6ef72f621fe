//! Tests that operations on the log which contradict applied or committed entries are refused and stop the replica.

use super::Host;
use crate::actors::consensus::contradiction::check_append;
use crate::actors::consensus::raft_types::{Entry, entry_of, log_id_of, vote_of};
use crate::actors::consensus::start::{Stores, open_stores};
use crate::storage::raft_log::{Ballot, LogEntry, Payload, Position};
use openraft::raft::AppendEntriesRequest;
use openraft::storage::{IOFlushed, RaftLogStorage, RaftStateMachine};

fn at(term: u64, index: u64) -> Position {
    Position { term, node: 1, index }
}

fn entry(term: u64, index: u64) -> Entry {
    entry_of(LogEntry { at: at(term, index), payload: Payload::Blank }).expect("an entry")
}

/// Opens the stores of a replica with entries 0 to 9 of term 1 in its log, of which those up to 5 are applied.
async fn stores() -> (Host, Stores) {
    let host = Host::with_drives(2);
    let mut stores = open_stores(&host.options()).await.expect("the stores open");
    stores.log.append((0..10).map(|index| entry(1, index)), IOFlushed::noop()).await.expect("appended");
    apply(&mut stores, &[(1, 0), (1, 1), (1, 2), (1, 3), (1, 4), (1, 5)]).await.expect("applied");
    (host, stores)
}

async fn apply(stores: &mut Stores, entries: &[(u64, u64)]) -> std::io::Result<()> {
    let entries: Vec<_> = entries.iter().map(|(term, index)| Ok((entry(*term, *index), None))).collect();
    stores.machine.apply(futures::stream::iter(entries)).await
}

#[actix::test]
async fn applied_entries_are_never_truncated() {
    for (after, refused) in [(Some(9), false), (Some(5), false), (Some(4), true), (Some(0), true), (None, true)] {
        let (_host, mut stores) = stores().await;
        let truncated = stores.log.truncate_after(after.map(|index| log_id_of(at(1, index)))).await;
        assert_eq!(truncated.is_err(), refused, "{after:?}");
        assert_eq!(stores.shared.fault().is_some(), refused, "{after:?}");
        let kept = if refused { 10 } else { after.map_or(0, |after| after + 1) };
        assert_eq!(stores.shared.index().next_index(), kept);
    }
}

#[actix::test]
async fn committed_entries_are_never_truncated() {
    let (_host, mut stores) = stores().await;
    stores.log.save_committed(Some(log_id_of(at(1, 7)))).await.expect("noted");
    stores.log.truncate_after(Some(log_id_of(at(1, 7)))).await.expect("later entries may be truncated");
    stores.log.truncate_after(Some(log_id_of(at(1, 6)))).await.expect_err("entry 7 is committed");
}

#[actix::test]
async fn an_entry_that_does_not_follow_the_applied_ones_stops_the_replica() {
    for wrong in [(1, 5), (2, 5), (1, 4), (1, 7), (0, 6)] {
        let (_host, mut stores) = stores().await;
        let before = stores.shared.history().last();
        apply(&mut stores, &[wrong]).await.expect_err("it does not follow");
        assert!(stores.shared.fault().is_some(), "{wrong:?}");
        assert_eq!(stores.shared.history().last(), before);
    }
    let (_host, mut stores) = stores().await;
    apply(&mut stores, &[(1, 6), (3, 7)]).await.expect("the next ones");
    assert_eq!(stores.shared.fault(), None);
}

#[actix::test]
async fn a_leaders_entries_that_contradict_applied_entries_are_refused() {
    let (_host, mut stores) = stores().await;
    stores.log.save_vote(&vote_of(Ballot { term: 3, node: 2, committed: true })).await.expect("saved");
    let check = |term, previous: Option<(u64, u64)>, entries: &[(u64, u64)]| {
        let request = AppendEntriesRequest {
            vote: vote_of(Ballot { term, node: 2, committed: true }),
            prev_log_id: previous.map(|(term, index)| log_id_of(at(term, index))),
            entries: entries.iter().map(|(term, index)| entry(*term, *index)).collect(),
            leader_commit: None,
        };
        check_append(&stores.shared, &request)
    };
    assert_eq!(check(3, Some((1, 4)), &[(1, 5), (3, 6)]), Ok(()), "entries that are not applied may be replaced");
    assert_eq!(check(3, Some((1, 20)), &[]), Ok(()), "the leader may have more entries");
    assert_eq!(check(2, Some((1, 3)), &[(2, 4)]), Ok(()), "a former leader is refused by its vote");
    assert!(check(3, Some((1, 3)), &[(2, 4)]).is_err());
    assert!(check(3, Some((2, 5)), &[]).is_err());
    assert!(check(4, None, &[(2, 0)]).is_err());
}
