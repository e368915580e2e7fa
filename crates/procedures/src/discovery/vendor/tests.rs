use serde_json::json;

use super::*;
use crate::fixtures::*;

fn api() -> ServiceApiDescription {
    wire(json!({
        "apiName": "weather",
        "aefProfiles": [
            {
                "aefId": "AEF1",
                "versions": [
                    { "apiVersion": "v1", "vendorSpecific-x": { "age": 1 } },
                    { "apiVersion": "v2", "vendorSpecific-x": { "age": 2 } },
                ],
                "interfaceDescriptions": [{ "fqdn": "a.example", "vendorSpecific-x": "fast" }],
                "vendorSpecific-x": { "kinds": ["a", "b"], "deep": [{ "k": 1 }, { "k": [2, 3] }] },
            },
            { "aefId": "AEF2", "versions": [{ "apiVersion": "v1" }], "domainName": "b.example" },
        ],
        "shareableInfo": { "isShareable": true, "secret": 1 },
        "vendorSpecific-x": { "a/b": { "c": true } },
        "vendorSpecific-y": 7,
    }))
}

/// The profiles for which a criterion holds; `None` if it does not hold for the API as a whole.
fn held(name: &str, target: &str, value: Value) -> Option<Vec<usize>> {
    let criterion = VendorCriterion::new("vend-spec-x", name, target, value).unwrap();
    let api = api();
    if criterion.fails_for(&api) {
        return None;
    }
    let profiles = api.aef_profiles.iter().flatten().enumerate();
    Some(
        profiles
            .filter(|(index, profile)| {
                !criterion.is_about_profiles() || !criterion.fails_at(*index, profile)
            })
            .map(|(index, _)| index)
            .collect(),
    )
}

/// TS 29.222 clause 7.11: the target leads to the object of the member or to the member; what it says must be there.
#[test]
fn targets_and_values() {
    let (all, first, none) = (Some(vec![0, 1]), Some(vec![0]), Some(vec![]));
    let cases = [
        ("vendorSpecific-y", "", json!(7), all.clone()),
        ("vendorSpecific-y", "/", json!(7), all.clone()),
        (
            "vendorSpecific-y",
            "/vendorSpecific-y",
            json!(7),
            all.clone(),
        ),
        ("vendorSpecific-y", "", json!(8), None),
        ("vendorSpecific-y", "", json!("7"), None),
        ("vendorSpecific-z", "", json!(7), None),
        ("c", "/vendorSpecific-x/a~1b", json!(true), all.clone()),
        ("c", "/vendorSpecific-x/a~1b/c", json!(true), all),
        ("c", "/vendorSpecific-x/a/b", json!(true), None),
        // Profiles: any of them, or one by its place.
        (
            "kinds",
            "/aefProfiles/vendorSpecific-x",
            json!("b"),
            first.clone(),
        ),
        (
            "kinds",
            "/aefProfiles/vendorSpecific-x",
            json!(["a", "b"]),
            first.clone(),
        ),
        (
            "kinds",
            "/aefProfiles/vendorSpecific-x",
            json!("c"),
            none.clone(),
        ),
        (
            "kinds",
            "/aefProfiles/0/vendorSpecific-x",
            json!("b"),
            first.clone(),
        ),
        (
            "kinds",
            "/aefProfiles/1/vendorSpecific-x",
            json!("b"),
            none.clone(),
        ),
        (
            "k",
            "/aefProfiles/vendorSpecific-x/deep",
            json!(1),
            first.clone(),
        ),
        (
            "k",
            "/aefProfiles/vendorSpecific-x/deep",
            json!(3),
            first.clone(),
        ),
        (
            "k",
            "/aefProfiles/vendorSpecific-x/deep/0",
            json!(3),
            none.clone(),
        ),
        (
            "k",
            "/aefProfiles/vendorSpecific-x/deep/1",
            json!(3),
            first.clone(),
        ),
        // What stands below a profile.
        (
            "age",
            "/aefProfiles/versions/vendorSpecific-x",
            json!(2),
            first.clone(),
        ),
        (
            "age",
            "/aefProfiles/0/versions/0/vendorSpecific-x",
            json!(2),
            none.clone(),
        ),
        (
            "vendorSpecific-x",
            "/aefProfiles/interfaceDescriptions",
            json!("fast"),
            first,
        ),
        (
            "vendorSpecific-x",
            "/aefProfiles/interfaceDescriptions/1",
            json!("fast"),
            none.clone(),
        ),
        // Members of the schema are not vendor members, and what is hidden from invokers cannot be guessed at.
        ("isShareable", "/shareableInfo", json!(true), None),
        ("secret", "/shareableInfo", json!(1), None),
        ("aefId", "/aefProfiles", json!("AEF1"), none),
    ];
    for (name, target, value, expected) in cases {
        assert_eq!(
            held(name, target, value.clone()),
            expected,
            "{name} {target} {value}"
        );
    }
}

/// Targets that are no pointers, or lead too far, are refused.
#[test]
fn bad_targets() {
    let deep = "/a".repeat(STEPS_MAX);
    for (name, target) in [("", "/x"), ("x", "x"), ("x", "aefProfiles/0"), ("x", &deep)] {
        let refusal = VendorCriterion::new("vend-spec-x", name, target, json!(1)).unwrap_err();
        assert!(
            matches!(refusal, Refusal::Malformed { pointer, fault: RequestFault::QueryIncorrect, .. }
                if pointer == "vend-spec-x"),
            "{name} {target}"
        );
    }
}
