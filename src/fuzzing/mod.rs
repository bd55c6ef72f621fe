//! The fuzz targets: one function for each place where untrusted bytes enter, from the network or from a drive. No
//! input may make a target panic, hang, or use memory out of proportion. A target also asserts other properties where
//! there are some: the same result in pieces as whole, a round trip, the same decision as a reference.
//!
//! `tests/fuzz` runs the targets guided by coverage, for as long as one likes. The test below runs each for a moment,
//! always with the same inputs, which are derived from `tests/fuzz/seeds`.

use crate::actors::consensus::fuzzing as groups;
use crate::actors::membership::fuzzing as membership;
use crate::api::fuzzing as api;
use crate::net::fuzzing as net;
use crate::sigv4::fuzzing as sigv4;
use crate::storage::meta::fuzzing as meta;
use crate::storage::wal::fuzzing as wal;

/// A fuzz target. Its name is that of the folder with its seeds.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
}

const fn target(name: &'static str, run: fn(&[u8])) -> Target {
    Target { name, run }
}

pub const TARGETS: &[Target] = &[
    target("policies", api::policies),
    target("decisions", api::decisions),
    target("forms", api::forms),
    target("form_policies", api::form_policies),
    target("heads", api::heads),
    target("chunks", api::chunks),
    target("calls", api::calls),
    target("tokens", api::tokens),
    target("settings", api::settings),
    target("documents", api::documents),
    target("headers", api::headers),
    target("requests", api::requests),
    target("admin", api::admin_bodies),
    target("signatures", sigv4::signatures),
    target("frames", net::frames),
    target("webhook_answers", net::webhook_answers),
    target("group_messages", groups::messages),
    target("membership", membership::messages),
    target("entries", meta::entries),
    target("snapshots", meta::snapshots),
    target("rows", meta::rows),
    target("logs", wal::logs),
];

#[cfg(test)]
mod tests;
