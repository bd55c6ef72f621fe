//! Doors for fuzzing: one function for each place where bytes come in that others wrote, over the network or from a drive.
//! No bytes may make one panic, hang or hold memory out of proportion; where there is more that must hold (the same in
//! pieces as whole, read as it was written, decided as the reference decides), a door asserts that too.
//!
//! `tests/fuzz` runs them guided by coverage, for as long as one likes; the test below runs each for a moment, always the
//! same way, over what lies in `tests/fuzz/seeds`.

use crate::actors::consensus::fuzzing as groups;
use crate::actors::membership::fuzzing as membership;
use crate::api::fuzzing as api;
use crate::net::fuzzing as net;
use crate::sigv4::fuzzing as sigv4;
use crate::storage::meta::fuzzing as meta;
use crate::storage::wal::fuzzing as wal;

/// A door, and the name of the folder with its seeds.
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
