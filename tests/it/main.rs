//! Integration tests: the real binary over HTTP, each on its own directories and free ports (T2).

#[path = "../harness/mod.rs"]
mod harness;

mod admin;
mod audit;
mod benchmark;
mod bounds;
mod configuration;
mod dev;
mod drives;
mod membership;
mod objects;
mod operations;
mod pressure;
mod running;
mod signatures;
mod tls;
mod traces;
