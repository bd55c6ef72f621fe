//! Bounds of handshakes. Above a number of concurrent ones, a server sends Retry packets (RFC 9000, section 8.1.2): a Retry
//! takes no memory, and a caller with a forged address never receives it. An address that is proven so may begin only
//! some handshakes a second, because each takes the time of a signature, whoever the caller is.

use super::counts::{Counts, network_of};
use crate::limits::NET_HANDSHAKES_OF_ADDRESS_MAX;
use s2n_quic::provider::address_token::{self, Provider};
use s2n_quic::provider::endpoint_limits;
use s2n_quic_core::connection::{InitialId, LocalId};
use s2n_quic_core::event::api::SocketAddress;
use s2n_quic_core::token::{Context, Format};
use std::convert::Infallible;
use std::net::IpAddr;
use std::time::Duration;
use tokio::time::Instant;

/// Returns the limit above which callers must prove their addresses.
pub(super) fn limits(concurrent_max: usize) -> Result<endpoint_limits::Default, Infallible> {
    endpoint_limits::Default::builder().with_inflight_handshake_limit(concurrent_max)?.build()
}

/// The provider of the tokens in Retry packets.
#[derive(Debug, Default)]
pub(super) struct RetryTokens(address_token::Default);

impl Provider for RetryTokens {
    type Format = SharedTokens<<address_token::Default as Provider>::Format>;
    type Error = <address_token::Default as Provider>::Error;

    fn start(self) -> Result<Self::Format, Self::Error> {
        Ok(SharedTokens { inner: self.0.start()?, begun: Counts::new(Duration::from_secs(1)) })
    }
}

/// Tokens of which each address may use some a second.
#[derive(Debug)]
pub(super) struct SharedTokens<F> {
    inner: F,
    /// The handshakes that addresses began in this second. Only those that were proven are counted.
    begun: Counts<IpAddr>,
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
        may_begin(&mut self.begun, address, Instant::now()).then_some(validated)
    }
}

/// Returns whether the address may begin another handshake.
fn may_begin(begun: &mut Counts<IpAddr>, address: IpAddr, now: Instant) -> bool {
    begun.add(network_of(address), now) <= NET_HANDSHAKES_OF_ADDRESS_MAX
}

#[cfg(test)]
mod tests {
    use super::{Counts, NET_HANDSHAKES_OF_ADDRESS_MAX, may_begin};
    use std::net::IpAddr;
    use std::time::Duration;
    use tokio::time::Instant;

    #[test]
    fn handshakes_of_one_address_leave_the_share_of_others() {
        let second = Duration::from_secs(1);
        let (mut begun, now) = (Counts::new(second), Instant::now());
        let [flood, host] = [1, 2].map(|last| IpAddr::from([10, 0, 0, last]));
        let may = (0..5000).filter(|_| may_begin(&mut begun, flood, now)).count();
        assert_eq!(may, NET_HANDSHAKES_OF_ADDRESS_MAX);
        assert!(may_begin(&mut begun, host, now), "another address");
        assert!(!may_begin(&mut begun, flood, now) && may_begin(&mut begun, flood, now + second), "the next second");
    }
}
