//! Live connections, and how to end them.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::time::Instant;

use crate::peer::Peer;
use crate::session::Session;

/// One connection of a client, from the end of its handshake on.
pub struct Connection {
    /// Distinguishes the connections of one server.
    pub id: u64,
    /// Who is at the other end.
    pub peer: Peer,
    /// Where the other end is; for a unix socket a loopback address with port 0.
    pub remote: SocketAddr,
    stage: AtomicU8,
    waker: AtomicWaker,
    activity: Activity,
    claim: OnceLock<String>,
    session: Option<Box<Session>>,
}

/// How far a connection is on its way out; never goes back.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub(crate) enum Stage {
    Open = 0,
    /// Running and just arriving requests are answered, then it ends.
    Draining = 1,
    /// Running requests are answered, later ones refused, then it ends.
    Closing = 2,
    /// Ends now.
    Aborted = 3,
}

impl Connection {
    pub(crate) fn new(
        id: u64,
        peer: Peer,
        remote: SocketAddr,
        session: Option<Box<Session>>,
    ) -> Self {
        Self {
            id,
            peer,
            remote,
            stage: AtomicU8::new(Stage::Open as u8),
            waker: AtomicWaker::new(),
            activity: Activity::new(),
            claim: OnceLock::new(),
            session,
        }
    }

    /// The facts of the TLS session, if the listener keeps them; never of a session that was proved by a key.
    pub fn session(&self) -> Option<&Session> {
        self.session.as_deref()
    }

    /// Claims the connection for somebody whom the handler recognised by other means than the certificate. The first claim
    /// stays: the answer is whether the connection belongs to `id`.
    pub fn claim(&self, id: &str) -> bool {
        self.claim.get_or_init(|| id.to_owned()) == id
    }

    /// Who claimed the connection.
    pub fn claimed_by(&self) -> Option<&str> {
        self.claim.get().map(String::as_str)
    }

    /// Ends the connection when the requests that have begun are answered; may be called before one of them is.
    ///
    /// HTTP/1.1 answers with `connection: close`, HTTP/2 sends GOAWAY; TLS says goodbye in both cases. A request that
    /// begins later is refused and does not reach the handler.
    pub fn close_after_response(&self) {
        self.advance(Stage::Closing);
    }

    /// Ends the connection at once, whatever runs on it.
    pub fn abort(&self) {
        self.advance(Stage::Aborted);
    }

    /// Whether the connection takes no further requests.
    pub fn is_closing(&self) -> bool {
        self.stage() >= Stage::Closing
    }

    pub(crate) fn drain(&self) {
        self.advance(Stage::Draining);
    }

    pub(crate) fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Acquire) {
            0 => Stage::Open,
            1 => Stage::Draining,
            2 => Stage::Closing,
            _ => Stage::Aborted,
        }
    }

    fn advance(&self, stage: Stage) {
        if self.stage.fetch_max(stage as u8, Ordering::AcqRel) < stage as u8 {
            self.waker.wake();
        }
    }

    /// An answer is out: a connection that was told to end may have waited for it.
    pub(crate) fn answered(&self) {
        if self.stage() > Stage::Open {
            self.waker.wake();
        }
    }

    /// Wakes this task when the stage changes; to be called before [`Connection::stage`].
    pub(crate) fn watch(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    pub(crate) fn activity(&self) -> &Activity {
        &self.activity
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("id", &self.id)
            .field("peer", &self.peer)
            .field("remote", &self.remote)
            .field("stage", &self.stage())
            .finish_non_exhaustive()
    }
}

/// Whose turn it is on a connection, and since when.
///
/// Counters only, no timer per request: the connection's one timer reads them when it fires.
pub(crate) struct Activity {
    start: Instant,
    /// Requests that have begun and whose answers are not sent.
    requests: AtomicUsize,
    /// Of these, the ones that wait for this process and not for the client.
    ours: AtomicUsize,
    /// Whether there has ever been a request.
    begun: AtomicBool,
    /// Milliseconds from `start` to the last progress.
    progress: AtomicU64,
    /// Milliseconds from `start`, plus one, to the first byte of a request that has not begun; 0 if there is none.
    head: AtomicU64,
}

impl Activity {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            requests: AtomicUsize::new(0),
            ours: AtomicUsize::new(0),
            begun: AtomicBool::new(false),
            progress: AtomicU64::new(0),
            head: AtomicU64::new(0),
        }
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn progressed(&self) {
        self.progress.store(self.elapsed(), Ordering::Relaxed);
    }

    /// A request is complete up to its body.
    pub(crate) fn begin(&self) {
        self.head.store(0, Ordering::Relaxed);
        self.begun.store(true, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.take();
        self.progressed();
    }

    /// An answer is handed over completely, or given up.
    pub(crate) fn end(&self) {
        self.progressed();
        self.requests.fetch_sub(1, Ordering::Release);
    }

    /// It is this process's turn for one request.
    pub(crate) fn take(&self) {
        self.ours.fetch_add(1, Ordering::Relaxed);
    }

    /// It is the client's turn for one request.
    pub(crate) fn give(&self) {
        self.progressed();
        self.ours.fetch_sub(1, Ordering::Release);
    }

    /// Bytes came in.
    pub(crate) fn received(&self) {
        if self.requests() == 0 && self.head.load(Ordering::Relaxed) == 0 {
            self.head
                .store(self.elapsed().saturating_add(1), Ordering::Relaxed);
        }
    }

    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::Acquire)
    }

    pub(crate) fn begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    pub(crate) fn waits_for_client(&self) -> bool {
        self.requests() > 0 && self.ours.load(Ordering::Acquire) == 0
    }

    pub(crate) fn last_progress(&self) -> Instant {
        self.at(self.progress.load(Ordering::Relaxed))
    }

    pub(crate) fn head_since(&self) -> Option<Instant> {
        let head = self.head.load(Ordering::Relaxed);
        head.checked_sub(1).map(|elapsed| self.at(elapsed))
    }

    fn at(&self, elapsed: u64) -> Instant {
        let start = self.start;
        start
            .checked_add(Duration::from_millis(elapsed))
            .unwrap_or(start)
    }
}

/// How to end connections.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Closing {
    /// When the requests are answered that have begun, or that the client sends before it hears of the end: they reach the
    /// handler, which judges each of them anyway, and no call is lost.
    AfterResponses,
    /// As [`Connection::abort`].
    Now,
}

/// The live connections of a server.
#[derive(Default)]
pub struct Connections {
    live: Mutex<HashMap<u64, Arc<Connection>>>,
    last_id: AtomicU64,
}

impl Connections {
    /// Ends the connections that `which` picks, and says how many they were.
    ///
    /// A handshake that is under way is no connection yet: whoever takes a right away checks it at each request too.
    pub fn close(&self, which: impl Fn(&Connection) -> bool, closing: Closing) -> usize {
        // Collected first, so that `which` may look at other connections.
        let live = self.live();
        let mut closed = 0;
        for connection in live.iter().filter(|connection| which(connection)) {
            match closing {
                Closing::AfterResponses => connection.drain(),
                Closing::Now => connection.abort(),
            }
            closed += 1;
        }
        closed
    }

    /// The live connections at this moment.
    pub fn live(&self) -> Vec<Arc<Connection>> {
        self.lock().values().map(Arc::clone).collect()
    }

    /// How many connections live.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether none lives.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn add(
        self: &Arc<Self>,
        peer: Peer,
        remote: SocketAddr,
        session: Option<Box<Session>>,
    ) -> Membership {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let connection = Arc::new(Connection::new(id, peer, remote, session));
        self.lock().insert(id, Arc::clone(&connection));
        Membership {
            connection,
            of: Arc::clone(self),
        }
    }

    pub(crate) fn drain(&self) {
        self.lock()
            .values()
            .for_each(|connection| connection.drain());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Connection>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections")
            .field("live", &self.len())
            .finish_non_exhaustive()
    }
}

/// A connection that is listed for as long as this lives.
pub(crate) struct Membership {
    pub(crate) connection: Arc<Connection>,
    of: Arc<Connections>,
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.of.lock().remove(&self.connection.id);
    }
}
