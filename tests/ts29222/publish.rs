//! CAPIF_Publish_Service_API (TS 29.222 clauses 5.3 and 8.2).

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};
use tokio::sync::Barrier;

use crate::support::{
    World, keys,
    people::{self, function},
    wire::Answer,
};

/// TS 29.222 clause 5.3.2: publish, get, update, patch, unpublish by the APF.
#[tokio::test]
async fn the_life_of_a_published_api() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    let mut description = domain.description("weather", &["PKI"]);
    description["vendorSpecific-000001"] = json!({ "kept": true });
    description["supportedFeatures"] = "fffff".into();
    let answer = domain.apf.post(&domain.apis(), &description).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    let published = answer.json();
    let id = published["apiId"].as_str().unwrap();
    let path = format!("{}/{id}", domain.apis());
    assert!(
        answer.headers["location"]
            .to_str()
            .unwrap()
            .ends_with(&path)
    );
    assert_eq!(published["supportedFeatures"], "3ff");
    // TS 29.222 clause 7.11: vendor members survive.
    assert_eq!(published["vendorSpecific-000001"]["kept"], true);
    assert_eq!(domain.apf.get(&path).await.json(), published);
    assert_eq!(
        domain.apf.get(&domain.apis()).await.json(),
        json!([published])
    );

    let mut changed = published.clone();
    changed["description"] = "tomorrow's".into();
    let answer = domain.apf.put(&path, &changed).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.json()["description"], "tomorrow's");
    assert_eq!(answer.json()["apiId"], id);
    changed["apiId"] = "another".into();
    assert_eq!(
        domain.apf.put(&path, &changed).await.status,
        StatusCode::FORBIDDEN
    );

    let answer = domain
        .apf
        .patch(
            &path,
            &json!({ "description": null, "serviceAPICategory": "sky" }),
        )
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    assert!(answer.json().get("description").is_none());
    assert_eq!(answer.json()["serviceAPICategory"], "sky");
    let answer = domain
        .apf
        .patch(&path, &json!({ "apiName": "other" }))
        .await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert_eq!(answer.cause(), "MODIFICATION_NOT_ALLOWED");
    let answer = domain
        .apf
        .patch(&path, &json!({ "aefProfiles": null }))
        .await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);

    assert_eq!(
        domain.apf.delete(&path).await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(domain.apf.get(&path).await.status, StatusCode::NOT_FOUND);
    assert_eq!(domain.apf.delete(&path).await.status, StatusCode::NOT_FOUND);
    // The name is free again.
    domain.publish("weather", &["PKI"]).await;
}

/// Choice: one name serves one API of a domain until it is free again; another domain may use it too.
#[tokio::test]
async fn a_name_is_taken_once_per_domain() {
    let world = World::start().await;
    let acme = world.domain("acme").await;
    let other = world.domain("other").await;
    let id = acme.publish("weather", &["PKI"]).await;
    let description = acme.description("weather", &["PKI"]);
    let again = acme.apf.post(&acme.apis(), &description).await;
    assert_eq!(again.status, StatusCode::FORBIDDEN);
    assert_eq!(again.cause(), "MODIFICATION_NOT_ALLOWED");
    // Deployed providers compare this text to tell a restart from a failure.
    assert_eq!(
        again.json()["detail"],
        "Already registered service with same api name"
    );
    other.publish("weather", &["PKI"]).await;
    let withdrawn = acme.apf.delete(&format!("{}/{id}", acme.apis())).await;
    assert_eq!(withdrawn.status, StatusCode::NO_CONTENT);
    acme.publish("weather", &["PKI"]).await;
    // Names differ by case and blanks.
    acme.publish("Weather", &["PKI"]).await;
    assert_eq!(world.list("apis").await.len(), 3);
}

/// An invitation for a name that one provider uses is for that provider: another one that takes the name later gets none of
/// the calls (threat: a provider poses as another by the name of its API).
#[tokio::test]
async fn a_name_taken_later_by_another_provider_leads_nowhere() {
    let world = World::start().await;
    let upstream = crate::support::backend::Backend::start();
    let methods = [capif_spec::publish_service::SecurityMethod::Pki];
    let acme = world
        .gateway("acme", "weather", &upstream.url(), &methods)
        .await;
    let early = world.invite(&["weather"]).await;
    let impostor = crate::support::backend::Backend::start();
    let other = world
        .gateway("other", "weather", &impostor.url(), &methods)
        .await;
    let call = || {
        http::Request::get("/weather/v1/today")
            .body(capif_transport::empty())
            .unwrap()
    };
    let amy = capif_client::Invoker::onboard(
        world.keystore("amy"),
        &early,
        Default::default(),
        world.clock(),
    )
    .await
    .unwrap();
    assert_eq!(amy.call("weather", call()).await.unwrap().status(), 200);
    assert_eq!(upstream.seen().len(), 1);

    // Invited after that, an invoker may reach both, and is asked to choose.
    let ben = world.invoker("ben", &["weather"]).await;
    let error = ben.call("weather", call()).await.unwrap_err();
    assert!(
        matches!(error, capif_client::Error::AmbiguousApi { .. }),
        "{error}"
    );
    let wish = capif_client::Wish {
        aef_id: acme.aef_id().clone(),
        api_id: None,
        preferred: methods.to_vec(),
        profile: None,
    };
    ben.negotiate(&[wish]).await.unwrap();
    assert_eq!(ben.call("weather", call()).await.unwrap().status(), 200);
    assert_eq!(upstream.seen().len(), 2);
    assert!(impostor.seen().is_empty());
    other.drain(crate::support::SOON).await;
}

/// Descriptions that nobody could call are refused.
#[tokio::test]
async fn descriptions_that_cannot_be() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    let other = world.domain("other").await;
    let profile = people::profile(&domain.aef.id, &["PKI"]);
    let cases = [
        ("no profile", json!({ "apiName": "a" })),
        (
            "empty profiles",
            json!({ "apiName": "a", "aefProfiles": [] }),
        ),
        (
            "an AEF of others",
            json!({ "apiName": "a", "aefProfiles": [people::profile(&other.aef.id, &["PKI"])] }),
        ),
        (
            "an APF",
            json!({ "apiName": "a", "aefProfiles": [people::profile(&domain.apf.id, &["PKI"])] }),
        ),
        ("no method", {
            let mut profile = profile.clone();
            profile.as_object_mut().unwrap().remove("securityMethods");
            json!({ "apiName": "a", "aefProfiles": [profile] })
        }),
        (
            "an id of its own",
            json!({ "apiName": "a", "apiId": "mine", "aefProfiles": [profile] }),
        ),
        ("two addresses", {
            let mut profile = profile.clone();
            profile["domainName"] = "a.example".into();
            json!({ "apiName": "a", "aefProfiles": [profile] })
        }),
        (
            "a comma in the name",
            json!({ "apiName": "a,b", "aefProfiles": [profile] }),
        ),
    ];
    for (case, description) in cases {
        let answer = domain.apf.post(&domain.apis(), &description).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{case}");
        assert!(!answer.cause().is_empty(), "{case}");
    }
    assert!(world.list("apis").await.is_empty());
}

/// The words of a problem, without what differs each time.
fn words(answer: &Answer) -> Value {
    answer.cause();
    let mut problem = answer.json();
    problem.as_object_mut().unwrap().remove("requestId");
    problem
}

/// P-20, P-22: under its own id an APF finds its own APIs alone; another APF's, of the same domain or another one, and unknown ones
/// look the same.
#[tokio::test]
async fn an_apf_finds_its_own_apis_alone() {
    let world = World::start().await;
    let acme = world.domain("acme").await;
    let umbrella = world.domain("umbrella").await;
    // A second APF in the first domain.
    let key = keys::p256();
    let mut functions = acme.details["apiProvFuncs"].as_array().unwrap().clone();
    functions.push(function("APF", &keys::request(&key)));
    let answer = acme
        .amf
        .patch(&acme.path(), &json!({ "apiProvFuncs": functions }))
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    let second = world.function_of(&answer.json(), 3, &key);
    let own = format!("/published-apis/v1/{}/service-apis", second.id);
    let published = second
        .post(&own, &acme.description("tides", &["PKI"]))
        .await;
    assert_eq!(
        published.status,
        StatusCode::CREATED,
        "{}",
        published.json()
    );

    let first_api = acme.publish("weather", &["PKI"]).await;
    let foreign_api = umbrella.publish("traffic", &["PKI"]).await;
    let description = acme.description("other", &["PKI"]);
    let mut first: [Option<Value>; 4] = Default::default();
    for id in [first_api.as_str(), &foreign_api, "API0", &second.id, "x"] {
        let path = format!("{own}/{id}");
        for (answer, first) in [
            second.get(&path).await,
            second.put(&path, &description).await,
            second.patch(&path, &json!({ "description": "mine" })).await,
            second.delete(&path).await,
        ]
        .iter()
        .zip(&mut first)
        {
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{id}");
            assert_eq!(*first.get_or_insert(words(answer)), words(answer), "{id}");
        }
    }
    let listed = |answer: Answer| answer.json().as_array().unwrap().len();
    assert_eq!(listed(second.get(&own).await), 1);
    assert_eq!(listed(acme.apf.get(&acme.apis()).await), 1);
    // A name is one API's, whichever APF publishes it.
    let taken = second
        .post(&own, &acme.description("weather", &["PKI"]))
        .await;
    assert_eq!(taken.status, StatusCode::FORBIDDEN);
}

/// Clause 5.3.2.4: a rename needs a free name, and frees the old one.
#[tokio::test]
async fn a_rename_takes_one_name_and_frees_the_other() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    let weather = domain.publish("weather", &["PKI"]).await;
    domain.publish("traffic", &["PKI"]).await;
    let path = format!("{}/{weather}", domain.apis());
    let taken = domain
        .apf
        .put(&path, &domain.description("traffic", &["PKI"]))
        .await;
    assert_eq!(taken.status, StatusCode::FORBIDDEN);
    assert_eq!(domain.apf.get(&path).await.json()["apiName"], "weather");
    let renamed = domain
        .apf
        .put(&path, &domain.description("tides", &["PKI"]))
        .await;
    assert_eq!(renamed.status, StatusCode::OK);
    assert_eq!(renamed.json()["apiId"], weather.as_str());
    domain.publish("weather", &["PKI"]).await;
    let taken = domain
        .apf
        .post(&domain.apis(), &domain.description("tides", &["PKI"]))
        .await;
    assert_eq!(taken.status, StatusCode::FORBIDDEN);
}

/// P-08: of many publications of one name at the same moment one succeeds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_parallel_publications_of_a_name_one_succeeds() {
    let world = World::start().await;
    let domain = Arc::new(world.domain("acme").await);
    let barrier = Arc::new(Barrier::new(20));
    let tries: Vec<_> = (0..20)
        .map(|_| {
            let (domain, barrier) = (Arc::clone(&domain), Arc::clone(&barrier));
            tokio::spawn(async move {
                barrier.wait().await;
                let description = domain.description("weather", &["PKI"]);
                domain.apf.post(&domain.apis(), &description).await.status
            })
        })
        .collect();
    let mut created = 0;
    for one in tries {
        match one.await.unwrap() {
            StatusCode::CREATED => created += 1,
            status => assert_eq!(status, StatusCode::FORBIDDEN),
        }
    }
    assert_eq!(created, 1);
    assert_eq!(world.list("apis").await.len(), 1);
}

/// Clause 8.2.4.2.11: of a published API a PATCH changes what the type of the patch names, and nothing into what could not have been
/// published.
#[tokio::test]
async fn a_patch_changes_what_it_may_and_nothing_else() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    let other = world.domain("other").await;
    let id = domain.publish("weather", &["PKI"]).await;
    let path = format!("{}/{id}", domain.apis());
    let before = domain.apf.get(&path).await.json();
    for (patch, status) in [
        (json!({ "apiName": "x" }), StatusCode::FORBIDDEN),
        (json!({ "apiId": "x" }), StatusCode::FORBIDDEN),
        (json!({ "apiId": id }), StatusCode::FORBIDDEN),
        (json!({ "apiProvName": "x" }), StatusCode::FORBIDDEN),
        (json!({ "supportedFeatures": "7" }), StatusCode::FORBIDDEN),
        (
            json!({ "netSliceInfo": [{ "nsiId": "x" }] }),
            StatusCode::FORBIDDEN,
        ),
        (json!({ "surprise": 1 }), StatusCode::FORBIDDEN),
        (
            json!({ "description": "x", "apiName": "y" }),
            StatusCode::FORBIDDEN,
        ),
        (json!([]), StatusCode::BAD_REQUEST),
        (json!({ "aefProfiles": [] }), StatusCode::BAD_REQUEST),
        (json!({ "aefProfiles": null }), StatusCode::BAD_REQUEST),
        (json!({ "aefProfiles": "x" }), StatusCode::BAD_REQUEST),
        (json!({ "description": 1 }), StatusCode::BAD_REQUEST),
        (json!({ "apiStatus": {} }), StatusCode::BAD_REQUEST),
        (
            json!({ "shareableInfo": { "isShareable": true, "capifProvDoms": [] } }),
            StatusCode::BAD_REQUEST,
        ),
        (
            json!({ "aefProfiles": [people::profile(&other.aef.id, &["PKI"])] }),
            StatusCode::BAD_REQUEST,
        ),
        (
            json!({ "aefProfiles": [people::profile(&domain.aef.id, &[])] }),
            StatusCode::BAD_REQUEST,
        ),
    ] {
        let answer = domain.apf.patch(&path, &patch).await;
        assert_eq!(answer.status, status, "{patch}: {}", answer.json());
        answer.cause();
    }
    assert_eq!(domain.apf.get(&path).await.json(), before);

    let patch = json!({
        "apiStatus": { "aefIds": [] },
        "description": "d",
        "shareableInfo": { "isShareable": true, "capifProvDoms": ["b"] },
        "serviceAPICategory": "sky",
        "apiSuppFeats": "1f",
        "pubApiPath": { "ccfIds": ["c"] },
        "ccfId": "c",
        "aefProfiles": [people::profile(&domain.aef.id, &["OAUTH"])],
        "vendorSpecific-000001": { "x": 1 },
    });
    let answer = domain.apf.patch(&path, &patch).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    let after = domain.apf.get(&path).await.json();
    assert_eq!(after, answer.json());
    for (member, value) in patch.as_object().unwrap() {
        if member != "pubApiPath" {
            assert_eq!(after[member], *value, "{member}");
        }
    }
    // The publication passed through this core function too.
    assert_eq!(after["pubApiPath"]["ccfIds"], json!(["c", ccf_id(&world)]));
    assert_eq!(after["apiName"], "weather");
    let nothing: serde_json::Map<String, Value> = patch
        .as_object()
        .unwrap()
        .keys()
        .filter(|member| *member != "aefProfiles")
        .map(|member| (member.clone(), Value::Null))
        .collect();
    let answer = domain.apf.patch(&path, &nothing.into()).await;
    let mut plain = before;
    plain["aefProfiles"] = patch["aefProfiles"].clone();
    assert_eq!(answer.json(), plain);
}

/// D-34: methods may stand on each interface instead of the profile; one interface without any is refused.
#[tokio::test]
async fn every_interface_has_a_method() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    let interface = |methods: Value| {
        let mut interface = json!({ "ipv4Addr": "192.0.2.1", "port": 443 });
        if !methods.is_null() {
            interface["securityMethods"] = methods;
        }
        interface
    };
    for (profile_methods, interfaces, accepted) in [
        (Value::Null, json!([interface(json!(["PKI"]))]), true),
        (
            Value::Null,
            json!([interface(json!(["PKI"])), interface(Value::Null)]),
            false,
        ),
        (
            json!(["PKI"]),
            json!([interface(json!(["OAUTH"])), interface(Value::Null)]),
            true,
        ),
        (Value::Null, json!([interface(Value::Null)]), false),
    ] {
        let mut profile = people::profile(&domain.aef.id, &[]);
        profile["interfaceDescriptions"] = interfaces;
        match profile_methods {
            Value::Null => drop(profile.as_object_mut().unwrap().remove("securityMethods")),
            methods => profile["securityMethods"] = methods,
        }
        let body = json!({ "apiName": "weather", "aefProfiles": [profile] });
        let answer = domain.apf.post(&domain.apis(), &body).await;
        if accepted {
            assert_eq!(
                answer.status,
                StatusCode::CREATED,
                "{body}: {}",
                answer.json()
            );
            let id = answer.json()["apiId"].as_str().unwrap().to_owned();
            domain.apf.delete(&format!("{}/{id}", domain.apis())).await;
        } else {
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
            assert_eq!(answer.cause(), "MANDATORY_IE_INCORRECT");
        }
    }
}

/// P-01 in small: what was published is there after a restart, and what was withdrawn is not.
#[tokio::test]
async fn publications_survive_a_restart() {
    let mut world = World::start().await;
    let domain = world.domain("acme").await;
    let kept = domain.publish("weather", &["PKI"]).await;
    let gone = domain.publish("traffic", &["PKI"]).await;
    domain
        .apf
        .delete(&format!("{}/{gone}", domain.apis()))
        .await;
    world.stop().await;
    world.resume().await;
    let apf = world.with_certificate(&domain.apf.pems);
    let listed = apf
        .json(http::Method::GET, &domain.apis(), None)
        .await
        .json();
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(listed[0]["apiId"], kept.as_str());
    let answer = apf
        .json(
            http::Method::POST,
            &domain.apis(),
            Some(&domain.description("weather", &["PKI"])),
        )
        .await;
    assert_eq!(
        answer.status,
        StatusCode::FORBIDDEN,
        "the name is still taken"
    );
}

/// The id of the core function.
fn ccf_id(world: &World) -> String {
    let id = std::fs::read_to_string(world.dir.path().join("ccf-id")).unwrap();
    id.trim().to_owned()
}

/// The ids of the AEFs that an invoker discovers of each API.
async fn discovered(invoker: &people::RawInvoker) -> Vec<(String, Vec<String>)> {
    let path = format!(
        "/service-apis/v1/allServiceAPIs?api-invoker-id={}",
        invoker.id
    );
    let answer = invoker.get(&path).await.json();
    let apis = answer["serviceAPIDescriptions"].as_array().cloned();
    let aefs = |api: &Value| {
        let profiles = api["aefProfiles"].as_array().unwrap().iter();
        profiles
            .map(|profile| profile["aefId"].as_str().unwrap().to_owned())
            .collect()
    };
    apis.unwrap_or_default()
        .iter()
        .map(|api| (api["apiName"].as_str().unwrap().to_owned(), aefs(api)))
        .collect()
}

/// Table 8.2.6-1, clause 7.8: of a description only what was agreed on is kept, and a later description stays with that.
#[tokio::test]
async fn features_decide_what_is_kept() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    let mut description = domain.description("weather", &["OAUTH"]);
    description["apiSuppFeats"] = json!("f");
    description["apiStatus"] = json!({ "aefIds": [domain.aef.id] });
    description["netSliceInfo"] = json!([{ "nsiId": "one" }]);
    description["vendorSpecific-000001"] = json!([1, 2]);
    let profile = &mut description["aefProfiles"][0];
    profile["grantTypes"] = json!(["CLIENT_CREDENTIALS"]);
    profile["serviceKpis"] = json!({ "maxReqRate": 1 });
    profile["vendorSpecific-000001"] = json!("kept");
    let of = [
        ("/apiSuppFeats", "1"),
        ("/apiStatus", "20"),
        ("/aefProfiles/0/serviceKpis", "40"),
        ("/aefProfiles/0/grantTypes", "80"),
        ("/netSliceInfo", "200"),
    ];
    for (index, features) in ["none", "0", "1", "2", "20", "40", "80", "200", "3ff"]
        .iter()
        .enumerate()
    {
        description["apiName"] = json!(format!("weather-{index}"));
        description["supportedFeatures"] = json!(features);
        if *features == "none" {
            description
                .as_object_mut()
                .unwrap()
                .remove("supportedFeatures");
        }
        let answer = domain.apf.post(&domain.apis(), &description).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
        let kept = answer.json();
        for (pointer, feature) in of {
            let is_kept = kept.pointer(pointer).is_some();
            assert_eq!(
                is_kept,
                [feature, "3ff"].contains(features),
                "{features} {pointer}"
            );
        }
        // Vendor members survive in any case (TS 29.222 clause 7.11).
        assert_eq!(kept["vendorSpecific-000001"], json!([1, 2]));
        assert_eq!(kept["aefProfiles"][0]["vendorSpecific-000001"], "kept");
        // A PATCH cannot bring in what was not agreed on.
        let path = format!("{}/{}", domain.apis(), kept["apiId"].as_str().unwrap());
        let patch = json!({ "apiSuppFeats": "1f", "apiStatus": { "aefIds": [domain.aef.id] } });
        let answer = domain.apf.patch(&path, &patch).await;
        if !["2", "3ff"].contains(features) {
            // Nor is there a PATCH without PatchUpdate.
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{features}");
            assert_eq!(
                answer.json()["invalidParams"][0]["param"],
                "/supportedFeatures"
            );
            continue;
        }
        let patched = answer.json();
        for (pointer, feature) in of {
            let is_kept = patched.pointer(pointer).is_some();
            assert_eq!(
                is_kept,
                [feature, "3ff"].contains(features),
                "{features} {pointer}"
            );
        }
    }
}

/// Clause 8.2.4.2.12: where an API is not active nobody finds it and no grant counts; its publisher sees what it published.
#[tokio::test]
async fn an_inactive_api_is_not_to_be_had() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    let invoker = world.raw_invoker(&[]).await;
    let id = domain.publish("weather", &["OAUTH"]).await;
    let path = format!("{}/{id}", domain.apis());
    let context = format!("{}?authorizationInfo=true", invoker.context());
    let found = || async { discovered(&invoker).await };
    let granted = || async {
        let answer = domain.aef.get(&context).await.json();
        let info = answer["securityInfo"][0]["authorizationInfo"]
            .as_str()
            .unwrap()
            .to_owned();
        serde_json::from_str::<Value>(&info).unwrap()["apis"].clone()
    };
    let negotiated = invoker.negotiate(&domain.aef.id, &["OAUTH"]).await;
    assert_eq!(negotiated.status, StatusCode::CREATED);
    assert_eq!(granted().await, json!(["weather"]));
    let shown = vec![("weather".to_owned(), vec![domain.aef.id.clone()])];
    assert_eq!(found().await, shown);

    let inactive = json!({ "apiStatus": { "aefIds": [] } });
    let answer = domain.apf.patch(&path, &inactive).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(
        answer.json()["aefProfiles"][0]["aefId"],
        domain.aef.id.as_str()
    );
    assert_eq!(domain.apf.get(&path).await.json(), answer.json());
    assert_eq!(found().await, []);
    assert_eq!(granted().await, json!([]));
    let token = invoker
        .token(Some(&format!("3gpp#{}:weather", domain.aef.id)))
        .await;
    assert_eq!(token.status, StatusCode::BAD_REQUEST, "{}", token.json());
    let again = invoker.negotiate(&domain.aef.id, &["OAUTH"]).await;
    assert_eq!(again.status, StatusCode::BAD_REQUEST);

    let answer = domain.apf.patch(&path, &json!({ "apiStatus": null })).await;
    assert!(answer.json().get("apiStatus").is_none());
    assert_eq!(found().await, shown);
    assert_eq!(granted().await, json!(["weather"]));
}

/// Clause 5.3.2.2: a publication that came by this core function goes in circles; another one has its id added to the path.
#[tokio::test]
async fn publications_do_not_go_in_circles() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    let own = ccf_id(&world);
    let mut description = domain.description("weather", &["PKI"]);
    description["pubApiPath"] = json!({ "ccfIds": ["another", own] });
    let answer = domain.apf.post(&domain.apis(), &description).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(
        answer.json()["invalidParams"][0]["param"],
        "/pubApiPath/ccfIds"
    );
    description["pubApiPath"] = json!({ "ccfIds": [] });
    let answer = domain.apf.post(&domain.apis(), &description).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    description["pubApiPath"] = json!({ "ccfIds": ["another"] });
    let answer = domain.apf.post(&domain.apis(), &description).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    let mut published = answer.json();
    assert_eq!(published["pubApiPath"]["ccfIds"], json!(["another", own]));
    // As it was answered it may come again; invokers are not told of it.
    let path = format!("{}/{}", domain.apis(), published["apiId"].as_str().unwrap());
    assert_eq!(
        domain.apf.put(&path, &published).await.status,
        StatusCode::OK
    );
    published["pubApiPath"] = json!({ "ccfIds": [own, "another"] });
    assert_eq!(
        domain.apf.put(&path, &published).await.status,
        StatusCode::BAD_REQUEST
    );
    let invoker = world.raw_invoker(&[]).await;
    let search = format!(
        "/service-apis/v1/allServiceAPIs?api-invoker-id={}",
        invoker.id
    );
    let found = invoker.get(&search).await.json();
    assert!(
        found["serviceAPIDescriptions"][0]
            .get("pubApiPath")
            .is_none()
    );
}
