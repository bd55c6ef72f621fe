//! Orders of certificates by ACME (RFC 8555), with the challenge tls-alpn-01 (RFC 8737). An order is made from its beginning
//! to its end, or fails: nothing of it is kept. The account is found again by its key.

mod account;
mod exchange;
mod order;

pub use account::AccountKey;

use super::post::{PostSetupError, client_config};
use exchange::{Answer, exchange};
use order::Session;
use rustls::ClientConfig;
use rustls::sign::CertifiedKey;
use serde::Deserialize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// The longest order, from the directory to the certificate.
const ORDER_TIME_MAX: Duration = Duration::from_secs(300);

/// The listener that proves control of a name: it shows a challenge's certificate to whoever asks for it.
pub trait ChallengeAnswers: Send + Sync {
    fn show(&self, name: &str, certificate: Arc<CertifiedKey>);
    /// Ends all challenges.
    fn clear(&self);
}

/// A certificate as it was issued, and its private key.
pub struct Issued {
    /// PEM: the certificate, and those of the authorities between it and one that clients trust.
    pub chain: String,
    /// PEM.
    pub key: String,
}

/// The reason for which there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum AcmeError {
    #[error("{url}: {why}")]
    Unreachable { url: String, why: String },
    #[error("{url} answered {status}: {problem}")]
    Refused { url: String, status: u16, problem: Problem, retry_after: Option<Duration> },
    #[error("the ACME server ended the order: {problem}")]
    Failed { problem: Problem },
    #[error("{name} was not proven to be this host's: {problem}")]
    Unproven { name: String, problem: Problem },
    #[error("{url} is not as RFC 8555 has it: {why}")]
    Protocol { url: String, why: String },
    #[error("the order did not end within {} s", ORDER_TIME_MAX.as_secs())]
    Late,
    #[error("cannot {0}")]
    Crypto(&'static str),
    #[error("a certificate cannot be asked for: {0}")]
    Request(#[from] rcgen::Error),
}

impl AcmeError {
    /// Returns what an operator can do about it.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } | Self::Late => {
                "check that this host reaches the ACME server (SHERD_ACME_DIRECTORY) and trusts its certificate (SHERD_ACME_CA_FILE)"
            }
            Self::Refused { .. } | Self::Failed { .. } => {
                "see what the ACME server says; names and contact are SHERD_ACME_DOMAINS and SHERD_ACME_CONTACT"
            }
            Self::Unproven { .. } => {
                "check that the name's DNS records lead to this host alone, and that port 443 there is this S3 listener, with TLS passed through"
            }
            Self::Protocol { .. } => {
                "check that SHERD_ACME_DIRECTORY is the directory of an ACME server with tls-alpn-01"
            }
            Self::Crypto(_) | Self::Request(_) => "check SHERD_ACME_DOMAINS",
        }
    }

    /// Returns the time for which the server wants no other order.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// A problem document (RFC 7807) of a server.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Problem {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    subproblems: Vec<Problem>,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = self.kind.rsplit(':').next().unwrap_or_default();
        match (self.detail.as_str(), kind) {
            ("", "") => f.write_str("no reason is given")?,
            (detail, "") => write!(f, "{detail:?}")?,
            (detail, kind) => write!(f, "{detail:?} ({kind})")?,
        }
        self.subproblems.iter().try_for_each(|problem| write!(f, "; {problem}"))
    }
}

/// A client of one ACME server.
pub struct AcmeClient {
    /// The URL of the server's directory.
    directory: String,
    contact: String,
    tls: Arc<ClientConfig>,
}

impl std::fmt::Debug for AcmeClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AcmeClient").field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl AcmeClient {
    /// The server's own certificate must come from an authority in the file, or from one that the system trusts.
    pub fn new(directory: &str, contact: &str, roots: Option<&Path>) -> Result<Self, PostSetupError> {
        super::post::Endpoint::parse(directory)
            .map_err(|why| PostSetupError::Url { url: directory.to_owned(), why })?;
        let (directory, contact) = (directory.to_owned(), contact.to_owned());
        Ok(Self { directory, contact, tls: Arc::new(client_config(roots)?) })
    }

    /// Orders a certificate for these names. The account is made where the server does not know its key.
    pub async fn order(
        &self,
        key: &AccountKey,
        names: &[String],
        answers: &dyn ChallengeAnswers,
    ) -> Result<Issued, AcmeError> {
        let ordered = timeout(ORDER_TIME_MAX, async {
            let mut session = Session::begin(self, key).await?;
            session.order(names, answers).await
        });
        let ordered = ordered.await.unwrap_or(Err(AcmeError::Late));
        answers.clear();
        ordered
    }
}
