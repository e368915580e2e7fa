//! Callers that mean harm (issue "bad input"): what they send makes nothing grow, and costs nobody else anything.

use capif_spec::publish_service::SecurityMethod;
use capif_transport::{Client, ClientLimits, boxed, empty};
use futures_util::future::join_all;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::json;

use super::PATH;
use crate::support::{
    SOON, World,
    lines::Lines,
    site::{ALL, Credential, Site},
    upstream::{Upstream, piecewise},
    wire::Caller,
};

/// D-31: a question about nobody is answered by the core function, whatever the name looks like, so that no name makes the gateway
/// believe that the core function is gone.
#[tokio::test]
async fn no_name_makes_the_core_function_seem_gone() {
    let lines = Lines::keep();
    let site = Site::start(&ALL).await;
    let long = "x".repeat(256);
    let wide = "\u{1f600}".repeat(64);
    let caller = Caller::new(&site.world, site.gateway.address(), None);
    for name in [
        ".", "..", "../..", "/", "//", "a/b", "%2e%2e", "%", "?", "#", "a?b=c", "\0", "\r\n", " ",
        "\u{85}", "\u{2028}", "*", ";", "\\", &long, &wide,
    ] {
        let body = json!({ "apiInvokerId": name, "supportedFeatures": "0" });
        let answer = caller
            .json(
                Method::POST,
                "/aef-security/v1/check-authentication",
                Some(&body),
            )
            .await;
        assert_eq!(answer.status, StatusCode::OK, "{name:?}");
        let unanswered = lines.with(
            "message",
            "the CAPIF core function was not asked about an invoker",
        );
        assert!(unanswered.is_empty(), "{name:?} {unanswered:?}");
    }
}

/// P-15 and P-17: a method is a word. A longer one is refused before anything is remembered of it.
#[tokio::test]
async fn a_method_is_a_word() {
    let lines = Lines::keep();
    let site = Site::start(&ALL).await;
    let amy = site.world.raw_invoker(&[]).await;
    let credential = site.negotiate(&amy, &SecurityMethod::Pki).await;
    let line = site.line(&amy, &credential);
    let call = |method: &str| {
        let request = Request::builder().method(method).uri(PATH);
        line.caller.send(request.body(Vec::new()).unwrap())
    };
    assert_eq!(call("VERSION-CONTROL").await.status, 200);
    let long = "M".repeat(20_000);
    assert_eq!(call(&long).await.status, StatusCode::METHOD_NOT_ALLOWED);
    let nobody = Caller::new(&site.world, site.gateway.address(), None);
    let request = Request::builder().method(long.as_str()).uri(PATH);
    let answer = nobody.send(request.body(Vec::new()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    for line in lines.with("target", "capif::request") {
        let method = line["method"].as_str().unwrap_or_default();
        assert!(method.len() < 1000, "{}", method.len());
    }
    assert_eq!(site.backend.seen().len(), 1);
    site.gateway.drain(crate::support::SOON).await;
    for row in site.world.list("logs").await {
        assert!(row.to_string().len() < 4000);
    }
}

/// R-6.8-12 and R-6.5.2.1-06: with the authorization every stream of a session of a key ends, whichever way its octets go.
#[tokio::test]
async fn every_stream_of_a_key_ends_with_the_authorization() {
    let world = World::start().await;
    let (arrived, mut arrivals) = tokio::sync::mpsc::unbounded_channel();
    // An answer that goes on, an answer that never comes, a body that is taken and taken.
    let upstream = Upstream::start(move |request: Request<capif_transport::Body>| {
        let arrived = arrived.clone();
        async move {
            let path = request.uri().path().to_owned();
            let (sender, body) = piecewise();
            sender.send("first".into()).unwrap();
            arrived.send(()).unwrap();
            if path.ends_with("up") {
                let _broken = request.into_body().collect().await;
            } else if path.ends_with("never") {
                std::future::pending::<()>().await;
            } else {
                tokio::spawn(async move { sender.closed().await });
            }
            Response::new(body)
        }
    });
    let gateway = world
        .gateway("acme", "weather", &upstream.url(), &[SecurityMethod::Psk])
        .await;
    let amy = world.raw_invoker(&[]).await;
    let there = (gateway.aef_id().as_str(), gateway.address());
    let key = amy.psk(&world, there.0, there.1).await;
    let client = Client::psk(key, ClientLimits::default()).unwrap();
    let (pieces, endless) = piecewise();
    let mut endless = Some(boxed(endless));
    let calls: Vec<_> = ["down", "never", "up", "down"]
        .into_iter()
        .map(|what| {
            let uri = format!("https://{}/weather/v1/{what}", gateway.address());
            let body = match what {
                "up" => endless.take().unwrap(),
                _ => empty(),
            };
            let client = client.clone();
            let request = Request::post(uri).body(body).unwrap();
            tokio::spawn(async move {
                let answer = client.request(request).await.map_err(drop)?;
                answer.into_body().collect().await.map(drop).map_err(drop)
            })
        })
        .collect();
    pieces.send("first".into()).unwrap();
    for _ in 0..4 {
        tokio::time::timeout(SOON, arrivals.recv()).await.unwrap();
    }
    let path = format!("/invokers/{}", amy.id);
    world.operator(Method::DELETE, &path, None).await;
    let ended = tokio::time::timeout(SOON, join_all(calls)).await.unwrap();
    assert!(ended.into_iter().all(|call| call.unwrap().is_err()));
    tokio::time::timeout(SOON, pieces.closed()).await.unwrap();
}

/// P-32: over a session of a key the API is told by the gateway alone who calls.
#[tokio::test]
async fn a_key_tells_who_calls_and_no_header_does() {
    let site = Site::start(&ALL).await;
    let amy = site.world.raw_invoker(&[]).await;
    let bob = site.world.raw_invoker(&[]).await;
    let credential = site.negotiate(&amy, &SecurityMethod::Psk).await;
    assert!(matches!(credential, Credential::Psk(_)));
    let _bobs = site.negotiate(&bob, &SecurityMethod::Psk).await;
    let line = site.line(&amy, &credential);
    let forged = format!("3GPP-CAPIF.{}.1", bob.id);
    let mut request = Request::get(PATH);
    for name in [
        "capif-api-invoker-id",
        "CAPIF_API_INVOKER_ID",
        "x-capif-psk-identity",
        "x-tls-psk-identity",
        "ssl-psk-identity",
        "x-ssl-client-cert",
        "client-cert",
        "x-forwarded-client-cert",
        "x-forwarded-for",
        "forwarded",
    ] {
        request = request.header(name, &forged).header(name, &bob.id);
    }
    let answer = line.caller.send(request.body(Vec::new()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::OK);
    let seen = site.backend.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].headers["capif-api-invoker-id"], amy.id.as_str());
    for value in seen[0].headers.values() {
        assert!(!value.to_str().unwrap().contains(&bob.id), "{seen:?}");
    }
}
