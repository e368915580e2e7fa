//! What a subscription asks of its reports (clause 5.4.2.2.2, TS 29.523): end to end, with time that the test moves.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use time::Duration;

use super::{path, subscribe, subscription};
use crate::support::{World, eventually, people::Domain, receiver::Receiver};

const EVENT: &str = "SERVICE_API_UPDATE";

struct Scene {
    world: World,
    receiver: Receiver,
    domain: Domain,
    api: String,
}

impl Scene {
    async fn start() -> Self {
        let world = World::start().await;
        let receiver = Receiver::start(&world);
        let domain = world.domain("acme").await;
        let api = domain.publish("weather", &["PKI"]).await;
        Self {
            world,
            receiver,
            domain,
            api,
        }
    }

    fn asking(&self, events: &[&str], wish: Value) -> Value {
        let mut body = subscription(events, &self.receiver.url("/"));
        body["eventReq"] = wish;
        body
    }

    /// The API changes, which is an event.
    async fn change(&self, description: &str) {
        let path = format!("{}/{}", self.domain.apis(), self.api);
        let patch = json!({ "description": description });
        let answer = self.domain.apf.patch(&path, &patch).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    }

    async fn is_over(&self) {
        eventually("the subscription is over", || async {
            self.world.list("events").await.is_empty()
        })
        .await;
    }

    /// What was told, in order.
    fn told(&self) -> Vec<Value> {
        let seen = self.receiver.seen().into_iter();
        seen.map(|notice| {
            notice.body["eventDetail"]["serviceAPIDescriptions"][0]["description"].clone()
        })
        .collect()
    }
}

/// ONE_TIME: the first report is the last, and takes the subscription along; `maxReportNbr` the one of that number.
#[tokio::test]
async fn so_many_reports_and_no_more() {
    for (wish, count) in [
        (json!({ "notifMethod": "ONE_TIME" }), 1),
        (json!({ "maxReportNbr": 2 }), 2),
    ] {
        let scene = Scene::start().await;
        // The others do not count for it.
        let place = subscribe(&scene.domain.amf, &scene.asking(&[EVENT], json!({}))).await;
        subscribe(&scene.domain.aef, &scene.asking(&[EVENT], wish.clone())).await;
        for number in 0..4 {
            scene.change(&number.to_string()).await;
        }
        scene.receiver.acknowledged(4 + count).await;
        assert_eq!(
            scene.domain.amf.delete(&place).await.status,
            StatusCode::NO_CONTENT
        );
        scene.is_over().await;
        let of_aef: Vec<Value> = scene.told().into_iter().collect();
        assert_eq!(of_aef.len(), 4 + count, "{wish}: {of_aef:?}");
    }
}

/// A report counts when it is acknowledged, not when it is sent.
#[tokio::test]
async fn a_report_that_nobody_took_does_not_count() {
    let scene = Scene::start().await;
    scene.receiver.answer(&[500, 503]);
    let wish = json!({ "notifMethod": "ONE_TIME" });
    subscribe(&scene.domain.aef, &scene.asking(&[EVENT], wish)).await;
    scene.change("new").await;
    scene.receiver.acknowledged(1).await;
    scene.is_over().await;
    assert_eq!(scene.told(), ["new", "new", "new"]);
}

/// PERIODIC: nothing before the period ends, then all of it, put together where that says the same.
#[tokio::test]
async fn a_period_is_reported_at_its_end() {
    let scene = Scene::start().await;
    let events = ["API_INVOKER_ONBOARDED", EVENT];
    let wish = json!({ "notifMethod": "PERIODIC", "repPeriod": 3600 });
    subscribe(&scene.domain.aef, &scene.asking(&events, wish)).await;
    // By this one it is known that the core function has seen to what waits.
    subscribe(
        &scene.domain.amf,
        &subscription(&events, &scene.receiver.url("/prompt")),
    )
    .await;
    let one = scene.world.raw_invoker(&[]).await;
    let other = scene.world.raw_invoker(&[]).await;
    scene.change("new").await;
    scene.receiver.acknowledged(3).await;
    scene.world.clock.advance(Duration::minutes(59));
    scene.change("newer").await;
    scene.receiver.acknowledged(4).await;
    let held: Vec<String> = scene
        .receiver
        .seen()
        .into_iter()
        .map(|notice| notice.path)
        .collect();
    assert_eq!(held, ["/prompt"; 4]);
    scene.world.clock.advance(Duration::minutes(1));
    let all = scene.receiver.acknowledged(7).await;
    let told = |notice: &Value| json!([notice["events"], notice["eventDetail"]]);
    let last: Vec<Value> = all[4..].iter().map(told).collect();
    assert_eq!(
        last[0],
        json!(["API_INVOKER_ONBOARDED", { "apiInvokerIds": [one.id, other.id] }])
    );
    for (report, text) in last[1..].iter().zip(["new", "newer"]) {
        assert_eq!(report[1]["serviceAPIDescriptions"][0]["description"], text);
    }
    // The next period begins where the one before ended.
    scene.change("newest").await;
    scene.receiver.acknowledged(8).await;
    scene.world.clock.advance(Duration::minutes(60));
    scene.receiver.acknowledged(9).await;
}

/// `monDur`: what happens later is not told, and the subscription goes.
#[tokio::test]
async fn a_subscription_ends_at_its_time() {
    let scene = Scene::start().await;
    let end = scene.world.now() + 600;
    let end = time::OffsetDateTime::from_unix_timestamp(end).unwrap();
    let end = capif_spec::common::DateTime(end);
    let place = subscribe(
        &scene.domain.aef,
        &scene.asking(&[EVENT], json!({ "monDur": end })),
    )
    .await;
    scene.change("in time").await;
    scene.receiver.acknowledged(1).await;
    scene.world.clock.advance(Duration::minutes(10));
    scene.change("too late").await;
    scene.is_over().await;
    assert_eq!(scene.told(), ["in time"]);
    let answer = scene.domain.aef.delete(&place).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}

/// `immRep`: how things stand is told at once, and what happens then.
#[tokio::test]
async fn how_things_stand_is_told_at_once() {
    let scene = Scene::start().await;
    let elsewhere = scene.world.domain("elsewhere").await;
    elsewhere.publish("maps", &["PKI"]).await;
    let invoker = scene.world.raw_invoker(&[]).await;
    invoker.negotiate(&scene.domain.aef.id, &["PKI"]).await;
    let policy = json!({ "api": { "id": scene.api }, "total": 5 });
    let (status, said) = scene
        .world
        .operator(Method::POST, "/policies", Some(policy))
        .await;
    assert_eq!(status, StatusCode::OK, "{said}");
    let events = [
        "SERVICE_API_AVAILABLE",
        "API_INVOKER_ONBOARDED",
        "ACCESS_CONTROL_POLICY_UPDATE",
        EVENT,
    ];
    // With a period, for which an immediate report does not wait.
    let wish = json!({ "immRep": true, "notifMethod": "PERIODIC", "repPeriod": 3600 });
    subscribe(&scene.domain.aef, &scene.asking(&events, wish)).await;
    let told = scene.receiver.acknowledged(3).await;
    let details: Vec<Value> = told
        .iter()
        .map(|notice| notice["eventDetail"].clone())
        .collect();
    assert_eq!(details[0], json!({ "apiIds": [scene.api] }));
    assert_eq!(details[1], json!({ "apiInvokerIds": [invoker.id] }));
    let list = &details[2]["accCtrlPolList"];
    assert_eq!(list["apiId"], scene.api.as_str());
    assert_eq!(
        list["apiInvokerPolicies"][0]["apiInvokerId"],
        invoker.id.as_str()
    );
}

/// TS 29.523: what cannot be is refused with its place, what is not served is not answered as if it were; and so for PUT and PATCH.
#[tokio::test]
async fn wishes_are_checked() {
    let scene = Scene::start().await;
    let aef = &scene.domain.aef;
    let place = subscribe(aef, &scene.asking(&[EVENT], json!({ "maxReportNbr": 9 }))).await;
    for (wish, culprit) in [
        (json!({ "notifMethod": "SOMETIMES" }), "notifMethod"),
        (json!({ "notifMethod": "PERIODIC" }), "repPeriod"),
        (
            json!({ "notifMethod": "PERIODIC", "repPeriod": 0 }),
            "repPeriod",
        ),
        (json!({ "maxReportNbr": 0 }), "maxReportNbr"),
        (json!({ "monDur": "2001-01-01T00:00:00Z" }), "monDur"),
        (json!({ "monDur": "tomorrow" }), "monDur"),
        (json!({ "repPeriod": -1 }), "repPeriod"),
    ] {
        let body = scene.asking(&[EVENT], wish.clone());
        for answer in [
            aef.post(&path(aef), &body).await,
            aef.put(&place, &body).await,
            aef.patch(&place, &json!({ "eventReq": wish })).await,
        ] {
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{wish}");
            let param = answer.json()["invalidParams"][0]["param"].clone();
            assert!(
                param.as_str().unwrap().ends_with(culprit),
                "{wish}: {param}"
            );
        }
    }
    let mut filters = scene.asking(&[EVENT], json!({}));
    filters["eventFilters"] = json!([{}, {}]);
    let answer = aef.post(&path(aef), &filters).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);

    let wish =
        json!({ "notifMethod": "ON_EVENT_DETECTION", "sampRatio": 5, "notifFlag": "DEACTIVATE" });
    let answer = aef.patch(&place, &json!({ "eventReq": wish })).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    // A merge patch leaves what it does not name.
    let agreed = json!({ "notifMethod": "ON_EVENT_DETECTION", "maxReportNbr": 9 });
    assert_eq!(answer.json()["eventReq"], agreed);
}

/// Clause 5.4.2.4: PATCH changes what it names, takes away what is null, and refuses what makes no subscription.
#[tokio::test]
async fn a_subscription_is_patched() {
    let scene = Scene::start().await;
    let aef = &scene.domain.aef;
    let mut body = scene.asking(&[EVENT], json!({ "maxReportNbr": 9 }));
    body["eventFilters"] = json!([{ "apiIds": ["none"] }]);
    body["vendorSpecific-000001"] = json!({ "kept": true });
    let place = subscribe(aef, &body).await;
    scene.change("unheard").await;

    let patch = json!({ "eventFilters": null, "eventReq": null });
    let answer = aef.patch(&place, &patch).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    for member in ["eventFilters", "eventReq"] {
        body.as_object_mut().unwrap().remove(member);
    }
    assert_eq!(answer.json(), body);
    scene.change("heard").await;
    scene.receiver.acknowledged(1).await;
    assert_eq!(scene.told(), ["heard"]);

    for (patch, status) in [
        (json!({ "events": null }), StatusCode::BAD_REQUEST),
        (json!({ "events": [] }), StatusCode::BAD_REQUEST),
        (json!({ "events": ["ELSEWHERE"] }), StatusCode::FORBIDDEN),
        (
            json!({ "notificationDestination": null }),
            StatusCode::BAD_REQUEST,
        ),
        (
            json!({ "notificationDestination": "http://127.0.0.1/" }),
            // Deployed clients name such places; nothing is sent there.
            match scene.world.is_lenient() {
                true => StatusCode::OK,
                false => StatusCode::BAD_REQUEST,
            },
        ),
        (json!({ "supportedFeatures": "0" }), StatusCode::FORBIDDEN),
        (json!([]), StatusCode::BAD_REQUEST),
    ] {
        assert_eq!(aef.patch(&place, &patch).await.status, status, "{patch}");
    }
    let other = &scene.domain.amf;
    let not_its_own = place.replace(&aef.id, &other.id);
    let answer = other.patch(&not_its_own, &json!({})).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert_eq!(answer.cause(), "SUBSCRIPTION_NOT_FOUND");
}
