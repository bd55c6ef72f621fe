//! Tests of a group that is formed anew from one host's copies.

use super::{Host, create_bucket, id_of, put_ok};
use crate::actors::consensus::{Forming, MetaHandle, ReplicaOptions, StartError, recover_own, start, survey_recovery};
use crate::types::HostId;
use openraft::ChangeMembers;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const NEW: HostId = HostId(2);

/// Returns the options of the new replica: on other drives, under an id that has never voted.
fn elsewhere(new: &Host) -> ReplicaOptions {
    ReplicaOptions { host: NEW, forming: Forming::Joining, first_start: true, ..new.options() }
}

async fn recovered(old: &Host, new: &Host) -> Result<MetaHandle, StartError> {
    recover_own(old.options(), elsewhere(new)).await
}

#[actix::test]
async fn a_group_formed_anew_keeps_all_changes_under_one_new_voter() {
    let (mut old, new) = (Host::with_drives(2), Host::with_drives(2));
    let meta = old.start().await;
    let bucket = create_bucket(&meta, "bucket").await;
    put_ok(&meta, bucket, "in the snapshot", 1).await;
    assert!(meta.snapshot_now().await);
    put_ok(&meta, bucket, "in the log", 2).await;
    let before = meta.status();
    meta.shutdown().await;
    let remains = survey_recovery(&old.options()).await.expect("looked at");
    assert_eq!((remains.last, remains.damage), (Some(before.last_log_index), None));
    assert_eq!(remains.voters, BTreeSet::from([HostId(1)]));
    assert!(remains.dated.is_some());

    let meta = recovered(&old, &new).await.expect("recovered");
    put_ok(&meta, bucket, "after it", 3).await;
    let after = meta.status();
    assert!(after.term > before.term && after.last_log_index > before.last_log_index, "{before:?}, {after:?}");
    assert_eq!(meta.membership().voters, BTreeSet::from([NEW]));
    meta.shutdown().await;
    // From now on the new group starts like any other, and the former one is unchanged.
    for started in 0..2 {
        let options = ReplicaOptions { first_start: false, ..elsewhere(&new) };
        let meta = start(options).await.unwrap_or_else(|error| panic!("start {started}: {error}"));
        for (key, id) in [("in the snapshot", 1), ("in the log", 2), ("after it", 3)] {
            assert_eq!(id_of(&meta, bucket, key).await, Some(id), "{key}");
        }
        meta.shutdown().await;
    }
    let meta = old.start().await;
    assert_eq!(id_of(&meta, bucket, "in the log").await, Some(2));
    assert_eq!(meta.membership().voters, BTreeSet::from([HostId(1)]));
    meta.shutdown().await;
}

#[actix::test]
async fn a_group_formed_anew_keeps_undecided_entries_of_the_former_log() {
    let (mut old, new) = (Host::with_drives(1), Host::with_drives(1));
    let meta = old.start().await;
    let bucket = create_bucket(&meta, "bucket").await;
    put_ok(&meta, bucket, "decided", 1).await;
    let others = BTreeMap::from([(8, "h8:1"), (9, "h9:1")]);
    for (host, address) in others {
        meta.add_learner(HostId(host), address).await.expect("added");
    }
    // Two voters never answer, so the entries from now on are in the log and not decided.
    let voters = ChangeMembers::ReplaceAllVoters(BTreeSet::from([1, 8, 9]));
    let undecided = tokio::time::timeout(Duration::from_secs(1), meta.inner.raft.change_membership(voters, true)).await;
    assert!(undecided.is_err());
    let before = meta.status();
    meta.shutdown().await;
    let remains = survey_recovery(&old.options()).await.expect("looked at");
    assert!(remains.last > remains.decided && remains.last == Some(before.last_log_index), "{remains:?}");
    let meta = recovered(&old, &new).await.expect("recovered");
    assert_eq!(id_of(&meta, bucket, "decided").await, Some(1));
    assert_eq!(meta.membership().voters, BTreeSet::from([NEW]));
    put_ok(&meta, bucket, "after it", 3).await;
    meta.shutdown().await;
}
