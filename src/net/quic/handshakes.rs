//! Bounds of handshakes. Above a number of them, under way or begun in one second, a server sends Retry packets (RFC
//! 9000, section 8.1.2): a Retry takes no memory and no signature, and a caller with a forged address never receives
//! it. An address that is proven so may begin only some handshakes a second, because each takes the time of a
//! signature, whoever the caller is.

use super::counts::{Counts, network_of, site_of};
use crate::limits::{NET_HANDSHAKES_OF_ADDRESS_MAX, NET_HANDSHAKES_OF_SITE_MAX};
use s2n_quic::provider::address_token::{self, Provider};
use s2n_quic::provider::endpoint_limits::{self, ConnectionAttempt, Limiter, Outcome};
use s2n_quic_core::connection::{InitialId, LocalId};
use s2n_quic_core::event::api::SocketAddress;
use s2n_quic_core::token::{Context, Format};
use std::convert::Infallible;
use std::net::IpAddr;
use std::time::Duration;
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

/// Returns the limits above which callers must prove their addresses: `unproven_max` handshakes under way, and as many
/// begun in a second without a proof.
pub(super) fn limits(unproven_max: usize) -> Result<HandshakeLimits, Infallible> {
    let under_way = endpoint_limits::Default::builder().with_inflight_handshake_limit(unproven_max)?.build()?;
    Ok(HandshakeLimits { under_way, begun: Counts::new(SECOND), unproven_max })
}

/// Decides about each handshake whose caller sent no token. Those with a token are decided by `SharedTokens` alone.
///
/// The handshakes under way are not enough to count: s2n-quic counts one only after it has processed the caller's first
/// datagram, which costs a signature. A handshake that its caller closes in the same datagram is never counted.
#[derive(Debug)]
pub(super) struct HandshakeLimits {
    /// Bounds the handshakes under way, and drops datagrams that seem to be reflected.
    under_way: endpoint_limits::Default,
    /// The handshakes that were begun without a token in this second.
    begun: Counts<()>,
    unproven_max: usize,
}

impl HandshakeLimits {
    fn decide(&mut self, attempt: &ConnectionAttempt<'_>, now: Instant) -> Outcome {
        let outcome = self.under_way.on_connection_attempt(attempt);
        if outcome == Outcome::allow() && self.begun.add((), now) > self.unproven_max {
            return Outcome::retry();
        }
        outcome
    }
}

impl Limiter for HandshakeLimits {
    fn on_connection_attempt(&mut self, attempt: &ConnectionAttempt<'_>) -> Outcome {
        self.decide(attempt, Instant::now())
    }
}

/// The provider of the tokens in Retry packets.
#[derive(Debug, Default)]
pub(super) struct RetryTokens(address_token::Default);

impl Provider for RetryTokens {
    type Format = SharedTokens<<address_token::Default as Provider>::Format>;
    type Error = <address_token::Default as Provider>::Error;

    fn start(self) -> Result<Self::Format, Self::Error> {
        Ok(SharedTokens { inner: self.0.start()?, begun: Begun::default() })
    }
}

/// Tokens of which each address may use some a second.
#[derive(Debug)]
pub(super) struct SharedTokens<F> {
    inner: F,
    begun: Begun,
}

impl<F: Format> Format for SharedTokens<F> {
    const TOKEN_LEN: usize = F::TOKEN_LEN;

    fn generate_new_token(&mut self, context: &mut Context<'_>, source: &LocalId, token: &mut [u8]) -> Option<()> {
        self.inner.generate_new_token(context, source, token)
    }

    fn generate_retry_token(
        &mut self,
        context: &mut Context<'_>,
        destination: &InitialId,
        token: &mut [u8],
    ) -> Option<()> {
        self.inner.generate_retry_token(context, destination, token)
    }

    fn validate_token(&mut self, context: &mut Context<'_>, token: &[u8]) -> Option<InitialId> {
        let validated = self.inner.validate_token(context, token)?;
        let address = match context.remote_address {
            SocketAddress::IpV4 { ip, .. } => IpAddr::from(*ip),
            SocketAddress::IpV6 { ip, .. } => IpAddr::from(*ip),
            _ => return None,
        };
        self.begun.may_begin(address, Instant::now()).then_some(validated)
    }
}

/// The handshakes that proven addresses began in this second.
#[derive(Debug)]
struct Begun {
    by_network: Counts<IpAddr>,
    by_site: Counts<IpAddr>,
}

impl Default for Begun {
    fn default() -> Self {
        Self { by_network: Counts::new(SECOND), by_site: Counts::new(SECOND) }
    }
}

impl Begun {
    /// Returns whether the address may begin another handshake. A network that has used up its share does not use up
    /// that of its site.
    fn may_begin(&mut self, address: IpAddr, now: Instant) -> bool {
        let of_network = self.by_network.add(network_of(address), now);
        of_network <= NET_HANDSHAKES_OF_ADDRESS_MAX
            && site_of(address).is_none_or(|site| self.by_site.add(site, now) <= NET_HANDSHAKES_OF_SITE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::{Begun, NET_HANDSHAKES_OF_ADDRESS_MAX, NET_HANDSHAKES_OF_SITE_MAX, SECOND, limits};
    use s2n_quic::provider::endpoint_limits::{ConnectionAttempt, Outcome};
    use s2n_quic_core::event::IntoEvent;
    use s2n_quic_core::inet;
    use s2n_quic_core::time::{Clock, NoopClock};
    use std::net::{IpAddr, Ipv6Addr, SocketAddr};
    use tokio::time::Instant;

    /// Handshakes that are closed in the datagram that begins them are never under way.
    #[test]
    fn handshakes_that_never_count_as_under_way_need_a_proof_beyond_a_number_a_second() {
        let mut limits = limits(64).expect("infallible");
        let from = |port| inet::SocketAddress::from(SocketAddr::from(([10, 0, 0, 1], port)));
        let mut decide = |port: u16, under_way: usize, now: Instant| {
            let address = from(port);
            let attempt = ConnectionAttempt::new(under_way, 0, &address, NoopClock.get_time().into_event());
            limits.decide(&attempt, now)
        };
        let now = Instant::now();
        assert_eq!(decide(53, 0, now), Outcome::drop(), "a reflected datagram");
        assert_eq!(decide(40_000, 64, now), Outcome::retry(), "too many are under way");
        let decided: Vec<Outcome> = (0..1000).map(|at| decide(20_000 + at, 0, now)).collect();
        assert!(decided[..64].iter().all(|outcome| *outcome == Outcome::allow()));
        assert!(decided[64..].iter().all(|outcome| *outcome == Outcome::retry()));
        assert_eq!(decide(40_000, 0, now + SECOND), Outcome::allow(), "the next second");
    }

    #[test]
    fn handshakes_of_one_address_leave_the_share_of_others() {
        let (mut begun, now) = (Begun::default(), Instant::now());
        let [flood, host] = [1, 2].map(|last| IpAddr::from([10, 0, 0, last]));
        let may = (0..5000).filter(|_| begun.may_begin(flood, now)).count();
        assert_eq!(may, NET_HANDSHAKES_OF_ADDRESS_MAX);
        assert!(begun.may_begin(host, now), "another address");
        assert!(!begun.may_begin(flood, now) && begun.may_begin(flood, now + SECOND), "the next second");
    }

    #[test]
    fn handshakes_from_many_networks_of_one_site_leave_the_share_of_others() {
        let (mut begun, now) = (Begun::default(), Instant::now());
        let address = |site: u16, network: u16| IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, site, network, 0, 0, 0, 1));
        let of_one_network = (0..5000).filter(|_| begun.may_begin(address(1, 0), now)).count();
        assert_eq!(of_one_network, NET_HANDSHAKES_OF_ADDRESS_MAX);
        let of_others = (1..1000).filter(|network| begun.may_begin(address(1, *network), now)).count();
        assert_eq!(of_one_network + of_others, NET_HANDSHAKES_OF_SITE_MAX);
        assert!(begun.may_begin(address(2, 0), now), "another site");
    }
}
