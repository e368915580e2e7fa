//! One connection from its handshake to its end.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::Poll;
use std::time::Duration;

use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep};

use crate::connections::{Connection, Connections, Stage};
use crate::exchange::Exchanges;
use crate::peer::Peer;
use crate::server::{Handler, Limits, Stop, Stopped};
use crate::session::Session;
use crate::takeover::{self, Agreed};
use crate::watched::Watched;

/// Longest time from the last answer to the end of a connection that was told to end.
const CLOSE_MAX: Duration = Duration::from_secs(2);
/// How long a kept-alive HTTP/1.1 connection must be quiet before a drain ends it: a client that is just sending its
/// next request gets an answer with `connection: close` instead of a broken connection.
const DRAIN_QUIET: Duration = Duration::from_millis(250);
/// How long a drain of an HTTP/2 connection waits for a moment without a running request: a GOAWAY that overtakes an answer makes
/// some clients give the request up.
const DRAIN_BUSY_MAX: Duration = Duration::from_secs(1);

/// HTTP/2 bounds: what one connection may make this process hold.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 256 * 1024;
const SEND_BUFFER_BYTES_MAX: usize = 64 * 1024;
const RESET_STREAMS_MAX: usize = 32;
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// HTTP/1.1: the least that the library accepts for its buffer.
const BUFFER_BYTES_MIN: usize = 64 * 1024;

/// What all connections of a server share.
pub(crate) struct Shared<H> {
    pub(crate) handler: Arc<H>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) connections: Arc<Connections>,
    pub(crate) stopped: Stopped,
}

impl<H: Handler> Shared<H> {
    /// Serves until either end closes or a limit is passed.
    pub(crate) async fn serve<I>(
        &self,
        io: I,
        peer: Peer,
        session: Option<Box<Session>>,
        remote: SocketAddr,
        http2: bool,
    ) where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let member = self.connections.add(peer, remote, session);
        let connection = &member.connection;
        // Looked at after the connection is listed, so that it is told to end here or through the list.
        match self.stopped.now() {
            Stop::No => {}
            Stop::Accepting => connection.drain(),
            Stop::Everything => return,
        }
        let io = TokioIo::new(Watched::new(io, Arc::clone(connection)));
        let agreed = Agreed::default();
        let exchanges = Exchanges {
            handler: Arc::clone(&self.handler),
            connection: Arc::clone(connection),
            limits: Arc::clone(&self.limits),
            agreed: (!http2).then(|| agreed.clone()),
        };
        let service = service_fn(move |request| exchanges.answer(request));
        let watch = |protocol| Watch::new(connection, &self.limits, protocol);
        let end = if http2 {
            let streams = Streams::default();
            let serving = self.http2(streams.spawner()).serve_connection(io, service);
            let mut serving = Box::pin(serving);
            watch(Protocol::Http2)
                .run(&mut serving, |serving| serving.graceful_shutdown())
                .await
        } else {
            let serving = self.http1().serve_connection(io, service);
            let mut serving = Box::pin(serving);
            let end = watch(Protocol::Http1)
                .run(&mut serving, |serving| serving.graceful_shutdown())
                .await;
            if end != End::Dropped {
                let parts = Pin::into_inner(serving).into_parts();
                let io = parts.io;
                if let Some(takeover) = agreed.take() {
                    let io = io.into_inner();
                    takeover::hand_over(&takeover, parts.read_buf, io, connection).await;
                    return;
                }
                // The library says goodbye in most cases, but not in all.
                let _ = tokio::time::timeout(CLOSE_MAX, io.into_inner().leave()).await;
            }
            end
        };
        tracing::trace!(connection = connection.id, ?end, "connection ended");
    }

    fn http1(&self) -> http1::Builder {
        let limits = &self.limits;
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            // Also runs while a kept-alive connection is idle, so the watch below counts instead.
            .header_read_timeout(None)
            .max_header_size(limits.header_bytes_max)
            .max_buf_size(limits.header_bytes_max.saturating_add(BUFFER_BYTES_MIN));
        if limits.headers_max > 100 {
            // Up to 100, the library needs no allocation and the exchange counts.
            builder.max_headers(limits.headers_max);
        }
        builder
    }

    fn http2(&self, spawner: Spawner) -> http2::Builder<Spawner> {
        let limits = &self.limits;
        let mut builder = http2::Builder::new(spawner);
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.streams_max)
            .max_header_list_size(u32::try_from(limits.header_bytes_max).unwrap_or(u32::MAX))
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_send_buf_size(SEND_BUFFER_BYTES_MAX)
            .max_pending_accept_reset_streams(RESET_STREAMS_MAX)
            .max_local_error_reset_streams(RESET_STREAMS_MAX)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT);
        builder
    }
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Protocol {
    Http1,
    Http2,
}

/// The one timer of a connection.
struct Watch<'a> {
    connection: &'a Connection,
    limits: &'a Limits,
    protocol: Protocol,
    /// Since when the connection is drained.
    draining: Option<Instant>,
    /// Since when the connection has been told to end.
    ending: Option<Instant>,
}

/// What a look at the clock yields.
enum Verdict {
    /// Nothing before this moment.
    Look(Instant),
    /// Ask it to end.
    End,
    /// Nothing is left to be sent.
    Leave,
    /// End it.
    Drop,
}

/// How serving ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    /// By either end, or because it was time.
    Regular,
    /// Without regard to what was under way.
    Dropped,
}

impl<'a> Watch<'a> {
    fn new(connection: &'a Connection, limits: &'a Limits, protocol: Protocol) -> Self {
        Self {
            connection,
            limits,
            protocol,
            draining: None,
            ending: None,
        }
    }

    async fn run<C>(mut self, serving: &mut Pin<Box<C>>, end: impl Fn(Pin<&mut C>)) -> End
    where
        C: Future<Output = Result<(), hyper::Error>>,
    {
        let mut timer: Pin<Box<Sleep>> = Box::pin(tokio::time::sleep(self.limits.idle));
        poll_fn(|cx| {
            self.connection.watch(cx.waker());
            if self.must_end() {
                self.end(serving.as_mut(), &end);
            }
            loop {
                // First of all: nothing of an aborted connection may run on.
                if self.connection.stage() == Stage::Aborted {
                    return Poll::Ready(End::Dropped);
                }
                if let Poll::Ready(result) = serving.as_mut().poll(cx) {
                    if let Err(error) = result {
                        tracing::debug!(connection = self.connection.id, %error, "connection broke");
                    }
                    return Poll::Ready(End::Regular);
                }
                let deadline = match self.verdict(Instant::now()) {
                    Verdict::Leave => return Poll::Ready(End::Regular),
                    Verdict::Drop => return Poll::Ready(End::Dropped),
                    Verdict::End => {
                        self.end(serving.as_mut(), &end);
                        continue;
                    }
                    Verdict::Look(deadline) => deadline,
                };
                // A deadline that moved on is noticed when the timer fires.
                if timer.is_elapsed() || deadline < timer.deadline() {
                    timer.as_mut().reset(deadline);
                }
                if timer.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
            }
        })
        .await
    }

    fn end<C>(&mut self, serving: Pin<&mut C>, end: &impl Fn(Pin<&mut C>)) {
        if self.ending.is_none() {
            self.ending = Some(Instant::now());
            end(serving);
        }
    }

    fn must_end(&mut self) -> bool {
        let is_at_rest = self.connection.activity().requests() == 0;
        match self.connection.stage() {
            Stage::Open | Stage::Aborted => false,
            Stage::Draining => {
                self.draining.get_or_insert_with(Instant::now);
                // Whoever has heard of the end sends nothing new by now; whoever does not confirm it would be served for ever.
                let is_over = |ending: Instant| ending.elapsed() > CLOSE_MAX;
                if self.ending.is_some_and(is_over) {
                    self.connection.close_after_response();
                }
                self.protocol == Protocol::Http2 && is_at_rest
            }
            Stage::Closing => self.protocol == Protocol::Http1 || is_at_rest,
        }
    }

    /// Until when an HTTP/2 connection that is drained may find a moment without a running request.
    fn rest_until(&self) -> Option<Instant> {
        let since = self.draining.filter(|_| self.ending.is_none())?;
        (self.protocol == Protocol::Http2).then(|| since + DRAIN_BUSY_MAX)
    }

    fn verdict(&self, now: Instant) -> Verdict {
        let activity = self.connection.activity();
        let limits = self.limits;
        let last = activity.last_progress();
        let (deadline, then) = if activity.requests() > 0 {
            if let Some(until) = self.rest_until() {
                return if until <= now {
                    Verdict::End
                } else {
                    Verdict::Look(until)
                };
            }
            if !activity.waits_for_client() {
                // The client's silence is counted by the request's body; look again whether it reads its answer.
                return Verdict::Look(now + limits.body_stall);
            }
            (last + limits.body_stall, Verdict::Drop)
        } else if let Some(ending) = self.ending {
            // The library would wait for the rest of a first request.
            if self.protocol == Protocol::Http1 && !activity.begun() {
                return Verdict::Leave;
            }
            (last.max(ending) + CLOSE_MAX, Verdict::Drop)
        } else {
            let mut deadline = last + limits.idle;
            if self.protocol == Protocol::Http1 {
                if let Some(head) = activity.head_since() {
                    deadline = deadline.min(head + limits.header);
                } else if self.connection.stage() == Stage::Draining {
                    deadline = deadline.min(last + DRAIN_QUIET);
                }
            }
            (deadline, Verdict::End)
        };
        if deadline <= now {
            then
        } else {
            Verdict::Look(deadline)
        }
    }
}

/// The tasks of one HTTP/2 connection's streams; dropping it ends them.
#[derive(Default)]
struct Streams(Arc<Mutex<JoinSet<()>>>);

impl Streams {
    fn spawner(&self) -> Spawner {
        Spawner(Arc::downgrade(&self.0))
    }
}

/// Starts streams; weak, since each stream keeps a copy.
#[derive(Clone)]
struct Spawner(Weak<Mutex<JoinSet<()>>>);

impl<F> Executor<F> for Spawner
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        if let Some(streams) = self.0.upgrade() {
            let mut running = streams.lock().unwrap_or_else(PoisonError::into_inner);
            while running.try_join_next().is_some() {}
            running.spawn(stream);
        }
    }
}
