//! CAPIF_API_Invoker_Management_API (TS 29.222 clauses 5.5 and 8.4): what clause 6.1 and clause 6.8 of TS 33.122 do not tell already.

use std::sync::Arc;

use http::{Method, StatusCode};
use serde_json::json;
use tokio::sync::Barrier;

use crate::support::{
    World,
    people::{INVOKERS, RawInvoker, wishes},
    wire::request,
};

fn path(invoker: &RawInvoker) -> String {
    format!("{INVOKERS}/{}", invoker.id)
}

/// Clause 5.5.2.4: DELETE answers 204 without content, once; the session ends with it.
#[tokio::test]
async fn an_invoker_offboards_itself_once() {
    let world = World::start().await;
    let invoker = world.raw_invoker(&[]).await;
    let other = world.raw_invoker(&[]).await;
    let answer = invoker.delete(&path(&invoker)).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    assert!(answer.body.is_empty());
    let rows = world.list("invokers").await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["apiInvokerId"], other.id.as_str());
    assert!(
        !world
            .list("invokers")
            .await
            .iter()
            .any(|row| row["apiInvokerId"] == invoker.id.as_str())
    );
    let again = world
        .with_certificate(&invoker.pems)
        .json(Method::DELETE, &path(&invoker), None)
        .await;
    assert_eq!(again.status, StatusCode::UNAUTHORIZED);
    again.cause();
}

/// R-6.8-14: the operator removes an invoker in the same way; an unknown one is 404.
#[tokio::test]
async fn the_operator_offboards_an_invoker() {
    let world = World::start().await;
    let invoker = world.raw_invoker(&[]).await;
    let operator_path = format!("/invokers/{}", invoker.id);
    let (status, body) = world.operator(Method::DELETE, &operator_path, None).await;
    assert_eq!((status, body.is_null()), (StatusCode::NO_CONTENT, true));
    let (status, problem) = world.operator(Method::DELETE, &operator_path, None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(problem["requestId"].is_string());
    let gone = world
        .with_certificate(&invoker.pems)
        .json(Method::GET, "/.well-known/jwks.json", None)
        .await;
    assert_eq!(
        gone.status,
        StatusCode::OK,
        "what anyone may see, a former invoker may see too"
    );
}

/// Clause 5.5.2.5 is not served yet: PUT and PATCH say so and change nothing, whatever they hold.
#[tokio::test]
async fn updates_are_not_served_yet_and_change_nothing() {
    let world = World::start().await;
    let invoker = world.raw_invoker(&[]).await;
    let before = world.list("invokers").await;
    let mut details = invoker.details.clone();
    details["apiInvokerInformation"] = json!("changed");
    for answer in [
        invoker.put(&path(&invoker), &details).await,
        invoker
            .patch(
                &path(&invoker),
                &json!({ "apiInvokerInformation": "changed" }),
            )
            .await,
        invoker.put(&path(&invoker), &json!([])).await,
    ] {
        assert_eq!(answer.status, StatusCode::NOT_IMPLEMENTED);
        assert_eq!(answer.cause(), "INVALID_API");
    }
    assert_eq!(world.list("invokers").await, before);
}

/// B-23, P-08: an invoker that is offboarded while it negotiates, subscribes and asks for tokens leaves nothing behind, whoever comes
/// first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_race_with_offboarding_leaves_nothing_behind() {
    let world = Arc::new(World::start().await);
    let domain = world.domain("acme").await;
    domain.publish("weather", &["OAUTH"]).await;
    for round in 0..15 {
        let invoker = Arc::new(world.raw_invoker(&[]).await);
        let context = wishes(&[(&domain.aef.id, &["OAUTH"])]);
        assert_eq!(
            invoker.put(&invoker.context(), &context).await.status,
            StatusCode::CREATED
        );
        let subscription = json!({
            "events": ["SERVICE_API_AVAILABLE"], "notificationDestination": "https://127.0.0.1:1/events"
        });
        let requests = [
            request(Method::PUT, &invoker.context(), None, Some(&context)),
            request(
                Method::POST,
                &format!("{}/update", invoker.context()),
                None,
                Some(&context),
            ),
            request(
                Method::POST,
                &format!("/capif-events/v1/{}/subscriptions", invoker.id),
                None,
                Some(&subscription),
            ),
            request(Method::DELETE, &path(&invoker), None, None),
            request(Method::DELETE, &path(&invoker), None, None),
        ];
        let barrier = Arc::new(Barrier::new(requests.len() + 1));
        let mut tries = Vec::new();
        for request in requests {
            // Each on a connection of its own, which stands already.
            let caller = world.with_certificate(&invoker.pems);
            caller
                .json(Method::GET, "/.well-known/jwks.json", None)
                .await;
            let barrier = Arc::clone(&barrier);
            tries.push(tokio::spawn(async move {
                barrier.wait().await;
                caller.try_send(request).await
            }));
        }
        let by_operator = format!("/invokers/{}", invoker.id);
        barrier.wait().await;
        let (operator, _) = world.operator(Method::DELETE, &by_operator, None).await;
        let mut removed = usize::from(operator == StatusCode::NO_CONTENT);
        for (number, one) in tries.into_iter().enumerate() {
            // The connections of who is removed are closed, perhaps before an answer.
            let Some(answer) = one.await.unwrap() else {
                continue;
            };
            assert!(
                !answer.status.is_server_error(),
                "round {round}: {} {}",
                answer.status,
                answer.json()
            );
            removed += usize::from(number >= 3 && answer.status == StatusCode::NO_CONTENT);
        }
        assert!(removed <= 1, "round {round}: removed {removed} times");
        assert!(world.list("invokers").await.is_empty(), "round {round}");
        assert!(world.list("contexts").await.is_empty(), "round {round}");
        assert!(world.list("events").await.is_empty(), "round {round}");
    }
}
