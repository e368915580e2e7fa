//! One entry in the invocation log per call of an identified invoker (TS 23.222 clause 8.19).

use http::Method;
use serde_json::Value;

use super::Site;
use crate::support::{backend::Backend, eventually, wire::request};

/// Served and refused calls are logged with what they were and what became of them, and nothing secret.
#[tokio::test]
async fn every_call_of_an_identified_invoker_is_logged_once() {
    let backend = Backend::start();
    let site = Site::start(&backend.url()).await;
    let caller = site.caller();
    assert_eq!(
        caller
            .send(site.request(Method::GET, "/weather/v1/today?q=canary"))
            .await
            .status,
        200
    );
    assert_eq!(
        caller
            .send(site.request(Method::POST, "/weather/v1"))
            .await
            .status,
        200
    );
    assert_eq!(
        caller
            .send(site.request(Method::GET, "/weather/v2/today"))
            .await
            .status,
        404
    );
    // Nobody is known to have called here.
    assert_eq!(
        caller
            .send(request(Method::GET, "/weather/v1/today", None, None))
            .await
            .status,
        401
    );
    assert_eq!(
        caller
            .send(site.request(Method::GET, "/weather/v1/../today"))
            .await
            .status,
        400
    );
    let aef_id = site.gateway.aef_id().to_string();
    site.gateway.drain(crate::support::SOON).await;

    let rows = site.world.list("logs").await;
    assert!(!Value::from(rows.clone()).to_string().contains("canary"));
    let mut logged: Vec<_> = rows
        .iter()
        .map(|row| {
            assert_eq!(row["aefId"], aef_id.as_str());
            assert_eq!(row["apiInvokerId"], site.invoker.id().as_str());
            let log = &row["log"];
            assert_eq!(
                (&log["apiName"], &log["apiVersion"]),
                (&"weather".into(), &"v1".into())
            );
            assert_eq!(log["protocol"], "HTTP_2");
            assert!(
                log["apiId"].is_string()
                    && log["invocationTime"].is_string()
                    && log["invocationLatency"].is_u64()
            );
            let text = |member: &str| log[member].as_str().unwrap().to_owned();
            (
                text("operation"),
                text("uri"),
                text("resourceName"),
                text("result"),
            )
        })
        .collect();
    logged.sort();
    let row = |a: &str, b: &str, c: &str, d: &str| {
        (a.to_owned(), b.to_owned(), c.to_owned(), d.to_owned())
    };
    assert_eq!(
        logged,
        [
            row("GET", "/weather/v1/today", "today", "200"),
            row("GET", "/weather/v2/today", "today", "404"),
            row("POST", "/weather/v1", "/", "200"),
        ]
    );
}

/// Entries wait while the core function is away, and none comes twice or gets lost.
#[tokio::test]
async fn entries_wait_for_the_core_function() {
    let backend = Backend::start();
    let mut site = Site::start(&backend.url()).await;
    let caller = site.caller();
    for number in 0..3 {
        assert_eq!(
            caller
                .send(site.request(Method::GET, &format!("/weather/v1/{number}")))
                .await
                .status,
            200
        );
    }
    site.world.stop().await;
    for number in 3..40 {
        assert_eq!(
            caller
                .send(site.request(Method::GET, &format!("/weather/v1/{number}")))
                .await
                .status,
            200
        );
    }
    site.world.resume().await;
    assert_eq!(
        caller
            .send(site.request(Method::GET, "/weather/v1/40"))
            .await
            .status,
        200
    );
    eventually("all entries are there", || async {
        site.world.list("logs").await.len() >= 41
    })
    .await;
    site.gateway.drain(crate::support::SOON).await;
    let rows = site.world.list("logs").await;
    let mut numbers: Vec<usize> = rows
        .iter()
        .map(|row| {
            row["log"]["uri"]
                .as_str()
                .unwrap()
                .rsplit('/')
                .next()
                .unwrap()
                .parse()
                .unwrap()
        })
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..41).collect::<Vec<_>>());
}
