//! Loading of a certificate chain and its private key from two PEM files that settings name.

use super::validity::{Validity, validity};
use crate::setting_file::SettingFiles;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// A file, with the setting that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFile {
    pub setting: &'static str,
    pub path: PathBuf,
}

impl fmt::Display for NamedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}", self.setting, self.path)
    }
}

/// The files of one listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    pub cert: NamedFile,
    pub key: NamedFile,
}

/// The reason why a certificate cannot be used, with the setting and the file.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{file} cannot be read: {cause}")]
    Unreadable { file: NamedFile, cause: io::Error },
    #[error("{file} is not PEM: {cause}")]
    Pem { file: NamedFile, cause: rustls_pki_types::pem::Error },
    #[error("{file} holds no certificate; expected PEM")]
    NoCertificate { file: NamedFile },
    #[error("{file} holds no private key; expected PEM without a passphrase")]
    NoKey { file: NamedFile },
    #[error("{file} cannot be used: {cause}")]
    Unusable { file: NamedFile, cause: Error },
    #[error("{key} is not the private key of the certificate in {cert}")]
    NoPair { cert: NamedFile, key: NamedFile },
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] Error),
}

/// A hash of both files: equal if neither has changed.
pub type Fingerprint = [u8; 32];

/// The bytes of both files, as they were read.
pub struct Contents<'a> {
    files: &'a TlsFiles,
    cert: Vec<u8>,
    key: Vec<u8>,
}

/// A certificate with its matching private key.
#[derive(Debug)]
pub struct Pair {
    pub key: Arc<CertifiedKey>,
    pub validity: Validity,
    pub fingerprint: Fingerprint,
}

impl TlsFiles {
    pub fn read(&self, reader: &SettingFiles) -> Result<Contents<'_>, TlsError> {
        let read = |file: &NamedFile| {
            reader.read(&file.path).map_err(|cause| TlsError::Unreadable { file: file.clone(), cause })
        };
        Ok(self.wrap_pem(read(&self.cert)?, read(&self.key)?))
    }

    /// Wraps PEM, which need not come from these files: an ACME server's does not. Errors name the files all the same.
    pub fn wrap_pem(&self, cert: Vec<u8>, key: Vec<u8>) -> Contents<'_> {
        Contents { files: self, cert, key }
    }
}

impl Contents<'_> {
    pub fn fingerprint(&self) -> Fingerprint {
        let length = (self.cert.len() as u64).to_be_bytes();
        Sha256::new().chain_update(length).chain_update(&self.cert).chain_update(&self.key).finalize().into()
    }

    pub fn parse(&self) -> Result<Pair, TlsError> {
        let TlsFiles { cert, key } = self.files;
        let chain = self.chain()?;
        let unusable = |file: &NamedFile| {
            let file = file.clone();
            move |cause| TlsError::Unusable { file, cause }
        };
        let validity = chain.first().and_then(|leaf| validity(leaf));
        let malformed = || unusable(cert)(Error::InvalidCertificate(rustls::CertificateError::BadEncoding));
        let validity = validity.ok_or_else(malformed)?;
        let private = default_provider().key_provider.load_private_key(self.private_key()?).map_err(unusable(key))?;
        let certified = CertifiedKey::new(chain, private);
        match certified.keys_match() {
            // A key whose public half is not available cannot be compared, and is accepted.
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {
                Ok(Pair { key: Arc::new(certified), validity, fingerprint: self.fingerprint() })
            }
            Err(Error::InconsistentKeys(_)) => Err(TlsError::NoPair { cert: cert.clone(), key: key.clone() }),
            Err(cause) => Err(unusable(cert)(cause)),
        }
    }

    fn chain(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let file = &self.files.cert;
        let chain = CertificateDer::pem_slice_iter(&self.cert).collect::<Result<Vec<_>, _>>();
        match chain {
            Ok(chain) if chain.is_empty() => Err(TlsError::NoCertificate { file: file.clone() }),
            Ok(chain) => Ok(chain),
            Err(cause) => Err(TlsError::Pem { file: file.clone(), cause }),
        }
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        let file = self.files.key.clone();
        PrivateKeyDer::from_pem_slice(&self.key).map_err(|cause| match cause {
            rustls_pki_types::pem::Error::NoItemsFound => TlsError::NoKey { file },
            cause => TlsError::Pem { file, cause },
        })
    }
}
