//! Who gets in: TS 33.122 clause 6.2 and the certificate profile of TS 33.310 clause 6.1.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use capif_transport::{Anchors, ClientCertificates, ClientError, Identity, Limits, TlsError};
use http::Version;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose};
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::version::{TLS12, TLS13};
use rustls::{NamedGroup, ProtocolVersion};
use rustls_pki_types::ServerName;
use time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{
    Authority, NOT_AFTER, Pems, Site, as_client, get, incoming_text, text, whoami, within,
};

#[tokio::test]
async fn both_protocols_with_and_without_certificate() {
    let site = Site::new(whoami());
    let invoker = site.authority.client("invoker-1");

    let anonymous = site.client(None);
    let answer = within(anonymous.request(get(site.url("/")))).await.unwrap();
    assert_eq!(answer.version(), Version::HTTP_2);
    assert_eq!(text(answer).await, "HTTP/2.0 1 nobody");
    let known = site.client(Some(invoker.identity()));
    let answer = within(known.request(get(site.url("/")))).await.unwrap();
    assert_eq!(text(answer).await, "HTTP/2.0 2 invoker-1");

    for (identity, name) in [(None, "nobody"), (Some(&invoker), "invoker-1")] {
        let mut raw = site.raw();
        raw.identity = identity;
        let mut sender = raw.http1().await;
        for _ in 0..2 {
            let answer = sender.send_request(get("/")).await.unwrap();
            assert!(incoming_text(answer).await.ends_with(name));
        }
    }
}

#[tokio::test]
async fn without_alpn_it_is_http1() {
    let site = Site::new(whoami());
    let mut stream = site.raw().connect().await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let answer = crate::support::read_to_goodbye(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
}

#[tokio::test]
async fn both_versions_of_tls() {
    let site = Site::new(whoami());
    let invoker = site.authority.client("invoker-1");
    for (version, expected) in [
        (&TLS12, ProtocolVersion::TLSv1_2),
        (&TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let mut raw = site.raw();
        raw.version = version;
        raw.identity = Some(&invoker);
        let stream = raw.connect().await.unwrap();
        let session = stream.get_ref().1;
        assert_eq!(session.protocol_version(), Some(expected));
        let group = session.negotiated_key_exchange_group().unwrap().name();
        assert!(matches!(group, NamedGroup::X25519 | NamedGroup::secp256r1));
    }
}

/// A certificate that is shown but does not count ends the handshake, although none is required.
#[tokio::test]
async fn certificates_that_do_not_count() {
    let site = Site::new(whoami());
    let issue = |edit: fn(&mut CertificateParams)| {
        site.authority.issue(|params| {
            as_client(params, "invoker-1");
            edit(params);
        })
    };
    let cases: [(&str, Pems); 7] = [
        ("another authority", Authority::new().client("invoker-1")),
        (
            "expired",
            issue(|params| params.not_after = crate::support::NOW - Duration::seconds(1)),
        ),
        (
            "not valid yet",
            issue(|params| params.not_before = crate::support::NOW + Duration::HOUR),
        ),
        (
            "for servers only",
            issue(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]),
        ),
        (
            "for no stated purpose",
            issue(|params| params.extended_key_usages.clear()),
        ),
        (
            "without a name",
            issue(|params| {
                params.distinguished_name.remove(DnType::CommonName);
            }),
        ),
        (
            "with two names",
            issue(|params| {
                let again = DnType::CustomDnType(vec![2, 5, 4, 3]);
                params.distinguished_name.push(again, "invoker-2");
            }),
        ),
    ];
    for (case, pems) in &cases {
        for version in [&TLS12, &TLS13] {
            let mut raw = site.raw();
            raw.identity = Some(pems);
            raw.version = version;
            // In TLS 1.3 the client has finished when the refusal comes, so it shows in the first read.
            let refused = match within(raw.connect()).await {
                Err(_) => true,
                Ok(mut stream) => within(stream.read(&mut [0; 1])).await.is_err(),
            };
            assert!(refused, "{case} {version:?}");
        }
        let client = site.client(Some(pems.identity()));
        let error = within(client.request(get(site.url("/")))).await;
        // The alert may be overtaken by the end of the connection, but there is never an answer.
        assert!(
            matches!(
                error,
                Err(ClientError::Tls(_) | ClientError::Broken(_) | ClientError::Connect(_))
            ),
            "{case}: {error:?}"
        );
    }
    assert!(site.server.connections().is_empty());
}

#[tokio::test]
async fn a_certificate_expires_with_the_clock() {
    let site = Site::new(whoami());
    let invoker = site.authority.client("invoker-1").identity();
    let answer = site.ask(Some(invoker.clone()));
    assert!(within(answer).await.is_ok());
    site.clock.set(NOT_AFTER + Duration::seconds(1));
    // The server's certificate has the same end, and is judged first.
    let answer = site.ask(Some(invoker));
    assert!(
        matches!(within(answer).await, Err(ClientError::Tls(reason)) if reason.contains("expired"))
    );
}

#[tokio::test]
async fn required_means_required() {
    let authority = Authority::new();
    let clients = ClientCertificates::Required(authority.anchors());
    let site = Site::with(authority, clients, whoami(), Limits::default());
    let answer = site.ask(None);
    assert!(within(answer).await.is_err());
    let invoker = site.authority.client("invoker-1").identity();
    let answer = site.ask(Some(invoker));
    assert!(within(answer).await.is_ok());
}

#[tokio::test]
async fn not_asked_for_is_not_shown() {
    let authority = Authority::new();
    let site = Site::with(
        authority,
        ClientCertificates::None,
        whoami(),
        Limits::default(),
    );
    let invoker = site.authority.client("invoker-1").identity();
    let answer = site.ask(Some(invoker));
    assert!(
        text(within(answer).await.unwrap())
            .await
            .ends_with("nobody")
    );
    let unused = site.acceptor.set_anchors(site.authority.anchors());
    assert!(matches!(unused, Err(TlsError::ClientCertificatesUnused)));
}

#[tokio::test]
async fn the_client_refuses_other_names_and_authorities() {
    let site = Site::new(whoami());
    let client = site.client(None);
    let by_address = format!("https://127.0.0.1:{}/", site.address.port());
    assert!(within(client.request(get(&by_address))).await.is_ok());

    site.acceptor
        .set_identity(site.authority.server_for(&["elsewhere.example"]))
        .unwrap();
    for url in [site.url("/"), by_address] {
        let fresh = site.client(None);
        let error = within(fresh.request(get(url))).await.unwrap_err();
        assert!(matches!(error, ClientError::Tls(_)), "{error:?}");
    }

    site.acceptor.set_identity(site.authority.server()).unwrap();
    let stranger = site.client_with(None, Authority::new().anchors());
    let error = within(stranger.request(get(site.url("/")))).await;
    assert!(matches!(error, Err(ClientError::Tls(_))), "{error:?}");

    let for_clients = site.authority.issue(|params| {
        params.subject_alt_names = CertificateParams::new(vec!["localhost".to_owned()])
            .unwrap()
            .subject_alt_names;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    site.acceptor.set_identity(for_clients.identity()).unwrap();
    let error = within(site.client(None).request(get(site.url("/")))).await;
    assert!(matches!(error, Err(ClientError::Tls(_))), "{error:?}");
}

#[tokio::test]
async fn identity_and_anchors_change_while_running() {
    let site = Site::new(whoami());
    let (old, new) = (&site.authority, Authority::new());
    let open = site.client(Some(old.client("old").identity()));
    assert!(within(open.request(get(site.url("/")))).await.is_ok());

    site.acceptor.set_identity(new.server()).unwrap();
    site.acceptor.set_anchors(new.anchors()).unwrap();

    // The open connection stays, a new one of the same kind does not come about.
    assert!(within(open.request(get(site.url("/")))).await.is_ok());
    let again = site.client(Some(old.client("old").identity()));
    assert!(within(again.request(get(site.url("/")))).await.is_err());
    let newcomer = site.client_with(Some(new.client("new").identity()), new.anchors());
    let answer = within(newcomer.request(get(site.url("/")))).await.unwrap();
    assert!(text(answer).await.ends_with("new"));

    // During a change of authorities both count.
    let both = Anchors::from_pems([old.anchors().pem(), new.anchors().pem()]).unwrap();
    assert_eq!(both.fingerprints().len(), 2);
    site.acceptor.set_anchors(both).unwrap();
    let old = site.client_with(Some(old.client("old").identity()), new.anchors());
    assert!(within(old.request(get(site.url("/")))).await.is_ok());
}

#[tokio::test]
async fn no_session_is_ever_offered_for_resumption() {
    let site = Site::new(whoami());
    let invoker = site.authority.client("invoker-1");
    for version in [&TLS12, &TLS13] {
        let store = Arc::new(Recorder::default());
        for _ in 0..2 {
            let mut raw = site.raw();
            raw.version = version;
            raw.identity = Some(&invoker);
            raw.store = Some(store.clone());
            let mut stream = raw.connect().await.unwrap();
            stream
                .write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
                .await
                .unwrap();
            crate::support::read_to_goodbye(&mut stream).await;
            let kind = stream.get_ref().1.handshake_kind();
            assert_ne!(kind, Some(rustls::HandshakeKind::Resumed));
        }
        assert_eq!(store.sessions.load(Ordering::Relaxed), 0);
    }
}

/// Remembers key-share hints like any client, and counts what could be resumed.
#[derive(Debug)]
struct Recorder {
    inner: Mutex<ClientSessionMemoryCache>,
    sessions: AtomicUsize,
}

impl Default for Recorder {
    fn default() -> Self {
        Self {
            inner: Mutex::new(ClientSessionMemoryCache::new(8)),
            sessions: AtomicUsize::new(0),
        }
    }
}

impl ClientSessionStore for Recorder {
    fn set_kx_hint(&self, name: ServerName<'static>, group: NamedGroup) {
        self.inner.lock().unwrap().set_kx_hint(name, group);
    }

    fn kx_hint(&self, name: &ServerName<'_>) -> Option<NamedGroup> {
        self.inner.lock().unwrap().kx_hint(name)
    }

    fn set_tls12_session(&self, name: ServerName<'static>, session: Tls12ClientSessionValue) {
        self.sessions.fetch_add(1, Ordering::Relaxed);
        self.inner.lock().unwrap().set_tls12_session(name, session);
    }

    fn tls12_session(&self, name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.inner.lock().unwrap().tls12_session(name)
    }

    fn remove_tls12_session(&self, name: &ServerName<'static>) {
        self.inner.lock().unwrap().remove_tls12_session(name);
    }

    fn insert_tls13_ticket(&self, name: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.sessions.fetch_add(1, Ordering::Relaxed);
        self.inner.lock().unwrap().insert_tls13_ticket(name, ticket);
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.inner.lock().unwrap().take_tls13_ticket(name)
    }
}

#[test]
fn keys_and_certificates_must_fit() {
    let authority = Authority::new();
    let (one, other) = (authority.client("one"), authority.client("other"));
    let mixed = Identity::from_pem(&one.chain, &other.key);
    assert!(matches!(mixed, Err(TlsError::KeyMismatch)));
    let empty = Identity::from_pem("", &one.key);
    assert!(matches!(empty, Err(TlsError::NoCertificate)));
    let keyless = Identity::from_pem(&one.chain, "");
    assert!(matches!(keyless, Err(TlsError::Key)));
    assert!(matches!(
        Anchors::from_pem("no PEM"),
        Err(TlsError::NoCertificate)
    ));
    assert!(
        Anchors::from_pem("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
            .is_err()
    );
    assert!(format!("{:?}", one.identity()).contains("[redacted]"));
    assert_eq!(one.identity().chain_pem(), one.chain);
    let again = Anchors::from_pem(&authority.anchors().pem()).unwrap();
    assert_eq!(again.fingerprints(), authority.anchors().fingerprints());
}
