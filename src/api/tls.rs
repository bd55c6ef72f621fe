//! The S3 listener's certificate and key, from PEM files.

use crate::api::call::TlsVersion;
use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::dev::Extensions;
use actix_web::rt::net::TcpStream;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{ProtocolVersion, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Tells the requests of a connection which version of TLS it has.
pub fn note_version(connection: &dyn Any, data: &mut Extensions) {
    let version = connection.downcast_ref::<TlsStream<TcpStream>>().and_then(|tls| tls.get_ref().1.protocol_version());
    match version {
        Some(ProtocolVersion::TLSv1_2) => drop(data.insert(TlsVersion("1.2"))),
        Some(ProtocolVersion::TLSv1_3) => drop(data.insert(TlsVersion("1.3"))),
        _ => {}
    }
}

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{path}: not PEM that can be read: {cause}")]
    Pem { path: PathBuf, cause: rustls_pki_types::pem::Error },
    #[error("{path}: holds no certificate")]
    NoCertificate { path: PathBuf },
    #[error("the certificate and the key cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
}

/// Reads both files, and fails where they are not a pair.
pub fn server_config(cert: &Path, key: &Path) -> Result<ServerConfig, TlsError> {
    let pem = |path: &Path| {
        let path = path.to_owned();
        move |cause| TlsError::Pem { path, cause }
    };
    let chain = CertificateDer::pem_file_iter(cert).map_err(pem(cert))?;
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(pem(cert))?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate { path: cert.to_owned() });
    }
    let key = PrivateKeyDer::from_pem_file(key).map_err(pem(key))?;
    Ok(ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?)
}

#[cfg(test)]
mod tests {
    use super::{TlsError, server_config};
    use std::fs::write;

    #[test]
    fn files_that_are_no_certificate_are_named_in_the_error() {
        let dir = tempfile::tempdir().expect("a directory");
        let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
        assert!(matches!(server_config(&cert, &key), Err(TlsError::Pem { path, .. }) if path == cert));
        write(&cert, "no certificate here").expect("written");
        assert!(matches!(server_config(&cert, &key), Err(TlsError::NoCertificate { path }) if path == cert));
    }
}
