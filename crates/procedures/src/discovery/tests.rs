use serde_json::{Value, json};

use super::*;
use crate::{fixtures::*, refusal::RequestFault};

/// The APIs of these tests: `weather` by two AEFs, `traffic` by one, and a `weather` of another domain.
fn apis() -> Vec<ServiceApi> {
    let first = json!({
        "aefId": "AEF1",
        "versions": [
            { "apiVersion": "v1", "resources": [{
                "resourceName": "today", "commType": "REQUEST_RESPONSE", "uri": "/today",
            }]},
            { "apiVersion": "v2", "custOperations": [{
                "commType": "SUBSCRIBE_NOTIFY", "custOpName": "watch",
            }]},
        ],
        "protocol": "HTTP_2",
        "dataFormat": "JSON",
        "domainName": "one.example",
        "securityMethods": ["PKI"],
    });
    let second = json!({
        "aefId": "AEF2",
        "versions": [{ "apiVersion": "v1" }],
        "protocol": "HTTP_1_1",
        "dataFormat": "XML",
        "domainName": "two.example",
        "securityMethods": ["OAUTH"],
    });
    let mut weather = api("A1", "weather", &[wire(first), wire(second.clone())]);
    weather.description.service_api_category = Some("nature".to_owned());
    weather.description.api_prov_name = Some("the office".to_owned());
    weather.description.api_supp_feats = Some("16".into());
    let traffic = api("A2", "traffic", &[wire(second.clone())]);
    let mut abroad = api("A3", "weather", &[wire(second)]);
    abroad.description.api_supp_feats = Some("1".into());
    vec![weather, traffic, elsewhere(abroad, "APF9", "DOM9")]
}

/// What is found: each API with its profiles, as `A1: AEF1 AEF2`.
fn found(criteria: &Criteria, reach: &ApiReach, apis: &[ServiceApi]) -> Vec<String> {
    let answer = discover(criteria, reach, apis.iter()).unwrap();
    let descriptions = answer.service_api_descriptions.into_iter().flatten();
    descriptions
        .map(|description| {
            let profiles = description.aef_profiles.iter().flatten();
            let profiles: Vec<&str> = profiles.map(|profile| profile.aef_id.as_str()).collect();
            format!("{}: {}", description.api_id.unwrap(), profiles.join(" "))
        })
        .collect()
}

const ALL: [&str; 3] = ["A1: AEF1 AEF2", "A2: AEF2", "A3: AEF2"];

/// TS 29.222 table 8.1.2.2.3.1-1: each criterion narrows the answer, and all that are given must hold; those about profiles
/// leave only the profiles that match.
#[test]
fn criteria_narrow_the_answer() {
    let text = |text: &str| Some(text.to_owned());
    let none = Criteria::default;
    let cases: Vec<(Criteria, &[&str])> = vec![
        (none(), &ALL),
        (
            Criteria {
                api_name: text("weather"),
                ..none()
            },
            &["A1: AEF1 AEF2", "A3: AEF2"],
        ),
        (
            Criteria {
                api_name: text("Weather"),
                ..none()
            },
            &[],
        ),
        (
            Criteria {
                api_version: text("v1"),
                ..none()
            },
            &ALL,
        ),
        (
            Criteria {
                api_version: text("v2"),
                ..none()
            },
            &["A1: AEF1"],
        ),
        (
            Criteria {
                api_version: text("v3"),
                ..none()
            },
            &[],
        ),
        (
            Criteria {
                comm_type: Some("REQUEST_RESPONSE".into()),
                ..none()
            },
            &["A1: AEF1"],
        ),
        (
            Criteria {
                comm_type: Some("SUBSCRIBE_NOTIFY".into()),
                ..none()
            },
            &["A1: AEF1"],
        ),
        (
            Criteria {
                comm_type: Some("SHOUT".into()),
                ..none()
            },
            &[],
        ),
        (
            Criteria {
                protocol: Some("HTTP_2".into()),
                ..none()
            },
            &["A1: AEF1"],
        ),
        (
            Criteria {
                protocol: Some("HTTP_1_1".into()),
                ..none()
            },
            &["A1: AEF2", "A2: AEF2", "A3: AEF2"],
        ),
        (
            Criteria {
                protocol: Some("MQTT".into()),
                ..none()
            },
            &[],
        ),
        (
            Criteria {
                aef_id: text("AEF1"),
                ..none()
            },
            &["A1: AEF1"],
        ),
        (
            Criteria {
                aef_id: text("AEF9"),
                ..none()
            },
            &[],
        ),
        (
            Criteria {
                data_format: Some("JSON".into()),
                ..none()
            },
            &["A1: AEF1"],
        ),
        (
            Criteria {
                data_format: Some("PROTOBUF3".into()),
                ..none()
            },
            &[],
        ),
        (
            Criteria {
                api_cat: text("nature"),
                ..none()
            },
            &["A1: AEF1 AEF2"],
        ),
        (
            Criteria {
                api_cat: text("art"),
                ..none()
            },
            &[],
        ),
        (
            Criteria {
                api_prov_name: text("the office"),
                ..none()
            },
            &["A1: AEF1 AEF2"],
        ),
        (
            Criteria {
                api_prov_name: text("office"),
                ..none()
            },
            &[],
        ),
        (
            Criteria {
                api_ids: Some(vec!["A3".into(), "A2".into(), "A8".into()]),
                ..none()
            },
            &["A2: AEF2", "A3: AEF2"],
        ),
        (
            Criteria {
                api_ids: Some(vec!["A8".into()]),
                ..none()
            },
            &[],
        ),
        (
            Criteria {
                api_ids: Some(Vec::new()),
                ..none()
            },
            &[],
        ),
        // Together.
        (
            Criteria {
                api_name: text("weather"),
                api_version: text("v2"),
                ..none()
            },
            &["A1: AEF1"],
        ),
        (
            Criteria {
                api_name: text("traffic"),
                api_version: text("v2"),
                ..none()
            },
            &[],
        ),
        (
            Criteria {
                aef_id: text("AEF2"),
                api_cat: text("nature"),
                ..none()
            },
            &["A1: AEF2"],
        ),
        // Two that hold, but for different profiles.
        (
            Criteria {
                aef_id: text("AEF2"),
                protocol: Some("HTTP_2".into()),
                ..none()
            },
            &[],
        ),
        (
            Criteria {
                aef_id: text("AEF1"),
                data_format: Some("XML".into()),
                ..none()
            },
            &[],
        ),
    ];
    for (criteria, expected) in cases {
        assert_eq!(
            found(&criteria, &ApiReach::default(), &apis()),
            expected,
            "{criteria:?}"
        );
    }
}

/// TS 29.222 table 8.1.2.2.3.1-1: an API is found by its features when it has all that are asked for.
#[test]
fn features_of_an_api() {
    let cases: [(&str, &[&str]); 7] = [
        ("0", &["A1: AEF1 AEF2", "A3: AEF2"]),
        ("1", &["A3: AEF2"]),
        ("2", &["A1: AEF1 AEF2"]),
        ("10", &["A1: AEF1 AEF2"]),
        ("016", &["A1: AEF1 AEF2"]),
        ("17", &[]),
        ("100", &[]),
    ];
    for (wanted, expected) in cases {
        let criteria = Criteria {
            api_name: Some("weather".to_owned()),
            api_supported_features: Some(wanted.into()),
            ..Criteria::default()
        };
        let found = found(&criteria, &ApiReach::default(), &apis());
        assert_eq!(found, expected, "{wanted}");
    }
    let of_one_without = Criteria {
        api_name: Some("traffic".to_owned()),
        api_supported_features: Some("0".into()),
        ..Criteria::default()
    };
    assert_eq!(
        found(&of_one_without, &ApiReach::default(), &apis()),
        [] as [&str; 0]
    );
}

/// TS 33.122 clause 6.3: an invoker discovers what it is enrolled for, whatever it asks for.
#[test]
fn nothing_beyond_reach_is_found() {
    let both = |domain: &str, list: &[&str]| ApiReach {
        domain: Some(domain.into()),
        ..names(list)
    };
    let cases: [(ApiReach, &[&str]); 8] = [
        (ApiReach::default(), &ALL),
        (names(&["weather"]), &["A1: AEF1 AEF2", "A3: AEF2"]),
        (names(&["weather", "traffic"]), &ALL),
        (names(&[]), &[]),
        (domain_only("DOM"), &["A1: AEF1 AEF2", "A2: AEF2"]),
        (domain_only("DOM8"), &[]),
        (both("DOM9", &["weather"]), &["A3: AEF2"]),
        (both("DOM9", &["traffic"]), &[]),
    ];
    for (reach, expected) in cases {
        let everything = Criteria::default();
        assert_eq!(found(&everything, &reach, &apis()), expected, "{reach:?}");
        let by_id = Criteria {
            api_ids: Some(vec!["A1".into(), "A2".into(), "A3".into()]),
            ..Criteria::default()
        };
        assert_eq!(found(&by_id, &reach, &apis()), expected, "{reach:?}");
    }
}

/// TS 29.222 table 8.1.2.2.3.1-1: `api-ids` excludes every other criterion, though not the negotiation of features.
#[test]
fn ids_stand_alone() {
    let text = || Some("x".to_owned());
    let none = Criteria::default;
    let others = [
        Criteria {
            api_name: text(),
            ..none()
        },
        Criteria {
            api_version: text(),
            ..none()
        },
        Criteria {
            comm_type: Some("REQUEST_RESPONSE".into()),
            ..none()
        },
        Criteria {
            protocol: Some("HTTP_2".into()),
            ..none()
        },
        Criteria {
            aef_id: text(),
            ..none()
        },
        Criteria {
            data_format: Some("JSON".into()),
            ..none()
        },
        Criteria {
            api_cat: text(),
            ..none()
        },
        Criteria {
            api_prov_name: text(),
            ..none()
        },
        Criteria {
            api_name: text(),
            api_supported_features: Some("1".into()),
            ..none()
        },
    ];
    let reach = ApiReach::default();
    for other in others {
        let criteria = Criteria {
            api_ids: Some(vec!["A1".to_owned()]),
            ..other
        };
        let refusal = discover(&criteria, &reach, apis().iter()).unwrap_err();
        assert!(
            matches!(&refusal, Refusal::Malformed { pointer, fault: RequestFault::Query, .. }
                if pointer == "api-ids"),
            "{criteria:?}: {refusal:?}"
        );
    }
    let criteria = Criteria {
        api_ids: Some(vec!["A1".to_owned()]),
        supported_features: Some("1".into()),
        ..Criteria::default()
    };
    assert_eq!(found(&criteria, &reach, &apis()), ["A1: AEF1 AEF2"]);
}

/// TS 29.222 table 8.1.2.2.3.1-1: features of an API are asked for beside its name.
#[test]
fn features_need_a_name() {
    let criteria = Criteria {
        api_supported_features: Some("1".into()),
        api_cat: Some("nature".to_owned()),
        ..Criteria::default()
    };
    let refusal = discover(&criteria, &ApiReach::default(), apis().iter()).unwrap_err();
    assert!(matches!(
        refusal,
        Refusal::Malformed { pointer, fault: RequestFault::Query, .. }
            if pointer == "api-supported-features"
    ));
}

/// TS 29.222 table 8.1.4.2.2-1: when nothing is found the list is left out. Features are answered as far as both sides have
/// them, and only if asked for (TS 29.222 clause 7.8).
#[test]
fn the_answer() {
    let cases = [
        (None, json!({})),
        (Some("0"), json!({ "suppFeat": "0" })),
        (Some("F"), json!({ "suppFeat": "1" })),
    ];
    for (features, expected) in cases {
        let criteria = Criteria {
            supported_features: features.map(SupportedFeatures::from),
            ..Criteria::default()
        };
        for (reach, apis) in [
            (ApiReach::default(), Vec::new()),
            (names(&["maps"]), apis()),
        ] {
            let answer = discover(&criteria, &reach, apis.iter()).unwrap();
            assert_eq!(serde_json::to_value(answer).unwrap(), expected);
        }
    }
}

/// TS 29.222 clause 8.2.4.2.2: with whom an API may be shared and which way it came is for core functions only.
#[test]
fn what_is_for_core_functions_is_hidden() {
    let mut apis = apis();
    let plain = serde_json::to_value(view(&apis[0])).unwrap();
    let description = &mut apis[0].description;
    description.shareable_info = Some(wire(json!({ "isShareable": true, "capifProvDoms": ["x"] })));
    description.pub_api_path = Some(wire(json!({ "ccfIds": ["CCF"] })));
    description
        .extra
        .insert("vendorSpecific-000001".to_owned(), json!(7));
    let answer = discover(&Criteria::default(), &names(&["weather"]), apis.iter()).unwrap();
    let shown = serde_json::to_value(&answer.service_api_descriptions.unwrap()[0]).unwrap();
    let mut expected = plain;
    expected["vendorSpecific-000001"] = json!(7);
    assert_eq!(shown, expected);
}

/// TS 29.222 clause 8.2.4.2.4: a profile shows its security methods; where only its interfaces name some, all of those.
#[test]
fn methods_of_interfaces_are_filled_in() {
    let cases: [(&str, AefProfile, Value); 5] = [
        (
            "from its interfaces, each once",
            profile_with(
                "AEF",
                &[],
                &[("a", &[Oauth, Pki]), ("b", &[Pki, Psk]), ("c", &[Oauth])],
            ),
            json!(["OAUTH", "PKI", "PSK"]),
        ),
        (
            "its own without interfaces",
            profile("AEF", &[Psk]),
            json!(["PSK"]),
        ),
        (
            "its own beside those of interfaces",
            profile_with("AEF", &[Pki], &[("a", &[Oauth]), ("b", &[])]),
            json!(["PKI"]),
        ),
        (
            "an empty list is none",
            {
                let mut profile = profile_with("AEF", &[], &[("a", &[Pki])]);
                profile.security_methods = Some(Vec::new());
                profile
            },
            json!(["PKI"]),
        ),
        (
            "its own, in its order",
            profile("AEF", &[Pki, Oauth]),
            json!(["PKI", "OAUTH"]),
        ),
    ];
    for (case, profile, expected) in cases {
        let before = serde_json::to_value(&profile).unwrap();
        let shown = view(&api("A", "weather", &[profile]));
        let mut shown = serde_json::to_value(&shown.aef_profiles.unwrap()[0]).unwrap();
        assert_eq!(shown["securityMethods"], expected, "{case}");
        // Nothing else of the profile changes.
        shown["securityMethods"] = before["securityMethods"].clone();
        let mut before = before;
        before["securityMethods"] = shown["securityMethods"].clone();
        assert_eq!(shown, before, "{case}");
    }
}
