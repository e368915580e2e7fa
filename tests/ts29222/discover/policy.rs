//! The discovery policy (TS 23.222 clause 4.2.2 and annex E), set by the operator.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{discover, names};
use crate::support::World;

const POLICIES: &str = "/discovery-policies";

async fn set(world: &World, audience: Value, scope: Value, shows: bool) {
    let body = json!({ "audience": audience, "scope": scope, "shows": shows });
    let (status, said) = world.operator(Method::POST, POLICIES, Some(body)).await;
    assert_eq!(status, StatusCode::OK, "{said}");
}

async fn remove(world: &World, audience: Value, scope: Value) -> StatusCode {
    let body = json!({ "audience": audience, "scope": scope });
    let path = format!("{POLICIES}/remove");
    world.operator(Method::POST, &path, Some(body)).await.0
}

/// AR-4.2.2-c and -d: discovery is restricted by policy, by API, category and invoker, at once and through a restart. What is hidden
/// is found by no criterion, and still there for who may use it.
#[tokio::test]
async fn the_operator_says_who_discovers_what() {
    let mut world = World::start().await;
    let acme = world.domain("acme").await;
    let other = world.domain("other").await;
    let weather = acme.publish("weather", &["OAUTH"]).await;
    let mut traffic = acme.description("traffic", &["OAUTH"]);
    traffic["serviceAPICategory"] = json!("roads");
    let answer = acme.apf.post(&acme.apis(), &traffic).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    other.publish("weather", &["OAUTH"]).await;
    let (amy, bob) = (world.raw_invoker(&[]).await, world.raw_invoker(&[]).await);

    set(
        &world,
        json!("everyone"),
        json!({ "name": "weather" }),
        false,
    )
    .await;
    for query in ["", "&api-name=traffic", "&api-cat=roads"] {
        assert_eq!(names(&discover(&amy, query).await), ["traffic"], "{query}");
    }
    for query in ["&api-name=weather", &format!("&api-ids={weather}")] {
        let found = discover(&amy, query).await;
        assert_eq!(found, json!({}), "{query}");
    }
    // Hidden is not forbidden.
    let agreed = amy.negotiate(&acme.aef.id, &["OAUTH"]).await;
    assert_eq!(agreed.status, StatusCode::CREATED);

    let one = json!({ "invoker": amy.id });
    set(&world, one.clone(), json!({ "id": weather }), true).await;
    assert_eq!(names(&discover(&amy, "").await), ["traffic", "weather"]);
    assert_eq!(names(&discover(&bob, "").await), ["traffic"]);
    set(&world, one.clone(), json!({ "category": "roads" }), false).await;
    assert_eq!(names(&discover(&amy, "").await), ["weather"]);
    let listed = world.list("discovery-policies").await;
    let rows: Vec<Value> = listed
        .iter()
        .map(|row| json!([row["by"], row["of"], row["shows"], row["meets"]]))
        .collect();
    assert_eq!(
        rows,
        [
            json!(["name", "weather", false, 2]),
            json!(["category", "roads", false, 1]),
            json!(["id", weather, true, 1]),
        ]
    );

    world.stop().await;
    world.resume().await;
    assert_eq!(names(&discover(&amy, "").await), ["weather"]);
    assert_eq!(names(&discover(&bob, "").await), ["traffic"]);
    assert_eq!(
        remove(&world, json!("everyone"), json!({ "name": "weather" })).await,
        StatusCode::OK
    );
    assert_eq!(
        names(&discover(&bob, "").await),
        ["traffic", "weather", "weather"]
    );

    // What is said of an invoker goes with it.
    let path = format!("/invokers/{}", amy.id);
    let (status, _) = world.operator(Method::DELETE, &path, None).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert!(world.list("discovery-policies").await.is_empty());
}

/// What the operator may say, and what is refused.
#[tokio::test]
async fn policies_are_held_to_their_form() {
    let world = World::start().await;
    let amy = world.raw_invoker(&[]).await;
    let all = json!("all");
    for (body, expected) in [
        (json!({ "audience": "everyone", "scope": "all" }), 400),
        (
            json!({ "audience": "nobody", "scope": "all", "shows": true }),
            400,
        ),
        (
            json!({ "audience": "everyone", "scope": { "name": "" }, "shows": true }),
            400,
        ),
        (
            json!({ "audience": "everyone", "scope": { "category": "x".repeat(2000) }, "shows": true }),
            400,
        ),
        (
            json!({ "audience": { "invoker": "INV0" }, "scope": all, "shows": true }),
            404,
        ),
        (
            json!({ "audience": "everyone", "scope": { "id": "API0" }, "shows": true }),
            404,
        ),
        (
            json!({ "audience": { "invoker": amy.id }, "scope": all, "shows": true }),
            200,
        ),
    ] {
        let (status, said) = world
            .operator(Method::POST, POLICIES, Some(body.clone()))
            .await;
        assert_eq!(status.as_u16(), expected, "{body}: {said}");
    }
    assert_eq!(
        remove(&world, json!("everyone"), all.clone()).await,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        remove(&world, json!({ "invoker": amy.id }), all).await,
        StatusCode::OK
    );
    let trail = world.list("audit").await;
    let said: Vec<(&str, &str)> = trail
        .iter()
        .filter_map(|record| {
            let record = record.get("record").unwrap_or(record);
            let operation = record["operation"].as_str()?;
            operation
                .contains("Discovery")
                .then(|| (operation, record["subject"].as_str().unwrap_or_default()))
        })
        .collect();
    assert_eq!(
        said,
        [
            ("ShowInDiscovery", amy.id.as_str()),
            ("RemoveDiscoveryPolicy", amy.id.as_str())
        ]
    );
}
