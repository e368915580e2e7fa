//! Bodies of requests and responses.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep};

/// An error of any kind that ends a body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A body of either direction, whole or streamed.
pub type Body = BoxBody<Bytes, BoxError>;

/// A body that is already there.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    let bytes = bytes.into();
    if bytes.is_empty() {
        return empty();
    }
    Full::new(bytes).map_err(never).boxed()
}

/// Whether it is known before the first read that nothing comes.
#[must_use]
pub fn is_absent(body: &Body) -> bool {
    body.is_end_stream()
}

/// A body without content.
pub fn empty() -> Body {
    Empty::new().map_err(never).boxed()
}

/// Any body as [`Body`].
pub fn boxed<B>(body: B) -> Body
where
    B: HttpBody<Data = Bytes> + Send + Sync + 'static,
    B::Error: Into<BoxError>,
{
    if body.is_end_stream() {
        return empty();
    }
    body.map_err(Into::into).boxed()
}

fn never(error: Infallible) -> BoxError {
    match error {}
}

/// Why a body could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// More bytes than the caller takes.
    #[error("the body is larger than {bytes_max} bytes")]
    TooLarge {
        /// What the caller takes.
        bytes_max: usize,
    },
    /// The sender was too slow.
    #[error("the body did not arrive in time")]
    TimedOut,
    /// The connection or the framing broke.
    #[error("the body ended early")]
    Broken(#[source] BoxError),
}

/// Reads a whole body of at most `bytes_max` bytes within `timeout`.
pub async fn collect(body: Body, bytes_max: usize, timeout: Duration) -> Result<Bytes, BodyError> {
    let too_large = || BodyError::TooLarge { bytes_max };
    if is_longer(&body, bytes_max) {
        return Err(too_large());
    }
    let read = async {
        let mut body = body;
        let mut first = Bytes::new();
        let mut rest = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(broken)?.into_data() else {
                continue; // trailers
            };
            if first.len() + rest.len() + data.len() > bytes_max {
                return Err(too_large());
            }
            if first.is_empty() {
                first = data;
            } else {
                rest.extend_from_slice(&data);
            }
        }
        if rest.is_empty() {
            return Ok(first);
        }
        let mut whole = BytesMut::with_capacity(first.len() + rest.len());
        whole.extend_from_slice(&first);
        whole.extend_from_slice(&rest);
        Ok(whole.freeze())
    };
    match tokio::time::timeout(timeout, read).await {
        Ok(result) => result,
        Err(_) => Err(BodyError::TimedOut),
    }
}

/// Reads a body as [`collect`] does, and keeps nothing of it.
pub async fn hear_out(body: Body, bytes_max: usize, timeout: Duration) -> Result<(), BodyError> {
    if is_longer(&body, bytes_max) {
        return Err(BodyError::TooLarge { bytes_max });
    }
    let read = async {
        let mut body = body;
        let mut heard = 0;
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame.map_err(broken)?.into_data() {
                heard += data.len();
            }
            if heard > bytes_max {
                return Err(BodyError::TooLarge { bytes_max });
            }
        }
        Ok(())
    };
    let read = tokio::time::timeout(timeout, read).await;
    read.unwrap_or(Err(BodyError::TimedOut))
}

/// A declared length is refused before a byte of it is read.
fn is_longer(body: &Body, bytes_max: usize) -> bool {
    usize::try_from(body.size_hint().lower()).map_or(true, |lower| lower > bytes_max)
}

fn broken(error: BoxError) -> BodyError {
    match error.downcast::<BodyError>() {
        Ok(own) => *own,
        Err(other) => BodyError::Broken(other),
    }
}

/// A request body whose sender must keep a pace.
///
/// Waiting for the sender uses up a credit, and each byte earns some back; without credit the body ends with
/// [`BodyError::TimedOut`]. Time in which nobody asked for more costs nothing.
pub(crate) struct Paced {
    inner: Incoming,
    credit: Duration,
    credit_max: Duration,
    bytes_per_second: u32,
    waiting: Option<Waiting>,
}

struct Waiting {
    since: Instant,
    until: Pin<Box<Sleep>>,
}

impl Paced {
    pub(crate) fn new(inner: Incoming, stall: Duration, bytes_per_second: u32) -> Self {
        Self {
            inner,
            credit: stall,
            credit_max: stall,
            bytes_per_second: bytes_per_second.max(1),
            waiting: None,
        }
    }

    fn arrived(&mut self, bytes: usize) {
        if let Some(waiting) = self.waiting.take() {
            self.credit = self.credit.saturating_sub(waiting.since.elapsed());
        }
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let earned = Duration::from_secs(1).saturating_mul(bytes) / self.bytes_per_second;
        self.credit = self.credit.saturating_add(earned).min(self.credit_max);
    }
}

impl HttpBody for Paced {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) {
            let bytes = match &frame {
                Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len),
                _ => 0,
            };
            self.arrived(bytes);
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let credit = self.credit;
        let waiting = self.waiting.get_or_insert_with(|| Waiting {
            since: Instant::now(),
            until: Box::pin(tokio::time::sleep(credit)),
        });
        match waiting.until.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Some(Err(Box::new(BodyError::TimedOut)))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
