//! Fuzz targets for the messages of other hosts about membership and jobs.

use super::messages::{
    FoundingAnswer, FoundingAsk, JoinAnswer, JoinAsk, JoinAskWithRoles, RejoinAsk, RemovalAnswer, RemovalAsk,
    StatusAnswer, StatusAsk,
};
use crate::actors::jobs::{Ask, JobAnswer};
use crate::net::{decode_body, encode_body};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// Decodes the same bytes as each kind of message. A decoded message that is encoded must decode to the same message.
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
    same_again::<JobAnswer>(data);
}

fn same_again<T: Serialize + DeserializeOwned + PartialEq + Debug>(data: &[u8]) {
    if let Ok(message) = decode_body::<T>(data) {
        assert_eq!(decode_body::<T>(&encode_body(&message)).ok(), Some(message));
    }
}
