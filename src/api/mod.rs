//! The HTTP interfaces of a host, over actix-web: S3 (`s3`, behind `front` and `bridge`), IAM and STS, health and
//! metrics, the admin API. They reach the store through a `Gateway` and know nothing beneath it. Their modules have no
//! import cycles: `text`, `errors` and `memo` are below `call`, `call` is below `auth`, `auth` below `wire`, `bridge`,
//! `post` and `s3`; `front` and `server` are above all.

mod access_log;
mod accounts;
pub mod admin;
mod audit;
mod auth;
mod bridge;
mod call;
mod errors;
mod expectation;
mod front;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod health;
mod iam;
mod identity;
mod memo;
pub mod policy;
mod post;
mod rates;
mod request_log;
mod room;
mod s3;
mod safety;
mod server;
mod text;
mod tls;
mod wire;

pub use accounts::Accounts;
pub use health::{DriveHealth, Health, HealthAnswer, HealthSource};
pub use iam::{KeySetFiles, KeySets};
pub use identity::ROOT_ACCOUNT;
pub use identity::changes::accounts_file::AccountsFile;
pub use s3::Credentials;
pub use safety::{BlobsJson, Bounds, LossesJson, RepairsJson, Safety, StopSafety, Verdict};
pub use server::{
    ApiError, ApiHandle, ApiOptions, CertificateSource, EndpointError, Endpoints, ListenerTls, StartupProgress,
    StartupServer, serve,
};
pub use tls::{Certificate, Certificates, NamedFile, TlsError, TlsFiles, Validity};

#[cfg(test)]
mod tests;
