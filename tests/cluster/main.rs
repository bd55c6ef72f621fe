//! Black-box tests of a cluster under faults: hosts of the real binary, clients that talk S3 to all of them, and
//! faults.
//!
//! Environment variables; a run with the defaults takes minutes on two cores:
//!
//! | variable | default | meaning |
//! |---|---|---|
//! | `SHERD_FAULT_SECONDS` | 4 | how long a host is paused, cut off or full; a full run takes 30 |
//! | `SHERD_FAULT_HOSTS` | 1 | how many hosts get each fault, one after another, the leader first; a full run takes 3 |
//! | `SHERD_FAULT_ROUNDS` | 1 | how often all of it |
//! | `SHERD_FAULT_SEED` | 1 | what the clients do, and which datagrams are lost; it is printed |
//! | `SHERD_NAMESPACES` | none | `required`: tests that need root fail instead of being skipped |
//! | `SHERD_FAULT_LOGS` | none | a directory where the hosts' logs are left |
//!
//! Each fault is made on hosts on loopback and, all in one cluster, on hosts in network namespaces with addresses of
//! their own. Tests of faults under load run their clusters one at a time, since they share a small machine; others run
//! beside each other. Tests that need root (for small file systems, or for network namespaces by `ip` and `nft`) are
//! skipped without it, with a message.
//!
//! A full run: `SHERD_FAULT_SECONDS=30 SHERD_FAULT_HOSTS=3 cargo test --test cluster -- --nocapture`.

#[path = "../harness/mod.rs"]
mod harness;

mod faults;
mod forming;
mod histories;
mod jobs;
mod layout;
mod ledger;
mod linear;
mod load;
mod namespaces;
mod rejoining;
mod report;
mod retries;
mod stops;
mod traces;
mod trial;
