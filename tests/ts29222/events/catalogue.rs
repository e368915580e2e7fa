//! Every event of TS 29.222 clause 8.3.4.3.3, raised by what really happens and told to those whom it concerns.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{subscribe, subscription};
use crate::support::{
    World, keys,
    people::{Domain, INVOKERS, enrolment_for},
    receiver::Receiver,
};

/// What an AEF may hear of, and what an AMF may.
pub(crate) const OF_AEF: [&str; 13] = [
    "SERVICE_API_AVAILABLE",
    "SERVICE_API_UNAVAILABLE",
    "SERVICE_API_UPDATE",
    "API_INVOKER_ONBOARDED",
    "API_INVOKER_OFFBOARDED",
    "SERVICE_API_INVOCATION_SUCCESS",
    "SERVICE_API_INVOCATION_FAILURE",
    "ACCESS_CONTROL_POLICY_UPDATE",
    "ACCESS_CONTROL_POLICY_UNAVAILABLE",
    "API_INVOKER_AUTHORIZATION_REVOKED",
    "API_INVOKER_UPDATED",
    "API_TOPOLOGY_HIDING_CREATED",
    "API_TOPOLOGY_HIDING_REVOKED",
];
const OF_AMF: [&str; 11] = [
    "SERVICE_API_AVAILABLE",
    "SERVICE_API_UNAVAILABLE",
    "SERVICE_API_UPDATE",
    "API_INVOKER_ONBOARDED",
    "API_INVOKER_OFFBOARDED",
    "SERVICE_API_INVOCATION_SUCCESS",
    "SERVICE_API_INVOCATION_FAILURE",
    "API_INVOKER_AUTHORIZATION_REVOKED",
    "API_INVOKER_UPDATED",
    "API_INVOKER_ONBOARDING_CRITERIA_FAILED",
    "SERVICE_API_ONBOARDED_BY_API_INVOKERS_COUNT",
];

/// Everything that the functions of a domain may hear of goes to paths of its name.
async fn listen(domain: &Domain, receiver: &Receiver, name: &str) {
    let at = |function: &str| receiver.url(&format!("/{name}/{function}"));
    subscribe(&domain.aef, &subscription(&OF_AEF, &at("aef"))).await;
    subscribe(&domain.amf, &subscription(&OF_AMF, &at("amf"))).await;
}

/// What came to a path, by event.
fn told(receiver: &Receiver, path: &str) -> Vec<(String, Value)> {
    let seen = receiver.seen().into_iter();
    seen.filter(|notice| notice.path == path)
        .map(|notice| {
            let event = notice.body["events"].as_str().unwrap().to_owned();
            (event, notice.body["eventDetail"].clone())
        })
        .collect()
}

fn events(told: &[(String, Value)]) -> Vec<&str> {
    told.iter().map(|(event, _)| event.as_str()).collect()
}

/// TS 23.222 AR-4.3.3-c, TS 29.222 clause 5.4.2.3: what happens is told to the domain that it happens in, in order and with its details,
/// and to no other.
#[tokio::test]
async fn a_domain_hears_of_its_own_apis_and_invokers() {
    let mut world = World::start().await;
    let receiver = Receiver::start(&world);
    // The invoker has no certificate to serve with.
    world.allow(&[&receiver]).await;
    let (acme, other) = (world.domain("acme").await, world.domain("other").await);
    other.publish("maps", &["PKI"]).await;
    listen(&acme, &receiver, "acme").await;
    listen(&other, &receiver, "other").await;

    let api = acme.publish("weather", &["PKI"]).await;
    let api_path = format!("{}/{api}", acme.apis());
    let patched = acme
        .apf
        .patch(&api_path, &json!({ "description": "new" }))
        .await;
    assert_eq!(patched.status, StatusCode::OK);
    let invoker = world.raw_invoker(&["weather"]).await;
    invoker.negotiate(&acme.aef.id, &["PKI"]).await;
    // The subscriber follows the invoker: it has itself told too.
    let own = ["API_INVOKER_UPDATED", "API_INVOKER_AUTHORIZATION_REVOKED"];
    subscribe(
        &invoker.party,
        &subscription(&own, &receiver.url("/invoker")),
    )
    .await;
    let mut details = invoker.details.clone();
    details["apiInvokerInformation"] = json!("moved house");
    let answer = invoker
        .put(&format!("{INVOKERS}/{}", invoker.id), &details)
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());

    let log = |result: &str| {
        json!({
            "apiId": api, "apiName": "weather", "apiVersion": "v1", "resourceName": "today",
            "protocol": "HTTP_1_1", "result": result,
        })
    };
    let report = json!({
        "aefId": acme.aef.id, "apiInvokerId": invoker.id,
        "logs": [log("200"), log("503"), log("302")],
    });
    let logs = format!("/api-invocation-logs/v1/{}/logs", acme.aef.id);
    assert_eq!(
        acme.aef.post(&logs, &report).await.status,
        StatusCode::CREATED
    );

    let policy = json!({ "api": { "id": api }, "total": 5 });
    let (status, said) = world
        .operator(Method::POST, "/policies", Some(policy))
        .await;
    assert_eq!(status, StatusCode::OK, "{said}");
    let removed = json!({ "api": { "id": api } });
    let (status, said) = world
        .operator(Method::POST, "/policies/remove", Some(removed))
        .await;
    assert_eq!(status, StatusCode::OK, "{said}");

    assert_eq!(
        acme.aef.delete(&invoker.context()).await.status,
        StatusCode::NO_CONTENT
    );
    world
        .operator(Method::DELETE, &format!("/invokers/{}", invoker.id), None)
        .await;
    assert_eq!(
        acme.apf.delete(&api_path).await.status,
        StatusCode::NO_CONTENT
    );

    receiver.acknowledged(11 + 10 + 2).await;
    let of_aef = told(&receiver, "/acme/aef");
    assert_eq!(
        events(&of_aef),
        [
            "SERVICE_API_AVAILABLE",
            "SERVICE_API_UPDATE",
            "API_INVOKER_ONBOARDED",
            "API_INVOKER_UPDATED",
            "SERVICE_API_INVOCATION_SUCCESS",
            "SERVICE_API_INVOCATION_FAILURE",
            "ACCESS_CONTROL_POLICY_UPDATE",
            "ACCESS_CONTROL_POLICY_UNAVAILABLE",
            "API_INVOKER_AUTHORIZATION_REVOKED",
            "API_INVOKER_OFFBOARDED",
            "SERVICE_API_UNAVAILABLE",
        ]
    );
    let detail = |event: &str| {
        let found = of_aef.iter().find(|(name, _)| name == event);
        found.unwrap().1.clone()
    };
    for event in ["SERVICE_API_AVAILABLE", "SERVICE_API_UNAVAILABLE"] {
        assert_eq!(detail(event), json!({ "apiIds": [api] }));
    }
    let updated = detail("SERVICE_API_UPDATE")["serviceAPIDescriptions"][0].clone();
    assert_eq!(
        (updated["apiId"].as_str(), &updated["description"]),
        (Some(api.as_str()), &json!("new"))
    );
    for event in [
        "API_INVOKER_ONBOARDED",
        "API_INVOKER_UPDATED",
        "API_INVOKER_OFFBOARDED",
    ] {
        assert_eq!(detail(event), json!({ "apiInvokerIds": [invoker.id] }));
    }
    let revoked = detail("API_INVOKER_AUTHORIZATION_REVOKED");
    assert_eq!(revoked["apiInvokerIds"], json!([invoker.id]));
    for (event, results) in [
        ("SERVICE_API_INVOCATION_SUCCESS", vec!["200", "302"]),
        ("SERVICE_API_INVOCATION_FAILURE", vec!["503"]),
    ] {
        let reports = detail(event)["invocationLogs"].clone();
        assert_eq!(
            (&reports[0]["aefId"], &reports[0]["apiInvokerId"]),
            (&json!(acme.aef.id), &json!(invoker.id))
        );
        let logs = reports[0]["logs"].as_array().unwrap();
        let found: Vec<&str> = logs
            .iter()
            .map(|log| log["result"].as_str().unwrap())
            .collect();
        assert_eq!(found, results);
    }
    let list = detail("ACCESS_CONTROL_POLICY_UPDATE")["accCtrlPolList"].clone();
    assert_eq!(list["apiId"], api.as_str());
    assert_eq!(list["apiInvokerPolicies"][0]["allowedTotalInvocations"], 5);
    let gone = detail("ACCESS_CONTROL_POLICY_UNAVAILABLE")["accCtrlPolList"].clone();
    assert_eq!(gone, json!({ "apiId": api }));

    let of_amf = told(&receiver, "/acme/amf");
    let without_policies: Vec<&str> = events(&of_aef)
        .into_iter()
        .filter(|event| !event.starts_with("ACCESS_"))
        .collect();
    let mut of_amf = events(&of_amf);
    let count = of_amf
        .iter()
        .position(|event| event.ends_with("_COUNT"))
        .unwrap();
    assert_eq!(
        of_amf.remove(count),
        "SERVICE_API_ONBOARDED_BY_API_INVOKERS_COUNT"
    );
    assert_eq!(of_amf, without_policies);
    assert_eq!(events(&told(&receiver, "/invoker")), own);
    for path in ["/other/aef", "/other/amf"] {
        assert_eq!(told(&receiver, path), [], "{path}");
    }
}

/// Feature ApiStatusMonitoring: that an API is served by nobody any more, and by somebody again, is told like withdrawal and publication,
/// with its description to whoever follows it.
#[tokio::test]
async fn the_state_of_an_api_is_an_event() {
    let world = World::start().await;
    let receiver = Receiver::start(&world);
    let domain = world.domain("acme").await;
    let api = domain.publish("weather", &["PKI"]).await;
    let place = format!("{}/{api}", domain.apis());
    let mut description = domain.description("weather", &["PKI"]);
    description["supportedFeatures"] = json!("23");
    assert_eq!(
        domain.apf.put(&place, &description).await.status,
        StatusCode::OK
    );
    let watched = ["SERVICE_API_AVAILABLE", "SERVICE_API_UNAVAILABLE"];
    for (features, path) in [("4", "/without"), ("C", "/with")] {
        let mut body = subscription(&watched, &receiver.url(path));
        body["supportedFeatures"] = json!(features);
        subscribe(&domain.amf, &body).await;
    }
    for aefs in [json!([]), json!([]), json!([domain.aef.id])] {
        let patch = json!({ "apiStatus": { "aefIds": aefs } });
        let answer = domain.apf.patch(&place, &patch).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    }
    receiver.acknowledged(4).await;
    for (path, described) in [("/without", false), ("/with", true)] {
        let told = told(&receiver, path);
        assert_eq!(
            events(&told),
            ["SERVICE_API_UNAVAILABLE", "SERVICE_API_AVAILABLE"],
            "{path}"
        );
        for (event, detail) in told {
            assert_eq!(detail["apiIds"], json!([api]), "{event}");
            assert_eq!(
                detail.get("serviceAPIDescriptions").is_some(),
                described,
                "{event} {path}"
            );
        }
    }
}

/// API_INVOKER_ONBOARDING_CRITERIA_FAILED and the counts of enrolments and discoveries, with their details, within the domain.
#[tokio::test]
async fn criteria_and_counts_are_told() {
    let world = World::with(|config| config.discovery.count_seconds = 1).await;
    let receiver = Receiver::start(&world);
    let (acme, other) = (world.domain("acme").await, world.domain("other").await);
    let api = acme.publish("weather", &["PKI"]).await;
    other.publish("maps", &["PKI"]).await;
    let watched = [
        "API_INVOKER_ONBOARDING_CRITERIA_FAILED",
        "SERVICE_API_ONBOARDED_BY_API_INVOKERS_COUNT",
        "SERVICE_API_DISCOVERY_BY_API_INVOKERS_COUNT",
    ];
    for (domain, path) in [(&acme, "/acme"), (&other, "/other")] {
        subscribe(&domain.apf, &subscription(&watched, &receiver.url(path))).await;
    }
    let credential = world.credential(&["weather"]).await;
    let mut demanding = enrolment_for(&keys::request(&keys::p256()), &["weather"]);
    let criteria = json!([{ "secMethods": ["PSK"] }]);
    demanding["onboardingInformation"]["onboardingCriteria"] = criteria.clone();
    let answer = world.onboard(&credential, &demanding).await;
    assert!(answer.status.is_client_error(), "{}", answer.json());
    let invoker = world.raw_invoker(&["weather"]).await;
    let query = format!(
        "/service-apis/v1/allServiceAPIs?api-name=weather&api-invoker-id={}",
        invoker.id
    );
    assert_eq!(invoker.get(&query).await.status, StatusCode::OK);
    receiver.acknowledged(3).await;
    let told_to = told(&receiver, "/acme");
    let detail = |event: &str| {
        told_to
            .iter()
            .find(|(name, _)| name == event)
            .unwrap()
            .1
            .clone()
    };
    let failed = detail(watched[0]);
    assert_eq!(
        (&failed["onboardingCriteria"], &failed["apiIds"]),
        (&criteria, &json!([api]))
    );
    let counted = detail(watched[1])["onboardedCount"].clone();
    assert_eq!(counted[0]["apiId"], api.as_str());
    assert!(counted[0]["count"].as_u64().unwrap() >= 1, "{counted}");
    let shown = detail(watched[2])["discoveryCount"].clone();
    assert_eq!(
        shown,
        json!([{ "apiId": api, "discoveryReqCount": 1, "discoveryRspCount": 1 }])
    );
    assert_eq!(told(&receiver, "/other"), []);
}

/// An AEF that agreed with an invoker something hears of its end, also if what the invoker reaches lies elsewhere by now.
#[tokio::test]
async fn an_aef_hears_of_whom_it_knows() {
    let world = World::start().await;
    let receiver = Receiver::start(&world);
    let acme = world.domain("acme").await;
    let api = acme.publish("weather", &["PKI"]).await;
    let invoker = world.raw_invoker(&["weather"]).await;
    invoker.negotiate(&acme.aef.id, &["PKI"]).await;
    assert_eq!(
        acme.apf
            .delete(&format!("{}/{api}", acme.apis()))
            .await
            .status,
        StatusCode::NO_CONTENT
    );
    let watched = ["API_INVOKER_OFFBOARDED"];
    subscribe(&acme.aef, &subscription(&watched, &receiver.url("/aef"))).await;
    subscribe(&acme.amf, &subscription(&watched, &receiver.url("/amf"))).await;
    world
        .operator(Method::DELETE, &format!("/invokers/{}", invoker.id), None)
        .await;
    receiver.acknowledged(1).await;
    assert_eq!(events(&told(&receiver, "/aef")), watched);
    // By now nothing of the domain is within its reach.
    assert_eq!(told(&receiver, "/amf"), []);
}

/// Clause 5.3.2.2, TS 23.222 clause 8.13: an AEF hears what it hides, and that it hides it no more; also if it subscribes later and asks
/// how things stand. Nobody else hears of it.
#[tokio::test]
async fn an_aef_hears_what_it_hides() {
    let world = World::start().await;
    let receiver = Receiver::start(&world);
    let (acme, front) = (world.domain("acme").await, world.domain("front").await);
    let api = acme.publish("weather", &["PKI"]).await;
    let watched = ["API_TOPOLOGY_HIDING_CREATED", "API_TOPOLOGY_HIDING_REVOKED"];
    subscribe(&acme.aef, &subscription(&watched, &receiver.url("/acme"))).await;
    subscribe(&front.aef, &subscription(&watched, &receiver.url("/front"))).await;
    let what = json!({ "api": { "id": api } });
    let rule = json!({
        "what": what, "aefId": front.aef.id, "abroad": true,
        "interfaces": [{ "ipv4Addr": "127.0.0.1", "port": 9443 }], "securityMethods": ["PKI"],
    });
    let (status, said) = world.operator(Method::POST, "/hidden", Some(rule)).await;
    assert_eq!(status, StatusCode::OK, "{said}");
    receiver.acknowledged(1).await;
    let mut late = subscription(&watched, &receiver.url("/late"));
    late["eventReq"] = json!({ "immRep": true });
    subscribe(&front.aef, &late).await;
    receiver.acknowledged(2).await;
    let (status, said) = world
        .operator(
            Method::POST,
            "/hidden/remove",
            Some(json!({ "what": what })),
        )
        .await;
    assert_eq!(status, StatusCode::OK, "{said}");
    receiver.acknowledged(4).await;
    for path in ["/front", "/late"] {
        let told = told(&receiver, path);
        assert_eq!(events(&told), watched, "{path}");
        for (event, detail) in told {
            let hiding = &detail["apiTopoHide"];
            assert_eq!(hiding["apiId"], api.as_str(), "{event}");
            let behind = &hiding["routingRules"][0]["aefProfile"]["aefId"];
            assert_eq!(*behind, acme.aef.id.as_str(), "{event}");
        }
    }
    assert_eq!(told(&receiver, "/acme"), []);
}
