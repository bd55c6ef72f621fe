//! TLS of the listeners: their certificates, warnings before these expire, and the TLS version of connections.

mod certificate;
mod files;
mod validity;

pub use certificate::Certificate;
pub use files::{NamedFile, TlsError, TlsFiles};
pub use validity::Validity;

use crate::ambient::Clock;
use crate::api::call::TlsVersion;
use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::dev::Extensions;
use actix_web::rt::net::TcpStream;
use rustls::ProtocolVersion;
use std::any::Any;
use std::sync::Arc;
use time::OffsetDateTime;

const DAY_SECONDS: i64 = 24 * 60 * 60;
/// The days before its end from which health reports a certificate of files. The alert `SherdCertificateEnds` has the
/// same threshold.
const ENDS_SOON_DAYS: i64 = 14;

/// Stores the TLS version of a connection for its requests.
pub fn note_version(connection: &dyn Any, data: &mut Extensions) {
    let version = connection.downcast_ref::<TlsStream<TcpStream>>().and_then(|tls| tls.get_ref().1.protocol_version());
    match version {
        Some(ProtocolVersion::TLSv1_2) => drop(data.insert(TlsVersion("1.2"))),
        Some(ProtocolVersion::TLSv1_3) => drop(data.insert(TlsVersion("1.3"))),
        _ => {}
    }
}

/// The certificates of all listeners with TLS.
#[derive(Clone, Debug)]
pub struct Certificates {
    all: Arc<[Arc<Certificate>]>,
    clock: Arc<dyn Clock>,
}

impl Certificates {
    pub fn new(all: impl IntoIterator<Item = Arc<Certificate>>, clock: Arc<dyn Clock>) -> Self {
        Self { all: all.into_iter().collect(), clock }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Certificate>> {
        self.all.iter()
    }

    /// Returns the certificates that are read from files, without those that are ordered by ACME.
    pub fn of_files(&self) -> Self {
        Self::new(self.iter().filter(|one| one.is_of_files()).cloned(), Arc::clone(&self.clock))
    }

    /// Returns a line for each certificate that has ended or is not valid yet, whose files have to be replaced soon, or
    /// that should have been renewed by ACME and could not be.
    pub fn warnings(&self) -> Vec<String> {
        let now = i64::try_from(self.clock.unix_ms().0 / 1000).unwrap_or(i64::MAX);
        self.iter().filter_map(|one| warning(one, now)).collect()
    }
}

fn warning(certificate: &Certificate, now: i64) -> Option<String> {
    let (listener, setting) = (certificate.listener, certificate.setting());
    let Some(validity) = certificate.validity() else {
        return Some(format!(
            "the {listener} listener has no certificate yet ({setting}) and refuses connections: the log says why"
        ));
    };
    validity_warning((listener, setting), validity, now, certificate.failed_orders())
}

/// Returns the line for a certificate. `failed_orders`: the number of those by ACME; `None` for a certificate of files.
fn validity_warning(
    (listener, setting): (&str, &str),
    validity: Validity,
    now: i64,
    failed_orders: Option<u32>,
) -> Option<String> {
    let Validity { begins_at, ends_at } = validity;
    let remedy = match failed_orders {
        None => "replace its files",
        Some(_) => "the log says why it is not renewed",
    };
    let date =
        |at: i64| OffsetDateTime::from_unix_timestamp(at).map_or_else(|_| at.to_string(), |at| at.date().to_string());
    if begins_at > now {
        let at = date(begins_at);
        return Some(format!(
            "the certificate of the {listener} listener ({setting}) is valid only from {at} on, and clients refuse it \
             until then: {remedy}, or set this host's clock"
        ));
    }
    let left = ends_at.saturating_sub(now);
    let is_reported = match failed_orders {
        None => left <= ENDS_SOON_DAYS * DAY_SECONDS,
        // Its whole life may be shorter than that, so only a renewal that fails is worth a line.
        Some(failed) => left < 0 || (failed > 0 && now >= validity.renewal_at()),
    };
    if !is_reported {
        return None;
    }
    let at = date(ends_at);
    let when = match left {
        ..0 => format!("ended on {at}"),
        0..DAY_SECONDS => format!("ends within a day, on {at}"),
        _ => format!("ends in {} days, on {at}", left / DAY_SECONDS),
    };
    Some(format!("the certificate of the {listener} listener ({setting}) {when}: {remedy}"))
}

#[cfg(test)]
mod tests {
    use super::{DAY_SECONDS, Validity, validity_warning};

    #[test]
    fn a_certificate_that_ends_within_14_days_or_is_not_valid_yet_is_reported() {
        let named = ("s3", "SHERD_TLS_CERT");
        let validity = Validity { begins_at: 1_800_000_000, ends_at: 1_900_000_000 };
        let at = |left: i64| validity_warning(named, validity, 1_900_000_000 - left, None);
        assert_eq!(at(14 * DAY_SECONDS + 1), None);
        let words = |left: i64| at(left).expect("a warning");
        assert_eq!(
            words(14 * DAY_SECONDS),
            "the certificate of the s3 listener (SHERD_TLS_CERT) ends in 14 days, on 2030-03-17: replace its files"
        );
        assert!(words(DAY_SECONDS - 1).contains("ends within a day, on 2030-03-17"));
        assert!(words(-1).contains("ended on 2030-03-17"));
        assert_eq!(at(100_000_000), None);
        assert!(words(100_000_001).contains("is valid only from 2027-01-15 on"));
    }

    #[test]
    fn a_certificate_by_acme_is_reported_if_its_renewal_fails_or_it_has_ended() {
        let named = ("s3", "SHERD_ACME_DOMAINS");
        let short = Validity { begins_at: 1_900_000_000 - 6 * DAY_SECONDS, ends_at: 1_900_000_000 };
        let at = |left: i64, failed| validity_warning(named, short, 1_900_000_000 - left, Some(failed));
        assert_eq!((at(6 * DAY_SECONDS, 0), at(DAY_SECONDS, 0), at(0, 0)), (None, None, None), "it is renewed in time");
        assert_eq!(at(2 * DAY_SECONDS + 1, 9), None, "the renewal is not due");
        assert_eq!(
            at(2 * DAY_SECONDS, 1).expect("a warning"),
            "the certificate of the s3 listener (SHERD_ACME_DOMAINS) ends in 2 days, on 2030-03-17: the log says why \
             it is not renewed"
        );
        assert!(at(-1, 0).expect("a warning").contains("ended on 2030-03-17"));
    }
}
