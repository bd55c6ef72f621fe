//! The S3 listener's certificate by ACME: kept on the drives, shown from the start on, ordered where there is none for the
//! configured names, and renewed. An order that fails is logged with what to do about it, and counted; the certificate in use
//! stays.

mod schedule;

use super::environment::Environment;
use crate::ambient::Clock;
use crate::api::{Certificate, TlsError};
use crate::config::AcmeConfig;
use crate::metrics;
use crate::net::{AccountKey, AcmeClient, AcmeError, ChallengeAnswers};
use crate::storage::disk::Disk;
use crate::storage::identity::{AcmeCertificate, HostDrives, KeptAcme, keep_acme, read_acme};
use crate::types::{ClusterId, UnixMs};
use futures::future::join_all;
use rustls::sign::CertifiedKey;
use schedule::pause_after;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{sleep, timeout};

/// The longest sleep until a look at the clock, which may be set meanwhile.
const LOOK_EVERY: Duration = Duration::from_secs(3600);
/// The longest wait for a drive that is to keep a certificate.
const KEEP_WAIT_MAX: Duration = Duration::from_secs(30);

/// The account and the certificate of a host.
pub(super) struct Acme {
    client: AcmeClient,
    config: AcmeConfig,
    certificate: Arc<Certificate>,
    /// `None`: there is no account yet.
    kept: Option<KeptAcme>,
    cluster: ClusterId,
    dirs: Vec<PathBuf>,
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    retry_min: Duration,
}

/// The reason for which there is no new certificate.
#[derive(Debug, thiserror::Error)]
enum OrderError {
    #[error(transparent)]
    Acme(#[from] AcmeError),
    #[error("what the ACME server issued cannot be used: {0}")]
    Unusable(#[from] TlsError),
}

/// The listener, as the prover of names.
struct Prover(Arc<Certificate>);

impl ChallengeAnswers for Prover {
    fn show(&self, name: &str, certificate: Arc<CertifiedKey>) {
        self.0.prove(name, Some(certificate));
    }

    fn clear(&self) {
        self.0.prove("", None);
    }
}

impl Acme {
    /// Reads what the drives keep, and shows the certificate among it.
    pub(super) fn load(
        (client, config): (AcmeClient, AcmeConfig),
        certificate: Arc<Certificate>,
        env: &Environment,
        host: &HostDrives,
    ) -> Self {
        let (disk, dirs) = (Arc::clone(&env.disk), host.usable_dirs());
        let mut kept = read_acme(&*disk, &dirs, host.cluster);
        if let Some(KeptAcme { certificate: issued @ Some(_), .. }) = &mut kept
            && let Some(AcmeCertificate { chain, key, .. }) = issued
            && let Err(error) = certificate.install(chain, key)
        {
            tracing::warn!("the certificate by ACME that the drives keep is ordered anew: {error}");
            *issued = None;
        }
        metrics::ACME_FAILED_ORDERS.with_label_values::<&str>(&[]).set(0);
        let (cluster, clock) = (host.cluster, Arc::clone(&env.ambient.clock));
        let retry_min = env.scale.acme_retry_min;
        Self { client, config, certificate, kept, cluster, dirs, disk, clock, retry_min }
    }

    /// Starts to order and renew; the task goes on until it is aborted.
    pub(super) fn start(self) -> JoinHandle<()> {
        tokio::spawn(self.run())
    }

    async fn run(mut self) {
        // A drive that is new has no copy.
        self.keep().await;
        let mut failures = 0;
        loop {
            let left = self.due_in();
            if !left.is_zero() {
                sleep(left.min(LOOK_EVERY)).await;
                continue;
            }
            let pause = match self.order().await {
                Ok(()) => {
                    failures = 0;
                    self.log_issued();
                    // One that is due at once must not be ordered in a loop.
                    self.retry_min
                }
                Err(error) => {
                    failures += 1;
                    let asked = if let OrderError::Acme(error) = &error { error.retry_after() } else { None };
                    let pause = pause_after(failures, self.retry_min, self.time_left(), asked);
                    self.log_failure(&error, pause);
                    pause
                }
            };
            self.certificate.note_failed_orders(failures);
            metrics::ACME_FAILED_ORDERS.with_label_values::<&str>(&[]).set(i64::from(failures));
            sleep(pause).await;
        }
    }

    /// Returns the time until an order is due.
    fn due_in(&self) -> Duration {
        let issued = self.kept.as_ref().and_then(|kept| kept.certificate.as_ref());
        let is_wanted = |issued: &AcmeCertificate| {
            issued.domains == self.config.domains && issued.directory == self.config.directory
        };
        let (true, Some(validity)) = (issued.is_some_and(is_wanted), self.certificate.validity()) else {
            return Duration::ZERO;
        };
        self.time_until(validity.renewal_at())
    }

    /// Returns the time until the certificate in use ends; `None` if there is none.
    fn time_left(&self) -> Option<Duration> {
        self.certificate.validity().map(|validity| self.time_until(validity.ends_at))
    }

    /// Returns the time until this Unix second; zero if it has passed.
    fn time_until(&self, unix_seconds: i64) -> Duration {
        let now = i64::try_from(self.clock.unix_ms().0 / 1000).unwrap_or(i64::MAX);
        Duration::from_secs(u64::try_from(unix_seconds.saturating_sub(now)).unwrap_or_default())
    }

    async fn order(&mut self) -> Result<(), OrderError> {
        let key = self.account_key().await?;
        let prover = Prover(Arc::clone(&self.certificate));
        let issued = self.client.order(&key, &self.config.domains, &prover).await?;
        self.certificate.install(&issued.chain, &issued.key)?;
        if let Some(kept) = &mut self.kept {
            let (domains, directory) = (self.config.domains.clone(), self.config.directory.clone());
            kept.certificate = Some(AcmeCertificate { directory, domains, chain: issued.chain, key: issued.key });
        }
        self.keep_changed().await;
        Ok(())
    }

    /// Returns the account's key. A new one is kept before it is used, so that there is one account.
    async fn account_key(&mut self) -> Result<AccountKey, AcmeError> {
        if let Some(kept) = &self.kept
            && kept.directory == self.config.directory
            && let Ok(pkcs8) = base64_simd::STANDARD.decode_to_vec(&kept.account_key)
            && let Ok(key) = AccountKey::from_pkcs8(&pkcs8)
        {
            return Ok(key);
        }
        let key = AccountKey::generate()?;
        let encoded = base64_simd::STANDARD.encode_to_string(key.pkcs8());
        let mut kept = KeptAcme::new(self.cluster, self.config.directory.clone(), encoded);
        // The one in use stays until there is another.
        if let Some(before) = self.kept.take() {
            (kept.made, kept.certificate) = (before.made, before.certificate);
        }
        self.kept = Some(kept);
        self.keep_changed().await;
        Ok(key)
    }

    async fn keep_changed(&mut self) {
        if let Some(kept) = &mut self.kept {
            // A clock that was set back must not make it older than the copies before.
            kept.made = self.clock.unix_ms().max(UnixMs(kept.made.0 + 1));
        }
        self.keep().await;
    }

    /// Writes the copies that differ. Without one the next start orders anew.
    async fn keep(&self) {
        let Some(kept) = &self.kept else { return };
        let keep = async |dir: &PathBuf| {
            let (disk, kept, of_drive) = (Arc::clone(&self.disk), kept.clone(), dir.clone());
            let written = timeout(KEEP_WAIT_MAX, spawn_blocking(move || keep_acme(&*disk, &of_drive, &kept)));
            let why = match written.await {
                Ok(Ok(Ok(()))) => return,
                Ok(Ok(Err(error))) => error.to_string(),
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("the drive has not answered for {} s", KEEP_WAIT_MAX.as_secs()),
            };
            tracing::warn!(dir = %dir.display(), why, "the certificate by ACME could not be kept on a drive");
        };
        join_all(self.dirs.iter().map(keep)).await;
    }

    fn log_issued(&self) {
        let Some(validity) = self.certificate.validity() else { return };
        let (names, directory) = (self.config.domains.join(", "), &self.config.directory);
        let (ends, renewed) = (date(validity.ends_at), date(validity.renewal_at()));
        tracing::info!("{directory} issued a certificate for {names}, which ends {ends} and will be renewed {renewed}");
    }

    fn log_failure(&self, error: &OrderError, pause: Duration) {
        let advice = match error {
            OrderError::Acme(error) => error.advice(),
            OrderError::Unusable(_) => "check SHERD_ACME_DIRECTORY",
        };
        let meanwhile = match self.certificate.validity() {
            Some(validity) => format!("the certificate in use stays, which ends {}", date(validity.ends_at)),
            None => "TLS connections are refused until there is one".to_owned(),
        };
        let (names, seconds) = (self.config.domains.join(", "), pause.as_secs());
        tracing::error!(
            "no certificate for {names} by ACME (SHERD_ACME_DOMAINS): {error}: {advice}; {meanwhile}; the next attempt is in {seconds} s, or at a restart"
        );
    }
}

fn date(unix_seconds: i64) -> String {
    let at = OffsetDateTime::from_unix_timestamp(unix_seconds);
    at.map_or_else(|_| unix_seconds.to_string(), |at| format!("{} {:02}:{:02} UTC", at.date(), at.hour(), at.minute()))
}
