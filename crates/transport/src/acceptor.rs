//! The server's half of a handshake.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::clock::SharedClock;
use crate::identity::{Anchors, Identity, TlsError};
use crate::peer::{Peer, PeerCertificate};
use crate::profile;

/// What a listener shows and asks for.
pub struct ServerTls {
    /// The certificate chain that is shown, with its key.
    pub identity: Identity,
    /// Whether clients show one too.
    pub client_certificates: ClientCertificates,
    /// Judges the validity of client certificates.
    pub clock: SharedClock,
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
    pub(crate) async fn accept<I>(&self, stream: I) -> io::Result<Accepted<I>>
    where
        I: AsyncRead + AsyncWrite + Unpin,
    {
        let stream = TlsAcceptor::from(self.config.load_full())
            .accept(stream)
            .await?;
        let (_, session) = stream.get_ref();
        let peer = match session.peer_certificates().and_then(<[_]>::first) {
            None => Peer::Anonymous,
            Some(leaf) => Peer::Certificate(Arc::new(
                PeerCertificate::from_leaf(leaf)
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?,
            )),
        };
        let http2 = session.alpn_protocol() == Some(profile::ALPN_HTTP2);
        Ok(Accepted {
            stream,
            peer,
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
    pub(crate) stream: TlsStream<I>,
    pub(crate) peer: Peer,
    pub(crate) http2: bool,
}
