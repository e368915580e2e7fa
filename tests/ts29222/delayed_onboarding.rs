//! Enrolments that wait for the operator (TS 29.222 clauses 5.5.2.2.2, 5.5.2.4 and 5.5.2.5, TS 23.222 clause 8.1).

use capif_ccf::config::Approval;
use capif_client::{Error, Invoker, OnboardingRequest};
use http::{Method, StatusCode};
use rcgen::KeyPair;
use serde_json::{Value, json};
use time::Duration;

use crate::support::{
    World, eventually, keys,
    people::{INVOKERS, RawInvoker, enrolment_for},
    receiver::Receiver,
    wire::Answer,
};

/// A core function whose operator approves everyone.
async fn world() -> World {
    World::with(|config| config.onboarding.approval = Approval::Operator).await
}

/// Lets callbacks go to a receiver.
async fn hooked(world: &mut World) -> Receiver {
    let receiver = Receiver::start(world);
    world.stop().await;
    let target = format!("127.0.0.1:{}", receiver.port());
    world.config.callbacks.allow = vec![target.parse().unwrap()];
    world.resume().await;
    receiver
}

/// Somebody who wants to be onboarded.
struct Applicant {
    key: KeyPair,
    credential: String,
    body: Value,
}

impl Applicant {
    async fn new(world: &World, apis: &[&str], destination: &str) -> Self {
        Self::by(world.credential(&[]).await, apis, destination)
    }

    fn by(credential: String, apis: &[&str], destination: &str) -> Self {
        let key = keys::p256();
        let mut body = enrolment_for(&keys::request(&key), apis);
        if apis.is_empty() {
            body.as_object_mut().unwrap().remove("apiList");
        }
        body["notificationDestination"] = json!(destination);
        body["apiInvokerInformation"] = json!("a new invoker");
        body["supportedFeatures"] = json!("C");
        body["vendorSpecific-capif"] = json!({ "attempt": "attempt-1" });
        Self {
            key,
            credential,
            body,
        }
    }

    async fn ask(&self, world: &World) -> Answer {
        world.onboard(&self.credential, &self.body).await
    }

    /// Asks and waits; returns the id under which it does.
    async fn waits(&self, world: &World) -> String {
        let answer = self.ask(world).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.json());
        assert!(answer.body.is_empty());
        assert_eq!(answer.headers.get("location"), None);
        let rows = world.list("pending").await;
        rows.last().unwrap()["id"].as_str().unwrap().to_owned()
    }
}

async fn decide(world: &World, path: &str, body: Value) -> (StatusCode, Value) {
    world.operator(Method::POST, path, Some(body)).await
}

async fn approve(world: &World, id: &str) -> Value {
    let (status, said) = decide(world, "/approvals", json!({ "id": id })).await;
    assert_eq!(status, StatusCode::OK, "{said}");
    said
}

async fn reject(world: &World, id: &str, reason: &str) -> Value {
    let body = json!({ "id": id, "reason": reason });
    let (status, said) = decide(world, "/rejections", body).await;
    assert_eq!(status, StatusCode::OK, "{said}");
    said
}

const NOWHERE: &str = "https://invoker.example/notify";

/// Clauses 5.5.2.2.2 and 5.5.2.4: 202 without a body, nothing that counts until the operator approves, then the notification with what
/// the answer would have been, repeated until it is acknowledged. Certificate and secret are nowhere else, and in the store sealed.
#[tokio::test]
async fn an_onboarding_waits_for_the_operator() {
    let mut world = world().await;
    let domain = world.domain("acme").await;
    domain.publish("weather", &["OAUTH"]).await;
    domain.publish("traffic", &["OAUTH"]).await;
    let hook = hooked(&mut world).await;
    let events = Receiver::start(&world);
    let subscription = json!({
        "events": ["API_INVOKER_ONBOARDED"],
        "notificationDestination": events.url("/events"),
        "supportedFeatures": "4",
    });
    let path = format!("/capif-events/v1/{}/subscriptions", domain.aef.id);
    let answer = domain.aef.post(&path, &subscription).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());

    let applicant = Applicant::new(&world, &["weather"], &hook.url("/onboarded")).await;
    let id = applicant.waits(&world).await;
    assert!(world.list("invokers").await.is_empty());
    let rows = world.list("pending").await;
    assert_eq!(rows.len(), 1);
    for (member, value) in [
        ("what", json!("onboarding")),
        ("apis", json!(["weather"])),
        ("allowed", Value::Null),
        ("information", json!("a new invoker")),
        ("rejected", Value::Null),
    ] {
        assert_eq!(rows[0][member], value, "{member}");
    }
    // The very same request finds that it waits, through a restart too; another one that the credential was used.
    assert_eq!(applicant.ask(&world).await.status, StatusCode::ACCEPTED);
    world.stop().await;
    world.resume().await;
    assert_eq!(applicant.ask(&world).await.status, StatusCode::ACCEPTED);
    let mut other = applicant.body.clone();
    other["vendorSpecific-capif"]["attempt"] = json!("attempt-2");
    let refused = world.onboard(&applicant.credential, &other).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert_eq!(world.list("pending").await.len(), 1);
    assert!(hook.seen().is_empty() && events.seen().is_empty());

    hook.answer(&[503, 500]);
    let decision = approve(&world, &id).await;
    assert_eq!(decision, json!({ "id": id, "told": true }));
    let told = hook.acknowledged(1).await.remove(0);
    assert!(hook.seen().len() >= 3, "until it is acknowledged");
    assert_eq!(hook.seen()[0].path, "/onboarded");
    assert_eq!(told["result"], true);
    let location = told["resourceLocation"].as_str().unwrap();
    assert!(
        location.ends_with(&format!("{INVOKERS}/{id}")),
        "{location}"
    );
    let details = &told["apiInvokerEnrolmentDetails"];
    assert_eq!(details["apiInvokerId"], id.as_str());
    assert_eq!(told["apiList"], details["apiList"]);
    let apis = details["apiList"]["serviceAPIDescriptions"].as_array();
    assert_eq!(apis.unwrap().len(), 1);
    let secret = details["onboardingInformation"]["onboardingSecret"].as_str();
    assert!(!world.store_holds(secret.unwrap().as_bytes()));
    let heard = events.acknowledged(1).await.remove(0);
    assert_eq!(heard["eventDetail"]["apiInvokerIds"], json!([id]));

    // What was handed over counts like what is answered at once.
    assert!(world.list("pending").await.is_empty());
    let invoker = invoker_of(&world, details, &applicant.key);
    let found = invoker.get(&discovery(&invoker.id)).await;
    assert_eq!(found.status, StatusCode::OK, "{}", found.json());
    invoker.negotiate(&domain.aef.id, &["OAUTH"]).await;
    let token = invoker.token(None).await;
    assert_eq!(token.status, StatusCode::OK, "{}", token.json());
    let spent = applicant.ask(&world).await;
    assert_eq!(
        spent.status,
        StatusCode::UNAUTHORIZED,
        "its certificate is in use"
    );
    let (status, _) = decide(&world, "/approvals", json!({ "id": id })).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "it is decided");
    let (status, trail) = world.operator(Method::GET, "/audit", None).await;
    assert_eq!(status, StatusCode::OK);
    assert!(trail.to_string().contains("\"Approve\""), "{trail}");
}

fn discovery(id: &str) -> String {
    format!("/service-apis/v1/allServiceAPIs?api-invoker-id={id}")
}

/// The invoker of a notification.
fn invoker_of(world: &World, details: &Value, key: &KeyPair) -> RawInvoker {
    let information = &details["onboardingInformation"];
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let id = text(&details["apiInvokerId"]).unwrap();
    let chain = text(&information["apiInvokerCertificate"]).unwrap();
    RawInvoker {
        party: world.party(&id, key, &chain),
        secret: text(&information["onboardingSecret"]),
        details: details.clone(),
    }
}

/// Who cannot be called back sends the very same request: 202 while it waits, 201 once approved, although the credential has ended by
/// then; until what it was given is used, as every answer to an onboarding.
#[tokio::test]
async fn who_cannot_be_called_back_asks_again() {
    let world = world().await;
    world
        .domain("acme")
        .await
        .publish("weather", &["OAUTH"])
        .await;
    let applicant = Applicant::new(&world, &[], NOWHERE).await;
    let id = applicant.waits(&world).await;
    world.clock.advance(Duration::days(2));
    assert_eq!(applicant.ask(&world).await.status, StatusCode::ACCEPTED);
    assert_eq!(approve(&world, &id).await["told"], false);
    let answer = applicant.ask(&world).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    assert_eq!(answer.json()["apiInvokerId"], id.as_str());
    assert!(
        answer.headers["location"]
            .to_str()
            .unwrap()
            .ends_with(&format!("{INVOKERS}/{id}"))
    );
    let again = applicant.ask(&world).await;
    assert_eq!(again.json(), answer.json());
    let stranger = Applicant::by(applicant.credential.clone(), &[], NOWHERE);
    let refused = stranger.ask(&world).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "another key");
    let invoker = world.invoker_of(&answer, &applicant.key);
    assert_eq!(
        invoker.get(&discovery(&invoker.id)).await.status,
        StatusCode::OK
    );
    let spent = applicant.ask(&world).await;
    assert_eq!(spent.status, StatusCode::UNAUTHORIZED);
}

/// Clause 5.5.2.4: a rejection is told without details, and remembered for who asks again; the credential stays used.
#[tokio::test]
async fn a_rejection_is_told() {
    let mut world = world().await;
    let hook = hooked(&mut world).await;
    let applicant = Applicant::new(&world, &["weather"], &hook.url("/onboarded")).await;
    let id = applicant.waits(&world).await;
    let body = json!({ "id": id, "reason": "two\nlines" });
    let (status, _) = decide(&world, "/rejections", body).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(
        reject(&world, &id, "not on our list").await,
        json!({ "id": id, "told": true })
    );
    assert_eq!(
        hook.acknowledged(1).await,
        [json!({
            "result": false,
            "failReason": "API_INVOKER_NOT_ALLOWED",
            "vendorSpecific-capif": { "reason": "not on our list" },
        })]
    );
    let refused = applicant.ask(&world).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert_eq!(refused.cause(), "API_INVOKER_NOT_ALLOWED");
    let detail = refused.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("not on our list"), "{detail}");
    assert!(world.list("invokers").await.is_empty());
    let rows = world.list("pending").await;
    assert!(rows[0]["rejected"].is_string(), "{rows:?}");
    for (path, gone) in [("/approvals", &id), ("/rejections", &id)] {
        let (status, _) = decide(&world, path, json!({ "id": gone })).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
    }
    world.clock.advance(Duration::days(7));
    eventually("it is forgotten", || async {
        world.list("pending").await.is_empty()
    })
    .await;
    assert_eq!(applicant.ask(&world).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(hook.seen().len(), 1, "nobody is told twice");
}

/// What nobody decides on ends after `onboarding.pending_days`, and the invoker is told.
#[tokio::test]
async fn what_waits_too_long_ends() {
    let mut world = world().await;
    world.config.onboarding.pending_days = 3;
    let hook = hooked(&mut world).await;
    let applicant = Applicant::new(&world, &["weather"], &hook.url("/onboarded")).await;
    applicant.waits(&world).await;
    world
        .clock
        .advance(Duration::days(3) - Duration::seconds(1));
    assert_eq!(applicant.ask(&world).await.status, StatusCode::ACCEPTED);
    assert!(hook.seen().is_empty());
    world.clock.advance(Duration::seconds(1));
    let told = hook.acknowledged(1).await.remove(0);
    assert_eq!(
        (&told["result"], &told["failReason"]),
        (&json!(false), &json!("OTHER"))
    );
    assert!(world.list("pending").await.is_empty());
    assert_eq!(applicant.ask(&world).await.status, StatusCode::UNAUTHORIZED);
    assert!(world.list("invokers").await.is_empty());
}

/// The operator asks for approval of one invoker alone, by its credential: one that the core function issued, and one that was handed
/// over. What cannot be is refused at once, and leaves the credential unused.
#[tokio::test]
async fn approval_is_asked_for_by_the_credential() {
    let world = World::start().await;
    let invite = json!({ "approval": true, "apis": ["weather"] });
    let (status, parts) = world.operator(Method::POST, "/invites", Some(invite)).await;
    assert_eq!(status, StatusCode::CREATED, "{parts}");
    let issued = parts["credential"].as_str().unwrap().to_owned();
    let handed_over = "a token of somebody else's, long enough".replace([' ', ','], "-");
    let expires = capif_spec::common::DateTime(
        time::OffsetDateTime::from_unix_timestamp(world.now() + 129_600).unwrap(),
    );
    let body = json!({ "token": handed_over, "expires": expires, "approval": true });
    let (status, said) = decide(&world, "/credentials", body).await;
    assert_eq!(status, StatusCode::CREATED, "{said}");

    let beyond = Applicant::by(issued.clone(), &["traffic"], NOWHERE);
    let refused = beyond.ask(&world).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{}", refused.json());
    for credential in [issued, handed_over] {
        let applicant = Applicant::by(credential, &["weather"], NOWHERE);
        let id = applicant.waits(&world).await;
        world.clock.advance(Duration::days(1));
        assert_eq!(applicant.ask(&world).await.status, StatusCode::ACCEPTED);
        approve(&world, &id).await;
        let answer = applicant.ask(&world).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    }
    world.raw_invoker(&[]).await;
    assert_eq!(
        world.list("invokers").await.len(),
        3,
        "others wait for nobody"
    );
}

/// Clause 5.5.2.5.2: an update that asks for more than before waits, by PUT and by PATCH, and the profile stays as it is; the outcome is
/// told. What asks for no more is answered at once.
#[tokio::test]
async fn updates_that_ask_for_more_wait() {
    let mut world = world().await;
    let domain = world.domain("acme").await;
    for api in ["weather", "traffic", "tides"] {
        domain.publish(api, &["OAUTH"]).await;
    }
    let hook = hooked(&mut world).await;
    let applicant = Applicant::new(&world, &["weather"], &hook.url("/onboarded")).await;
    let id = applicant.waits(&world).await;
    approve(&world, &id).await;
    let told = hook.acknowledged(1).await.remove(0);
    let invoker = invoker_of(&world, &told["apiInvokerEnrolmentDetails"], &applicant.key);
    let path = format!("{INVOKERS}/{id}");
    let reached = async || {
        let found = invoker.get(&discovery(&id)).await.json();
        found["serviceAPIDescriptions"]
            .as_array()
            .map_or(0, Vec::len)
    };

    let mut put = invoker.details.clone();
    put["apiInvokerInformation"] = json!("changed");
    let list = |names: &[&str]| {
        let apis: Vec<Value> = names
            .iter()
            .map(|name| json!({ "apiName": name }))
            .collect();
        json!({ "serviceAPIDescriptions": apis })
    };
    put["apiList"] = list(&["weather", "traffic"]);
    let waits = invoker.put(&path, &put).await;
    assert_eq!(
        (waits.status, waits.body.is_empty()),
        (StatusCode::ACCEPTED, true)
    );
    assert_eq!(invoker.put(&path, &put).await.status, StatusCode::ACCEPTED);
    assert_eq!(reached().await, 1);
    let rows = world.list("pending").await;
    assert_eq!(rows.len(), 1);
    assert_eq!(
        (&rows[0]["what"], &rows[0]["id"], &rows[0]["apis"]),
        (&json!("update"), &json!(id), &json!(["weather", "traffic"]))
    );
    assert_eq!(
        world.list("invokers").await[0]["information"],
        "a new invoker",
        "the profile stays as it is"
    );
    let unrelated = json!({ "notificationDestination": hook.url("/elsewhere") });
    let answer = invoker.patch(&path, &unrelated).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());

    approve(&world, &id).await;
    let told = hook.acknowledged(2).await.remove(1);
    assert_eq!(told["result"], true);
    let details = &told["apiInvokerEnrolmentDetails"];
    assert_eq!(details["apiInvokerInformation"], "changed");
    assert_eq!(
        details["onboardingInformation"].get("onboardingSecret"),
        None
    );
    assert_eq!(reached().await, 2);
    let answer = invoker.put(&path, &put).await;
    assert_eq!(
        answer.status,
        StatusCode::OK,
        "there is nothing to wait for"
    );

    let patch = json!({ "apiList": list(&["tides", "weather"]) });
    assert_eq!(
        invoker.patch(&path, &patch).await.status,
        StatusCode::ACCEPTED
    );
    reject(&world, &id, "no tides").await;
    let told = hook.acknowledged(3).await.remove(2);
    assert_eq!(told["failReason"], "API_INVOKER_NOT_ALLOWED");
    let refused = invoker.patch(&path, &patch).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert_eq!(refused.cause(), "API_INVOKER_NOT_ALLOWED");
    assert_eq!(reached().await, 2);

    // A choice of less takes the place of what waits; offboarding takes it along.
    let all = json!({ "apiList": list(&["tides", "traffic", "weather"]) });
    assert_eq!(
        invoker.patch(&path, &all).await.status,
        StatusCode::ACCEPTED
    );
    let less = json!({ "apiList": list(&["weather"]) });
    assert_eq!(invoker.patch(&path, &less).await.status, StatusCode::OK);
    assert!(world.list("pending").await.is_empty());
    assert_eq!(
        invoker.patch(&path, &all).await.status,
        StatusCode::ACCEPTED
    );
    assert_eq!(invoker.delete(&path).await.status, StatusCode::NO_CONTENT);
    assert!(world.list("pending").await.is_empty());
}

/// Of two decisions at once one counts, and the invoker that comes of it is one.
#[tokio::test]
async fn a_decision_is_made_once() {
    let world = world().await;
    let applicant = Applicant::new(&world, &["weather"], NOWHERE).await;
    let id = applicant.waits(&world).await;
    let decisions = futures_util::future::join_all((0..8).map(|number| {
        let path = if number % 2 == 0 {
            "/approvals"
        } else {
            "/rejections"
        };
        decide(&world, path, json!({ "id": id }))
    }))
    .await;
    let done = decisions
        .iter()
        .filter(|(status, _)| *status == StatusCode::OK);
    assert_eq!(done.count(), 1, "{decisions:?}");
    let enrolled = world.list("invokers").await.len();
    let status = applicant.ask(&world).await.status;
    match enrolled {
        0 => assert_eq!(status, StatusCode::FORBIDDEN),
        _ => assert_eq!((enrolled, status), (1, StatusCode::CREATED)),
    }
}

/// Our own client keeps its key and its request, so that asking again is running the same again.
#[tokio::test]
async fn the_client_asks_again() {
    let world = world().await;
    world
        .domain("acme")
        .await
        .publish("weather", &["OAUTH"])
        .await;
    let enrolment = world.invite(&["weather"]).await;
    let onboard = || {
        let request = OnboardingRequest::default();
        Invoker::onboard(world.keystore("amy"), &enrolment, request, world.clock())
    };
    for _ in 0..2 {
        let error = onboard().await.unwrap_err();
        assert!(matches!(error, Error::ApprovalPending { .. }), "{error}");
    }
    let id = world.list("pending").await[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    approve(&world, &id).await;
    let invoker = onboard().await.unwrap();
    assert_eq!(invoker.id().as_str(), id);
    let query = capif_client::DiscoveryQuery::default();
    assert_eq!(invoker.discover(&query).await.unwrap().len(), 1);

    let enrolment = world.invite(&["weather"]).await;
    let onboard = || {
        let request = OnboardingRequest::default();
        Invoker::onboard(world.keystore("bob"), &enrolment, request, world.clock())
    };
    onboard().await.unwrap_err();
    let id = world.list("pending").await[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    reject(&world, &id, "not today").await;
    let text = onboard().await.unwrap_err().to_string();
    assert!(text.contains("not today"), "{text}");
}
