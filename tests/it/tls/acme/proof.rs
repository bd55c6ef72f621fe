//! The proof of a name by tls-alpn-01 (RFC 8737, section 3), as an ACME server makes it: a handshake for that name and that
//! protocol, whose certificate is for that name alone and has the hash of the key authorization.

use super::server::point_in;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use base64_simd::URL_SAFE_NO_PAD;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

const PROTOCOL: &[u8] = b"acme-tls/1";
/// The extension id-pe-acmeIdentifier, critical, up to its 32 bytes.
const ACME_IDENTIFIER: &[u8] =
    &[0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x01, 0x1f, 0x01, 0x01, 0xff, 0x04, 0x22, 0x04, 0x20];

/// The key authorization of a token (RFC 8555, section 8.1) with an account's key, whose thumbprint is that of RFC 7638.
pub fn authorization(token: &str, key: &[u8; 65]) -> String {
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode_to_string(bytes);
    let (x, y) = (encode(&key[1..33]), encode(&key[33..]));
    let jwk = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    format!("{token}.{}", encode(digest(&SHA256, jwk.as_bytes()).as_ref()))
}

pub fn check(listener: SocketAddr, name: &str, authorization: &str) -> Result<(), String> {
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let config = config.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    let config = config.dangerous().with_custom_certificate_verifier(Arc::new(SelfSigned));
    let mut config = config.with_no_client_auth();
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    let of_name = ServerName::try_from(name.to_owned()).map_err(|error| error.to_string())?;
    let mut connection = ClientConnection::new(Arc::new(config), of_name).map_err(|error| error.to_string())?;
    let mut tcp = TcpStream::connect(listener).map_err(|error| error.to_string())?;
    tcp.set_read_timeout(Some(Duration::from_secs(30))).map_err(|error| error.to_string())?;
    while connection.is_handshaking() {
        connection.complete_io(&mut tcp).map_err(|error| error.to_string())?;
    }
    if connection.alpn_protocol() != Some(PROTOCOL) {
        return Err("the protocol is another one".to_owned());
    }
    let shown = connection.peer_certificates().and_then(<[_]>::first).ok_or("no certificate")?;
    let hash = digest(&SHA256, authorization.as_bytes());
    if !holds(shown, &[ACME_IDENTIFIER, hash.as_ref()].concat()) {
        return Err("another hash".to_owned());
    }
    // The extension subjectAltName with this one name.
    let length = name.len() as u8;
    let head = [0x06, 0x03, 0x55, 0x1d, 0x11, 0x04, length + 4, 0x30, length + 2, 0x82, length];
    if !holds(shown, &[head.as_slice(), name.as_bytes()].concat()) {
        return Err("another name".to_owned());
    }
    Ok(())
}

pub fn holds(whole: &[u8], part: &[u8]) -> bool {
    whole.windows(part.len()).any(|window| window == part)
}

/// Verifies that the handshake was signed by the certificate's key, and nothing else of the certificate.
#[derive(Debug)]
struct SelfSigned;

impl SelfSigned {
    fn verify(message: &[u8], shown: &[u8], signed: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, Error> {
        let bad = || Error::InvalidCertificate(CertificateError::BadSignature);
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point_in(shown).ok_or_else(bad)?);
        key.verify(message, signed.signature()).map_err(|_| bad())?;
        Ok(HandshakeSignatureValid::assertion())
    }
}

impl ServerCertVerifier for SelfSigned {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::verify(message, shown, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::verify(message, shown, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
