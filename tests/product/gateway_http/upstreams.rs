//! The API behind the gateway comes and goes, and keeps its callers apart (P-33).

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use capif_transport::{Body, Closing, collect, full};
use http::{Method, Request, Response, StatusCode};

use super::{Site, token};
use crate::support::{
    SOON,
    backend::Backend,
    eventually,
    upstream::Upstream,
    wire::{Caller, request},
};

const PATH: &str = "/weather/v1/today";

fn hello() -> impl Fn(Request<Body>) -> std::future::Ready<Response<Body>> {
    |_| std::future::ready(Response::new(full("hello")))
}

/// A gateway whose API is down answers 502, and serves again once it is up.
#[tokio::test]
async fn an_api_that_is_down_is_a_bad_gateway() {
    let down = Upstream::start(hello());
    let address = down.address();
    drop(down);
    let site = Site::start(&format!("http://{address}")).await;
    let caller = site.caller();
    for _ in 0..3 {
        let answer = caller.send(site.request(Method::GET, PATH)).await;
        assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
        answer.cause();
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(
            !text.contains(&address.port().to_string()),
            "R-4-01: {text}"
        );
    }
    let _up = Upstream::at(address, hello());
    assert_eq!(
        caller.send(site.request(Method::GET, PATH)).await.status,
        200
    );
}

/// A connection that the API closed while it was kept costs no call.
#[tokio::test]
async fn a_closed_kept_connection_costs_no_call() {
    let upstream = Upstream::start(hello());
    let site = Site::start(&upstream.url()).await;
    let caller = site.caller();
    for round in 0..10 {
        assert_eq!(
            caller.send(site.request(Method::GET, PATH)).await.status,
            200,
            "{round}"
        );
        assert_eq!(upstream.connections(), 1);
        upstream.close_connections();
        eventually("the connection is closed", || async {
            upstream.connections() == 0
        })
        .await;
    }
    let mut post = site.request(Method::POST, PATH);
    *post.body_mut() = b"body".to_vec();
    assert_eq!(caller.send(post).await.status, 200);
}

/// An HTTP/2 client reaches an HTTP/1.1 API; connections to it are kept.
#[tokio::test]
async fn connections_to_the_api_are_kept() {
    let backend = Backend::start();
    let site = Site::start(&backend.url()).await;
    let caller = site.caller();
    for _ in 0..20 {
        assert_eq!(
            caller.send(site.request(Method::GET, PATH)).await.status,
            200
        );
    }
    let seen = backend.seen();
    assert_eq!(seen.len(), 20);
    let ids: std::collections::BTreeSet<_> = seen
        .iter()
        .map(|seen| {
            seen.headers["capif-request-id"]
                .to_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(ids.len(), 20);
    assert!(
        seen.iter()
            .all(|seen| seen.method == "GET" && seen.body.is_empty())
    );
    assert!(seen[0].headers["x-forwarded-host"] == site.gateway.address());
}

/// P-33: with many callers at once and answers given up in between, each gets its own answer.
#[tokio::test]
async fn answers_are_never_mixed_up() {
    let upstream = Upstream::start(|request: Request<Body>| async move {
        let (parts, body) = request.into_parts();
        let body = collect(body, 1 << 20, SOON).await.unwrap_or_default();
        let caller = parts.headers["capif-api-invoker-id"]
            .to_str()
            .unwrap()
            .to_owned();
        let text = String::from_utf8_lossy(&body).into_owned();
        Response::new(full(format!("{caller} {} {text}", parts.uri)))
    });
    let site = Site::start(&upstream.url()).await;
    let other = site.world.invoker("bob", &[]).await;
    let others = token(&other, &site.gateway).await;
    let callers = [
        (
            site.caller(),
            site.token.clone(),
            site.invoker.id().to_string(),
        ),
        (
            Caller::new(&site.world, site.gateway.address(), None),
            others,
            other.id().to_string(),
        ),
    ];
    let mut tasks = Vec::new();
    for worker in 0..16 {
        let (caller, token, id) = callers[worker % 2].clone();
        tasks.push(tokio::spawn(async move {
            for round in 0..40 {
                let path = format!("{PATH}/{worker}/{round}?q={worker}");
                let mut call = request(Method::POST, &path, Some(&token), None);
                *call.body_mut() = format!("{id} {worker} {round}").into_bytes();
                let sending = caller.try_send(call);
                if round % 7 == 3 {
                    // Given up at some moment or other.
                    let _given_up =
                        tokio::time::timeout(std::time::Duration::from_micros(300), sending).await;
                    continue;
                }
                let answer = sending.await.unwrap();
                assert_eq!(answer.status, 200);
                assert_eq!(
                    String::from_utf8(answer.body).unwrap(),
                    format!("{id} {path} {id} {worker} {round}")
                );
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

/// P-42: what is under way when the gateway drains is answered, at most for the grace.
#[tokio::test]
async fn a_draining_gateway_answers_what_is_under_way() {
    let begun = Arc::new(AtomicUsize::new(0));
    let release = Arc::new(tokio::sync::Notify::new());
    let upstream = {
        let (begun, release) = (Arc::clone(&begun), Arc::clone(&release));
        Upstream::start(move |_| {
            let (begun, release) = (Arc::clone(&begun), Arc::clone(&release));
            async move {
                begun.fetch_add(1, Ordering::SeqCst);
                release.notified().await;
                Response::new(full("late"))
            }
        })
    };
    let site = Site::start(&upstream.url()).await;
    let (caller, call) = (site.caller(), site.request(Method::GET, PATH));
    let under_way = tokio::spawn(async move { caller.send(call).await });
    eventually("the call has begun", || async {
        begun.load(Ordering::SeqCst) == 1
    })
    .await;
    let connections = Arc::clone(site.gateway.connections());
    let drain = tokio::spawn(site.gateway.drain(SOON));
    release.notify_one();
    let answer = under_way.await.unwrap();
    assert_eq!(
        (answer.status, answer.body.as_slice()),
        (StatusCode::OK, b"late".as_slice())
    );
    drain.await.unwrap();
    assert_eq!(connections.close(|_| true, Closing::Now), 0);
}
