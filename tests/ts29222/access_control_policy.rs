//! CAPIF_Access_Control_Policy_API (TS 29.222 clauses 5.9 and 8.6): the list of an API for an AEF that exposes it.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{
    World,
    people::{Domain, Party},
    wire::Answer,
};

fn path(api: &str, query: &str) -> String {
    format!("/access-control-policy/v1/accessControlPolicyList/{api}?{query}")
}

async fn list(aef: &Party, api: &str, query: &str) -> Answer {
    aef.get(&path(api, &format!("aef-id={}{query}", aef.id)))
        .await
}

async fn policy(world: &World, body: Value) -> (StatusCode, Value) {
    world.operator(Method::POST, "/policies", Some(body)).await
}

async fn set(world: &World, body: Value) {
    let (status, said) = policy(world, body).await;
    assert_eq!(status, StatusCode::OK, "{said}");
}

async fn with_weather(world: &World, name: &str) -> (Domain, String) {
    let domain = world.domain(name).await;
    let api = domain.publish("weather", &["OAUTH"]).await;
    (domain, api)
}

/// Clause 8.6.2.2.3.1: one policy per invoker, with every bound in the words of clause 8.6.4.2.3; narrowed to one invoker on request.
#[tokio::test]
async fn an_aef_gets_the_policies_of_its_api() {
    let world = World::start().await;
    let (domain, api) = with_weather(&world, "acme").await;
    let (amy, bob) = (world.raw_invoker(&[]).await, world.raw_invoker(&[]).await);
    let stranger = world.raw_invoker(&[]).await;
    for invoker in [&amy, &bob] {
        invoker.negotiate(&domain.aef.id, &["OAUTH"]).await;
    }
    set(
        &world,
        json!({ "api": { "name": "weather" }, "total": 100, "perSecond": 5 }),
    )
    .await;
    let own = json!({
        "api": { "id": api },
        "invoker": bob.id,
        "times": [
            { "from": "2026-01-31T08:00:00Z", "to": "2026-01-31T12:00:00Z" },
            { "from": "2026-01-31T14:00:00Z", "to": "2026-01-31T18:00:00Z" },
        ],
        "slices": [{ "snssai": { "sst": 1, "sd": "00000a" } }, { "nsiId": "one" }],
    });
    set(&world, own).await;
    let of_amy = json!({
        "apiInvokerId": amy.id,
        "allowedTotalInvocations": 100,
        "allowedInvocationsPerSecond": 5,
    });
    let of_bob = json!({
        "apiInvokerId": bob.id,
        "allowedInvocationTimeRangeList": [
            { "startTime": "2026-01-31T08:00:00Z", "stopTime": "2026-01-31T12:00:00Z" },
            { "startTime": "2026-01-31T14:00:00Z", "stopTime": "2026-01-31T18:00:00Z" },
        ],
        "netSliceInfo": [{ "snssai": { "sst": 1, "sd": "00000a" } }, { "nsiId": "one" }],
    });
    let all = list(&domain.aef, &api, "").await;
    assert_eq!(all.status, StatusCode::OK);
    assert_eq!(all.headers["content-type"], "application/json");
    assert_eq!(
        all.json(),
        json!({ "apiInvokerPolicies": [of_bob, of_amy] })
    );
    for (invoker, policy) in [(&amy, &of_amy), (&bob, &of_bob)] {
        let query = format!("&api-invoker-id={}&supported-features=0", invoker.id);
        let one = list(&domain.aef, &api, &query).await;
        assert_eq!(one.json(), json!({ "apiInvokerPolicies": [policy] }));
    }

    // Everyone's is for those who have something to do with the API here; an unknown invoker looks like one who has not.
    let mut refusals = Vec::new();
    for id in [stranger.id.as_str(), "INV0", "x"] {
        let answer = list(&domain.aef, &api, &format!("&api-invoker-id={id}")).await;
        refusals.push((
            answer.status,
            answer.cause(),
            answer.json()["detail"].clone(),
        ));
    }
    refusals.dedup();
    assert_eq!(refusals.len(), 1, "{refusals:?}");
    assert_eq!(refusals[0].0, StatusCode::NOT_FOUND);
}

/// No policy: 404. A policy for everyone where there is nobody: an empty list.
#[tokio::test]
async fn no_policy_and_nobody_are_told_apart() {
    let world = World::start().await;
    let (domain, api) = with_weather(&world, "acme").await;
    assert_eq!(
        list(&domain.aef, &api, "").await.status,
        StatusCode::NOT_FOUND
    );
    set(&world, json!({ "api": { "id": api }, "total": 1 })).await;
    let empty = list(&domain.aef, &api, "").await;
    assert_eq!(
        (empty.status, empty.json()),
        (StatusCode::OK, json!({ "apiInvokerPolicies": [] }))
    );
    let body = json!({ "api": { "id": api } });
    let (status, _) = world
        .operator(Method::POST, "/policies/remove", Some(body))
        .await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        list(&domain.aef, &api, "").await.status,
        StatusCode::NOT_FOUND
    );
}

/// P-20: an AEF asks under its own id, about APIs that it exposes; any other API is not there for it.
#[tokio::test]
async fn an_aef_asks_about_its_own_apis_in_its_own_name() {
    let world = World::start().await;
    let (acme, api) = with_weather(&world, "acme").await;
    let (umbrella, _) = with_weather(&world, "umbrella").await;
    set(&world, json!({ "api": { "id": api }, "total": 1 })).await;
    let details = |answer: &Answer| {
        (
            answer.status,
            answer.cause(),
            answer.json()["detail"].clone(),
        )
    };
    let foreign = list(&umbrella.aef, &api, "").await;
    let unknown = list(&umbrella.aef, "API0", "").await;
    assert_eq!(foreign.status, StatusCode::NOT_FOUND);
    assert_eq!(details(&foreign), details(&unknown));

    for (query, status, cause) in [
        ("", StatusCode::BAD_REQUEST, "INVALID_QUERY_PARAM"),
        (
            "supported-features=0",
            StatusCode::BAD_REQUEST,
            "INVALID_QUERY_PARAM",
        ),
        (
            &format!("aef-id={}", umbrella.aef.id),
            StatusCode::FORBIDDEN,
            "UNSPECIFIED_MSG_FAILURE",
        ),
        (
            &format!("aef-id={}&supported-features=xyz", acme.aef.id),
            StatusCode::BAD_REQUEST,
            "INVALID_QUERY_PARAM",
        ),
    ] {
        let answer = acme.aef.get(&path(&api, query)).await;
        assert_eq!(
            (answer.status, answer.cause().as_str()),
            (status, cause),
            "{query}"
        );
    }
    for party in [&acme.apf, &acme.amf] {
        let answer = party
            .get(&path(&api, &format!("aef-id={}", party.id)))
            .await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
    }
}

/// What the operator may set, and what is refused with the member at fault.
#[tokio::test]
async fn policies_are_held_to_their_form() {
    let world = World::start().await;
    let (_, api) = with_weather(&world, "acme").await;
    let (_, theirs) = with_weather(&world, "umbrella").await;
    let (status, said) = policy(&world, json!({ "api": { "name": "weather" }, "total": 1 })).await;
    assert_eq!(status, StatusCode::CONFLICT);
    let detail = said["detail"].as_str().unwrap();
    assert!(
        detail.contains(&api) && detail.contains(&theirs),
        "{detail}"
    );

    let time = |hour: u8| format!("2026-01-31T{hour:02}:00:00Z");
    for limits in [
        json!({ "total": -1 }),
        json!({ "total": 1.5 }),
        json!({ "total": 9_007_199_254_740_992_u64 }),
        json!({ "perSecond": 0 }),
        json!({ "times": [{}] }),
        json!({ "times": [{ "from": "tomorrow" }] }),
        json!({ "times": [{ "from": time(9), "to": time(9) }] }),
        json!({ "times": vec![json!({ "from": time(9) }); 65] }),
        json!({ "slices": [{}] }),
        json!({ "slices": [{ "nsiId": "one", "ensi": "one" }] }),
        json!({ "slices": [{ "snssai": { "sst": 256 } }] }),
        json!({ "slices": vec![json!({ "nsiId": "one" }); 65] }),
        json!({ "totals": 1 }),
        json!({ "api": "weather" }),
    ] {
        let mut body = limits.clone();
        if body.get("api").is_none() {
            body["api"] = json!({ "id": api });
        }
        let (status, said) = policy(&world, body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{limits}: {said}");
    }
    for body in [
        json!({ "api": { "name": "tides" }, "total": 1 }),
        json!({ "api": { "id": "API0" }, "total": 1 }),
        json!({ "api": { "id": api }, "invoker": "INV0", "total": 1 }),
    ] {
        let (status, _) = policy(&world, body.clone()).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{body}");
    }
    assert!(world.list("policies").await.is_empty());
}
