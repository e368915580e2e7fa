use serde_json::{Value, json};

use super::*;
use crate::json;

fn details() -> Value {
    json!({
        "onboardingInformation": { "apiInvokerPublicKey": "key" },
        "notificationDestination": "https://invoker.example/notify",
    })
}

fn read<T: serde::de::DeserializeOwned>(document: &Value) -> T {
    json::from_slice(document.to_string().as_bytes()).unwrap()
}

#[test]
fn rules_reach_into_every_part() {
    let plain: ApiInvokerEnrolmentDetails = read(&details());
    assert_eq!(plain.check(), Ok(()));
    for (member, value, culprit) in [
        (
            "notificationDestination",
            json!("https://a/b?c"),
            "/notificationDestination",
        ),
        ("failureReasons", json!([]), "/failureReasons"),
        (
            "apiList",
            json!({ "serviceAPIDescriptions": [] }),
            "/apiList/serviceAPIDescriptions",
        ),
        (
            "apiList",
            json!({ "serviceAPIDescriptions": [{ "apiName": "" }] }),
            "/apiList/serviceAPIDescriptions/0/apiName",
        ),
        (
            "onboardingInformation",
            json!({ "apiInvokerPublicKey": "key", "onboardingCriteria": [{ "secMethods": [] }] }),
            "/onboardingInformation/onboardingCriteria/0/secMethods",
        ),
        (
            "onboardingInformation",
            json!({
                "apiInvokerPublicKey": "key",
                "onboardingCriteria": [{ "secMethods": ["PKI"], "relatedCriteria": {} }],
            }),
            "/onboardingInformation/onboardingCriteria/0/relatedCriteria",
        ),
        (
            "apiInvokerInformation",
            json!("a".repeat(70_000)),
            "/apiInvokerInformation",
        ),
    ] {
        let mut document = details();
        document[member] = value;
        let details: ApiInvokerEnrolmentDetails = read(&document);
        assert_eq!(details.check().unwrap_err().pointer, culprit);
    }
}

#[test]
fn a_patch_tells_null_from_absence() {
    let absent: ApiInvokerEnrolmentDetailsPatch = read(&json!({}));
    assert_eq!(absent.exp_time, None);
    let null = json!({ "expTime": null });
    let patch: ApiInvokerEnrolmentDetailsPatch = read(&null);
    assert_eq!(patch.exp_time, Some(None));
    assert_eq!(serde_json::to_value(&patch).unwrap(), null);
}

#[test]
fn the_reason_named_other_is_not_an_unknown_one() {
    let reason: OnboardingFailReason = read(&json!("OTHER"));
    assert_eq!(reason, OnboardingFailReason::OtherReason);
    assert_eq!(reason.as_str(), "OTHER");
}

#[test]
fn a_secret_in_a_profile_is_not_printed() {
    let mut document = details();
    document["onboardingInformation"]["onboardingSecret"] = json!("s3cret");
    let details: ApiInvokerEnrolmentDetails = read(&document);
    assert!(!format!("{details:?}").contains("s3cret"));
    assert_eq!(serde_json::to_value(&details).unwrap(), document);
}
