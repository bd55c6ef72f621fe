//! Runs of `sherd admin`: questions to a host, and inventories of a stopped one.

use super::sigv4::Keys;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output};

/// Runs `sherd admin` with these arguments on the host with this admin listener.
pub fn run(host: SocketAddr, keys: &Keys, arguments: &[&str]) -> Output {
    command(host, keys, arguments).output().expect("the binary can be started")
}

pub fn command(host: SocketAddr, keys: &Keys, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sherd"));
    command.env_clear().env("SHERD_ADMIN_URL", format!("http://{host}"));
    command.env("SHERD_ACCESS_KEY", &keys.access).env("SHERD_SECRET_KEY", &keys.secret);
    command.arg("admin").args(arguments);
    command
}

/// Runs `sherd admin inventory` on these directories.
pub fn inventory(dirs: &[PathBuf], json: bool) -> Output {
    let dirs: Vec<&str> = dirs.iter().map(|dir| dir.to_str().expect("paths of tests are text")).collect();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sherd"));
    command.env_clear().args(["admin", "inventory", "--data", &dirs.join(",")]);
    if json {
        command.arg("--json");
    }
    command.output().expect("the binary can be started")
}

#[track_caller]
pub fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).expect("it is text")
}

#[track_caller]
pub fn json(output: &Output) -> Value {
    serde_json::from_str(&text(output)).expect("it is JSON")
}

/// The number of chunks by blob, shard and node.
pub type Shards = BTreeMap<(String, u64, u64), u64>;

/// Parses the lines of `shards` or `inventory`; none may be corrupt.
#[track_caller]
pub fn shards(lines: &str) -> Shards {
    let rows = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("it is JSON"));
    let rows = rows.filter(|row| row["kind"].as_str().is_none_or(|kind| kind == "shard"));
    rows.map(|row| {
        let number = |name: &str| row[name].as_u64().expect("it is a number");
        assert_eq!(row["corrupt"].as_u64().unwrap_or(0), 0, "{row}");
        ((row["blob"].as_str().expect("it is text").to_owned(), number("shard"), number("node")), number("chunks"))
    })
    .collect()
}
