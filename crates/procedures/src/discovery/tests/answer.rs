use capif_spec::publish_service::AefProfile;

use super::*;

/// TS 29.222 table 8.1.4.2.2-1: when nothing is found the list is left out. Features are answered as far as both sides have
/// them, and only if asked for (TS 29.222 clause 7.8).
#[test]
fn the_answer() {
    let cases = [
        (None, json!({})),
        (Some("0"), json!({ "suppFeat": "0" })),
        (Some("F"), json!({ "suppFeat": "f" })),
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
            let answer = discover(criteria.clone(), &reach, &catalogue(&apis)).unwrap();
            assert_eq!(serde_json::to_value(answer).unwrap(), expected);
        }
    }
}

/// TS 29.222 clause 8.2.4.2.2: with whom an API may be shared and which way it came is for core functions only.
#[test]
fn what_is_for_core_functions_is_hidden() {
    let mut apis = apis();
    let bare = serde_json::to_value(view(&apis[0])).unwrap();
    let description = &mut apis[0].description;
    description.shareable_info = Some(wire(json!({ "isShareable": true, "capifProvDoms": ["x"] })));
    description.pub_api_path = Some(wire(json!({ "ccfIds": ["CCF"] })));
    description
        .extra
        .insert("vendorSpecific-000001".to_owned(), json!(7));
    let answer = discover(Criteria::default(), &names(&["weather"]), &catalogue(&apis)).unwrap();
    let shown = serde_json::to_value(&answer.service_api_descriptions.unwrap()[0]).unwrap();
    let mut expected = bare;
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
