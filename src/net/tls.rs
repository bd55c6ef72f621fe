//! Mutual authentication of hosts by the cluster's secret. Every host derives the same certificate authority from the
//! secret: an Ed25519 key by HKDF-SHA256, and a name with the key's fingerprint. With it the host signs a certificate
//! for itself, whose key is new at each start. Both sides of a connection must present a certificate that the authority
//! signed.
//!
//! The authority's key and name depend on the secret alone, and its own certificate is never sent. Nothing depends on
//! the clock: certificates are valid as long as the secret, so they are verified at a fixed time. Anyone who can reach
//! the port receives a certificate that is derived from the secret, and can guess a short secret offline.

use crate::types::{ClusterId, HostId};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use aws_lc_rs::hmac;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ED25519,
};
use rustls::RootCertStore;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use std::sync::Arc;

const SALT: &[u8] = b"sherd cluster secret, version 1";
/// The beginning of a PKCS#8 document with an Ed25519 seed and no public key (RFC 8410, section 7); the seed follows.
const ED25519_PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
/// The length below which a secret is refused, as it can be guessed.
const SECRET_BYTES_MIN: usize = 16;
/// The name in every host's certificate, which a caller requests in the handshake.
pub(super) const MEMBER_NAME: &str = "member.sherd";

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("the cluster secret has {found} bytes, and so can be guessed; use at least {SECRET_BYTES_MIN}")]
    SecretTooShort { found: usize },
    #[error("this host's certificate for the cluster cannot be made: {0}")]
    Certificate(#[from] rcgen::Error),
    #[error("TLS between hosts cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
    #[error("TLS between hosts cannot be set up: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// The certificate authority that is derived from the secret.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    resets: [u8; 32],
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority")
    }
}

impl Authority {
    pub(super) fn derive(secret: &[u8]) -> Result<Self, TlsError> {
        if secret.len() < SECRET_BYTES_MIN {
            return Err(TlsError::SecretTooShort { found: secret.len() });
        }
        let root = Salt::new(HKDF_SHA256, SALT).extract(secret);
        let key = ed25519(&expand(&root, b"certificate authority"))?;
        let fingerprint = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.public_key_raw());
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        // The authority of another secret has another name, so that its certificates fail with "unknown issuer", not
        // with a bad signature.
        let name = format!("Sherd cluster {}", hex(&fingerprint.as_ref()[..16]));
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = params.self_signed(&key)?.der().clone();
        Ok(Self { issuer: Issuer::new(params, key), certificate, resets: expand(&root, b"stateless reset") })
    }

    /// Makes a certificate for a host, with a new key.
    pub(super) fn mint(&self, host: HostId, cluster: Option<ClusterId>) -> Result<CertifiedKey, TlsError> {
        let key = KeyPair::generate_for(&PKCS_ED25519)?;
        let mut names = vec![MEMBER_NAME.to_owned(), host_name(host)];
        names.extend(cluster.map(|cluster| format!("cluster-{cluster}.sherd")));
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, host_name(host));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.issuer)?.der().clone();
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let signer = rustls::crypto::aws_lc_rs::sign::any_supported_type(&private)?;
        Ok(CertifiedKey::new(vec![certificate], signer))
    }

    pub(super) fn roots(&self) -> Result<Arc<RootCertStore>, TlsError> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone())?;
        Ok(Arc::new(roots))
    }

    /// Returns the key of a host's stateless reset tokens, by which it tells peers after a restart that it does not
    /// know a connection.
    pub(super) fn reset_key(&self, host: HostId) -> hmac::Key {
        let of_host = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.resets), &host.0.to_be_bytes());
        hmac::Key::new(hmac::HMAC_SHA256, of_host.as_ref())
    }
}

/// Returns whether a certificate, which must be verified already, belongs to this host.
pub(super) fn is_of_host(certificate: &[u8], host: HostId) -> bool {
    let certificate = CertificateDer::from(certificate);
    let Ok(certificate) = webpki::EndEntityCert::try_from(&certificate) else { return false };
    let Ok(name) = ServerName::try_from(host_name(host)) else { return false };
    certificate.verify_is_valid_for_subject_name(&name).is_ok()
}

fn host_name(host: HostId) -> String {
    format!("host-{:016x}.sherd", host.0)
}

fn ed25519(seed: &[u8; 32]) -> Result<KeyPair, TlsError> {
    let document = [ED25519_PKCS8_PREFIX.as_slice(), seed].concat();
    Ok(KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(document), &PKCS_ED25519)?)
}

fn expand(root: &Prk, purpose: &[u8]) -> [u8; 32] {
    let mut key = [0; 32];
    debug_assert_eq!(HKDF_SHA256.len(), key.len());
    let filled = root.expand(&[purpose], HKDF_SHA256).and_then(|derived| derived.fill(&mut key));
    filled.expect("HKDF gives as many bytes as its hash has");
    key
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::{Authority, TlsError, is_of_host};
    use crate::types::{ClusterId, HostId};

    const SECRET: &[u8] = b"a secret of sufficient length";

    #[test]
    fn hosts_with_the_same_secret_derive_the_same_authority() {
        let one = Authority::derive(SECRET).expect("derived");
        let other = Authority::derive(SECRET).expect("derived");
        // A certificate is verified against the subject and the key of the authority.
        assert_eq!(one.roots().expect("roots").roots[0].subject, other.roots().expect("roots").roots[0].subject);
        let key = |authority: &Authority| authority.roots().expect("roots").roots[0].subject_public_key_info.clone();
        assert_eq!(key(&one), key(&other));
        let stranger = Authority::derive(b"another secret of such length").expect("derived");
        assert_ne!(key(&one), key(&stranger));
    }

    #[test]
    fn a_certificate_names_its_host_and_no_other() {
        let authority = Authority::derive(SECRET).expect("derived");
        let minted = authority.mint(HostId(7), Some(ClusterId(1))).expect("minted");
        assert!(is_of_host(&minted.cert[0], HostId(7)));
        assert!(!is_of_host(&minted.cert[0], HostId(8)));
        assert!(!is_of_host(b"garbage", HostId(7)));
    }

    #[test]
    fn a_short_secret_is_refused() {
        assert!(matches!(Authority::derive(b"short"), Err(TlsError::SecretTooShort { found: 5 })));
    }
}
