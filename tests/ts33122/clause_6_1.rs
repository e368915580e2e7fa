//! Onboarding (TS 33.122 clause 6.1 and annex B.1): what a good request brings. What is refused, and how, is in the modules
//! below.

mod credentials;
mod handed_over;
mod issuers;
mod public_keys;
mod requests;
mod session;
mod verifiers;

use capif_client::{Enrolment, ErrorKind, Invoker, OnboardingRequest};
use http::StatusCode;
use rcgen::KeyPair;
use serde_json::json;

use crate::support::{
    World,
    certificates::{self, Expected},
    keys,
    people::{INVOKERS, enrolment, enrolment_for},
};
use rcgen::PublicKeyData;

/// R-6.1-11, R-6.1-15 and R-6.1-18: the answer is 201 with the address of the new profile and the complete enrolment details:
/// id, certificate, Onboard_Secret and the allowed APIs with their security methods.
#[tokio::test]
async fn the_answer_carries_everything() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    let weather = domain.publish("weather", &["PKI", "OAUTH"]).await;
    domain.publish("traffic", &["PKI"]).await;
    let key = keys::p256();
    let mut body = enrolment_for(&keys::request(&key), &["weather"]);
    body["apiInvokerInformation"] = json!("a test");
    body["supportedFeatures"] = json!("f");
    body["vendorSpecific-000001"] = json!({ "kept": [1, 2] });
    let credential = world.credential(&["weather"]).await;
    let answer = world.onboard(&credential, &body).await;

    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.headers["cache-control"], "no-store");
    let details = answer.json();
    let id = details["apiInvokerId"].as_str().unwrap();
    assert_eq!(
        answer.headers["location"],
        format!("https://{}{INVOKERS}/{id}", world.address())
    );
    // 128 random bits: nobody guesses an id.
    assert_eq!(id.len(), "INV".len() + 32);
    assert_eq!(
        details["notificationDestination"],
        body["notificationDestination"]
    );
    assert_eq!(details["apiInvokerInformation"], "a test");
    assert_eq!(details["supportedFeatures"], "f");
    assert_eq!(
        details["vendorSpecific-000001"],
        body["vendorSpecific-000001"]
    );
    let information = &details["onboardingInformation"];
    assert_eq!(
        information["apiInvokerPublicKey"],
        body["onboardingInformation"]["apiInvokerPublicKey"]
    );
    let apis = details["apiList"]["serviceAPIDescriptions"]
        .as_array()
        .unwrap();
    assert_eq!(apis.len(), 1, "not the API that was not asked for");
    assert_eq!(apis[0]["apiId"], weather.as_str());
    assert_eq!(apis[0]["aefProfiles"][0]["aefId"], domain.aef.id.as_str());
    assert_eq!(
        apis[0]["aefProfiles"][0]["securityMethods"],
        json!(["PKI", "OAUTH"])
    );

    let rows = world.list("invokers").await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["apiInvokerId"], id);
    let invoker = world.invoker_of(&answer, &key);
    assert_eq!(
        invoker
            .get(&format!(
                "/service-apis/v1/allServiceAPIs?api-invoker-id={id}"
            ))
            .await
            .status,
        200
    );
}

/// R-6.1-13: the Onboard_Secret has 256 random bits and is kept as a digest only.
#[tokio::test]
async fn the_secret_is_random_and_not_kept() {
    let world = World::start().await;
    let one = world.raw_invoker(&[]).await;
    let other = world.raw_invoker(&[]).await;
    let (one_secret, other_secret) = (
        one.secret.as_deref().unwrap(),
        other.secret.as_deref().unwrap(),
    );
    assert_ne!(one_secret, other_secret);
    for (invoker, secret) in [(&one, one_secret), (&other, other_secret)] {
        assert_eq!(secret.len(), 43, "256 bits in base64url");
        assert!(world.store_holds(invoker.id.as_bytes()));
        assert!(!world.store_holds(secret.as_bytes()));
    }
}

/// R-6.1-13: an Onboard_Secret is given if and only if an enrolled API can go by Method 3.
#[tokio::test]
async fn a_secret_is_given_where_method_3_can_be_used() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    domain.publish("by-certificate", &["PKI"]).await;
    domain.publish("by-token", &["OAUTH"]).await;
    for (apis, expected) in [
        (&["by-certificate"][..], false),
        (&["by-token"], true),
        (&["by-certificate", "by-token"], true),
        // Nobody knows yet how these will go.
        (&["by-certificate", "not-yet-published"], true),
        (&[], true),
    ] {
        let invoker = world.raw_invoker(apis).await;
        assert_eq!(invoker.secret.is_some(), expected, "{apis:?}");
    }
}

/// R-6.1-12, D-22, D-23, R-T-04: RSA of 2048 bits, P-256 and P-384 keys are taken as PKCS#10 request and as
/// SubjectPublicKeyInfo, and each gets a certificate of the one profile, for that key, which opens mutual TLS.
#[tokio::test]
async fn every_allowed_key_gets_a_certificate_of_the_profile() {
    let world = World::start().await;
    type Maker = fn() -> KeyPair;
    let kinds: [(&str, Maker); 3] = [
        ("RSA", keys::rsa_2048),
        ("P-256", keys::p256),
        ("P-384", keys::p384),
    ];
    let mut serials = std::collections::BTreeSet::new();
    for (kind, make) in kinds {
        for form in [keys::request, keys::public_pem] {
            let key = make();
            let credential = world.credential(&[]).await;
            let answer = world.onboard(&credential, &enrolment(&form(&key))).await;
            assert_eq!(
                answer.status,
                StatusCode::CREATED,
                "{kind}: {}",
                answer.json()
            );
            let invoker = world.invoker_of(&answer, &key);
            let expected = Expected {
                id: &invoker.id,
                role: "API_INVOKER",
                hosts: &[],
                public_key: key.subject_public_key_info(),
                days: 90,
            };
            serials.insert(certificates::check(&world, &invoker.pems.chain, &expected));
            let path = format!(
                "/service-apis/v1/allServiceAPIs?api-invoker-id={}",
                invoker.id
            );
            assert_eq!(invoker.get(&path).await.status, StatusCode::OK, "{kind}");
        }
    }
    assert_eq!(serials.len(), 6, "serial numbers are unique");
}

/// R-6.1-03: the invoker believes the CA of the enrolment information and no other; it sends nothing to a server that another
/// one vouches for, and its credential stays good.
#[tokio::test]
async fn an_invoker_sends_nothing_to_a_server_of_another_authority() {
    let world = World::start().await;
    let other = World::start().await;
    let good = world.invite(&[]).await;
    let wrong = Enrolment {
        anchors_pem: other.root_pem(),
        ..good.clone()
    };
    let request = OnboardingRequest::default();
    let refused = Invoker::onboard(
        world.keystore("amy"),
        &wrong,
        request.clone(),
        world.clock(),
    )
    .await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Authentication);
    assert!(world.list("invokers").await.is_empty());
    Invoker::onboard(world.keystore("amy"), &good, request, world.clock())
        .await
        .unwrap();
}

/// R-6.1-09: the private key never leaves the invoker: neither request nor store nor answer holds it.
#[tokio::test]
async fn the_private_key_stays_with_the_invoker() {
    let world = World::start().await;
    let invoker = world.invoker("amy", &[]).await;
    let files = std::fs::read_dir(world.folder("amy")).unwrap();
    let mut paths = files.map(|entry| entry.unwrap().path());
    let path = paths
        .find(|path| path.extension().is_some_and(|kind| kind == "key"))
        .unwrap();
    let key_pem = std::fs::read_to_string(path).unwrap();
    let der = keys::der(&key_pem);
    let details = invoker.details();
    let sent = &details.onboarding_information.api_invoker_public_key;
    assert!(sent.contains("CERTIFICATE REQUEST"));
    for secret in [&der[..], key_pem.as_bytes(), pem_body(&key_pem).as_bytes()] {
        assert!(!world.store_holds(secret));
        assert!(
            !sent
                .as_bytes()
                .windows(secret.len())
                .any(|window| window == secret)
        );
    }
}

/// The first line of what stands between the marks.
fn pem_body(text: &str) -> &str {
    text.lines().nth(1).unwrap()
}
