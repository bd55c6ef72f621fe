//! The confirmation that this host is the only voter, with which it answers reads without asking anybody.

use super::shared::Shared;
use super::state::MetaRaft;
use openraft::ReadPolicy;

/// Confirms that this host is the only voter, if it is. The order matters: first the epoch of the membership is read,
/// then the read barrier is passed, and last the membership is checked.
pub async fn confirm_sole_voter(raft: &MetaRaft, shared: &Shared) {
    let epoch = shared.sole_voter.epoch();
    if !raft.voter_ids().eq(std::iter::once(*raft.node_id())) {
        return;
    }
    if raft.ensure_linearizable(ReadPolicy::LeaseRead).await.is_err() {
        return;
    }
    let own = *raft.node_id();
    let alone = raft.with_raft_state(move |state| {
        let effective = state.membership_state.effective();
        effective.voter_ids().eq(std::iter::once(own))
    });
    if alone.await.unwrap_or(false) {
        shared.sole_voter.confirm(epoch);
    }
}
