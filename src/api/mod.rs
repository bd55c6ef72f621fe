//! What speaks to people and programs, over actix-web: S3 (`s3`, behind `bridge` and `front`), health and metrics, the admin API. It holds
//! the store as a `Gateway` and knows nothing beneath it.

mod access_log;
pub mod admin;
mod bridge;
mod expectation;
mod front;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod health;
mod iam;
mod identity;
pub mod policy;
mod post;
mod request_log;
mod room;
mod s3;
mod server;
mod tls;
mod wire;

pub use health::{DriveHealth, Health, HealthSource, Told};
pub use iam::{KeySetFiles, KeySets};
pub use identity::ROOT_ACCOUNT;
pub use identity::changes::accounts_file::AccountsFile;
pub use s3::Credentials;
pub use server::{ApiError, ApiHandle, ApiOptions, TlsFiles, serve};

#[cfg(test)]
mod tests;
