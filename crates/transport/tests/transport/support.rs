//! Authorities, servers and raw clients.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use capif_transport::{
    Acceptor, Anchors, Body, BoxError, Client, ClientCertificates, ClientError, ClientLimits,
    ClientTls, Connection, Handler, Identity, Limits, ManualClock, Peer, Server, ServerTls, empty,
    full,
};
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::client::ClientSessionStore;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use time::OffsetDateTime;
use time::macros::datetime;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub(crate) const NOW: OffsetDateTime = datetime!(2026-11-21 12:00 UTC);
const NOT_BEFORE: OffsetDateTime = datetime!(2026-11-01 00:00 UTC);
pub(crate) const NOT_AFTER: OffsetDateTime = datetime!(2026-12-01 00:00 UTC);

/// No test waits longer for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(NOW))
}

/// A root CA with an issuing CA under it.
pub(crate) struct Authority {
    root: CertifiedIssuer<'static, KeyPair>,
    issuing: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let root =
            CertifiedIssuer::self_signed(authority("root"), KeyPair::generate().unwrap()).unwrap();
        let issuing =
            CertifiedIssuer::signed_by(authority("issuing"), KeyPair::generate().unwrap(), &root)
                .unwrap();
        Self { root, issuing }
    }

    pub(crate) fn anchors(&self) -> Anchors {
        Anchors::from_pem(&self.root.pem()).unwrap()
    }

    pub(crate) fn root_sha256(&self) -> [u8; 32] {
        *self.anchors().fingerprints()[0].as_bytes()
    }

    /// Leaf, issuing CA and root, with the key.
    pub(crate) fn issue(&self, edit: impl FnOnce(&mut CertificateParams)) -> Pems {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.not_before = NOT_BEFORE;
        params.not_after = NOT_AFTER;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        edit(&mut params);
        let leaf = params.signed_by(&key, &self.issuing).unwrap();
        Pems {
            chain: [leaf.pem(), self.issuing.pem(), self.root.pem()].concat(),
            key: key.serialize_pem(),
        }
    }

    pub(crate) fn server(&self) -> Identity {
        self.server_for(&["localhost", "127.0.0.1", "::1"])
    }

    pub(crate) fn server_for(&self, names: &[&str]) -> Identity {
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        self.issue(|params| {
            params.subject_alt_names = CertificateParams::new(names).unwrap().subject_alt_names;
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        })
        .identity()
    }

    pub(crate) fn client(&self, common_name: &str) -> Pems {
        self.issue(|params| as_client(params, common_name))
    }
}

pub(crate) fn as_client(params: &mut CertificateParams, common_name: &str) {
    let subject = &mut params.distinguished_name;
    subject.push(DnType::CommonName, common_name);
    subject.push(DnType::OrganizationalUnitName, "API_INVOKER");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = NOT_BEFORE;
    params.not_after = datetime!(2030-01-01 00:00 UTC);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

pub(crate) struct Pems {
    pub(crate) chain: String,
    pub(crate) key: String,
}

impl Pems {
    pub(crate) fn identity(&self) -> Identity {
        Identity::from_pem(&self.chain, &self.key).unwrap()
    }
}

/// A closure as a handler.
pub(crate) struct Answers<F>(pub(crate) F);

impl<F, R> Handler for Answers<F>
where
    F: Fn(Request<Body>, Arc<Connection>) -> R + Send + Sync + 'static,
    R: Future<Output = Response<Body>> + Send,
{
    fn handle(
        &self,
        request: Request<Body>,
        connection: Arc<Connection>,
    ) -> impl Future<Output = Response<Body>> + Send {
        (self.0)(request, connection)
    }
}

/// Answers with the version, the connection and the name of the caller.
pub(crate) fn whoami() -> impl Handler {
    Answers(
        async |request: Request<Body>, connection: Arc<Connection>| {
            let name = match &connection.peer {
                Peer::Anonymous => "nobody",
                Peer::Certificate(certificate) => &certificate.common_name,
                Peer::Psk(psk) => &psk.identity,
            };
            Response::new(full(format!(
                "{:?} {} {name}",
                request.version(),
                connection.id
            )))
        },
    )
}

pub(crate) struct Site {
    pub(crate) authority: Authority,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) acceptor: Arc<Acceptor>,
    pub(crate) server: Server,
    pub(crate) address: SocketAddr,
}

impl Site {
    /// A server that asks for client certificates.
    pub(crate) fn new(handler: impl Handler) -> Self {
        Self::with_limits(handler, Limits::default())
    }

    pub(crate) fn with_limits(handler: impl Handler, limits: Limits) -> Self {
        let authority = Authority::new();
        let clients = ClientCertificates::Requested(authority.anchors());
        Self::with(authority, clients, handler, limits)
    }

    pub(crate) fn with(
        authority: Authority,
        client_certificates: ClientCertificates,
        handler: impl Handler,
        limits: Limits,
    ) -> Self {
        let edit = |tls: &mut ServerTls| tls.client_certificates = client_certificates;
        Self::with_tls(authority, edit, handler, limits)
    }

    pub(crate) fn with_tls(
        authority: Authority,
        edit: impl FnOnce(&mut ServerTls),
        handler: impl Handler,
        limits: Limits,
    ) -> Self {
        let clock = clock();
        let mut tls = ServerTls {
            identity: authority.server(),
            client_certificates: ClientCertificates::Requested(authority.anchors()),
            clock: clock.clone(),
            psk: None,
            session: None,
        };
        edit(&mut tls);
        let acceptor = Arc::new(Acceptor::new(tls).unwrap());
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let server = Server::bind(any, acceptor.clone(), limits, handler).unwrap();
        let address = server.local_addr();
        Self {
            authority,
            clock,
            acceptor,
            server,
            address,
        }
    }

    pub(crate) fn client(&self, identity: Option<Identity>) -> Client {
        self.client_with(identity, self.authority.anchors())
    }

    pub(crate) fn client_with(&self, identity: Option<Identity>, anchors: Anchors) -> Client {
        let tls = ClientTls {
            anchors: Some(anchors),
            identity,
            clock: self.clock.clone(),
            session: None,
            tls12_only: false,
        };
        Client::new(tls, ClientLimits::default()).unwrap()
    }

    /// One request by a client of its own.
    pub(crate) async fn ask(
        &self,
        identity: Option<Identity>,
    ) -> Result<Response<Body>, ClientError> {
        self.client(identity).request(get(self.url("/"))).await
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.address.port())
    }

    pub(crate) fn raw(&self) -> Raw<'_> {
        Raw {
            site: self,
            identity: None,
            alpn: None,
            version: &rustls::version::TLS13,
            store: None,
        }
    }
}

/// A TLS client that is nothing but the library.
pub(crate) struct Raw<'a> {
    site: &'a Site,
    pub(crate) identity: Option<&'a Pems>,
    pub(crate) alpn: Option<&'static str>,
    pub(crate) version: &'static SupportedProtocolVersion,
    pub(crate) store: Option<Arc<dyn ClientSessionStore>>,
}

impl Raw<'_> {
    pub(crate) async fn connect(self) -> io::Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(self.site.address).await?;
        self.over(tcp).await
    }

    pub(crate) async fn over<I>(self, stream: I) -> io::Result<TlsStream<I>>
    where
        I: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(self.config()))
            .connect(name, stream)
            .await
    }

    pub(crate) fn config(self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        let root = self.site.authority.root.der().clone();
        roots.add(root).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let clock = Arc::new(TestTime(self.site.clock.clone()));
        let builder = ClientConfig::builder_with_details(provider, clock)
            .with_protocol_versions(&[self.version])
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match self.identity {
            None => builder.with_no_client_auth(),
            Some(pems) => {
                let chain = CertificateDer::pem_slice_iter(pems.chain.as_bytes())
                    .collect::<Result<_, _>>()
                    .unwrap();
                let key = PrivateKeyDer::from_pem_slice(pems.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = self.alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
        if let Some(store) = self.store {
            config.resumption = rustls::client::Resumption::store(store);
        }
        config
    }

    pub(crate) async fn http1(mut self) -> http1::SendRequest<Body> {
        self.alpn = Some("http/1.1");
        let stream = self.connect().await.unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    /// Also returns what becomes of the connection.
    pub(crate) async fn http2(
        mut self,
    ) -> (
        http2::SendRequest<Body>,
        tokio::task::JoinHandle<hyper::Result<()>>,
    ) {
        self.alpn = Some("h2");
        let stream = self.connect().await.unwrap();
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
        (sender, tokio::spawn(connection))
    }
}

#[derive(Debug)]
struct TestTime(Arc<ManualClock>);

impl rustls::time_provider::TimeProvider for TestTime {
    fn current_time(&self) -> Option<rustls_pki_types::UnixTime> {
        let seconds = capif_transport::Clock::now(&*self.0).unix_timestamp();
        let since = Duration::from_secs(u64::try_from(seconds).ok()?);
        Some(rustls_pki_types::UnixTime::since_unix_epoch(since))
    }
}

pub(crate) fn get(uri: impl AsRef<str>) -> Request<Body> {
    Request::get(uri.as_ref())
        .header("host", "localhost")
        .body(empty())
        .unwrap()
}

pub(crate) async fn text(response: Response<Body>) -> String {
    let bytes = capif_transport::collect(response.into_body(), 1 << 20, PATIENCE)
        .await
        .unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub(crate) async fn incoming_text(response: Response<Incoming>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// All that comes until the other end closes; fails if it closes without the TLS goodbye.
pub(crate) async fn read_to_goodbye(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut bytes = Vec::new();
    within(stream.read_to_end(&mut bytes)).await.unwrap();
    String::from_utf8(bytes).unwrap()
}

pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("takes too long")
}

/// A body that never ends, and says when it is dropped.
pub(crate) struct Endless {
    pub(crate) piece: Bytes,
    pub(crate) first_only: bool,
    pub(crate) dropped: Option<tokio::sync::oneshot::Sender<()>>,
}

impl hyper::body::Body for Endless {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, BoxError>>> {
        if self.piece.is_empty() {
            return std::task::Poll::Pending;
        }
        let piece = if self.first_only {
            std::mem::take(&mut self.piece)
        } else {
            self.piece.clone()
        };
        std::task::Poll::Ready(Some(Ok(hyper::body::Frame::data(piece))))
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        if let Some(dropped) = self.dropped.take() {
            let _ = dropped.send(());
        }
    }
}
