//! Bundles with which a provider domain registers again: it finds what it was, and nobody else comes by it.

mod gateways;

use capif_client::Bundle;
use http::{Method, StatusCode};
use rcgen::KeyPair;
use serde_json::{Value, json};

use crate::support::{
    World, keys,
    people::{Party, function},
    reveal,
    wire::Answer,
};

/// The functions of a request with new keys.
fn fresh() -> (Vec<KeyPair>, Vec<Value>) {
    let keys: Vec<KeyPair> = (0..3).map(|_| keys::p256()).collect();
    let roles = ["AMF", "APF", "AEF"];
    let functions = roles
        .iter()
        .zip(&keys)
        .map(|(role, key)| function(role, &keys::request(key)));
    let functions = functions.collect();
    (keys, functions)
}

fn ids(answer: &Answer) -> Vec<Value> {
    let details = answer.json();
    let functions = details["apiProvFuncs"].as_array().unwrap().iter();
    let ids = functions.map(|function| function["apiProvFuncId"].clone());
    std::iter::once(details["apiProvDomId"].clone())
        .chain(ids)
        .collect()
}

fn credential(bundle: &Bundle) -> String {
    reveal(&bundle.credential).to_owned()
}

async fn register(world: &World, credential: &str) -> (Answer, Vec<Party>) {
    let (keys, functions) = fresh();
    let answer = world.register(credential, &functions).await;
    let parties = match answer.status {
        StatusCode::CREATED => {
            let details = answer.json();
            let keys = keys.iter().enumerate();
            keys.map(|(index, key)| world.function_of(&details, index, key))
                .collect()
        }
        _ => Vec::new(),
    };
    (answer, parties)
}

fn registration(parties: &[Party]) -> String {
    format!("/capif-renewal/v1/{}", parties[0].id)
}

/// The same domain with the same functions comes of it, new keys count beside the old ones until they are used, and what was
/// published stays.
#[tokio::test]
async fn a_domain_registers_again() {
    let world = World::start().await;
    let credential = credential(&world.reusable_bundle("acme").await);
    let (first, old) = register(&world, &credential).await;
    assert_eq!(first.status, StatusCode::CREATED, "{first:?}");
    assert_eq!(
        first.json()["regSec"],
        "",
        "a standing secret is not repeated"
    );
    let apis = format!("/published-apis/v1/{}/service-apis", old[1].id);
    let api = json!({
        "apiName": "weather",
        "aefProfiles": [crate::support::people::profile(&old[2].id, &["OAUTH"])],
    });
    assert_eq!(old[1].post(&apis, &api).await.status, StatusCode::CREATED);
    let destination = "https://127.0.0.1:1/events";
    let events = format!("/capif-events/v1/{}/subscriptions", old[2].id);
    let subscription =
        json!({ "events": ["SERVICE_API_UPDATE"], "notificationDestination": destination });
    let subscribed = old[2].post(&events, &subscription).await;
    assert_eq!(subscribed.status, StatusCode::CREATED, "{subscribed:?}");

    let (again, new) = register(&world, &credential).await;
    assert_eq!(again.status, StatusCode::CREATED, "{again:?}");
    assert_eq!(again.headers["location"], first.headers["location"]);
    assert_eq!(ids(&again), ids(&first));
    assert_eq!(world.list("events").await.len(), 0, "nobody knows its id");
    assert_eq!(old[1].get(&apis).await.status, StatusCode::OK);
    for party in &new {
        let path = format!("/capif-renewal/v1/{}", party.id);
        assert_eq!(party.get(&path).await.status, StatusCode::OK);
    }
    let published = new[1].get(&apis).await;
    assert_eq!(published.json()[0]["apiName"], "weather");
    world.clock.advance(time::Duration::minutes(61));
    assert_eq!(old[1].get(&apis).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(new[1].get(&apis).await.status, StatusCode::OK);

    let [row] = &world.list("providers").await[..] else {
        panic!("two domains");
    };
    assert!(row["reusableUntil"].is_string(), "{row}");
    assert!(row["issuer"].as_str().unwrap().starts_with("urn:capif:"));
    let records = world.list("audit").await;
    let details: Vec<_> = records
        .iter()
        .map(|row| &row["record"])
        .filter(|record| record["subject"] == row["apiProvDomId"])
        .map(|record| record["detail"].as_str().unwrap_or_default().to_owned())
        .collect();
    let said = [
        "acme, with a reusable credential",
        "acme, again with its reusable credential",
    ];
    assert!(
        said.iter()
            .all(|said| details.iter().any(|detail| detail == said)),
        "{details:?}"
    );
}

/// The very same request is answered alike, also when two come at once with a credential that nobody used before.
#[tokio::test]
async fn repeated_requests_make_one_domain() {
    let world = World::start().await;
    let credential = credential(&world.reusable_bundle("acme").await);
    let (_, functions) = fresh();
    let ask = || world.register(&credential, &functions);
    let (one, two) = tokio::join!(ask(), ask());
    assert_eq!((one.status.as_u16(), two.status.as_u16()), (201, 201));
    assert_eq!(one.json(), two.json());
    assert_eq!(ask().await.json(), one.json());
    assert_eq!(world.list("providers").await.len(), 1);
}

/// It opens its own domain and no other, none that is gone, and nothing once its time has passed.
#[tokio::test]
async fn a_bundle_is_its_own_domains() {
    let world = World::start().await;
    let acme = credential(&world.reusable_bundle("acme").await);
    let other = credential(&world.reusable_bundle("other").await);
    let once = world.registration_credential("once").await;
    let (first, _) = register(&world, &acme).await;
    let (second, _) = register(&world, &other).await;
    assert_eq!(register(&world, &once).await.0.status, StatusCode::CREATED);
    let (refused, _) = register(&world, &once).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert_ne!(ids(&first)[0], ids(&second)[0]);
    assert_eq!(ids(&register(&world, &other).await.0), ids(&second));

    // What belongs to another domain is not taken.
    let (_, mut functions) = fresh();
    functions[2]["apiProvFuncId"] = ids(&second)[3].clone();
    let taken = world.register(&acme, &functions).await;
    assert_eq!(taken.status, StatusCode::NOT_FOUND, "{taken:?}");

    let gone = format!("/providers/{}", ids(&first)[0].as_str().unwrap());
    let removed = world.operator(Method::DELETE, &gone, None).await;
    assert_eq!(removed.0, StatusCode::NO_CONTENT);
    let (refused, _) = register(&world, &acme).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{refused:?}");

    world.clock.advance(time::Duration::days(91));
    let (refused, _) = register(&world, &other).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{refused:?}");
}

/// The operator replaces a bundle, gives one to a domain that came without, and takes it away; a compromise does that too.
#[tokio::test]
async fn a_bundle_is_replaced_and_taken_away() {
    let world = World::start().await;
    let once = world.registration_credential("acme").await;
    let (first, _) = register(&world, &once).await;
    let id = ids(&first)[0].as_str().unwrap().to_owned();
    let place = format!("/providers/{id}/bundle");
    let make = async || {
        let made = world
            .operator(Method::POST, &place, Some(json!({ "days": 10 })))
            .await;
        assert_eq!(made.0, StatusCode::CREATED, "{}", made.1);
        assert_eq!(made.1["name"], "acme");
        made.1["parts"]["credential"].as_str().unwrap().to_owned()
    };
    let status = async |credential: &str| register(&world, credential).await.0.status;
    let one = make().await;
    assert_eq!(ids(&register(&world, &one).await.0), ids(&first));
    let two = make().await;
    assert_eq!(status(&one).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(&two).await, StatusCode::CREATED);
    let removed = world.operator(Method::DELETE, &place, None).await;
    assert_eq!(removed.0, StatusCode::NO_CONTENT);
    assert_eq!(status(&two).await, StatusCode::UNAUTHORIZED);
    let removed = world.operator(Method::DELETE, &place, None).await;
    assert_eq!(removed.0, StatusCode::NOT_FOUND);

    let three = make().await;
    let (answer, parties) = register(&world, &three).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    assert_eq!(
        parties[0].get(&registration(&parties)).await.status,
        StatusCode::OK
    );
    let compromise = json!({ "ids": [id], "compromise": true });
    let asked = world
        .operator(Method::POST, "/renewals", Some(compromise))
        .await;
    assert_eq!(asked.0, StatusCode::OK, "{}", asked.1);
    assert_eq!(status(&three).await, StatusCode::UNAUTHORIZED);
    for (path, body) in [
        ("/providers", json!({ "name": "x", "days": 3 })),
        (
            "/providers",
            json!({ "name": "x", "reusable": true, "days": 0 }),
        ),
        (&place, json!({ "days": 367 })),
    ] {
        let refused = world.operator(Method::POST, path, Some(body)).await;
        assert_eq!(refused.0, StatusCode::BAD_REQUEST, "{path}");
    }
    let none = world
        .operator(Method::POST, "/providers/DOMx/bundle", Some(json!({})))
        .await;
    assert_eq!(none.0, StatusCode::NOT_FOUND);
}
