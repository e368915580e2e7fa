//! Listeners.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use http::{Request, Response};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinHandle;

use crate::acceptor::{Accepted, Acceptor, Secured};
use crate::body::Body;
use crate::connections::{Closing, Connection, Connections};
use crate::peer::Peer;
use crate::serving::Shared;
use crate::unix::Socket;

/// Connections that the kernel may keep until they are accepted.
const BACKLOG: u32 = 4096;
/// Pause after an accept that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers requests.
///
/// The future is dropped when the client goes away, so whatever must not stop half-way belongs into one step or into a
/// task of its own.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request; a panic becomes the answer 500 and ends nothing else.
    fn handle(
        &self,
        request: Request<Body>,
        connection: Arc<Connection>,
    ) -> impl Future<Output = Response<Body>> + Send;
}

impl<H: Handler> Handler for Arc<H> {
    fn handle(
        &self,
        request: Request<Body>,
        connection: Arc<Connection>,
    ) -> impl Future<Output = Response<Body>> + Send {
        H::handle(self, request, connection)
    }
}

/// What a listener's clients may use up.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Longest TLS handshake.
    pub handshake: Duration,
    /// Longest time from the first byte of a request to the end of its header.
    pub header: Duration,
    /// Longest time between requests.
    pub idle: Duration,
    /// Longest time that a client may keep a request body or the reading of its answer waiting.
    pub body_stall: Duration,
    /// Slowest request body: waiting that is not earned by this rate counts as stalling.
    pub body_bytes_per_second_min: u32,
    /// Most connections at a time, handshakes included; further ones wait in the kernel.
    pub connections_max: usize,
    /// Largest request header.
    pub header_bytes_max: usize,
    /// Most fields in a request header.
    pub headers_max: usize,
    /// Most concurrent requests of an HTTP/2 connection.
    pub streams_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            header: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            body_stall: Duration::from_secs(15),
            body_bytes_per_second_min: 256,
            connections_max: 20_000,
            header_bytes_max: 32 * 1024,
            headers_max: 100,
            streams_max: 128,
        }
    }
}

/// A listener with its connections; dropping it ends them all at once.
#[must_use = "a server that is dropped stops"]
pub struct Server {
    local_addr: SocketAddr,
    connections: Arc<Connections>,
    permits: Arc<Semaphore>,
    permits_max: u32,
    stop: watch::Sender<Stop>,
    accepting: JoinHandle<()>,
}

impl Server {
    /// Serves HTTP/1.1 and HTTP/2 over TLS, from now on and in the background of the present runtime.
    pub fn bind(
        address: SocketAddr,
        acceptor: Arc<Acceptor>,
        limits: Limits,
        handler: impl Handler,
    ) -> io::Result<Self> {
        Self::serve(listen(address)?, acceptor, limits, handler)
    }

    /// As [`Server::bind`], on a socket that is there already: its address was needed to make the handler.
    pub fn serve(
        listener: TcpListener,
        acceptor: Arc<Acceptor>,
        limits: Limits,
        handler: impl Handler,
    ) -> io::Result<Self> {
        let local = listener.local_addr()?;
        let listener = Listener::Tls(listener, acceptor);
        Ok(Self::start(listener, local, limits, handler))
    }

    /// Serves HTTP/1.1 without TLS: for management on loopback, and for what is signed anyway.
    pub fn bind_plain(
        address: SocketAddr,
        limits: Limits,
        handler: impl Handler,
    ) -> io::Result<Self> {
        Self::serve_plain(listen(address)?, limits, handler)
    }

    /// As [`Server::bind_plain`], on a socket that is there already: its address was needed to make the handler.
    pub fn serve_plain(
        listener: TcpListener,
        limits: Limits,
        handler: impl Handler,
    ) -> io::Result<Self> {
        let local = listener.local_addr()?;
        Ok(Self::start(
            Listener::Plain(listener),
            local,
            limits,
            handler,
        ))
    }

    /// Serves HTTP/1.1 on a socket in the file system, which only the owner of the process can open.
    ///
    /// A stale socket is replaced, but not one on which somebody answers, nor a file of another kind.
    pub fn bind_unix(
        path: impl AsRef<Path>,
        limits: Limits,
        handler: impl Handler,
    ) -> io::Result<Self> {
        let socket = Socket::bind(path.as_ref())?;
        Ok(Self::start(
            Listener::Unix(socket),
            NOWHERE,
            limits,
            handler,
        ))
    }

    fn start(
        listener: Listener,
        local_addr: SocketAddr,
        limits: Limits,
        handler: impl Handler,
    ) -> Self {
        let permits_max = u32::try_from(limits.connections_max)
            .unwrap_or(u32::MAX)
            .clamp(1, u32::MAX >> 4);
        let permits = Arc::new(Semaphore::new(permits_max as usize));
        let connections = Arc::new(Connections::default());
        let (stop, stopped) = watch::channel(Stop::No);
        let accepting = Accepting {
            listener,
            permits: Arc::clone(&permits),
            shared: Arc::new(Shared {
                stopped: Stopped(stopped),
                handler: Arc::new(handler),
                limits: Arc::new(limits),
                connections: Arc::clone(&connections),
            }),
        };
        let accepting = tokio::spawn(accepting.run());
        Self {
            local_addr,
            connections,
            permits,
            permits_max,
            stop,
            accepting,
        }
    }

    /// Where the server listens; for a unix socket a loopback address with port 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The live connections.
    pub fn connections(&self) -> &Arc<Connections> {
        &self.connections
    }

    /// Accepts nothing more, lets running requests finish, and after `grace` ends what is left.
    ///
    /// Returns how many connections had to be ended.
    pub async fn drain(mut self, grace: Duration) -> usize {
        self.stop.send_replace(Stop::Accepting);
        self.connections.drain();
        let all_gone = async {
            let _ = (&mut self.accepting).await;
            // Every handshake and every connection holds a permit until it is gone.
            let _ = self.permits.acquire_many(self.permits_max).await;
        };
        if tokio::time::timeout(grace, all_gone).await.is_ok() {
            return 0;
        }
        let aborted = self.connections.close(|_| true, Closing::Now);
        self.stop.send_replace(Stop::Everything);
        // Nothing waits for a peer any more.
        let _ = self.permits.acquire_many(self.permits_max).await;
        aborted
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.send_replace(Stop::Everything);
        self.connections.close(|_| true, Closing::Now);
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("local_addr", &self.local_addr)
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}

/// The address of what has none.
const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A listening socket for [`Server::serve`].
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

enum Listener {
    Tls(TcpListener, Arc<Acceptor>),
    Plain(TcpListener),
    Unix(Socket),
}

enum Arrival {
    Tls(TcpStream, SocketAddr, Arc<Acceptor>),
    Plain(TcpStream, SocketAddr),
    Unix(UnixStream),
}

impl Listener {
    async fn accept(&self) -> io::Result<Arrival> {
        match self {
            Self::Tls(listener, acceptor) => {
                let (stream, remote) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Arrival::Tls(stream, remote, Arc::clone(acceptor)))
            }
            Self::Plain(listener) => {
                let (stream, remote) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Arrival::Plain(stream, remote))
            }
            Self::Unix(socket) => Ok(Arrival::Unix(socket.listener.accept().await?.0)),
        }
    }
}

/// The task that accepts.
struct Accepting<H> {
    listener: Listener,
    permits: Arc<Semaphore>,
    shared: Arc<Shared<H>>,
}

impl<H: Handler> Accepting<H> {
    async fn run(self) {
        let mut stopped = self.shared.stopped.clone();
        loop {
            // The permit comes first: beyond the limit, connections wait in the kernel and cost nothing here.
            let arrival = async {
                let permit = Arc::clone(&self.permits).acquire_owned().await;
                (permit, self.listener.accept().await)
            };
            let (permit, arrival) = tokio::select! {
                biased;
                () = stopped.reached(Stop::Accepting) => break,
                arrival = arrival => arrival,
            };
            let Ok(permit) = permit else { break };
            match arrival {
                Ok(arrival) => self.spawn(arrival, permit),
                Err(error) if concerns_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections for the moment");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        // What the kernel has accepted already would otherwise be reset.
        while stopped.now() < Stop::Everything {
            let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
                break;
            };
            match self.listener.accept().now_or_never() {
                Some(Ok(arrival)) => self.spawn(arrival, permit),
                Some(Err(error)) if concerns_one_connection(&error) => {}
                _ => break,
            }
        }
    }

    fn spawn(&self, arrival: Arrival, permit: OwnedSemaphorePermit) {
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            serve(&shared, arrival).await;
            drop(permit);
        });
    }
}

async fn serve<H: Handler>(shared: &Shared<H>, arrival: Arrival) {
    match arrival {
        Arrival::Tls(stream, remote, acceptor) => {
            let mut stopped = shared.stopped.clone();
            let handshake = acceptor.accept(stream, remote.ip());
            let handshake = tokio::time::timeout(shared.limits.handshake, handshake);
            let outcome = tokio::select! {
                outcome = handshake => outcome,
                () = stopped.reached(Stop::Everything) => return,
            };
            let accepted = match outcome {
                Ok(Ok(accepted)) => accepted,
                Ok(Err(error)) => return tracing::debug!(%remote, %error, "handshake refused"),
                Err(_) => return tracing::debug!(%remote, "handshake took too long"),
            };
            // Boxed, since a connection lives longer than its handshake and should not keep the room for it.
            let Accepted {
                stream,
                peer,
                session,
                http2,
            } = accepted;
            match stream {
                Secured::Certificate(stream) => {
                    Box::pin(shared.serve(stream, peer, session, remote, http2)).await;
                }
                Secured::Psk(stream) => {
                    Box::pin(shared.serve(stream, peer, session, remote, http2)).await;
                }
            }
        }
        Arrival::Plain(stream, remote) => {
            shared
                .serve(stream, Peer::Anonymous, None, remote, false)
                .await;
        }
        Arrival::Unix(stream) => {
            shared
                .serve(stream, Peer::Anonymous, None, NOWHERE, false)
                .await;
        }
    }
}

/// Errors of the connection that would have been accepted, not of the listener.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::NotConnected
            | io::ErrorKind::InvalidInput
    )
}

/// How far a server is on its way out.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Stop {
    No,
    /// Accept nothing more.
    Accepting,
    /// End what runs.
    Everything,
}

/// Sees how far the server is.
#[derive(Clone)]
pub(crate) struct Stopped(watch::Receiver<Stop>);

impl Stopped {
    pub(crate) fn now(&self) -> Stop {
        *self.0.borrow()
    }

    async fn reached(&mut self, stop: Stop) {
        // An error means that the server is gone, which is as far as it gets.
        let _ = self.0.wait_for(|now| *now >= stop).await;
    }
}
