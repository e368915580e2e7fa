//! Who gets in by a key: TS 33.122 clause 6.5.2.1.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use capif_transport::{
    Body, Client, ClientError, ClientLimits, Closing, Connection, Limits, Peer, Psk, PskCredential,
    PskVersion, TlsError, boxed, full,
};
use http::{Method, Request, Response, Version};
use http_body_util::BodyExt;
use openssl::pkey::PKey;
use openssl::ssl::{Ssl, SslContextBuilder, SslMethod};
use openssl::x509::X509;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_openssl::SslStream;

use crate::keys::{BOTH, KEY, Keys, NAME, RawPsk, client, credential, site, site_within};
use crate::support::{
    Answers, Authority, Endless, Site, get, incoming_text, read_to_goodbye, text, whoami, within,
};

#[tokio::test]
async fn both_versions_over_both_protocols() {
    for version in BOTH {
        let keys = Keys::new();
        let seen = Answers(
            async |request: Request<Body>, connection: Arc<Connection>| {
                let psk = connection.peer.psk().unwrap();
                assert!(matches!(connection.peer, Peer::Psk(_)));
                assert!(connection.peer.certificate().is_none());
                assert!(connection.session().is_none());
                let (identity, version) = (&psk.identity, psk.version);
                Response::new(full(format!(
                    "{:?} {identity} {version}",
                    request.version()
                )))
            },
        );
        let site = site(version, keys.clone(), seen);
        let client = client(credential(version));
        for _ in 0..3 {
            let answer = within(client.request(get(site.url("/")))).await.unwrap();
            assert_eq!(answer.version(), Version::HTTP_2);
            assert_eq!(text(answer).await, format!("HTTP/2.0 {NAME} {version}"));
        }
        let asked = keys.asked();
        assert_eq!(asked.len(), 1, "{asked:?}");
        assert_eq!(asked[0].0, NAME);
        assert!(asked[0].1.is_loopback());
        assert_eq!(site.server.connections().len(), 1);

        let mut sender = RawPsk::new(version).http1(&site).await;
        for _ in 0..3 {
            let answer = within(sender.send_request(get("/"))).await.unwrap();
            let expected = format!("HTTP/1.1 {NAME} {version}");
            assert_eq!(incoming_text(answer).await, expected);
        }
    }
}

#[tokio::test]
async fn certificates_are_served_beside_keys() {
    for version in BOTH {
        let keys = Keys::new();
        let site = site(version, keys.clone(), whoami());
        let invoker = site.authority.client("invoker-1");
        let known = site.ask(Some(invoker.identity()));
        assert_eq!(
            text(within(known).await.unwrap()).await,
            "HTTP/2.0 1 invoker-1"
        );
        let nobody = within(site.ask(None)).await.unwrap();
        assert_eq!(text(nobody).await, "HTTP/2.0 2 nobody");
        for other in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let mut raw = site.raw();
            raw.version = other;
            raw.identity = Some(&invoker);
            let answer = raw.http1().await.send_request(get("/")).await.unwrap();
            assert!(incoming_text(answer).await.ends_with("invoker-1"));
        }
        assert!(keys.asked().is_empty());
    }
}

/// A key belongs to one version.
#[tokio::test]
async fn the_other_version_is_refused() {
    for (version, other) in [
        (PskVersion::Tls12, PskVersion::Tls13),
        (PskVersion::Tls13, PskVersion::Tls12),
    ] {
        let keys = Keys::new();
        let site = site(version, keys.clone(), whoami());
        let refused = within(client(credential(other)).request(get(site.url("/")))).await;
        assert!(matches!(refused, Err(ClientError::Tls(_))), "{refused:?}");
        assert!(keys.asked().is_empty());
    }
}

#[tokio::test]
async fn wrong_and_unknown_are_told_alike() {
    for version in BOTH {
        let site = site(version, Keys::new(), whoami());
        let mut reasons = Vec::new();
        for (name, key) in [(NAME, [8; 32]), ("3GPP-CAPIF.invoker-2.1", KEY)] {
            let other = PskCredential {
                identity: name.to_owned(),
                key: Psk::new(key),
                version,
            };
            match within(client(other).request(get(site.url("/")))).await {
                Err(ClientError::Tls(reason)) => reasons.push(reason),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(reasons[0], reasons[1]);
        assert!(site.server.connections().is_empty());
    }
}

#[tokio::test]
async fn keys_can_be_refused_for_a_while() {
    for version in BOTH {
        let keys = Keys::new();
        let site = site(version, keys.clone(), whoami());
        let open = client(credential(version));
        assert!(within(open.request(get(site.url("/")))).await.is_ok());
        keys.asked();

        site.acceptor.set_psk_accepted(false);
        let refused = within(client(credential(version)).request(get(site.url("/")))).await;
        assert!(
            matches!(&refused, Err(ClientError::Tls(reason)) if reason.contains("handshake failure")),
            "{refused:?}"
        );
        assert!(keys.asked().is_empty());
        assert!(within(site.ask(None)).await.is_ok());
        // Connections that are open stay; whoever means them too closes them.
        assert!(within(open.request(get(site.url("/")))).await.is_ok());

        site.acceptor.set_psk_accepted(true);
        let again = client(credential(version));
        assert!(within(again.request(get(site.url("/")))).await.is_ok());
    }
}

/// A server without keys answers a client with one by its certificate. That is not what the client wants.
#[tokio::test]
async fn the_client_accepts_no_certificate() {
    let site = Site::new(whoami());
    for version in BOTH {
        let refused = within(client(credential(version)).request(get(site.url("/")))).await;
        assert!(matches!(refused, Err(ClientError::Tls(_))), "{refused:?}");
    }
    assert!(site.server.connections().is_empty());
}

/// As before, with a server of the other library, which holds a certificate and perhaps another key.
#[tokio::test]
async fn the_client_accepts_no_certificate_beside_a_key_either() {
    let authority = Authority::new();
    let pems = authority.issue(|params| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    });
    for version in BOTH {
        for (key, accepted) in [(None, false), (Some([8; 32]), false), (Some(KEY), true)] {
            let mut builder = SslContextBuilder::new(SslMethod::tls_server()).unwrap();
            let mut chain = X509::stack_from_pem(pems.chain.as_bytes()).unwrap();
            builder.set_certificate(&chain.remove(0)).unwrap();
            let private = PKey::private_key_from_pem(pems.key.as_bytes()).unwrap();
            builder.set_private_key(&private).unwrap();
            builder.set_cipher_list("ALL:PSK").unwrap();
            builder.set_alpn_select_callback(|_, offered| {
                openssl::ssl::select_next_proto(b"\x08http/1.1", offered)
                    .ok_or(openssl::ssl::AlpnError::NOACK)
            });
            if let Some(key) = key {
                builder.set_psk_server_callback(move |_, _, out| {
                    out[..32].copy_from_slice(&key);
                    Ok(32)
                });
            }
            let context = builder.build();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let serving = tokio::spawn(async move {
                let (tcp, _) = listener.accept().await.unwrap();
                let mut stream = SslStream::new(Ssl::new(&context).unwrap(), tcp).unwrap();
                Pin::new(&mut stream).accept().await.ok()?;
                stream.read_exact(&mut [0; 16]).await.ok()?;
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";
                stream.write_all(answer).await.ok()?;
                Some(stream)
            });
            let url = format!("https://localhost:{}/", address.port());
            let answer = within(client(credential(version)).request(get(url))).await;
            if accepted {
                assert_eq!(text(answer.unwrap()).await, "hi");
                assert!(within(serving).await.unwrap().is_some());
            } else {
                assert!(matches!(answer, Err(ClientError::Tls(_))), "{answer:?}");
                assert!(within(serving).await.unwrap().is_none());
            }
        }
    }
}

#[tokio::test]
async fn errors_of_the_client_tell_refusal_from_failure() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let closing = std::thread::spawn(move || drop(listener.accept().unwrap()));
    let url = format!("https://localhost:{port}/");
    let client = client(credential(PskVersion::Tls13));
    let gone = within(client.request(get(&url))).await;
    assert!(matches!(gone, Err(ClientError::Connect(_))), "{gone:?}");
    closing.join().unwrap();
    let nobody = within(client.request(get(&url))).await;
    assert!(matches!(nobody, Err(ClientError::Connect(_))), "{nobody:?}");
    let plain = within(client.request(get(format!("http://localhost:{port}/")))).await;
    assert!(matches!(plain, Err(ClientError::Request(_))), "{plain:?}");

    for identity in [String::new(), "x".repeat(257), "a\0b".to_owned()] {
        let credential = PskCredential {
            identity,
            ..credential(PskVersion::Tls13)
        };
        let client = Client::psk(credential, ClientLimits::default());
        assert!(matches!(client, Err(TlsError::PskIdentity)));
    }
    let longest = PskCredential {
        identity: "x".repeat(256),
        ..credential(PskVersion::Tls13)
    };
    assert!(Client::psk(longest, ClientLimits::default()).is_ok());
}

#[tokio::test]
async fn a_look_up_may_take_its_time() {
    for version in BOTH {
        let keys = Keys::with_turns(0);
        let site = site(version, keys.clone(), whoami());
        let client = client(credential(version));
        let url = site.url("/");
        let asking = tokio::spawn(async move { client.request(get(url)).await });
        while keys.asked().is_empty() {
            tokio::task::yield_now().await;
        }
        // Others are served meanwhile.
        assert!(within(site.ask(None)).await.is_ok());
        assert!(!asking.is_finished());
        keys.let_one_through();
        assert!(within(asking).await.unwrap().is_ok());
    }
}

#[tokio::test]
async fn a_look_up_ends_with_the_handshake() {
    for version in BOTH {
        let limits = Limits {
            handshake: Duration::from_millis(100),
            ..Limits::default()
        };
        let site = site_within(version, Keys::with_turns(0), whoami(), limits);
        let late = within(client(credential(version)).request(get(site.url("/")))).await;
        assert!(matches!(late, Err(ClientError::Connect(_))), "{late:?}");
        assert!(site.server.connections().is_empty());
    }
}

#[tokio::test]
async fn large_bodies_pass_unchanged() {
    for version in BOTH {
        let echo = Answers(async |request: Request<Body>, _: Arc<Connection>| {
            Response::new(request.into_body())
        });
        let site = site(version, Keys::new(), echo);
        let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
        let post = |url: &str| {
            let mut request = get(url);
            *request.method_mut() = Method::POST;
            *request.body_mut() = full(bytes.clone());
            request
        };
        let client = client(credential(version));
        let answer = within(client.request(post(&site.url("/")))).await.unwrap();
        let back =
            capif_transport::collect(answer.into_body(), 2_000_000, crate::support::PATIENCE);
        assert!(back.await.unwrap() == bytes);
        let mut http1 = RawPsk::new(version).http1(&site).await;
        let answer = within(http1.send_request(post("/"))).await.unwrap();
        let back = within(answer.into_body().collect()).await.unwrap();
        assert!(back.to_bytes() == bytes);
    }
}

#[tokio::test]
async fn connections_end_in_good_order() {
    for version in BOTH {
        let site = site(
            version,
            Keys::new(),
            Answers(async |_: Request<Body>, connection: Arc<Connection>| {
                connection.close_after_response();
                Response::new(full("farewell"))
            }),
        );
        for _ in 0..10 {
            let mut stream = RawPsk::new(version).connect(&site).await.unwrap();
            let head = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 200000\r\n\r\n";
            stream.write_all(head).await.unwrap();
            stream.write_all(&[b'x'; 200_000]).await.unwrap();
            stream.flush().await.unwrap();
            // Without the TLS goodbye this fails.
            let answer = read_to_goodbye(&mut stream).await;
            assert!(answer.ends_with("farewell"), "{answer}");
        }
        let (mut sender, ended) = RawPsk::new(version).http2(&site).await;
        let answer = within(sender.send_request(get(site.url("/"))))
            .await
            .unwrap();
        assert_eq!(incoming_text(answer).await, "farewell");
        assert!(within(ended).await.unwrap().is_ok());
    }
}

#[tokio::test]
async fn idle_connections_close_by_predicate() {
    for version in BOTH {
        let site = site(version, Keys::new(), whoami());
        let mut stream = RawPsk::new(version).connect(&site).await.unwrap();
        let invoker = site.authority.client("invoker-1");
        let other = site.client(Some(invoker.identity()));
        assert!(within(other.request(get(site.url("/")))).await.is_ok());
        let connections = site.server.connections();
        while connections.len() < 2 {
            tokio::task::yield_now().await;
        }
        let named = |connection: &Connection| {
            let psk = connection.peer.psk();
            psk.is_some_and(|psk| psk.identity == NAME)
        };
        assert_eq!(connections.close(named, Closing::AfterResponses), 1);
        assert_eq!(read_to_goodbye(&mut stream).await, "");
        drop(stream);
        while connections.len() > 1 {
            tokio::task::yield_now().await;
        }
        let kept = within(other.request(get(site.url("/")))).await.unwrap();
        assert!(text(kept).await.ends_with("invoker-1"));
    }
}

#[tokio::test]
async fn now_ends_a_stream_in_the_middle() {
    for version in BOTH {
        let (dropped, gone) = oneshot::channel();
        let dropped = std::sync::Mutex::new(vec![dropped]);
        let site = site(
            version,
            Keys::new(),
            Answers(move |_, _| {
                let endless = Endless {
                    piece: Bytes::from_static(b"first"),
                    first_only: true,
                    dropped: dropped.lock().unwrap().pop(),
                };
                async { Response::new(boxed(endless)) }
            }),
        );
        let client = client(credential(version));
        let mut answer = within(client.request(get(site.url("/")))).await.unwrap();
        let first = within(answer.body_mut().frame()).await.unwrap().unwrap();
        assert_eq!(first.into_data().unwrap(), "first");
        let mut http1 = RawPsk::new(version).http1(&site).await;
        let mut other = within(http1.send_request(get("/"))).await.unwrap();
        within(other.body_mut().frame()).await.unwrap().unwrap();

        assert_eq!(site.server.connections().close(|_| true, Closing::Now), 2);
        assert!(within(answer.body_mut().frame()).await.unwrap().is_err());
        assert!(within(other.body_mut().frame()).await.unwrap().is_err());
        within(gone).await.unwrap();
        assert!(site.server.connections().is_empty());
    }
}

#[tokio::test]
async fn drain_ends_idle_connections() {
    for version in BOTH {
        let site = site(version, Keys::new(), whoami());
        let client = client(credential(version));
        assert!(within(client.request(get(site.url("/")))).await.is_ok());
        let mut http1 = RawPsk::new(version).http1(&site).await;
        incoming_text(within(http1.send_request(get("/"))).await.unwrap()).await;
        assert_eq!(within(site.server.drain(Duration::from_secs(60))).await, 0);
        assert!(within(http1.send_request(get("/"))).await.is_err());
    }
}

#[test]
fn keys_show_nothing_and_versions_read_back() {
    let key = Psk::new(KEY);
    assert_eq!(key, Psk::new(KEY));
    assert_ne!(key, Psk::new([8; 32]));
    assert_eq!(key.expose(), &KEY);
    let shown = format!("{:?} {:?}", key, credential(PskVersion::Tls12));
    assert!(
        shown.contains("[redacted]") && !shown.contains("7, 7"),
        "{shown}"
    );
    for version in BOTH {
        assert_eq!(version.to_string().parse(), Ok(version));
    }
    assert!("1.1".parse::<PskVersion>().is_err());
}
