//! Certificates of the S3 listener by ACME (RFC 8555): the names, the account's contact, and the server.

use super::{ConfigError, FileReader, Pairs, readable, settings};
use std::path::PathBuf;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcmeConfig {
    /// The names of the certificate; at least one.
    pub domains: Vec<String>,
    /// The contact of the account: a `mailto:` URL.
    pub contact: String,
    /// The URL of the server's directory.
    pub directory: String,
    /// A PEM file of the authorities trusted for the ACME server's own certificate; if there is none, the system's.
    pub ca_file: Option<PathBuf>,
}

/// Resolves the settings: domains and contact, both or neither, and neither beside the files of a certificate.
pub(super) fn resolve(pairs: &Pairs, files: &dyn FileReader) -> Result<Option<AcmeConfig>, ConfigError> {
    let owned = str::to_owned;
    let incomplete = |given: &str, wanted: &str| ConfigError::Incomplete { given: owned(given), wanted: owned(wanted) };
    let given = |name: &&&'static str| pairs.get(name).is_some();
    match (pairs.get(settings::ACME_DOMAINS), pairs.get(settings::ACME_CONTACT)) {
        (None, None) => {
            let alone = [&settings::ACME_DIRECTORY, &settings::ACME_CA_FILE].into_iter().find(given);
            return alone.map_or(Ok(None), |alone| Err(incomplete(alone, settings::ACME_DOMAINS)));
        }
        (Some(_), None) => return Err(incomplete(settings::ACME_DOMAINS, settings::ACME_CONTACT)),
        (None, Some(_)) => return Err(incomplete(settings::ACME_CONTACT, settings::ACME_DOMAINS)),
        (Some(_), Some(_)) => {}
    }
    if let Some(file) = [&settings::TLS_CERT, &settings::TLS_KEY].into_iter().find(given) {
        return Err(ConfigError::Both { first: owned(settings::ACME_DOMAINS), second: owned(file) });
    }
    Ok(Some(AcmeConfig {
        domains: pairs.value(settings::ACME_DOMAINS, super::values::acme_domains)?,
        contact: pairs.value(settings::ACME_CONTACT, super::values::acme_contact)?,
        directory: pairs.value(settings::ACME_DIRECTORY, super::values::acme_directory)?,
        ca_file: readable(pairs, files, settings::ACME_CA_FILE)?,
    }))
}
