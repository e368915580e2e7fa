//! Keys that both ends hold already.
//!
//! TS 33.122 clause 6.5.2.1: an invoker and an API exposing function authenticate each other by a key that the core
//! function gave to neither of them over this connection. Nothing here knows where a key comes from: a listener asks
//! [`PskKeys`], a client is given a [`PskCredential`].

use std::fmt;
use std::net::IpAddr;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

mod connector;
mod gate;
mod listener;
mod profile;

pub(crate) use connector::PskConnector;
pub(crate) use gate::Gate;
pub(crate) use listener::{PskListener, refuse_psk};
pub(crate) use profile::reason;

/// A key of 32 octets; erased when it is dropped, compared in constant time.
#[derive(Clone)]
pub struct Psk(Box<Zeroizing<[u8; 32]>>);

impl Psk {
    /// Takes the octets over.
    pub fn new(key: [u8; 32]) -> Self {
        Self(Box::new(Zeroizing::new(key)))
    }

    /// The octets, for whoever must store or derive.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for Psk {
    fn eq(&self, other: &Self) -> bool {
        self.expose().ct_eq(other.expose()).into()
    }
}

impl Eq for Psk {}

impl fmt::Debug for Psk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Psk([redacted])")
    }
}

/// The one version of TLS in which a key is used.
///
/// Choice: a listener speaks TLS-PSK in one version only, since one key must not serve two key schedules (RFC 8446
/// appendix E.7).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum PskVersion {
    /// TLS 1.2 (RFC 4279, RFC 5489).
    Tls12,
    /// TLS 1.3 (RFC 8446 section 2.2), always with a fresh Diffie-Hellman exchange.
    Tls13,
}

impl fmt::Display for PskVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls12 => "1.2",
            Self::Tls13 => "1.3",
        })
    }
}

impl FromStr for PskVersion {
    type Err = UnknownPskVersion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "1.2" => Ok(Self::Tls12),
            "1.3" => Ok(Self::Tls13),
            _ => Err(UnknownPskVersion),
        }
    }
}

/// The text names no version in which keys are used.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the TLS version must be 1.2 or 1.3")]
pub struct UnknownPskVersion;

/// Where a listener finds the keys of its callers.
pub trait PskKeys: Send + Sync + 'static {
    /// The key of this identity, as the caller at `remote` claims it; none if there is no such key any more or yet.
    ///
    /// The handshake waits for the answer, within its time limit.
    fn key<'a>(
        &'a self,
        identity: &'a str,
        remote: IpAddr,
    ) -> Pin<Box<dyn Future<Output = Option<Psk>> + Send + 'a>>;
}

/// That a listener accepts keys too, beside certificates.
///
/// Which of them a client means shows in its hello: it offers pre_shared_key or, for TLS 1.2, a suite with PSK in its name.
/// A listener gives no tickets away; a client that offers one from elsewhere is served by certificate. Of several
/// identities the first counts. Identities are UTF-8 of 1 to 256 octets; in all that is told, a key that is unknown is like
/// one that is wrong.
#[derive(Clone)]
pub struct PskTls {
    /// The version in which keys are accepted.
    pub version: PskVersion,
    /// Where they are found.
    pub keys: Arc<dyn PskKeys>,
}

impl fmt::Debug for PskTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PskTls")
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// What a client proves itself with, and the server to it.
#[derive(Clone, Debug)]
pub struct PskCredential {
    /// By which name the server knows the key; readable on the wire.
    pub identity: String,
    /// The key.
    pub key: Psk,
    /// The version of TLS that is used with it.
    pub version: PskVersion,
}
