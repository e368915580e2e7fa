//! Credentials that are handed to the core function before their use (TS 33.122 clause 6.1 step 2 in its first form, D-25): by
//! the operator, or by the AMF of a provider for its own APIs.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{credentials::refused, requests::nothing_left};
use crate::support::{
    World, keys,
    people::{Domain, REGISTRATIONS, RawInvoker, enrolment, enrolment_for, function, registration},
};

const CREDENTIAL: &str = "any text that the provider likes";

/// SHA-256 of [`CREDENTIAL`], as a provider would compute it.
fn digest(text: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    digest
        .as_ref()
        .iter()
        .map(|octet| format!("{octet:02x}"))
        .collect()
}

fn in_an_hour(world: &World) -> String {
    capif_spec::common::DateTime(
        time::OffsetDateTime::from_unix_timestamp(world.now() + 3600).unwrap(),
    )
    .to_string()
}

fn path(domain: &Domain) -> String {
    format!("/capif-onboarding-credentials/v1/{}/credentials", domain.id)
}

async fn apis_of(invoker: &RawInvoker) -> Vec<String> {
    let path = format!(
        "/service-apis/v1/allServiceAPIs?api-invoker-id={}",
        invoker.id
    );
    let found = invoker.get(&path).await.json();
    let found = found["serviceAPIDescriptions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let mut names: Vec<String> = found
        .iter()
        .map(|api| api["apiName"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

/// S1 step 2: the operator hands over the token or its hash; whoever presents the same text is onboarded, once.
#[tokio::test]
async fn the_operator_hands_over_a_token_or_its_hash() {
    let world = World::start().await;
    for (number, by_hash) in [false, true].into_iter().enumerate() {
        let token = format!("{CREDENTIAL} {number}");
        refused(&world, "not yet handed over", &token).await;
        let mut body = json!({ "expires": in_an_hour(&world) });
        if by_hash {
            body["tokenSha256"] = json!(digest(&token));
        } else {
            body["token"] = json!(token);
        }
        let (status, taken) = world
            .operator(Method::POST, "/credentials", Some(body))
            .await;
        assert_eq!(status, StatusCode::CREATED, "{taken}");
        assert_eq!(taken["tokenSha256"], digest(&token).as_str());
        assert!(taken.get("token").is_none());
        assert!(
            !world.store_holds(token.as_bytes()),
            "kept as a digest only"
        );
        refused(&world, "a little more", &format!("{token}x")).await;
        refused(&world, "the digest itself", &digest(&token)).await;
        let invoker = world.raw_invoker_by(&token, &[]).await;
        let used = refused(&world, "again", &token).await;
        assert!(used["detail"].as_str().unwrap().contains("used before"));
        let row = world
            .list("invokers")
            .await
            .into_iter()
            .find(|row| row["apiInvokerId"] == invoker.id.as_str());
        assert_eq!(row.unwrap()["issuer"], "operator");
    }
}

/// D-25: what an AMF hands over opens the APIs of its own domain, and of these the ones it named.
#[tokio::test]
async fn what_an_amf_hands_over_reaches_its_own_domain_only() {
    let world = World::start().await;
    let acme = world.domain("acme").await;
    let umbrella = world.domain("umbrella").await;
    acme.publish("weather", &["PKI", "OAUTH"]).await;
    acme.publish("traffic", &["PKI", "OAUTH"]).await;
    umbrella.publish("power", &["PKI", "OAUTH"]).await;
    umbrella.publish("secret", &["PKI", "OAUTH"]).await;

    for (number, (apis, wanted, expected)) in [
        (Value::Null, &[][..], &["traffic", "weather"][..]),
        (json!(["weather", "secret", "power"]), &[], &["weather"]),
        (Value::Null, &["weather", "secret"], &["weather"]),
    ]
    .into_iter()
    .enumerate()
    {
        let token = format!("{CREDENTIAL} {number}");
        let mut body = json!({ "token": token, "expires": in_an_hour(&world) });
        if !apis.is_null() {
            body["apis"] = apis;
        }
        let answer = acme.amf.post(&path(&acme), &body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
        let invoker = world.raw_invoker_by(&token, wanted).await;
        assert_eq!(apis_of(&invoker).await, expected);
        // The other domain's AEF is out of reach, as if it were not there.
        let other = invoker.negotiate(&umbrella.aef.id, &["OAUTH"]).await;
        assert_eq!(other.status, StatusCode::BAD_REQUEST);
        let unknown = invoker
            .negotiate(&format!("AEF{}", "0".repeat(32)), &["OAUTH"])
            .await;
        assert_eq!(unknown.status, other.status);
        assert_eq!(unknown.json()["cause"], other.json()["cause"]);
        assert_eq!(
            invoker.negotiate(&acme.aef.id, &["OAUTH"]).await.status,
            StatusCode::CREATED
        );
    }
}

/// P-22: an AMF hands over for its own domain; others, and other functions, are refused before anything is looked up.
#[tokio::test]
async fn nobody_hands_over_for_another_domain() {
    let world = World::start().await;
    let acme = world.domain("acme").await;
    let umbrella = world.domain("umbrella").await;
    let body = json!({ "token": CREDENTIAL, "expires": in_an_hour(&world) });
    let other = umbrella.amf.post(&path(&acme), &body).await;
    let unknown = umbrella
        .amf
        .post("/capif-onboarding-credentials/v1/DOM0/credentials", &body)
        .await;
    for answer in [&other, &unknown] {
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
    }
    assert_eq!(other.json()["detail"], unknown.json()["detail"]);
    for party in [&acme.apf, &acme.aef] {
        assert_eq!(
            party.post(&path(&acme), &body).await.status,
            StatusCode::FORBIDDEN
        );
    }
    refused(&world, "handed over by nobody", CREDENTIAL).await;
}

/// A hand-over is refused when it names neither or both of token and hash, a hash that is none, or an end that lies in the
/// past or too far ahead.
#[tokio::test]
async fn a_malformed_hand_over_is_refused() {
    let world = World::start().await;
    let acme = world.domain("acme").await;
    let good = in_an_hour(&world);
    let hash = digest(CREDENTIAL);
    let at = |seconds: i64| {
        let moment = time::OffsetDateTime::from_unix_timestamp(world.now() + seconds).unwrap();
        capif_spec::common::DateTime(moment).to_string()
    };
    for body in [
        json!({}),
        json!([]),
        json!({ "token": CREDENTIAL }),
        json!({ "expires": good }),
        json!({ "token": "", "expires": good }),
        json!({ "token": CREDENTIAL, "tokenSha256": hash, "expires": good }),
        json!({ "tokenSha256": &hash[1..], "expires": good }),
        json!({ "tokenSha256": format!("{}g", &hash[1..]), "expires": good }),
        json!({ "tokenSha256": format!("+{}", &hash[1..]), "expires": good }),
        json!({ "tokenSha256": "é".repeat(32), "expires": good }),
        json!({ "token": 1, "expires": good }),
        json!({ "token": CREDENTIAL, "expires": "soon" }),
        json!({ "token": CREDENTIAL, "expires": at(-1) }),
        json!({ "token": CREDENTIAL, "expires": at(31 * 86_400) }),
        json!({ "token": CREDENTIAL, "expires": good, "apis": "weather" }),
        json!({ "token": CREDENTIAL, "expires": good, "unknown": 1 }),
    ] {
        let answer = acme.amf.post(&path(&acme), &body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
        answer.cause();
        let (status, _) = world
            .operator(Method::POST, "/credentials", Some(body.clone()))
            .await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
    }
    refused(&world, "nothing was handed over", CREDENTIAL).await;
    nothing_left(&world).await;
}

/// R-6.1-08, D-26: a handed-over credential ends when it was to end, serves for onboarding alone, and a refused request does not
/// use it up.
#[tokio::test]
async fn a_handed_over_credential_ends_and_serves_one_purpose() {
    let world = World::start().await;
    let body = json!({ "token": CREDENTIAL, "expires": in_an_hour(&world), "apis": ["weather"] });
    world
        .operator(Method::POST, "/credentials", Some(body.clone()))
        .await;
    // The same again is a conflict, not a second use.
    let (status, _) = world
        .operator(Method::POST, "/credentials", Some(body))
        .await;
    assert!(status.is_client_error(), "{status}");

    let functions = [function("AMF", &keys::request(&keys::p256()))];
    let wrong = registration(CREDENTIAL, &functions);
    let answer = world
        .anonymous()
        .bearer(Method::POST, REGISTRATIONS, CREDENTIAL, Some(&wrong))
        .await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    let request = keys::request(&keys::p256());
    let beyond = world
        .onboard(CREDENTIAL, &enrolment_for(&request, &["traffic"]))
        .await;
    assert_eq!(beyond.status, StatusCode::FORBIDDEN);
    nothing_left(&world).await;

    world.clock.advance(time::Duration::seconds(3600));
    refused(&world, "at its end", CREDENTIAL).await;
    nothing_left(&world).await;
    world.clock.advance(time::Duration::seconds(-1));
    let answer = world.onboard(CREDENTIAL, &enrolment(&request)).await;
    assert_eq!(
        answer.status,
        StatusCode::CREATED,
        "a moment before: {}",
        answer.json()
    );
}
