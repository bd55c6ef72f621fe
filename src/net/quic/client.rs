//! The client end of connections: connects to other hosts. Each connection is a `RemoteHost` with the services of the
//! host at its other end.
//!
//! Each request has one bidirectional stream. If a caller drops the future of a request, its stream is reset, and the
//! connection stays.

use super::endpoint::{self, EndpointThread, QuicOptions, StartError};
use super::events::ConnectionFacts;
use super::stream::{About, Duplex, Stage, StreamError};
use super::traffic::Traffic;
use super::words::{NO_MORE_USE, REFUSED, SILENT, STOPPING, words};
use crate::limits::{
    NET_HANDSHAKE_WAIT_MAX, NET_HEADER_WAIT_MAX, NET_OPEN_WAIT_MAX, NET_QUIET_LOG_AFTER, NET_SERVE_WAIT_MAX,
    NET_SHARDS_MAX, NET_STREAMS_OF_GROUPS,
};
use crate::metrics::{NET_ROUND_TRIP_SECONDS, POOL_CONNECTIONS};
use crate::net::frame::{FrameKind, WireVersion};
use crate::net::greeting::{GREETING_VERSION, Greeting, Refusal};
use crate::net::identity::HostIdentity;
use crate::net::protocol::{Answer, Outgoing, Request};
use crate::net::service::{
    AppendChunks, ChunksRead, GroupCall, GroupService, HostService, InventoryPage, NodeService, PeerError, ReadChunks,
};
use crate::net::tls::{MEMBER_NAME, is_of_host};
use crate::types::{HostId, NodeId, ShardId};
use bytes::Bytes;
use s2n_quic::Client;
use s2n_quic::client::Connect;
use s2n_quic::connection::{Handle, StreamAcceptor};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use tokio::net::lookup_host;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

/// The most addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;

/// The reason for which no connection was made to a host.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("{address} cannot be resolved: {why}")]
    Unresolved { address: String, why: String },
    #[error("no connection to {address}: {why}")]
    Unreachable { address: String, why: String },
    /// The hosts may not communicate. Another attempt is useless until one of them is configured differently.
    #[error("{address} and this host refuse each other: {why}")]
    Refused { address: String, why: String },
}

/// The client that connects to other hosts.
#[derive(Debug)]
pub struct QuicClient {
    client: Client,
    identity: Arc<HostIdentity>,
    options: QuicOptions,
    thread: EndpointThread,
    stopping: CancellationToken,
}

impl QuicClient {
    pub fn start(identity: Arc<HostIdentity>, options: QuicOptions) -> Result<Self, StartError> {
        let of_thread = Arc::clone(&identity);
        let make = move || endpoint::client(&of_thread, &options);
        let (client, thread) = EndpointThread::start("sherd-net-out", make)?;
        Ok(Self { client, identity, options, thread, stopping: CancellationToken::new() })
    }

    /// Connects to `address`, which is a name or IP address and a port. Fails if `sought` is given and another host
    /// answers.
    pub async fn connect(&self, address: &str, sought: Option<HostId>) -> Result<RemoteHost, ConnectError> {
        if self.stopping.is_cancelled() {
            return Err(ConnectError::Unreachable {
                address: address.to_owned(),
                why: "this host is stopping".to_owned(),
            });
        }
        let until = Instant::now() + NET_HANDSHAKE_WAIT_MAX;
        let unresolved = |why: String| ConnectError::Unresolved { address: address.to_owned(), why };
        let found = timeout_at(until, lookup_host(address)).await;
        let found = found.map_err(|_| unresolved("its name was not resolved in time".to_owned()))?;
        let found = found.map_err(|error| unresolved(error.to_string()))?;
        let mine = |found: &SocketAddr| self.options.listen.is_ipv6() || found.is_ipv4();
        let found: Vec<SocketAddr> = found.filter(mine).take(ADDRESSES_MAX).collect();
        let mut failure = unresolved("it has no address that can be reached from here".to_owned());
        for (at, &socket) in found.iter().enumerate() {
            let share = until.saturating_duration_since(Instant::now()) / (found.len() - at) as u32;
            match self.connect_to(address, socket, sought, Instant::now() + share).await {
                Ok(remote) => return Ok(remote),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Closes all connections, and makes no more.
    pub fn stop(&self) {
        self.stopping.cancel();
    }

    async fn connect_to(
        &self,
        address: &str,
        socket: SocketAddr,
        sought: Option<HostId>,
        until: Instant,
    ) -> Result<RemoteHost, ConnectError> {
        let unreachable = |why: String| ConnectError::Unreachable { address: address.to_owned(), why };
        let attempt = self.client.connect(Connect::new(socket).with_server_name(MEMBER_NAME));
        let connected = timeout_at(until, attempt).await;
        let connected = connected.map_err(|_| unreachable("it did not answer the handshake in time".to_owned()))?;
        let mut connection = connected.map_err(|error| unreachable(words(&error)))?;
        connection.keep_alive(true).map_err(|error| unreachable(words(&error)))?;
        let (handle, acceptor) = connection.split();
        match greet(&handle, &self.identity, sought, until).await {
            Ok((greeting, version)) => Ok(self.remote(handle, acceptor, greeting, version)),
            Err(Ungreeted::Refused(why)) => {
                handle.close(REFUSED.into());
                tracing::warn!(address, why, "a host and this one refuse each other");
                Err(ConnectError::Refused { address: address.to_owned(), why })
            }
            Err(Ungreeted::Failed(error)) => {
                handle.close(REFUSED.into());
                Err(unreachable(format!("the greeting failed: {error}")))
            }
        }
    }

    fn remote(&self, handle: Handle, acceptor: StreamAcceptor, greeting: Greeting, version: WireVersion) -> RemoteHost {
        let lost = Arc::new(OnceLock::new());
        let watch = watch(acceptor, handle.clone(), Arc::clone(&lost), self.stopping.clone());
        self.thread.runtime.spawn(watch);
        let traffic = Traffic::of(greeting.host, self.options.streams_max);
        let of_cluster = self.identity.cluster().is_some() && greeting.cluster.is_some();
        let bulk = Semaphore::new(self.options.streams_max.saturating_sub(NET_STREAMS_OF_GROUPS).max(1) as usize);
        RemoteHost { handle, greeting, version, of_cluster, lost, traffic, bulk }
    }
}

/// N5: waits for the end of a connection, so that it is known at once. A stream that the server opens is dropped, as it
/// has no reason to open one.
async fn watch(mut acceptor: StreamAcceptor, handle: Handle, lost: Arc<OnceLock<String>>, stopping: CancellationToken) {
    let _open = Open::begin();
    let why = loop {
        tokio::select! {
            accepted = acceptor.accept() => match accepted {
                Ok(Some(stream)) => drop(stream),
                Ok(None) => break "the connection was closed".to_owned(),
                Err(error) => break words(&error),
            },
            () = stopping.cancelled() => {
                handle.close(STOPPING.into());
                break "this host is stopping".to_owned();
            }
        }
    };
    // If the reason is already set, the first one is kept.
    let _ = lost.set(why);
}

/// A guard that counts a connection as open until it is dropped.
struct Open;

impl Open {
    fn begin() -> Self {
        POOL_CONNECTIONS.with_label_values::<&str>(&[]).inc();
        Self
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        POOL_CONNECTIONS.with_label_values::<&str>(&[]).dec();
    }
}

enum Ungreeted {
    Refused(String),
    Failed(StreamError),
}

impl<E: Into<StreamError>> From<E> for Ungreeted {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Exchanges greetings on the first stream of a connection. Returns the other host's greeting and the version to speak.
async fn greet(
    handle: &Handle,
    identity: &HostIdentity,
    sought: Option<HostId>,
    until: Instant,
) -> Result<(Greeting, WireVersion), Ungreeted> {
    let ours = identity.greeting(sought);
    let about = About::new(ours.sought.unwrap_or(HostId(0)), "greeting");
    let mut opener = handle.clone();
    let opened = about.bounded(Stage::Opening, until, opener.open_bidirectional_stream()).await?;
    let stream = opened.map_err(|error| StreamError::Connection(words(&error)))?;
    let mut stream = Duplex::new(stream, about, &Traffic::of_stranger());
    stream.send(Outgoing { frame: ours.encode().into(), body: vec![] }).await?;
    stream.finish()?;
    let (head, header) = stream.frame(Stage::AwaitingAnswer, until, GREETING_VERSION..=GREETING_VERSION).await?;
    let (theirs, refusal) = stream.check(Greeting::decode_answer(&head, &header))?;
    stream.end().await?;
    let certificate = handle.query_event_context(|seen: &ConnectionFacts| seen.certificate.clone()).ok().flatten();
    let judged = match certificate.is_some_and(|certificate| is_of_host(&certificate, theirs.host)) {
        true => Greeting::judge(&ours, &theirs),
        false => Err(Refusal::Certificate { host: theirs.host }),
    };
    judged.as_ref().err().iter().for_each(|refusal| identity.note(refusal));
    match (judged, refusal) {
        (Ok(version), None) => Ok((theirs, version)),
        (_, Some(words)) => Err(Ungreeted::Refused(words)),
        (Err(refusal), None) => Err(Ungreeted::Refused(refusal.to_string())),
    }
}

/// The host at the other end of a connection. The connection is closed when this value is dropped.
#[derive(Debug)]
pub struct RemoteHost {
    handle: Handle,
    greeting: Greeting,
    version: WireVersion,
    /// True if both ends belonged to the cluster when they greeted.
    of_cluster: bool,
    lost: Arc<OnceLock<String>>,
    traffic: Arc<Traffic>,
    /// Permits for requests about data. There are fewer than streams on the connection: as streams are opened in the
    /// order of requests, a Raft heartbeat would otherwise wait for all requests about data before it.
    bulk: Semaphore,
}

impl Drop for RemoteHost {
    fn drop(&mut self) {
        self.handle.close(NO_MORE_USE.into());
    }
}

/// The reason for which a request was not answered.
enum Unanswered {
    /// The requests before it, of this host, took too long. The connection may be sound.
    NoTurn(NodeId),
    /// The stream failed. If `sent`, the other host may have received the request.
    Failed { error: StreamError, sent: bool },
}

impl RemoteHost {
    /// Returns the host's greeting.
    pub fn greeting(&self) -> &Greeting {
        &self.greeting
    }

    /// Sends a request and waits for its answer. The answer `Failed` becomes an error.
    async fn ask(&self, request: Request) -> Result<Answer, PeerError> {
        let refused = |why: &str| PeerError::Refused { why: why.to_owned() };
        if !self.of_cluster && request.node().is_some() {
            // Both hosts may have entered the cluster since. Marked as lost, so that the pool makes a new connection.
            let why = "the connection was made before both hosts belonged to the cluster".to_owned();
            let _ = self.lost.set(why.clone());
            return Err(PeerError::Unreachable { host: self.greeting.host, why, sent: false });
        }
        let (message, asked) = request.encode(self.version).map_err(refused)?;
        match self.exchange(&request, message, asked).await {
            Ok(Answer::Failed(error)) => Err(error),
            Ok(answer) => Ok(answer),
            Err(Unanswered::NoTurn(node)) => Err(PeerError::TimedOut(node)),
            Err(Unanswered::Failed { error, sent }) => Err(self.failure(error, sent)),
        }
    }

    async fn exchange(&self, request: &Request, message: Outgoing, asked: u32) -> Result<Answer, Unanswered> {
        let mut about = About::new(self.greeting.host, request.name());
        about.is(request);
        let unsent = |error| Unanswered::Failed { error, sent: false };
        let mut opener = self.handle.clone();
        let until = Instant::now() + NET_OPEN_WAIT_MAX;
        let _turn = self.turn(request, &about, until).await?;
        let opened = about.bounded(Stage::Opening, until, opener.open_bidirectional_stream()).await.map_err(unsent)?;
        let stream = opened.map_err(|error| unsent(StreamError::Connection(words(&error))))?;
        let mut stream = Duplex::new(stream, about, &self.traffic);
        let answered = self.converse(&mut stream, request, message, asked).await;
        answered.map_err(|error| Unanswered::Failed { error, sent: true })
    }

    /// Waits for a permit for a request about data. Group calls need none.
    async fn turn(
        &self,
        request: &Request,
        about: &About,
        until: Instant,
    ) -> Result<Option<SemaphorePermit<'_>>, Unanswered> {
        let Some(node) = request.node() else { return Ok(None) };
        let turn = about.bounded(Stage::Opening, until, self.bulk.acquire()).await;
        let closed = || StreamError::Connection("the connection was closed".to_owned());
        turn.map_err(|_| Unanswered::NoTurn(node))?
            .map(Some)
            .map_err(|_| Unanswered::Failed { error: closed(), sent: false })
    }

    async fn converse(
        &self,
        stream: &mut Duplex,
        request: &Request,
        message: Outgoing,
        asked: u32,
    ) -> Result<Answer, StreamError> {
        let begun = Instant::now();
        // The host may answer with a failure before it has received all of the request, so other errors are not final.
        let sent = match stream.send(message).await {
            Ok(()) => stream.finish(),
            failed => failed,
        };
        if let Err(error @ (StreamError::Connection(_) | StreamError::Stalled { .. })) = sent {
            return Err(error);
        }
        let mut is_logged = false;
        let (head, header) = loop {
            let until = Instant::now() + NET_HEADER_WAIT_MAX;
            let (head, header) = stream.frame(Stage::AwaitingAnswer, until, self.version..=self.version).await?;
            if head.kind != FrameKind::Working {
                break (head, header);
            }
            let waited = begun.elapsed();
            if waited > NET_SERVE_WAIT_MAX + NET_HEADER_WAIT_MAX {
                return Err(StreamError::Stalled { stage: Stage::AwaitingAnswer, waited });
            }
            if waited > NET_QUIET_LOG_AFTER && !std::mem::replace(&mut is_logged, true) {
                stream.about.log_quiet(Stage::AwaitingAnswer);
            }
        };
        let peer = format!("{:016x}", self.greeting.host.0);
        NET_ROUND_TRIP_SECONDS.with_label_values(&[&peer]).observe(begun.elapsed().as_secs_f64());
        let answer = stream.check(Answer::decode(&head, &header, request, asked))?;
        let bodies = stream.body(&answer.pieces).await?;
        let answer = stream.check(answer.complete(bodies))?;
        stream.end().await?;
        Ok(answer)
    }

    fn failure(&self, error: StreamError, sent: bool) -> PeerError {
        let host = self.greeting.host;
        match error {
            StreamError::Frame(error) => {
                let peer = format!("{:016x}", host.0);
                tracing::warn!(peer, %error, "a host sent an invalid answer");
                PeerError::Garbled { host, why: error.to_string() }
            }
            StreamError::Truncated => PeerError::Garbled { host, why: error.to_string() },
            error => {
                // A single slow request does not end the connection, but a connection on which nothing comes at all is
                // closed.
                let is_stalled = matches!(error, StreamError::Stalled { .. });
                if is_stalled && self.traffic.silent_for() >= NET_HEADER_WAIT_MAX - NET_QUIET_LOG_AFTER {
                    let _ = self.lost.set(error.to_string());
                    self.handle.close(SILENT.into());
                } else if matches!(error, StreamError::Connection(_)) {
                    let _ = self.lost.set(error.to_string());
                }
                let why = self.lost.get().cloned().unwrap_or_else(|| error.to_string());
                PeerError::Unreachable { host, why, sent }
            }
        }
    }

    fn garbled(&self) -> PeerError {
        PeerError::Garbled { host: self.greeting.host, why: "the answer has another kind than the request".to_owned() }
    }
}

impl HostService for RemoteHost {
    fn is_lost(&self) -> bool {
        self.lost.get().is_some()
    }

    fn is_remote(&self) -> bool {
        true
    }
}

#[async_trait::async_trait]
impl GroupService for RemoteHost {
    async fn group_call(&self, call: GroupCall) -> Result<Bytes, PeerError> {
        match self.ask(Request::Group(call)).await? {
            Answer::Group(message) => Ok(message),
            _ => Err(self.garbled()),
        }
    }
}

#[async_trait::async_trait]
impl NodeService for RemoteHost {
    async fn append_chunks(&self, request: AppendChunks) -> Result<(), PeerError> {
        match self.ask(Request::Append(request)).await? {
            Answer::Appended => Ok(()),
            _ => Err(self.garbled()),
        }
    }

    async fn read_chunks(&self, request: ReadChunks) -> Result<ChunksRead, PeerError> {
        match self.ask(Request::Read(request)).await? {
            Answer::Read(read) => Ok(read),
            _ => Err(self.garbled()),
        }
    }

    async fn drop_shards(&self, node: NodeId, shards: Vec<ShardId>) -> Result<(), PeerError> {
        for some in shards.chunks(NET_SHARDS_MAX) {
            match self.ask(Request::Drop { node, shards: some.to_vec() }).await? {
                Answer::Dropped => {}
                _ => return Err(self.garbled()),
            }
        }
        Ok(())
    }

    async fn count_chunks(&self, node: NodeId, shards: Vec<ShardId>) -> Result<Vec<u32>, PeerError> {
        let mut counts = Vec::with_capacity(shards.len());
        let mut rest = shards.as_slice();
        // A count of no shards asks whether the node answers, so at least one request is sent.
        loop {
            let some;
            (some, rest) = rest.split_at(rest.len().min(NET_SHARDS_MAX));
            match self.ask(Request::Count { node, shards: some.to_vec() }).await? {
                Answer::Counted(counted) => counts.extend(counted),
                _ => return Err(self.garbled()),
            }
            if rest.is_empty() {
                return Ok(counts);
            }
        }
    }

    async fn inventory(&self, node: NodeId, after: Option<ShardId>, limit: u32) -> Result<InventoryPage, PeerError> {
        let limit = limit.min(NET_SHARDS_MAX as u32);
        match self.ask(Request::Inventory { node, after, limit }).await? {
            Answer::Inventory(page) => Ok(page),
            _ => Err(self.garbled()),
        }
    }
}
