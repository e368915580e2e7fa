use serde_json::{Value, json};

use super::*;
use crate::checked::Checked;

fn entry(vendor: &Value) -> SecurityInformation {
    serde_json::from_value(json!({
        "aefId": "AEF", "prefSecurityMethods": ["PSK"], MEMBER: vendor,
    }))
    .unwrap()
}

fn interface(vendor: &Value) -> InterfaceDescription {
    serde_json::from_value(json!({ "fqdn": "aef.example", MEMBER: vendor })).unwrap()
}

#[test]
fn what_is_left_out_has_a_default() {
    let plain: SecurityInformation =
        serde_json::from_value(json!({ "aefId": "AEF", "prefSecurityMethods": ["PSK"] })).unwrap();
    let defaults = MethodTerms {
        psk_profile: None,
        access_scenario: AccessScenario::BeforeInvocation,
    };
    assert_eq!(MethodTerms::of(&plain), Ok(defaults));
    assert_eq!(MethodTerms::of(&entry(&json!({}))), Ok(defaults));
    let another = json!({ "another": [1] });
    assert_eq!(MethodTerms::of(&entry(&another)), Ok(defaults));
    let defaults = InterfaceTerms {
        psk_tls: PskTls::Tls13,
        oauth_mutual_tls: false,
    };
    assert_eq!(
        InterfaceTerms::of(&InterfaceDescription::default()),
        Ok(defaults)
    );
    assert_eq!(InterfaceTerms::of(&interface(&json!({}))), Ok(defaults));
}

#[test]
fn words_are_read() {
    for profile in [PskProfile::A1Exporter, PskProfile::A1Tls12] {
        for scenario in [
            AccessScenario::BeforeInvocation,
            AccessScenario::AtInvocation,
        ] {
            let terms = entry(&json!({ "pskProfile": profile, "accessScenario": scenario }));
            let expected = MethodTerms {
                psk_profile: Some(profile),
                access_scenario: scenario,
            };
            assert_eq!(MethodTerms::of(&terms), Ok(expected));
            assert_eq!(terms.check(), Ok(()));
        }
    }
    for (tls, word) in [(PskTls::Tls12, "1.2"), (PskTls::Tls13, "1.3")] {
        for mutual in [false, true] {
            let terms = interface(&json!({ "pskTls": word, "oauthMutualTls": mutual }));
            let expected = InterfaceTerms {
                psk_tls: tls,
                oauth_mutual_tls: mutual,
            };
            assert_eq!(InterfaceTerms::of(&terms), Ok(expected));
            assert_eq!(terms.check(), Ok(()));
        }
    }
}

/// What is no word of its place breaks the rules of the schema, with the member named and its value not repeated.
#[test]
fn anything_else_is_a_violation() {
    for (vendor, member) in [
        (json!({ "pskProfile": "a1" }), "/pskProfile"),
        (json!({ "pskProfile": "A1-EXPORTER" }), "/pskProfile"),
        (json!({ "pskProfile": null }), "/pskProfile"),
        (json!({ "pskProfile": 1 }), "/pskProfile"),
        (json!({ "accessScenario": "later" }), "/accessScenario"),
        (json!({ "accessScenario": null }), "/accessScenario"),
        (
            json!({ "accessScenario": ["at-invocation"] }),
            "/accessScenario",
        ),
        (json!("a1-tls12"), ""),
        (json!(["a1-tls12", "at-invocation"]), ""),
        (json!([]), ""),
        (json!(null), ""),
    ] {
        let violation = entry(&vendor).check().unwrap_err();
        assert_eq!(violation.pointer, format!("/{MEMBER}{member}"), "{vendor}");
        assert!(!violation.reason.contains("later"), "{violation}");
    }
    for (vendor, member) in [
        (json!({ "pskTls": "1.1" }), "/pskTls"),
        (json!({ "pskTls": 1.3 }), "/pskTls"),
        (json!({ "pskTls": "TLS 1.3" }), "/pskTls"),
        (json!({ "pskTls": null }), "/pskTls"),
        (json!({ "oauthMutualTls": "true" }), "/oauthMutualTls"),
        (json!({ "oauthMutualTls": null }), "/oauthMutualTls"),
        (json!({ "oauthMutualTls": 1 }), "/oauthMutualTls"),
        (json!("1.3"), ""),
        (json!([]), ""),
    ] {
        let violation = interface(&vendor).check().unwrap_err();
        assert_eq!(violation.pointer, format!("/{MEMBER}{member}"), "{vendor}");
    }
}
