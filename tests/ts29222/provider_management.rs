//! CAPIF_API_Provider_Management_API (TS 29.222 clause 8.9, TS 23.222 clauses 8.28 and 8.29).

mod changes;

use http::{Method, StatusCode};
use rcgen::PublicKeyData;
use serde_json::{Value, json};

use crate::support::{
    World,
    certificates::{self, Expected},
    keys,
    people::{self, REGISTRATIONS},
};

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

    // A new key for the APF: the old certificate counts until an overlap after the first use of the new one.
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
    assert_eq!(domain.apf.get(&domain.apis()).await.status, StatusCode::OK);
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

    world.clock.advance(OVERLAP);
    let old = world.with_certificate(&domain.apf.pems);
    assert_eq!(
        old.json(Method::GET, &domain.apis(), None).await.status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(apf.get(&domain.apis()).await.status, StatusCode::OK);

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

/// D-23, R-T-04: the certificates of AMF and APF are for clients alone, that of an AEF also for the hosts where it serves.
#[tokio::test]
async fn certificates_are_of_the_profile_of_their_role() {
    let world = World::start().await;
    let credential = world.registration_credential("acme").await;
    let hosts = ["gw.acme.example", "127.0.0.1", "2001:db8::1"];
    let keys = [keys::p256(), keys::p384(), keys::rsa_2048(), keys::p256()];
    let roles = ["AMF", "APF", "AEF", "AEF"];
    let mut functions: Vec<Value> = roles
        .iter()
        .zip(&keys)
        .map(|(role, key)| people::function(role, &keys::request(key)))
        .collect();
    // Hosts of functions that do not serve are of no consequence.
    for index in [0, 1, 2] {
        functions[index]["vendorSpecific-capif"] = json!({ "hosts": hosts });
    }
    let answer = world.register(&credential, &functions).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    let details = answer.json();
    for (index, (role, key)) in roles.iter().zip(&keys).enumerate() {
        let function = world.function_of(&details, index, key);
        let expected = Expected {
            id: &function.id,
            role,
            hosts: if index == 2 { &hosts } else { &[] },
            public_key: key.subject_public_key_info(),
            days: 365,
        };
        certificates::check(&world, &function.pems.chain, &expected);
        assert!(function.id.starts_with(role));
        // Each is known for what it is: APFs alone may publish.
        let path = format!("/published-apis/v1/{}/service-apis", function.id);
        let status = function.get(&path).await.status;
        let expected = if *role == "APF" {
            StatusCode::OK
        } else {
            StatusCode::FORBIDDEN
        };
        assert_eq!(status, expected, "{role}");
    }
}

/// P-24: a host is a DNS name or an address, no pattern and nothing else.
#[tokio::test]
async fn hosts_that_are_none_are_refused() {
    let world = World::start().await;
    let credential = world.registration_credential("acme").await;
    let amf = people::function("AMF", &keys::request(&keys::p256()));
    for hosts in [
        json!("gw.example"),
        json!([1]),
        json!([""]),
        json!(["*"]),
        json!(["*.example"]),
        json!(["gw.example."]),
        json!(["gw..example"]),
        json!(["-gw.example"]),
        json!(["gw_1.example"]),
        json!(["gw.example:443"]),
        json!(["https://gw.example"]),
        json!(["[::1]"]),
        json!(["127.0.0.1/8"]),
        json!(["gw.exämple"]),
        json!(["gw.example\u{0}.evil.example"]),
        json!(["x".repeat(64)]),
        json!(["x.".repeat(130)]),
        json!(vec!["gw.example"; 17]),
        json!({}),
    ] {
        let mut aef = people::function("AEF", &keys::request(&keys::p256()));
        aef["vendorSpecific-capif"] = json!({ "hosts": hosts });
        let answer = world.register(&credential, &[amf.clone(), aef]).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{hosts}");
        assert_eq!(answer.cause(), "MANDATORY_IE_INCORRECT");
    }
    assert!(world.list("providers").await.is_empty());
    assert_eq!(
        world.register(&credential, &[amf]).await.status,
        StatusCode::CREATED
    );
}

/// P-23 for providers: a registration credential serves once, is judged like an onboarding credential, and ends with its time.
#[tokio::test]
async fn a_registration_credential_serves_once() {
    let world = World::start().await;
    let amf = || [people::function("AMF", &keys::request(&keys::p256()))];
    for token in ["forged", "a.b.c", &world.credential(&[]).await] {
        let answer = world.register(token, &amf()).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{token}");
        answer.cause();
    }
    let body = people::registration("", &amf());
    let answer = world
        .anonymous()
        .json(Method::POST, REGISTRATIONS, Some(&body))
        .await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);

    let credential = world.registration_credential("acme").await;
    let answer = world.register(&credential, &amf()).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert!(!world.store_holds(credential.as_bytes()));
    let again = world.register(&credential, &amf()).await;
    assert_eq!(again.status, StatusCode::UNAUTHORIZED);
    assert!(
        again.json()["detail"]
            .as_str()
            .unwrap()
            .contains("used before")
    );
    let rows = world.list("providers").await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["name"], "acme");

    let late = world.registration_credential("late").await;
    world
        .clock
        .advance(time::Duration::hours(24) + time::Duration::seconds(30));
    assert_eq!(
        world.register(&late, &amf()).await.status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(world.list("providers").await.len(), 1);
}

/// P-23: of many uses of one registration credential at the same moment exactly one succeeds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_parallel_registrations_one_succeeds() {
    let world = std::sync::Arc::new(World::start().await);
    let credential = world.registration_credential("acme").await;
    let tries: Vec<_> = (0..50)
        .map(|_| {
            let (world, credential) = (std::sync::Arc::clone(&world), credential.clone());
            let function = people::function("AMF", &keys::request(&keys::p256()));
            tokio::spawn(async move { world.register(&credential, &[function]).await.status })
        })
        .collect();
    let mut created = 0;
    for one in tries {
        match one.await.unwrap() {
            StatusCode::CREATED => created += 1,
            status => assert_eq!(status, StatusCode::UNAUTHORIZED),
        }
    }
    assert_eq!(created, 1);
    assert_eq!(world.list("providers").await.len(), 1);
}

/// Table 8.9.4.2.2-1: members that the core function gives are not taken from the request, and what cannot be is refused whole, with
/// the credential left unused.
#[tokio::test]
async fn registrations_that_cannot_be_are_refused() {
    let world = World::start().await;
    let credential = world.registration_credential("acme").await;
    let other = world.domain("other").await;
    let function = |role: &str| people::function(role, &keys::request(&keys::p256()));
    let with = |change: &dyn Fn(&mut Value)| {
        let mut body = people::registration(&credential, &[function("AMF"), function("APF")]);
        change(&mut body);
        body
    };
    let send = |body: Value| {
        let credential = credential.clone();
        let caller = world.anonymous();
        async move {
            caller
                .bearer(Method::POST, REGISTRATIONS, &credential, Some(&body))
                .await
        }
    };
    for body in [
        with(&|body| drop(body.as_object_mut().unwrap().remove("regSec"))),
        with(&|body| drop(body.as_object_mut().unwrap().remove("apiProvFuncs"))),
        with(&|body| body["apiProvFuncs"] = json!([])),
        with(&|body| body["apiProvFuncs"] = json!({})),
        with(&|body| body["apiProvDomId"] = json!("DOM1")),
        with(&|body| body["apiProvFuncs"][0] = json!({})),
        with(&|body| body["apiProvFuncs"][0]["apiProvFuncRole"] = json!("amf")),
        with(&|body| body["apiProvFuncs"][0]["apiProvFuncRole"] = json!("CCF")),
        with(&|body| body["apiProvFuncs"][0]["regInfo"] = json!({})),
        with(&|body| body["apiProvFuncs"][0]["regInfo"]["apiProvPubKey"] = json!(1)),
    ] {
        let answer = send(body.clone()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
        answer.cause();
    }
    // Ids are given here: one of others, or one of nobody, is no function of a new domain.
    for id in [other.aef.id.as_str(), "AMF1"] {
        let answer = send(with(&|body| {
            body["apiProvFuncs"][1]["apiProvFuncId"] = json!(id)
        }))
        .await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{id}");
        answer.cause();
    }
    let many: Vec<Value> = vec![function("AMF"); 65];
    let answer = send(people::registration(&credential, &many)).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert_eq!(world.list("providers").await.len(), 1);

    let body = with(&|body| {
        body["apiProvFuncs"][0]["regInfo"]["apiProvCert"] = json!("mine");
        body["failReason"] = json!("mine");
        body["suppFeat"] = json!("f");
        body["apiProvName"] = json!("Acme Ltd.");
        body["apiProvDomInfo"] = json!("about us");
        body["vendorSpecific-000001"] = json!([1]);
    });
    let answer = send(body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    let details = answer.json();
    assert!(
        details["apiProvFuncs"][0]["regInfo"]["apiProvCert"]
            .as_str()
            .unwrap()
            .contains("BEGIN")
    );
    assert!(details.get("failReason").is_none());
    assert_eq!(details["suppFeat"], "1");
    assert_eq!(details["apiProvName"], "Acme Ltd.");
    assert_eq!(details["apiProvDomInfo"], "about us");
    assert_eq!(details["vendorSpecific-000001"], json!([1]));
    assert_eq!(
        details["regSec"],
        credential.as_str(),
        "the answer repeats the mandatory member"
    );
}

/// Clauses 5.11.2.3 and 5.11.2.4, P-22: an update keeps the domain's id, its AMF and the role of each function; what is refused changes
/// nothing.
#[tokio::test]
async fn updates_that_cannot_be_are_refused() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    let other = world.domain("other").await;
    let before = world.list("providers").await;
    let details = domain.details.clone();
    let with = |change: &dyn Fn(&mut Value)| {
        let mut body = details.clone();
        change(&mut body);
        body
    };
    for (body, status) in [
        (
            with(&|body| body["apiProvDomId"] = json!(other.id)),
            StatusCode::FORBIDDEN,
        ),
        (
            with(&|body| body["apiProvDomId"] = json!("DOM0")),
            StatusCode::FORBIDDEN,
        ),
        (
            with(&|body| body["apiProvFuncs"][2]["apiProvFuncRole"] = json!("APF")),
            StatusCode::FORBIDDEN,
        ),
        (
            with(&|body| body["apiProvFuncs"][2]["apiProvFuncId"] = json!(other.aef.id)),
            StatusCode::NOT_FOUND,
        ),
        (
            with(&|body| body["apiProvFuncs"][2]["apiProvFuncId"] = json!("AEF0")),
            StatusCode::NOT_FOUND,
        ),
        // The same function twice.
        (
            with(&|body| body["apiProvFuncs"][2] = body["apiProvFuncs"][1].clone()),
            StatusCode::NOT_FOUND,
        ),
        // Without an AMF nobody could change it any more.
        (
            with(&|body| drop(body["apiProvFuncs"].as_array_mut().unwrap().remove(0))),
            StatusCode::BAD_REQUEST,
        ),
        (
            with(&|body| body["apiProvFuncs"] = json!([])),
            StatusCode::BAD_REQUEST,
        ),
    ] {
        for method in [Method::PUT, Method::PATCH] {
            let mut body = body.clone();
            if method == Method::PATCH {
                if body["apiProvDomId"] != details["apiProvDomId"] {
                    continue;
                }
                body = json!({ "apiProvFuncs": body["apiProvFuncs"] });
            }
            let answer = domain
                .amf
                .caller
                .json(method.clone(), &domain.path(), Some(&body))
                .await;
            assert_eq!(answer.status, status, "{method}: {}", answer.json());
            answer.cause();
        }
    }
    assert_eq!(world.list("providers").await, before);
    for party in [&domain.amf, &domain.apf, &domain.aef] {
        let path = format!("/capif-events/v1/{}/subscriptions/x", party.id);
        assert_eq!(
            party.delete(&path).await.status,
            StatusCode::NOT_FOUND,
            "its certificate still counts"
        );
    }
    // What others say of themselves is no business of this domain.
    let unknown = domain
        .amf
        .put(&format!("{REGISTRATIONS}/DOM0"), &details)
        .await;
    let known = domain.amf.put(&other.path(), &details).await;
    assert_eq!(
        (unknown.status, known.status),
        (StatusCode::FORBIDDEN, StatusCode::FORBIDDEN)
    );
    assert_eq!(unknown.json()["detail"], known.json()["detail"]);
}

/// As long as what was replaced still counts, by default.
const OVERLAP: time::Duration = time::Duration::hours(1);
