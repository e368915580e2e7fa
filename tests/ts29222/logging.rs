//! CAPIF_Logging_API_Invocation_API (TS 29.222 clauses 5.8 and 8.7).

use http::StatusCode;
use serde_json::{Value, json};

use crate::support::{World, eventually, people::Domain};

fn path(domain: &Domain) -> String {
    format!("/api-invocation-logs/v1/{}/logs", domain.aef.id)
}

fn entry(api: &str, number: usize) -> Value {
    json!({
        "apiId": api,
        "apiName": "weather",
        "apiVersion": "v1",
        "resourceName": format!("today-{number}"),
        "protocol": "HTTP_1_1",
        "operation": "GET",
        "result": "200",
        "invocationTime": "2026-11-21T12:00:00Z",
        "invocationLatency": 12,
        "inputParameters": { "any": ["thing", null] },
        "vendorSpecific-000001": "kept",
    })
}

fn report(aef: &str, invoker: &str, entries: &[Value]) -> Value {
    json!({ "aefId": aef, "apiInvokerId": invoker, "logs": entries })
}

/// Clause 5.8.2.2: a report is taken with 201 and the address of what was made; its entries are kept in order and whole.
#[tokio::test]
async fn a_report_is_taken_whole_and_in_order() {
    let mut world = World::start().await;
    let domain = world.domain("acme").await;
    let api = domain.publish("weather", &["PKI"]).await;
    let invoker = world.raw_invoker(&[]).await;
    let entries: Vec<Value> = (0..3).map(|number| entry(&api, number)).collect();
    let mut body = report(&domain.aef.id, &invoker.id, &entries);
    body["supportedFeatures"] = json!("0");
    let answer = domain.aef.post(&path(&domain), &body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    let location = answer.headers["location"].to_str().unwrap();
    assert!(
        location.starts_with(&format!("https://{}{}/", world.address(), path(&domain))),
        "{location}"
    );
    assert_eq!(answer.json(), body);

    let more = report(&domain.aef.id, &invoker.id, &[entry(&api, 3)]);
    assert_eq!(
        domain.aef.post(&path(&domain), &more).await.status,
        StatusCode::CREATED
    );
    world.stop().await;
    world.resume().await;
    let rows = world.list("logs").await;
    assert_eq!(rows.len(), 4);
    for (number, row) in rows.iter().enumerate() {
        assert_eq!(row["log"], entry(&api, number));
        assert_eq!(row["aefId"], domain.aef.id.as_str());
        assert_eq!(row["apiInvokerId"], invoker.id.as_str());
        assert!(row["received"].is_string());
    }
}

/// R-4-09, P-22: an AEF reports in its own name, about APIs that it exposes; what is refused leaves no entry, not even those of the
/// report that were in order.
#[tokio::test]
async fn an_aef_reports_about_itself_alone() {
    let world = World::start().await;
    let (acme, umbrella) = (world.domain("acme").await, world.domain("umbrella").await);
    let api = acme.publish("weather", &["PKI"]).await;
    let foreign = umbrella.publish("traffic", &["PKI"]).await;
    let good = entry(&api, 0);
    let with = |member: &str, value: Value| {
        let mut entry = good.clone();
        entry[member] = value;
        entry
    };
    let own = acme.aef.id.as_str();
    for (body, status) in [
        (
            report(&umbrella.aef.id, "INV0", std::slice::from_ref(&good)),
            StatusCode::FORBIDDEN,
        ),
        (
            report("AEF0", "INV0", std::slice::from_ref(&good)),
            StatusCode::FORBIDDEN,
        ),
        (report(own, "INV0", &[]), StatusCode::BAD_REQUEST),
        (
            report(own, "INV0", &vec![good.clone(); 1001]),
            StatusCode::BAD_REQUEST,
        ),
        (
            report(own, "INV0", &[good.clone(), with("apiId", json!(foreign))]),
            StatusCode::BAD_REQUEST,
        ),
        (
            report(own, "INV0", &[good.clone(), with("apiId", json!("API0"))]),
            StatusCode::BAD_REQUEST,
        ),
        (
            // Deployed clients send a status as a number; strictly it is a text.
            report(
                own,
                "INV0",
                &[with(
                    "result",
                    json!(if world.is_lenient() { 20 } else { 200 }),
                )],
            ),
            StatusCode::BAD_REQUEST,
        ),
        (
            report(own, "INV0", &[with("invocationTime", json!("noon"))]),
            StatusCode::BAD_REQUEST,
        ),
        (
            report(own, "INV0", &[with("invocationLatency", json!(-1))]),
            StatusCode::BAD_REQUEST,
        ),
        (
            report(
                own,
                "INV0",
                &[with("resourceName", json!("x".repeat(70_000)))],
            ),
            StatusCode::BAD_REQUEST,
        ),
        (report(own, "INV0", &[json!({})]), StatusCode::BAD_REQUEST),
        (
            json!({ "aefId": own, "logs": [good] }),
            StatusCode::BAD_REQUEST,
        ),
        (json!({}), StatusCode::BAD_REQUEST),
    ] {
        let shown: String = body.to_string().chars().take(300).collect();
        let answer = acme.aef.post(&path(&acme), &body).await;
        assert_eq!(answer.status, status, "{shown}: {}", answer.json());
        answer.cause();
    }
    assert!(world.list("logs").await.is_empty());
    let largest = report(own, "INV0", &vec![entry(&api, 0); 1000]);
    assert_eq!(
        acme.aef.post(&path(&acme), &largest).await.status,
        StatusCode::CREATED
    );
    assert_eq!(world.list("logs").await.len(), 1000);
}

/// R-4-09: entries of one AEF are listed apart from another's.
#[tokio::test]
async fn entries_are_listed_by_aef() {
    let world = World::start().await;
    let (acme, umbrella) = (world.domain("acme").await, world.domain("umbrella").await);
    for (number, domain) in [&acme, &umbrella].into_iter().enumerate() {
        let api = domain.publish(&format!("api-{number}"), &["PKI"]).await;
        let body = report(&domain.aef.id, "INV0", &[entry(&api, number)]);
        assert_eq!(
            domain.aef.post(&path(domain), &body).await.status,
            StatusCode::CREATED
        );
    }
    assert_eq!(world.list("logs").await.len(), 2);
    for (number, domain) in [&acme, &umbrella].into_iter().enumerate() {
        let rows = world.list(&format!("logs?aef={}", domain.aef.id)).await;
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0]["log"]["resourceName"], format!("today-{number}"));
    }
}

/// Entries are kept as long as the operator says, and not longer.
#[tokio::test]
async fn old_entries_are_removed() {
    let mut world = World::with(|config| config.limits.log_hours = 2).await;
    let domain = world.domain("acme").await;
    let api = domain.publish("weather", &["PKI"]).await;
    let body = |number: usize| report(&domain.aef.id, "INV0", &[entry(&api, number)]);
    assert_eq!(
        domain.aef.post(&path(&domain), &body(0)).await.status,
        StatusCode::CREATED
    );
    world.clock.advance(time::Duration::hours(1));
    assert_eq!(
        domain.aef.post(&path(&domain), &body(1)).await.status,
        StatusCode::CREATED
    );
    world.clock.advance(time::Duration::hours(1));
    world.stop().await;
    world.resume().await;
    eventually("the older entry goes", || async {
        world.list("logs").await.len() == 1
    })
    .await;
    assert_eq!(
        world.list("logs").await[0]["log"]["resourceName"],
        "today-1"
    );
}
