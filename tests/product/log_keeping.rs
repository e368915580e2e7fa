//! Invocation logs: kept as long as is said, bounded per provider, and nobody else's.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use time::Duration;

use crate::support::{World, eventually, people::Domain, wire::Answer};

fn entries(api: &str, count: usize, name: &str) -> Vec<Value> {
    let entry = json!({
        "apiId": api, "apiName": name, "apiVersion": "v1", "resourceName": "today", "protocol": "HTTP_1_1", "result": "200",
    });
    vec![entry; count]
}

async fn report(domain: &Domain, invoker: &str, entries: &[Value]) -> Answer {
    let path = format!("/api-invocation-logs/v1/{}/logs", domain.aef.id);
    let body = json!({ "aefId": domain.aef.id, "apiInvokerId": invoker, "logs": entries });
    domain.aef.post(&path, &body).await
}

/// Invocation logs are kept for as long as is set for their API, otherwise as for all; over more of them than are looked at in one
/// go, and when the API is gone.
#[tokio::test]
async fn logs_are_kept_as_long_as_is_said_of_their_api() {
    let mut world = World::with(|config| config.limits.log_hours = 10).await;
    let domain = world.domain("acme").await;
    let mut apis = Vec::new();
    for name in ["short", "usual", "long"] {
        apis.push((domain.publish(name, &["PKI"]).await, name));
    }
    for (api, name) in &apis {
        for _ in 0..2 {
            let answer = report(&domain, "INV1", &entries(api, 700, name)).await;
            assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
        }
    }
    let set = async |world: &World, api: Value, hours: u32| {
        let body = json!({ "api": api, "hours": hours });
        world
            .operator(Method::POST, "/retentions", Some(body))
            .await
    };
    for (api, hours) in [("short", 1), ("long", 20)] {
        let (status, answer) = set(&world, json!({ "name": api }), hours).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }
    let (status, _) = set(&world, json!({ "name": "none" }), 1).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (status, _) = set(&world, json!({ "name": "short" }), 0).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let listed = world.list("retentions").await;
    assert_eq!(listed.len(), 2);

    let count = async |world: &World, api: &str| {
        let mut count = 0;
        let mut after = String::new();
        loop {
            let rows = world.list(&format!("logs?api={api}{after}")).await;
            count += rows.len();
            match rows.last() {
                Some(last) => after = format!("&after={}", last["id"].as_str().unwrap()),
                None => return count,
            }
        }
    };
    let kept = async |world: &World| {
        let mut kept = Vec::new();
        for api in ["short", "usual", "long"] {
            kept.push(count(world, api).await);
        }
        kept
    };
    assert_eq!(kept(&world).await, [1400, 1400, 1400]);
    for (hours, left) in [(1, [0, 1400, 1400]), (9, [0, 0, 1400]), (10, [0, 0, 0])] {
        world.clock.advance(Duration::hours(hours));
        if hours == 10 {
            // Also when the API is gone by then.
            let path = format!("{}/{}", domain.apis(), apis[2].0);
            assert_eq!(
                domain.apf.delete(&path).await.status,
                StatusCode::NO_CONTENT
            );
        }
        world.stop().await;
        world.resume().await;
        eventually("what is old goes", || async { kept(&world).await == left }).await;
    }
    // What was set is still there for who looks, and can be removed by its former name.
    let listed = world.list("retentions").await;
    let long = listed.iter().find(|row| row["apiName"] == "long").unwrap();
    assert_eq!(long["published"], false);
    let old = json!({ "api": { "name": "long" } });
    let (status, _) = world
        .operator(Method::POST, "/retentions/remove", Some(old.clone()))
        .await;
    assert_eq!(status, StatusCode::OK);
    let (status, _) = world
        .operator(Method::POST, "/retentions/remove", Some(old))
        .await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

/// A provider that fills its share of the store is told so, and fills nobody else's; the operator is warned, and room comes back with
/// time.
#[tokio::test]
async fn a_provider_fills_its_own_share_alone() {
    let mut world = World::with(|config| {
        config.limits.log_entries_max = 1000;
        config.limits.log_hours = 1;
    })
    .await;
    let (acme, umbrella) = (world.domain("acme").await, world.domain("umbrella").await);
    let api = acme.publish("weather", &["PKI"]).await;
    let other = umbrella.publish("traffic", &["PKI"]).await;
    let weather = entries(&api, 600, "weather");
    assert_eq!(
        report(&acme, "INV1", &weather).await.status,
        StatusCode::CREATED
    );
    world.stop().await;
    world.resume().await;
    let counted = async |name: &str, entries: u64| {
        let providers = world.list("providers").await;
        let of = providers.iter().find(|row| row["name"] == name).unwrap();
        of["logEntries"] == entries
    };
    eventually("they are counted", || counted("acme", 600)).await;
    let answer = report(&acme, "INV1", &weather).await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(answer.headers.contains_key("retry-after"));
    answer.cause();
    assert_eq!(
        report(&acme, "INV1", &weather[..400]).await.status,
        StatusCode::CREATED
    );
    assert_eq!(
        report(&acme, "INV1", &weather[..1]).await.status,
        StatusCode::TOO_MANY_REQUESTS
    );
    let answer = report(&umbrella, "INV1", &entries(&other, 600, "traffic")).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    world.clock.advance(Duration::hours(1));
    world.stop().await;
    world.resume().await;
    let counted = async || {
        let providers = world.list("providers").await;
        providers.iter().all(|row| row["logEntries"] == 0)
    };
    eventually("room comes back", counted).await;
    assert_eq!(
        report(&acme, "INV1", &weather).await.status,
        StatusCode::CREATED
    );
}

/// R-4-09: what one provider's AEFs reported is never another's, whatever is asked and however much there is; the operator sees all
/// of it, and finds it by API, invoker, result and time.
#[tokio::test]
async fn logs_of_one_provider_are_not_anothers() {
    let mut world = World::start().await;
    let (acme, umbrella) = (world.domain("acme").await, world.domain("umbrella").await);
    let mut published = Vec::new();
    for domain in [&acme, &umbrella] {
        // The same name, on purpose.
        published.push(domain.publish("weather", &["PKI"]).await);
    }
    let domains = [&acme, &umbrella];
    for round in 0..3 {
        for (domain, api) in domains.iter().zip(&published) {
            let invoker = format!("INV{round}");
            let answer = report(domain, &invoker, &entries(api, 500, "weather")).await;
            assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
        }
        world.clock.advance(Duration::minutes(10));
    }
    // As read for the first time, and as known.
    for _ in 0..2 {
        for (number, domain) in domains.iter().enumerate() {
            let other = domains[1 - number];
            let ask = async |query: &str| {
                let path = format!("/logs/v1/apiInvocationLogs?supported-features=1&{query}");
                domain.amf.get(&path).await
            };
            for query in [
                "",
                "api-name=weather",
                "api-invoker-id=INV1",
                &format!("aef-id={}", domain.aef.id),
                &format!("api-id={}", published[number]),
            ] {
                let answer = ask(query).await;
                assert_eq!(answer.status, StatusCode::OK, "{query}: {}", answer.json());
                let text = String::from_utf8(answer.body.clone()).unwrap();
                assert!(!text.contains(other.aef.id.as_str()), "{query}");
                assert!(!text.contains(&published[1 - number]), "{query}");
                let many = text.matches("\"resourceName\"").count();
                let expected = if query.contains("INV1") { 500 } else { 1500 };
                assert_eq!(many, expected, "{query}");
            }
            for query in [
                format!("aef-id={}", other.aef.id),
                format!("api-id={}", published[1 - number]),
                format!("aef-id={}&api-invoker-id=INV1", other.aef.id),
            ] {
                assert_eq!(ask(&query).await.status, StatusCode::NOT_FOUND, "{query}");
            }
        }
        for caller in [&acme.aef, &acme.apf] {
            let answer = caller.get("/logs/v1/apiInvocationLogs").await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN);
        }
        let found = async |query: &str| world.list(&format!("logs?{query}")).await.len();
        assert_eq!(found("invoker=INV0").await, 1000);
        assert_eq!(
            found(&format!("apiId={}&invoker=INV2", published[0])).await,
            500
        );
        assert_eq!(
            found(&format!("aef={}&invoker=INV2", acme.aef.id)).await,
            500
        );
        assert_eq!(found("result=403").await, 0);
        assert_eq!(found("api=traffic").await, 0);
        let last = world.list("logs?invoker=INV2").await[0]["received"].clone();
        let from = last.as_str().unwrap().replace('+', "%2B");
        assert_eq!(found(&format!("from={from}")).await, 1000);
        assert_eq!(found(&format!("to={from}&invoker=INV2")).await, 1000);
        world.stop().await;
        world.resume().await;
        eventually("they are counted", || async {
            let providers = world.list("providers").await;
            providers.iter().all(|row| row["logEntries"] == 1500)
        })
        .await;
    }
}
