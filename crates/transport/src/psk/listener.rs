//! The server's half of a handshake with keys.
//!
//! A key that is unknown, dead or wrong must look the same from outside. So a handshake never ends because no key was
//! found: it goes on with a key that nobody holds, made up from the identity and a secret of this listener, and fails
//! where a wrong key fails.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use openssl::error::ErrorStack;
use openssl::ex_data::Index;
use openssl::ssl::{Ssl, SslContext};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_openssl::SslStream;

use super::gate::{Finding, Gate};
use super::profile::{self, IDENTITY_BYTES_MAX};
use super::{Psk, PskKeys, PskTls, PskVersion};
use crate::hello::ClientHello;
use crate::identity::TlsError;
use crate::peer::PskIdentity;
use crate::replay::Replay;

/// RFC 8446 section 6.2.
const HANDSHAKE_FAILURE: u8 = 40;
const DECRYPT_ERROR: u8 = 51;

/// Shakes hands with clients that hold a key.
pub(crate) struct PskListener {
    version: PskVersion,
    context: SslContext,
    slot: Index<Ssl, SharedSlot>,
    finder: Arc<Finder>,
}

/// A finished handshake.
pub(crate) struct Proved<I> {
    pub(crate) stream: SslStream<Gate<I>>,
    pub(crate) identity: PskIdentity,
    pub(crate) http2: bool,
}

impl PskListener {
    pub(crate) fn new(tls: PskTls) -> Result<Self, TlsError> {
        let slot = slot_index().map_err(profile::refused)?;
        let spares = Spares::new()?;
        let of_no_slot = spares.clone();
        let mut builder = profile::server(tls.version)?;
        builder.set_psk_server_callback(move |ssl, identity, out| {
            let identity = identity.unwrap_or_default();
            let key = ssl
                .ex_data(slot)
                .and_then(|slot| lock(slot).key(identity))
                .unwrap_or_else(|| of_no_slot.key(identity));
            let key = key.expose();
            Ok(match out.get_mut(..key.len()) {
                Some(out) => {
                    out.copy_from_slice(key);
                    key.len()
                }
                None => 0,
            })
        });
        Ok(Self {
            version: tls.version,
            context: builder.build(),
            slot,
            finder: Arc::new(Finder {
                keys: tls.keys,
                spares,
            }),
        })
    }

    /// Goes on after the hello, which the stream replays.
    pub(crate) async fn accept<I>(
        &self,
        mut stream: Replay<I>,
        hello: ClientHello,
        remote: IpAddr,
    ) -> io::Result<Proved<I>>
    where
        I: AsyncRead + AsyncWrite + Unpin,
    {
        let slot = SharedSlot::default();
        let gate = match self.version {
            PskVersion::Tls12 => {
                if hello.psk_suite && !hello.extended_master_secret {
                    refuse(&mut stream, HANDSHAKE_FAILURE).await;
                    return Err(invalid("the client offers no extended master secret"));
                }
                let (finder, slot) = (Arc::clone(&self.finder), Arc::clone(&slot));
                Gate::holding(stream, move |identity| -> Finding {
                    Box::pin(async move {
                        let answer = finder.find(identity, remote).await;
                        *lock(&slot) = Slot::Found(answer);
                    })
                })
            }
            PskVersion::Tls13 => {
                let identity = hello.pre_shared_key.unwrap_or_default();
                if identity.len() > IDENTITY_BYTES_MAX {
                    // The library would pass it over. So it is refused as any other that is not known.
                    refuse(&mut stream, DECRYPT_ERROR).await;
                    return Err(invalid("the identity is too long"));
                }
                // An empty one is none, and the library refuses it without asking.
                if !identity.is_empty() {
                    *lock(&slot) = Slot::Found(self.finder.find(identity, remote).await);
                }
                Gate::open(stream)
            }
        };
        let mut ssl = Ssl::new(&self.context)?;
        ssl.set_ex_data(self.slot, Arc::clone(&slot));
        let mut stream = SslStream::new(ssl, gate)?;
        let shaken = Pin::new(&mut stream).accept().await;
        // The key is not kept beyond the handshake, whichever way it ended.
        let slot = std::mem::take(&mut *lock(&slot));
        shaken.map_err(|error| match profile::reason(&error) {
            Some(reason) => io::Error::new(io::ErrorKind::InvalidData, reason),
            None => profile::broken(error),
        })?;
        match slot {
            Slot::Used(Answer {
                known: Some(identity),
                ..
            }) if profile::is_proved(stream.ssl(), self.version) => Ok(Proved {
                identity: PskIdentity {
                    identity,
                    version: self.version,
                },
                http2: profile::is_http2(stream.ssl()),
                stream,
            }),
            _ => Err(invalid("the handshake was not proved by a known key")),
        }
    }
}

/// Tells the client that it is refused, in plaintext and before any handshake.
pub(crate) async fn refuse_psk<I>(stream: &mut Replay<I>) -> io::Error
where
    I: AsyncWrite + Unpin,
{
    refuse(stream, HANDSHAKE_FAILURE).await;
    invalid("keys are not accepted at present")
}

async fn refuse<I: AsyncWrite + Unpin>(stream: &mut Replay<I>, description: u8) {
    const ALERT: u8 = 21;
    const FATAL: u8 = 2;
    let record = [ALERT, 3, 3, 0, 2, FATAL, description];
    // Whether the client hears it changes nothing.
    if stream.write_all(&record).await.is_ok() {
        let _ = stream.shutdown().await;
    }
}

fn invalid(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

/// Looks keys up.
struct Finder {
    keys: Arc<dyn PskKeys>,
    spares: Spares,
}

impl Finder {
    /// The key to go on with; always one.
    async fn find(&self, octets: Vec<u8>, remote: IpAddr) -> Answer {
        // The library takes what follows a NUL for the end.
        let name = str::from_utf8(&octets)
            .ok()
            .filter(|name| name.len() <= IDENTITY_BYTES_MAX && !name.contains('\0'));
        let found = match name {
            Some(name) => self.keys.key(name, remote).await,
            None => None,
        };
        // Made up in either case, so that both take the same time.
        let spare = self.spares.key(&octets);
        let known = found.as_ref().and(name).map(str::to_owned);
        Answer {
            key: found.unwrap_or(spare),
            known,
            octets,
        }
    }
}

/// What a look-up yielded.
struct Answer {
    octets: Vec<u8>,
    key: Psk,
    /// The identity, if the key is really its.
    known: Option<String>,
}

/// Where the library's question meets the answer.
#[derive(Default)]
enum Slot {
    #[default]
    Empty,
    Found(Answer),
    /// The library took the key.
    Used(Answer),
}

type SharedSlot = Arc<Mutex<Slot>>;

impl Slot {
    /// The key that was found, provided that the library asks for the same identity. It may ask twice, if the client has to
    /// repeat its hello.
    fn key(&mut self, identity: &[u8]) -> Option<Psk> {
        *self = match std::mem::take(self) {
            Self::Found(answer) if answer.octets == identity => Self::Used(answer),
            Self::Used(answer) if answer.octets != identity => Self::Found(answer),
            same => same,
        };
        match self {
            Self::Used(answer) => Some(answer.key.clone()),
            Self::Empty | Self::Found(_) => None,
        }
    }
}

fn lock(slot: &Mutex<Slot>) -> MutexGuard<'_, Slot> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The number under which the library keeps the slot of a connection. It numbers for the whole process.
fn slot_index() -> Result<Index<Ssl, SharedSlot>, ErrorStack> {
    static INDEX: OnceLock<Index<Ssl, SharedSlot>> = OnceLock::new();
    if let Some(index) = INDEX.get() {
        return Ok(*index);
    }
    let index = Ssl::new_ex_index()?;
    Ok(*INDEX.get_or_init(|| index))
}

/// Makes up keys that nobody holds.
#[derive(Clone)]
struct Spares(hmac::Key);

impl Spares {
    fn new() -> Result<Self, TlsError> {
        hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .map(Self)
            .map_err(|_| TlsError::Configuration("no randomness".to_owned()))
    }

    fn key(&self, identity: &[u8]) -> Psk {
        let mut key = [0; 32];
        // Holds because the digest has 32 octets.
        for (octet, made) in key.iter_mut().zip(hmac::sign(&self.0, identity).as_ref()) {
            *octet = *made;
        }
        Psk::new(key)
    }
}
