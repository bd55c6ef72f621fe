//! Sherd: an S3-compatible object store in one binary.

#![forbid(unsafe_code)]

pub mod actors;
pub mod admin;
pub mod ambient;
pub mod api;
pub mod config;
pub mod defects;
pub mod dev;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod health_command;
pub mod host;
#[cfg(test)]
mod hot_paths;
pub mod limits;
pub mod logging;
pub mod metrics;
pub mod net;
pub mod output;
pub mod panics;
pub mod setting_file;
pub mod sigv4;
pub mod storage;
pub mod traces;
pub mod types;
