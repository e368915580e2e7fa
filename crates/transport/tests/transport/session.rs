//! The facts that both ends of a session know: TS 33.122 annex A.1, RFC 5705, RFC 8446 section 7.5.

use std::sync::{Arc, Mutex};

use capif_transport::{
    Body, Client, ClientLimits, ClientTls, Connection, Handler, Limits, Session, SessionLabels,
    TlsVersion, full,
};
use http::{Request, Response, Version};
use rustls::ServerConfig;
use rustls::client::ClientSessionMemoryCache;
use rustls::server::{NoServerSessionStorage, StoresServerSessions};
use rustls::version::{TLS12, TLS13};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::support::{Answers, Authority, Pems, Site, get, read_to_goodbye, text, whoami, within};

const LABELS: SessionLabels = SessionLabels {
    key: "EXPERIMENTAL test key",
    id: "EXPERIMENTAL test id",
};

/// What one end knows, to be compared.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Facts {
    version: TlsVersion,
    key: [u8; 32],
    id: [u8; 32],
    tls12: Option<(Vec<u8>, Vec<u8>)>,
}

impl Facts {
    fn of(session: &Session) -> Self {
        Self {
            version: session.version(),
            key: *session.exported_key(),
            id: *session.exported_id(),
            tls12: session
                .tls12()
                .map(|facts| (facts.master_secret.to_vec(), facts.session_id.to_vec())),
        }
    }

    fn of_response(response: &Response<Body>) -> Self {
        Self::of(response.extensions().get::<Arc<Session>>().unwrap())
    }
}

type Seen = Arc<Mutex<Vec<Facts>>>;

/// Remembers the facts of the connection of each request.
fn recorder(seen: &Seen) -> impl Handler {
    let seen = Arc::clone(seen);
    Answers(move |_: Request<Body>, connection: Arc<Connection>| {
        let facts = Facts::of(connection.session().unwrap());
        seen.lock().unwrap().push(facts);
        async { Response::new(full("seen")) }
    })
}

fn site(handler: impl Handler) -> Site {
    let authority = Authority::new();
    let edit = |tls: &mut capif_transport::ServerTls| tls.session = Some(LABELS);
    Site::with_tls(authority, edit, handler, Limits::default())
}

fn client(
    site_clock: &Arc<capif_transport::ManualClock>,
    authority: &Authority,
    identity: Option<&Pems>,
    tls12_only: bool,
) -> Client {
    let tls = ClientTls {
        anchors: Some(authority.anchors()),
        identity: identity.map(Pems::identity),
        clock: site_clock.clone(),
        session: Some(LABELS),
        tls12_only,
    };
    Client::new(tls, ClientLimits::default()).unwrap()
}

#[tokio::test]
async fn both_ends_know_the_same() {
    let seen = Seen::default();
    let site = site(recorder(&seen));
    let invoker = site.authority.client("invoker-1");
    let mut all: Vec<Facts> = Vec::new();
    for tls12_only in [false, true] {
        for identity in [None, Some(&invoker)] {
            let client = client(&site.clock, &site.authority, identity, tls12_only);
            for _ in 0..2 {
                let answer = within(client.request(get(site.url("/")))).await.unwrap();
                assert_eq!(answer.version(), Version::HTTP_2);
                let ours = Facts::of_response(&answer);
                assert_eq!(text(answer).await, "seen");
                assert_eq!(seen.lock().unwrap().pop().unwrap(), ours);
                // The second request goes over the same connection.
                if !all.contains(&ours) {
                    all.push(ours);
                }
            }
            let facts = all.last().unwrap();
            assert_ne!(facts.key, facts.id);
            match &facts.tls12 {
                None => assert!(!tls12_only && facts.version == TlsVersion::Tls13),
                Some((secret, id)) => {
                    assert!(tls12_only && facts.version == TlsVersion::Tls12);
                    assert_eq!((secret.len(), id.len()), (48, 32));
                    assert!(secret.iter().any(|octet| *octet != 0));
                }
            }
        }
    }
    // Each connection has facts of its own.
    assert_eq!(all.len(), 4);
    let ids: Vec<_> = all
        .iter()
        .filter_map(|facts| facts.tls12.as_ref())
        .collect();
    assert_eq!(ids.len(), 2);
    assert_ne!(ids[0].0, ids[1].0);
    assert_ne!(ids[0].1, ids[1].1);
}

/// The exporter of another implementation's end, over HTTP/1.1.
#[tokio::test]
async fn other_clients_know_the_same() {
    let seen = Seen::default();
    let site = site(recorder(&seen));
    for version in [&TLS12, &TLS13] {
        let mut raw = site.raw();
        raw.version = version;
        let mut stream = raw.connect().await.unwrap();
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            .await
            .unwrap();
        read_to_goodbye(&mut stream).await;
        let (_, tls) = stream.get_ref();
        let facts = seen.lock().unwrap().pop().unwrap();
        for (label, exported) in [(LABELS.key, facts.key), (LABELS.id, facts.id)] {
            let ours = tls.export_keying_material([0; 32], label.as_bytes(), None);
            assert_eq!(ours.unwrap(), exported);
        }
        assert_eq!(facts.tls12.is_some(), version.version == TLS12.version);
    }
}

/// That a session id is assigned promises nothing.
#[tokio::test]
async fn a_session_with_an_id_is_not_resumed() {
    let seen = Seen::default();
    let site = site(recorder(&seen));
    let store = Arc::new(ClientSessionMemoryCache::new(8));
    for _ in 0..3 {
        let mut raw = site.raw();
        raw.version = &TLS12;
        raw.store = Some(store.clone());
        let mut stream = raw.connect().await.unwrap();
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            .await
            .unwrap();
        read_to_goodbye(&mut stream).await;
        let kind = stream.get_ref().1.handshake_kind();
        assert_eq!(kind, Some(rustls::HandshakeKind::Full));
    }
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|facts| facts.tls12.is_some()));
}

#[tokio::test]
async fn nothing_is_kept_unless_asked_for() {
    let asked = Answers(async |_: Request<Body>, connection: Arc<Connection>| {
        assert!(connection.session().is_none());
        Response::new(full("none"))
    });
    let site = Site::new(asked);
    let answer = within(site.ask(None)).await.unwrap();
    assert!(answer.extensions().get::<Arc<Session>>().is_none());
    assert_eq!(text(answer).await, "none");
}

/// One exchange over HTTP/1.1 with a server that is nothing but the library; its facts come from the library's own hands.
async fn exchange(
    version: &'static rustls::SupportedProtocolVersion,
    storage: Option<Arc<dyn StoresServerSessions>>,
    tls12_only: bool,
) -> (Facts, [[u8; 32]; 2]) {
    let authority = Authority::new();
    let pems = authority.issue(|params| {
        let names = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.subject_alt_names = names.subject_alt_names;
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    });
    let chain = CertificateDer::pem_slice_iter(pems.chain.as_bytes())
        .collect::<Result<_, _>>()
        .unwrap();
    let key = PrivateKeyDer::from_pem_slice(pems.key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    if let Some(storage) = storage {
        config.session_storage = storage;
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "https://localhost:{}/",
        listener.local_addr().unwrap().port()
    );
    let serving = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let mut stream = acceptor.accept(tcp).await.unwrap();
        stream.read_exact(&mut [0; 16]).await.unwrap();
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(answer).await.unwrap();
        stream.flush().await.unwrap();
        let (_, tls) = stream.get_ref();
        [LABELS.key, LABELS.id].map(|label| {
            tls.export_keying_material([0; 32], label.as_bytes(), None)
                .unwrap()
        })
    });
    let clock = crate::support::clock();
    let client = client(&clock, &authority, None, tls12_only);
    let answer = within(client.request(get(url))).await.unwrap();
    assert_eq!(answer.version(), Version::HTTP_11);
    (Facts::of_response(&answer), within(serving).await.unwrap())
}

#[tokio::test]
async fn other_servers_know_the_same() {
    let (facts, theirs) = exchange(&TLS13, None, false).await;
    assert_eq!([facts.key, facts.id], theirs);
    assert_eq!((facts.version, facts.tls12), (TlsVersion::Tls13, None));
    for tls12_only in [true, false] {
        let (facts, theirs) = exchange(&TLS12, None, tls12_only).await;
        assert_eq!([facts.key, facts.id], theirs);
        assert_eq!(facts.version, TlsVersion::Tls12);
        assert!(facts.tls12.is_some_and(|(_, id)| !id.is_empty()));
    }
}

/// TS 33.122 annex A.1 has nothing to say without an id.
#[tokio::test]
async fn without_an_id_there_are_no_literal_facts() {
    let storage = Some(Arc::new(NoServerSessionStorage {}) as _);
    let (facts, theirs) = exchange(&TLS12, storage, true).await;
    assert_eq!([facts.key, facts.id], theirs);
    assert_eq!((facts.version, facts.tls12), (TlsVersion::Tls12, None));
}

#[tokio::test]
async fn facts_are_not_shown() {
    let site = site(whoami());
    let client = client(&site.clock, &site.authority, None, true);
    let answer = within(client.request(get(site.url("/")))).await.unwrap();
    let session = answer.extensions().get::<Arc<Session>>().unwrap();
    let shown = format!("{session:?} {:?}", session.tls12());
    assert!(shown.contains("[redacted]") && shown.len() < 120, "{shown}");
}
