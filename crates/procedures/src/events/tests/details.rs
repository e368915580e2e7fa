//! What each event says.

use super::*;

/// TS 29.222 clause 8.3.4.2.5: the detail of an event about an invoker holds its id; about an API its id, for an update the
/// description as invokers may see it.
#[test]
fn details_say_what_it_is_about() {
    let mut weather = api("API1", "weather", &[profile("AEF", &[Oauth])]);
    weather.description.shareable_info = Some(wire(json!({ "isShareable": false })));
    let shown = json!({
        "serviceAPIDescriptions": [{
            "apiName": "weather",
            "apiId": "API1",
            "aefProfiles": [{
                "aefId": "AEF",
                "versions": [{ "apiVersion": "v1" }],
                "domainName": "aef.example",
                "securityMethods": ["OAUTH"],
            }],
        }],
    });
    let inv1 = ApiInvokerId::from("INV1");
    let cases = [
        (
            of_invoker(CapifEvent::ApiInvokerOnboarded, &inv1, everyone()),
            json!({ "apiInvokerIds": ["INV1"] }),
        ),
        (
            of_revocation(&inv1, None, everyone()),
            json!({ "apiInvokerIds": ["INV1"] }),
        ),
        (
            of_api(CapifEvent::ServiceApiAvailable, &weather),
            json!({ "apiIds": ["API1"] }),
        ),
        (
            of_api(CapifEvent::ServiceApiUnavailable, &weather),
            json!({ "apiIds": ["API1"] }),
        ),
        (of_api(CapifEvent::ServiceApiUpdate, &weather), shown),
    ];
    for (occurrence, expected) in cases {
        let event = occurrence.event().to_string();
        let subscription = subscription("AEF", Role::Aef, &[&event]);
        let mut changes = Changes::new();
        raise(
            &mut changes,
            occurrence,
            [&subscription].into_iter(),
            &now(),
        );
        assert_eq!(notified(&changes), [("AEF".to_owned(), event, expected)]);
    }
}

/// TS 29.222 clause 8.3.4.2.5: calls are told apart by their result; those of other domains, and those that the filter does not ask
/// for, are not told.
#[test]
fn calls_are_told_to_whom_they_concern() {
    let apis = [
        api("API1", "weather", &[profile("AEF", &[Pki])]),
        api("API2", "traffic", &[profile("AEF", &[Pki])]),
    ];
    let log = |api: &str, result: &str| {
        json!({
            "apiId": api, "apiName": "weather", "apiVersion": "v1", "resourceName": "today",
            "protocol": "HTTP_1_1", "result": result,
        })
    };
    let results = [
        "200", "204", "302", "399", "400", "404", "503", "100", "-1", "", "OK", "20000",
    ];
    let mut logs: Vec<Value> = results.iter().map(|result| log("API1", result)).collect();
    logs.push(log("API2", "200"));
    logs.push(log("API9", "200"));
    let report = wire(json!({ "aefId": "AEF", "apiInvokerId": "INV", "logs": logs }));
    let told = |subscription: &Subscription| {
        let mut changes = Changes::new();
        for occurrence in
            of_invocations(&report, |id| apis.iter().find(|api| api.id.as_str() == id))
        {
            raise(
                &mut changes,
                occurrence,
                std::iter::once(subscription),
                &now(),
            );
        }
        notified(&changes)
    };
    let results_of = |detail: &Value| -> Vec<String> {
        let reports = detail["invocationLogs"].as_array().unwrap();
        assert_eq!(reports.len(), 1);
        assert_eq!(
            (&reports[0]["aefId"], &reports[0]["apiInvokerId"]),
            (&json!("AEF"), &json!("INV"))
        );
        let logs = reports[0]["logs"].as_array().unwrap();
        logs.iter()
            .map(|log| {
                format!(
                    "{} {}",
                    log["apiId"].as_str().unwrap(),
                    log["result"].as_str().unwrap()
                )
            })
            .collect()
    };
    let both = [
        "SERVICE_API_INVOCATION_SUCCESS",
        "SERVICE_API_INVOCATION_FAILURE",
    ];
    let mut amf = subscription("AMF", Role::Amf, &both);
    amf.reach = domain_only("DOM");
    let all = told(&amf);
    assert_eq!(all.len(), 2);
    assert_eq!(all[0].1, both[0]);
    assert_eq!(
        results_of(&all[0].2),
        ["API1 200", "API1 204", "API1 302", "API1 399", "API2 200"]
    );
    assert_eq!(all[1].1, both[1]);
    assert_eq!(results_of(&all[1].2).len(), 8);

    for (filter, expected) in [
        (json!({ "apiIds": ["API2"] }), 1),
        (json!({ "apiIds": ["API9"] }), 0),
        (json!({ "apiInvokerIds": ["INV"], "aefIds": ["AEF"] }), 5),
        (json!({ "apiInvokerIds": ["INV2"] }), 0),
        (json!({ "aefIds": ["AEF2"] }), 0),
    ] {
        amf.subscription.event_filters = Some(vec![
            wire(filter.clone()),
            wire(json!({ "apiIds": ["none"] })),
        ]);
        let heard = told(&amf);
        let count: usize = heard
            .iter()
            .map(|(_, _, detail)| results_of(detail).len())
            .sum();
        assert_eq!(count, expected, "{filter}");
    }
    let mut stranger = subscription("AMF9", Role::Amf, &both);
    stranger.reach = domain_only("DOM9");
    assert_eq!(told(&stranger), []);
}

/// A report of many calls is told in several events, each of no more than fit.
#[test]
fn many_calls_are_told_in_several_events() {
    let api = api("API1", "weather", &[profile("AEF", &[Pki])]);
    let log = json!({
        "apiId": "API1", "apiName": "weather", "apiVersion": "v1", "resourceName": "today",
        "protocol": "HTTP_1_1", "result": "200",
    });
    let report =
        wire(json!({ "aefId": "AEF", "apiInvokerId": "INV", "logs": vec![log; 2 * LOGS_MAX + 1] }));
    assert_eq!(of_invocations(&report, |_| Some(&api)).len(), 3);
}

/// TS 29.222 table 8.3.6-1: the state of an API is told to who follows it, the others hear of it as before.
#[test]
fn the_state_of_apis_needs_its_feature() {
    let mut weather = api("API1", "weather", &[profile("AEF", &[Oauth])]);
    weather.description.api_status = Some(wire(json!({ "aefIds": [] })));
    assert!(!weather.is_active());
    for (features, described) in [("4", false), ("C", true)] {
        for event in ["SERVICE_API_AVAILABLE", "SERVICE_API_UNAVAILABLE"] {
            let mut held = subscription("AEF", Role::Aef, &[event]);
            held.subscription.supported_features = Some(features.into());
            let mut changes = Changes::new();
            let occurrence = of_api(CapifEvent::from(event), &weather);
            raise(&mut changes, occurrence, std::iter::once(&held), &now());
            let (_, _, detail) = notified(&changes).remove(0);
            assert_eq!(detail["apiIds"], json!(["API1"]));
            let status = detail["serviceAPIDescriptions"][0]["apiStatus"].clone();
            let expected = if described {
                json!({ "aefIds": [] })
            } else {
                Value::Null
            };
            assert_eq!(status, expected, "{event} {features}");
        }
        let mut held = subscription("AEF", Role::Aef, &["SERVICE_API_UPDATE"]);
        held.subscription.supported_features = Some(features.into());
        let mut changes = Changes::new();
        let occurrence = of_api(CapifEvent::ServiceApiUpdate, &weather);
        raise(&mut changes, occurrence, std::iter::once(&held), &now());
        let (_, _, detail) = notified(&changes).remove(0);
        assert_eq!(
            detail["serviceAPIDescriptions"][0]
                .get("apiStatus")
                .is_some(),
            described
        );
    }
}

/// TS 29.222 clause 8.3.4.2.5: counts, criteria and hidden topology come with their details, each to those whom they concern.
#[test]
fn counts_criteria_and_topology_are_told_within_reach() {
    let weather = api("API1", "weather", &[profile("AEF", &[Oauth])]);
    let abroad = elsewhere(
        api("API2", "traffic", &[profile("AEF9", &[Oauth])]),
        "APF9",
        "DOM9",
    );
    let told = |occurrence: Occurrence, id: &str, role| {
        let event = occurrence.event().to_string();
        let mut held = subscription(id, role, &[&event]);
        held.reach = domain_only("DOM");
        let mut changes = Changes::new();
        raise(&mut changes, occurrence, std::iter::once(&held), &now());
        notified(&changes).pop().map(|(_, _, detail)| detail)
    };
    let counts = vec![(weather.clone(), 3), (abroad.clone(), 5)];
    assert_eq!(
        told(of_onboarded_counts(counts), "AMF", Role::Amf),
        Some(json!({ "onboardedCount": [{ "apiId": "API1", "count": 3 }] }))
    );
    assert_eq!(
        told(
            of_onboarded_counts(vec![(abroad.clone(), 5)]),
            "AMF",
            Role::Amf
        ),
        None
    );
    let count =
        |id: &str| wire(json!({ "apiId": id, "discoveryReqCount": 2, "discoveryRspCount": 1 }));
    let counts = vec![
        (abroad.clone(), count("API2")),
        (weather.clone(), count("whatever")),
    ];
    assert_eq!(
        told(of_discovery_counts(counts), "APF", Role::Apf),
        Some(
            json!({ "discoveryCount": [{ "apiId": "API1", "discoveryReqCount": 2, "discoveryRspCount": 1 }] })
        )
    );
    let criteria = json!([{ "secMethods": ["PKI"] }]);
    let failed = |apis| of_failed_criteria(None, wire(criteria.clone()), apis);
    assert_eq!(
        told(
            failed(vec![weather.clone(), abroad.clone()]),
            "AMF",
            Role::Amf
        ),
        Some(json!({ "apiIds": ["API1"], "onboardingCriteria": criteria }))
    );
    assert_eq!(told(failed(vec![abroad]), "AMF", Role::Amf), None);
    let hiding = json!({ "apiId": "API1", "routingRules": [] });
    for event in [
        CapifEvent::ApiTopologyHidingCreated,
        CapifEvent::ApiTopologyHidingRevoked,
    ] {
        let occurrence = || {
            of_hiding(
                event.clone(),
                &weather,
                &AefId::from("AEF"),
                wire(hiding.clone()),
            )
        };
        assert_eq!(
            told(occurrence(), "AEF", Role::Aef),
            Some(json!({ "apiTopoHide": hiding }))
        );
        assert_eq!(told(occurrence(), "AEF2", Role::Aef), None);
    }
}
