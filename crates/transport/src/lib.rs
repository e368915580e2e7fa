//! TLS and HTTP for CAPIF: who is at the other end, and bytes to and from them.
//!
//! Nothing here knows an API or a rule of CAPIF. A [`Server`] hands every request to a [`Handler`] together with what
//! the handshake proved about the caller ([`Peer`]); a [`Client`] sends requests and believes only its [`Anchors`].
//! This is the only crate that names a TLS library: one serves certificates, another one keys that both ends hold
//! ([`PskTls`]), and one look at the client's hello decides which of them goes on.
//!
//! What is deliberately absent: session tickets, resumption, early data, renegotiation, compression, redirects, and any
//! state of the whole process (but what OpenSSL keeps for itself). Each configuration names its own provider and its
//! [`Clock`].

mod clock;
pub use clock::{Clock, ManualClock, SharedClock, SystemClock};

mod identity;
pub use identity::{Anchors, Identity, TlsError};

mod psk;
pub use psk::{Psk, PskCredential, PskKeys, PskTls, PskVersion, UnknownPskVersion};

mod session;
pub use session::{Session, SessionLabels, Tls12Facts, TlsVersion};

mod peer;
pub use peer::{Fingerprint, Peer, PeerCertificate, PskIdentity};

mod distrust;
mod profile;

mod acceptor;
pub use acceptor::{Acceptor, ClientCertificates, ServerTls};

mod hop;

mod body;
pub use hop::{is_of_connection, remove_connection_headers};

pub use body::{Body, BodyError, BoxError, boxed, collect, empty, full, hear_out, is_absent};

mod buckets;
pub use buckets::{Buckets, neighbourhood};

mod connections;
pub use connections::{Closing, Connection, Connections};

mod server;
pub use server::{Handler, Limits, Server, listen};

mod exchange;
mod forward;
mod hello;
mod records;
mod replay;
mod serving;

mod takeover;
pub use takeover::{Leaving, TakenStream, Takeover};

mod unix;
mod watched;

mod connector;
pub use connector::{Bounds, Client, ClientError, ClientLimits, ClientTls, Expected};

mod dial;
pub use dial::{AddressGuard, Resolve, Resolver};

mod anchor;
pub use anchor::anchor_by_fingerprint;
