//! The sockets and certificates of the listeners. They are claimed before the store is opened, so that a process that
//! cannot have them ends before it touches a drive.

use crate::ambient::Clock;
use crate::api::tls::{Certificate, Certificates, TlsError, TlsFiles};
use socket2::{Domain, SockRef, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

/// The longest time for which a client may leave sent bytes unacknowledged, or its window shut.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(120);
/// The most connections that the kernel queues until they are accepted.
const BACKLOG: i32 = 1024;

const S3_LISTEN: &str = "SHERD_S3_LISTEN";
const ADMIN_LISTEN: &str = "SHERD_ADMIN_LISTEN";

/// The source of the certificate of each listener; a listener with `None` serves plain HTTP.
#[derive(Clone, Debug, Default)]
pub struct ListenerTls {
    pub s3: Option<CertificateSource>,
    pub admin: Option<TlsFiles>,
}

/// Where the S3 listener's certificate comes from.
#[derive(Clone, Debug)]
pub enum CertificateSource {
    Files(TlsFiles),
    /// An ACME server. Errors name these settings and files.
    Acme(TlsFiles),
}

#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    #[error("cannot listen on {} ({setting}): {cause}", shown(address))]
    Listen { setting: &'static str, address: SocketAddr, cause: io::Error },
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Returns an address for a message: without a port if any was asked for.
fn shown(address: &SocketAddr) -> String {
    match address.port() {
        0 => address.ip().to_string(),
        _ => address.to_string(),
    }
}

/// The bound sockets of the listeners, and their certificates.
#[derive(Debug)]
pub struct Endpoints {
    /// `None` if S3 is not served.
    pub(super) s3: Option<Claimed>,
    pub(super) admin: (SocketAddr, TcpListener),
    pub(super) s3_certificate: Option<Arc<Certificate>>,
    pub(super) admin_certificate: Option<Arc<Certificate>>,
}

impl Endpoints {
    /// Binds both listeners. The admin listener accepts connections from now on; the S3 listener does so only after
    /// `listen`.
    pub fn claim(s3: Option<SocketAddr>, admin: SocketAddr, tls: ListenerTls) -> Result<Self, EndpointError> {
        let of_s3 = |source| match source {
            CertificateSource::Files(files) => Certificate::load("s3", files),
            CertificateSource::Acme(named) => Ok(Certificate::by_acme("s3", named)),
        };
        Ok(Self {
            s3_certificate: tls.s3.filter(|_| s3.is_some()).map(of_s3).transpose()?,
            admin_certificate: tls.admin.map(|files| Certificate::load("admin", files)).transpose()?,
            s3: s3.map(|address| Claimed::claim(S3_LISTEN, address)).transpose()?,
            admin: Claimed::claim(ADMIN_LISTEN, admin)?.listen()?,
        })
    }

    /// Returns the certificate that an ACME server issues, if there is to be one.
    pub fn certificate_by_acme(&self) -> Option<Arc<Certificate>> {
        self.s3_certificate.clone().filter(|certificate| !certificate.is_of_files())
    }

    /// Returns the certificates of the listeners that have one.
    pub fn certificates(&self, clock: Arc<dyn Clock>) -> Certificates {
        Certificates::new(self.s3_certificate.iter().chain(&self.admin_certificate).cloned(), clock)
    }
}

/// A bound socket that does not listen yet. No other process can bind its address.
#[derive(Debug)]
pub(super) struct Claimed {
    setting: &'static str,
    address: SocketAddr,
    socket: Socket,
}

impl Claimed {
    fn claim(setting: &'static str, address: SocketAddr) -> Result<Self, EndpointError> {
        let bound = || {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
            // Connections of a former process may still be in TIME_WAIT.
            socket.set_reuse_address(true)?;
            socket.bind(&address.into())?;
            // With the option set, another process could bind the address too, as long as the socket does not listen.
            socket.set_reuse_address(false)?;
            Ok(socket)
        };
        let socket = bound().map_err(|cause| EndpointError::Listen { setting, address, cause })?;
        Ok(Self { setting, address, socket })
    }

    /// Starts to listen; returns the socket's address and the listener.
    pub(super) fn listen(self) -> Result<(SocketAddr, TcpListener), EndpointError> {
        let Self { setting, address, socket } = self;
        let listening = || {
            socket.set_reuse_address(true)?;
            socket.listen(BACKLOG)?;
            let listener = TcpListener::from(socket);
            // Accepted sockets inherit both options (tcp(7)), so the kernel detects a client that vanished or keeps its
            // window shut.
            let options = SockRef::from(&listener);
            options.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))?;
            options.set_keepalive(true)?;
            Ok((listener.local_addr()?, listener))
        };
        listening().map_err(|cause| EndpointError::Listen { setting, address, cause })
    }
}

#[cfg(test)]
mod tests {
    use super::{EndpointError, Endpoints, ListenerTls, TlsFiles};
    use crate::api::tls::NamedFile;
    use std::net::{SocketAddr, TcpListener, TcpStream};

    const ANY: &str = "127.0.0.1:0";

    fn any() -> SocketAddr {
        ANY.parse().expect("an address")
    }

    #[test]
    fn an_address_in_use_is_refused_with_the_name_of_its_setting() {
        let taken = TcpListener::bind(ANY).expect("a port");
        let address = taken.local_addr().expect("an address");
        let words = |claimed: Result<Endpoints, EndpointError>| claimed.expect_err("it is taken").to_string();
        let s3 = words(Endpoints::claim(Some(address), any(), ListenerTls::default()));
        assert!(
            s3.starts_with(&format!("cannot listen on {address} (SHERD_S3_LISTEN): Address already in use")),
            "{s3}"
        );
        let admin = words(Endpoints::claim(None, address, ListenerTls::default()));
        assert!(admin.contains("(SHERD_ADMIN_LISTEN)"), "{admin}");
    }

    #[test]
    fn the_s3_socket_refuses_connections_until_it_listens() {
        let endpoints = Endpoints::claim(Some(any()), any(), ListenerTls::default()).expect("free ports");
        let s3 = endpoints.s3.expect("it is asked for");
        let address = s3.socket.local_addr().expect("bound").as_socket().expect("of the internet");
        assert!(TcpStream::connect(address).is_err());
        assert!(TcpListener::bind(address).is_err(), "it is taken");
        assert!(Endpoints::claim(Some(address), any(), ListenerTls::default()).is_err(), "it is claimed");
        let (listens, _listener) = s3.listen().expect("it is ours");
        assert_eq!(listens, address);
        TcpStream::connect(address).expect("it listens");
    }

    #[test]
    fn an_unusable_certificate_is_refused_with_the_names_of_its_settings() {
        let dir = tempfile::tempdir().expect("a directory");
        let named = |setting: &'static str, name: &str| NamedFile { setting, path: dir.path().join(name) };
        let cert = named("SHERD_ADMIN_TLS_CERT", "cert.pem");
        std::fs::write(&cert.path, "no certificate here").expect("written");
        let files = TlsFiles { cert, key: named("SHERD_ADMIN_TLS_KEY", "key.pem") };
        let tls = ListenerTls { s3: None, admin: Some(files) };
        let refused = Endpoints::claim(None, any(), tls).expect_err("it is none");
        assert!(refused.to_string().starts_with("SHERD_ADMIN_TLS_"), "{refused}");
    }
}
