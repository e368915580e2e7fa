//! What a handshake with keys looks like from outside, and what becomes of one that is not what it should be.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use capif_transport::{Limits, PskVersion};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::keys::{
    BOTH, Keys, NAME, RawPsk, Wire, client, credential, in_records, site, site_within,
};
use crate::support::{Site, get, read_to_goodbye, text, whoami, within};

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

/// Options that the binding has no name for.
const NO_EXTENDED_MASTER_SECRET: u64 = 1;
const ALLOW_NO_DHE_KEX: u64 = 1 << 10;

const ALERT: u8 = 21;

/// Kind and content of each record.
fn records(mut octets: &[u8]) -> Vec<(u8, &[u8])> {
    let mut records = Vec::new();
    while let [kind, _, _, high, low, rest @ ..] = octets {
        let (content, rest) = rest.split_at(u16::from_be_bytes([*high, *low]).into());
        records.push((*kind, content));
        octets = rest;
    }
    assert!(octets.is_empty());
    records
}

async fn tcp(site: &Site) -> TcpStream {
    let tcp = TcpStream::connect(site.address).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    tcp
}

/// All that the server says to a client that fails.
async fn refusal(site: &Site, raw: RawPsk) -> Vec<u8> {
    let wire = Wire::new(tcp(site).await);
    let came = Arc::clone(&wire.came);
    assert!(within(raw.over(wire)).await.is_err());
    let came = came.lock().unwrap();
    came.clone()
}

/// All that the server says to these octets.
async fn answer_to(site: &Site, octets: &[u8]) -> Vec<u8> {
    let mut tcp = tcp(site).await;
    // The server may have closed already.
    let _ = tcp.write_all(octets).await;
    let _ = tcp.shutdown().await;
    let mut answer = Vec::new();
    let _ = within(tcp.read_to_end(&mut answer)).await;
    answer
}

/// The hello that this client begins with, in one record.
async fn hello(raw: RawPsk) -> Vec<u8> {
    let (ours, mut theirs) = tokio::io::duplex(1 << 16);
    let connecting = tokio::spawn(raw.over(ours));
    let mut hello = vec![0; 5];
    within(theirs.read_exact(&mut hello)).await.unwrap();
    let length = usize::from(u16::from_be_bytes([hello[3], hello[4]]));
    hello.resize(5 + length, 0);
    within(theirs.read_exact(&mut hello[5..])).await.unwrap();
    connecting.abort();
    hello
}

/// The same hello with other identities, the first in place of the one that it has.
fn with_identities(hello: &[u8], identities: &[&[u8]]) -> Vec<u8> {
    let name = NAME.as_bytes();
    let at = hello.windows(name.len()).position(|part| part == name);
    // Before the identity: its own length, that of the list, that of the extension.
    let list = at.unwrap() - 2;
    let mut content = Vec::new();
    for identity in identities {
        content.extend_from_slice(&u16::try_from(identity.len()).unwrap().to_be_bytes());
        content.extend_from_slice(identity);
        content.extend_from_slice(&[0; 4]);
    }
    let mut binders = Vec::new();
    for _ in identities {
        binders.push(32);
        binders.extend_from_slice(&[9; 32]);
    }
    let be = |length: usize| u16::try_from(length).unwrap().to_be_bytes();
    let mut patched = hello[..list - 4].to_vec();
    patched.extend_from_slice(&be(4 + content.len() + binders.len()));
    patched.extend_from_slice(&be(content.len()));
    patched.extend_from_slice(&content);
    patched.extend_from_slice(&be(binders.len()));
    patched.extend_from_slice(&binders);

    let session_id = 5 + 4 + 2 + 32;
    let suites = session_id + 1 + usize::from(hello[session_id]);
    let suites_length = usize::from(u16::from_be_bytes([hello[suites], hello[suites + 1]]));
    let compressions = suites + 2 + suites_length;
    let extensions = compressions + 1 + usize::from(hello[compressions]);
    for (at, from) in [(extensions, extensions + 2), (7, 9), (3, 5)] {
        let length = be(patched.len() - from);
        patched[at..at + 2].copy_from_slice(&length);
    }
    patched
}

/// TS 33.122 clause 6.5.2.1 leaves open how an unknown key is told. Here nobody can tell it from a wrong one.
#[tokio::test]
async fn unknown_and_wrong_keys_get_the_same_octets() {
    for version in BOTH {
        let site = site(version, Keys::new(), whoami());
        let raw = || RawPsk::new(version);
        let mut answers = vec![
            ("wrong", refusal(&site, raw().keyed([8; 32])).await),
            ("unknown", refusal(&site, raw().named(b"nobody")).await),
            ("no text", refusal(&site, raw().named(&[0xff, 0xfe])).await),
            ("longest", refusal(&site, raw().named(&[b'x'; 256])).await),
        ];
        if version == PskVersion::Tls13 {
            let hello = hello(raw()).await;
            let longer = vec![b'x'; 257];
            let longest = vec![b'x'; 9000];
            let beyond = [NAME.as_bytes(), b"\0"].concat();
            for (case, identities) in [
                ("known", &[NAME.as_bytes()][..]),
                ("too long", &[&longer]),
                ("far too long", &[&longest]),
                ("with an end inside", &[&beyond]),
                ("the second is known", &[b"nobody", NAME.as_bytes()]),
                (
                    "the second of too long a first",
                    &[&longer, NAME.as_bytes()],
                ),
            ] {
                let hello = with_identities(&hello, identities);
                answers.push((case, answer_to(&site, &hello).await));
            }
        }
        let shape = |answer: &[u8]| -> Vec<_> {
            let alone = |(kind, content): (u8, &[u8])| match kind {
                ALERT => (kind, content.to_vec()),
                _ => (kind, vec![0; content.len()]),
            };
            records(answer).into_iter().map(alone).collect()
        };
        let (_, first) = &answers[0];
        assert_eq!(records(first).last().unwrap().0, ALERT, "{version}");
        if version == PskVersion::Tls13 {
            assert_eq!(first.len(), 7, "{first:?}");
        }
        for (case, answer) in &answers {
            assert_eq!(shape(answer), shape(first), "{version} {case}");
            // The header of the alert, too.
            assert_eq!(answer[answer.len() - 7..], first[first.len() - 7..]);
        }
        assert!(site.server.connections().is_empty());
    }
}

#[tokio::test]
async fn of_several_identities_the_first_counts() {
    let keys = Keys::new();
    let site = site(PskVersion::Tls13, keys.clone(), whoami());
    let hello = hello(RawPsk::new(PskVersion::Tls13)).await;
    let two = with_identities(&hello, &[b"one", NAME.as_bytes()]);
    answer_to(&site, &two).await;
    let asked: Vec<_> = keys.asked().into_iter().map(|(name, _)| name).collect();
    assert_eq!(asked, ["one"]);
}

/// TS 33.210 clause 6.2.3: forward secrecy and authenticated encryption only.
#[tokio::test]
async fn only_strong_suites_of_tls12() {
    let keys = Keys::new();
    let site = site(PskVersion::Tls12, keys.clone(), whoami());
    let raw = |suite| RawPsk::new(PskVersion::Tls12).suites(suite);
    for suite in [
        "ECDHE-PSK-CHACHA20-POLY1305",
        "DHE-PSK-AES128-GCM-SHA256",
        "DHE-PSK-AES256-GCM-SHA384",
        "DHE-PSK-CHACHA20-POLY1305",
    ] {
        let mut stream = within(raw(suite).connect(&site)).await.unwrap();
        assert_eq!(stream.ssl().current_cipher().unwrap().name(), suite);
        assert_eq!(stream.ssl().extms_support(), Some(true));
        stream.write_all(GET).await.unwrap();
        assert!(read_to_goodbye(&mut stream).await.ends_with(NAME));
    }
    keys.asked();
    for suite in [
        "PSK-AES128-GCM-SHA256",
        "PSK-CHACHA20-POLY1305",
        "PSK-AES128-CBC-SHA",
        "RSA-PSK-AES128-GCM-SHA256",
        "DHE-PSK-AES128-CBC-SHA256",
        "ECDHE-PSK-AES128-CBC-SHA256",
    ] {
        let answer = refusal(&site, raw(suite)).await;
        assert_eq!(answer, [21, 3, 3, 0, 2, 2, 40], "{suite}");
    }
    let without = RawPsk::new(PskVersion::Tls12).option(NO_EXTENDED_MASTER_SECRET);
    assert_eq!(refusal(&site, without).await, [21, 3, 3, 0, 2, 2, 40]);
    assert!(keys.asked().is_empty());
}

#[tokio::test]
async fn tls13_has_a_fresh_exchange_also_after_a_second_hello() {
    let keys = Keys::new();
    let site = site(PskVersion::Tls13, keys.clone(), whoami());
    for groups in ["X25519", "P-256", "P-384:P-256"] {
        let mut raw = RawPsk::new(PskVersion::Tls13).option(ALLOW_NO_DHE_KEX);
        raw.builder.set_groups_list(groups).unwrap();
        let mut stream = within(raw.connect(&site)).await.unwrap();
        assert!(stream.ssl().peer_tmp_key().is_ok());
        let suite = stream.ssl().current_cipher().unwrap().name();
        assert_eq!(suite, "TLS_AES_128_GCM_SHA256");
        stream.write_all(GET).await.unwrap();
        assert!(read_to_goodbye(&mut stream).await.ends_with(NAME));
        // One look-up per handshake, whatever the library asks.
        assert_eq!(keys.asked().len(), 1);
    }
    let mut raw = RawPsk::new(PskVersion::Tls13);
    raw.builder.set_groups_list("P-384").unwrap();
    assert_eq!(refusal(&site, raw).await, [21, 3, 3, 0, 2, 2, 40]);
    let mut raw = RawPsk::new(PskVersion::Tls13);
    let chacha = "TLS_CHACHA20_POLY1305_SHA256";
    raw.builder.set_ciphersuites(chacha).unwrap();
    assert!(within(raw.connect(&site)).await.is_ok());
}

#[tokio::test]
async fn nothing_can_be_resumed() {
    for version in BOTH {
        let site = site(version, Keys::new(), whoami());
        let sessions = Arc::new(AtomicUsize::new(0));
        let mut raw = RawPsk::new(version);
        let count = Arc::clone(&sessions);
        raw.builder.set_new_session_callback(move |_, session| {
            // The library also calls for a session without a ticket or an id.
            if version == PskVersion::Tls13 || !session.id().is_empty() {
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        let mut stream = within(raw.connect(&site)).await.unwrap();
        stream.write_all(GET).await.unwrap();
        assert!(read_to_goodbye(&mut stream).await.ends_with(NAME));
        assert_eq!(sessions.load(Ordering::Relaxed), 0, "{version}");
    }
}

/// Handshakes arrive in pieces of any size, with and without a key.
#[tokio::test]
async fn hellos_may_come_octet_by_octet() {
    async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, name: &str) {
        stream.write_all(GET).await.unwrap();
        stream.flush().await.unwrap();
        let answer = read_to_goodbye(&mut stream).await;
        assert!(answer.ends_with(name), "{answer}");
    }
    for version in BOTH {
        let site = site(version, Keys::new(), whoami());
        for (octets_max, first_records) in [(1, None), (usize::MAX, Some(1)), (7, Some(3))] {
            let wire = async || Wire {
                octets_max,
                first_records,
                ..Wire::new(tcp(&site).await)
            };
            let raw = RawPsk::new(version);
            let stream = within(raw.over(wire().await)).await.unwrap();
            exchange(stream, NAME).await;
            let mut raw = site.raw();
            raw.version = &rustls::version::TLS12;
            let stream = within(raw.over(wire().await)).await.unwrap();
            exchange(stream, "nobody").await;
            let stream = within(site.raw().over(wire().await)).await.unwrap();
            exchange(stream, "nobody").await;
        }
    }
}

/// Slow clients are the listener's to bound, whichever library would have got them.
#[tokio::test]
async fn slow_hellos_end() {
    let limits = Limits {
        handshake: Duration::from_millis(100),
        ..Limits::default()
    };
    for version in BOTH {
        let site = site_within(version, Keys::new(), whoami(), limits.clone());
        let hello = hello(RawPsk::new(version)).await;
        for octets in [0, 1, 5, 100, hello.len() - 1, hello.len()] {
            let mut tcp = tcp(&site).await;
            tcp.write_all(&hello[..octets]).await.unwrap();
            let mut answer = Vec::new();
            // Reset or not, it ends.
            let _ = within(tcp.read_to_end(&mut answer)).await;
        }
        assert!(site.server.connections().is_empty());
    }
}

/// Octets that are not quite a hello, and some that are none at all: nothing hangs and nothing breaks.
#[tokio::test]
async fn garbage_is_refused() {
    for version in BOTH {
        let keys = Keys::new();
        let site = site(version, keys.clone(), whoami());
        let hellos = [
            hello(RawPsk::new(PskVersion::Tls12)).await,
            hello(RawPsk::new(PskVersion::Tls13)).await,
        ];
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        for round in 0..600 {
            let mut octets = hellos[round % 2].clone();
            for _ in 0..random.below(4) {
                random.damage(&mut octets);
            }
            if random.below(4) == 0 && octets.len() > 5 {
                let length = u16::try_from(octets.len() - 5).unwrap().to_be_bytes();
                octets[3..5].copy_from_slice(&length);
                octets = in_records(&octets, 1 + random.below(64));
            }
            answer_to(&site, &octets).await;
        }
        for octets in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            &[0; 40_000],
            &[22, 3, 1, 0x40, 0],
            &[22, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff],
            &[22, 3, 1, 0, 1, 1].repeat(20_000),
        ] {
            answer_to(&site, octets).await;
        }
        while !site.server.connections().is_empty() {
            tokio::task::yield_now().await;
        }
        let client = client(credential(version));
        let answer = within(client.request(get(site.url("/")))).await.unwrap();
        assert!(text(answer).await.ends_with(NAME));
    }
}

/// Octets after the hello that are no key exchange.
#[tokio::test]
async fn garbage_in_place_of_the_key_exchange_is_refused() {
    let keys = Keys::new();
    let site = site(PskVersion::Tls12, keys.clone(), whoami());
    let hello = hello(RawPsk::new(PskVersion::Tls12)).await;
    let mut random = Random(42);
    let exchange = |identity_length: u16, length: u8| {
        let mut message = vec![22, 3, 3, 0, 4 + length, 16, 0, 0, length];
        message.extend_from_slice(&identity_length.to_be_bytes());
        message.resize(9 + usize::from(length), b'x');
        message
    };
    let mut cases = vec![
        exchange(4, 100),
        exchange(98, 100),
        exchange(99, 100),
        exchange(u16::MAX, 100),
        vec![21, 3, 3, 0, 2, 1, 0],
        vec![22, 3, 3, 0, 4, 16, 0x40, 0, 0],
        vec![0; 50_000],
    ];
    for _ in 0..200 {
        let mut octets = exchange(32, 100);
        random.damage(&mut octets);
        cases.push(octets);
    }
    for (index, octets) in cases.iter().enumerate() {
        let mut tcp = tcp(&site).await;
        tcp.write_all(&hello).await.unwrap();
        if index % 2 == 0 {
            // Otherwise the garbage comes along with the hello.
            within(tcp.read_exact(&mut [0; 5])).await.unwrap();
        }
        let _ = tcp.write_all(octets).await;
        let _ = tcp.shutdown().await;
        let _ = within(tcp.read_to_end(&mut Vec::new())).await;
    }
    assert!(site.server.connections().is_empty());
    let client = client(credential(PskVersion::Tls12));
    assert!(within(client.request(get(site.url("/")))).await.is_ok());
}

/// Numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(end).unwrap()).unwrap()
    }

    fn octet(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap()
    }

    fn damage(&mut self, octets: &mut Vec<u8>) {
        if octets.is_empty() {
            return;
        }
        let at = self.below(octets.len());
        match self.below(6) {
            0 => octets.truncate(at),
            1 => octets.insert(at, self.octet()),
            2 => drop(octets.remove(at)),
            3 => octets[at] ^= 1 << self.below(8),
            4 => octets[at] = [0, 1, 0x7f, 0x80, 0xff][self.below(5)],
            _ => octets[at] = self.octet(),
        }
    }
}
