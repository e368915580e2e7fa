//! The session of onboarding (R-6.1-05, R-6.1-17): it ends with its answer, good or bad.

use std::sync::Arc;

use bytes::Bytes;
use capif_transport::full;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{
    World, keys,
    people::{self, INVOKERS, enrolment},
    raw,
};

/// An onboarding request as HTTP/1.1 writes it.
fn written(credential: &str) -> String {
    let body = enrolment(&keys::request(&keys::p256())).to_string();
    let length = body.len();
    format!(
        "POST {INVOKERS} HTTP/1.1\r\nhost: ccf\r\nauthorization: Bearer {credential}\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

/// R-6.1-17 over HTTP/1.1: the answer says `connection: close`, TLS says goodbye, and whatever was sent behind the request or
/// comes later is not carried out.
#[tokio::test]
async fn an_http_1_session_ends_with_its_answer() {
    let world = World::start().await;
    for good in [true, false] {
        for pipelined in [true, false] {
            let first = if good {
                world.credential(&[]).await
            } else {
                "forged".to_owned()
            };
            let second = world.credential(&[]).await;
            let before = world.list("invokers").await.len();
            let address = world.ccf().local_addr();
            let mut stream = raw::tls(address, &world.root_pem(), None, b"http/1.1")
                .await
                .unwrap();
            let mut octets = written(&first);
            if pipelined {
                octets.push_str(&written(&second));
            }
            stream.write_all(octets.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
            let mut text = String::new();
            // An end without the goodbye of TLS would be an error here.
            stream.read_to_string(&mut text).await.unwrap();
            let status = if good {
                "HTTP/1.1 201 "
            } else {
                "HTTP/1.1 401 "
            };
            assert!(text.starts_with(status), "{text}");
            assert!(
                text.to_ascii_lowercase()
                    .contains("\r\nconnection: close\r\n"),
                "{text}"
            );
            assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{text}");
            // Too late as well.
            let _gone = stream.write_all(written(&second).as_bytes()).await;
            let _gone = stream.flush().await;
            let mut rest = Vec::new();
            let _gone = stream.read_to_end(&mut rest).await;
            assert!(rest.is_empty());
            let after = world.list("invokers").await.len();
            assert_eq!(after, before + usize::from(good));
            let answer = world
                .onboard(&second, &enrolment(&keys::request(&keys::p256())))
                .await;
            assert_eq!(
                answer.status,
                StatusCode::CREATED,
                "the second credential was not used up"
            );
        }
    }
}

/// R-6.1-17 over HTTP/2: GOAWAY and the goodbye of TLS follow the answer; a second request, at the same time or later, never
/// succeeds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_http_2_session_ends_with_its_answer() {
    let world = Arc::new(World::start().await);
    for round in 0..40 {
        let good = round % 2 == 0;
        let at_once = round >= 4;
        let address = world.ccf().local_addr();
        let stream = raw::tls(address, &world.root_pem(), None, b"h2")
            .await
            .unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.unwrap();
        let connection = tokio::spawn(connection);
        let mut send = |credential: &str| {
            let body = enrolment(&keys::request(&keys::p256())).to_string();
            let request = Request::post(format!("https://{}{INVOKERS}", world.address()))
                .header("authorization", format!("Bearer {credential}"))
                .header("content-type", "application/json")
                .body(full(Bytes::from(body)))
                .unwrap();
            sender.send_request(request)
        };
        let first = if good {
            world.credential(&[]).await
        } else {
            "forged".to_owned()
        };
        let second = world.credential(&[]).await;
        let before = world.list("invokers").await.len();
        let mut outcomes = Vec::new();
        if at_once {
            let (one, other) = (send(&first), send(&second));
            let (one, other) = tokio::join!(one, other);
            outcomes.extend([one, other]);
        } else {
            outcomes.push(send(&first).await);
            outcomes.push(send(&second).await);
        }
        let mut statuses = Vec::new();
        for response in outcomes.into_iter().flatten() {
            statuses.push(response.status());
            let _whole = response.into_body().collect().await;
        }
        drop(sender);
        connection.await.unwrap().unwrap();
        let succeeded = statuses.iter().filter(|status| status.is_success()).count();
        assert!(succeeded <= 1, "{statuses:?}");
        if !at_once {
            let expected = if good {
                StatusCode::CREATED
            } else {
                StatusCode::UNAUTHORIZED
            };
            assert_eq!(statuses[0], expected);
            assert_eq!(succeeded, usize::from(good));
        }
        assert_eq!(world.list("invokers").await.len(), before + succeeded);
    }
}

/// The session of a provider's registration ends in the same way.
#[tokio::test]
async fn a_registration_session_ends_with_its_answer() {
    let world = World::start().await;
    let body = people::registration("forged", &[people::function("AMF", "none")]).to_string();
    let text = format!(
        "POST {} HTTP/1.1\r\nhost: ccf\r\nauthorization: Bearer forged\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        people::REGISTRATIONS,
        body.len()
    );
    let address = world.ccf().local_addr();
    let mut stream = raw::tls(address, &world.root_pem(), None, b"http/1.1")
        .await
        .unwrap();
    stream
        .write_all(format!("{text}{text}").as_bytes())
        .await
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
}

/// R-6.1-05: without a finished handshake no octet of HTTP is processed.
#[tokio::test]
async fn nothing_is_served_without_tls() {
    let world = World::start().await;
    let credential = world.credential(&[]).await;
    let mut stream = tokio::net::TcpStream::connect(world.ccf().local_addr())
        .await
        .unwrap();
    stream
        .write_all(written(&credential).as_bytes())
        .await
        .unwrap();
    let mut octets = Vec::new();
    let _reset = stream.read_to_end(&mut octets).await;
    assert!(!String::from_utf8_lossy(&octets).contains("HTTP/"));
    super::requests::nothing_left(&world).await;
}
