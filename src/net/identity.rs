//! This host's identity towards other hosts: its id, its cluster if it belongs to one, its wire versions, and its TLS
//! certificate. Shared by the host's client and server.

use super::frame::VersionRange;
use super::greeting::{Greeting, Refusal};
use super::tls::{Authority, TlsError};
use crate::types::{ClusterId, HostId, RecoveryEpoch};
use arc_swap::ArcSwap;
use aws_lc_rs::hmac;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    CipherSuite, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme, version,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The protocol id in the TLS handshake (ALPN). The greeting negotiates its version.
const PROTOCOL: &[u8] = b"sherd";
/// The fixed time at which certificates are validated, so that they never expire, whatever the clock says.
const JUDGED_AT: Duration = Duration::from_secs(946_684_800);

/// The identity of this host towards others.
#[derive(Debug)]
pub struct HostIdentity {
    host: HostId,
    authority: Authority,
    versions: VersionRange,
    presented: Arc<PresentedIdentity>,
    /// The reason for which this host no longer takes part in its cluster, once another host has proven it.
    given_up: watch::Sender<Option<String>>,
}

/// The part of the identity that changes when the host enters a cluster.
#[derive(Debug)]
struct PresentedIdentity(ArcSwap<ClusterIdentity>);

#[derive(Debug)]
struct ClusterIdentity {
    cluster: Option<(ClusterId, RecoveryEpoch)>,
    key: Arc<CertifiedKey>,
}

impl HostIdentity {
    /// Makes the identity of a host that belongs to no cluster, or to one that was never recovered.
    pub fn new(host: HostId, cluster: Option<ClusterId>, secret: &[u8]) -> Result<Arc<Self>, TlsError> {
        Self::speaking(host, cluster, secret, VersionRange::SPOKEN)
    }

    /// Makes the identity of a member of a cluster in this recovery epoch.
    pub fn of(host: HostId, cluster: ClusterId, recovery: RecoveryEpoch, secret: &[u8]) -> Result<Arc<Self>, TlsError> {
        let identity = Self::new(host, None, secret)?;
        identity.enter(cluster, recovery)?;
        Ok(identity)
    }

    /// Makes an identity that speaks other versions than this build does.
    pub(super) fn speaking(
        host: HostId,
        cluster: Option<ClusterId>,
        secret: &[u8],
        versions: VersionRange,
    ) -> Result<Arc<Self>, TlsError> {
        let authority = Authority::derive(secret)?;
        let key = Arc::new(authority.mint(host, cluster)?);
        let identity_in_cluster =
            ClusterIdentity { cluster: cluster.map(|cluster| (cluster, RecoveryEpoch::default())), key };
        let presented = Arc::new(PresentedIdentity(ArcSwap::from_pointee(identity_in_cluster)));
        Ok(Arc::new(Self { host, authority, versions, presented, given_up: watch::Sender::new(None) }))
    }

    pub fn host(&self) -> HostId {
        self.host
    }

    pub fn cluster(&self) -> Option<ClusterId> {
        self.presented.0.load().cluster.map(|(cluster, _)| cluster)
    }

    /// Makes the host a member of a cluster from now on. Connections that were made before still carry only group
    /// calls.
    pub fn enter(&self, cluster: ClusterId, recovery: RecoveryEpoch) -> Result<(), TlsError> {
        let key = Arc::new(self.authority.mint(self.host, Some(cluster))?);
        self.presented.0.store(Arc::new(ClusterIdentity { cluster: Some((cluster, recovery)), key }));
        Ok(())
    }

    /// Waits until another host proves that the cluster's metadata group was formed anew without this host. Returns the
    /// reason.
    pub async fn given_up(&self) -> String {
        let mut known = self.given_up.subscribe();
        match known.wait_for(Option::is_some).await.map(|why| why.clone()) {
            Ok(Some(why)) => why,
            _ => std::future::pending().await,
        }
    }

    /// Records a refusal if it proves that the metadata group was formed anew without this host.
    pub(super) fn note(&self, refusal: &Refusal) {
        if matches!(refusal, Refusal::Recovered { before, .. } if *before == self.host) {
            self.given_up.send_replace(Some(refusal.to_string()));
        }
    }

    pub(super) fn greeting(&self, sought: Option<HostId>) -> Greeting {
        let identity_in_cluster = self.presented.0.load().cluster;
        let (cluster, recovery) =
            (identity_in_cluster.map(|(cluster, _)| cluster), identity_in_cluster.map(|(_, recovery)| recovery));
        Greeting { versions: self.versions, cluster, host: self.host, sought, recovery: recovery.unwrap_or_default() }
    }

    pub(super) fn reset_key(&self) -> hmac::Key {
        self.authority.reset_key(self.host)
    }

    pub(super) fn client_config(&self) -> Result<ClientConfig, TlsError> {
        let provider = provider();
        let inner =
            WebPkiServerVerifier::builder_with_provider(self.authority.roots()?, Arc::clone(&provider)).build()?;
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(TimelessServerVerifier(inner)))
            .with_client_cert_resolver(Arc::clone(&self.presented) as Arc<dyn ResolvesClientCert>);
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        config.resumption = Resumption::disabled();
        Ok(config)
    }

    pub(super) fn server_config(&self) -> Result<ServerConfig, TlsError> {
        let provider = provider();
        let inner =
            WebPkiClientVerifier::builder_with_provider(self.authority.roots()?, Arc::clone(&provider)).build()?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&version::TLS13])?
            .with_client_cert_verifier(Arc::new(TimelessClientVerifier(inner)))
            .with_cert_resolver(Arc::clone(&self.presented) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }
}

/// Returns the TLS provider, with AES-128 preferred: it is the fastest, and QUIC itself uses it for initial packets.
fn provider() -> Arc<CryptoProvider> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.cipher_suites.retain(|suite| suite.tls13().is_some());
    provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    Arc::new(provider)
}

impl ResolvesServerCert for PresentedIdentity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.load().key))
    }
}

impl ResolvesClientCert for PresentedIdentity {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.load().key))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Verifies a server's certificate as at `JUDGED_AT` instead of now, so that certificates never expire.
#[derive(Debug)]
struct TimelessServerVerifier(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for TimelessServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let at = UnixTime::since_unix_epoch(JUDGED_AT);
        self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, at)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Verifies a client's certificate as at `JUDGED_AT` instead of now, so that certificates never expire.
#[derive(Debug)]
struct TimelessClientVerifier(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for TimelessClientVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.0.verify_client_cert(end_entity, intermediates, UnixTime::since_unix_epoch(JUDGED_AT))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
