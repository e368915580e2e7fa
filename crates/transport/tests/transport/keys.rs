//! Listeners that accept keys, and raw clients that hold one.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use capif_transport::{
    Client, ClientLimits, Handler, Limits, Psk, PskCredential, PskKeys, PskTls, PskVersion,
};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use openssl::ssl::{
    Ssl, SslContextBuilder, SslMethod, SslOptions, SslSessionCacheMode, SslVerifyMode, SslVersion,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_openssl::SslStream;

use crate::support::{Authority, Site};

pub(crate) const NAME: &str = "3GPP-CAPIF.invoker-1.7";
pub(crate) const KEY: [u8; 32] = [7; 32];
pub(crate) const BOTH: [PskVersion; 2] = [PskVersion::Tls12, PskVersion::Tls13];

/// Knows one key and remembers who asked.
pub(crate) struct Keys {
    known: HashMap<String, Psk>,
    asked: Mutex<Vec<(String, IpAddr)>>,
    /// Each look-up takes one of these.
    turns: Semaphore,
}

impl Keys {
    pub(crate) fn new() -> Arc<Self> {
        Self::with_turns(Semaphore::MAX_PERMITS)
    }

    pub(crate) fn with_turns(turns: usize) -> Arc<Self> {
        Arc::new(Self {
            known: HashMap::from([(NAME.to_owned(), Psk::new(KEY))]),
            asked: Mutex::default(),
            turns: Semaphore::new(turns),
        })
    }

    pub(crate) fn asked(&self) -> Vec<(String, IpAddr)> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    pub(crate) fn let_one_through(&self) {
        self.turns.add_permits(1);
    }
}

impl PskKeys for Keys {
    fn key<'a>(
        &'a self,
        identity: &'a str,
        remote: IpAddr,
    ) -> Pin<Box<dyn Future<Output = Option<Psk>> + Send + 'a>> {
        let asked = (identity.to_owned(), remote);
        self.asked.lock().unwrap().push(asked);
        Box::pin(async move {
            self.turns.acquire().await.unwrap().forget();
            self.known.get(identity).cloned()
        })
    }
}

pub(crate) fn site(version: PskVersion, keys: Arc<Keys>, handler: impl Handler) -> Site {
    site_within(version, keys, handler, Limits::default())
}

pub(crate) fn site_within(
    version: PskVersion,
    keys: Arc<Keys>,
    handler: impl Handler,
    limits: Limits,
) -> Site {
    Site::with_tls(
        Authority::new(),
        |tls| tls.psk = Some(PskTls { version, keys }),
        handler,
        limits,
    )
}

pub(crate) fn credential(version: PskVersion) -> PskCredential {
    PskCredential {
        identity: NAME.to_owned(),
        key: Psk::new(KEY),
        version,
    }
}

pub(crate) fn client(credential: PskCredential) -> Client {
    Client::psk(credential, ClientLimits::default()).unwrap()
}

/// A client that is nothing but the library.
pub(crate) struct RawPsk {
    pub(crate) name: Vec<u8>,
    pub(crate) key: [u8; 32],
    pub(crate) builder: SslContextBuilder,
}

impl RawPsk {
    pub(crate) fn new(version: PskVersion) -> Self {
        let mut builder = SslContextBuilder::new(SslMethod::tls_client()).unwrap();
        let number = match version {
            PskVersion::Tls12 => SslVersion::TLS1_2,
            PskVersion::Tls13 => SslVersion::TLS1_3,
        };
        builder.set_min_proto_version(Some(number)).unwrap();
        builder.set_max_proto_version(Some(number)).unwrap();
        builder.set_cipher_list("PSK").unwrap();
        builder
            .set_session_cache_mode(SslSessionCacheMode::CLIENT | SslSessionCacheMode::NO_INTERNAL);
        builder.set_verify(SslVerifyMode::NONE);
        Self {
            name: NAME.as_bytes().to_vec(),
            key: KEY,
            builder,
        }
    }

    pub(crate) fn named(mut self, name: &[u8]) -> Self {
        self.name = name.to_vec();
        self
    }

    pub(crate) fn keyed(mut self, key: [u8; 32]) -> Self {
        self.key = key;
        self
    }

    pub(crate) fn suites(mut self, suites: &str) -> Self {
        self.builder.set_cipher_list(suites).unwrap();
        self
    }

    /// An option that the binding has no name for.
    pub(crate) fn option(mut self, bits: u64) -> Self {
        self.builder.set_options(SslOptions::from_bits_retain(bits));
        self
    }

    pub(crate) async fn over<I>(self, stream: I) -> Result<SslStream<I>, openssl::ssl::Error>
    where
        I: AsyncRead + AsyncWrite + Unpin,
    {
        let Self {
            name,
            key,
            mut builder,
        } = self;
        builder.set_psk_client_callback(move |_, _, identity, out| {
            identity[..name.len()].copy_from_slice(&name);
            out[..key.len()].copy_from_slice(&key);
            Ok(key.len())
        });
        let ssl = Ssl::new(&builder.build()).unwrap();
        let mut stream = SslStream::new(ssl, stream).unwrap();
        Pin::new(&mut stream).connect().await.map(|()| stream)
    }

    pub(crate) async fn connect(
        self,
        site: &Site,
    ) -> Result<SslStream<TcpStream>, openssl::ssl::Error> {
        let tcp = TcpStream::connect(site.address).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        self.over(tcp).await
    }

    pub(crate) async fn http1(mut self, site: &Site) -> http1::SendRequest<capif_transport::Body> {
        self.builder.set_alpn_protos(b"\x08http/1.1").unwrap();
        let stream = self.connect(site).await.unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    pub(crate) async fn http2(
        mut self,
        site: &Site,
    ) -> (
        http2::SendRequest<capif_transport::Body>,
        tokio::task::JoinHandle<hyper::Result<()>>,
    ) {
        self.builder.set_alpn_protos(b"\x02h2").unwrap();
        let stream = self.connect(site).await.unwrap();
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
        (sender, tokio::spawn(connection))
    }
}

/// A stream that remembers what came in and tears apart what goes out.
pub(crate) struct Wire<I> {
    pub(crate) inner: I,
    pub(crate) came: Arc<Mutex<Vec<u8>>>,
    /// Most octets per write.
    pub(crate) octets_max: usize,
    /// Octets per record of the first write.
    pub(crate) first_records: Option<usize>,
    /// Of the first write, what is still to be written.
    pub(crate) rest: Vec<u8>,
}

impl<I> Wire<I> {
    pub(crate) fn new(inner: I) -> Self {
        Self {
            inner,
            came: Arc::default(),
            octets_max: usize::MAX,
            first_records: None,
            rest: Vec::new(),
        }
    }
}

/// The content of a record in records of `piece` octets.
pub(crate) fn in_records(record: &[u8], piece: usize) -> Vec<u8> {
    let (header, content) = record.split_at(5);
    assert_eq!(
        usize::from(u16::from_be_bytes([header[3], header[4]])),
        content.len()
    );
    let mut records = Vec::new();
    for part in content.chunks(piece) {
        let length = u16::try_from(part.len()).unwrap().to_be_bytes();
        records.extend_from_slice(&header[..3]);
        records.extend_from_slice(&length);
        records.extend_from_slice(part);
    }
    records
}

impl<I: AsyncWrite + Unpin> Wire<I> {
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.rest.is_empty() {
            let part = &self.rest[..self.octets_max.min(self.rest.len())];
            let written = std::task::ready!(Pin::new(&mut self.inner).poll_write(cx, part))?;
            self.rest.drain(..written);
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncRead for Wire<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        std::task::ready!(self.poll_rest(cx))?;
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(cx, buffer);
        let come = &buffer.filled()[before..];
        self.came.lock().unwrap().extend_from_slice(come);
        read
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Wire<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        std::task::ready!(self.poll_rest(cx))?;
        if let Some(piece) = self.first_records.take() {
            self.rest = in_records(bytes, piece);
            return Poll::Ready(Ok(bytes.len()));
        }
        let part = &bytes[..self.octets_max.min(bytes.len())];
        Pin::new(&mut self.inner).poll_write(cx, part)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // OpenSSL cannot wait here; what is left goes before the next read.
        if let Poll::Ready(Err(error)) = self.poll_rest(cx) {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
