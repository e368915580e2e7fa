//! What the messages of a handshake say that is not encrypted.
//!
//! Read beside the TLS libraries, to decide which of them gets a connection and which key it will ask for. What is
//! malformed yields nothing here and is refused by the library, in its own words.

use crate::records::FirstMessage;

/// Kinds of messages.
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
const CLIENT_KEY_EXCHANGE: u8 = 16;

/// Kinds of extensions.
const EXTENDED_MASTER_SECRET: u16 = 23;
const PRE_SHARED_KEY: u16 = 41;
const SUPPORTED_VERSIONS: u16 = 43;

const TLS13: u16 = 0x0304;
const RANDOM_BYTES: usize = 32;

/// What a client offers.
#[derive(Debug, Default, Eq, PartialEq)]
pub(crate) struct ClientHello {
    /// TLS 1.3, among others perhaps.
    pub(crate) tls13: bool,
    /// The extended master secret of TLS 1.2 (RFC 7627).
    pub(crate) extended_master_secret: bool,
    /// A suite of TLS 1.2 whose key exchange uses a key that both ends hold.
    pub(crate) psk_suite: bool,
    /// The first identity of TLS 1.3's pre_shared_key, unless it is another server's ticket; empty if that cannot be read.
    pub(crate) pre_shared_key: Option<Vec<u8>>,
}

impl ClientHello {
    /// Reads a complete message; none if it is another one or malformed.
    pub(crate) fn of(message: &FirstMessage) -> Option<Self> {
        message.body(CLIENT_HELLO).and_then(Self::parse)
    }

    /// Whether the client holds a key and wants to use it.
    ///
    /// The listener gives no tickets away. A client that offers one from elsewhere, since many keep them by the name of the host
    /// alone, means to resume a session there, and is served by certificate (RFC 8446 section 4.2.11).
    pub(crate) fn offers_psk(&self) -> bool {
        self.psk_suite || self.pre_shared_key.is_some()
    }

    fn parse(body: &[u8]) -> Option<Self> {
        let mut hello = Self::default();
        let mut body = Cursor(body);
        let _legacy_version = body.u16()?;
        let _random = body.take(RANDOM_BYTES)?;
        let _legacy_session_id = body.vec8()?;
        let mut suites = body.vec16()?;
        while !suites.is_empty() {
            hello.psk_suite |= is_psk_suite(suites.u16()?);
        }
        let _compressions = body.vec8()?;
        if body.is_empty() {
            return Some(hello);
        }
        let mut extensions = body.vec16()?;
        while !extensions.is_empty() {
            let kind = extensions.u16()?;
            let mut content = extensions.vec16()?;
            match kind {
                EXTENDED_MASTER_SECRET => hello.extended_master_secret = true,
                PRE_SHARED_KEY => {
                    hello.pre_shared_key = match first_identity(content) {
                        Some(first) if first.is_ticket() => None,
                        Some(first) => Some(first.name.to_vec()),
                        None => Some(Vec::new()),
                    };
                }
                SUPPORTED_VERSIONS => {
                    let mut versions = content.vec8()?;
                    while !versions.is_empty() {
                        hello.tls13 |= versions.u16()? == TLS13;
                    }
                }
                _ => {}
            }
        }
        body.is_empty().then_some(hello)
    }
}

/// An identity with the age of a ticket.
struct Identity<'a> {
    name: &'a [u8],
    age: &'a [u8],
}

impl Identity<'_> {
    /// Tickets are no text, and their age is masked by a random number; that of a key is zero (RFC 8446 section 4.2.11.1).
    fn is_ticket(&self) -> bool {
        self.age.iter().any(|octet| *octet != 0) && str::from_utf8(self.name).is_err()
    }
}

/// RFC 8446 section 4.2.11: a list of identities, each with the age of a ticket.
fn first_identity(mut content: Cursor<'_>) -> Option<Identity<'_>> {
    let mut identities = content.vec16()?;
    let name = identities.vec16()?.0;
    let age = identities.take(4)?;
    Some(Identity { name, age })
}

/// The session id in a server's hello.
pub(crate) fn server_session_id(message: &FirstMessage) -> Option<Vec<u8>> {
    let mut body = Cursor(message.body(SERVER_HELLO)?);
    let _version = body.u16()?;
    let _random = body.take(RANDOM_BYTES)?;
    Some(body.vec8()?.0.to_vec())
}

/// The identity in a client's key exchange. It stands first whichever of the PSK key exchanges is used (RFC 4279 sections 2
/// to 4, RFC 5489 section 2).
pub(crate) fn key_exchange_identity(message: &FirstMessage) -> Option<Vec<u8>> {
    let mut body = Cursor(message.body(CLIENT_KEY_EXCHANGE)?);
    Some(body.vec16()?.0.to_vec())
}

/// The suites of TLS 1.2 and before with PSK, DHE_PSK, RSA_PSK or ECDHE_PSK in their name.
fn is_psk_suite(suite: u16) -> bool {
    matches!(
        suite,
        0x002c..=0x002e
            | 0x008a..=0x0095
            | 0x00a8..=0x00b9
            | 0xc033..=0xc03b
            | 0xc064..=0xc071
            | 0xc08e..=0xc09b
            | 0xc0a4..=0xc0ab
            | 0xccab..=0xccae
            | 0xd001..=0xd005
    )
}

/// What is still to be read.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, octets: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(octets)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        let (&octet, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(octet)
    }

    fn u16(&mut self) -> Option<u16> {
        let (&octets, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u16::from_be_bytes(octets))
    }

    /// What follows its length in one octet.
    fn vec8(&mut self) -> Option<Self> {
        let octets = self.u8()?;
        self.take(octets.into()).map(Self)
    }

    /// What follows its length in two octets.
    fn vec16(&mut self) -> Option<Self> {
        let octets = self.u16()?;
        self.take(octets.into()).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::{ClientHello, is_psk_suite, key_exchange_identity, server_session_id};
    use crate::records::{FirstMessage, Progress};

    fn vec8(content: &[u8]) -> Vec<u8> {
        [&[u8::try_from(content.len()).unwrap()], content].concat()
    }

    fn vec16(content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&length, content].concat()
    }

    fn extension(kind: u8, content: &[u8]) -> Vec<u8> {
        [vec![0, kind], vec16(content)].concat()
    }

    fn client_hello(suites: &[u8], extensions: &[Vec<u8>]) -> Vec<u8> {
        let fixed = [&[3, 3][..], &[9; 32]].concat();
        let session_id = vec8(&[5; 32]);
        let extensions = vec16(&extensions.concat());
        [fixed, session_id, vec16(suites), vec8(&[0]), extensions].concat()
    }

    fn identities(names: &[&[u8]]) -> Vec<u8> {
        identities_of_age(names, [0; 4])
    }

    fn identities_of_age(names: &[&[u8]], age: [u8; 4]) -> Vec<u8> {
        let list: Vec<_> = names
            .iter()
            .flat_map(|name| [vec16(name), age.to_vec()].concat())
            .collect();
        [vec16(&list), vec16(&vec8(&[0; 32]))].concat()
    }

    fn message(kind: u8, body: &[u8]) -> FirstMessage {
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        let message = [&[kind], &length[1..], body].concat();
        let mut first = FirstMessage::default();
        let records = [vec![22, 3, 1], vec16(&message)].concat();
        assert_eq!(first.feed(&records), Progress::Complete);
        first
    }

    #[test]
    fn what_a_client_offers() {
        let none = ClientHello::default();
        let versions = extension(43, &vec8(&[3, 4, 3, 3]));
        let cases = [
            (client_hello(&[0xc0, 0x2b], &[]), none),
            (
                client_hello(
                    &[0x13, 1, 0xc0, 0x2b],
                    &[extension(23, &[]), versions.clone()],
                ),
                ClientHello {
                    tls13: true,
                    extended_master_secret: true,
                    ..ClientHello::default()
                },
            ),
            (
                client_hello(&[0xcc, 0xac, 0, 0xff], &[extension(43, &vec8(&[3, 3]))]),
                ClientHello {
                    psk_suite: true,
                    ..ClientHello::default()
                },
            ),
            (
                client_hello(
                    &[0x13, 1],
                    &[
                        versions.clone(),
                        extension(41, &identities(&[b"one", b"two"])),
                    ],
                ),
                ClientHello {
                    tls13: true,
                    pre_shared_key: Some(b"one".to_vec()),
                    ..ClientHello::default()
                },
            ),
            // Some give the age of a key, which says nothing.
            (
                client_hello(
                    &[0x13, 1],
                    &[
                        versions.clone(),
                        extension(41, &identities_of_age(&[b"one"], [1, 2, 3, 4])),
                    ],
                ),
                ClientHello {
                    tls13: true,
                    pre_shared_key: Some(b"one".to_vec()),
                    ..ClientHello::default()
                },
            ),
            // A ticket of another server.
            (
                client_hello(
                    &[0x13, 1],
                    &[
                        versions.clone(),
                        extension(41, &identities_of_age(&[&[0xfe; 200]], [0, 0, 0, 1])),
                    ],
                ),
                ClientHello {
                    tls13: true,
                    ..ClientHello::default()
                },
            ),
            (
                client_hello(&[0x13, 1], &[versions, extension(41, &[0, 9, 0, 1])]),
                ClientHello {
                    tls13: true,
                    pre_shared_key: Some(Vec::new()),
                    ..ClientHello::default()
                },
            ),
        ];
        for (body, expected) in cases {
            let offers = expected.psk_suite || expected.pre_shared_key.is_some();
            let hello = ClientHello::of(&message(1, &body));
            assert_eq!(hello.as_ref(), Some(&expected));
            assert_eq!(hello.unwrap().offers_psk(), offers);
            assert_eq!(ClientHello::of(&message(2, &body)), None);
            // Every shorter one is malformed, but for the one that ends before the extensions.
            let shorter = (0..body.len()).filter_map(|end| ClientHello::parse(&body[..end]));
            assert_eq!(shorter.count(), 1);
            let longer = [&body[..], &[0]].concat();
            assert_eq!(ClientHello::parse(&longer), None);
        }
    }

    #[test]
    fn damage_never_breaks_the_reading() {
        let body = client_hello(
            &[0x13, 1, 0xcc, 0xac],
            &[
                extension(43, &vec8(&[3, 4])),
                extension(41, &identities(&[b"3GPP-CAPIF.invoker-1.7"])),
            ],
        );
        for at in 0..body.len() {
            for octet in 0..=u8::MAX {
                let mut damaged = body.clone();
                damaged[at] = octet;
                let _ = ClientHello::parse(&damaged);
                let _ = server_session_id(&message(2, &damaged));
                let _ = key_exchange_identity(&message(16, &damaged));
            }
        }
    }

    #[test]
    fn ids_of_sessions_and_keys() {
        let hello = [&[3, 3][..], &[9; 32], &vec8(&[5; 32]), &[0xc0, 0x2b, 0]].concat();
        assert_eq!(server_session_id(&message(2, &hello)), Some(vec![5; 32]));
        assert_eq!(server_session_id(&message(2, &hello[..40])), None);
        let exchange = [vec16(b"name"), vec8(b"share")].concat();
        let identity = key_exchange_identity(&message(16, &exchange));
        assert_eq!(identity.as_deref(), Some(&b"name"[..]));
        assert_eq!(key_exchange_identity(&message(16, &exchange[..5])), None);
    }

    #[test]
    fn suites_with_keys() {
        // PSK, DHE_PSK and ECDHE_PSK with authenticated encryption, and the ones around them.
        for suite in [0x00a8, 0x00aa, 0x00ad, 0xccac, 0xccad, 0xd001, 0xc0a4] {
            assert!(is_psk_suite(suite), "{suite:04x}");
        }
        for suite in [
            0x009f, 0x00ba, 0xc02b, 0xc030, 0xcca9, 0xccaa, 0x1301, 0x00ff,
        ] {
            assert!(!is_psk_suite(suite), "{suite:04x}");
        }
    }
}
