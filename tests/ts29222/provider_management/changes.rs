//! What a provider changes of its domain.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::OVERLAP;
use crate::support::{World, keys, people};

/// R-U-01 for functions: an AMF may replace its own key; the old certificate counts for an overlap after the first use of the new one.
#[tokio::test]
async fn an_amf_replaces_its_own_key() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    let key = keys::p384();
    let mut body = domain.details.clone();
    body["apiProvFuncs"][0]["regInfo"] = json!({ "apiProvPubKey": keys::public_pem(&key) });
    let answer = domain.amf.put(&domain.path(), &body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    let amf = world.function_of(&answer.json(), 0, &key);
    assert_eq!(amf.id, domain.amf.id);
    let old = world.with_certificate(&domain.amf.pems);
    let answer = amf
        .patch(&domain.path(), &json!({ "apiProvDomInfo": "renewed" }))
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    assert_eq!(answer.json()["apiProvDomInfo"], "renewed");
    assert_eq!(answer.json()["apiProvFuncs"].as_array().unwrap().len(), 3);
    world.clock.advance(OVERLAP);
    let answer = old
        .json(Method::PUT, &domain.path(), Some(&domain.details))
        .await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}

/// P-08: a PATCH of one member at the same moment as one of another loses neither.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn patches_at_the_same_moment_both_count() {
    let world = World::start().await;
    for round in 0..10 {
        let domain = world.domain(&format!("acme-{round}")).await;
        let mut functions = domain.details["apiProvFuncs"].as_array().unwrap().clone();
        functions.push(people::function("AEF", &keys::request(&keys::p256())));
        let more = json!({ "apiProvFuncs": functions });
        let note = json!({ "apiProvDomInfo": "a note" });
        let path = domain.path();
        // Each on a connection of its own, and the quicker one several times.
        let callers: Vec<_> = (0..4)
            .map(|_| world.with_certificate(&domain.amf.pems))
            .collect();
        for caller in &callers {
            caller
                .json(Method::GET, "/.well-known/jwks.json", None)
                .await;
        }
        let answers = tokio::join!(
            callers[0].json(Method::PATCH, &path, Some(&more)),
            callers[1].json(Method::PATCH, &path, Some(&note)),
            callers[2].json(Method::PATCH, &path, Some(&note)),
            callers[3].json(Method::PATCH, &path, Some(&note)),
        );
        for answer in [&answers.0, &answers.1, &answers.2, &answers.3] {
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
        }
        let rows = world.list("providers").await;
        let row = rows
            .iter()
            .find(|row| row["apiProvDomId"] == domain.id.as_str());
        let held = row.unwrap()["functions"].as_array().unwrap().len();
        assert_eq!(held, 4, "round {round}: the new function was lost");
    }
}

/// TS 29.222 table 8.9.4.2.2-1: a known function for which something is asked that cannot be done stays as it is, in its place, and is
/// named; the others are done. If nothing can be done, the request is refused.
#[tokio::test]
async fn a_known_function_that_fails_stays_as_it_is() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    let before = domain.details["apiProvFuncs"].as_array().unwrap();
    let mut functions = before.clone();
    functions[2]["regInfo"] = json!({ "apiProvPubKey": "no key at all" });
    functions.insert(0, people::function("AEF", &keys::request(&keys::p256())));
    let answer = domain
        .amf
        .patch(&domain.path(), &json!({ "apiProvFuncs": functions }))
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    let details = answer.json();
    let reason = details["failReason"].as_str().unwrap();
    assert!(reason.contains("function 3 (AEF)"), "{reason}");
    let now = details["apiProvFuncs"].as_array().unwrap();
    assert_eq!(now.len(), 4);
    for (before, now) in before.iter().zip(&now[1..]) {
        assert_eq!(before["apiProvFuncId"], now["apiProvFuncId"]);
        assert_eq!(before["regInfo"], now["regInfo"]);
    }
    domain.publish("weather", &["PKI"]).await;

    let hopeless: Vec<Value> = now
        .iter()
        .map(|function| {
            let mut function = function.clone();
            function["regInfo"] = json!({ "apiProvPubKey": "no key at all" });
            function
        })
        .collect();
    let answer = domain
        .amf
        .patch(&domain.path(), &json!({ "apiProvFuncs": hopeless }))
        .await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let listed = domain.amf.patch(&domain.path(), &json!({})).await.json();
    assert_eq!(listed["apiProvFuncs"].as_array().unwrap().len(), 4);
}

/// RFC 7396, TS 29.222 clauses 7.11 and 8.9.4.2.7: null takes away, what is not named stays, and so does what vendors say; the
/// provider's name belongs to PUT alone.
#[tokio::test]
async fn what_a_domain_says_of_itself_is_kept_and_patched() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    let mut body = json!({
        "regSec": "-",
        "apiProvFuncs": domain.details["apiProvFuncs"],
        "apiProvDomInfo": "a provider",
        "apiProvName": "Acme",
        "vendorSpecific-000001": { "of": "the domain" },
    });
    body["apiProvFuncs"][0]["vendorSpecific-000001"] = json!("of a function");
    body["apiProvFuncs"][0]["apiProvFuncInfo"] = json!("the manager");
    body["apiProvFuncs"][0]["regInfo"]["vendorSpecific-000001"] = json!("of a key");
    let answer = domain.amf.put(&domain.path(), &body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());

    let patched = domain.amf.patch(&domain.path(), &json!({})).await.json();
    assert_eq!(patched["apiProvDomInfo"], "a provider");
    assert_eq!(patched["apiProvName"], "Acme");
    assert_eq!(patched["vendorSpecific-000001"]["of"], "the domain");
    let function = &patched["apiProvFuncs"][0];
    assert_eq!(function["vendorSpecific-000001"], "of a function");
    assert_eq!(function["apiProvFuncInfo"], "the manager");
    assert_eq!(function["regInfo"]["vendorSpecific-000001"], "of a key");
    assert_eq!(function["apiProvFuncId"], domain.amf.id.as_str());

    let patch = json!({
        "apiProvDomInfo": null,
        "vendorSpecific-000001": { "of": null, "more": 1 },
        "apiProvName": "Umbrella",
        "regSec": "another",
    });
    let patched = domain.amf.patch(&domain.path(), &patch).await.json();
    assert!(patched.get("apiProvDomInfo").is_none());
    assert_eq!(patched["vendorSpecific-000001"], json!({ "more": 1 }));
    assert_eq!(patched["apiProvName"], "Acme");

    for patch in [
        json!({ "apiProvFuncs": null }),
        json!({ "apiProvFuncs": [] }),
        json!({ "apiProvFuncs": "all" }),
        json!({ "apiProvDomInfo": 7 }),
        json!([]),
    ] {
        let answer = domain.amf.patch(&domain.path(), &patch).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{patch}");
    }
    // Leaving the name out of a PUT takes it away.
    body.as_object_mut().unwrap().remove("apiProvName");
    let replaced = domain.amf.put(&domain.path(), &body).await.json();
    assert!(replaced.get("apiProvName").is_none());
}

/// TS 29.222 clause 5.11.2.3: the answer has the functions in the order of the request, whichever is new, known or moved.
#[tokio::test]
async fn functions_stand_in_the_order_of_the_request() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    let mut functions = domain.details["apiProvFuncs"].as_array().unwrap().clone();
    functions.reverse();
    functions.insert(1, people::function("AEF", &keys::request(&keys::p256())));
    let answer = domain
        .amf
        .patch(&domain.path(), &json!({ "apiProvFuncs": functions }))
        .await
        .json();
    let now = answer["apiProvFuncs"].as_array().unwrap();
    for (wanted, now) in functions.iter().zip(now) {
        assert_eq!(wanted["apiProvFuncRole"], now["apiProvFuncRole"]);
        if !wanted["apiProvFuncId"].is_null() {
            assert_eq!(wanted["apiProvFuncId"], now["apiProvFuncId"]);
        }
    }
    let listed = domain.amf.patch(&domain.path(), &json!({})).await.json();
    assert_eq!(listed["apiProvFuncs"], answer["apiProvFuncs"]);
}
