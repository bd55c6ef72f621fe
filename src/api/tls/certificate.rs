//! The certificate of a listener: loaded from its files, and reloaded when they change. Open connections keep the
//! certificate that they began with.

use super::files::{Pair, TlsError, TlsFiles};
use crate::metrics;
use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::server::{ClientHello, ResolvesServerCert, ServerSessionMemoryCache, StoresServerSessions};
use rustls::sign::CertifiedKey;
use std::sync::Arc;

/// The number of resumable TLS sessions, rustls's default.
const SESSIONS_MAX: usize = 256;

#[derive(Debug)]
pub struct Certificate {
    /// The listener's name: `s3` or `admin`.
    pub listener: &'static str,
    files: TlsFiles,
    current: ArcSwap<Served>,
}

/// The certificate for new connections.
#[derive(Debug)]
struct Served {
    pair: Pair,
    /// The sessions begun with this certificate. A resumed session shows no certificate, so sessions are dropped with
    /// theirs.
    sessions: Arc<ServerSessionMemoryCache>,
}

impl Served {
    fn new(listener: &str, pair: Pair) -> Arc<Self> {
        metrics::TLS_CERTIFICATE_END.with_label_values(&[listener]).set(pair.ends_at);
        Arc::new(Self { pair, sessions: ServerSessionMemoryCache::new(SESSIONS_MAX) })
    }
}

impl Certificate {
    pub fn load(listener: &'static str, files: TlsFiles) -> Result<Arc<Self>, TlsError> {
        let pair = files.read()?.parse()?;
        Ok(Arc::new(Self { listener, files, current: ArcSwap::new(Served::new(listener, pair)) }))
    }

    /// Reloads the files, and returns whether the certificate changed. Unusable files are refused, and the current
    /// certificate stays. It reads files, so it may block.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let contents = self.files.read()?;
        if contents.fingerprint() == self.current.load().pair.fingerprint {
            return Ok(false);
        }
        self.current.store(Served::new(self.listener, contents.parse()?));
        Ok(true)
    }

    /// Returns the setting that names the certificate file.
    pub fn setting(&self) -> &'static str {
        self.files.cert.setting
    }

    /// Returns the last second of the certificate's validity, in Unix time.
    pub fn ends_at(&self) -> i64 {
        self.current.load().pair.ends_at
    }

    /// Returns the TLS configuration of a listener.
    pub fn server_config(self: &Arc<Self>) -> Result<ServerConfig, TlsError> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        config.session_storage = Arc::clone(self) as Arc<dyn StoresServerSessions>;
        Ok(config)
    }

    fn sessions(&self) -> Arc<ServerSessionMemoryCache> {
        Arc::clone(&self.current.load().sessions)
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.load().pair.key))
    }
}

impl StoresServerSessions for Certificate {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.sessions().put(key, value)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.sessions().get(key)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.sessions().take(key)
    }

    fn can_cache(&self) -> bool {
        true
    }
}
