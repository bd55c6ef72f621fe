//! The server end of connections: accepts connections, exchanges greetings, and serves the request of each stream by
//! this host's services.
//!
//! Packets are handled on the endpoint's thread; requests run on the given runtime. While a request is being served,
//! the caller gets a `Working` frame from time to time, so that silence means a dead host and not a slow drive.

use super::counts::{Line, LogLines, network_of};
use super::endpoint::{self, EndpointThread, QuicOptions, StartError};
use super::events::ConnectionFacts;
use super::stream::{About, Duplex, Stage, StreamError};
use super::traffic::Traffic;
use super::words::{REFUSED, STOPPING, TOO_MANY, words};
use crate::limits::{
    NET_CONNECTIONS_MAX, NET_HANDSHAKE_WAIT_MAX, NET_HEADER_WAIT_MAX, NET_ROOM_WAIT_MAX, NET_SERVE_GROUPS_BYTES_MAX,
    NET_SERVE_PEER_GROUPS_BYTES_MAX, NET_SERVE_WAIT_MAX, NET_WORKING_EVERY,
};
use crate::net::frame::{FrameKind, WireVersion, encode};
use crate::net::greeting::{GREETING_VERSION, Greeting, Refusal};
use crate::net::identity::HostIdentity;
use crate::net::protocol::{Answer, Outgoing, Request};
use crate::net::service::{HostService, PeerError};
use crate::net::tls::is_of_host;
use crate::types::HostId;
use s2n_quic::connection::{Handle, StreamAcceptor};
use s2n_quic::stream::BidirectionalStream;
use s2n_quic::{Connection, Server};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout_at};
use tokio_util::sync::CancellationToken;

/// The server for other hosts.
#[derive(Debug)]
pub struct QuicServer {
    address: SocketAddr,
    thread: EndpointThread,
    stopping: CancellationToken,
}

impl QuicServer {
    /// Starts to listen, and serves requests by `service` on the runtime `serve_on`.
    pub fn start(
        identity: Arc<HostIdentity>,
        options: QuicOptions,
        service: Arc<dyn HostService>,
        serve_on: runtime::Handle,
    ) -> Result<Self, StartError> {
        let of_thread = Arc::clone(&identity);
        let make = move || {
            let server = endpoint::server(&of_thread, &options)?;
            let unbound = |why: std::io::Error| StartError::Endpoint { address: options.listen, why: why.to_string() };
            let address = server.local_addr().map_err(unbound)?;
            Ok((server, address))
        };
        let ((server, address), thread) = EndpointThread::start("sherd-net-in", make)?;
        let stopping = CancellationToken::new();
        let serving = Serving {
            identity,
            options,
            service,
            serve_on,
            held: Semaphore::new(options.serve_bytes_max),
            held_of_groups: Semaphore::new(NET_SERVE_GROUPS_BYTES_MAX),
            connections: Arc::new(Semaphore::new(NET_CONNECTIONS_MAX)),
            lines_of_refused: LogLines::default(),
            lines_of_hosts: LogLines::default(),
            stopping: stopping.clone(),
        };
        thread.runtime.spawn(accept(server, Arc::new(serving)));
        Ok(Self { address, thread, stopping })
    }

    /// Returns the address on which the server listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Closes all connections, which tells the peers, and then the socket.
    pub async fn stop(self) {
        self.stopping.cancel();
        self.thread.stop().await;
    }
}

struct Serving {
    identity: Arc<HostIdentity>,
    options: QuicOptions,
    service: Arc<dyn HostService>,
    serve_on: runtime::Handle,
    /// Permits for the bytes of bodies of requests about data, for all connections.
    held: Semaphore,
    /// Permits for the bytes of bodies of group calls, for all connections.
    held_of_groups: Semaphore,
    connections: Arc<Semaphore>,
    /// Bounds the lines of the log about callers that are refused.
    lines_of_refused: LogLines<IpAddr>,
    /// Bounds the lines of the log about the connections of hosts.
    lines_of_hosts: LogLines<HostId>,
    stopping: CancellationToken,
}

impl Serving {
    fn tell_of_refused<E>(&self, remote: Result<SocketAddr, E>, why: &str) {
        let address = remote.as_ref().map_or(IpAddr::from([0; 4]), |remote| network_of(remote.ip()));
        if let Some(Line { note }) = self.lines_of_refused.another(address) {
            let remote = remote.ok().map(tracing::field::display);
            tracing::warn!(remote, why, note, "the connection of a host is refused");
        }
    }
}

async fn accept(mut server: Server, serving: Arc<Serving>) {
    loop {
        let connection = tokio::select! {
            accepted = server.accept() => accepted,
            () = serving.stopping.cancelled() => None,
        };
        let Some(connection) = connection else { return };
        match Arc::clone(&serving.connections).try_acquire_owned() {
            Ok(permit) => {
                let serving = Arc::clone(&serving);
                tokio::spawn(async move {
                    serve_connection(connection, serving).await;
                    drop(permit);
                });
            }
            Err(_) => {
                serving.tell_of_refused(connection.remote_addr(), "the limit of connections is reached");
                connection.close(TOO_MANY.into());
            }
        }
    }
}

/// A connection after the greeting.
struct Caller {
    host: HostId,
    version: WireVersion,
    /// True if both ends belonged to the cluster when they greeted.
    of_cluster: bool,
    /// Permits for the bytes of bodies of requests about data, for this connection.
    held: Semaphore,
    /// Permits for the bytes of bodies of group calls, so that these do not wait for data.
    held_of_groups: Semaphore,
    traffic: Arc<Traffic>,
}

async fn serve_connection(connection: Connection, serving: Arc<Serving>) {
    let address = connection.remote_addr();
    let remote = address.as_ref().map(SocketAddr::to_string).unwrap_or_default();
    let (handle, mut acceptor) = connection.split();
    let greeted = tokio::select! {
        greeted = greet(&handle, &mut acceptor, &serving) => greeted,
        () = serving.stopping.cancelled() => return handle.close(STOPPING.into()),
    };
    let caller = match greeted {
        Ok(caller) => Arc::new(caller),
        Err(why) => {
            serving.tell_of_refused(address, &why);
            return handle.close(REFUSED.into());
        }
    };
    let peer = format!("{:016x}", caller.host.0);
    let line = serving.lines_of_hosts.another(caller.host);
    if let Some(Line { note }) = &line {
        tracing::info!(peer, remote, note, "a host has connected");
    }
    let why = loop {
        let accepted = tokio::select! {
            accepted = acceptor.accept_bidirectional_stream() => accepted,
            () = serving.stopping.cancelled() => return handle.close(STOPPING.into()),
        };
        match accepted {
            Ok(Some(stream)) => {
                let (serving, caller) = (Arc::clone(&serving), Arc::clone(&caller));
                let serve_on = serving.serve_on.clone();
                serve_on.spawn(async move { serve_stream(&serving, &caller, stream).await });
            }
            Ok(None) => break None,
            Err(error) => break Some(words(&error)),
        }
    };
    if line.is_some() {
        tracing::info!(peer, remote, why, "a host has disconnected");
    }
}

/// Receives the caller's greeting and answers it. Fails with the reason for which the hosts may not communicate.
async fn greet(handle: &Handle, acceptor: &mut StreamAcceptor, serving: &Serving) -> Result<Caller, String> {
    let until = Instant::now() + NET_HANDSHAKE_WAIT_MAX;
    let stream = match timeout_at(until, acceptor.accept_bidirectional_stream()).await {
        Ok(Ok(Some(stream))) => stream,
        Ok(Ok(None)) => return Err("it closed the connection before it greeted".to_owned()),
        Ok(Err(error)) => return Err(words(&error)),
        Err(_) => return Err("it did not greet in time".to_owned()),
    };
    let mut stream = Duplex::new(stream, About::new(HostId(0), "greeting"), &Traffic::of_stranger());
    let greeted = exchange_greetings(handle, &mut stream, serving, until).await;
    greeted.unwrap_or_else(|error| Err(format!("the greeting failed: {error}")))
}

async fn exchange_greetings(
    handle: &Handle,
    stream: &mut Duplex,
    serving: &Serving,
    until: Instant,
) -> Result<Result<Caller, String>, StreamError> {
    let (head, header) = stream.frame(Stage::ReceivingHeader, until, GREETING_VERSION..=GREETING_VERSION).await?;
    let theirs = stream.check(Greeting::decode(&head, &header))?;
    stream.end().await?;
    let ours = serving.identity.greeting(None);
    let certificate = handle.query_event_context(|seen: &ConnectionFacts| seen.certificate.clone()).ok().flatten();
    let judged = match certificate.is_some_and(|certificate| is_of_host(&certificate, theirs.host)) {
        true => Greeting::judge(&theirs, &ours),
        false => Err(Refusal::Certificate { host: theirs.host }),
    };
    judged.as_ref().err().iter().for_each(|refusal| serving.identity.note(refusal));
    let answer = ours.encode_answer(judged.as_ref().err());
    stream.send(Outgoing { frame: answer.into(), body: vec![] }).await?;
    stream.settle().await?;
    let caller = |version| Caller {
        host: theirs.host,
        version,
        of_cluster: ours.cluster.is_some() && theirs.cluster.is_some(),
        held: Semaphore::new(serving.options.serve_peer_bytes_max),
        held_of_groups: Semaphore::new(NET_SERVE_PEER_GROUPS_BYTES_MAX),
        traffic: Traffic::of(theirs.host, serving.options.streams_max),
    };
    Ok(judged.map(caller).map_err(|refusal| refusal.to_string()))
}

async fn serve_stream(serving: &Serving, caller: &Caller, stream: BidirectionalStream) {
    let mut stream = Duplex::new(stream, About::new(caller.host, "unknown"), &caller.traffic);
    let Err(error) = serve_request(serving, caller, &mut stream).await else { return };
    let peer = format!("{:016x}", caller.host.0);
    let request = stream.about.request;
    match error {
        // The caller gave up, or the connection was lost, which is logged elsewhere.
        StreamError::GivenUp(_) | StreamError::Connection(_) => {
            tracing::debug!(peer, request, %error, "a stream ended")
        }
        error => tracing::warn!(peer, request, %error, "the request of a host was not served"),
    }
}

async fn serve_request(serving: &Serving, caller: &Caller, stream: &mut Duplex) -> Result<(), StreamError> {
    let until = Instant::now() + NET_HEADER_WAIT_MAX;
    let (head, header) = stream.frame(Stage::ReceivingHeader, until, caller.version..=caller.version).await?;
    let asked = crc32c::crc32c(&header);
    let incoming = stream.check(Request::decode(&head, &header))?;
    stream.about.is(incoming.message());
    if !caller.of_cluster && incoming.message().node().is_some() {
        let why = "the connection was made before both hosts belonged to the cluster".to_owned();
        return refuse(caller, stream, incoming.message(), asked, why).await;
    }
    let bytes = head.body_bytes + incoming.message().answer_bytes_max();
    let budgets = budgets(serving, caller, incoming.message());
    let Some(_room) = room(&budgets, stream, bytes).await? else {
        let why = "the host has no room for the bytes of this request beside those of others".to_owned();
        return refuse(caller, stream, incoming.message(), asked, why).await;
    };
    let bodies = stream.body(&incoming.pieces).await?;
    let request = stream.check(incoming.complete(bodies))?;
    stream.end().await?;
    let answer = work(serving, caller, stream, &request).await?;
    stream.send(answer.encode(caller.version, &request, asked)).await?;
    stream.settle().await
}

async fn refuse(
    caller: &Caller,
    stream: &mut Duplex,
    request: &Request,
    asked: u32,
    why: String,
) -> Result<(), StreamError> {
    let answer = Answer::Failed(PeerError::Refused { why });
    stream.send(answer.encode(caller.version, request, asked)).await?;
    stream.settle().await
}

/// A bound on held bytes: its permits, and their total number.
struct Budget<'a> {
    held: &'a Semaphore,
    bytes_max: usize,
}

/// Returns the budgets that a request's bytes count against: those of the connection and of the host, for data or group
/// calls.
fn budgets<'a>(serving: &'a Serving, caller: &'a Caller, request: &Request) -> Vec<Budget<'a>> {
    match request {
        Request::Group(_) => vec![
            Budget { held: &caller.held_of_groups, bytes_max: NET_SERVE_PEER_GROUPS_BYTES_MAX },
            Budget { held: &serving.held_of_groups, bytes_max: NET_SERVE_GROUPS_BYTES_MAX },
        ],
        _ => vec![
            Budget { held: &caller.held, bytes_max: serving.options.serve_peer_bytes_max },
            Budget { held: &serving.held, bytes_max: serving.options.serve_bytes_max },
        ],
    }
}

/// Waits for permits for `bytes` from each budget, in order. Returns `None` if it takes too long, or if a budget is too
/// small. Fails if the caller gives up.
async fn room<'a>(
    budgets: &[Budget<'a>],
    stream: &mut Duplex,
    bytes: usize,
) -> Result<Option<Vec<SemaphorePermit<'a>>>, StreamError> {
    if budgets.iter().any(|budget| bytes > budget.bytes_max) {
        return Ok(None);
    }
    let Ok(bytes) = u32::try_from(bytes) else { return Ok(None) };
    let (about, until) = (stream.about, Instant::now() + NET_ROOM_WAIT_MAX);
    let all = async {
        let mut permits = Vec::with_capacity(budgets.len());
        for budget in budgets {
            permits.push(budget.held.acquire_many(bytes).await.ok()?);
        }
        Some(permits)
    };
    tokio::select! {
        biased;
        all = about.bounded(Stage::AwaitingRoom, until, all) => Ok(all.ok().flatten()),
        error = stream.given_up() => Err(error),
    }
}

/// Serves the request, and sends the caller a `Working` frame from time to time. After `NET_SERVE_WAIT_MAX` the answer
/// is `late`. Stops if the caller gives up: its stream would otherwise not be free for another request.
async fn work(
    serving: &Serving,
    caller: &Caller,
    stream: &mut Duplex,
    request: &Request,
) -> Result<Answer, StreamError> {
    let done = dispatch(&*serving.service, request.clone());
    tokio::pin!(done);
    let begun = Instant::now();
    let mut tell = interval_at(begun + NET_WORKING_EVERY, NET_WORKING_EVERY);
    tell.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            answer = &mut done => return Ok(answer),
            error = stream.given_up() => return Err(error),
            _ = tell.tick() => {
                if begun.elapsed() > NET_SERVE_WAIT_MAX {
                    stream.about.log_quiet(Stage::Serving);
                    return late(request, begun.elapsed());
                }
                let frame = encode(caller.version, FrameKind::Working, &[], 0).into();
                stream.send(Outgoing { frame, body: vec![] }).await?;
            }
        }
    }
}

/// The outcome of a request that was not served in time. A group may still act on its call, and no failure says so: the
/// stream is reset, so that the caller does not know the effect.
fn late(request: &Request, waited: Duration) -> Result<Answer, StreamError> {
    match request.node() {
        Some(node) => Ok(Answer::Failed(PeerError::TimedOut(node))),
        None => Err(StreamError::Stalled { stage: Stage::Serving, waited }),
    }
}

async fn dispatch(service: &dyn HostService, request: Request) -> Answer {
    let answer = match request {
        Request::Append(append) => service.append_chunks(append).await.map(|()| Answer::Appended),
        Request::Read(read) => service.read_chunks(read).await.map(Answer::Read),
        Request::Drop { node, shards } => service.drop_shards(node, shards).await.map(|()| Answer::Dropped),
        Request::Count { node, shards } => service.count_chunks(node, shards).await.map(Answer::Counted),
        Request::Inventory { node, after, limit } => service.inventory(node, after, limit).await.map(Answer::Inventory),
        Request::Group(call) => service.group_call(call).await.map(Answer::Group),
    };
    answer.unwrap_or_else(Answer::Failed)
}

#[cfg(test)]
mod tests {
    use super::late;
    use crate::net::protocol::{Answer, Request};
    use crate::net::service::{GroupCall, PeerError};
    use crate::types::NodeId;
    use bytes::Bytes;
    use std::time::Duration;

    /// `Refused` means that a call had no effect, but a late one may still have one.
    #[test]
    fn a_late_group_call_is_not_answered_as_refused() {
        let waited = Duration::from_secs(60);
        let call = Request::Group(GroupCall { group: 0, kind: 7, body: Bytes::new() });
        assert!(late(&call, waited).is_err(), "the stream is reset");
        let count = Request::Count { node: NodeId(1), shards: Vec::new() };
        assert!(matches!(late(&count, waited), Ok(Answer::Failed(PeerError::TimedOut(NodeId(1))))));
    }
}
