//! Integration tests: the real binary over HTTP, each on its own directories and free ports (T2).

#[path = "../harness/mod.rs"]
mod harness;

mod benchmark;
mod configuration;
mod drives;
mod objects;
mod operations;
mod pressure;
mod signatures;
