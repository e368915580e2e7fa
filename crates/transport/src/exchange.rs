//! One request and its answer, between the HTTP library and the handler.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::FutureExt;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};

use crate::body::{Body, BoxError, Paced, boxed, empty, full};
use crate::connections::{Connection, Stage};
use crate::server::{Handler, Limits};
use crate::takeover::{Agreed, Takeover};

/// Largest piece that is handed to the HTTP library at once; the next one shows that the client still reads.
const PIECE_BYTES_MAX: usize = 64 * 1024;

/// What is said of a switch of protocols that nothing here can go on with.
const NO_SWITCH: &str = "ask for the switch over HTTP/1.1";
/// What is said of a request whose handler failed.
const FAULT: &str = "the fault is on this side: tell the operator";

/// Answers the requests of one connection.
pub(crate) struct Exchanges<H> {
    pub(crate) handler: Arc<H>,
    pub(crate) connection: Arc<Connection>,
    pub(crate) limits: Arc<Limits>,
    /// Where to leave what takes the connection over; absent where nothing can.
    pub(crate) agreed: Option<Agreed>,
}

impl<H> Clone for Exchanges<H> {
    fn clone(&self) -> Self {
        Self {
            handler: Arc::clone(&self.handler),
            connection: Arc::clone(&self.connection),
            limits: Arc::clone(&self.limits),
            agreed: self.agreed.clone(),
        }
    }
}

impl<H: Handler> Exchanges<H> {
    pub(crate) fn answer(
        &self,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<Answer>, Infallible>> + Send + use<H> {
        let Self {
            handler,
            connection,
            limits,
            agreed,
        } = self.clone();
        // Counted from the moment the head is complete, not from the first poll of this future.
        let refusal = refusal(&request, &connection, &limits);
        let turn = Turn::new(Arc::clone(&connection));
        async move {
            let http1 = request.version() <= Version::HTTP_11;
            let head = request.method() == Method::HEAD;
            let mut response = match refusal {
                Some((status, detail)) => problem(status, detail),
                None => {
                    let request = request.map(|body| paced(body, &limits));
                    handled(&*handler, request, &connection).await
                }
            };
            let takeover = response.extensions_mut().remove::<Takeover>();
            let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
            match (takeover, agreed) {
                (Some(takeover), Some(agreed)) if switches => agreed.set(takeover),
                // Nothing could go on with it.
                _ if switches => response = problem(StatusCode::UPGRADE_REQUIRED, NO_SWITCH),
                _ => {}
            }
            // HTTP/2 has no such header and sends GOAWAY.
            if http1 && !switches && connection.stage() > Stage::Open {
                response
                    .headers_mut()
                    .insert(CONNECTION, HeaderValue::from_static("close"));
            }
            if head {
                response = without_content(response);
            }
            Ok(response.map(|inner| Answer::new(inner, turn)))
        }
    }
}

/// The answer to a HEAD request: the fields as for GET, no content (RFC 9110 section 9.3.2). Over HTTP/2 the library leaves
/// that to us.
fn without_content(mut response: Response<Body>) -> Response<Body> {
    if let Some(length) = response.body().size_hint().exact()
        && length > 0
    {
        let headers = response.headers_mut();
        headers.entry(CONTENT_LENGTH).or_insert(length.into());
    }
    response.map(|_| empty())
}

fn paced(body: Incoming, limits: &Limits) -> Body {
    boxed(Paced::new(
        body,
        limits.body_stall,
        limits.body_bytes_per_second_min,
    ))
}

/// What no handler needs to see: the status, and what to do about it.
fn refusal(
    request: &Request<Incoming>,
    connection: &Connection,
    limits: &Limits,
) -> Option<(StatusCode, &'static str)> {
    if connection.is_closing() {
        return Some((
            StatusCode::SERVICE_UNAVAILABLE,
            "this connection is at its end and nothing of the request was done: repeat it on another one",
        ));
    }
    if request.headers().len() > limits.headers_max {
        return Some((
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "send fewer header fields",
        ));
    }
    if request.method() == Method::CONNECT {
        return Some((
            StatusCode::NOT_IMPLEMENTED,
            "nothing is tunnelled through this server",
        ));
    }
    None
}

/// Runs the handler; its panic ends this request only.
async fn handled(
    handler: &impl Handler,
    request: Request<Body>,
    connection: &Arc<Connection>,
) -> Response<Body> {
    let handling = async { handler.handle(request, Arc::clone(connection)).await };
    match AssertUnwindSafe(handling).catch_unwind().await {
        Ok(response) => response,
        Err(_payload) => {
            // The payload may quote what the client sent, so it is not logged.
            tracing::error!(connection = connection.id, "a request handler panicked");
            problem(StatusCode::INTERNAL_SERVER_ERROR, FAULT)
        }
    }
}

/// A problem report as TS 29.122 clause 5.2.6 has them.
fn problem(status: StatusCode, detail: &'static str) -> Response<Body> {
    let title = status.canonical_reason().unwrap_or("Error");
    let json = format!(
        r#"{{"title":"{title}","status":{},"detail":"{detail}"}}"#,
        status.as_u16()
    );
    let mut response = Response::new(full(json));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    response
}

/// Counts a request as running, and whose turn it is, until it is dropped.
struct Turn {
    connection: Arc<Connection>,
    ours: bool,
}

impl Turn {
    fn new(connection: Arc<Connection>) -> Self {
        connection.activity().begin();
        Self {
            connection,
            ours: true,
        }
    }

    fn ours(&mut self) {
        if !self.ours {
            self.connection.activity().take();
            self.ours = true;
        }
    }

    fn clients(&mut self) {
        if self.ours {
            self.connection.activity().give();
            self.ours = false;
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.clients();
        self.connection.activity().end();
        self.connection.answered();
    }
}

/// A response body that notes when the client takes another piece.
pub(crate) struct Answer {
    inner: Body,
    rest: Bytes,
    turn: Turn,
}

impl Answer {
    fn new(inner: Body, turn: Turn) -> Self {
        Self {
            inner,
            rest: Bytes::new(),
            turn,
        }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        this.turn.ours();
        if this.rest.is_empty() {
            let frame = match Pin::new(&mut this.inner).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => frame,
                other => return other,
            };
            match frame.into_data() {
                Ok(data) => this.rest = data,
                Err(trailers) => {
                    this.turn.clients();
                    return Poll::Ready(Some(Ok(trailers)));
                }
            }
        }
        let piece = this.rest.split_to(this.rest.len().min(PIECE_BYTES_MAX));
        this.turn.clients();
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let held = u64::try_from(self.rest.len()).unwrap_or(u64::MAX);
        let inner = self.inner.size_hint();
        let mut hint = SizeHint::new();
        if let Some(upper) = inner.upper().and_then(|upper| upper.checked_add(held)) {
            hint.set_upper(upper);
        }
        hint.set_lower(inner.lower().saturating_add(held));
        hint
    }
}
