//! The certificate of a listener: loaded from its files and reloaded when they change, or issued by an ACME server. Open
//! connections keep the certificate that they began with.

use super::files::{Pair, TlsError, TlsFiles};
use super::validity::Validity;
use crate::metrics;
use crate::setting_file::SettingFiles;
use arc_swap::{ArcSwap, ArcSwapOption};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::server::{ClientHello, ResolvesServerCert, ServerSessionMemoryCache, StoresServerSessions};
use rustls::sign::CertifiedKey;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The number of resumable TLS sessions, rustls's default.
const SESSIONS_MAX: usize = 256;
/// The protocol of the challenge tls-alpn-01 (RFC 8737, section 4).
const CHALLENGE_PROTOCOL: &[u8] = b"acme-tls/1";

#[derive(Debug)]
pub struct Certificate {
    /// The listener's name: `s3` or `admin`.
    pub listener: &'static str,
    source: Source,
    /// `None`: an ACME server has issued none yet, and handshakes are refused, except those for an ACME challenge.
    current: ArcSwapOption<Served>,
}

#[derive(Debug)]
enum Source {
    Files {
        named: TlsFiles,
        /// Reads the files again and again.
        reader: SettingFiles,
    },
    Acme {
        /// The files that name issued certificates in errors.
        named: TlsFiles,
        /// The certificates that prove control of a name, by the name.
        challenges: ArcSwap<BTreeMap<String, Arc<CertifiedKey>>>,
        /// The number of orders that failed since the last one that succeeded.
        failed_orders: AtomicU32,
    },
}

/// The certificate for new connections.
#[derive(Debug)]
struct Served {
    pair: Pair,
    /// The resumable sessions begun with this certificate. They are dropped when it is replaced, since a resumed session
    /// would not show the new one.
    sessions: Arc<ServerSessionMemoryCache>,
}

impl Served {
    fn new(listener: &str, pair: Pair) -> Arc<Self> {
        metrics::TLS_CERTIFICATE_END.with_label_values(&[listener]).set(pair.validity.ends_at);
        Arc::new(Self { pair, sessions: ServerSessionMemoryCache::new(SESSIONS_MAX) })
    }
}

impl Certificate {
    pub fn load(listener: &'static str, files: TlsFiles) -> Result<Arc<Self>, TlsError> {
        let reader = SettingFiles::default();
        let pair = files.read(&reader)?.parse()?;
        let current = ArcSwapOption::new(Some(Served::new(listener, pair)));
        Ok(Arc::new(Self { listener, source: Source::Files { named: files, reader }, current }))
    }

    /// Returns one that an ACME server will issue. `named`: the settings and files that errors name.
    pub fn by_acme(listener: &'static str, named: TlsFiles) -> Arc<Self> {
        let source = Source::Acme { named, challenges: ArcSwap::default(), failed_orders: AtomicU32::new(0) };
        Arc::new(Self { listener, source, current: ArcSwapOption::empty() })
    }

    /// Reloads the files, and returns whether the certificate changed. Unusable files are refused, and the current
    /// certificate stays. It reads files, so it may block.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let Source::Files { named, reader } = &self.source else { return Ok(false) };
        let contents = named.read(reader)?;
        let current = self.current.load();
        if current.as_ref().is_some_and(|current| contents.fingerprint() == current.pair.fingerprint) {
            return Ok(false);
        }
        self.current.store(Some(Served::new(self.listener, contents.parse()?)));
        Ok(true)
    }

    /// Shows a certificate that was issued, both in PEM, to new connections.
    pub fn install(&self, chain: &str, key: &str) -> Result<(), TlsError> {
        let (Source::Files { named, .. } | Source::Acme { named, .. }) = &self.source;
        let pair = named.wrap_pem(chain.into(), key.into()).parse()?;
        self.current.store(Some(Served::new(self.listener, pair)));
        Ok(())
    }

    /// Shows a certificate to whoever asks for the proof of a name; `None`: the proofs of all names end.
    pub fn prove(&self, name: &str, proof: Option<Arc<CertifiedKey>>) {
        let Source::Acme { challenges, .. } = &self.source else { return };
        challenges.rcu(|challenges| match &proof {
            None => BTreeMap::new(),
            Some(proof) => {
                let mut more = BTreeMap::clone(challenges);
                more.insert(name.to_owned(), Arc::clone(proof));
                more
            }
        });
    }

    /// Notes how many orders failed since the last one that succeeded.
    pub fn note_failed_orders(&self, count: u32) {
        if let Source::Acme { failed_orders, .. } = &self.source {
            failed_orders.store(count, Ordering::Relaxed);
        }
    }

    /// Returns the number of orders that failed since the last one that succeeded; `None` if it comes from files.
    pub fn failed_orders(&self) -> Option<u32> {
        match &self.source {
            Source::Files { .. } => None,
            Source::Acme { failed_orders, .. } => Some(failed_orders.load(Ordering::Relaxed)),
        }
    }

    /// Returns whether it comes from files, which are read again.
    pub fn is_of_files(&self) -> bool {
        matches!(self.source, Source::Files { .. })
    }

    /// Returns the setting that names the certificate.
    pub fn setting(&self) -> &'static str {
        let (Source::Files { named, .. } | Source::Acme { named, .. }) = &self.source;
        named.cert.setting
    }

    /// Returns `None` while there is no certificate.
    pub fn validity(&self) -> Option<Validity> {
        self.current.load().as_ref().map(|current| current.pair.validity)
    }

    /// Returns the TLS configuration of a listener.
    pub fn server_config(self: &Arc<Self>) -> Result<ServerConfig, TlsError> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        config.session_storage = Arc::clone(self) as Arc<dyn StoresServerSessions>;
        if !self.is_of_files() {
            config.alpn_protocols = vec![CHALLENGE_PROTOCOL.to_vec()];
        }
        Ok(config)
    }

    fn sessions(&self) -> Option<Arc<ServerSessionMemoryCache>> {
        self.current.load().as_ref().map(|current| Arc::clone(&current.sessions))
    }
}

/// Returns whether a client asks for the proof of a name: with that one protocol (RFC 8737, section 3).
fn asks_for_proof(hello: &ClientHello<'_>) -> bool {
    hello.alpn().is_some_and(|mut protocols| protocols.next() == Some(CHALLENGE_PROTOCOL) && protocols.next().is_none())
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if let Source::Acme { challenges, .. } = &self.source
            && asks_for_proof(&hello)
        {
            return challenges.load().get(hello.server_name()?).cloned();
        }
        self.current.load().as_ref().map(|current| Arc::clone(&current.pair.key))
    }
}

impl StoresServerSessions for Certificate {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.sessions().is_some_and(|sessions| sessions.put(key, value))
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.sessions()?.get(key)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.sessions()?.take(key)
    }

    fn can_cache(&self) -> bool {
        true
    }
}
