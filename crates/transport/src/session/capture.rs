//! Catching the facts that the TLS library keeps to itself.
//!
//! The library tells the master secret of TLS 1.2 only to a key log, and the session id only to the store in which a
//! server keeps what can be resumed. Here both are heard by one value that serves one handshake: nothing is logged,
//! nothing is stored, and nothing is ever resumed.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use rustls::KeyLog;
use rustls::server::StoresServerSessions;
use tokio::io::{AsyncRead, ReadBuf};
use zeroize::{Zeroize, Zeroizing};

use super::Tls12;
use crate::hello::server_session_id;
use crate::records::{FirstMessage, Progress};

/// How key logs call the master secret of TLS 1.2.
const MASTER_SECRET_LABEL: &str = "CLIENT_RANDOM";

/// Hears the literal facts of one handshake.
#[derive(Default)]
pub(crate) struct Capture(Mutex<Heard>);

#[derive(Default)]
struct Heard {
    master_secret: Option<Box<Zeroizing<[u8; 48]>>>,
    session_id: Option<Vec<u8>>,
}

impl Capture {
    /// Takes over the id that the server's hello told.
    pub(crate) fn session_id(&self, id: Vec<u8>) {
        self.heard().session_id = Some(id);
    }

    /// What was heard, if it was all of it.
    pub(super) fn take(&self) -> Option<Tls12> {
        let Heard {
            master_secret,
            session_id,
        } = std::mem::take(&mut *self.heard());
        Some(Tls12 {
            master_secret: master_secret?,
            session_id: session_id?,
        })
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeyLog for Capture {
    fn log(&self, label: &str, _client_random: &[u8], secret: &[u8]) {
        if !self.will_log(label) {
            return;
        }
        let mut octets = Box::new(Zeroizing::new([0; 48]));
        if secret.len() == octets.len() {
            octets.copy_from_slice(secret);
            self.heard().master_secret = Some(octets);
        }
    }

    fn will_log(&self, label: &str) -> bool {
        label == MASTER_SECRET_LABEL
    }
}

impl StoresServerSessions for Capture {
    fn put(&self, id: Vec<u8>, mut session: Vec<u8>) -> bool {
        session.zeroize();
        self.session_id(id);
        false
    }

    fn get(&self, _id: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn take(&self, _id: &[u8]) -> Option<Vec<u8>> {
        None
    }

    /// A server assigns an id only to what might be resumed.
    fn can_cache(&self) -> bool {
        true
    }
}

impl fmt::Debug for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Capture([redacted])")
    }
}

/// A stream that overhears the hello of the server at its other end.
pub(crate) struct Tap<I> {
    inner: I,
    hello: Option<FirstMessage>,
    session_id: Option<Vec<u8>>,
}

impl<I> Tap<I> {
    pub(crate) fn new(inner: I) -> Self {
        Self {
            inner,
            hello: Some(FirstMessage::default()),
            session_id: None,
        }
    }

    /// The session id in that hello; meaningful only if TLS 1.2 was negotiated.
    pub(crate) fn session_id(&self) -> Option<&[u8]> {
        self.session_id.as_deref()
    }

    fn overhear(&mut self, octets: &[u8]) {
        let Some(hello) = &mut self.hello else { return };
        match hello.feed(octets) {
            Progress::More => return,
            Progress::Complete => self.session_id = server_session_id(hello),
            Progress::Other => {}
        }
        self.hello = None;
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Tap<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        self.overhear(buffer.filled().get(before..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

crate::forward::writes!(Tap);
