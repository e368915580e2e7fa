//! A stream whose beginning has been looked at and is there all the same.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

use crate::hello::ClientHello;
use crate::records::{FirstMessage, Progress};

/// Room for a usual hello.
const ROOM_BYTES: usize = 1024;
/// Most octets that are kept, records that are full of headers included. What does not fit into them is no client's hello.
const KEPT_BYTES_MAX: usize = 32 * 1024;

/// Gives what was looked at before what comes; the room is freed with the last of it.
pub(crate) struct Replay<I> {
    inner: I,
    kept: Vec<u8>,
    given: usize,
}

impl<I> Replay<I> {
    pub(crate) fn new(inner: I) -> Self {
        Self {
            inner,
            kept: Vec::new(),
            given: 0,
        }
    }

    /// Whether something is kept that has not been given.
    pub(crate) fn is_replaying(&self) -> bool {
        self.given < self.kept.len()
    }

    /// Gives this first of all. Whatever was kept before must have been given.
    pub(crate) fn replay(&mut self, kept: Vec<u8>) {
        self.kept = kept;
        self.given = 0;
    }
}

impl<I: AsyncRead + Unpin> Replay<I> {
    /// Looks at the hello that the stream begins with; none if it begins with something else.
    pub(crate) async fn client_hello(&mut self) -> io::Result<Option<ClientHello>> {
        let mut first = FirstMessage::default();
        self.kept.reserve(ROOM_BYTES);
        loop {
            let before = self.kept.len();
            if self.inner.read_buf(&mut self.kept).await? == 0 {
                return Ok(None);
            }
            let come = self.kept.get(before..).unwrap_or_default();
            match first.feed(come) {
                Progress::Complete => return Ok(ClientHello::of(&first)),
                Progress::More if self.kept.len() < KEPT_BYTES_MAX => {}
                Progress::More | Progress::Other => return Ok(None),
            }
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Replay<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.is_replaying() {
            return Pin::new(&mut self.inner).poll_read(cx, buffer);
        }
        let kept = self.kept.get(self.given..).unwrap_or_default();
        let part = kept.get(..buffer.remaining()).unwrap_or(kept);
        buffer.put_slice(part);
        let given = part.len();
        self.given += given;
        if !self.is_replaying() {
            self.replay(Vec::new());
        }
        Poll::Ready(Ok(()))
    }
}

crate::forward::writes!(Replay);
