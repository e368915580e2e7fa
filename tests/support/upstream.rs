//! HTTP APIs that behave as a test wants.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use capif_transport::{Body, BoxError, Connection, Handler, Limits, Server, boxed};
use http::{Request, Response};
use hyper::body::Frame;
use tokio::sync::mpsc;

/// A server on loopback that answers by a function.
pub struct Upstream {
    server: Server,
}

struct Answers<F>(F);

impl<F, R> Handler for Answers<F>
where
    F: Fn(Request<Body>) -> R + Send + Sync + 'static,
    R: Future<Output = Response<Body>> + Send,
{
    async fn handle(&self, request: Request<Body>, _connection: Arc<Connection>) -> Response<Body> {
        (self.0)(request).await
    }
}

impl Upstream {
    pub fn start<F, R>(answer: F) -> Self
    where
        F: Fn(Request<Body>) -> R + Send + Sync + 'static,
        R: Future<Output = Response<Body>> + Send + 'static,
    {
        Self::at("127.0.0.1:0".parse().unwrap(), answer)
    }

    /// The same at an address of the test's own.
    pub fn at<F, R>(address: SocketAddr, answer: F) -> Self
    where
        F: Fn(Request<Body>) -> R + Send + Sync + 'static,
        R: Future<Output = Response<Body>> + Send + 'static,
    {
        let server = Server::bind_plain(address, Limits::default(), Answers(answer)).unwrap();
        Self { server }
    }

    pub fn address(&self) -> SocketAddr {
        self.server.local_addr()
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// How many connections are open to it.
    pub fn connections(&self) -> usize {
        self.server.connections().len()
    }

    /// Closes the connections that are open, as an idle timeout would.
    pub fn close_connections(&self) {
        self.server
            .connections()
            .close(|_| true, capif_transport::Closing::AfterResponses);
    }
}

/// A body of which the test sends piece after piece; it ends when the sender is dropped.
pub fn piecewise() -> (mpsc::UnboundedSender<Bytes>, Body) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (sender, boxed(Pieces(receiver)))
}

struct Pieces(mpsc::UnboundedReceiver<Bytes>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0
            .poll_recv(context)
            .map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}
