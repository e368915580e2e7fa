//! A stream that waits for the key to be found.
//!
//! The TLS library asks for a key in the midst of a handshake and wants it at once, but finding it takes time. In TLS 1.3
//! the identity stands in the hello, so the key is there before the library begins. In TLS 1.2 the identity comes with
//! the client's second flight, which is therefore held back here until the key is found.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::hello::key_exchange_identity;
use crate::records::{FirstMessage, Progress};
use crate::replay::Replay;

/// Most octets that are held back; a key exchange needs far less.
const HELD_BYTES_MAX: usize = 32 * 1024;
/// Read at once while holding back: a whole second flight, as a rule.
const PIECE_BYTES: usize = 1024;

/// Finds the key of an identity and puts it where the library will look.
pub(super) type Finding = Pin<Box<dyn Future<Output = ()> + Send>>;
type Find = Box<dyn FnOnce(Vec<u8>) -> Finding + Send>;

/// The stream under a handshake with keys, and under what follows it.
pub(crate) struct Gate<I> {
    inner: Replay<I>,
    state: State,
}

enum State {
    /// Nothing is held back.
    Open,
    /// The hello is still to be given.
    Hello(Find),
    /// Holding back what comes until the identity is complete.
    Identity(Box<Held>),
    /// Holding back until the key is found.
    Key(Finding, Vec<u8>),
}

struct Held {
    find: Find,
    message: FirstMessage,
    octets: Vec<u8>,
}

impl<I> Gate<I> {
    /// Holds nothing back.
    pub(super) fn open(inner: Replay<I>) -> Self {
        Self {
            inner,
            state: State::Open,
        }
    }

    /// Holds back what follows the hello, which the stream replays, until `find` is through.
    pub(super) fn holding(
        inner: Replay<I>,
        find: impl FnOnce(Vec<u8>) -> Finding + Send + 'static,
    ) -> Self {
        Self {
            inner,
            state: State::Hello(Box::new(find)),
        }
    }
}

impl<I: AsyncRead + Unpin> Gate<I> {
    /// Reads on until nothing need be held back any more.
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            self.state = match std::mem::replace(&mut self.state, State::Open) {
                State::Open => return Poll::Ready(Ok(())),
                State::Hello(find) => State::Identity(Box::new(Held {
                    find,
                    message: FirstMessage::default(),
                    octets: Vec::new(),
                })),
                State::Identity(mut held) => {
                    let mut piece = [0; PIECE_BYTES];
                    let mut buffer = ReadBuf::new(&mut piece);
                    let read = Pin::new(&mut self.inner).poll_read(cx, &mut buffer);
                    if read.is_pending() {
                        self.state = State::Identity(held);
                        return Poll::Pending;
                    }
                    ready!(read)?;
                    let come = buffer.filled();
                    held.octets.extend_from_slice(come);
                    match held.message.feed(come) {
                        Progress::More
                            if !come.is_empty() && held.octets.len() < HELD_BYTES_MAX =>
                        {
                            State::Identity(held)
                        }
                        // Not what should come, or the end: the library will say so.
                        Progress::More | Progress::Other => self.release(held.octets),
                        Progress::Complete => match key_exchange_identity(&held.message) {
                            None => self.release(held.octets),
                            Some(identity) => State::Key((held.find)(identity), held.octets),
                        },
                    }
                }
                State::Key(mut finding, octets) => {
                    if finding.as_mut().poll(cx).is_pending() {
                        self.state = State::Key(finding, octets);
                        return Poll::Pending;
                    }
                    self.release(octets)
                }
            };
        }
    }

    fn release(&mut self, octets: Vec<u8>) -> State {
        self.inner.replay(octets);
        State::Open
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Gate<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let waits = match self.state {
            State::Open => false,
            State::Hello(_) => !self.inner.is_replaying(),
            State::Identity(_) | State::Key(..) => true,
        };
        if waits {
            ready!(self.poll_open(cx))?;
        }
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Gate<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
