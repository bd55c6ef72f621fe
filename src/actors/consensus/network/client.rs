//! The client side of the Raft network: sends openraft's requests to the other replicas, each as one call; a snapshot
//! takes many calls.

use super::hearing::Hearing;
use super::link::{Link, LinkError};
use super::messages::{Appended, Voted};
use super::messages::{
    AskVote, InstallSnapshot, Installing, Kind, PieceTaken, SnapshotPiece, Transfer, Transferred, encode,
    encode_append, encode_plain,
};
use crate::actors::consensus::raft_types::{
    LogId, MetaGroup, Vote, ballot_of, log_id_of, position_of, raft_id, vote_of,
};
use crate::actors::consensus::shared::{DurableState, Offload, Others};
use crate::actors::consensus::state::{SnapshotFile, SnapshotReader};
use crate::ambient::Ambient;
use crate::limits::SNAPSHOT_PIECE_BYTES;
use crate::net::GroupError;
use crate::storage::raft_log::Ballot;
use crate::types::HostId;
use bytes::Bytes;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderError, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::type_config::alias::SnapshotOf;
use openraft::{BasicNode, OptionalSend, RaftNetworkFactory, RaftNetworkV2};
use serde::de::DeserializeOwned;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// The longest wait for the answer to entries, which a follower gives when it has synced them. Heartbeats have a
/// shorter one, and go on meanwhile.
const APPEND_PATIENCE: Duration = Duration::from_secs(3);
/// The longest wait for one piece of a snapshot from a drive, and for the answer to it. A snapshot of whatever size is
/// sent, as long as each piece is.
const PIECE_PATIENCE: Duration = Duration::from_secs(10);
/// The pause before a follower that installs a snapshot is asked again whether it is done.
const INSTALL_POLL: Duration = Duration::from_millis(50);
/// The longest time in which a follower installs a snapshot that it has received whole.
const INSTALL_PATIENCE: Duration = Duration::from_secs(1800);
/// How often a follower may ask for an earlier piece again while one snapshot is sent.
const PIECES_AGAIN_MAX: u32 = 100;

/// Creates openraft's connection (`Peer`) to each of the group's other replicas.
#[derive(Clone, Debug)]
pub struct Peers {
    pub link: Link,
    pub hearing: Arc<Hearing>,
    pub others: Arc<Others>,
    pub offload: Offload,
    pub ambient: Ambient,
    /// True with `relaxed` durability: a host that has lost the end of its log goes on under its id.
    pub ends_may_be_lost: bool,
}

/// The connection to one other replica.
#[derive(Debug)]
pub struct Peer {
    peers: Peers,
    host: HostId,
    /// The number of snapshot transfers begun. Each prefers the next one of the drives that hold the snapshot.
    sendings: usize,
    /// The last entry that the other replica acknowledged, and the vote of the leader to which it did.
    acknowledged: Option<(Vote, LogId)>,
}

impl RaftNetworkFactory<MetaGroup> for Peers {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, _node: &BasicNode) -> Peer {
        Peer { peers: self.clone(), host: HostId(target), sendings: 0, acknowledged: None }
    }
}

/// Translates the failure of a call. `Unreachable` makes openraft pause before it tries again.
fn rpc_error(error: LinkError) -> RPCError<MetaGroup> {
    match error {
        LinkError::Call(GroupError::NoAnswer { .. }) | LinkError::Late { .. } => {
            RPCError::Network(NetworkError::new(&error))
        }
        LinkError::Call(_) | LinkError::Garbled { .. } => RPCError::Unreachable(Unreachable::new(&error)),
    }
}

fn unreachable_for(why: String) -> StreamingError<MetaGroup> {
    StreamingError::Unreachable(Unreachable::new(&io::Error::other(why)))
}

/// Waits for what is read of a snapshot. Its drive may hang: another attempt uses another drive.
async fn from_drive<T>(reading: impl Future<Output = io::Result<T>>) -> Result<T, StreamingError<MetaGroup>> {
    let late = |_| Err(io::Error::new(io::ErrorKind::TimedOut, "the drive of the snapshot does not answer"));
    timeout(PIECE_PATIENCE, reading).await.unwrap_or_else(late).map_err(|error| unreachable_for(error.to_string()))
}

impl Peer {
    async fn ask<A: DeserializeOwned>(&self, kind: Kind, body: Bytes, within: Duration) -> Result<A, LinkError> {
        let answer = self.peers.link.ask(self.host, kind, body, within).await;
        if answer.is_ok() {
            self.peers.hearing.note_answer(raft_id(self.host));
        }
        answer
    }

    /// Fails while this leader must be silent (`Hearing`). Called before each request that renews the followers' lease.
    fn require_voice(&self) -> Result<(), Unreachable<MetaGroup>> {
        match self.peers.hearing.may_speak() {
            true => Ok(()),
            false => Err(Unreachable::new(&io::Error::other("this leader hears no majority, and is silent"))),
        }
    }

    /// Notes what the other replica has acknowledged. Under one leader a follower only gains entries, so a conflict at
    /// or below an acknowledged entry shows that the follower has lost entries; `others` remembers that.
    fn note_appended(&mut self, vote: Vote, previous: Option<LogId>, last: Option<LogId>, answer: Appended) {
        let acknowledged = self.acknowledged.filter(|(by, _)| *by == vote).map(|(_, at)| at);
        let through = match answer {
            Appended::All => last,
            Appended::Through(through) => through.map(log_id_of),
            Appended::Conflict => {
                if let Some(at) = acknowledged.filter(|at| previous.is_some_and(|previous| previous <= *at)) {
                    let had = DurableState { ballot: None, entry: Some(position_of(at)) };
                    self.peers.others.note_had(raft_id(self.host), had);
                }
                return;
            }
            Appended::HigherVote(_) => return,
        };
        self.acknowledged = acknowledged.max(through).map(|at| (vote, at));
    }

    /// Drops a granted vote of a host that has lost entries: the host might elect a leader that lacks them, too. With
    /// `relaxed` durability the vote of one of two counts for the other one if that has all that the host is known to
    /// have had (`Candidacy`).
    fn count(&self, asked: AskVote, voted: Voted) -> Result<VoteResponse<MetaGroup>, RPCError<MetaGroup>> {
        let (others, host) = (&self.peers.others, raft_id(self.host));
        let may_be_made_up_for = self.peers.ends_may_be_lost && self.peers.hearing.is_one_of_two();
        let is_made_up_for = may_be_made_up_for && others.may_vote_for(host, asked.ballot, asked.last);
        if voted.granted && !is_made_up_for && others.has_lost_entries(host, voted.last) {
            let error = io::Error::other("the vote does not count, as the host has lost entries that it had");
            return Err(RPCError::Unreachable(Unreachable::new(&error)));
        }
        Ok(voted.into())
    }

    async fn send_snapshot(
        &mut self,
        ballot: Ballot,
        file: SnapshotFile,
    ) -> Result<SnapshotResponse<MetaGroup>, StreamingError<MetaGroup>> {
        let skip = self.sendings;
        self.sendings += 1;
        let reader = from_drive(SnapshotReader::open(file, skip, self.peers.offload)).await?;
        let transfer = self.peers.ambient.random_u128();
        let total_bytes = reader.total_bytes();
        let (mut offset, mut again) = (0, 0);
        while offset < total_bytes {
            let piece = from_drive(reader.read(offset, SNAPSHOT_PIECE_BYTES)).await?;
            let end = offset + piece.len() as u64;
            let body = encode(&SnapshotPiece { ballot, transfer, total_bytes, offset }, &[&piece]);
            match self.ask(Kind::SnapshotPiece, body, PIECE_PATIENCE).await.map_err(rpc_error)? {
                PieceTaken::HigherVote(higher) => return Ok(SnapshotResponse::new(vote_of(higher))),
                PieceTaken::Next(next) if next == end => offset = next,
                PieceTaken::Next(next) if next < end && again < PIECES_AGAIN_MAX => {
                    again += 1;
                    offset = next;
                }
                PieceTaken::Next(next) => {
                    return Err(unreachable_for(format!(
                        "sending a snapshot to host {:016x}: it expects byte {next} next, but {end} bytes were sent",
                        self.host.0
                    )));
                }
            }
        }
        let late = |_| Err(unreachable_for(format!("the snapshot is not installed after {INSTALL_PATIENCE:?}")));
        timeout(INSTALL_PATIENCE, self.install(ballot, transfer)).await.unwrap_or_else(late)
    }

    /// Has the follower install a snapshot that it has received whole, and waits until it has.
    async fn install(
        &self,
        ballot: Ballot,
        transfer: u128,
    ) -> Result<SnapshotResponse<MetaGroup>, StreamingError<MetaGroup>> {
        let body = encode_plain(&InstallSnapshot { ballot, transfer });
        loop {
            let asked = self.ask(Kind::SnapshotInstall, body.clone(), PIECE_PATIENCE);
            match asked.await.map_err(rpc_error)? {
                Installing::Busy => sleep(INSTALL_POLL).await,
                Installing::Done(vote) => return Ok(SnapshotResponse::new(vote_of(vote))),
                Installing::Failed(why) => return Err(unreachable_for(why)),
            }
        }
    }
}

impl RaftNetworkV2<MetaGroup> for Peer {
    type SnapshotData = SnapshotFile;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<MetaGroup>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<MetaGroup>, RPCError<MetaGroup>> {
        self.require_voice()?;
        let within = if rpc.entries.is_empty() { option.hard_ttl() } else { APPEND_PATIENCE };
        let (vote, previous) = (rpc.vote, rpc.prev_log_id);
        let last = rpc.entries.last().map(|entry| entry.log_id).or(previous);
        let answer: Appended = self.ask(Kind::Append, encode_append(rpc), within).await.map_err(rpc_error)?;
        self.note_appended(vote, previous, last, answer);
        Ok(answer.into())
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<MetaGroup>,
        option: RPCOption,
    ) -> Result<VoteResponse<MetaGroup>, RPCError<MetaGroup>> {
        let asked = AskVote::from(rpc);
        let answer = self.ask(Kind::Vote, encode_plain(&asked), option.hard_ttl());
        answer.await.map_err(rpc_error).and_then(|voted| self.count(asked, voted))
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<MetaGroup>,
        option: RPCOption,
    ) -> Result<VoteResponse<MetaGroup>, RPCError<MetaGroup>> {
        let asked = AskVote::from(rpc);
        let answer = self.ask(Kind::PreVote, encode_plain(&asked), option.hard_ttl());
        answer.await.map_err(rpc_error).and_then(|voted| self.count(asked, voted))
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: SnapshotOf<MetaGroup, SnapshotFile>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<MetaGroup>, StreamingError<MetaGroup>> {
        self.require_voice()?;
        tokio::select! {
            biased;
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = self.send_snapshot(ballot_of(&vote), snapshot.snapshot) => sent,
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<MetaGroup>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<MetaGroup>, RPCError<MetaGroup>> {
        let body = encode_plain(&Transfer {
            ballot: ballot_of(request.from_leader()),
            to: *request.to_node_id(),
            last: request.last_log_id().copied().map(position_of),
        });
        let asked = self.ask(Kind::Transfer, body, option.hard_ttl());
        Ok(match asked.await.map_err(rpc_error)? {
            Transferred::Accepted => Ok(()),
            Transferred::VoteChanged { expected, actual } => {
                Err(TransferLeaderError::VoteChanged { expected: vote_of(expected), actual: vote_of(actual) })
            }
            Transferred::NotFlushed { expected, actual } => Err(TransferLeaderError::LogNotFlushed {
                expected: expected.map(log_id_of),
                actual: actual.map(log_id_of),
            }),
        })
    }
}
