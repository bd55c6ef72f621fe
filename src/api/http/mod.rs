//! HTTP: the listeners (`server`), and one S3 request from its head to its response (`front`): normalisation for s3s,
//! bodies and messages, `100 Continue`, the request log and the access log.

pub mod access_log;
mod expectation;
pub mod front;
pub mod messages;
pub mod normalisation;
mod pipelining;
pub mod request_log;
mod request_spans;
mod server;

pub use server::{
    ApiError, ApiHandle, ApiOptions, CertificateSource, EndpointError, Endpoints, ListenerTls, StartupProgress,
    StartupServer, serve,
};
