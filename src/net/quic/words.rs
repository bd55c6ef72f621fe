//! The codes that close connections and streams, and words for the end of a connection.

use s2n_quic::application::Error as Code;
use s2n_quic::connection::Error;
use s2n_quic::provider::event::Location;

/// The codes with which a host ends a stream before its time.
pub(super) const GIVEN_UP: u32 = 1;
pub(super) const MALFORMED: u32 = 2;
pub(super) const TOO_SLOW: u32 = 3;
/// The codes with which a host closes a connection.
pub(super) const NO_MORE_USE: u32 = 16;
pub(super) const REFUSED: u32 = 17;
pub(super) const STOPPING: u32 = 18;
pub(super) const TOO_MANY: u32 = 19;
pub(super) const SILENT: u32 = 20;

/// TLS alerts (RFC 8446, section 6.2) that are about a certificate: 42 to 49, decrypt_error, certificate_required.
fn is_about_certificate(alert: u64) -> bool {
    (42..=49).contains(&alert) || alert == 51 || alert == 116
}

/// Code 0x100 and more carries a TLS alert (RFC 9001, section 4.8).
fn tls_alert(code: u64) -> Option<u64> {
    (0x100..0x200).contains(&code).then(|| code - 0x100)
}

/// Returns whether a connection failed since the two hosts do not trust each other.
pub(super) fn is_distrust(error: &Error) -> bool {
    matches!(error, Error::Transport { code, .. } if tls_alert(code.as_u64()).is_some_and(is_about_certificate))
}

/// Returns the end of a connection to the other host, in words about it.
pub(super) fn words(error: &Error) -> String {
    match error {
        Error::Transport { initiator, .. } if is_distrust(error) => match initiator {
            Location::Remote => "it does not accept this host's certificate: the cluster secret differs".to_owned(),
            _ => "its certificate is not made from this host's secret: the cluster secret differs".to_owned(),
        },
        // A host tells others no more than that (s2n-quic sends no other alert).
        Error::Transport { code, initiator: Location::Remote, .. } if tls_alert(code.as_u64()) == Some(40) => {
            "it refused the handshake, as a host does when the cluster secret differs".to_owned()
        }
        Error::Transport { code, reason, .. } if tls_alert(code.as_u64()).is_some() => {
            format!("TLS failed with alert {}: {reason}", code.as_u64() - 0x100)
        }
        Error::Application { error, initiator, .. } => match initiator {
            Location::Remote => format!("it closed the connection: {}", reason(*error)),
            _ => format!("this host closed the connection: {}", reason(*error)),
        },
        Error::StatelessReset { .. } => "it was restarted and does not know the connection any more".to_owned(),
        Error::IdleTimerExpired { .. } => "nothing has come from it for too long".to_owned(),
        Error::MaxHandshakeDurationExceeded { .. } => "it did not answer the handshake in time".to_owned(),
        Error::EndpointClosing { .. } => "this host is stopping".to_owned(),
        other => other.to_string(),
    }
}

fn reason(code: Code) -> String {
    match u32::try_from(*code).unwrap_or(u32::MAX) {
        NO_MORE_USE => "it is of no more use".to_owned(),
        REFUSED => "the greeting was refused".to_owned(),
        STOPPING => "the host is stopping".to_owned(),
        TOO_MANY => "the host has as many connections as it takes".to_owned(),
        SILENT => "a request went unanswered".to_owned(),
        other => format!("code {other}"),
    }
}
