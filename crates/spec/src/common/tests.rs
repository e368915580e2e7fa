use serde_json::json;
use time::macros::datetime;

use super::*;
use crate::{
    events::CapifEvent,
    json,
    publish_service::{Protocol, SecurityMethod},
};

#[test]
fn redacted_prints_nothing_of_the_secret() {
    let secret = Redacted::from("onboard-me");
    assert_eq!(format!("{secret:?} {secret}"), "[redacted] [redacted]");
    assert_eq!(secret.expose(), "onboard-me");
    assert_eq!(serde_json::to_value(&secret).unwrap(), json!("onboard-me"));
    let details: crate::security::AccessTokenRsp = json::from_slice(
        br#"{"access_token":"top.secret.token","token_type":"Bearer","expires_in":600}"#,
    )
    .unwrap();
    assert!(!format!("{details:?}").contains("secret"));
}

#[test]
fn enumerations_keep_values_that_they_do_not_know() {
    for text in ["HTTP_1_1", "HTTP_3", "http_2", ""] {
        let value: Protocol = serde_json::from_value(json!(text)).unwrap();
        assert_eq!(value.as_str(), text);
        assert_eq!(value.to_string(), text);
        assert_eq!(serde_json::to_value(&value).unwrap(), json!(text));
    }
    assert_eq!(Protocol::from("HTTP_2"), Protocol::Http2);
    assert_eq!(
        Protocol::from("HTTP_3"),
        Protocol::Other("HTTP_3".to_owned())
    );
    assert!(serde_json::from_value::<CapifEvent>(json!(1)).is_err());
    assert_eq!(CapifEvent::KNOWN.len(), 16);
}

#[test]
fn security_methods_are_known_in_any_spelling() {
    for text in ["OAUTH", "Oauth", "oauth"] {
        assert_eq!(SecurityMethod::from(text), SecurityMethod::Oauth);
    }
    assert_eq!(SecurityMethod::Oauth.as_str(), "OAUTH");
    assert_eq!(SecurityMethod::from("OAuth2").as_str(), "OAuth2");
}

#[test]
fn date_times_are_those_of_rfc_3339() {
    let noon: DateTime = "2026-01-31T12:00:00Z".parse().unwrap();
    assert_eq!(noon, DateTime(datetime!(2026-01-31 12:00 UTC)));
    assert_eq!("2026-01-31T13:00:00+01:00".parse(), Ok(noon.clone()));
    assert_eq!(noon.to_string(), "2026-01-31T12:00:00Z");
    assert_eq!(
        serde_json::to_value(&noon).unwrap(),
        json!("2026-01-31T12:00:00Z")
    );
    for text in [
        "",
        "2026-01-31",
        "2026-01-31T12:00:00",
        "2026-02-30T12:00:00Z",
        "1769860800",
    ] {
        assert_eq!(text.parse::<DateTime>(), Err(NotADateTime), "{text}");
    }
}

#[test]
fn features_count_from_the_last_digit() {
    let features = SupportedFeatures::from("1a");
    let held: Vec<u32> = (0..=9).filter(|bit| features.has(*bit)).collect();
    assert_eq!(held, [2, 4, 5]);
    assert!(!features.has(u32::MAX));
    assert!(!SupportedFeatures::default().has(1));
}

#[test]
fn features_intersect_and_compare_by_what_they_hold() {
    let cases = [
        ("f", "5", "5"),
        ("fffff", "4", "4"),
        ("F0", "10", "10"),
        ("F0", "0F", "0"),
        ("", "f", "0"),
        ("000A", "a", "a"),
    ];
    for (one, two, both) in cases {
        let (one, two) = (SupportedFeatures::from(one), SupportedFeatures::from(two));
        assert_eq!(one.intersect(&two).as_str(), both);
        assert_eq!(two.intersect(&one).as_str(), both);
    }
    assert_eq!(
        SupportedFeatures::from("000A"),
        SupportedFeatures::from("a")
    );
    assert_eq!(SupportedFeatures::from("0"), SupportedFeatures::from(""));
    assert_ne!(SupportedFeatures::from("a0"), SupportedFeatures::from("a"));
    assert!(SupportedFeatures::from("0aF").is_valid());
    assert!(!SupportedFeatures::from("0x1").is_valid());
    assert!(!SupportedFeatures::from("٣").is_valid());
}

#[test]
fn problems_keep_members_of_others() {
    let document = json!({
        "type": "about:blank", "status": 400, "cause": "INVALID_MSG_FORMAT",
        "invalidParams": [{ "param": "/a", "reason": "b" }],
        "accessTokenError": { "error": "invalid_client" },
    });
    let problem: ProblemDetails = json::from_slice(document.to_string().as_bytes()).unwrap();
    assert_eq!(problem.status, Some(400));
    assert!(problem.extra.contains_key("accessTokenError"));
    assert_eq!(serde_json::to_value(&problem).unwrap(), document);
}

#[test]
fn a_network_slice_has_one_form() {
    for (document, pointer) in [
        (json!({}), Some("")),
        (json!({ "nsiId": "1" }), None),
        (json!({ "nsiId": "1", "ensi": "2" }), Some("")),
        (json!({ "snssai": { "sst": 1 } }), None),
        (json!({ "snssai": { "sst": 1, "sd": "00a1Ff" } }), None),
        (
            json!({ "snssai": { "sst": 1, "sd": "00a1F" } }),
            Some("/snssai/sd"),
        ),
    ] {
        let slice: NetSliceId = serde_json::from_value(document).unwrap();
        let violation = slice.check().err().map(|violation| violation.pointer);
        assert_eq!(violation.as_deref(), pointer);
    }
}
