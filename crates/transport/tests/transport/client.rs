//! The client's limits and its pool.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use capif_transport::{
    Body, Bounds, Client, ClientError, ClientLimits, ClientTls, Closing, Limits, Resolve, Server,
    full,
};
use http::Response;

use crate::support::{Answers, Site, clock, get, text, whoami, within};

fn plain_client(limits: ClientLimits) -> Client {
    let tls = ClientTls {
        anchors: None,
        identity: None,
        clock: clock(),
        session: None,
        tls12_only: false,
    };
    Client::new(tls, limits).unwrap()
}

#[tokio::test]
async fn connections_are_reused_and_replaced() {
    let site = Site::new(whoami());
    let client = site.client(None);
    for _ in 0..3 {
        let answer = within(client.request(get(site.url("/")))).await.unwrap();
        assert_eq!(text(answer).await, "HTTP/2.0 1 nobody");
    }
    assert_eq!(
        site.server
            .connections()
            .close(|_| true, Closing::AfterResponses),
        1
    );
    while !site.server.connections().is_empty() {
        tokio::task::yield_now().await;
    }
    let answer = within(client.request(get(site.url("/")))).await.unwrap();
    assert_eq!(text(answer).await, "HTTP/2.0 2 nobody");
}

#[tokio::test]
async fn plain_only_where_allowed() {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let server = Server::bind_plain(any, Limits::default(), whoami()).unwrap();
    let url = format!("http://{}/", server.local_addr());
    let allowed = ClientLimits {
        plain: true,
        ..ClientLimits::default()
    };
    let answer = within(plain_client(allowed.clone()).request(get(&url)))
        .await
        .unwrap();
    assert_eq!(text(answer).await, "HTTP/1.1 1 nobody");

    let refused = within(plain_client(ClientLimits::default()).request(get(&url))).await;
    assert!(
        matches!(refused, Err(ClientError::Request(_))),
        "{refused:?}"
    );
    let no_anchors = plain_client(allowed.clone());
    for url in ["https://localhost:1/", "ftp://localhost/", "/relative", "*"] {
        let refused = within(no_anchors.request(get(url))).await;
        assert!(
            matches!(refused, Err(ClientError::Request(_))),
            "{url}: {refused:?}"
        );
    }
    drop(server);
    let refused = within(plain_client(allowed).request(get(&url))).await;
    assert!(
        matches!(refused, Err(ClientError::Connect(_))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn answers_and_handshakes_have_a_deadline() {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let never = Answers(|_, _| std::future::pending::<Response<Body>>());
    let server = Server::bind_plain(any, Limits::default(), never).unwrap();
    let limits = ClientLimits {
        connect: Duration::from_millis(50),
        response_head: Duration::from_millis(100),
        plain: true,
        ..ClientLimits::default()
    };
    let url = format!("http://{}/", server.local_addr());
    let late = within(plain_client(limits.clone()).request(get(&url))).await;
    assert!(matches!(late, Err(ClientError::TimedOut)), "{late:?}");

    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let site = Site::new(whoami());
    let tls = ClientTls {
        anchors: Some(site.authority.anchors()),
        identity: None,
        clock: site.clock.clone(),
        session: None,
        tls12_only: false,
    };
    let limits = ClientLimits {
        response_head: Duration::from_secs(60),
        ..limits
    };
    let client = Client::new(tls, limits).unwrap();
    let url = format!("https://{}/", silent.local_addr().unwrap());
    let late = within(client.request(get(&url))).await;
    assert!(matches!(late, Err(ClientError::TimedOut)), "{late:?}");
}

#[tokio::test]
async fn large_bodies_pass_unchanged_in_both_directions() {
    let echo = Answers(async |request: http::Request<Body>, _: std::sync::Arc<_>| {
        Response::new(request.into_body())
    });
    let site = Site::new(echo);
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
    let mut request = get(site.url("/"));
    *request.method_mut() = http::Method::POST;
    *request.body_mut() = full(bytes.clone());
    let answer = within(site.client(None).request(request)).await.unwrap();
    let back = capif_transport::collect(answer.into_body(), 2_000_000, crate::support::PATIENCE);
    assert!(back.await.unwrap() == bytes);
}

/// Names may lead anywhere, so the guard is asked about addresses.
#[tokio::test]
async fn guarded_clients_dial_what_they_may() {
    let site = Site::new(whoami());
    let client = |allowed: bool| {
        let tls = ClientTls {
            anchors: Some(site.authority.anchors()),
            identity: None,
            clock: site.clock.clone(),
            session: None,
            tls12_only: false,
        };
        let limits = ClientLimits {
            plain: true,
            ..ClientLimits::default()
        };
        let port = site.address.port();
        let bounds = Bounds {
            guard: Arc::new(move |host: &str, address: SocketAddr| {
                allowed
                    && host == "localhost"
                    && address.ip().is_loopback()
                    && address.port() == port
            }),
            expected: None,
            resolver: None,
        };
        Client::guarded(tls, limits, bounds).unwrap()
    };
    let answer = within(client(true).request(get(site.url("/")))).await;
    assert!(text(answer.unwrap()).await.ends_with("nobody"));
    let refused = within(client(false).request(get(site.url("/")))).await;
    assert!(
        matches!(refused, Err(ClientError::Request(_))),
        "{refused:?}"
    );
    let plain = format!("http://localhost:{}/", site.address.port());
    let refused = within(client(true).request(get(plain))).await;
    assert!(
        matches!(refused, Err(ClientError::Request(_))),
        "{refused:?}"
    );
}

/// Without TLS too, and nowhere with it.
#[tokio::test]
async fn guarded_plain_clients_dial_what_they_may() {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let server = Server::bind_plain(any, Limits::default(), whoami()).unwrap();
    let port = server.local_addr().port();
    let client = |allowed: u16| {
        let guard = move |host: &str, address: SocketAddr| {
            host == "localhost" && address.ip().is_loopback() && address.port() == allowed
        };
        Client::guarded_plain(ClientLimits::default(), Arc::new(guard), None)
    };
    let url = format!("http://localhost:{port}/");
    let answer = within(client(port).request(get(&url))).await.unwrap();
    assert_eq!(text(answer).await, "HTTP/1.1 1 nobody");
    for (client, url) in [
        (client(port + 1), url),
        (client(port), format!("http://127.0.0.1:{port}/")),
        (client(port), format!("https://localhost:{port}/")),
    ] {
        let refused = within(client.request(get(&url))).await;
        assert!(
            matches!(refused, Err(ClientError::Request(_))),
            "{url}: {refused:?}"
        );
    }
    assert_eq!(
        server.connections().len(),
        1,
        "the one that was let through"
    );
}

/// Answers a question for addresses differently each time, as a name server does that means harm.
struct Rebinding {
    asked: AtomicUsize,
    answers: Vec<Vec<SocketAddr>>,
}

impl Resolve for Rebinding {
    fn resolve<'a>(
        &'a self,
        _host: &'a str,
        _port: u16,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>> {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        let answer = self.answers[asked % self.answers.len()].clone();
        Box::pin(std::future::ready(Ok(answer)))
    }
}

/// P-34: what was judged is what is dialled, whatever the name leads to a moment later; with TLS and without.
#[tokio::test]
async fn names_that_change_lead_nowhere_else() {
    let site = Site::new(whoami());
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let plain = Server::bind_plain(any, Limits::default(), whoami()).unwrap();
    for (scheme, good) in [("https", site.address), ("http", plain.local_addr())] {
        let forbidden = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let bad = forbidden.local_addr().unwrap();
        let resolver = Arc::new(Rebinding {
            asked: AtomicUsize::new(0),
            answers: vec![vec![good], vec![bad], vec![bad, good], vec![]],
        });
        let mut answered = 0;
        for _ in 0..20 {
            let tls = ClientTls {
                anchors: Some(site.authority.anchors()),
                identity: None,
                clock: site.clock.clone(),
                session: None,
                tls12_only: false,
            };
            let bounds = Bounds {
                guard: Arc::new(move |_: &str, address: SocketAddr| address == good),
                expected: None,
                resolver: Some(resolver.clone()),
            };
            let limits = ClientLimits::default();
            // Each with a pool of its own, so that each looks the name up.
            let client = match scheme {
                "http" => Client::guarded_plain(limits, bounds.guard, bounds.resolver),
                _ => Client::guarded(tls, limits, bounds).unwrap(),
            };
            let url = format!("{scheme}://localhost:{}/", good.port());
            answered += usize::from(within(client.request(get(url))).await.is_ok());
        }
        assert_eq!(resolver.asked.load(Ordering::Relaxed), 20);
        assert_eq!(answered, 10);
        let dialled = tokio::time::timeout(Duration::from_millis(100), forbidden.accept()).await;
        assert!(dialled.is_err(), "nobody came");
    }
}
