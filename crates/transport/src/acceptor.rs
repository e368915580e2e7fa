//! The server's half of a handshake.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_openssl::SslStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::clock::SharedClock;
use crate::identity::{Anchors, Identity, TlsError};
use crate::peer::{Peer, PeerCertificate};
use crate::profile;
use crate::psk::{Gate, PskListener, PskTls, refuse_psk};
use crate::replay::Replay;
use crate::session::{Capture, Session, SessionLabels};

/// What a listener shows and asks for.
pub struct ServerTls {
    /// The certificate chain that is shown, with its key.
    pub identity: Identity,
    /// Whether clients show one too.
    pub client_certificates: ClientCertificates,
    /// Judges the validity of client certificates.
    pub clock: SharedClock,
    /// Whether clients may prove themselves by a key instead of a certificate.
    pub psk: Option<PskTls>,
    /// Whether the facts of each certificate session are kept, and under which labels they are exported.
    pub session: Option<SessionLabels>,
}

/// Whether clients are asked for a certificate.
///
/// A certificate that is shown but does not count (another authority, expired, not for clients, unclear name) ends the
/// handshake, also where it was only requested.
#[derive(Clone, Debug)]
pub enum ClientCertificates {
    /// Not asked for.
    None,
    /// Asked for; a client without one is [`Peer::Anonymous`].
    Requested(Anchors),
    /// Asked for; no handshake without.
    Required(Anchors),
}

/// Accepts TLS connections; its certificate and its anchors can be exchanged while it runs.
///
/// TS 33.122 clause 6.1 and clause 6.2: server-authenticated for onboarding, mutual for the rest.
pub struct Acceptor {
    clock: SharedClock,
    material: Mutex<Material>,
    config: ArcSwap<ServerConfig>,
    psk: Option<PskListener>,
    psk_accepted: AtomicBool,
    session: Option<SessionLabels>,
}

struct Material {
    identity: Identity,
    clients: ClientCertificates,
}

impl Acceptor {
    /// An acceptor that starts with this material.
    pub fn new(tls: ServerTls) -> Result<Self, TlsError> {
        let config = profile::server_config(&tls.identity, &tls.client_certificates, &tls.clock)?;
        Ok(Self {
            clock: tls.clock,
            material: Mutex::new(Material {
                identity: tls.identity,
                clients: tls.client_certificates,
            }),
            config: ArcSwap::from_pointee(config),
            psk: tls.psk.map(PskListener::new).transpose()?,
            psk_accepted: AtomicBool::new(true),
            session: tls.session,
        })
    }

    /// Shows another certificate from the next handshake on; open connections stay.
    pub fn set_identity(&self, identity: Identity) -> Result<(), TlsError> {
        self.change(|material| {
            material.identity = identity;
            Ok(())
        })
    }

    /// Believes other authorities from the next handshake on; open connections stay.
    pub fn set_anchors(&self, anchors: Anchors) -> Result<(), TlsError> {
        self.change(|material| {
            material.clients = match material.clients {
                ClientCertificates::None => return Err(TlsError::ClientCertificatesUnused),
                ClientCertificates::Requested(_) => ClientCertificates::Requested(anchors),
                ClientCertificates::Required(_) => ClientCertificates::Required(anchors),
            };
            Ok(())
        })
    }

    /// Whether keys are accepted from the next handshake on; open connections stay. Of an acceptor without
    /// [`ServerTls::psk`] this changes nothing.
    pub fn set_psk_accepted(&self, accepted: bool) {
        self.psk_accepted.store(accepted, Ordering::Release);
    }

    /// Builds the whole configuration before anything of it is used, so that bad material never replaces good.
    fn change(
        &self,
        edit: impl FnOnce(&mut Material) -> Result<(), TlsError>,
    ) -> Result<(), TlsError> {
        let mut material = self.material.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = Material {
            identity: material.identity.clone(),
            clients: material.clients.clone(),
        };
        edit(&mut next)?;
        let config = profile::server_config(&next.identity, &next.clients, &self.clock)?;
        self.config.store(Arc::new(config));
        *material = next;
        Ok(())
    }

    /// Shakes hands; the time that this may take is the caller's to bound.
    pub(crate) async fn accept<I>(&self, stream: I, remote: IpAddr) -> io::Result<Accepted<I>>
    where
        I: AsyncRead + AsyncWrite + Unpin,
    {
        let mut stream = Replay::new(stream);
        let hello = if self.psk.is_some() || self.session.is_some() {
            stream.client_hello().await?
        } else {
            None
        };
        match (&self.psk, hello) {
            (Some(psk), Some(hello)) if hello.offers_psk() => {
                if !self.psk_accepted.load(Ordering::Acquire) {
                    return Err(refuse_psk(&mut stream).await);
                }
                let proved = psk.accept(stream, hello, remote).await?;
                Ok(Accepted {
                    stream: Secured::Psk(proved.stream),
                    peer: Peer::Psk(Arc::new(proved.identity)),
                    session: None,
                    http2: proved.http2,
                })
            }
            (_, hello) => {
                let tls12 = hello.is_some_and(|hello| !hello.tls13);
                self.accept_certificate(stream, tls12).await
            }
        }
    }

    async fn accept_certificate<I>(&self, stream: Replay<I>, tls12: bool) -> io::Result<Accepted<I>>
    where
        I: AsyncRead + AsyncWrite + Unpin,
    {
        let mut config = self.config.load_full();
        // The literal facts can be heard only through a configuration that serves this one handshake.
        let capture = (tls12 && self.session.is_some()).then(Arc::<Capture>::default);
        if let Some(capture) = &capture {
            let mut own = ServerConfig::clone(&config);
            own.key_log = Arc::clone(capture) as _;
            own.session_storage = Arc::clone(capture) as _;
            config = Arc::new(own);
        }
        let stream = TlsAcceptor::from(config).accept(stream).await?;
        let (_, tls) = stream.get_ref();
        let peer = match tls.peer_certificates().and_then(<[_]>::first) {
            None => Peer::Anonymous,
            Some(leaf) => Peer::Certificate(Arc::new(
                PeerCertificate::from_leaf(leaf)
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?,
            )),
        };
        let session = match self.session {
            None => None,
            Some(labels) => Some(Box::new(
                Session::of(tls, labels, capture.as_deref()).map_err(io::Error::other)?,
            )),
        };
        let http2 = tls.alpn_protocol() == Some(profile::ALPN_HTTP2);
        Ok(Accepted {
            stream: Secured::Certificate(stream),
            peer,
            session,
            http2,
        })
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").finish_non_exhaustive()
    }
}

/// A finished handshake.
pub(crate) struct Accepted<I> {
    pub(crate) stream: Secured<I>,
    pub(crate) peer: Peer,
    pub(crate) session: Option<Box<Session>>,
    pub(crate) http2: bool,
}

/// The stream over whichever library shook hands.
#[expect(
    clippy::large_enum_variant,
    reason = "taken apart at once; the stream is then boxed with its connection"
)]
pub(crate) enum Secured<I> {
    Certificate(TlsStream<Replay<I>>),
    Psk(SslStream<Gate<I>>),
}
