//! Renewal without offboarding (R-U-01 to R-U-07).

mod cuts;
mod demand;
mod elsewhere;
mod trust;

use std::time::Duration as Patience;

use capif_client::{Error, Invoker, RenewalOptions};
use capif_spec::{common::Redacted, security::Scope};
use capif_transport::{Body, Fingerprint, empty};
use http::{Request, Response, StatusCode};
use serde_json::Value;
use time::Duration;

use crate::{
    renewing::{RESOURCE, STATUS},
    world::{AEF, Renewing, Reply, World, problem},
};

const PATH: &str = "/weather/v1/today";
const TOKEN: &str = "/capif-security/v1/securities/invoker-1/token";

/// A core function that renews.
async fn world() -> World {
    let world = World::new().await;
    let anchors = vec![world.authority.pem().to_owned()];
    world.facts.lock().unwrap().renewing = Some(Renewing::believing(anchors));
    world
}

impl World {
    fn renewing<T>(&self, look: impl FnOnce(&mut Renewing) -> T) -> T {
        look(self.facts.lock().unwrap().renewing.as_mut().unwrap())
    }

    fn issued(&self) -> Vec<Fingerprint> {
        self.renewing(|renewing| renewing.issued.clone())
    }

    /// The names of the private keys in the folder.
    fn key_files(&self) -> Vec<String> {
        let names = self.files().into_iter().map(|(name, _)| name);
        names.filter(|name| name.ends_with(".key")).collect()
    }

    /// The certificates by which the API was called.
    fn shown_to_aef(&self) -> Vec<Fingerprint> {
        let calls = self.aef.seen().into_iter().filter(|seen| seen.path == PATH);
        calls.filter_map(|seen| seen.shown).collect()
    }

    async fn reopened(&self) -> Invoker {
        Invoker::open(self.keystore(), self.clock()).await.unwrap()
    }
}

async fn try_call(invoker: &Invoker) -> Result<Response<Body>, Error> {
    let request = Request::get(PATH).body(empty()).unwrap();
    invoker.call("weather", request).await
}

async fn call(invoker: &Invoker) {
    let response = tokio::time::timeout(Patience::from_secs(10), try_call(invoker)).await;
    assert_eq!(response.unwrap().unwrap().status(), StatusCode::OK);
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Patience::from_millis(5)).await;
    }
    panic!("did not happen in time: {what}");
}

fn scope() -> Scope {
    Scope {
        grants: vec![(AEF.into(), vec!["weather".to_owned()])],
    }
}

#[tokio::test]
async fn the_enrolment_offers_to_renew_and_learns_the_ends() {
    let world = world().await;
    let invoker = world.onboarded().await;
    let sent = world.ccf.seen()[0].json();
    let terms = &sent["vendorSpecific-capif"];
    assert_eq!(terms["features"], serde_json::json!(["renewal"]));
    assert!(terms["attempt"].as_str().is_some_and(|id| id.len() >= 32));
    let status = invoker.renewal_status();
    assert!(status.agreed && !status.pending && !status.unconfirmed);
    let now = capif_transport::Clock::now(world.clock.as_ref());
    assert_eq!(status.certificate_expires.0, now + Duration::days(30));
    assert_eq!(status.secret_expires.unwrap().0, now + Duration::days(90));
    assert_eq!(status.renew_after.0, now + Duration::days(20));
    assert_eq!(world.ccf.seen().len(), 1);
}

#[tokio::test]
async fn after_two_thirds_of_life_it_renews_beside_the_calls() {
    let world = world().await;
    world.facts.lock().unwrap().method = Some("PKI");
    let invoker = world.onboarded().await;
    call(&invoker).await;
    let old_key = std::fs::read_to_string(world.folder().join("capif-invoker.key")).unwrap();
    world.clock.advance(Duration::days(19));
    call(&invoker).await;
    assert_eq!(world.ccf.count("PATCH", RESOURCE), 0);
    world.clock.advance(Duration::days(1));
    call(&invoker).await;
    eventually("the renewal", || {
        !invoker.renewal_status().unconfirmed && world.key_files() == ["capif-invoker-1.key"]
    })
    .await;
    assert_eq!(world.ccf.count("PATCH", RESOURCE), 1);
    let issued = world.issued();
    // The request went over the certificate in use; the first that was sent with the new one is a question to the core
    // function.
    let seen = world.ccf.seen();
    let patch = seen.iter().find(|seen| seen.method == "PATCH").unwrap();
    assert_eq!(patch.shown, Some(issued[0]));
    assert_eq!(
        patch.header("content-type"),
        Some("application/merge-patch+json")
    );
    let first = seen
        .iter()
        .find(|seen| seen.shown == Some(issued[1]))
        .unwrap();
    assert!(first.is("GET", STATUS));
    call(&invoker).await;
    assert_eq!(world.shown_to_aef().last(), Some(&issued[1]));
    // Of the old key nothing is left.
    let line = old_key.lines().nth(1).unwrap();
    assert!(world.files().iter().all(|(_, text)| !text.contains(line)));
    // A later process goes on with the new one, and nothing is due.
    let later = world.reopened().await;
    world.ccf.forget();
    assert_eq!(later.upkeep().await.unwrap(), None);
    call(&later).await;
    assert_eq!(world.ccf.count("PATCH", RESOURCE), 0);
    assert_eq!(world.shown_to_aef().last(), Some(&issued[1]));
}

#[tokio::test]
async fn a_renewal_that_does_not_come_about_delays_and_fails_no_call() {
    let world = world().await;
    let invoker = world.onboarded().await;
    call(&invoker).await;
    world.clock.advance(Duration::days(25));
    for index in 0..4 {
        world.unusual(move |seen| {
            let reply = match index {
                0 => Reply::Silence,
                1 => Reply::Hang,
                2 => problem(500, "no"),
                _ => problem(503, "no"),
            };
            (seen.path == RESOURCE || seen.path == STATUS).then_some(reply)
        });
        let again = world.reopened().await;
        for _ in 0..5 {
            let made = tokio::time::timeout(Patience::from_secs(5), try_call(&again));
            assert_eq!(made.await.unwrap().unwrap().status(), StatusCode::OK);
        }
        if index > 0 {
            let error = again.upkeep().await.unwrap_err();
            assert!(error.to_string().contains("127.0.0.1"), "{error}");
        }
        drop(again);
    }
    world.as_usual();
    let renewed = invoker.upkeep().await.unwrap().unwrap();
    assert!(renewed.confirmed);
    // All tries were one request.
    let seen = world.ccf.seen();
    let patches: Vec<Value> = seen
        .iter()
        .filter(|seen| seen.method == "PATCH")
        .map(|seen| seen.json())
        .collect();
    assert!(patches.len() >= 3);
    assert!(patches.iter().all(|patch| *patch == patches[0]));
    assert_eq!(world.issued().len(), 2);
}

#[tokio::test]
async fn at_its_end_a_call_waits_for_the_renewal() {
    let world = world().await;
    world.facts.lock().unwrap().method = Some("PKI");
    let invoker = world.onboarded().await;
    call(&invoker).await;
    world
        .clock
        .advance(Duration::days(30) - Duration::minutes(1));
    call(&invoker).await;
    assert_eq!(world.shown_to_aef().last(), Some(&world.issued()[1]));
}

#[tokio::test]
async fn what_has_ended_is_said_so() {
    let world = world().await;
    let invoker = world.onboarded().await;
    world.clock.advance(Duration::days(31));
    for _ in 0..2 {
        let error = invoker.discover(&Default::default()).await.unwrap_err();
        assert!(matches!(error, Error::Expired { .. }), "{error:?}");
        assert!(error.to_string().contains("new enrolment code"), "{error}");
    }
}

#[tokio::test]
async fn by_hand_with_the_same_key_and_another_end() {
    let world = world().await;
    let invoker = world.onboarded().await;
    let expires: capif_spec::common::DateTime = "2027-01-01T00:00:00Z".parse().unwrap();
    let options = RenewalOptions {
        same_key: true,
        expires: Some(expires.clone()),
    };
    let key = std::fs::read_to_string(world.folder().join("capif-invoker.key")).unwrap();
    let renewed = invoker.renew(options).await.unwrap();
    assert!(renewed.confirmed);
    assert_eq!(world.key_files(), ["capif-invoker.key"]);
    let after = std::fs::read_to_string(world.folder().join("capif-invoker.key")).unwrap();
    assert_eq!(key, after);
    let seen = world.ccf.seen();
    let patch = seen
        .iter()
        .find(|seen| seen.method == "PATCH")
        .unwrap()
        .json();
    assert_eq!(patch["expTime"], "2027-01-01T00:00:00Z");
    assert_eq!(
        renewed.certificate_expires,
        invoker.renewal_status().certificate_expires
    );

    // And one with a new key, twice.
    for number in 1..=2 {
        invoker.renew(RenewalOptions::default()).await.unwrap();
        assert_eq!(
            world.key_files(),
            [format!("capif-invoker-{}.key", number + 1)]
        );
    }
    assert_eq!(world.issued().len(), 4);
}

#[tokio::test]
async fn tokens_are_fetched_with_the_new_secret_under_the_new_certificate() {
    let world = world().await;
    let invoker = world.onboarded().await;
    let before = invoker.token(&scope()).await.unwrap();
    invoker.renew(RenewalOptions::default()).await.unwrap();
    let after = invoker.token(&scope()).await.unwrap();
    assert_ne!(before.access_token, after.access_token);
    let asked: Vec<_> = world
        .ccf
        .seen()
        .into_iter()
        .filter(|seen| seen.path == TOKEN)
        .map(|seen| (seen.shown, seen.form()["client_secret"].clone()))
        .collect();
    let issued = world.issued();
    assert_eq!(
        asked,
        [
            (Some(issued[0]), Renewing::secret(0)),
            (Some(issued[1]), Renewing::secret(1)),
        ]
    );
    // Nowhere else, and in no debug form.
    let secret = Renewing::secret(1);
    assert!(!format!("{invoker:?} {:?}", invoker.details()).contains(&secret));
    let _: &Redacted = &after.access_token;
}

#[tokio::test]
async fn keys_of_method_1_are_negotiated_anew() {
    let world = world().await;
    world.facts.lock().unwrap().method = Some("PSK");
    let invoker = world.onboarded().await;
    call(&invoker).await;
    invoker.renew(RenewalOptions::default()).await.unwrap();
    call(&invoker).await;
    let used: Vec<_> = world
        .aef
        .seen()
        .into_iter()
        .filter(|seen| seen.path == PATH)
        .filter_map(|seen| seen.key)
        .collect();
    assert_eq!(used, ["3GPP-CAPIF.invoker-1.1", "3GPP-CAPIF.invoker-1.2"]);
    let seen = world.ccf.seen();
    let last = seen
        .iter()
        .rfind(|seen| seen.path.ends_with("/update"))
        .unwrap();
    assert_eq!(last.shown, Some(world.issued()[1]));
    // Once is enough.
    world.ccf.forget();
    invoker.upkeep().await.unwrap();
    call(&invoker).await;
    assert!(
        world
            .ccf
            .seen()
            .iter()
            .all(|seen| !seen.path.contains("trustedInvokers"))
    );
}

#[tokio::test]
async fn connections_of_before_finish() {
    let world = world().await;
    world.facts.lock().unwrap().method = Some("PKI");
    let invoker = world.onboarded().await;
    let running = try_call(&invoker).await.unwrap();
    invoker.renew(RenewalOptions::default()).await.unwrap();
    let body = capif_transport::collect(running.into_body(), 1 << 10, Patience::from_secs(5))
        .await
        .unwrap();
    assert!(!body.is_empty());
}
