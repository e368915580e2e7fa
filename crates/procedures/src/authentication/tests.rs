mod keys;
mod renewal;

use serde_json::{Value, json};

use super::*;
use crate::fixtures::*;

fn apis() -> Vec<ServiceApi> {
    vec![
        api(
            "A1",
            "weather",
            &[profile("AEF1", &[Oauth]), profile("AEF2", &[Pki])],
        ),
        api("A2", "traffic", &[profile("AEF1", &[Oauth])]),
        api("A3", "maps", &[profile("AEF3", &[Psk])]),
    ]
}

/// What an AEF gets, with both flags as given.
fn told(
    aef: &str,
    context: &SecurityContext,
    apis: &[ServiceApi],
    (authentication, authorization): (bool, bool),
) -> Result<ServiceSecurity, Refusal> {
    let anchors = ["the trust anchor".to_owned()];
    let policy = policy(&[Psk, Pki, Oauth]);
    security_information(
        &AefId::from(aef),
        &invoker("INV"),
        context,
        apis.iter(),
        authentication,
        authorization,
        Material {
            jwks_uri: "https://ccf.example/.well-known/jwks.json",
            anchors: &anchors,
            unseal: &unsealed,
            policy: &policy,
            renewal: &rotation_terms(),
            now: &now(),
        },
    )
}

/// The JSON texts of an entry: authentication and authorization.
fn texts(information: &capif_spec::security::SecurityInformation) -> (Value, Value) {
    let read = |text: &Option<String>| {
        text.as_ref()
            .map_or(Value::Null, |text| serde_json::from_str(text).unwrap())
    };
    (
        read(&information.authentication_info),
        read(&information.authorization_info),
    )
}

/// TS 29.222 clause 5.6.2.4: an AEF is told of its own entries, in their order, and of nobody else's.
#[test]
fn an_aef_sees_its_own_entries() {
    let context = context(
        "INV",
        vec![
            entry_at("AEF1", Some(Oauth)),
            entry_at("AEF2", Some(Pki)),
            entry_for("AEF1", "A2", Oauth),
            entry_at("AEF10", Some(Oauth)),
        ],
    );
    let cases = [
        (
            "AEF1",
            vec![
                (None, vec!["weather", "traffic"]),
                (Some("A2"), vec!["traffic"]),
            ],
        ),
        ("AEF2", vec![(None, vec!["weather"])]),
        ("AEF10", vec![(None, vec![])]),
    ];
    for (aef, expected) in cases {
        let answer = told(aef, &context, &apis(), (true, true)).unwrap();
        assert_eq!(answer.security_info.len(), expected.len(), "{aef}");
        for (information, (api, names)) in answer.security_info.iter().zip(expected) {
            assert_eq!(information.aef_id, Some(aef.into()));
            assert_eq!(information.api_id, api.map(Into::into));
            let (_, authorization) = texts(information);
            assert_eq!(authorization["apis"], json!(names), "{aef}");
        }
        let text = serde_json::to_string(&answer).unwrap();
        for other in ["AEF1\"", "AEF2\"", "AEF10\""] {
            assert_eq!(text.contains(other), *other == format!("{aef}\""), "{aef}");
        }
    }
}

/// An unknown invoker is answered by the edge in these words too, so that an AEF cannot tell it from one that has nothing to do
/// with it.
#[test]
fn an_aef_without_an_entry_learns_nothing() {
    let refused = Err(Refusal::NotFound {
        what: "security context",
    });
    let some = context("INV", vec![entry_at("AEF1", Some(Oauth))]);
    for context in [&some, &context("INV", vec![])] {
        for aef in ["AEF2", "AEF", "AEF11", "aef1", ""] {
            for flags in [(true, true), (false, false)] {
                assert_eq!(told(aef, context, &apis(), flags), refused, "{aef}");
            }
        }
    }
}

/// TS 29.222 clause 8.5.2.3.3.1: each kind of information comes when it is asked for.
#[test]
fn flags_choose_what_is_told() {
    let context = context("INV", vec![entry_at("AEF1", Some(Oauth))]);
    for authentication in [false, true] {
        for authorization in [false, true] {
            let flags = (authentication, authorization);
            let answer = told("AEF1", &context, &apis(), flags).unwrap();
            let information = &answer.security_info[0];
            assert_eq!(information.authentication_info.is_some(), authentication);
            assert_eq!(information.authorization_info.is_some(), authorization);
            assert_eq!(information.sel_security_method, Some(Oauth));
            assert_eq!(answer.supported_features, Some("4".into()));
            assert_eq!(answer.notification_destination.as_str(), DESTINATION);
        }
    }
}

/// TS 33.122 clause 6.5.2: what the AEF needs for each method: the keys of tokens for Method 3, the trust anchor and the one
/// certificate that counts for Method 2. What the invoker was told is not passed on.
#[test]
fn information_for_each_method() {
    let cases = [
        (
            Some(Oauth),
            json!({
                "jwksUri": "https://ccf.example/.well-known/jwks.json",
                "issuer": "INV",
                "alg": ["ES256"],
            }),
        ),
        (
            Some(Pki),
            json!({
                "caPem": ["the trust anchor"],
                "x5t#S256": invoker("INV").certificate.fingerprint.to_string(),
            }),
        ),
        // Its key was never made, or is gone.
        (Some(Psk), json!(null)),
        (
            Some(SecurityMethod::from("LATER")),
            json!({ "method": "LATER" }),
        ),
        (None, json!(null)),
    ];
    for (method, expected) in cases {
        let mut held = entry_at("AEF1", method);
        held.information.authentication_info = Some("told to the invoker".to_owned());
        let context = context("INV", vec![held]);
        let answer = told("AEF1", &context, &apis(), (true, false)).unwrap();
        let (authentication, authorization) = texts(&answer.security_info[0]);
        assert_eq!(authentication, expected);
        assert_eq!(authorization, Value::Null);
    }
}

/// TS 33.122 clause 6.5.2.1: no answer holds a secret of the invoker's or a digest of one.
#[test]
fn nothing_secret_is_told() {
    for method in [Psk, Pki, Oauth] {
        let context = context("INV", vec![entry_at("AEF1", Some(method))]);
        let answer = told("AEF1", &context, &apis(), (true, true)).unwrap();
        let text = serde_json::to_string(&answer).unwrap();
        let secret = invoker("INV").onboard_secret.unwrap();
        assert!(!text.contains(&secret.to_string()), "{text}");
        assert!(!text.contains("psk"), "{text}");
    }
}

/// TS 29.222 clause 5.6.2.4, TS 33.122 clause 6.7: authorization is what the invoker may call at that AEF as things stand, with
/// the number below which its tokens are dead.
#[test]
fn authorization_is_what_is_granted_now() {
    let mut held = context("INV", vec![entry_at("AEF1", Some(Oauth))]);
    held.generation = 9;
    let all = || apis();
    let cases = [
        (
            "as published",
            all(),
            "3gpp#AEF1:weather,traffic",
            json!(["weather", "traffic"]),
        ),
        (
            "one withdrawn",
            all().split_off(1),
            "3gpp#AEF1:traffic",
            json!(["traffic"]),
        ),
        (
            "one without the method now",
            vec![
                api("A1", "weather", &[profile("AEF1", &[Pki])]),
                api("A2", "traffic", &[profile("AEF1", &[Oauth])]),
            ],
            "3gpp#AEF1:traffic",
            json!(["traffic"]),
        ),
        ("all withdrawn", vec![], "", json!([])),
    ];
    for (case, apis, scope, names) in cases {
        let answer = told("AEF1", &held, &apis, (false, true)).unwrap();
        let (_, authorization) = texts(&answer.security_info[0]);
        let mut expected = json!({ "scope": scope, "gen": 9, "apis": names });
        if case == "one without the method now" {
            // TS 33.122 clause 6.7: the AEF is to tell a changed method from a missing right.
            expected["outdated"] = json!(["weather"]);
        }
        assert_eq!(authorization, expected, "{case}");
    }
    let unselected = context("INV", vec![entry_at("AEF1", None)]);
    let answer = told("AEF1", &unselected, &apis(), (true, true)).unwrap();
    let (authentication, authorization) = texts(&answer.security_info[0]);
    assert_eq!(authentication, Value::Null);
    assert_eq!(authorization, json!({ "scope": "", "gen": 1, "apis": [] }));
}
