//! Certificates of a provider's functions are renewed by its AMF, without a break (S0), and a provider that goes leaves nothing.

use http::StatusCode;
use rcgen::KeyPair;
use serde_json::{Value, json};
use time::Duration;

use super::renewable::{ask, compromised, counts, status};
use crate::support::{
    World, eventually, keys,
    people::{Domain, Party, enrolment},
    raw::Raw,
};

/// The functions of a domain as the AMF names them, one of them with another key.
fn functions(domain: &Domain, renewed: &Party, request: &str) -> Value {
    let mut functions = domain.details["apiProvFuncs"].clone();
    for function in functions.as_array_mut().unwrap() {
        if function["apiProvFuncId"] == renewed.id.as_str() {
            function["regInfo"] = json!({ "apiProvPubKey": request });
        }
    }
    json!({ "apiProvFuncs": functions })
}

/// Renews a function: the answer's certificate with its key.
async fn renew(world: &World, domain: &Domain, who: &Party, function: &Party) -> (Party, KeyPair) {
    let key = keys::p256();
    let body = functions(domain, function, &keys::request(&key));
    let answer = who.patch(&domain.path(), &body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    let details = answer.json();
    let functions = details["apiProvFuncs"].as_array().unwrap();
    let place = functions
        .iter()
        .position(|held| held["apiProvFuncId"] == function.id.as_str());
    (world.function_of(&details, place.unwrap(), &key), key)
}

/// R-U-05 to R-U-07: the new certificate of an AEF counts beside the old one, until an overlap after its first use, exactly; then
/// the connections of the old one are closed. The other functions keep theirs.
#[tokio::test]
async fn a_function_is_renewed_without_a_break() {
    let world = World::with(|config| config.renewal.overlap_minutes = 10).await;
    let domain = world.domain("acme").await;
    let (next, _) = renew(&world, &domain, &domain.amf, &domain.aef).await;
    assert_eq!(next.id, domain.aef.id);
    world.clock.advance(Duration::hours(5));
    for party in [&domain.aef, &next, &domain.aef, &domain.amf, &domain.apf] {
        assert_eq!(counts(&world, party).await, StatusCode::OK);
    }
    let mut kept = Raw::connect(
        world.ccf().local_addr(),
        &world.root_pem(),
        Some(&domain.aef.pems),
    )
    .await;
    let path = format!("/capif-renewal/v1/{}", domain.aef.id);
    kept.send(format!("GET {path} HTTP/1.1\r\nhost: ccf\r\n\r\n"))
        .await;
    assert!(kept.answer().await.starts_with("HTTP/1.1 200 "));

    world
        .clock
        .advance(Duration::minutes(10) - Duration::nanoseconds(1));
    assert_eq!(counts(&world, &domain.aef).await, StatusCode::OK);
    world.clock.advance(Duration::nanoseconds(1));
    assert_eq!(counts(&world, &domain.aef).await, StatusCode::UNAUTHORIZED);
    assert!(kept.read_to_end().await.is_empty(), "closed");
    for party in [&next, &domain.amf, &domain.apf] {
        assert_eq!(counts(&world, party).await, StatusCode::OK);
    }
}

/// R-U-07: an answer that was lost is given again, to the old certificate and to the new one; the AMF renews itself as well.
#[tokio::test]
async fn a_lost_answer_is_given_again() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    let key = keys::p256();
    let body = functions(&domain, &domain.amf, &keys::request(&key));
    let first = domain.amf.patch(&domain.path(), &body).await;
    assert_eq!(first.status, StatusCode::OK);
    let again = domain.amf.patch(&domain.path(), &body).await;
    assert_eq!(again.json(), first.json());
    let next = world.function_of(&first.json(), 0, &key);
    assert_eq!(counts(&world, &next).await, StatusCode::OK);
    for party in [&domain.amf, &next] {
        let again = party.patch(&domain.path(), &body).await;
        assert_eq!(again.json(), first.json());
    }
    // A deployed client that repeats what it registered with has it still.
    let before = json!({ "apiProvFuncs": domain.details["apiProvFuncs"] });
    let answer = next.patch(&domain.path(), &before).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    assert_eq!(counts(&world, &domain.aef).await, StatusCode::OK);
}

/// R-U-02, R-U-05: in a compromise an AEF can do nothing but be renewed, by the AMF of its domain; its old certificate ends with the
/// first use of the new one.
#[tokio::test]
async fn a_compromise_of_a_function() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    let (code, _) = ask(
        &world,
        json!({ "ids": [domain.aef.id], "compromise": true }),
    )
    .await;
    assert_eq!(code, StatusCode::OK);
    let aef = Party {
        caller: world.with_certificate(&domain.aef.pems),
        ..domain.aef.clone()
    };
    let refused = aef.get("/capif-security/v1/trustedInvokers/INV0").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert_eq!(refused.cause(), "RENEWAL_REQUIRED");
    assert_eq!(status(&aef).await["demand"]["reason"], "COMPROMISE");

    let (next, _) = renew(&world, &domain, &domain.amf, &aef).await;
    assert_eq!(status(&next).await.get("demand"), None);
    assert_eq!(counts(&world, &aef).await, StatusCode::UNAUTHORIZED);
    assert_eq!(world.list("renewals").await, [] as [Value; 0]);
}

/// The AMF itself in a compromise: it may renew, and nothing else; not even remove its domain.
#[tokio::test]
async fn a_compromise_of_the_amf() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    let amf = compromised(&world, &domain.amf).await;
    let refused = amf.delete(&domain.path()).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert_eq!(refused.cause(), "RENEWAL_REQUIRED");
    let (next, _) = renew(&world, &domain, &amf, &amf).await;
    assert_eq!(counts(&world, &next).await, StatusCode::OK);
    assert_eq!(counts(&world, &amf).await, StatusCode::UNAUTHORIZED);
    assert_eq!(
        next.delete(&domain.path()).await.status,
        StatusCode::NO_CONTENT
    );
}

/// TS 33.122 clause 6.1 step 2: a credential that a provider handed over opens nothing once the provider is gone, nor does what it
/// had agreed on with invokers stay.
#[tokio::test]
async fn what_a_provider_handed_over_goes_with_it() {
    let world = World::start().await;
    let [domain, other] = [world.domain("acme").await, world.domain("brine").await];
    domain.publish("weather", &["PKI"]).await;
    other.publish("tides", &["PKI"]).await;
    let hand_over = async |domain: &Domain, token: &str| {
        let until = time::OffsetDateTime::from_unix_timestamp(world.now() + 3600).unwrap();
        let body = json!({ "token": token, "expires": capif_spec::common::DateTime(until) });
        let path = format!("/capif-onboarding-credentials/v1/{}/credentials", domain.id);
        let answer = domain.amf.post(&path, &body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    };
    hand_over(&domain, "a token of acme that nobody guesses").await;
    hand_over(&other, "a token of brine that nobody guesses").await;
    let amy = world.raw_invoker(&[]).await;
    let both =
        crate::support::people::wishes(&[(&domain.aef.id, &["PKI"]), (&other.aef.id, &["PKI"])]);
    assert_eq!(
        amy.put(&amy.context(), &both).await.status,
        StatusCode::CREATED
    );

    assert_eq!(
        domain.amf.delete(&domain.path()).await.status,
        StatusCode::NO_CONTENT
    );
    for (token, expected) in [
        (
            "a token of acme that nobody guesses",
            StatusCode::UNAUTHORIZED,
        ),
        ("a token of brine that nobody guesses", StatusCode::CREATED),
    ] {
        let body = enrolment(&keys::request(&keys::p256()));
        assert_eq!(
            world.onboard(token, &body).await.status,
            expected,
            "{token}"
        );
    }
    eventually("what was agreed on there is gone", || async {
        let contexts = world.list("contexts").await;
        contexts
            .iter()
            .all(|row| row["aefId"] == other.aef.id.as_str())
            && contexts.len() == 1
    })
    .await;
    for party in [&domain.amf, &domain.apf, &domain.aef] {
        assert_eq!(counts(&world, party).await, StatusCode::UNAUTHORIZED);
    }
}
