//! An HTTP client that believes its anchors and nobody else.

use std::error::Error;
use std::fmt;
use std::io;
use std::iter;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Body as _;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls_pki_types::CertificateDer;

use crate::body::{Body, boxed, empty};
use crate::clock::SharedClock;
use crate::dial::{AddressGuard, CertificateTls, Dialer, Reach, Resolver, Route};
use crate::identity::{Anchors, Identity, TlsError};
use crate::peer::PeerCertificate;
use crate::profile;
use crate::psk;
use crate::psk::{PskConnector, PskCredential};
use crate::session::SessionLabels;

const HEADER_BYTES_MAX: u32 = 32 * 1024;
const BUFFER_BYTES_MAX: usize = 64 * 1024;
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Whom a client believes and what it shows.
pub struct ClientTls {
    /// Authorities of servers; without any, https is refused.
    pub anchors: Option<Anchors>,
    /// Shown to servers that ask for a certificate.
    pub identity: Option<Identity>,
    /// Judges the validity of server certificates.
    pub clock: SharedClock,
    /// Whether every answer carries the facts of the session that it came over, and under which labels they are exported:
    /// an `Arc<Session>` among the extensions of the response.
    pub session: Option<SessionLabels>,
    /// Whether nothing newer than TLS 1.2 is offered, in a way that makes the server assign a session id.
    pub tls12_only: bool,
}

/// Who a server must be besides holding a certificate for its host.
///
/// An authority that certifies many who serve, on hosts that they share or name themselves, vouches for the host alone. A
/// client that knows whom it wants asks for the name too.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Expected {
    /// The organizational unit of the server's certificate: its role.
    pub organizational_unit: &'static str,
    /// The common name of the server's certificate: its id; any if absent.
    pub common_name: Option<String>,
}

impl Expected {
    pub(crate) fn check(&self, chain: Option<&[CertificateDer<'_>]>) -> Result<(), ClientError> {
        let certificate = chain
            .and_then(<[_]>::first)
            .and_then(|leaf| PeerCertificate::from_leaf(leaf).ok());
        let fits = certificate.is_some_and(|certificate| {
            certificate.organizational_unit.as_deref() == Some(self.organizational_unit)
                && self
                    .common_name
                    .as_ref()
                    .is_none_or(|name| *name == certificate.common_name)
        });
        if fits {
            return Ok(());
        }
        let name = self.common_name.as_deref().unwrap_or("any id");
        Err(ClientError::Tls(format!(
            "the server's certificate is not that of the {} expected ({name})",
            self.organizational_unit
        )))
    }
}

/// Where a client may go whose destinations others chose.
#[derive(Clone)]
pub struct Bounds {
    /// Which addresses may be dialled for which host.
    pub guard: AddressGuard,
    /// Who alone may be at the other end; anybody with a certificate for the host if absent.
    pub expected: Option<Expected>,
    /// Looks names up; the system does if absent.
    pub resolver: Option<Resolver>,
}

/// What a client may use up.
#[derive(Clone, Debug)]
pub struct ClientLimits {
    /// Longest way to a usable connection: name, TCP and TLS.
    pub connect: Duration,
    /// Longest time from a request to the header of its answer, connecting included.
    pub response_head: Duration,
    /// Most idle connections kept per host.
    pub idle_per_host_max: usize,
    /// Longest time that an idle connection is kept.
    pub idle: Duration,
    /// Whether http without TLS is allowed, as for an upstream on the same machine.
    pub plain: bool,
    /// Most octets of an answer that come before anybody asks for them, over HTTP/2; as the library likes if absent.
    pub window_bytes: Option<u32>,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            response_head: Duration::from_secs(30),
            idle_per_host_max: 32,
            idle: Duration::from_secs(60),
            plain: false,
            window_bytes: None,
        }
    }
}

/// Sends requests over pooled connections, HTTP/2 or HTTP/1.1 as the server chooses; copies share the pool.
///
/// The chain and the name of a server are always verified. Redirects are not followed, since a redirect is a decision
/// about trust. A request that found its connection closed, or refused because the server goes away, is sent once more
/// on another one, provided that nothing of it was carried out and its body is still there.
#[derive(Clone)]
pub struct Client {
    pool: legacy::Client<Dialer, Body>,
    response_head: Duration,
    /// Whether servers may choose HTTP/2.
    http2: bool,
}

impl Client {
    /// A client with its own pool.
    pub fn new(tls: ClientTls, limits: ClientLimits) -> Result<Self, TlsError> {
        Self::build(tls, limits, None, Reach::default())
    }

    /// A client with its own pool that speaks over TLS to nobody but the server expected.
    pub fn expecting(
        tls: ClientTls,
        limits: ClientLimits,
        expected: Expected,
    ) -> Result<Self, TlsError> {
        Self::build(tls, limits, Some(Arc::new(expected)), Reach::default())
    }

    /// A client with its own pool for destinations that others chose: over TLS alone, to those addresses alone that the guard lets
    /// through.
    pub fn guarded(tls: ClientTls, limits: ClientLimits, bounds: Bounds) -> Result<Self, TlsError> {
        let limits = ClientLimits {
            plain: false,
            ..limits
        };
        let reach = Reach {
            guard: Some(bounds.guard),
            resolver: bounds.resolver,
        };
        Self::build(tls, limits, bounds.expected.map(Arc::new), reach)
    }

    /// A client with its own pool for destinations that others chose and that know nothing of TLS: over http alone, to those addresses
    /// alone that the guard lets through. Who answers there is nobody's knowledge.
    pub fn guarded_plain(
        limits: ClientLimits,
        guard: AddressGuard,
        resolver: Option<Resolver>,
    ) -> Self {
        let route = Route::Host {
            tls: None,
            plain: true,
            reach: Reach {
                guard: Some(guard),
                resolver,
            },
        };
        Self::over(route, &limits)
    }

    /// A client with its own pool that proves itself by a key, and speaks to nobody who cannot prove the same.
    ///
    /// https alone; no certificate is shown or accepted.
    pub fn psk(credential: PskCredential, limits: ClientLimits) -> Result<Self, TlsError> {
        let route = Route::Psk(Arc::new(PskConnector::new(credential)?));
        Ok(Self::over(route, &limits))
    }

    fn build(
        tls: ClientTls,
        limits: ClientLimits,
        expected: Option<Arc<Expected>>,
        reach: Reach,
    ) -> Result<Self, TlsError> {
        let certificates = match &tls.anchors {
            None => None,
            Some(anchors) => Some(CertificateTls {
                config: Arc::new(profile::client_config(
                    anchors,
                    tls.identity.as_ref(),
                    &tls.clock,
                    tls.tls12_only,
                )?),
                expected,
                session: tls.session,
            }),
        };
        let route = Route::Host {
            tls: certificates,
            plain: limits.plain,
            reach,
        };
        Ok(Self::over(route, &limits))
    }

    /// A client of the server behind a socket in the file system; the host of its requests means nothing.
    pub fn unix(path: impl AsRef<Path>, limits: ClientLimits) -> Self {
        Self::over(Route::Unix(Arc::new(path.as_ref().to_owned())), &limits)
    }

    fn over(route: Route, limits: &ClientLimits) -> Self {
        let http2 = matches!(route, Route::Host { tls: Some(_), .. } | Route::Psk(_));
        let dialer = Dialer {
            route,
            timeout: limits.connect,
        };
        let mut builder = legacy::Client::builder(TokioExecutor::new());
        if limits.window_bytes.is_some() {
            builder.http2_initial_stream_window_size(limits.window_bytes);
        }
        let pool = builder
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_idle_timeout(limits.idle)
            .pool_max_idle_per_host(limits.idle_per_host_max)
            .http1_max_buf_size(BUFFER_BYTES_MAX)
            .http2_max_header_list_size(HEADER_BYTES_MAX)
            // Without pings, a connection whose other end vanished would swallow one request after the other.
            .http2_keep_alive_interval(PING_INTERVAL)
            .http2_keep_alive_timeout(PING_TIMEOUT)
            .build(dialer);
        Self {
            pool,
            response_head: limits.response_head,
            http2,
        }
    }

    /// Sends a request to an absolute address and returns the answer when its header is there.
    ///
    /// The body follows as a stream; [`collect`](crate::collect) reads it within bounds.
    pub async fn request(&self, request: Request<Body>) -> Result<Response<Body>, ClientError> {
        if request.uri().scheme().is_none() || request.uri().host().is_none() {
            return Err(ClientError::Request("the address is not absolute"));
        }
        let replica = self.replica(&request);
        let safe = request.method().is_safe();
        let exchange = async {
            match (self.pool.request(request).await, replica) {
                (Err(error), Some(replica)) if untouched(&error) || (safe && gone(&error)) => {
                    self.pool.request(replica).await
                }
                (result, _) => result,
            }
        };
        match tokio::time::timeout(self.response_head, exchange).await {
            Err(_) => Err(ClientError::TimedOut),
            Ok(Err(error)) => Err(ClientError::from_pool(error)),
            Ok(Ok(response)) => Ok(response.map(boxed)),
        }
    }

    /// The same request once more, if that is possible and HTTP/2 may call for it.
    fn replica(&self, request: &Request<Body>) -> Option<Request<Body>> {
        if !self.http2 || !request.body().is_end_stream() {
            return None;
        }
        let mut replica = Request::new(empty());
        *replica.method_mut() = request.method().clone();
        *replica.uri_mut() = request.uri().clone();
        *replica.headers_mut() = request.headers().clone();
        Some(replica)
    }
}

/// Whether the server certainly did nothing with the request: it was not sent, or its stream was refused (RFC 9113 section
/// 8.7).
fn untouched(error: &legacy::Error) -> bool {
    sources(error).any(|source| {
        if let Some(error) = source.downcast_ref::<h2::Error>() {
            let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
            return error.is_remote() && refused;
        }
        source
            .downcast_ref::<hyper::Error>()
            .is_some_and(hyper::Error::is_canceled)
    })
}

/// Whether the server went away in good order. Which streams it had begun with is not told here, so only what may be done
/// twice is sent again.
fn gone(error: &legacy::Error) -> bool {
    sources(error).any(|source| {
        source.downcast_ref::<h2::Error>().is_some_and(|error| {
            error.is_remote() && error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR)
        })
    })
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The request cannot be sent as it is.
    #[error("the request cannot be sent: {0}")]
    Request(&'static str),
    /// No connection took the request: nothing of it was carried out.
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    /// One end refused the other's certificate or key, or they agree on no protocol.
    #[error("the TLS handshake failed: {0}")]
    Tls(String),
    /// The connection or the header of the answer took too long.
    #[error("no answer in time")]
    TimedOut,
    /// The connection broke before the header of the answer was there; the request may have been carried out.
    #[error("the connection broke: {0}")]
    Broken(String),
}

impl ClientError {
    pub(crate) fn from_handshake(error: io::Error) -> Self {
        match tls_reason(&error) {
            Some(reason) => Self::Tls(reason),
            None => Self::Connect(error),
        }
    }

    fn from_pool(error: legacy::Error) -> Self {
        if let Some(reason) = tls_reason(&error) {
            return Self::Tls(reason);
        }
        if untouched(&error) {
            return Self::Connect(io::Error::other(last_reason(&error)));
        }
        if !error.is_connect() {
            return Self::Broken(last_reason(&error));
        }
        let own = sources(&error).find_map(|source| source.downcast_ref::<Self>());
        match own {
            Some(own) => own.again(),
            None => Self::Connect(io::Error::other(last_reason(&error))),
        }
    }

    /// The same error once more, since the pool gives out its own only by reference.
    fn again(&self) -> Self {
        match self {
            Self::Request(reason) => Self::Request(reason),
            Self::Connect(error) => Self::Connect(io::Error::new(error.kind(), error.to_string())),
            Self::Tls(reason) => Self::Tls(reason.clone()),
            Self::TimedOut => Self::TimedOut,
            Self::Broken(reason) => Self::Broken(reason.clone()),
        }
    }
}

fn sources<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(Some(error), |&error| {
        // What an io::Error wraps is not its source but itself.
        match error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
}

fn tls_reason(error: &(dyn Error + 'static)) -> Option<String> {
    sources(error).find_map(|source| match source.downcast_ref::<ClientError>() {
        Some(ClientError::Tls(reason)) => Some(reason.clone()),
        _ => source
            .downcast_ref::<rustls::Error>()
            .map(rustls::Error::to_string)
            .or_else(|| source.downcast_ref().and_then(psk::reason)),
    })
}

fn last_reason(error: &(dyn Error + 'static)) -> String {
    sources(error)
        .last()
        .map_or_else(String::new, ToString::to_string)
}
