//! A stream that notes when bytes come in, and that takes leave without losing the last answer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::Sleep;

use crate::connections::Connection;

/// Longest time to wait for the other end to close too.
const LINGER: Duration = Duration::from_secs(1);
/// Most bytes to discard meanwhile.
const LINGER_BYTES_MAX: usize = 256 * 1024;

/// The stream of a served connection.
///
/// Closing a socket with unread bytes makes the kernel reset the connection, and a reset can overtake the answer, for
/// instance when a body was refused before it was read. Therefore shutdown sends what there is (and the TLS goodbye),
/// then discards input until the other end closes, within bounds.
pub(crate) struct Watched<I> {
    inner: I,
    connection: Arc<Connection>,
    leaving: Option<Leaving>,
}

struct Leaving {
    until: Pin<Box<Sleep>>,
    discarded: usize,
}

impl<I> Watched<I> {
    pub(crate) fn new(inner: I, connection: Arc<Connection>) -> Self {
        Self {
            inner,
            connection,
            leaving: None,
        }
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> Watched<I> {
    /// Shuts down, unless that has begun already.
    pub(crate) async fn leave(mut self) {
        if self.leaving.is_none() {
            let _ = self.shutdown().await;
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Watched<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        if buffer.filled().len() > before {
            self.connection.activity().received();
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.leaving.is_none() {
            ready!(Pin::new(&mut this.inner).poll_shutdown(cx))?;
        }
        let leaving = this.leaving.get_or_insert_with(|| Leaving {
            until: Box::pin(tokio::time::sleep(LINGER)),
            discarded: 0,
        });
        let mut scratch = [0; 4096];
        while leaving.until.as_mut().poll(cx).is_pending() {
            let mut buffer = ReadBuf::new(&mut scratch);
            let read = ready!(Pin::new(&mut this.inner).poll_read(cx, &mut buffer));
            let bytes = buffer.filled().len();
            leaving.discarded += bytes;
            // Broken or not, the other end has nothing more to say.
            if read.is_err() || bytes == 0 || leaving.discarded > LINGER_BYTES_MAX {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}
