//! A connection that another protocol takes over after an answer 101 (RFC 9110 section 7.8).
//!
//! HTTP/1.1 alone has this here. The connection stays listed and stays the one that its handshake proved: whoever ends it ends
//! what took it over.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;
use tokio::time::Sleep;

use crate::connections::{Connection, Stage};

/// How long whoever took a connection over may take to say goodbye.
const GOODBYE_MAX: Duration = Duration::from_secs(1);

/// The octets of a connection that was taken over.
pub struct TakenStream {
    /// What came right behind the request.
    ahead: Bytes,
    inner: Box<dyn Duplex>,
}

/// Says when a connection is to end: it resolves, whatever to.
pub type Leaving = oneshot::Receiver<()>;

type Running = Pin<Box<dyn Future<Output = ()> + Send>>;
type Run = Box<dyn FnOnce(TakenStream, Leaving) -> Running + Send>;

/// What goes on with a connection once an answer 101 is out: an extension of that answer.
#[derive(Clone)]
pub struct Takeover(Arc<Mutex<Option<Run>>>);

impl Takeover {
    /// Goes on with this.
    pub fn new<F>(run: impl FnOnce(TakenStream, Leaving) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let run: Run = Box::new(move |stream, leaving| Box::pin(run(stream, leaving)));
        Self(Arc::new(Mutex::new(Some(run))))
    }

    fn take(&self) -> Option<Run> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl std::fmt::Debug for Takeover {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Takeover")
    }
}

/// Where the exchanges of a connection leave what is to take it over.
#[derive(Clone, Default)]
pub(crate) struct Agreed(Arc<Mutex<Option<Takeover>>>);

impl Agreed {
    pub(crate) fn set(&self, takeover: Takeover) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(takeover);
    }

    pub(crate) fn take(&self) -> Option<Takeover> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Hands a connection over, and waits for the end of what took it.
pub(crate) async fn hand_over<I>(takeover: &Takeover, ahead: Bytes, io: I, connection: &Connection)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Some(run) = takeover.take() else { return };
    let stream = TakenStream {
        ahead,
        inner: Box::new(io),
    };
    let (leave, leaving) = oneshot::channel();
    let mut leave = Some(leave);
    let mut running = run(stream, leaving);
    let mut goodbye: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|cx| {
        connection.watch(cx.waker());
        match connection.stage() {
            Stage::Open => {}
            Stage::Draining | Stage::Closing => {
                drop(leave.take());
                goodbye.get_or_insert_with(|| Box::pin(tokio::time::sleep(GOODBYE_MAX)));
            }
            Stage::Aborted => return Poll::Ready(()),
        }
        if running.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        match &mut goodbye {
            Some(timer) => timer.as_mut().poll(cx),
            None => Poll::Pending,
        }
    })
    .await;
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

impl AsyncRead for TakenStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return Pin::new(&mut self.inner).poll_read(cx, buffer);
        }
        let count = self.ahead.len().min(buffer.remaining());
        buffer.put_slice(&self.ahead.copy_to_bytes(count));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TakenStream {
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

impl std::fmt::Debug for TakenStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TakenStream")
    }
}
