//! P-31: every request is written anew from what was parsed, so that nothing hides in the framing.

use super::{Site, status};
use crate::support::{SOON, capture::Capture};

const PATH: &str = "/weather/v1/today";

/// A request that must never be seen as one.
const HIDDEN: &str = "GET /weather/v1/smuggled HTTP/1.1\r\nhost: x\r\n\r\n";

/// Heads, without the token, and bodies.
fn attempts() -> Vec<(String, String)> {
    let chunked = format!("0\r\n\r\n{HIDDEN}");
    let mut attempts: Vec<(String, String)> = Vec::new();
    // Length and chunks in one request.
    for te in [
        "Transfer-Encoding: chunked",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding:\tchunked",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: CHUNKED",
        "Transfer-Encoding: \x0bchunked",
        "Transfer-Encoding: x",
        "Transfer-Encoding:",
        "Transfer-Encoding : chunked",
        " Transfer-Encoding: chunked",
        "Transfer_Encoding: chunked",
        "X: y\n Transfer-Encoding: chunked",
        "X: y\nTransfer-Encoding: chunked",
        "X: y\rTransfer-Encoding: chunked",
        "Transfer-Encoding\0: chunked",
    ] {
        for length in [4, chunked.len()] {
            attempts.push((
                format!("content-length: {length}\r\n{te}\r\n"),
                chunked.clone(),
            ));
        }
        attempts.push((format!("{te}\r\n"), chunked.clone()));
    }
    // Lengths that contradict one another, or are none.
    for length in [
        "content-length: 0\r\ncontent-length: 5",
        "content-length: 5\r\ncontent-length: 0",
        "content-length: 0, 5",
        "content-length: 0,0",
        "content-length: +0",
        "content-length: -1",
        "content-length: 0x0",
        "content-length: 00 ",
        "content-length: 0 5",
        "content-length: 1e1",
        "content-length: 99999999999999999999",
        "content-length: ",
        "content-length : 0",
        "content-length: 0\n",
        "content-length\n: 0",
        "content-length: 0\r\n : 5",
        "content-length: 0\r\n continued: 5",
        "content_length: 5",
    ] {
        attempts.push((format!("{length}\r\n"), HIDDEN.to_owned()));
    }
    // Chunks that are none.
    for body in [
        "5\r\nabcdefgh\r\n0\r\n\r\n",
        "5\nabcde\n0\n\n",
        "0x5\r\nabcde\r\n0\r\n\r\n",
        "+5\r\nabcde\r\n0\r\n\r\n",
        "-1\r\nabcde\r\n0\r\n\r\n",
        " 5\r\nabcde\r\n0\r\n\r\n",
        "\r\n5\r\nabcde\r\n0\r\n\r\n",
        "g\r\nabcde\r\n0\r\n\r\n",
        "FFFFFFFFFFFFFFFFF\r\nabcde\r\n0\r\n\r\n",
        "fffffffffffffff0\r\nabcde\r\n0\r\n\r\n",
        "5;a=\"\n\"\r\nabcde\r\n0\r\n\r\n",
        "5;\nabcde\r\n0\r\n\r\n",
        "5 ;x\rabcde\r\n0\r\n\r\n",
        "5\r\nabcde0\r\n\r\n",
        "5\r\nabcde\r\n0\r\nX: y\r\n\r\n",
        "5\r\nabcde\r\n0\r\ncontent-length: 9\r\n\r\n",
        "5\r\nabcde\r\n0\r\n bad\r\n\r\n",
        "5\r\nabcde\r\n0\n\r\n",
    ] {
        attempts.push((
            "transfer-encoding: chunked\r\n".to_owned(),
            format!("{body}{HIDDEN}"),
        ));
    }
    // Headers and lines that end otherwise.
    for head in [
        "x: y\r\n folded: z\r\n",
        "x: y\r\n\tfolded\r\n",
        "x: y\n",
        "x: y\r",
        "x: y\n\nGET /weather/v1/smuggled HTTP/1.1\nhost: x\n\n",
        "x: y\rGET /weather/v1/smuggled HTTP/1.1\r",
        ": empty\r\n",
        "\0: x\r\n",
        "x: a\0b\r\n",
        "x y: z\r\n",
        "x: y\r\nno colon\r\n",
        "upgrade: h2c\r\nconnection: upgrade, http2-settings\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n",
        "upgrade: websocket\r\nconnection: upgrade\r\n",
        "expect: 100-continue\r\n",
        "expect: nonsense\r\n",
        "host: a\r\nhost: b\r\n",
    ] {
        attempts.push((head.to_owned(), HIDDEN.to_owned()));
    }
    attempts
}

/// Of each attempt the API sees at most the one request that was authorized, and never the one that was hidden in it.
#[tokio::test]
async fn nothing_hides_in_a_request() {
    let capture = Capture::start().await;
    let site = Site::start(&capture.url()).await;
    let authorization = site.authorization();
    let attempts = attempts();
    assert!(attempts.len() >= 100, "{}", attempts.len());
    for (head, body) in &attempts {
        for method in ["POST", "GET"] {
            let before = capture.received().len();
            let mut raw = site.raw().await;
            let request = format!(
                "{method} {PATH} HTTP/1.1\r\nhost: gateway\r\n{authorization}{head}\r\n{body}"
            );
            raw.send(request).await;
            raw.finish().await;
            let answers = String::from_utf8_lossy(&raw.read_to_end().await).into_owned();
            let received = capture.received();
            let seen = &received[before..];
            assert!(seen.len() <= 1, "{head:?} {body:?}: {seen:?}");
            assert!(
                seen.iter().all(|request| request.target == PATH),
                "{head:?} {body:?}: {seen:?}"
            );
            let served = answers.matches("HTTP/1.1 200 ").count();
            assert!(served <= seen.len(), "{head:?} {body:?}: {answers}");
            assert!(
                !answers.contains("HTTP/1.1 5"),
                "{head:?} {body:?}: {answers}"
            );
            for request in seen {
                let names: Vec<String> = request
                    .headers
                    .iter()
                    .map(|(name, _)| name.to_lowercase().replace('_', "-"))
                    .collect();
                assert!(
                    !names
                        .iter()
                        .any(|name| name == "upgrade" || name == "http2-settings"),
                    "{names:?}"
                );
            }
        }
    }
    // All the while the gateway serves.
    assert_eq!(
        site.caller()
            .send(site.request(http::Method::GET, PATH))
            .await
            .status,
        200
    );
}

/// HTTP/1.0 and other versions open no second way.
#[tokio::test]
async fn other_versions() {
    let capture = Capture::start().await;
    let site = Site::start(&capture.url()).await;
    let authorization = site.authorization();
    for line in [
        format!("GET {PATH}"),
        format!("GET {PATH} HTTP/0.9"),
        format!("GET {PATH} HTTP/1.2"),
        format!("GET {PATH} HTTP/2.0"),
        format!("GET {PATH} http/1.1"),
        format!("GET {PATH} HTTP/1.1 x"),
        format!("GET  {PATH} HTTP/1.1"),
        format!("GET\t{PATH}\tHTTP/1.1"),
        format!("G\u{00}T {PATH} HTTP/1.1"),
        format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nGET {PATH} HTTP/1.1"),
    ] {
        let mut raw = site.raw().await;
        raw.send(format!("{line}\r\nhost: gateway\r\n{authorization}\r\n"))
            .await;
        raw.finish().await;
        let answer = String::from_utf8_lossy(&raw.read_until(SOON, |_| false).await).into_owned();
        assert!(
            answer.is_empty() || [400, 505].contains(&status(&answer)),
            "{line:?}: {answer}"
        );
    }
    assert!(capture.received().is_empty());
    // HTTP/1.0 with chunks (CVE-2026-2835): refused, or read without them.
    let mut raw = site.raw().await;
    raw.send(format!(
        "POST {PATH} HTTP/1.0\r\nhost: gateway\r\n{authorization}transfer-encoding: chunked\r\n\r\n0\r\n\r\n{HIDDEN}"
    ))
    .await;
    raw.finish().await;
    raw.read_to_end().await;
    assert!(
        capture
            .received()
            .iter()
            .all(|request| request.target == PATH)
    );
}
