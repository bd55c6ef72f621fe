//! The HTTP interfaces of a host, over actix-web: S3, IAM and STS, health and metrics, the admin API. They reach the
//! store through a `Gateway` and know nothing beneath it.
//!
//! | room | what it owns |
//! |---|---|
//! | `http` | listeners, and one request from its head to its response: bodies, normalisation, request log, access log |
//! | `admin`, `health` | what operators ask for |
//! | `audit` | the lines of the audit log |
//! | `iam`, `s3`, `post` | what clients ask for |
//! | `auth`, `identity`, `policy` | who signed a request; users, keys and roles; whether policies allow it |
//! | `call` | the facts about one request that its layers establish |
//! | `rates`, `sharing` | limits on rates; memory, connections and processor time shared between clients |
//! | `cache`, `errors`, `text`, `tls` | parsed configuration; errors of S3; percent-encoding and queries; certificates |
//! | `admin_routes` | the routes of the admin API, which are also actions of policies |
//!
//! Imports go downwards in this table, but for `auth`, which is above `call`.

mod accounts;
pub mod admin;
mod admin_routes;
mod audit;
mod auth;
mod cache;
mod call;
mod errors;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod health;
mod http;
mod iam;
mod identity;
pub mod policy;
mod post;
mod rates;
mod s3;
mod sharing;
mod text;
mod tls;

pub use accounts::Accounts;
pub use health::{
    BlobsJson, Bounds, DriveHealth, Health, HealthAnswer, HealthSource, LossesJson, Problems, RepairsJson, Safety,
    StopSafety, Subject, Verdict,
};
pub use http::{
    ApiError, ApiHandle, ApiOptions, CertificateSource, EndpointError, Endpoints, ListenerTls, StartupProgress,
    StartupServer, serve,
};
pub use iam::{KeySetFiles, KeySets, check_key_set};
pub use identity::changes::accounts_file::AccountsFile;
pub use identity::{ROOT_ACCOUNT, rfc3339};
pub use s3::{Credentials, allows_acl};
pub use tls::{Certificate, Certificates, NamedFile, TlsError, TlsFiles};

#[cfg(test)]
mod tests;
