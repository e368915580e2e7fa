//! P-35: answers are bounded in time and size, and whoever does not answer, or answers badly, delays nobody else.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use capif_transport::{
    Acceptor, Body, ClientCertificates, Connection, Handler, Limits, Server, ServerTls, boxed,
};
use http::{Request, Response};
use http_body_util::StreamBody;
use hyper::body::Frame;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::{publish, told, wanted};
use crate::{
    support::{World, eventually, receiver::Receiver},
    ts29222::events::subscribe,
};

/// Answers 200 with content that never ends.
struct Endless;

impl Handler for Endless {
    async fn handle(&self, _: Request<Body>, _: Arc<Connection>) -> Response<Body> {
        let piece = bytes::Bytes::from(vec![b'x'; 64 * 1024]);
        let stream = futures_util::stream::repeat_with(move || {
            Ok::<_, std::io::Error>(Frame::data(piece.clone()))
        });
        Response::new(boxed(StreamBody::new(stream)))
    }
}

/// Takes connections and answers whatever comes with these octets, before any handshake; nothing at all if there are none.
async fn rude(octets: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let _gone = stream.write_all(octets).await;
            let mut piece = [0; 64];
            if !octets.is_empty() {
                let _gone = stream.read(&mut piece).await;
            }
            held.push(stream);
        }
    });
    port
}

fn endless(world: &World) -> Server {
    let acceptor = Acceptor::new(ServerTls {
        identity: Receiver::identity(world),
        client_certificates: ClientCertificates::None,
        clock: world.clock(),
        psk: None,
        session: None,
    });
    let address = "127.0.0.1:0".parse().unwrap();
    Server::bind(
        address,
        Arc::new(acceptor.unwrap()),
        Limits::default(),
        Endless,
    )
    .unwrap()
}

/// Silent, dead, rude and endless receivers of the same domain and of others: the notifications of everybody else go out as if they
/// were not there. An endless answer acknowledges by its status, and is not listened to.
#[tokio::test]
async fn bad_receivers_delay_nobody() {
    let world = World::start().await;
    let good = world.domain("good").await;
    let receiver = Receiver::start(&world);
    subscribe(&good.aef, &wanted(&receiver.url("/"), "4")).await;
    let alone = round(&good, &receiver, 0).await;

    let bad = world.domain("bad").await;
    let endless = endless(&world);
    let mut ports = vec![1];
    for octets in [
        &b""[..],
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"\x16\x03\x03\xff\xff\xff\xff\xff",
    ] {
        ports.push(rude(octets).await);
    }
    for _ in 0..10 {
        for port in &ports {
            let destination = format!("https://127.0.0.1:{port}/");
            subscribe(&bad.aef, &wanted(&destination, "4")).await;
        }
    }
    let destination = format!("https://127.0.0.1:{}/", endless.local_addr().port());
    let place = subscribe(&bad.apf, &wanted(&destination, "4")).await;
    // In the domain itself too.
    let own = format!("https://127.0.0.1:{}/", ports[1]);
    subscribe(&good.apf, &wanted(&own, "4")).await;
    publish(&bad, &["bad-weather"]).await;

    let beside = round(&good, &receiver, 1).await;
    assert!(
        beside.median < alone.median * 2 + Duration::from_millis(20),
        "{beside:?} and {alone:?}"
    );
    // Nobody waited for one of the others to be given up.
    assert!(beside.longest < RECEIVER_TIME / 2, "{beside:?}");
    let id = place.rsplit('/').next().unwrap();
    eventually("the endless answer acknowledged", || async {
        let rows = world.list("events").await;
        let row = rows.iter().find(|row| row["subscriptionId"] == id);
        row.is_some_and(|row| row["waiting"] == 0)
    })
    .await;
}

/// How long a receiver may take to answer.
const RECEIVER_TIME: Duration = Duration::from_secs(10);

/// How long notifications took.
#[derive(Debug)]
struct Took {
    median: Duration,
    longest: Duration,
}

/// Twenty notifications, one after the other.
async fn round(domain: &crate::support::people::Domain, receiver: &Receiver, round: usize) -> Took {
    let mut took = Vec::new();
    for number in 0..20 {
        let began = Instant::now();
        let count = round * 20 + number + 1;
        let id = publish(domain, &[&format!("api-{count}")]).await;
        assert_eq!(told(&receiver.acknowledged(count).await)[count - 1..], id);
        took.push(began.elapsed());
    }
    took.sort();
    Took {
        median: took[10],
        longest: took[19],
    }
}

/// Receivers of one subscriber do not wait for one another, and a lane that failed takes nobody's place.
#[tokio::test]
async fn one_silent_receiver_does_not_stop_its_owner() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    let silent = rude(b"").await;
    for _ in 0..30 {
        let destination = format!("https://127.0.0.1:{silent}/");
        subscribe(&domain.aef, &wanted(&destination, "4")).await;
    }
    publish(&domain, &["before"]).await;
    let receiver = Receiver::start(&world);
    subscribe(&domain.apf, &wanted(&receiver.url("/"), "4")).await;
    let ids = publish(&domain, &["after"]).await;
    assert_eq!(told(&receiver.acknowledged(1).await), ids);
}
