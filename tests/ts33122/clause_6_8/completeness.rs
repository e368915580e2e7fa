//! R-6.8-04 to R-6.8-06 and R-6.8-14: whoever began it, and whatever was under way, nothing stands under the id afterwards but what is
//! kept on purpose: that it was done, what counts no more, and where policy says so that somebody was here.

use std::collections::BTreeSet;

use capif_ccf::config::Overdue;
use capif_spec::common::DateTime;
use http::{Method, StatusCode};
use rcgen::KeyPair;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use super::kinds_that_name;
use crate::support::{
    World, eventually, keys,
    people::{Domain, INVOKERS, RawInvoker, enrolment},
    receiver::Receiver,
    wire::Answer,
};

const VENDOR: &str = "vendorSpecific-capif";

/// The ways to leave.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Invoker,
    Operator,
    Expired,
    Overdue,
}

const WAYS: [Way; 4] = [Way::Invoker, Way::Operator, Way::Expired, Way::Overdue];

/// An invoker that has something of everything: a context, a subscription with something that waits, a policy of its own and calls
/// counted under it, and material in use, handed over, and on its way out.
struct Busy {
    invoker: RawInvoker,
    /// What no record may hold afterwards.
    secrets: Vec<String>,
}

async fn renewal(invoker: &RawInvoker, id: &str) -> (Answer, KeyPair) {
    let key = keys::p256();
    let body = json!({ "onboardingInformation": {
        "apiInvokerPublicKey": keys::request(&key),
        VENDOR: { "renewal": id },
    } });
    let path = format!("{INVOKERS}/{}", invoker.id);
    (invoker.patch(&path, &body).await, key)
}

async fn busy(world: &World, domain: &Domain, api: &str) -> Busy {
    let key = keys::p256();
    let mut body = enrolment(&keys::request(&key));
    body[VENDOR] = json!({ "features": ["renewal"] });
    body["supportedFeatures"] = json!("C");
    let ends = OffsetDateTime::from_unix_timestamp(world.now()).unwrap() + Duration::days(2);
    body["expTime"] = json!(DateTime(ends));
    let answer = world.onboard(&world.credential(&[]).await, &body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    let first = world.invoker_of(&answer, &key);
    let mut secrets = vec![first.secret.clone().unwrap()];

    // One renewal that took effect, and one that nobody used yet.
    let (answer, key) = renewal(&first, "r1").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    let invoker = world.invoker_of(&answer, &key);
    secrets.extend(invoker.secret.clone());
    let answer = invoker.negotiate(&domain.aef.id, &["OAUTH"]).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    let (answer, key) = renewal(&invoker, "r2").await;
    secrets.extend(world.invoker_of(&answer, &key).secret);

    let subscription = json!({
        "events": ["SERVICE_API_AVAILABLE"],
        "notificationDestination": "https://127.0.0.1:1/notifications",
    });
    let path = format!("/capif-events/v1/{}/subscriptions", invoker.id);
    let answer = invoker.post(&path, &subscription).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    let policy = json!({ "api": { "id": api }, "invoker": invoker.id, "total": 5 });
    let (code, said) = world
        .operator(Method::POST, "/policies", Some(policy))
        .await;
    assert_eq!(code, StatusCode::OK, "{said}");
    Busy { invoker, secrets }
}

async fn leave(world: &World, invoker: &RawInvoker, way: Way) {
    match way {
        Way::Invoker => {
            let path = format!("{INVOKERS}/{}", invoker.id);
            assert_eq!(invoker.delete(&path).await.status, StatusCode::NO_CONTENT);
        }
        Way::Operator => {
            let path = format!("/invokers/{}", invoker.id);
            let (code, _) = world.operator(Method::DELETE, &path, None).await;
            assert_eq!(code, StatusCode::NO_CONTENT);
        }
        Way::Expired => world.clock.advance(Duration::days(2)),
        Way::Overdue => {
            let body = json!({ "ids": [invoker.id], "withinSeconds": 60 });
            let (code, _) = world.operator(Method::POST, "/renewals", Some(body)).await;
            assert_eq!(code, StatusCode::OK);
            world.clock.advance(Duration::seconds(60));
        }
    }
    eventually("it is gone", || async {
        let rows = world.list("invokers").await;
        rows.iter()
            .all(|row| row["apiInvokerId"] != invoker.id.as_str())
    })
    .await;
}

/// R-6.8-04, R-6.8-05, R-6.8-14: the whole store, by id, after each way of leaving.
#[tokio::test]
async fn nothing_is_left_whichever_way_it_leaves() {
    for (way, days) in WAYS.into_iter().flat_map(|way| [(way, 0), (way, 30)]) {
        let mut world = World::with(|config| {
            config.renewal.overdue = Overdue::Offboard;
            config.retention.offboarded_days = days;
        })
        .await;
        let domain = world.domain("acme").await;
        let api = domain.publish("weather", &["PKI", "OAUTH"]).await;
        let aef = Receiver::start(&world);
        let subscription = json!({
            "events": ["API_INVOKER_OFFBOARDED"],
            "notificationDestination": aef.url("/events"),
        });
        let path = format!("/capif-events/v1/{}/subscriptions", domain.aef.id);
        let answer = domain.aef.post(&path, &subscription).await;
        assert_eq!(answer.status, StatusCode::CREATED);
        let busy = busy(&world, &domain, &api).await;
        domain.publish("tides", &["PKI"]).await;
        leave(&world, &busy.invoker, way).await;
        eventually("the AEF acknowledges", || async {
            let rows = world.list("events").await;
            rows.iter().all(|row| row["waiting"] == 0)
        })
        .await;

        let account: Vec<Value> = world.list("offboarded").await;
        assert_eq!(account.len(), usize::from(days > 0), "{way:?}");
        world.stop().await;
        let mut expected = BTreeSet::from(["Audit".to_owned()]);
        if days > 0 {
            expected.insert("Departure".to_owned());
            assert_eq!(account[0]["reason"], format!("{way:?}").to_lowercase());
            assert_eq!(account[0]["contexts"], 1);
        }
        let left = kinds_that_name(&world, &busy.invoker.id).await;
        assert_eq!(left, expected, "{way:?}");
        for secret in &busy.secrets {
            let left = kinds_that_name(&world, secret).await;
            assert_eq!(left, BTreeSet::new(), "{way:?}");
            assert!(!world.store_holds(secret.as_bytes()), "{way:?}");
        }
        // In use, handed over, on its way out; none of which outlives the enrolment.
        let revoked = count(&world, "RevokedCertificate").await;
        let ended_before = if way == Way::Expired { 0 } else { 3 };
        assert_eq!(revoked, ended_before, "{way:?}");
    }
}

/// How many records of a kind there are. The core function must be stopped.
async fn count(world: &World, kind: &str) -> usize {
    use capif_ccf::store::{EmbeddedStore, Page, Store};
    let store = EmbeddedStore::open(&world.dir.path().join("store")).unwrap();
    let kind = capif_procedures::changes::Kind::ALL
        .into_iter()
        .find(|known| format!("{known:?}") == kind)
        .unwrap();
    let page = Page {
        kind,
        prefix: String::new(),
        after: None,
        limit: 1000,
    };
    store.scan(page).await.unwrap().len()
}

/// A provider that goes, by itself or by the operator, leaves nothing under its ids and those of its functions and APIs, but what was
/// done and what counts no more.
#[tokio::test]
async fn nothing_is_left_of_a_provider() {
    for by_operator in [false, true] {
        let mut world = World::start().await;
        let domain = world.domain("acme").await;
        let api = domain.publish("weather", &["PKI", "OAUTH"]).await;
        let busy = busy(&world, &domain, &api).await;
        let subscription = json!({
            "events": ["API_INVOKER_ONBOARDED"],
            "notificationDestination": "https://127.0.0.1:1/notifications",
        });
        let path = format!("/capif-events/v1/{}/subscriptions", domain.aef.id);
        let answer = domain.aef.post(&path, &subscription).await;
        assert_eq!(answer.status, StatusCode::CREATED);
        world.raw_invoker(&[]).await;
        let until = OffsetDateTime::from_unix_timestamp(world.now() + 3600).unwrap();
        let credential = json!({
            "token": "a token that nobody guesses",
            "expires": DateTime(until),
        });
        let path = format!("/capif-onboarding-credentials/v1/{}/credentials", domain.id);
        let answer = domain.amf.post(&path, &credential).await;
        assert_eq!(answer.status, StatusCode::CREATED);

        if by_operator {
            let path = format!("/providers/{}", domain.id);
            let (code, _) = world.operator(Method::DELETE, &path, None).await;
            assert_eq!(code, StatusCode::NO_CONTENT);
        } else {
            let answer = domain.amf.delete(&domain.path()).await;
            assert_eq!(answer.status, StatusCode::NO_CONTENT);
        }
        eventually("what was counted is swept", || async {
            world.list("usage").await.is_empty()
        })
        .await;
        world.stop().await;
        let parties = [&domain.amf, &domain.apf, &domain.aef];
        let functions = parties.map(|party| party.id.clone());
        for id in functions.iter().chain([&domain.id, &api]) {
            let left = kinds_that_name(&world, id).await;
            let audit = BTreeSet::from(["Audit".to_owned()]);
            assert!(left.is_subset(&audit), "{id}: {left:?}");
        }
        assert_eq!(count(&world, "RegisteredCredential").await, 0);
        assert_eq!(count(&world, "RevokedCertificate").await, 3);
        let kinds = kinds_that_name(&world, &busy.invoker.id).await;
        assert!(kinds.contains("Invoker"), "invokers stay");
    }
}
