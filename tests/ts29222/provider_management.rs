//! CAPIF_API_Provider_Management_API (TS 29.222 clause 8.9, TS 23.222 clauses 8.28 and 8.29).

use http::StatusCode;
use serde_json::{Value, json};

use crate::support::{World, keys, people};

/// TS 29.222 clause 5.11.2.2: the answer has the domain's id and, in the order of the request, each function with id and
/// certificate.
#[tokio::test]
async fn a_domain_is_registered_with_its_functions_in_order() {
    let world = World::start().await;
    let credential = world.registration_credential("acme").await;
    let roles = ["AEF", "AMF", "APF", "AEF"];
    let functions: Vec<Value> = roles
        .iter()
        .map(|role| people::function(role, &keys::request(&keys::p256())))
        .collect();
    let answer = world.register(&credential, &functions).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    let details = answer.json();
    let id = details["apiProvDomId"].as_str().unwrap();
    let location = answer.headers["location"].to_str().unwrap();
    assert!(location.ends_with(&format!("/api-provider-management/v1/registrations/{id}")));
    let answered = details["apiProvFuncs"].as_array().unwrap();
    assert_eq!(answered.len(), 4);
    let mut ids = Vec::new();
    for (function, role) in answered.iter().zip(roles) {
        assert_eq!(function["apiProvFuncRole"], role);
        ids.push(function["apiProvFuncId"].as_str().unwrap());
        assert!(
            function["regInfo"]["apiProvCert"]
                .as_str()
                .unwrap()
                .contains("BEGIN CERTIFICATE")
        );
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 4);
    assert!(details.get("failReason").is_none());
}

/// TS 29.222 table 8.9.4.2.2-1: functions that cannot be registered are left out and named in `failReason`; without an AMF there
/// is no domain, and the credential is not used up.
#[tokio::test]
async fn a_function_that_fails_is_named() {
    let world = World::start().await;
    let credential = world.registration_credential("acme").await;
    let good = || keys::request(&keys::p256());
    let without_amf = [people::function("AEF", &good())];
    let answer = world.register(&credential, &without_amf).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.cause(), "MANDATORY_IE_INCORRECT");
    let bad_key = [people::function("AMF", "no key at all")];
    assert_eq!(
        world.register(&credential, &bad_key).await.status,
        StatusCode::BAD_REQUEST
    );
    let unknown_role = [
        people::function("AMF", &good()),
        people::function("XYZ", &good()),
    ];
    assert_eq!(
        world.register(&credential, &unknown_role).await.status,
        StatusCode::BAD_REQUEST
    );
    assert!(world.list("providers").await.is_empty());

    let partly = [
        people::function("AMF", &good()),
        people::function("AEF", "no key at all"),
    ];
    let answer = world.register(&credential, &partly).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    let details = answer.json();
    assert_eq!(details["apiProvFuncs"].as_array().unwrap().len(), 1);
    assert!(details["failReason"].as_str().unwrap().contains("AEF"));
}

/// R-6.1-08 for providers: `regSec` and the credential of the request are one and the same.
#[tokio::test]
async fn reg_sec_repeats_the_credential() {
    let world = World::start().await;
    let credential = world.registration_credential("acme").await;
    let mut body = people::registration(
        &credential,
        &[people::function("AMF", &keys::request(&keys::p256()))],
    );
    body["regSec"] = "another".into();
    let path = "/api-provider-management/v1/registrations";
    let answer = world
        .anonymous()
        .bearer(http::Method::POST, path, &credential, Some(&body))
        .await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(world.list("providers").await.is_empty());
}

/// TS 29.222 clause 5.11.2.3: an update keeps ids, certifies new keys and functions, and removes what it leaves out, together with
/// what belonged to it.
#[tokio::test]
async fn an_update_adds_renews_and_removes() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    let other = world.domain("other").await;
    domain.publish("weather", &["PKI"]).await;
    let functions = domain.details["apiProvFuncs"].as_array().unwrap();

    // The same again: nothing changes, every certificate is answered.
    let mut body = json!({ "regSec": "-", "apiProvFuncs": functions });
    let answer = domain.amf.put(&domain.path(), &body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    for (before, now) in functions
        .iter()
        .zip(answer.json()["apiProvFuncs"].as_array().unwrap())
    {
        assert_eq!(before["apiProvFuncId"], now["apiProvFuncId"]);
        assert_eq!(
            before["regInfo"]["apiProvCert"],
            now["regInfo"]["apiProvCert"]
        );
    }
    assert_eq!(
        domain
            .aef
            .get("/capif-security/v1/trustedInvokers/x")
            .await
            .status,
        StatusCode::NOT_FOUND
    );

    // Without ids, as deployed clients send it: known by their keys. One more AEF.
    let mut bare: Vec<Value> = functions
        .iter()
        .map(|function| {
            people::function(
                function["apiProvFuncRole"].as_str().unwrap(),
                function["regInfo"]["apiProvPubKey"].as_str().unwrap(),
            )
        })
        .collect();
    bare.push(people::function("AEF", &keys::request(&keys::p256())));
    body["apiProvFuncs"] = bare.into();
    let answer = domain.amf.put(&domain.path(), &body).await;
    let now = answer.json()["apiProvFuncs"].as_array().unwrap().clone();
    assert_eq!(now.len(), 4);
    assert_eq!(now[0]["apiProvFuncId"], functions[0]["apiProvFuncId"]);

    // A new key for the APF: the old certificate is refused at once.
    let key = keys::p256();
    let mut renewed = now.clone();
    renewed[1]["regInfo"] = json!({ "apiProvPubKey": keys::request(&key) });
    body["apiProvFuncs"] = renewed.into();
    let answer = domain.amf.put(&domain.path(), &body).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(
        answer.json()["apiProvFuncs"][1]["apiProvFuncId"],
        now[1]["apiProvFuncId"]
    );
    assert_eq!(
        domain.apf.get(&domain.apis()).await.status,
        StatusCode::UNAUTHORIZED
    );
    let apf = world.function_of(&answer.json(), 1, &key);
    assert_eq!(
        apf.get(&domain.apis())
            .await
            .json()
            .as_array()
            .unwrap()
            .len(),
        1
    );

    // A foreign id is refused, and changes nothing.
    let mut foreign = now.clone();
    foreign[2]["apiProvFuncId"] = other.aef.id.clone().into();
    body["apiProvFuncs"] = foreign.into();
    assert_eq!(
        domain.amf.put(&domain.path(), &body).await.status,
        StatusCode::NOT_FOUND
    );

    // Without the APF: it goes, and what it published.
    let kept: Vec<Value> = now
        .into_iter()
        .filter(|function| function["apiProvFuncRole"] != "APF")
        .collect();
    let answer = domain
        .amf
        .patch(&domain.path(), &json!({ "apiProvFuncs": kept }))
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    assert_eq!(
        apf.get(&domain.apis()).await.status,
        StatusCode::UNAUTHORIZED
    );
    assert!(world.list("apis").await.is_empty());
}

/// TS 29.222 clause 5.11.2.4: with the domain go its functions, certificates and APIs.
#[tokio::test]
async fn a_domain_goes_with_everything() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    domain.publish("weather", &["PKI"]).await;
    let amy = world.raw_invoker(&[]).await;
    assert_eq!(
        amy.negotiate(&domain.aef.id, &["PKI"]).await.status,
        StatusCode::CREATED
    );
    assert_eq!(
        domain.amf.delete(&domain.path()).await.status,
        StatusCode::NO_CONTENT
    );
    for party in [&domain.amf, &domain.apf, &domain.aef] {
        let answer = world
            .with_certificate(&party.pems)
            .json(http::Method::GET, &domain.apis(), None)
            .await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    }
    assert!(world.list("providers").await.is_empty());
    assert!(world.list("apis").await.is_empty());
    let found = amy
        .get(&format!(
            "/service-apis/v1/allServiceAPIs?api-invoker-id={}",
            amy.id
        ))
        .await;
    assert_eq!(found.json(), json!({}));
}
