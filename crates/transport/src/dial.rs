//! The client's half of a connection: address, TCP, handshake.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::connector::{ClientError, Expected};
use crate::profile::ALPN_HTTP2;
use crate::unix;

/// Opens connections for the pool.
#[derive(Clone)]
pub(crate) struct Dialer {
    pub(crate) route: Route,
    pub(crate) timeout: Duration,
}

#[derive(Clone)]
pub(crate) enum Route {
    /// By the host of the address.
    Host {
        tls: Option<Arc<ClientConfig>>,
        /// Who alone may be at the other end of TLS.
        expected: Option<Arc<Expected>>,
        plain: bool,
    },
    /// To this socket, whatever the address says.
    Unix(Arc<PathBuf>),
}

impl Dialer {
    async fn dial(self, uri: Uri) -> Result<Link, ClientError> {
        let until = Instant::now() + self.timeout;
        let open = async {
            match &self.route {
                Route::Unix(path) => unix::connect(path)
                    .await
                    .map(Link::new)
                    .map_err(ClientError::Connect),
                Route::Host {
                    tls,
                    expected,
                    plain,
                } => match (uri.scheme(), tls) {
                    (Some(scheme), Some(tls)) if *scheme == Scheme::HTTPS => {
                        let (host, port) = endpoint(&uri, 443)?;
                        let tcp = tcp(host, port, until).await?;
                        let stream = handshake(Arc::clone(tls), host, tcp).await?;
                        if let Some(expected) = expected {
                            expected.check(stream.get_ref().1.peer_certificates())?;
                        }
                        let http2 = stream.get_ref().1.alpn_protocol() == Some(ALPN_HTTP2);
                        Ok(Link {
                            http2,
                            ..Link::new(stream)
                        })
                    }
                    (Some(scheme), _) if *scheme == Scheme::HTTP && *plain => {
                        let (host, port) = endpoint(&uri, 80)?;
                        tcp(host, port, until).await.map(Link::new)
                    }
                    (Some(scheme), None) if *scheme == Scheme::HTTPS => {
                        Err(ClientError::Request("no trust anchors for https"))
                    }
                    _ => Err(ClientError::Request("this scheme is not allowed here")),
                },
            }
        };
        match tokio::time::timeout_at(until, open).await {
            Ok(result) => result,
            Err(_) => Err(ClientError::TimedOut),
        }
    }
}

impl tower_service::Service<Uri> for Dialer {
    type Response = TokioIo<Link>;
    type Error = ClientError;
    type Future = Pin<Box<dyn Future<Output = Result<TokioIo<Link>, ClientError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let dialer = self.clone();
        Box::pin(async move { dialer.dial(uri).await.map(TokioIo::new) })
    }
}

fn endpoint(uri: &Uri, default_port: u16) -> Result<(&str, u16), ClientError> {
    let host = uri
        .host()
        .ok_or(ClientError::Request("the address names no host"))?;
    Ok((
        without_brackets(host),
        uri.port_u16().unwrap_or(default_port),
    ))
}

pub(crate) fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
}

/// Tries the addresses of a host one after the other; each gets an equal share of the time that is left.
pub(crate) async fn tcp(host: &str, port: u16, until: Instant) -> Result<TcpStream, ClientError> {
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host, port))
        .await
        .map_err(ClientError::Connect)?
        .collect();
    let mut left = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    let mut last = ClientError::Connect(io::Error::new(
        io::ErrorKind::NotFound,
        "the host has no address",
    ));
    for address in addresses {
        let share = until.saturating_duration_since(Instant::now()) / left.max(1);
        left = left.saturating_sub(1);
        match tokio::time::timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true).map_err(ClientError::Connect)?;
                return Ok(stream);
            }
            Ok(Err(error)) => last = ClientError::Connect(error),
            Err(_) => last = ClientError::TimedOut,
        }
    }
    Err(last)
}

pub(crate) async fn handshake(
    config: Arc<ClientConfig>,
    host: &str,
    tcp: TcpStream,
) -> Result<TlsStream<TcpStream>, ClientError> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| ClientError::Request("the host is neither a name nor an address"))?;
    TlsConnector::from(config)
        .connect(name, tcp)
        .await
        .map_err(ClientError::from_handshake)
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// An open connection of whichever kind.
pub(crate) struct Link {
    stream: Box<dyn Stream>,
    http2: bool,
}

impl Link {
    fn new(stream: impl Stream + 'static) -> Self {
        Self {
            stream: Box::new(stream),
            http2: false,
        }
    }
}

impl Connection for Link {
    fn connected(&self) -> Connected {
        if self.http2 {
            Connected::new().negotiated_h2()
        } else {
            Connected::new()
        }
    }
}

impl AsyncRead for Link {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Link {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
