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
use crate::psk::PskConnector;
use crate::session::{Capture, Session, SessionLabels, Tap};
use crate::unix;

/// Says which addresses may be dialled for a host, as the request writes it but without brackets: asked about the very address,
/// after names were looked up and before each connection.
pub type AddressGuard = Arc<dyn Fn(&str, SocketAddr) -> bool + Send + Sync>;

/// Looks the addresses of a host up.
pub type Resolver = Arc<dyn Resolve>;

/// How the addresses of a host are found.
pub trait Resolve: Send + Sync {
    /// The addresses of a host now; asked for each connection.
    fn resolve<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>>;
}

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
        tls: Option<CertificateTls>,
        plain: bool,
        reach: Reach,
    },
    /// By the host of the address, to servers that hold the same key.
    Psk(Arc<PskConnector>),
    /// To this socket, whatever the address says.
    Unix(Arc<PathBuf>),
}

impl Dialer {
    async fn dial(self, uri: Uri) -> Result<Link, ClientError> {
        let until = Instant::now() + self.timeout;
        match tokio::time::timeout_at(until, self.route.open(&uri, until)).await {
            Ok(result) => result,
            Err(_) => Err(ClientError::TimedOut),
        }
    }
}

impl Route {
    async fn open(&self, uri: &Uri, until: Instant) -> Result<Link, ClientError> {
        let https = uri.scheme() == Some(&Scheme::HTTPS);
        match self {
            Self::Unix(path) => unix::connect(path)
                .await
                .map(Link::new)
                .map_err(ClientError::Connect),
            Self::Psk(connector) if https => {
                let (host, port) = endpoint(uri, 443)?;
                let tcp = tcp(host, port, until).await?;
                let (stream, http2) = connector.connect(host, tcp).await?;
                Ok(Link {
                    http2,
                    ..Link::new(stream)
                })
            }
            Self::Host {
                tls: Some(tls),
                reach,
                ..
            } if https => {
                let (host, port) = endpoint(uri, 443)?;
                let tcp = reach.tcp(host, port, until).await?;
                tls.open(host, tcp).await
            }
            Self::Host { .. } if https => Err(ClientError::Request("no trust anchors for https")),
            Self::Host {
                plain: true, reach, ..
            } if uri.scheme() == Some(&Scheme::HTTP) => {
                let (host, port) = endpoint(uri, 80)?;
                reach.tcp(host, port, until).await.map(Link::new)
            }
            Self::Host { .. } | Self::Psk(_) => {
                Err(ClientError::Request("this scheme is not allowed here"))
            }
        }
    }
}

/// TLS with certificates.
#[derive(Clone)]
pub(crate) struct CertificateTls {
    pub(crate) config: Arc<ClientConfig>,
    /// Who alone may be at the other end.
    pub(crate) expected: Option<Arc<Expected>>,
    /// Whether the facts of each session are kept.
    pub(crate) session: Option<SessionLabels>,
}

impl CertificateTls {
    async fn open(&self, host: &str, tcp: TcpStream) -> Result<Link, ClientError> {
        let Some(labels) = self.session else {
            let stream = handshake(Arc::clone(&self.config), host, tcp).await?;
            return self.link(stream, None);
        };
        // The literal facts can be heard only through a configuration that serves this one handshake.
        let capture = Arc::<Capture>::default();
        let mut own = ClientConfig::clone(&self.config);
        own.key_log = Arc::clone(&capture) as _;
        let stream = handshake(Arc::new(own), host, Tap::new(tcp)).await?;
        let (tap, tls) = stream.get_ref();
        if let Some(id) = tap.session_id() {
            capture.session_id(id.to_vec());
        }
        let session = Session::of(tls, labels, Some(&capture))
            .map_err(|error| ClientError::Tls(error.to_string()))?;
        self.link(stream, Some(Arc::new(session)))
    }

    fn link<I>(
        &self,
        stream: TlsStream<I>,
        session: Option<Arc<Session>>,
    ) -> Result<Link, ClientError>
    where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (_, tls) = stream.get_ref();
        if let Some(expected) = &self.expected {
            expected.check(tls.peer_certificates())?;
        }
        Ok(Link {
            http2: tls.alpn_protocol() == Some(ALPN_HTTP2),
            session,
            ..Link::new(stream)
        })
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

/// Connects to a host, wherever its name leads.
pub(crate) async fn tcp(host: &str, port: u16, until: Instant) -> Result<TcpStream, ClientError> {
    Reach::default().tcp(host, port, until).await
}

/// How far connections may go.
#[derive(Clone, Default)]
pub(crate) struct Reach {
    /// Which addresses alone are dialled; every one if absent.
    pub(crate) guard: Option<AddressGuard>,
    /// What looks names up instead of the system.
    pub(crate) resolver: Option<Resolver>,
}

impl Reach {
    /// Tries the addresses of a host one after the other, those alone that the guard lets through: the addresses that were found,
    /// not the name, are dialled. Each gets an equal share of the time that is left.
    async fn tcp(&self, host: &str, port: u16, until: Instant) -> Result<TcpStream, ClientError> {
        let mut addresses: Vec<SocketAddr> = match &self.resolver {
            Some(resolver) => resolver.resolve(host, port).await,
            None => tokio::net::lookup_host((host, port))
                .await
                .map(Iterator::collect),
        }
        .map_err(ClientError::Connect)?;
        let found = addresses.len();
        if let Some(guard) = &self.guard {
            addresses.retain(|address| guard(host, *address));
        }
        if addresses.len() < found && addresses.is_empty() {
            return Err(ClientError::Request(
                "no address of this host may be dialled",
            ));
        }
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
}

pub(crate) async fn handshake<I>(
    config: Arc<ClientConfig>,
    host: &str,
    stream: I,
) -> Result<TlsStream<I>, ClientError>
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| ClientError::Request("the host is neither a name nor an address"))?;
    TlsConnector::from(config)
        .connect(name, stream)
        .await
        .map_err(ClientError::from_handshake)
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// An open connection of whichever kind.
pub(crate) struct Link {
    stream: Box<dyn Stream>,
    http2: bool,
    session: Option<Arc<Session>>,
}

impl Link {
    fn new(stream: impl Stream + 'static) -> Self {
        Self {
            stream: Box::new(stream),
            http2: false,
            session: None,
        }
    }
}

impl Connection for Link {
    fn connected(&self) -> Connected {
        let mut connected = Connected::new();
        if self.http2 {
            connected = connected.negotiated_h2();
        }
        if let Some(session) = &self.session {
            connected = connected.extra(Arc::clone(session));
        }
        connected
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
