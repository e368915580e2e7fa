//! Bodies pass whole and as they come, in both directions, whichever protocol the client speaks.

use bytes::Bytes;
use capif_transport::{Body, collect, empty, full};
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Site, status};
use crate::support::{
    SOON,
    upstream::{Upstream, piecewise},
};

const SIZE: usize = 20 << 20;

/// Octets of which no piece looks like another.
fn octets() -> Bytes {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut octets = Vec::with_capacity(SIZE);
    while octets.len() < SIZE {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        octets.extend_from_slice(&state.to_le_bytes());
    }
    octets.into()
}

/// An API that answers with what it is sent, as it comes.
fn echo() -> Upstream {
    Upstream::start(|request: Request<Body>| async move { Response::new(request.into_body()) })
}

/// 20 MiB up and down at the same time arrive as they were, of known length and not, over HTTP/2 and HTTP/1.1.
#[tokio::test]
async fn large_bodies_pass_whole() {
    let upstream = echo();
    let site = Site::start(&upstream.url()).await;
    let sent = octets();
    for known in [true, false] {
        let body = if known {
            full(sent.clone())
        } else {
            let (pieces, body) = piecewise();
            for piece in sent.chunks(60_001) {
                pieces.send(sent.slice_ref(piece)).unwrap();
            }
            body
        };
        let request = Request::post(site.url("/weather/v1/echo"))
            .header("authorization", format!("Bearer {}", site.token))
            .body(body)
            .unwrap();
        let response = site.client().request(request).await.unwrap();
        assert_eq!(response.status(), 200);
        let received = collect(response.into_body(), SIZE, SOON).await.unwrap();
        assert!(received == sent, "octets were lost or changed");
    }
    // HTTP/1.1 without reading meanwhile would fill every buffer, so the API only counts.
    let counting = Upstream::start(|request: Request<Body>| async move {
        let body = collect(request.into_body(), SIZE, SOON).await.unwrap();
        Response::new(full(format!("{} octets", body.len())))
    });
    let site = Site::start(&counting.url()).await;
    let mut raw = site.raw().await;
    let authorization = site.authorization();
    raw.send(format!(
        "POST /weather/v1/echo HTTP/1.1\r\nhost: a\r\n{authorization}content-length: {SIZE}\r\n\r\n"
    ))
    .await;
    raw.send(&sent).await;
    let answer = raw.answer().await;
    assert!(answer.ends_with(&format!("{SIZE} octets")), "{answer}");
}

/// The beginning of the answer is there before the request has ended, and each piece passes when it comes.
#[tokio::test]
async fn bodies_stream_in_both_directions() {
    let upstream = echo();
    let site = Site::start(&upstream.url()).await;
    let (pieces, body) = piecewise();
    let request = Request::post(site.url("/weather/v1/echo"))
        .header("authorization", format!("Bearer {}", site.token))
        .body(body)
        .unwrap();
    let response = site.client().request(request).await.unwrap();
    let mut answer = response.into_body();
    for piece in ["one", "two", "three"] {
        pieces.send(Bytes::from_static(piece.as_bytes())).unwrap();
        let frame = tokio::time::timeout(SOON, answer.frame())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        assert_eq!(frame.into_data().unwrap(), piece);
    }
    drop(pieces);
    let rest = collect(answer, SIZE, SOON).await.unwrap();
    assert!(rest.is_empty());

    let mut raw = site.raw().await;
    let authorization = site.authorization();
    raw.send(format!(
        "POST /weather/v1/echo HTTP/1.1\r\nhost: a\r\n{authorization}transfer-encoding: chunked\r\n\r\n"
    ))
    .await;
    for piece in ["3\r\none\r\n", "5\r\nthree\r\n"] {
        raw.send(piece).await;
        let answer = raw
            .read_until(SOON, |octets| octets.ends_with(piece.as_bytes()))
            .await;
        assert!(
            answer.ends_with(piece.as_bytes()),
            "{}",
            String::from_utf8_lossy(&answer)
        );
    }
    raw.send("0\r\n\r\n").await;
    assert_eq!(
        raw.read_until(SOON, |octets| octets.ends_with(b"0\r\n\r\n"))
            .await,
        b"0\r\n\r\n"
    );
}

/// An upload that breaks off is not made to look complete, and a client that goes away ends the API's work.
#[tokio::test]
async fn what_breaks_off_stays_broken() {
    let (told, mut ends) = tokio::sync::mpsc::unbounded_channel();
    let upstream = Upstream::start(move |request: Request<Body>| {
        let told = told.clone();
        async move {
            let whole = collect(request.into_body(), SIZE, SOON).await;
            told.send(whole.is_ok()).unwrap();
            Response::new(empty())
        }
    });
    let site = Site::start(&upstream.url()).await;
    let authorization = site.authorization();
    for framing in ["content-length: 100", "transfer-encoding: chunked"] {
        let mut raw = site.raw().await;
        raw.send(format!("POST /weather/v1/up HTTP/1.1\r\nhost: a\r\n{authorization}{framing}\r\n\r\n3\r\nabc\r\n"))
            .await;
        raw.finish().await;
        drop(raw);
        let complete = tokio::time::timeout(SOON, ends.recv())
            .await
            .unwrap()
            .unwrap();
        assert!(!complete, "{framing}");
    }
}

/// An answer that breaks off at the API breaks off at the client.
#[tokio::test]
async fn a_broken_answer_does_not_look_complete() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 4096];
            let _asked = stream.read(&mut head).await.unwrap();
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nsome")
                .await
                .unwrap();
        }
    });
    let site = Site::start(&upstream).await;
    let request = Request::get(site.url("/weather/v1/today"))
        .header("authorization", format!("Bearer {}", site.token))
        .body(empty())
        .unwrap();
    let whole = match site.client().request(request).await {
        Ok(response) => collect(response.into_body(), SIZE, SOON).await.is_ok(),
        Err(_) => false,
    };
    assert!(!whole);
    let mut raw = site.raw().await;
    let authorization = site.authorization();
    raw.send(format!(
        "GET /weather/v1/today HTTP/1.1\r\nhost: a\r\n{authorization}\r\n"
    ))
    .await;
    let answer = String::from_utf8(raw.read_to_end().await).unwrap();
    assert_eq!(status(&answer), 200);
    assert!(
        answer.contains("content-length: 100\r\n") && answer.ends_with("\r\n\r\nsome"),
        "{answer}"
    );
}

/// HEAD, 204, 304 and other answers without content keep their headers and stay without.
#[tokio::test]
async fn answers_without_content() {
    let upstream = Upstream::start(|request: Request<Body>| async move {
        let status: u16 = request
            .uri()
            .path()
            .rsplit('/')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        let response = Response::builder()
            .status(status)
            .header("etag", "\"x\"")
            .header("x-hop", "a");
        let response = response
            .header("connection", "x-hop")
            .header("keep-alive", "timeout=1");
        let content = !matches!(status, 204 | 304);
        response
            .body(if content { full("12345") } else { empty() })
            .unwrap()
    });
    let site = Site::start(&upstream.url()).await;
    let caller = site.caller();
    let authorization = site.authorization();
    for (method, code, content) in [
        (Method::GET, 200, "12345"),
        (Method::HEAD, 200, ""),
        (Method::GET, 204, ""),
        (Method::DELETE, 204, ""),
        (Method::GET, 304, ""),
        (Method::HEAD, 304, ""),
        (Method::POST, 201, "12345"),
        (Method::GET, 404, "12345"),
        (Method::HEAD, 404, ""),
        (Method::GET, 500, "12345"),
        (Method::PATCH, 409, "12345"),
        (Method::OPTIONS, 200, "12345"),
        (Method::from_bytes(b"PROPFIND").unwrap(), 207, "12345"),
    ] {
        let path = format!("/weather/v1/{code}");
        let answer = caller.send(site.request(method.clone(), &path)).await;
        assert_eq!(answer.status.as_u16(), code, "{method} {path}");
        assert_eq!(
            String::from_utf8_lossy(&answer.body),
            content,
            "{method} {path}"
        );
        assert_eq!(answer.headers["etag"], "\"x\"");
        for name in ["x-hop", "keep-alive", "connection"] {
            assert!(!answer.headers.contains_key(name), "{name}");
        }
        if method == Method::HEAD && code == 200 {
            assert_eq!(answer.headers["content-length"], "5");
        }
        // The next answer on the connection begins where this one ends.
        let mut raw = site.raw().await;
        let request = format!("{method} {path} HTTP/1.1\r\nhost: a\r\n{authorization}\r\n");
        raw.send(format!(
            "{request}{}",
            request.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n")
        ))
        .await;
        let answers = String::from_utf8(raw.read_to_end().await).unwrap();
        assert_eq!(
            answers.matches(&format!("HTTP/1.1 {code} ")).count(),
            2,
            "{answers}"
        );
        assert_eq!(
            answers.matches("12345").count(),
            if content.is_empty() { 0 } else { 2 },
            "{answers}"
        );
        assert!(!answers.contains("x-hop"), "{answers}");
    }
}

/// A refusal to a HEAD request has no content either.
#[tokio::test]
async fn refusals_of_head_are_without_content() {
    let upstream = echo();
    let site = Site::start(&upstream.url()).await;
    let anonymous = crate::support::wire::request(Method::HEAD, "/weather/v1/x", None, None);
    let answer = site.caller().send(anonymous).await;
    assert_eq!(
        (answer.status, answer.body.len()),
        (StatusCode::UNAUTHORIZED, 0)
    );
}
