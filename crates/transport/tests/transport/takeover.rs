//! Connections that another protocol takes over.

use std::sync::Arc;
use std::time::Duration;

use capif_transport::{Body, Closing, Connection, Handler, Limits, Server, Takeover, empty};
use http::{Request, Response, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::within;

/// Sends everything back in capitals, and says goodbye when it is told to.
struct Shouting;

impl Handler for Shouting {
    async fn handle(&self, request: Request<Body>, _: Arc<Connection>) -> Response<Body> {
        let mut response = Response::new(empty());
        if request.uri().path() == "/plain" {
            return response;
        }
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        response
            .headers_mut()
            .insert("upgrade", "shouting".parse().unwrap());
        response
            .headers_mut()
            .insert("connection", "upgrade".parse().unwrap());
        if request.uri().path() != "/nothing" {
            response
                .extensions_mut()
                .insert(Takeover::new(|mut stream, mut leaving| async move {
                    let mut piece = [0; 64];
                    loop {
                        let count = tokio::select! {
                            read = stream.read(&mut piece) => read.unwrap_or_default(),
                            _ = &mut leaving => break,
                        };
                        if count == 0 {
                            return;
                        }
                        let loud = piece[..count].to_ascii_uppercase();
                        stream.write_all(&loud).await.unwrap();
                        stream.flush().await.unwrap();
                    }
                    stream.write_all(b"bye").await.unwrap();
                    stream.shutdown().await.unwrap();
                }));
        }
        response
    }
}

fn server() -> Server {
    let address = "127.0.0.1:0".parse().unwrap();
    Server::bind_plain(address, Limits::default(), Shouting).unwrap()
}

/// Asks for the upgrade, with something right behind the request.
async fn taken(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    let request =
        "GET /loud HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: shouting\r\n\r\nahead";
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = until(&mut stream, "AHEAD").await;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    stream
}

async fn until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    let mut piece = [0; 256];
    while !text.ends_with(end) {
        let count = within(stream.read(&mut piece)).await.unwrap();
        assert!(count > 0, "{text}");
        text.push_str(std::str::from_utf8(&piece[..count]).unwrap());
    }
    text
}

#[tokio::test]
async fn octets_pass_both_ways_and_none_is_lost() {
    let server = server();
    let mut stream = taken(&server).await;
    for word in ["one", "two"] {
        stream.write_all(word.as_bytes()).await.unwrap();
        assert_eq!(
            until(&mut stream, &word.to_uppercase()).await,
            word.to_uppercase()
        );
    }
    assert_eq!(server.connections().len(), 1, "it stays listed");
    drop(stream);
    within(async {
        while !server.connections().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn whoever_ends_the_connection_ends_what_took_it() {
    let server = server();
    let mut stream = taken(&server).await;
    assert_eq!(server.connections().close(|_| true, Closing::Now), 1);
    let mut rest = Vec::new();
    let _reset = within(stream.read_to_end(&mut rest)).await;
    assert!(rest.is_empty(), "at once");
}

#[tokio::test]
async fn a_drain_lets_it_say_goodbye() {
    let server = server();
    let mut stream = taken(&server).await;
    let drained = tokio::spawn(server.drain(Duration::from_secs(5)));
    let mut rest = String::new();
    within(stream.read_to_string(&mut rest)).await.unwrap();
    assert_eq!(rest, "bye");
    assert_eq!(
        within(drained).await.unwrap(),
        0,
        "nothing had to be broken"
    );
}

/// Without anything that goes on with it, 101 is no answer.
#[tokio::test]
async fn nothing_is_taken_over_by_nobody() {
    let server = server();
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    let request =
        "GET /nothing HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: shouting\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = until(&mut stream, "}").await;
    assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
    // And the connection goes on as it was.
    stream
        .write_all(b"GET /plain HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let answer = until(&mut stream, "\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}
