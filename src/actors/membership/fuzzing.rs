//! What other hosts say about being a cluster, and of their jobs.

use super::messages::{
    FoundingAnswer, FoundingAsk, JoinAnswer, JoinAsk, JoinAskWithRoles, RejoinAsk, RemovalAnswer, RemovalAsk,
    StatusAnswer, StatusAsk, decode, encode,
};
use crate::actors::jobs::{Ask, Told};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// What is read is written to the same again.
pub fn messages(data: &[u8]) {
    same_again::<FoundingAsk>(data);
    same_again::<FoundingAnswer>(data);
    same_again::<JoinAsk>(data);
    same_again::<JoinAskWithRoles>(data);
    same_again::<JoinAnswer>(data);
    same_again::<RejoinAsk>(data);
    same_again::<RemovalAsk>(data);
    same_again::<RemovalAnswer>(data);
    same_again::<StatusAsk>(data);
    same_again::<StatusAnswer>(data);
    same_again::<Ask>(data);
    same_again::<Told>(data);
}

fn same_again<T: Serialize + DeserializeOwned + PartialEq + Debug>(data: &[u8]) {
    if let Ok(message) = decode::<T>(data) {
        assert_eq!(decode::<T>(&encode(&message)).ok(), Some(message));
    }
}
