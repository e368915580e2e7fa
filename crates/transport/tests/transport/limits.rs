//! What a client may use up: P-16 and P-45 of the promises.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use capif_transport::{
    Body, BodyError, BoxError, Connection, Limits, boxed, collect, empty, full, hear_out,
};
use http::{Request, Response, StatusCode};
use http_body_util::StreamBody;
use hyper::body::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};

use crate::support::{
    Answers, Endless, PATIENCE, Site, get, incoming_text, read_to_goodbye, whoami, within,
};

const SHORT: Duration = Duration::from_millis(100);

#[tokio::test]
async fn a_panic_ends_one_request() {
    let site = Site::new(Answers(
        async |request: Request<Body>, connection: Arc<Connection>| {
            assert!(request.uri().path() != "/panic", "on purpose");
            Response::new(full(connection.id.to_string()))
        },
    ));
    let mut http1 = site.raw().http1().await;
    let answer = within(http1.send_request(get("/panic"))).await.unwrap();
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let problem = incoming_text(answer).await;
    assert_eq!(
        problem,
        r#"{"title":"Internal Server Error","status":500,"detail":"the fault is on this side: tell the operator"}"#
    );
    let answer = within(http1.send_request(get("/"))).await.unwrap();
    assert_eq!(incoming_text(answer).await, "1");

    let (mut http2, _ended) = site.raw().http2().await;
    let answer = within(http2.send_request(get(site.url("/panic"))))
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let answer = within(http2.send_request(get(site.url("/"))))
        .await
        .unwrap();
    assert_eq!(incoming_text(answer).await, "2");
}

#[tokio::test]
async fn too_large_and_too_many_headers() {
    let site = Site::new(whoami());
    let large = Request::get("/")
        .header("x-large", "x".repeat(40 * 1024))
        .body(empty())
        .unwrap();
    let mut http1 = site.raw().http1().await;
    let answer = within(http1.send_request(large)).await.unwrap();
    assert_eq!(answer.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);

    let many = |uri: String| {
        let fields = 0..150;
        let request = Request::get(uri);
        fields
            .fold(request, |request, n| request.header(format!("x-{n}"), "y"))
            .body(empty())
            .unwrap()
    };
    let mut http1 = site.raw().http1().await;
    let answer = within(http1.send_request(many("/".to_owned())))
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    let (mut http2, _ended) = site.raw().http2().await;
    let answer = within(http2.send_request(many(site.url("/"))))
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
}

#[tokio::test]
async fn nothing_is_tunnelled() {
    let site = Site::new(whoami());
    let mut stream = site.raw().connect().await.unwrap();
    let connect = b"CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\nconnection: close\r\n\r\n";
    stream.write_all(connect).await.unwrap();
    let answer = read_to_goodbye(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 501"), "{answer}");
}

#[tokio::test]
async fn slow_headers_are_cut_off() {
    let limits = Limits {
        header: SHORT,
        ..Limits::default()
    };
    let site = Site::with_limits(whoami(), limits);
    let mut stream = site.raw().connect().await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nx-slow: ")
        .await
        .unwrap();
    assert_eq!(read_to_goodbye(&mut stream).await, "");
    // Also on a connection that has behaved before.
    let mut stream = site.raw().connect().await.unwrap();
    let first = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    stream.write_all(first).await.unwrap();
    within(stream.read_exact(&mut [0; 15])).await.unwrap();
    stream.write_all(b"GET / HT").await.unwrap();
    let rest = read_to_goodbye(&mut stream).await;
    assert!(rest.ends_with("nobody"), "{rest}");
}

#[tokio::test]
async fn idle_connections_are_closed() {
    let limits = Limits {
        idle: SHORT,
        ..Limits::default()
    };
    let site = Site::with_limits(whoami(), limits);
    let mut stream = site.raw().connect().await.unwrap();
    assert_eq!(read_to_goodbye(&mut stream).await, "");
    let mut stream = site.raw().connect().await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    assert!(
        read_to_goodbye(&mut stream)
            .await
            .starts_with("HTTP/1.1 200")
    );
    let (mut http2, ended) = site.raw().http2().await;
    incoming_text(
        within(http2.send_request(get(site.url("/"))))
            .await
            .unwrap(),
    )
    .await;
    assert!(within(ended).await.unwrap().is_ok());
    // Has chosen HTTP/2 and never speaks it.
    let mut raw = site.raw();
    raw.alpn = Some("h2");
    let mut stream = raw.connect().await.unwrap();
    let mut rest = Vec::new();
    let _ = within(stream.read_to_end(&mut rest)).await;
}

#[tokio::test]
async fn a_running_request_is_not_idle() {
    let limits = Limits {
        idle: SHORT,
        header: SHORT,
        body_stall: SHORT,
        ..Limits::default()
    };
    let site = Site::with_limits(
        Answers(async |_: Request<Body>, _: Arc<Connection>| {
            // Several times the limits, and no fault of the client.
            let _ = tokio::time::timeout(5 * SHORT, std::future::pending::<()>()).await;
            Response::new(full("at last"))
        }),
        limits,
    );
    let client = site.client(None);
    let answer = within(client.request(get(site.url("/")))).await.unwrap();
    assert_eq!(crate::support::text(answer).await, "at last");
    let mut http1 = site.raw().http1().await;
    let answer = within(http1.send_request(get("/"))).await.unwrap();
    assert_eq!(incoming_text(answer).await, "at last");
}

#[tokio::test]
async fn handshakes_end() {
    let limits = Limits {
        handshake: SHORT,
        ..Limits::default()
    };
    let site = Site::with_limits(whoami(), limits);
    let mut silent = TcpStream::connect(site.address).await.unwrap();
    let end = within(silent.read(&mut [0; 1])).await;
    assert!(matches!(end, Ok(0) | Err(_)));
    let mut garbage = TcpStream::connect(site.address).await.unwrap();
    garbage.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut rest = Vec::new();
    let _ = within(garbage.read_to_end(&mut rest)).await;
    assert!(!rest.starts_with(b"HTTP"));
}

#[tokio::test]
async fn stalling_and_trickling_bodies_time_out() {
    let limits = Limits {
        body_stall: SHORT,
        body_bytes_per_second_min: 1_000_000,
        ..Limits::default()
    };
    let (outcomes, mut seen) = mpsc::unbounded_channel();
    let site = Site::with_limits(
        Answers(move |request: Request<Body>, _: Arc<Connection>| {
            let outcomes = outcomes.clone();
            async move {
                let outcome = collect(request.into_body(), 1000, PATIENCE).await;
                outcomes.send(outcome).unwrap();
                Response::new(full("ok"))
            }
        }),
        limits,
    );
    let head = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nabc";
    let mut stream = site.raw().connect().await.unwrap();
    stream.write_all(head).await.unwrap();
    let outcome = within(seen.recv()).await.unwrap();
    assert!(matches!(outcome, Err(BodyError::TimedOut)));

    // A byte now and then earns next to nothing.
    let mut stream = site.raw().connect().await.unwrap();
    stream.write_all(head).await.unwrap();
    let mut pace = tokio::time::interval(Duration::from_millis(30));
    let outcome = loop {
        tokio::select! {
            outcome = seen.recv() => break outcome.unwrap(),
            _ = pace.tick() => { let _ = stream.write_all(b"x").await; }
        }
    };
    assert!(matches!(outcome, Err(BodyError::TimedOut)), "{outcome:?}");

    let mut stream = site.raw().connect().await.unwrap();
    stream.write_all(head).await.unwrap();
    stream.write_all(&[b'x'; 97]).await.unwrap();
    assert_eq!(within(seen.recv()).await.unwrap().unwrap().len(), 100);

    let mut stream = site.raw().connect().await.unwrap();
    let large = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1001\r\n\r\n";
    stream.write_all(large).await.unwrap();
    let outcome = within(seen.recv()).await.unwrap();
    assert!(matches!(
        outcome,
        Err(BodyError::TooLarge { bytes_max: 1000 })
    ));
}

#[tokio::test]
async fn collect_counts_every_frame() {
    let chunks = |sizes: &[usize]| {
        let frames: Vec<_> = sizes
            .iter()
            .map(|size| Bytes::from(vec![b'x'; *size]))
            .collect();
        boxed(Chunks(frames.into()))
    };
    let read = collect(chunks(&[3, 0, 4]), 7, PATIENCE).await.unwrap();
    assert_eq!(read.len(), 7);
    let read = collect(chunks(&[3, 5]), 7, PATIENCE).await;
    assert!(matches!(read, Err(BodyError::TooLarge { .. })));
    assert_eq!(collect(empty(), 0, PATIENCE).await.unwrap().len(), 0);
    let read = collect(full("ab"), 1, PATIENCE).await;
    assert!(matches!(read, Err(BodyError::TooLarge { .. })));
}

struct Chunks(std::collections::VecDeque<Bytes>);

impl hyper::body::Body for Chunks {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, std::io::Error>>> {
        std::task::Poll::Ready(
            self.0
                .pop_front()
                .map(|data| Ok(hyper::body::Frame::data(data))),
        )
    }
}

/// A client that asks for much and reads nothing loses its connection, and the handler its burden.
#[tokio::test]
async fn slow_readers_are_cut_off() {
    for alpn in ["http/1.1", "h2"] {
        let (dropped, gone) = oneshot::channel();
        let dropped = Mutex::new(Some(dropped));
        let limits = Limits {
            body_stall: SHORT,
            ..Limits::default()
        };
        let site = Site::with_limits(
            Answers(move |_, _| {
                let endless = Endless {
                    piece: Bytes::from(vec![0; 100_000]),
                    first_only: false,
                    dropped: dropped.lock().unwrap().take(),
                };
                async { Response::new(boxed(endless)) }
            }),
            limits,
        );
        if alpn == "h2" {
            let (mut sender, _ended) = site.raw().http2().await;
            let _unread = within(sender.send_request(get(site.url("/"))))
                .await
                .unwrap();
            within(gone).await.unwrap();
        } else {
            let mut stream = site.raw().connect().await.unwrap();
            stream
                .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
                .await
                .unwrap();
            within(gone).await.unwrap();
        }
    }
}

#[tokio::test]
async fn further_connections_wait() {
    let limits = Limits {
        connections_max: 1,
        ..Limits::default()
    };
    let site = Site::with_limits(whoami(), limits);
    let first = site.raw().connect().await.unwrap();
    let mut second = std::pin::pin!(site.raw().connect());
    assert!(tokio::time::timeout(SHORT, &mut second).await.is_err());
    drop(first);
    assert!(within(second).await.is_ok());
}

/// An octet that says how many like it are held.
struct Octet {
    _held: Arc<()>,
}

impl AsRef<[u8]> for Octet {
    fn as_ref(&self) -> &[u8] {
        b"x"
    }
}

/// What nobody wants to know takes no memory, however much of it comes.
#[tokio::test]
async fn what_is_merely_heard_out_is_not_kept() {
    let held = Arc::new(());
    let body = |count| {
        let held = Arc::clone(&held);
        let frames = (0..count).map(move |_| {
            assert!(Arc::strong_count(&held) < 5);
            let octet = Bytes::from_owner(Octet {
                _held: Arc::clone(&held),
            });
            Ok::<_, BoxError>(Frame::data(octet))
        });
        boxed(StreamBody::new(futures_util::stream::iter(frames)))
    };
    let time = Duration::from_secs(10);
    assert!(hear_out(body(1000), 1000, time).await.is_ok());
    let refused = hear_out(body(1001), 1000, time).await;
    assert!(matches!(
        refused,
        Err(BodyError::TooLarge { bytes_max: 1000 })
    ));
}
