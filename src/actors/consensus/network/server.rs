//! The server side of the Raft network: decodes and checks the requests of other replicas, and has openraft answer
//! them.

use super::incoming::Incoming;
use super::messages::{
    Appended, AskVote, InstallSnapshot, MessageFault, PieceTaken, SnapshotPiece, Transfer, Transferred, Voted, decode,
    decode_append, decode_plain, encode_plain, require_leader,
};
use crate::actors::consensus::candidacy::Candidacy;
use crate::actors::consensus::contradiction;
use crate::actors::consensus::raft_types::{ballot_of, log_id_of, position_of, vote_of};
use crate::actors::consensus::shared::{Others, Shared};
use crate::actors::consensus::state::MetaRaft;
use crate::ambient::Ambient;
use crate::net::GroupError;
use bytes::Bytes;
use openraft::async_runtime::WatchReceiver;
use openraft::raft::{TransferLeaderError, TransferLeaderRequest};
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug)]
pub struct Server {
    raft: MetaRaft,
    shared: Arc<Shared>,
    ambient: Ambient,
    incoming: Incoming,
    /// The moment of the monotonic clock before which this host grants no vote. A leader that it followed before a
    /// restart may rely on its lease until then, and leases are not kept on drives.
    silent_until: Duration,
    others: Arc<Others>,
    candidacy: Arc<Candidacy>,
}

pub fn refused(why: impl ToString) -> GroupError {
    GroupError::Refused { why: why.to_string() }
}

impl From<MessageFault> for GroupError {
    fn from(fault: MessageFault) -> Self {
        refused(fault)
    }
}

impl Server {
    pub fn new(
        raft: MetaRaft,
        shared: Arc<Shared>,
        ambient: Ambient,
        silent_until: Duration,
        others: Arc<Others>,
        candidacy: Arc<Candidacy>,
    ) -> Self {
        let incoming = Incoming::new(Arc::clone(&shared));
        Self { raft, shared, ambient, incoming, silent_until, others, candidacy }
    }

    pub async fn append(&self, body: &Bytes) -> Result<Bytes, GroupError> {
        let request = decode_append(body)?;
        if let Err(why) = contradiction::check_append(&self.shared, &request) {
            self.leave_the_group(why.clone());
            return Err(refused(why));
        }
        let answer = self.raft.append_entries(request).await.map_err(refused)?;
        Ok(encode_plain(&Appended::from(answer)))
    }

    /// Stops this replica: it neither votes nor stands for election any more. Health reports the reason.
    pub fn leave_the_group(&self, why: String) {
        self.shared.set_fault(why);
        let raft = self.raft.clone();
        tokio::spawn(async move { raft.shutdown().await });
    }

    /// Stops this replica, and has the host rejoin as another member: other hosts have shown that it lost entries or a
    /// vote, or that its tables are wrong.
    pub fn be_superseded(&self, why: String) {
        self.leave_the_group(why.clone());
        self.shared.superseded.send_replace(Some(why));
    }

    pub async fn vote(&self, body: &Bytes, pre: bool) -> Result<Bytes, GroupError> {
        let asked: AskVote = decode_plain(body)?;
        if asked.ballot.committed {
            return Err(refused("a request for a vote has the ballot of an elected leader"));
        }
        if !asked.transfer && self.ambient.clock.monotonic() < self.silent_until {
            return self.withhold();
        }
        // A voter that has lost entries could elect a leader without them, and a candidate that has lost entries would
        // lead without them.
        if !self.candidacy.may_vote(asked.ballot, asked.last)
            || self.others.has_lost_entries(asked.ballot.node, asked.last)
        {
            return self.withhold();
        }
        let answer = if pre { self.raft.pre_vote(asked.into()).await } else { self.raft.vote(asked.into()).await };
        Ok(encode_plain(&Voted::from(answer.map_err(refused)?)))
    }

    /// Refuses a vote, with the answer that openraft gives while a leader's lease holds.
    fn withhold(&self) -> Result<Bytes, GroupError> {
        let (ballot, last) = {
            let index = self.shared.index();
            (index.standing().ballot, index.last())
        };
        let ballot = ballot.ok_or_else(|| refused("this host has just started, and does not vote yet"))?;
        Ok(encode_plain(&Voted { ballot, granted: false, last }))
    }

    pub async fn transfer(&self, body: &Bytes) -> Result<Bytes, GroupError> {
        let asked: Transfer = decode_plain(body)?;
        require_leader(asked.ballot)?;
        let request = TransferLeaderRequest::new(vote_of(asked.ballot), asked.to, asked.last.map(log_id_of));
        let answer = match self.raft.handle_transfer_leader(request).await.map_err(refused)? {
            Ok(()) => Transferred::Accepted,
            Err(TransferLeaderError::VoteChanged { expected, actual }) => {
                Transferred::VoteChanged { expected: ballot_of(&expected), actual: ballot_of(&actual) }
            }
            Err(TransferLeaderError::LogNotFlushed { expected, actual }) => {
                Transferred::NotFlushed { expected: expected.map(position_of), actual: actual.map(position_of) }
            }
        };
        Ok(encode_plain(&answer))
    }

    pub async fn take_piece(&self, body: &Bytes) -> Result<Bytes, GroupError> {
        let (piece, bytes): (SnapshotPiece, Bytes) = decode(body)?;
        require_leader(piece.ballot)?;
        let own = self.raft.metrics().borrow_watched().vote;
        if own.leader_id > vote_of(piece.ballot).leader_id {
            return Ok(encode_plain(&PieceTaken::HigherVote(ballot_of(&own))));
        }
        let taken = self.incoming.take(piece, bytes).await.map_err(refused)?;
        Ok(encode_plain(&taken))
    }

    pub fn install(&self, body: &Bytes) -> Result<Bytes, GroupError> {
        let asked: InstallSnapshot = decode_plain(body)?;
        require_leader(asked.ballot)?;
        Ok(encode_plain(&self.incoming.install(&self.raft, asked)))
    }
}
