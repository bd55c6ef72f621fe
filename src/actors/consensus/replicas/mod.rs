//! Comparison of the group's replicas with each other, and of each with its own former state. Every two seconds each
//! host sends its position to every other host, which answers with its own position and with what it remembers of the
//! asking host.
//!
//! A host must keep for ever what it once had on stable storage: without an entry or a vote that it gave, it could help
//! to elect a leader that lacks acknowledged changes. Other hosts recognise a host that was put back to an older state,
//! since they remember more of it than it has; they give it no votes, and its replica stops. If the chains of two
//! replicas differ at one index, the replicas have applied different entries; a replica that differs from a majority of
//! the voters stops. Digests of the tables travel with the positions: a replica whose digest differs from the one that a
//! majority of the voters share has made other rows of the same entries, and rejoins as another member.

mod compare;
mod others;

pub use compare::{keep_comparing, serve};
pub use others::{Agreement, DurableState, Others};
