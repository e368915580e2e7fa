//! What ends, ends exactly (R-6.1-20, R-U-06): enrolments, overlaps, and what is remembered of who left. Time is the test's.

use http::StatusCode;
use serde_json::{Value, json};
use time::Duration;

use super::renewable::{counts, renewable, renewable_with, renewed};
use crate::support::{World, eventually, people::RawInvoker, raw::Raw, receiver::Receiver};

/// An invoker whose enrolment ends when it says, or when the core function does.
async fn ending(world: &World, after: Option<Duration>) -> RawInvoker {
    let ends = after.map(|after| {
        let time = time::OffsetDateTime::from_unix_timestamp(world.now()).unwrap() + after;
        capif_spec::common::DateTime(time).to_string()
    });
    renewable_with(world, |body| {
        if let Some(ends) = ends {
            body["expTime"] = json!(ends);
        }
    })
    .await
}

fn instant() -> Duration {
    Duration::nanoseconds(1)
}

fn ends(details: &Value) -> time::OffsetDateTime {
    let text = details["expTime"].as_str().unwrap();
    text.parse::<capif_spec::common::DateTime>().unwrap().0
}

/// R-6.1-20, R-6.8-14: an enrolment ends at its very moment, and the invoker is offboarded by the same path as everyone: its AEFs
/// hear of it, and nothing is left but the account that policy wants.
#[tokio::test]
async fn an_enrolment_ends() {
    let world = World::with(|config| config.retention.offboarded_days = 30).await;
    let domain = world.domain("acme").await;
    domain.publish("weather", &["PKI"]).await;
    let aef = Receiver::start(&world);
    let subscription = json!({
        "events": ["API_INVOKER_OFFBOARDED"],
        "notificationDestination": aef.url("/events"),
        "supportedFeatures": "4",
    });
    let path = format!("/capif-events/v1/{}/subscriptions", domain.aef.id);
    let answer = domain.aef.post(&path, &subscription).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    let amy = ending(&world, Some(Duration::days(2))).await;
    let bob = ending(&world, None).await;
    assert_eq!(bob.details.get("expTime"), None, "never");
    amy.negotiate(&domain.aef.id, &["PKI"]).await;

    let until = ends(&amy.details);
    let listed: Vec<Value> = world.list("expiring").await;
    assert!(listed.iter().any(|row| row["id"] == amy.id.as_str()
        && row["what"] == "enrolment"
        && row["ends"] == amy.details["expTime"]));
    world.clock.set(until - instant());
    assert_eq!(counts(&world, &amy).await, StatusCode::OK);
    world.clock.set(until);
    assert_eq!(counts(&world, &amy).await, StatusCode::UNAUTHORIZED);
    eventually("it is offboarded", || async {
        let rows = world.list("invokers").await;
        rows.iter()
            .all(|row| row["apiInvokerId"] != amy.id.as_str())
    })
    .await;
    let heard = aef.acknowledged(1).await;
    assert_eq!(heard[0]["events"], "API_INVOKER_OFFBOARDED");
    assert_eq!(heard[0]["eventDetail"]["apiInvokerIds"], json!([amy.id]));
    let [gone] = world.list("offboarded").await.try_into().unwrap();
    assert_eq!(gone["apiInvokerId"], amy.id.as_str());
    assert_eq!(gone["reason"], "expired");
    assert_eq!((&gone["contexts"], &gone["apis"]), (&json!(1), &json!(1)));
    assert_eq!(counts(&world, &bob).await, StatusCode::OK);
}

/// R-6.1-20: the operator's policy bounds what is asked for, and sets an end where nothing is; the certificate never ends later.
#[tokio::test]
async fn the_operator_bounds_enrolments() {
    let world = World::with(|config| config.onboarding.enrolment_days = 3).await;
    let now = world.now();
    for (asked, granted) in [(None, 3), (Some(9), 3), (Some(2), 2)] {
        let invoker = ending(&world, asked.map(Duration::days)).await;
        let until = ends(&invoker.details);
        assert_eq!(until.unix_timestamp() - now, granted * 86_400, "{asked:?}");
        let rows = world.list("expiring").await;
        let certificate = rows
            .iter()
            .find(|row| row["id"] == invoker.id.as_str() && row["what"] == "certificate")
            .unwrap();
        let certificate = certificate["ends"].as_str().unwrap();
        let certificate: capif_spec::common::DateTime = certificate.parse().unwrap();
        assert!(certificate.0 <= until);
    }
}

/// R-U-05, R-U-06: the overlap begins when the new certificate is first seen, and ends at its very moment: then the old one is
/// refused, its connections are closed, and it stands among the revoked.
#[tokio::test]
async fn the_overlap_ends() {
    let world = World::with(|config| config.renewal.overlap_minutes = 10).await;
    let amy = renewable(&world).await;
    let next = renewed(&world, &amy, "r1").await;
    world.clock.advance(Duration::hours(5));
    assert_eq!(counts(&world, &amy).await, StatusCode::OK, "not begun");
    assert_eq!(counts(&world, &next).await, StatusCode::OK);
    let mut kept = Raw::connect(world.ccf().local_addr(), &world.root_pem(), Some(&amy.pems)).await;
    let path = format!("/capif-renewal/v1/{}", amy.id);
    kept.send(format!("GET {path} HTTP/1.1\r\nhost: ccf\r\n\r\n"))
        .await;
    assert!(kept.answer().await.starts_with("HTTP/1.1 200 "));

    world.clock.advance(Duration::minutes(10) - instant());
    assert_eq!(counts(&world, &amy).await, StatusCode::OK);
    world.clock.advance(instant());
    assert_eq!(counts(&world, &amy).await, StatusCode::UNAUTHORIZED);
    assert!(kept.read_to_end().await.is_empty(), "closed");
    assert_eq!(counts(&world, &next).await, StatusCode::OK);
}

/// What came due while the core function was down is done when it comes up, once.
#[tokio::test]
async fn what_came_due_meanwhile_is_done_at_the_start() {
    let mut world = World::with(|config| config.retention.offboarded_days = 30).await;
    let amy = ending(&world, Some(Duration::days(1))).await;
    let bob = renewable(&world).await;
    let next = renewed(&world, &bob, "r1").await;
    assert_eq!(counts(&world, &next).await, StatusCode::OK);
    world.stop().await;
    world.clock.advance(Duration::days(1));
    world.resume().await;
    eventually("the enrolment has ended", || async {
        world.list("invokers").await.len() == 1
    })
    .await;
    assert_eq!(world.list("offboarded").await.len(), 1);
    for (party, expected) in [
        (&amy, StatusCode::UNAUTHORIZED),
        (&bob, StatusCode::UNAUTHORIZED),
        (&next, StatusCode::OK),
    ] {
        assert_eq!(counts(&world, party).await, expected);
    }
}

/// What is remembered of who left is forgotten after its time; without such a policy it never is remembered.
#[tokio::test]
async fn departures_are_forgotten() {
    for days in [0, 2] {
        let mut world = World::with(|config| config.retention.offboarded_days = days).await;
        let amy = renewable(&world).await;
        let path = format!("/invokers/{}", amy.id);
        let (code, _) = world.operator(http::Method::DELETE, &path, None).await;
        assert_eq!(code, StatusCode::NO_CONTENT);
        let rows = world.list("offboarded").await;
        assert_eq!(rows.len(), usize::from(days > 0));
        if days == 0 {
            continue;
        }
        assert_eq!(rows[0]["reason"], "operator");
        // The store is swept at each start.
        world.stop().await;
        world.clock.advance(Duration::days(2));
        world.resume().await;
        eventually("it is forgotten", || async {
            world.list("offboarded").await.is_empty()
        })
        .await;
    }
}
