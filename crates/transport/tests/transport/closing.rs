//! How connections end: P-29 and P-42 of the promises.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use capif_transport::{Body, ClientError, Closing, Connection, Limits, boxed, full};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use tokio::io::AsyncWriteExt;
use tokio::sync::{Notify, oneshot};

use crate::support::{
    Answers, Endless, Site, get, incoming_text, read_to_goodbye, text, whoami, within,
};

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

fn last_words() -> impl capif_transport::Handler {
    Answers(async |_: Request<Body>, connection: Arc<Connection>| {
        assert!(!connection.is_closing());
        connection.close_after_response();
        assert!(connection.is_closing());
        Response::new(full("farewell"))
    })
}

#[tokio::test]
async fn http1_closes_after_the_response() {
    let site = Site::new(last_words());
    let mut stream = site.raw().connect().await.unwrap();
    // The second request comes along with the first.
    stream.write_all(&[GET, GET].concat()).await.unwrap();
    let answer = read_to_goodbye(&mut stream).await;
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    assert!(answer.ends_with("farewell"), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
}

#[tokio::test]
async fn http2_closes_after_the_response() {
    let site = Site::new(last_words());
    let (mut sender, ended) = site.raw().http2().await;
    let answer = within(sender.send_request(get(site.url("/"))))
        .await
        .unwrap();
    assert_eq!(incoming_text(answer).await, "farewell");
    match within(sender.send_request(get(site.url("/")))).await {
        Err(_) => {}
        Ok(answer) => assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE),
    }
    assert!(within(ended).await.unwrap().is_ok());
}

/// An answer that refuses a body must not be lost to the reset that unread bytes cause.
#[tokio::test]
async fn a_refused_body_does_not_cost_the_answer() {
    let site = Site::new(last_words());
    for _ in 0..10 {
        let mut stream = site.raw().connect().await.unwrap();
        let head = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 200000\r\n\r\n";
        stream.write_all(head).await.unwrap();
        stream.write_all(&[b'x'; 200_000]).await.unwrap();
        stream.flush().await.unwrap();
        let answer = read_to_goodbye(&mut stream).await;
        assert!(answer.ends_with("farewell"), "{answer}");
    }
}

#[tokio::test]
async fn idle_connections_close_by_predicate() {
    let site = Site::new(whoami());
    let (one, two) = (site.authority.client("one"), site.authority.client("two"));
    let connect = async |pems| {
        let mut raw = site.raw();
        raw.identity = Some(pems);
        raw.http1().await
    };
    let (mut first, mut second) = (connect(&one).await, connect(&two).await);
    for sender in [&mut first, &mut second] {
        let answer = within(sender.send_request(get("/"))).await.unwrap();
        incoming_text(answer).await;
    }
    let named = |connection: &Connection| {
        let certificate = connection.peer.certificate();
        certificate.is_some_and(|certificate| certificate.common_name == "one")
    };
    let connections = site.server.connections();
    assert_eq!(connections.close(named, Closing::AfterResponses), 1);
    while !first.is_closed() {
        if within(first.ready()).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert!(within(first.send_request(get("/"))).await.is_err());
    assert!(within(second.send_request(get("/"))).await.is_ok());
}

/// Whoever calls without a pause loses no call by it, in either version of HTTP.
#[tokio::test]
async fn closing_after_responses_fails_no_request() {
    let site = Arc::new(Site::new(whoami()));
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let one = Arc::clone(&site);
        clients.spawn(async move {
            for _ in 0..20 {
                let mut http1 = one.raw().http1().await;
                for _ in 0..20 {
                    if http1.ready().await.is_err() {
                        break;
                    }
                    let answer = http1.send_request(get("/")).await.unwrap();
                    assert_eq!(answer.status(), StatusCode::OK);
                    incoming_text(answer).await;
                }
            }
        });
        let two = Arc::clone(&site);
        clients.spawn(async move {
            let http2 = two.client(None);
            for _ in 0..400 {
                let answer = http2.request(get(two.url("/"))).await.unwrap();
                assert_eq!(answer.status(), StatusCode::OK);
                text(answer).await;
            }
        });
    }
    let mut closed = 0;
    while !clients.is_empty() {
        closed += site
            .server
            .connections()
            .close(|_| true, Closing::AfterResponses);
        let pause = tokio::time::sleep(Duration::from_millis(3));
        tokio::select! {
            done = clients.join_next() => done.unwrap().unwrap(),
            () = pause => {}
        }
    }
    assert!(closed > 50, "{closed}");
}

/// Whoever never confirms that it heard of the end could send requests for ever.
#[tokio::test]
async fn a_client_that_ignores_the_end_is_not_served_on() {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let handled = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&handled);
    let site = Site::new(Answers(move |_: Request<Body>, _: Arc<Connection>| {
        counted.fetch_add(1, Ordering::SeqCst);
        std::future::ready(Response::new(full("served")))
    }));
    let mut raw = site.raw();
    raw.alpn = Some("h2");
    let (mut answers, mut requests) = tokio::io::split(raw.connect().await.unwrap());
    tokio::spawn(async move { tokio::io::copy(&mut answers, &mut tokio::io::sink()).await });
    requests.write_all(PREFACE).await.unwrap();
    let mut stream = 1_u32;
    let mut request = async || {
        // Ends stream and header: GET, https, `/`, `localhost`.
        let mut frame = vec![0, 0, 14, 1, 5];
        frame.extend(stream.to_be_bytes());
        frame.extend(b"\x82\x87\x84\x01\x09localhost");
        stream += 2;
        requests.write_all(&frame).await.is_ok() && requests.flush().await.is_ok()
    };
    let served = async |count| {
        while handled.load(Ordering::SeqCst) < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(request().await);
    within(served(1)).await;
    let closed = site
        .server
        .connections()
        .close(|_| true, Closing::AfterResponses);
    assert_eq!(closed, 1);
    within(async {
        loop {
            let before = handled.load(Ordering::SeqCst);
            let sent = request().await;
            let served = tokio::time::timeout(Duration::from_millis(300), served(before + 1));
            if !sent || served.await.is_err() {
                break;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn connections_without_a_request_close_too() {
    let site = Site::new(whoami());
    let connections = site.server.connections();
    let close_one = async || {
        // The client is done with its handshake before the server is.
        while connections.is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(connections.close(|_| true, Closing::AfterResponses), 1);
    };
    let gone = async || {
        while !connections.is_empty() {
            tokio::task::yield_now().await;
        }
    };

    let mut stream = site.raw().connect().await.unwrap();
    close_one().await;
    assert_eq!(read_to_goodbye(&mut stream).await, "");
    drop(stream);
    within(gone()).await;

    // What has just begun is answered.
    let mut stream = site.raw().connect().await.unwrap();
    let (one, other) = GET.split_at(8);
    stream.write_all(one).await.unwrap();
    close_one().await;
    stream.write_all(other).await.unwrap();
    let answer = read_to_goodbye(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    drop(stream);
    within(gone()).await;

    let (_sender, ended) = site.raw().http2().await;
    close_one().await;
    assert!(within(ended).await.unwrap().is_ok());
    within(gone()).await;

    // Has chosen HTTP/2 and never spoken it.
    let mut raw = site.raw();
    raw.alpn = Some("h2");
    let _stream = raw.connect().await.unwrap();
    close_one().await;
    within(gone()).await;
}

#[tokio::test]
async fn now_ends_a_stream_in_the_middle() {
    let (dropped, gone) = oneshot::channel();
    let dropped = std::sync::Mutex::new(vec![dropped]);
    let site = Site::new(Answers(move |_, _| {
        let endless = Endless {
            piece: Bytes::from_static(b"first"),
            first_only: true,
            dropped: dropped.lock().unwrap().pop(),
        };
        async { Response::new(boxed(endless)) }
    }));
    let client = site.client(None);
    let mut answer = within(client.request(get(site.url("/")))).await.unwrap();
    let first = within(answer.body_mut().frame()).await.unwrap().unwrap();
    assert_eq!(first.into_data().unwrap(), "first");
    let mut http1 = site.raw().http1().await;
    let mut other = within(http1.send_request(get("/"))).await.unwrap();
    within(other.body_mut().frame()).await.unwrap().unwrap();

    assert_eq!(site.server.connections().close(|_| true, Closing::Now), 2);
    assert!(within(answer.body_mut().frame()).await.unwrap().is_err());
    assert!(within(other.body_mut().frame()).await.unwrap().is_err());
    // What the handler holds goes with it.
    within(gone).await.unwrap();
    assert_eq!(site.server.connections().len(), 0);
}

#[tokio::test]
async fn drain_lets_running_requests_finish() {
    let (begun, proceed) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let site = {
        let (begun, proceed) = (begun.clone(), proceed.clone());
        Site::new(Answers(
            move |_: Request<Body>, connection: Arc<Connection>| {
                let (begun, proceed) = (begun.clone(), proceed.clone());
                async move {
                    begun.notify_one();
                    proceed.notified().await;
                    assert!(!connection.is_closing());
                    Response::new(full("done"))
                }
            },
        ))
    };
    let client = site.client(None);
    let request = get(site.url("/"));
    let mut http1 = site.raw().http1().await;
    let running2 = tokio::spawn(async move { text(client.request(request).await.unwrap()).await });
    within(begun.notified()).await;
    let running1 = tokio::spawn(async move { http1.send_request(get("/")).await.unwrap() });
    within(begun.notified()).await;

    let address = site.address;
    let draining = tokio::spawn(site.server.drain(Duration::from_secs(60)));
    // Nobody new gets in.
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!draining.is_finished());
    proceed.notify_one();
    proceed.notify_waiters();
    let mut waiting = [running1.is_finished(), running2.is_finished()];
    while waiting.contains(&false) {
        proceed.notify_one();
        tokio::task::yield_now().await;
        waiting = [running1.is_finished(), running2.is_finished()];
    }
    let answer = running1.await.unwrap();
    assert_eq!(answer.headers()["connection"], "close");
    assert_eq!(incoming_text(answer).await, "done");
    assert_eq!(running2.await.unwrap(), "done");
    assert_eq!(within(draining).await.unwrap(), 0);
}

/// Clients that send one request after the other see an orderly end and no failure.
#[tokio::test]
async fn drain_fails_no_request() {
    let site = Site::new(whoami());
    let mut clients = tokio::task::JoinSet::new();
    let (answered, mut answers) = tokio::sync::mpsc::unbounded_channel();
    for _ in 0..8 {
        let (mut http1, answered1) = (site.raw().http1().await, answered.clone());
        clients.spawn(async move {
            while http1.ready().await.is_ok() {
                incoming_text(http1.send_request(get("/")).await.unwrap()).await;
                let _ = answered1.send(());
            }
        });
        let (http2, answered2, url) = (site.client(None), answered.clone(), site.url("/"));
        clients.spawn(async move {
            loop {
                match http2.request(get(&url)).await {
                    Ok(answer) => text(answer).await,
                    // Nobody takes the request, and nothing of it was done.
                    Err(ClientError::Connect(_)) => break,
                    Err(error) => panic!("{error:?}"),
                };
                let _ = answered2.send(());
            }
        });
    }
    for _ in 0..200 {
        within(answers.recv()).await.unwrap();
    }
    assert_eq!(within(site.server.drain(Duration::from_secs(60))).await, 0);
    while let Some(client) = within(clients.join_next()).await {
        client.unwrap();
    }
}

#[tokio::test]
async fn drain_ends_what_does_not_finish() {
    let begun = Arc::new(Notify::new());
    let site = {
        let begun = begun.clone();
        Site::new(Answers(move |_, _| {
            begun.notify_one();
            std::future::pending::<Response<Body>>()
        }))
    };
    let client = site.client(None);
    let request = get(site.url("/"));
    let running = tokio::spawn(async move { client.request(request).await });
    within(begun.notified()).await;
    assert_eq!(
        within(site.server.drain(Duration::from_millis(20))).await,
        1
    );
    assert!(within(running).await.unwrap().is_err());
}

#[tokio::test]
async fn drain_ends_idle_connections() {
    let site = Site::with_limits(whoami(), Limits::default());
    let mut http1 = site.raw().http1().await;
    incoming_text(within(http1.send_request(get("/"))).await.unwrap()).await;
    let (mut http2, _ended) = site.raw().http2().await;
    let answer = within(http2.send_request(get(site.url("/"))))
        .await
        .unwrap();
    incoming_text(answer).await;
    assert_eq!(within(site.server.drain(Duration::from_secs(60))).await, 0);
    assert!(within(http1.send_request(get("/"))).await.is_err());
}

#[tokio::test]
async fn a_dropped_server_is_gone() {
    let site = Site::new(whoami());
    let mut http1 = site.raw().http1().await;
    incoming_text(within(http1.send_request(get("/"))).await.unwrap()).await;
    let address = site.address;
    drop(site.server);
    assert!(within(http1.send_request(get("/"))).await.is_err());
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
}
