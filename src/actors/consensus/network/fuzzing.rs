//! Fuzzing of the messages between replicas: the same bytes are decoded as each kind of message.

use super::messages::{
    Appended, AskVote, Compare, Compared, Forward, Forwarded, InstallSnapshot, Installing, PieceTaken, ReadAt,
    ReadIndex, SnapshotPiece, Steer, Steered, Transfer, Transferred, Voted, decode, decode_append, decode_plain,
    encode, encode_append, encode_plain,
};
use crate::actors::consensus::raft_types::log_entry_of;
use crate::storage::meta::codec::decode_entry;
use crate::storage::raft_log::Payload;
use bytes::Bytes;
use openraft::raft::{AppendEntriesResponse, VoteRequest, VoteResponse};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// Decodes `data` as an append, and then as every kind of message: its first byte is the length of the head, the rest
/// is head and tail. A decoded message that is encoded must decode to the same message.
pub fn messages(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    let _ = decode_append(&bytes);
    let Some((&head_bytes, rest)) = data.split_first() else { return };
    let head = usize::from(head_bytes).min(rest.len());
    let framed = [&[1][..], &(head as u32).to_le_bytes(), rest].concat();
    read_all(&framed.into());
}

fn read_all(bytes: &Bytes) {
    append(bytes);
    let _ = decode_plain::<Appended>(bytes).map(AppendEntriesResponse::from);
    let _ = decode_plain::<AskVote>(bytes).map(VoteRequest::from);
    let _ = decode_plain::<Voted>(bytes).map(VoteResponse::from);
    same_again::<Appended>(bytes);
    same_again::<AskVote>(bytes);
    same_again::<Voted>(bytes);
    same_again::<Compare>(bytes);
    same_again::<Compared>(bytes);
    same_again::<Transfer>(bytes);
    same_again::<Transferred>(bytes);
    same_again::<PieceTaken>(bytes);
    same_again::<InstallSnapshot>(bytes);
    same_again::<Installing>(bytes);
    same_again::<Forwarded>(bytes);
    same_again::<ReadIndex>(bytes);
    same_again::<ReadAt>(bytes);
    same_again::<Steer>(bytes);
    same_again::<Steered>(bytes);
    let _ = decode::<SnapshotPiece>(bytes);
    if let Ok((forward, command)) = decode::<Forward>(bytes) {
        assert_eq!(decode::<Forward>(&encode(&forward, &[&command])), Ok((forward, command)));
    }
}

fn same_again<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &Bytes) {
    if let Ok(message) = decode_plain::<T>(bytes) {
        assert_eq!(decode_plain::<T>(&encode_plain(&message)), Ok(message));
    }
}

fn append(bytes: &Bytes) {
    let Ok(request) = decode_append(bytes) else { return };
    for entry in &request.entries {
        if let Payload::Commands(commands) = log_entry_of(entry.clone()).payload {
            let _ = decode_entry(&commands);
        }
    }
    let written = encode_append(request);
    let again = decode_append(&written).map(encode_append);
    assert_eq!(again, Ok(written));
}
