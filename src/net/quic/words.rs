//! The error codes with which connections and streams are closed, and the description of a connection's end.

use s2n_quic::application::Error as Code;
use s2n_quic::connection::Error;
use s2n_quic::provider::event::Location;

/// The codes with which a host resets a stream.
pub(super) const GIVEN_UP: u32 = 1;
pub(super) const MALFORMED: u32 = 2;
pub(super) const TOO_SLOW: u32 = 3;
/// The codes with which a host closes a connection.
pub(super) const NO_MORE_USE: u32 = 16;
pub(super) const REFUSED: u32 = 17;
pub(super) const STOPPING: u32 = 18;
pub(super) const TOO_MANY: u32 = 19;
pub(super) const SILENT: u32 = 20;

/// Returns whether a TLS alert (RFC 8446, section 6.2) concerns a certificate: 42 to 49, 51 (decrypt_error) or 116
/// (certificate_required).
fn is_about_certificate(alert: u64) -> bool {
    (42..=49).contains(&alert) || alert == 51 || alert == 116
}

/// Returns the TLS alert in a QUIC error code: those from 0x100 to 0x1ff have one (RFC 9001, section 4.8).
fn tls_alert(code: u64) -> Option<u64> {
    (0x100..0x200).contains(&code).then(|| code - 0x100)
}

/// Returns whether a connection failed because the hosts do not accept each other's certificates.
pub(super) fn is_distrust(error: &Error) -> bool {
    matches!(error, Error::Transport { code, .. } if tls_alert(code.as_u64()).is_some_and(is_about_certificate))
}

/// Describes the end of a connection; "it" is the other host.
pub(super) fn words(error: &Error) -> String {
    match error {
        Error::Transport { initiator, .. } if is_distrust(error) => match initiator {
            Location::Remote => "it does not accept this host's certificate: the cluster secret differs".to_owned(),
            _ => "its certificate is not made from this host's secret: the cluster secret differs".to_owned(),
        },
        // A server sends no other alert than 40 (handshake_failure), whatever the reason: s2n-quic hides it.
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
        NO_MORE_USE => "it is no longer needed".to_owned(),
        REFUSED => "the greeting was refused".to_owned(),
        STOPPING => "the host is stopping".to_owned(),
        TOO_MANY => "the host has reached its limit of connections".to_owned(),
        SILENT => "a request went unanswered".to_owned(),
        other => format!("code {other}"),
    }
}
