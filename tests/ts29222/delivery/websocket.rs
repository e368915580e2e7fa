//! Notifications over a WebSocket (TS 29.122 clause 5.2.5.4): asked for, opened over mutual TLS, numbered and acknowledged.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

use super::{nothing_waits, publish, told, wanted};
use crate::{
    support::{
        SOON, World, eventually, keys,
        people::{INVOKERS, Party, enrolment, wishes},
        raw,
        receiver::Receiver,
    },
    ts29222::events::path,
};

/// A destination where nobody is notified: over a WebSocket it does not matter.
const NOWHERE: &str = "https://nowhere.example/";

fn with_socket(mut body: Value) -> Value {
    body["websockNotifConfig"] = json!({ "requestWebsocketUri": true });
    body
}

/// A receiver at its end of a WebSocket.
struct Socket(WebSocketStream<TlsStream<TcpStream>>);

/// A notification as it came.
struct Told {
    number: u32,
    body: Value,
}

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

impl Socket {
    /// Connects with a party's certificate and asks for the upgrade; the head of the answer, if it is another one.
    async fn open(world: &World, party: &Party, uri: &str) -> Result<Self, String> {
        let place = uri.strip_prefix("wss://").unwrap();
        let path = &place[place.find('/').unwrap()..];
        assert!(place.starts_with(world.address()), "{uri}");
        let address = world.ccf().local_addr();
        let stream = raw::tls(address, &world.root_pem(), Some(&party.pems), b"http/1.1").await;
        let mut stream = stream.map_err(|error| error.to_string())?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n",
            world.address()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let octet = tokio::time::timeout(SOON, stream.read_u8()).await.unwrap();
            head.push(octet.map_err(|error| error.to_string())?);
        }
        let head = String::from_utf8(head).unwrap();
        if !head.starts_with("HTTP/1.1 101 ") {
            return Err(head);
        }
        assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
        let socket = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
        Ok(Self(socket))
    }

    /// The next notification.
    async fn next(&mut self) -> Told {
        let Some(Message::Binary(frame)) = self.message().await else {
            panic!("no notification");
        };
        let frame = std::str::from_utf8(&frame).unwrap();
        let (head, body) = frame.split_once("\r\n\r\n").unwrap();
        let mut lines = head.split("\r\n");
        let number = lines.next().unwrap().strip_prefix("3GPP-WS-Notif-Seq: ");
        assert_eq!(lines.next(), Some("Content-Type: application/json"));
        let length = format!("Content-Length: {}", body.len());
        assert_eq!(lines.next(), Some(length.as_str()));
        Told {
            number: number.unwrap().parse().unwrap(),
            body: serde_json::from_str(body).unwrap(),
        }
    }

    async fn message(&mut self) -> Option<Message> {
        let next = tokio::time::timeout(SOON, self.0.next()).await.unwrap();
        next.and_then(Result::ok)
    }

    /// Whether anything comes while other things happen.
    async fn is_silent(&mut self) -> bool {
        let moment = Duration::from_millis(200);
        tokio::time::timeout(moment, self.0.next()).await.is_err()
    }

    async fn answer(&mut self, number: u32, status: &str) {
        let frame = format!("3GPP-WS-Notif-Seq: {number}\r\n{status}\r\n\r\n");
        self.send(Message::Binary(frame.into_bytes().into())).await;
    }

    async fn send(&mut self, message: Message) {
        let _gone = self.0.send(message).await;
    }

    /// The next notifications, each acknowledged.
    async fn take(&mut self, count: usize) -> Vec<Value> {
        let mut all = Vec::new();
        for _ in 0..count {
            let told = self.next().await;
            self.answer(told.number, "204 No Content").await;
            all.push(told.body);
        }
        all
    }

    /// Waits until the other end has closed it; the reason, if it gave one.
    async fn closed(mut self) -> Option<u16> {
        loop {
            match self.message().await {
                Some(Message::Close(frame)) => return frame.map(|frame| frame.code.into()),
                Some(_) => {}
                None => return None,
            }
        }
    }
}

/// A subscription of a party with a WebSocket: its path, and the socket's address.
async fn subscribe(party: &Party, body: &Value) -> (String, String) {
    let answer = party.post(&path(party), body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    let location = answer.headers["location"].to_str().unwrap();
    let uri = &answer.json()["websockNotifConfig"]["websocketUri"];
    (
        location[location.find("/capif-events").unwrap()..].to_owned(),
        uri.as_str().unwrap().to_owned(),
    )
}

/// An address is given when it is asked for, the receiver connects there, and hears in order; what happens while no socket is open
/// waits and is not posted.
#[tokio::test]
async fn whoever_cannot_be_called_connects_itself() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    let receiver = Receiver::start(&world);
    let invoker = world.raw_invoker(&[]).await;
    for (party, destination) in [
        (&invoker.party, NOWHERE.to_owned()),
        (&domain.aef, receiver.url("/events")),
    ] {
        let name = party.id.to_lowercase();
        let body = with_socket(wanted(&destination, "7"));
        let (_, uri) = subscribe(party, &body).await;
        let mut ids = publish(&domain, &[&format!("{name}-1"), &format!("{name}-2")]).await;
        let mut socket = Socket::open(&world, party, &uri).await.unwrap();
        assert_eq!(told(&socket.take(2).await), ids);
        ids = publish(&domain, &[&format!("{name}-3")]).await;
        assert_eq!(told(&socket.take(1).await), ids);
        assert!(
            socket.is_silent().await,
            "what is acknowledged does not come again"
        );
        drop(socket);
        ids = publish(&domain, &[&format!("{name}-4")]).await;
        let mut socket = Socket::open(&world, party, &uri).await.unwrap();
        assert_eq!(told(&socket.take(1).await), ids);
        nothing_waits_of(&world, party).await;
    }
    assert!(receiver.seen().is_empty(), "nothing is posted");
}

async fn nothing_waits_of(world: &World, party: &Party) {
    eventually("nothing waits for it any more", || async {
        let rows = world.list("events").await;
        let mut own = rows
            .iter()
            .filter(|row| row["subscriber"] == party.id.as_str());
        own.all(|row| row["waiting"] == 0)
    })
    .await;
}

/// A notification keeps its number until it is acknowledged with success, over other sockets too; numbers differ, and the one that
/// waits is followed by no other.
#[tokio::test]
async fn a_notification_keeps_its_number_until_it_is_acknowledged() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    let (_, uri) = subscribe(&domain.aef, &with_socket(wanted(NOWHERE, "7"))).await;
    let ids = publish(&domain, &["a", "b"]).await;
    let mut socket = Socket::open(&world, &domain.aef, &uri).await.unwrap();
    let first = socket.next().await;
    socket.answer(first.number, "503 Service Unavailable").await;
    let again = socket.next().await;
    assert_eq!(again.number, first.number);
    drop(socket);
    let mut socket = Socket::open(&world, &domain.aef, &uri).await.unwrap();
    let again = socket.next().await;
    assert_eq!((again.number, &again.body), (first.number, &first.body));
    // Of another number nothing is known, and twice is once.
    socket
        .answer(again.number.wrapping_add(7), "204 No Content")
        .await;
    for _ in 0..2 {
        socket.answer(again.number, "204 No Content").await;
    }
    let second = socket.next().await;
    assert_ne!(second.number, first.number);
    assert_eq!(told(&[first.body, second.body.clone()]), ids);
    socket
        .answer(second.number, "200 OK\r\nContent-Length: 0")
        .await;
    nothing_waits(&world).await;
}

/// What is not acknowledged in time comes again under its number.
#[tokio::test]
async fn what_is_not_acknowledged_comes_again() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    let (_, uri) = subscribe(&domain.aef, &with_socket(wanted(NOWHERE, "7"))).await;
    publish(&domain, &["a"]).await;
    let mut socket = Socket::open(&world, &domain.aef, &uri).await.unwrap();
    let first = socket.next().await;
    let again = socket.next().await;
    assert_eq!(again.number, first.number);
    socket.answer(again.number, "204 No Content").await;
    nothing_waits(&world).await;
}

/// One is assigned, once: to whoever asks again, asks without the features, or names one of its own, nothing is given; sending back
/// what was answered keeps it, and leaving it out gives it up.
#[tokio::test]
async fn a_websocket_is_assigned_once() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    for features in ["4", "5", "6", "0"] {
        let answer = domain
            .aef
            .post(
                &path(&domain.aef),
                &with_socket(wanted("https://127.0.0.1:1/", features)),
            )
            .await;
        assert_eq!(answer.status, StatusCode::CREATED);
        assert!(
            answer.json().get("websockNotifConfig").is_none(),
            "{features}"
        );
    }
    // Without a WebSocket the destination counts; for deployed clients none does.
    let nowhere = match world.is_lenient() {
        true => StatusCode::CREATED,
        false => StatusCode::FORBIDDEN,
    };
    let answer = domain
        .aef
        .post(&path(&domain.aef), &with_socket(wanted(NOWHERE, "5")))
        .await;
    assert_eq!(answer.status, nowhere);
    let mut foreign = wanted(NOWHERE, "7");
    foreign["websockNotifConfig"] = json!({ "websocketUri": "wss://elsewhere.example/" });
    let answer = domain.aef.post(&path(&domain.aef), &foreign).await;
    assert_eq!(answer.status, nowhere);
    assert!(answer.json().get("websockNotifConfig").is_none());

    let body = with_socket(wanted(NOWHERE, "7"));
    let (place, uri) = subscribe(&domain.aef, &body).await;
    let again = domain.aef.put(&place, &body).await;
    assert_eq!(again.status, StatusCode::FORBIDDEN, "{}", again.json());
    assert_eq!(again.cause(), "MODIFICATION_NOT_ALLOWED");
    let mut back = wanted(NOWHERE, "7");
    back["websockNotifConfig"] = json!({ "websocketUri": uri });
    let kept = domain.aef.put(&place, &back).await;
    assert_eq!((kept.status, kept.json()), (StatusCode::OK, back));
    let mut socket = Socket::open(&world, &domain.aef, &uri).await.unwrap();
    let ids = publish(&domain, &["a"]).await;
    assert_eq!(told(&socket.take(1).await), ids);

    let receiver = Receiver::start(&world);
    let given_up = domain
        .aef
        .put(&place, &wanted(&receiver.url("/"), "7"))
        .await;
    assert_eq!(given_up.status, StatusCode::OK);
    assert_eq!(socket.closed().await, Some(1008));
    let ids = publish(&domain, &["b"]).await;
    assert_eq!(told(&receiver.acknowledged(1).await), ids);
    let refused = Socket::open(&world, &domain.aef, &uri).await;
    assert!(refused.err().unwrap().starts_with("HTTP/1.1 404 "));
}

/// A socket is for its subscriber, over its own certificate, by an upgrade of HTTP/1.1; nothing else opens one.
#[tokio::test]
async fn nobody_else_opens_it() {
    let world = World::start().await;
    let (domain, other) = (world.domain("acme").await, world.domain("other").await);
    let (place, uri) = subscribe(&domain.aef, &with_socket(wanted(NOWHERE, "7"))).await;
    for (party, status) in [
        (&domain.apf, "HTTP/1.1 403 "),
        (&other.aef, "HTTP/1.1 403 "),
    ] {
        let refused = Socket::open(&world, party, &uri).await;
        assert!(refused.err().unwrap().starts_with(status));
    }
    let own = uri.split_once("/SUB").unwrap().0;
    for resource in ["/SUB0", "/onboarding", "/security"] {
        let refused = Socket::open(&world, &domain.aef, &format!("{own}{resource}")).await;
        assert!(
            refused.err().unwrap().starts_with("HTTP/1.1 404 "),
            "{resource}"
        );
    }
    // A plain request, here over HTTP/2, is told what is there.
    let socket = &uri[uri.find("/capif-websocket").unwrap()..];
    let answer = domain.aef.get(socket).await;
    assert_eq!(answer.status, StatusCode::UPGRADE_REQUIRED);
    assert_eq!(answer.headers["sec-websocket-version"], "13");
    answer.cause();
    assert_eq!(
        domain.aef.delete(&place).await.status,
        StatusCode::NO_CONTENT
    );
}

/// It ends with the subscription, with the enrolment, with a newer socket, and with whoever says what is no acknowledgement; what
/// waits is not lost by that.
#[tokio::test]
async fn a_socket_ends_with_what_it_was_opened_for() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    let invoker = world.raw_invoker(&[]).await;
    let body = with_socket(wanted(NOWHERE, "7"));
    let (place, uri) = subscribe(&domain.aef, &body).await;
    let older = Socket::open(&world, &domain.aef, &uri).await.unwrap();
    let mut newer = Socket::open(&world, &domain.aef, &uri).await.unwrap();
    assert_eq!(older.closed().await, Some(1008));
    let ids = publish(&domain, &["a"]).await;
    assert_eq!(told(&newer.take(1).await), ids);

    for nonsense in [
        Message::Binary(b"hello".to_vec().into()),
        Message::Text("3GPP-WS-Notif-Seq: x\r\n204\r\n\r\n".into()),
        Message::Binary(vec![b'x'; 64 * 1024].into()),
    ] {
        let mut rude = Socket::open(&world, &domain.aef, &uri).await.unwrap();
        rude.send(nonsense).await;
        let _code = rude.closed().await;
    }
    let last = Socket::open(&world, &domain.aef, &uri).await.unwrap();
    assert_eq!(
        domain.aef.delete(&place).await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(last.closed().await, Some(1008));

    let (_, uri) = subscribe(&invoker.party, &body).await;
    let socket = Socket::open(&world, &invoker.party, &uri).await.unwrap();
    let gone = format!("/invokers/{}", invoker.id);
    world.operator(Method::DELETE, &gone, None).await;
    socket.closed().await;
    let refused = Socket::open(&world, &invoker.party, &uri).await;
    assert!(refused.err().unwrap().starts_with("HTTP/1.1 401 "));
}

/// A test notification comes over the WebSocket too, first of all; and what waits survives a restart.
#[tokio::test]
async fn tests_and_what_waited_come_over_it() {
    let mut world = World::start().await;
    let domain = world.domain("acme").await;
    let mut body = with_socket(wanted(NOWHERE, "7"));
    body["requestTestNotification"] = json!(true);
    let (place, uri) = subscribe(&domain.aef, &body).await;
    let ids = publish(&domain, &["a", "b"]).await;
    let socket = Socket::open(&world, &domain.aef, &uri).await.unwrap();
    let before = world.address().to_owned();
    world.stop().await;
    drop(socket);
    world.resume().await;
    assert_eq!(world.address(), before);
    let mut socket = Socket::open(&world, &domain.aef, &uri).await.unwrap();
    let all = socket.take(3).await;
    let link = format!("https://{}{place}", world.address());
    assert_eq!(all[0], json!({ "subscription": link }));
    assert_eq!(told(&all), ids);
    nothing_waits(&world).await;
}

/// The same features for the security context and the profile of an API invoker: what it is told there comes over their sockets.
#[tokio::test]
async fn revocations_and_tests_of_an_invoker_come_over_sockets() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    let ids = publish(&domain, &["weather"]).await;
    let key = keys::p256();
    let mut details = with_socket(enrolment(&keys::request(&key)));
    details["supportedFeatures"] = json!("F");
    details["requestTestNotification"] = json!(true);
    let credential = world.credential(&[]).await;
    let answer = world.onboard(&credential, &details).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    let invoker = world.invoker_of(&answer, &key);
    let uri = |details: &Value| {
        let uri = &details["websockNotifConfig"]["websocketUri"];
        uri.as_str().unwrap().to_owned()
    };
    let profile = format!("{INVOKERS}/{}", invoker.id);
    let mut socket = Socket::open(&world, &invoker.party, &uri(&invoker.details))
        .await
        .unwrap();
    let link = format!("https://{}{profile}", world.address());
    assert_eq!(socket.take(1).await, [json!({ "subscription": link })]);

    let mut context = with_socket(wishes(&[(&domain.aef.id, &["OAUTH"])]));
    context["supportedFeatures"] = json!("7");
    let answer = invoker.put(&invoker.context(), &context).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    let of_context = uri(&answer.json());
    assert!(of_context.ends_with(&format!("{}/security", invoker.id)));
    let status = domain.aef.delete(&invoker.context()).await.status;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let mut revoked = Socket::open(&world, &invoker.party, &of_context)
        .await
        .unwrap();
    let told = revoked.take(1).await;
    assert_eq!(told[0]["apiIds"], json!(ids));
    assert!(socket.is_silent().await);
    assert!(revoked.is_silent().await);
}
